"""An API beside pages: views for bearer tokens, for a token or a session, and one that calls Graph for the caller."""

from flask import Blueprint, Flask, jsonify

from flask_entra import Auth

auth = Auth()
api = Blueprint("api", __name__, url_prefix="/api")


@api.get("/orders")
@auth.bearer_required(scopes=["Orders.Read"], roles=["Orders.Read.All"])
def orders(*, context):
    return jsonify(caller=context["user"]["sub"], orders=["Two chairs", "A lamp"])


@api.get("/approvals")
@auth.bearer_required(roles=["Orders.Approve"], session=True)
def approvals(*, context):
    return jsonify(approver=context["user"]["name"])


@api.get("/profile")
@auth.bearer_required(scopes=["Orders.Read"])
def profile(*, context):
    me = auth.graph.get("/me", auth.context(["User.Read"]))
    return jsonify(title=me["jobTitle"])


def create_app(settings=()):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(settings)
    auth.init_app(app)
    app.register_blueprint(api)
    return app

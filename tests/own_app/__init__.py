"""An app of another shape than `app.py`: a factory, a blueprint, templates of its own, a page and a JSON endpoint."""

from flask import Blueprint, Flask, jsonify, render_template

import app_config
from flask_entra import Auth

auth = Auth()
mail = Blueprint("mail", __name__, url_prefix="/mail")


def newest(context):
    return auth.graph.get("/me/messages?$select=subject&$top=10", context)["value"]


@mail.get("/")
@auth.login_required(scopes=["Mail.Read"])
def inbox(*, context):
    return render_template("mail.html", user=context["user"], messages=newest(context))


@mail.get("/newest.json")
@auth.login_required(scopes=["Mail.Read"])
def newest_json(*, context):
    return jsonify(newest(context))


def create_app():
    from own_app.staff import staff

    app = Flask(__name__)
    app.config.from_mapping(app_config.load())
    auth.init_app(app, protected=True)
    app.register_blueprint(mail)
    app.register_blueprint(staff)
    return app

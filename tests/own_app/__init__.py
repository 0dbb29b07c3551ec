"""An app of another shape than `app.py`: a factory, a blueprint, templates of its own, a page and a JSON endpoint."""

from flask import Blueprint, Flask, jsonify, render_template

import app_config
from flask_entra import Auth, BoundedSession, GraphClient, init_app

settings = app_config.load()
http = BoundedSession(settings["THREADS"])
auth, graph = Auth(http), GraphClient(http, settings["ENDPOINT"])
mail = Blueprint("mail", __name__, url_prefix="/mail")


def newest(context):
    url = f"{graph.endpoint}/messages?$select=subject&$top=10"
    return auth.call(lambda token: graph.get(url, token), context)["value"]


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
    app.config.from_mapping(settings)
    init_app(app, auth, protected=True)
    app.register_blueprint(mail)
    app.register_blueprint(staff)
    return app

"""The fifteen lines of a stranger, with the settings in the environment: FLASK_ENTRA_CLIENT_ID, …"""

from flask import Flask

from flask_entra import Auth

auth = Auth()


def create_app():
    app = Flask(__name__)
    app.config.from_prefixed_env()
    auth.init_app(app)

    @app.get("/")
    def home():
        return "A page of a stranger."

    @app.get("/me")
    @auth.login_required(scopes=["User.Read"])
    def me(*, context):
        return auth.graph.get("/me", context)

    return app

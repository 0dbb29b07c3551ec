"""Bootstrap from a CDN, htmx from the app's own files, and Dash, each added to an app without touching the package."""

import os
import sys

from flask import Flask, render_template

import app_config
from flask_entra import Auth

CDN = os.environ["CDN"]
auth = Auth()


def add_dash(app):
    sys.path.append(os.environ["DASH"])
    import dash

    board = dash.Dash(server=app, url_base_pathname="/dash/")
    board.layout = dash.html.Div([dash.dcc.Input(id="name", value=""), dash.html.P(id="greeting")])

    @board.callback(dash.Output("greeting", "children"), dash.Input("name", "value"))
    def greet(name):
        return f"Hello, {name}; {auth.user['name']} is signed in."

    # Dash writes scripts into its page, and says by which hashes to allow them.
    app.config["ENTRA_CSP"] = {
        "script-src": ["'self'", *board.csp_hashes()],
        "style-src": ["'unsafe-inline'"],
        "img-src": ["data:"],
    }


def create_app():
    app = Flask(__name__, static_folder=os.environ["STATIC"])
    app.config.from_mapping(app_config.load(), ENTRA_LAYOUT="")
    add_dash(app)
    auth.init_app(app, protected=True)

    @app.get("/")
    def home():
        return "<!doctype html><title>Home</title><p id=done>Nothing added."

    @app.get("/bootstrap")
    @auth.csp(script_src=[CDN], style_src=[CDN], font_src=[CDN], img_src=["data:"])
    def bootstrap():
        return render_template("bootstrap.html", cdn=CDN)

    @app.get("/htmx")
    def htmx():
        return render_template("htmx.html")

    @app.get("/greeting")
    @auth.login_required
    def greeting(*, context):
        return f"<b>Hello, {context['user']['name']}</b>"

    return app

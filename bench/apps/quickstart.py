"""The quickstart's way: identity and requests used as their documentation shows, around the same pages.

https://identity-library.readthedocs.io/en/latest/flask.html
"""

from __future__ import annotations

import os

import requests
from flask import render_template
from identity.flask import Auth

from bench.apps.page import Face, make_app, show

app = make_app(__name__)
ENDPOINT = os.environ["ENDPOINT"]
app.config["SESSION_TYPE"] = "filesystem"  # in ./flask_session
auth = Auth(
    app,
    authority=os.environ["AUTHORITY"],
    client_id=os.environ["CLIENT_ID"],
    client_credential=os.environ["CLIENT_SECRET"],
    redirect_uri=os.environ["REDIRECT_URI"],
)


@app.route("/")
@auth.login_required
def index(*, context):
    return render_template("home.html", entra=Face(context["user"]))


@app.route("/five_lines")
@auth.login_required
def five_lines(*, context):
    return render_template("five_lines.html", user=context["user"])


@app.route("/call_graph")
@auth.login_required(scopes=["User.Read"])
def call_graph(*, context):
    profile = requests.get(ENDPOINT, headers={"Authorization": "Bearer " + context["access_token"]}, timeout=30).json()
    return render_template("profile.html", entra=Face(context["user"]), **show(profile, ENDPOINT, ["User.Read"]))

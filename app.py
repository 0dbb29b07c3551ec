"""Sign people in with Microsoft Entra ID and call Microsoft Graph for them."""

from flask import Flask, Response, render_template

import app_config
from flask_entra import Auth
from pages import accounts, profiles

app = Flask(__name__)
app.config.from_mapping(app_config.load())
auth = Auth(app)  # sign-in and sign-out, sealed sessions, a page for every failure, health checks, `flask doctor`
app.add_template_filter(profiles.letters)


@app.get("/")
def home():
    """The start page, for everybody; with a greeting for a person who is signed in."""
    return render_template("home.html")


@app.get("/call_graph")
@auth.login_required(scopes=auth.default_scopes)
def call_graph(*, context):
    """The person's profile, as Graph tells it; without an `ENDPOINT`, as the provider of the sign-in does, if it can."""
    profile = auth.graph.me(context)
    return render_template("profile.html", **profiles.show(profile, context["scopes"], auth.granted()))


@app.get("/photo")
@auth.login_required(scopes=auth.default_scopes)
def photo(*, context):
    """The person's photo, or their initials."""
    image, content_type = auth.graph.photo(context) or profiles.initials(context["user"])
    headers = {"Cache-Control": "private, max-age=3600", "Vary": "Cookie"}
    return Response(image, content_type=content_type, headers=headers)


@app.get("/account")
@auth.login_required
def account(*, context):
    """What this app sees of the person: claims, roles, permissions, sessions. The first page to open when another refuses."""
    return render_template("account.html", **accounts.show(context["user"], auth.granted(), auth.sessions()))

"""Sign people in with Microsoft Entra ID and call Microsoft Graph for them."""

from flask import Flask, Response, render_template
from werkzeug.middleware.proxy_fix import ProxyFix

import app_config
import doctor
import health
import http_client
import logs
import pages
import problems
import profiles
import sessions
from auth import Auth, SignInRequired
from graph import GraphClient, TokenRejected

app = Flask(__name__)
app.config.from_mapping(app_config.load())
if proxies := app.config["TRUSTED_PROXY_COUNT"]:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)
logs.init_app(app)  # one line an event
pages.init_app(app)  # languages, assets, security headers
sessions.init_app(app)  # the sealed store behind `flask.session`
http = http_client.BoundedSession(app.config["THREADS"])
auth = Auth(app, http)  # adds /login, the redirect URI and /logout
graph = GraphClient(http, app.config["ENDPOINT"])
problems.init_app(app, auth)  # a page for every failure
doctor.init_app(app, auth)  # what is wrong with the settings; adds `flask doctor`
health.init_app(app, auth)  # adds /healthz and /readyz


@app.get("/")
def home():
    """The start page, for everybody; with a greeting for who is signed in."""
    return render_template("home.html", user=auth.user)


@app.get("/call_graph")
@auth.login_required(scopes=app.config["SCOPE"])
def call_graph(*, context):
    """The person's profile, as Graph tells it."""
    profile = ask_graph(graph.me, context)
    return render_template("profile.html", user=context["user"], **profiles.show(profile, app.config))


@app.get("/photo")
@auth.login_required(scopes=app.config["SCOPE"])
def photo(*, context):
    """The person's photo, or their initials."""
    image, content_type = ask_graph(graph.photo, context) or profiles.initials(context["user"])
    headers = {"Cache-Control": "private, max-age=3600", "Vary": "Cookie"}
    return Response(image, content_type=content_type, headers=headers)


def ask_graph(call, context):
    """What Graph answers to the person's token, or to a fresh one if it refuses that; else they have to sign in again."""
    try:
        return call(context["access_token"])
    except TokenRejected as refused:
        claims = refused.claims
    try:
        return call(auth.renew_token(claims))
    except TokenRejected as refused:
        raise SignInRequired(refused.claims) from refused

"""Sign people in with Microsoft Entra ID and call Microsoft Graph for them."""

from flask import Flask, Response, make_response, render_template
from werkzeug.middleware.proxy_fix import ProxyFix

import app_config
import doctor
import http_client
import logs
import pages
import problems
import profiles
import sessions
from auth import Auth, SignInError, SignInRequired
from graph import GraphClient, TokenRejected
from tenant import TenantUnavailable

app = Flask(__name__)
app.config.from_mapping(app_config.load())
if proxies := app.config["TRUSTED_PROXY_COUNT"]:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)
for room in (logs, pages, sessions):
    room.init_app(app)
http = http_client.BoundedSession()
auth = Auth(app, http)  # adds /login, the redirect URI and /logout
graph = GraphClient(http, app.config["ENDPOINT"])
doctor.init_app(app, auth)  # shows what is wrong with the settings; adds `flask doctor`


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
    """What Graph answers to the person's token, or to a fresh one if it refuses that."""
    try:
        return call(context["access_token"])
    except TokenRejected as refused:
        return call(auth.renew_token(refused.claims))


@app.errorhandler(SignInRequired)
@app.errorhandler(TokenRejected)
def sign_in_first(error):
    """Send the person to sign in, and then back to this page."""
    try:
        return auth.sign_in_again(error.claims)
    except SignInError as refused:  # they just did
        return show_problem(error if isinstance(error, TokenRejected) else refused)
    except TenantUnavailable as failure:
        return show_problem(failure)


def show_problem(error):
    """A page that says what happened and what to do."""
    problem = problems.explain(error)
    response = make_response(render_template("problem.html", problem=problem), problem.status)
    response.headers.extend(problem.headers)
    return response


for failure in problems.FAILURES:
    app.register_error_handler(failure, show_problem)


@app.get("/healthz")
def healthz():
    """Alive: for whoever restarts a process that is not."""
    return "ok\n", {"Content-Type": "text/plain"}


@app.get("/readyz")
def readyz():
    """Ready: the sessions and the authority can be reached. For whoever sends requests here, or not yet."""
    app.session_interface.store.ping()
    return f"ok {auth.tenant.metadata['issuer']}\n", {"Content-Type": "text/plain"}

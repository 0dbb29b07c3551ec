"""An app after `pip install --upgrade flask-entra`: what it has stored and what it has written goes on working."""

import importlib.metadata
import warnings

import flask
import kept_sessions
import pytest
from flask import Flask
from visitor import REDIRECTS, cookie_name

from flask_entra import Auth, MembershipUnknown
from flask_entra.sessions.redis import RedisStore

auth = Auth()
VERSION = importlib.metadata.version("flask-entra")


@pytest.fixture(params=["files", "redis"])
def client_with(request, tmp_path):
    """Gives a client of an app in whose store is a session of a version, and which has its cookie."""

    def client_with(kept):
        settings, record = dict(kept_sessions.SETTINGS), bytes.fromhex(kept["record"])
        if request.param == "redis":
            settings["REDIS_URL"] = request.getfixturevalue("redis_server").url
            RedisStore(settings["REDIS_URL"], threads=8).add(kept["name"], record, 3600)
        app = Flask(__name__)
        app.config.update(
            {f"ENTRA_{name}": each for name, each in settings.items()}, ENTRA_SESSION_FILE_DIR=str(tmp_path)
        )
        auth.init_app(app)

        @app.get("/approve")
        @auth.login_required(scopes=["User.Read"], roles=["Orders.Approve"])
        def approve(*, context):
            return {"name": context["user"]["name"], "token": context["access_token"], "cart": flask.session["cart"]}

        if request.param == "files":
            (tmp_path / "sealed-sessions" / kept["name"]).write_bytes(record)
        client = app.test_client()
        client.set_cookie(cookie_name(app), kept["cookie"])
        return client

    return client_with


@pytest.mark.parametrize("version", kept_sessions.read())
def test_a_session_of_an_earlier_version_is_read(client_with, version):
    client = client_with(kept_sessions.read()[version])
    expected = {"name": "Adèle Vance", "token": "access-token-of-a-test", "cart": ["a book"]}
    assert client.get("/approve").json == expected
    with client.session_transaction() as session:
        session["cart"] += ["a pen"]
    assert client.get("/approve").json["cart"] == ["a book", "a pen"]


def test_each_release_keeps_a_session_of_its_own():
    assert VERSION in kept_sessions.read(), "run .venv/bin/python tests/kept_sessions.py"


def test_the_changes_tell_what_to_do_for_this_version():
    changes = (kept_sessions.KEPT.parent.parent / "CHANGELOG.md").read_text()
    begins = changes.index(f"\n## {VERSION}")
    assert "### What to do" in changes[begins:].split("\n## ")[1]


def test_an_app_of_before_version_0_1_works_and_is_warned(visit):
    browser = visit()  # for its settings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from flask_entra import BoundedSession, GraphClient, init_app

        app, http = Flask(__name__), BoundedSession(64)
        auth, graph = Auth(http), GraphClient(http, "https://graph.microsoft.com/v1.0/me")
        app.config.from_mapping(browser.app.config, ENTRA_LAYOUT="")
        init_app(app, auth, protected=True)
    said = {str(each.message) for each in caught if each.category is DeprecationWarning}
    assert said == {
        "flask_entra.BoundedSession goes with flask-entra 0.3: write auth = Auth(), which makes its own.",
        "flask_entra.GraphClient goes with flask-entra 0.3: write auth.graph.",
        "flask_entra.init_app goes with flask-entra 0.3: write auth.init_app(app).",
        "Auth(BoundedSession(…)) goes with flask-entra 0.3: write Auth().",
        "init_app(app, auth) goes with flask-entra 0.3: write auth.init_app(app).",
    }

    @app.get("/mine")
    def mine():
        context = auth.context(scopes=[])
        return auth.call(lambda token: {"token": token, "api": graph.endpoint}, context)

    browser.app, browser.client = app, app.test_client()
    assert browser.get("/mine").status_code in REDIRECTS  # `protected`
    assert browser.sign_in().status_code in REDIRECTS
    assert browser.get("/mine").json["token"]


def test_a_name_that_there_never_was_is_told():
    import flask_entra

    with pytest.raises(AttributeError, match="has no attribute 'Oauth'"):
        flask_entra.Oauth  # noqa: B018
    assert flask_entra.MembershipUnknown is MembershipUnknown

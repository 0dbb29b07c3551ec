"""An app of another shape on the same package: views with scopes of their own are first-class."""

import base64
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from conftest import ROOT, bare_environment
from visitor import Page, Visitor, let_the_id_token_expire

from sandbox.faults import Answer, Challenge, Hold

ACRS = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
REJECTED = {"error": {"code": "InvalidAuthenticationToken", "message": "No."}}


@pytest.fixture
def own_app(serve):
    """tests/own_app, as its developer runs it."""
    return serve(flask_app=ROOT / "tests" / "own_app")


@pytest.fixture
def person(own_app):
    return Visitor(own_app.url)


def refreshes(box):
    return [each for each in box.seen("token") if each.form["grant_type"] == "refresh_token"]


def scopes_asked(request):
    return {scope for scope in (request.query or request.form)["scope"].split() if "." in scope}


def test_it_is_forty_lines_at_most():
    assert len((ROOT / "tests" / "own_app" / "__init__.py").read_text().splitlines()) <= 40


def test_it_has_sign_in_for_its_own_scopes_sealed_sessions_and_its_own_templates(person, own_app, box):
    page = person.go_on(person.get("/mail/"))
    assert page.url == person.url + "/mail/"
    assert "Quarterly figures" in page.text
    assert "Contoso Mail" in page.text
    assert scopes_asked(box.seen("authorize")[0]) == {"Mail.Read"}
    assert person.get("/mail/newest.json").json()[0]["subject"] == "Quarterly figures"
    (record,) = own_app.sessions
    assert b"Vance" not in record.read_bytes()
    person.get("/logout", follow=False)
    assert own_app.sessions == []


def test_a_failure_is_a_page_in_its_own_layout_with_a_way_back_to_the_page(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Answer(503, "", {"Retry-After": "9"}))
    page = person.get("/mail/?order=date")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "9"
    assert "Contoso Mail" in page.text
    assert 'href="/mail/?order=date">Try again' in page.text
    assert person.get("/nowhere").status_code == 404
    assert "Contoso Mail" in person.get("/nowhere").text


def test_a_rejected_token_is_refreshed_for_the_scopes_of_the_view(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Answer(401, REJECTED))
    assert "Quarterly figures" in person.get("/mail/").text
    (refresh,) = refreshes(box)
    assert "scope" not in refresh.form  # the same as were granted (RFC 6749, 6)
    token = box.seen("messages")[-1].headers["Authorization"].removeprefix("Bearer ")
    assert "Mail.Read" in jwt.decode(token, options={"verify_signature": False})["scp"].split()


def test_a_token_that_cannot_be_refreshed_leads_to_a_sign_in_for_the_scopes_of_the_view(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Answer(401, REJECTED))
    box.revoke("adele")
    page = person.go_on(person.get("/mail/"))
    assert page.url == person.url + "/mail/"
    assert "Quarterly figures" in page.text
    assert [scopes_asked(each) for each in box.seen("authorize")] == [{"Mail.Read"}] * len(box.seen("authorize"))


def test_an_id_token_that_has_expired_leads_to_a_sign_in_for_the_scopes_of_the_view(person, own_app, box):
    person.go_on(person.get("/mail/"))
    let_the_id_token_expire(own_app, person)
    box.revoke("adele")
    assert "Quarterly figures" in person.go_on(person.get("/mail/")).text
    assert scopes_asked(box.seen("authorize")[-1]) == {"Mail.Read"}


def test_the_claims_that_an_api_asks_for_reach_the_sign_in_although_the_refresh_names_none(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Challenge(ACRS, refresh="interaction"))
    refusal = {"error": "interaction_required", "error_description": "AADSTS50076: You must use a second factor."}
    box.misbehave("token", Answer(400, refusal))
    page = person.go_on(person.get("/mail/"))
    assert page.url == person.url + "/mail/"
    assert "Quarterly figures" in page.text
    (refresh,) = refreshes(box)
    for request in (refresh.form, box.seen("authorize")[-1].query):
        assert json.loads(request["claims"])["access_token"]["acrs"] == ACRS["access_token"]["acrs"]
    assert scopes_asked(box.seen("authorize")[-1]) == {"Mail.Read"}


def test_the_claims_of_the_api_and_of_the_authority_reach_the_sign_in_together(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Challenge(ACRS, refresh="interaction"))
    policy = {"access_token": {"capolids": {"essential": True, "values": ["x"]}}}
    box.misbehave("token", Answer(400, {"error": "interaction_required", "claims": json.dumps(policy)}))
    location = urlsplit(person.get("/mail/", follow=False).headers["Location"])
    claims = json.loads(parse_qs(location.query)["claims"][0])["access_token"]
    assert {"acrs", "capolids"} <= set(claims)


def test_an_api_that_refuses_every_token_ends_on_a_page_not_in_a_loop(person, box):
    box.misbehave("messages", Answer(401, REJECTED), times=None)
    page = person.go_on(person.get("/mail/"))
    assert page.status_code == 401
    assert "InvalidAuthenticationToken" in page.text
    assert len(box.seen("authorize")) <= 5


# --- Views of one's own, in the app itself ----------------------------------------------------------------------------

VIEWS = """
import threading

import flask
from flask import abort, jsonify, session
from flask_entra import SignInRequired
from flask_entra.bulkhead import Busy
from flask_entra.pages.languages import Text as _
from app import app, auth

taken = set()
begun, go_on = threading.Event(), threading.Event()


@app.get("/begun")
def wait_until_begun():
    return str(begun.wait(30))


@app.get("/go-on")
def let_it_go_on():
    go_on.set()
    return "gone on"


@app.get("/slow")
@auth.login_required
def slow(*, context):
    begun.set()
    go_on.wait(30)
    session["late"] = 1
    return context["user"]["name"]


@app.get("/write")
@auth.login_required
def write(*, context):
    session["written"] = 1
    return "written"


@app.get("/step")
@auth.login_required
def step(*, context):
    if flask.request.args["claims"] not in taken:
        taken.add(flask.request.args["claims"])
        raise SignInRequired(flask.request.args["claims"])
    return "up"


@app.get("/refuse")
def refuse():
    words = {"text": _("Try again in a moment."), "dict": {"a": 1}, "number": 5}
    abort(403, words[flask.request.args["kind"]])


@app.get("/busy")
def busy():
    raise Busy("https://api.example")


@app.get("/context")
@auth.login_required(scopes=["User.Read"])
def show_context(*, context):
    return jsonify({name: type(value).__name__ for name, value in context.items()})


@app.get("/people")
@auth.login_required(scopes=["User.ReadBasic.All"])
def people(*, context):
    return auth.graph.get("/users", context)


@app.get("/forbidden")
def forbidden():
    abort(403)


@app.get("/managers")
def managers():
    abort(403, "Only <managers> may see this.")


@app.get("/teapot")
def teapot():
    abort(418)


@app.get("/full")
def full():
    abort(503)
"""


@pytest.fixture
def with_views(serve, tmp_path):
    """The app with views of one's own beside it."""
    (tmp_path / "mine.py").write_text(VIEWS)
    return Visitor(serve(flask_app=tmp_path / "mine.py").url)


def test_the_context_is_the_same_whether_the_token_was_at_hand_or_refreshed(with_views, box):
    expected = {"user": "dict", "access_token": "str", "token_type": "str", "expires_in": "int", "scopes": "list"}
    assert with_views.go_on(with_views.get("/context")).json() == expected
    assert refreshes(box) == []
    box.access_token_lifetime = 1
    with_views.sign_in()
    assert with_views.get("/context").json() == expected
    assert len(refreshes(box)) == 1


def test_two_views_with_scopes_of_their_own_each_send_the_person_to_consent(with_views, box):
    with_views.sign_in()
    assert with_views.go_on(with_views.get("/people")).json()["value"]
    page = with_views.go_on(with_views.get("/context"))
    assert page.json()["scopes"] == "list"
    assert len(box.seen("authorize")) == 5  # sign-in and consent, and consent again: two pages and their redirects


@pytest.mark.parametrize(
    ("path", "status", "title", "words"),
    [
        ("/forbidden", 403, "Not allowed", "You may not open this page."),
        ("/managers", 403, "Not allowed", "Only <managers> may see this."),
        ("/teapot", 418, "I'm a", "could not be understood"),
        ("/full", 503, "Try again in a moment", "not available"),
    ],
)
def test_a_status_that_a_view_answers_is_called_by_its_name(with_views, path, status, title, words):
    page = with_views.get(path)
    assert page.status_code == status
    text = Page(page.text).text
    assert title in text
    assert words in text
    assert "Bad request" not in text


@pytest.mark.parametrize(("kind", "words"), [("text", "Try again in a moment."), ("dict", "{'a': 1}"), ("number", "5")])
def test_a_view_may_refuse_with_words_of_any_kind(with_views, kind, words):
    page = with_views.get(f"/refuse?kind={kind}")
    assert page.status_code == 403
    assert words in Page(page.text).text


def test_too_many_that_wait_for_an_api_of_ones_own_are_told_when_to_come_back(with_views):
    page = with_views.get("/busy")
    assert page.status_code == 503
    assert int(page.headers["Retry-After"]) > 0


def test_a_late_write_does_not_take_a_newer_sign_in_away(with_views):
    with_views.sign_in()
    late = copy_of(with_views)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(late.get, "/slow")
        assert with_views.get("/begun").text == "True"
        with_views.sign_in()
        with_views.get("/go-on")
        assert "Set-Cookie" not in answer.result().headers
        assert answer.result().headers["Cache-Control"] == "no-store"
    assert with_views.signed_in


def test_a_write_does_not_wait_for_a_refresh_that_hangs(with_views, box):
    box.access_token_lifetime = 1
    with_views.sign_in()
    held = Hold()
    box.misbehave("token", held)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(with_views.get, "/context")
        held.wait()
        assert copy_of(with_views).get("/write").text == "written"
        assert not hanging.done()
        held.release()
        assert hanging.result().status_code == 200


def copy_of(person):
    copy = Visitor(person.url)
    copy.cookies.update(person.cookies)
    return copy


def test_the_claims_of_both_refusals_reach_the_sign_in(person, box):
    person.go_on(person.get("/mail/"))
    asked = [
        {"access_token": {"acrs": {"essential": True, "value": value}}, value: {"a": None}} for value in ("c1", "c2")
    ]
    for claims in asked:
        encoded = base64.b64encode(json.dumps(claims).encode()).decode()
        header = {"WWW-Authenticate": f'Bearer error="insufficient_claims", claims="{encoded}"'}
        box.misbehave("messages", Answer(401, REJECTED, header))
    location = person.get("/mail/", follow=False).headers["Location"]
    wanted = json.loads(parse_qs(urlsplit(location).query)["claims"][0])
    assert wanted["c1"] == wanted["c2"] == {"a": None}
    assert wanted["access_token"]["acrs"]["value"] == "c2"


@pytest.mark.parametrize("claims", ["not json", "[]", "{}", '{"access_token": 5}'])
def test_claims_that_are_no_claims_are_left_out(with_views, claims):
    with_views.sign_in()
    answer = with_views.get("/step", params={"claims": claims}, follow=False)
    assert "/oauth2/v2.0/authorize" in answer.headers["Location"]


def test_two_pages_that_ask_for_different_claims_each_get_their_sign_in(with_views):
    with_views.sign_in()
    for value in ("c1", "c2"):
        claims = json.dumps({"access_token": {"acrs": {"essential": True, "value": value}}})
        assert with_views.go_on(with_views.get("/step", params={"claims": claims})).text == "up"


def test_a_refresh_for_more_than_was_granted_leads_to_a_sign_in_for_the_scopes_of_the_view(with_views, box):
    with_views.sign_in()
    box.misbehave("token", Answer(400, {"error": "invalid_scope"}))
    location = urlsplit(with_views.get("/people", follow=False).headers["Location"])
    assert "User.ReadBasic.All" in parse_qs(location.query)["scope"][0]


def test_in_french_too(with_views):
    assert "Accès non autorisé" in with_views.get("/forbidden", headers={"Accept-Language": "fr"}).text


@pytest.mark.parametrize("scope", ["", "openid"])
def test_without_a_scope_there_is_a_page_and_no_mistake(serve, scope):
    person = Visitor(serve(SCOPE=scope).url)
    for path in ("/call_graph", "/photo"):
        page = person.go_on(person.get(path))
        assert page.status_code in (200, 403)
        assert "Something went wrong" not in page.text
    assert person.signed_in


def test_without_a_scope_and_an_endpoint_there_is_no_button_for_what_cannot_be_called(serve):
    person = Visitor(serve(SCOPE="", ENDPOINT=None).url)
    home = person.sign_in()
    assert "This app is not set up to call an API" in home.text
    assert "/call_graph" not in home.text
    assert person.get("/call_graph").status_code == 404
    assert person.get("/photo").status_code == 200


def test_a_refused_page_can_be_tried_again(serve, box):
    person = Visitor(serve().url)
    person.sign_in()
    box.misbehave("me", Answer(502))
    page = person.get("/call_graph?x=1")
    assert re.search(r'href="/call_graph\?x=1">Try again', page.text)


FACTORY = """
import app_config, own_app, sys

first, second = own_app.create_app(), own_app.create_app()
for app in (first, second):
    page = app.test_client().get("/login", base_url="http://localhost")
    assert page.status_code in (302, 303), page.text
assert first.extensions["flask_entra"].authority is not second.extensions["flask_entra"].authority
"""


def test_one_helper_serves_every_app_that_a_factory_makes(box, tmp_path):
    environment = bare_environment() | box.settings | {"SESSION_FILE_DIR": str(tmp_path / "sessions")}
    environment["PYTHONPATH"] = f"{ROOT / 'tests'}:{ROOT}"
    done = subprocess.run([sys.executable, "-c", FACTORY], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

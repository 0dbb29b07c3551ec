"""Callers that are no page (fetch, XHR, programs): problem details (RFC 9457), never a redirect to another site, never HTML."""

import base64
import json
import re
import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from configs import config_of
from conftest import ROOT, Served
from flask import Flask
from visitor import REDIRECTS, Visitor

from flask_entra.bearer import claims_challenge, refusal
from flask_entra.signin import sign_in_link
from sandbox.faults import Answer, Challenge

FETCH = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Accept": "*/*"}
NO_PAGE = {
    "fetch": FETCH,
    "a picture": {"Sec-Fetch-Dest": "image", "Accept": "image/avif,*/*;q=0.8"},
    "a frame": {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"},
    "XHR": {"X-Requested-With": "XMLHttpRequest"},
    "JSON": {"Accept": "application/json"},
    "problem JSON": {"Accept": "application/problem+json"},
    "axios": {"Accept": "application/json, text/plain, */*"},
    "rather JSON": {"Accept": "text/html;q=0.5, application/json"},
    "events": {"Accept": "text/event-stream"},
}
PAGES = {
    "a browser": {
        "Sec-Fetch-Dest": "document",
        "Sec-Fetch-Mode": "navigate",
        "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    },
    "an old browser": {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
    "a form": {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
    "curl": {"Accept": "*/*"},
    "nothing said": {"Accept": ""},
    "both": {"Accept": "application/json, text/html"},
}


@pytest.fixture
def person(staff):
    return Visitor(staff.url)


def problem(answer, status):
    """The problem details of an answer, held against what is true of all of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Location" not in answer.headers
    assert "<" not in answer.text
    for name in ("Accept", "Sec-Fetch-Dest", "Accept-Language"):
        assert name in answer.headers["Vary"]
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert body["instance"] == urlsplit(answer.url).path
    assert body["title"]
    assert body["detail"]
    assert body["type"] == "about:blank"
    if status in (401, 403):
        assert answer.headers["WWW-Authenticate"].startswith('Cookie realm="localhost"')
        assert urlsplit(body["sign_in"]).path == "/login"
    return body


@pytest.mark.parametrize("caller", NO_PAGE)
def test_a_caller_that_is_no_page_is_told_where_to_sign_in(person, staff, caller):
    page = {"Referer": f"{staff.url}/staff/hours?day=1"}
    answer = person.get("/mail/newest.json", headers=NO_PAGE[caller] | page, follow=False)
    body = problem(answer, 401)
    assert "error=" not in answer.headers["WWW-Authenticate"]  # RFC 6750, 3.1: nobody has signed in yet
    assert 'scope="Mail.Read"' in answer.headers["WWW-Authenticate"]
    assert body["scopes"] == ["Mail.Read"]
    assert body["sign_in"].startswith(f"{staff.url}/login?")
    assert parse_qs(urlsplit(body["sign_in"]).query)["next"] == ["/staff/hours?day=1"]


@pytest.mark.parametrize("caller", PAGES)
def test_a_page_is_sent_to_sign_in(person, box, caller):
    answer = person.get("/mail/newest.json", headers=PAGES[caller], follow=False)
    assert answer.status_code in REDIRECTS
    assert answer.headers["Location"].startswith(box.front_url)


def test_the_sign_in_that_is_told_asks_for_the_scopes_of_the_view_and_leads_back_to_the_page(person, box):
    hours = {"Referer": f"{person.url}/staff/hours"}
    sign_in = problem(person.get("/mail/newest.json", headers=FETCH | hours), 401)["sign_in"]
    assert person.go_on(person.get(sign_in)).url == f"{person.url}/staff/hours"
    assert "Mail.Read" in box.seen("authorize")[0].query["scope"].split()
    assert person.get("/mail/newest.json", headers=FETCH).json()[0]["subject"] == "Quarterly figures"


@pytest.mark.parametrize("forged", ["", "x", "W1siTWFpbC5SZWFkIl0sbnVsbF0.aZ.x", "W10"])
def test_nobody_else_makes_a_sign_in_link_that_asks_for_more(person, box, forged):
    location = person.get(f"/login?for={forged}", follow=False).headers["Location"]
    assert "Mail.Read" not in parse_qs(urlsplit(location).query)["scope"][0]


def test_a_sign_in_link_holds_for_an_hour(monkeypatch):
    app, config = Flask(__name__), config_of(REDIRECT_URI="http://localhost/x", SECRET_KEY="x")
    with app.test_request_context():
        link = sign_in_link.make(config, ["Mail.Read"], "{}")
    for later, wanted in ((3590, (["Mail.Read"], "{}")), (3610, (None, None))):
        monkeypatch.setattr(sign_in_link, "time", SimpleNamespace(time=lambda later=later: time.time() + later))
        with app.test_request_context(link):
            required = sign_in_link.read(config)
            assert (required.scopes, required.claims) == wanted


@pytest.mark.parametrize("referer", ["https://attacker.example/x", "null", "http://[", "http://localhost:1/x", ""])
def test_the_page_of_another_site_is_no_way_back(person, referer):
    body = problem(person.get("/mail/", headers=FETCH | {"Referer": referer}, follow=False), 401)
    assert parse_qs(urlsplit(body["sign_in"]).query)["next"] == ["/"]


@pytest.mark.parametrize(("language", "title"), [("en", "Not allowed"), ("fr", "Accès non autorisé")])
def test_a_missing_role_is_403_with_the_role_in_the_persons_language(person, language, title):
    person.go_on(person.get("/staff/news"), "alex")
    answer = person.get("/staff/approvals", headers=FETCH | {"Accept-Language": language})
    body = problem(answer, 403)
    assert body["title"] == title
    assert body["roles"] == ["Orders.Approve"]
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert answer.headers["Content-Language"] == language


def test_a_missing_group_and_a_graph_that_cannot_be_asked(person, box):
    person.go_on(person.get("/staff/news"), "isaiah")
    box.misbehave("groups", Answer(503, "", {"Retry-After": "1"}))
    answer = person.get("/staff/figures", headers=FETCH)
    assert problem(answer, 503)["groups"]
    assert answer.headers["Retry-After"] == "1"
    time.sleep(1.1)
    box.person("isaiah").groups.clear()
    box.person("isaiah").groups.append("0" * 8 + "-0000-0000-0000-" + "0" * 12)
    assert problem(person.get("/staff/figures", headers=FETCH), 403)["groups"]


def test_a_claims_challenge_is_passed_on(person, box):
    person.go_on(person.get("/mail/"))
    claims = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
    box.misbehave("messages", Challenge(claims, refresh="interaction"))
    answer = person.get("/mail/newest.json", headers=FETCH)
    body = problem(answer, 401)
    assert body["claims"]["access_token"]["acrs"] == claims["access_token"]["acrs"]
    header = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_claims"' in header
    encoded = re.search(r'claims="([^"]+)"', header)[1]
    assert json.loads(base64.b64decode(encoded)) == body["claims"]
    person.go_on(person.get(body["sign_in"]))
    assert (
        json.loads(box.seen("authorize")[-1].query["claims"])["access_token"]["acrs"] == claims["access_token"]["acrs"]
    )
    assert person.get("/mail/newest.json", headers=FETCH).status_code == 200


def test_a_token_that_cannot_be_renewed_is_401_for_the_scopes_of_the_view(person, box):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "No."}}))
    box.revoke("adele")
    answer = person.get("/mail/newest.json", headers=FETCH)
    assert problem(answer, 401)["scopes"] == ["Mail.Read"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


VIEWS = """
from flask import abort
from flask_entra.bulkhead import Busy
from app import app


@app.post("/large")
def large():
    return str(len(__import__("flask").request.get_data()))


@app.get("/status/<int:status>")
def status(status):
    abort(status)


@app.get("/mistake")
def mistake():
    1 / 0


@app.get("/step")
def step():
    raise __import__("flask_entra").SignInRequired(__import__("flask").request.args["claims"])


@app.get("/busy")
def busy():
    raise Busy("https://api.example")
"""


@pytest.fixture(scope="module")
def views(shared_box, shared_app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    (folder / "mine.py").write_text(VIEWS)
    app = Served(shared_box.settings, folder, flask_app=folder / "mine.py", expected="ZeroDivisionError")
    yield app
    app.end()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 418, 429, 500, 502, 503])
def test_every_status_is_problem_details(views, box, status):
    answer = Visitor(views.url).get(f"/status/{status}", headers=FETCH, follow=False)
    problem(answer, status)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_script_gets_flasks_own_errors_as_problem_details(views, box, language):
    person = Visitor(views.url)
    person.headers.update({"Accept": "application/json", "Accept-Language": language})
    assert problem(person.get("/nowhere"), 404)["title"] == {"en": "Page not found", "fr": "Page introuvable"}[language]
    wrong = person.put(person.url + "/photo", timeout=9)
    problem(wrong, 405)
    assert "GET" in wrong.headers["Allow"]
    problem(person.post(person.url + "/large", data=b"x" * 70_000, timeout=9), 413)
    assert "1 / 0" not in problem(person.get("/mistake"), 500)["detail"]
    busy = person.get("/busy")
    problem(busy, 503)
    assert int(busy.headers["Retry-After"]) > 0
    assert person.options(person.url + "/photo", timeout=9).status_code == 200
    head = person.head(person.url + "/photo", timeout=9)
    assert (head.status_code, head.text) == (401, "")
    assert head.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("claims", ["not json", "[]", '{"access_token": 5}', "[" * 9000, ""])
def test_claims_that_are_no_claims_are_not_passed_on(views, box, claims):
    body = problem(Visitor(views.url).get("/step", params={"claims": claims}, headers=FETCH), 401)
    assert "claims" not in body


def test_sign_in_and_sign_out_asked_for_by_a_script_lead_nowhere(person):
    person.go_on(person.get("/staff/news"))
    problem(person.get("/login", headers=FETCH, follow=False), 401)
    problem(person.get("/logout", headers=FETCH, follow=False), 403)
    problem(person.post(person.url + "/logout", headers=FETCH, allow_redirects=False, timeout=9), 403)
    assert person.get("/staff/news").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Answer(500), 502),
        (Answer(429, "", {"Retry-After": "4"}), 503),
        (Answer(403, {"error": {"code": "x", "message": "y"}}), 403),
        (Answer(504), 504),
    ],
)
def test_a_script_is_told_that_graph_fails(person, box, fault, status):
    person.go_on(person.get("/mail/"))
    box.misbehave("messages", fault)
    problem(person.get("/mail/newest.json", headers=FETCH), status)


def test_a_script_is_told_that_the_store_fails(serve, box):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    app.break_store()
    answer = person.get("/call_graph", headers=FETCH)
    problem(answer, 503)
    assert answer.headers["Retry-After"]


def test_a_script_is_told_that_the_tenant_fails(serve, box):
    box.access_token_lifetime = 1
    person = Visitor(serve(flask_app=ROOT / "tests" / "own_app").url)
    person.go_on(person.get("/mail/"))
    box.misbehave("token", Answer(503, "", {"Retry-After": "4"}), times=None)
    answer = person.get("/mail/newest.json", headers=FETCH)
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "4"


def test_a_script_is_told_that_settings_are_missing(serve):
    person = Visitor(serve(CLIENT_ID="<Application (client) ID>").url)
    for path in ("/", "/call_graph", "/login"):
        problem(person.get(path, headers=FETCH, follow=False), 503)
    assert person.get("/").status_code == 200


def test_the_header_of_ours_is_one_that_we_can_read():
    claims = '{"access_token":{"acrs":{"essential":true,"value":"é"}}}'
    header = refusal('local"host\r\n', "invalid_token", ["a\\b", "c"], claims)
    assert header.startswith('Cookie realm="localhost", error="insufficient_claims", scope="ab c", claims="')
    assert claims_challenge(header) == claims


def test_a_long_accept_header_costs_nothing(person):
    accept = ",".join(f"x/y{number}" for number in range(900)) + ",text/html"
    assert person.get("/nowhere", headers={"Accept": accept}).status_code == 404

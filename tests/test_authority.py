"""The tenant, failing: each time a page that says so, and everything works again as soon as the tenant does."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import hurried
from visitor import Page, Visitor

from flask_entra import deadlines
from sandbox import Sandbox
from sandbox.faults import Answer, Close, Drip, DripHeaders, Flood, Hold, Reset, Silence, Truncated

FAULTS = {
    "500 with HTML": Answer(500, "<h1>Oops</h1>", {"Content-Type": "text/html"}),
    "503 with Retry-After": Answer(503, "", {"Retry-After": "1"}),
    "429 with Retry-After": Answer(429, {"error": "temporarily_unavailable"}, {"Retry-After": "1"}),
    "404": Answer(404, "not here"),
    "302 to elsewhere": Answer(302, "", {"Location": "https://localhost:1/"}),
    "broken JSON": Answer(200, '{"access_token": "'),
    "JSON that is not an object": Answer(200, [1, 2]),
    "null": Answer(200, "null"),
    "an object that says nothing": Answer(200, {}),
    "JSON too deep to read": Answer(200, "[" * 100_000),
    "bytes that are not text": Answer(200, b"\xff\xfe\x00"),
    "empty": Answer(200, ""),
    "connection reset": Reset(),
    "connection closed": Close(),
    "cut off": Truncated(),
    "60 MB": Flood(60_000_000),
}
SLOW = {"no answer": Silence(60), "a byte a second": Drip(1, 600), "headers, a byte a second": DripHeaders(1, 600)}
ODD_TOKENS = {
    "expires_in is a word": {"access_token": "x", "token_type": "Bearer", "expires_in": "soon"},
    "scope is a number": {"access_token": "x", "token_type": "Bearer", "expires_in": 1, "scope": 5},
    "no ID token": {"access_token": "x", "token_type": "Bearer", "expires_in": 3600, "scope": "User.Read"},
    "access token is a list": {"access_token": ["x"], "token_type": "Bearer", "expires_in": 3600},
}


def says_so(page):
    assert page.status_code in (502, 503), page.text
    assert "sign-in service cannot be reached" in page.text
    assert "Try again" in page.text
    assert "Traceback" not in page.text
    if page.headers.get("Retry-After") == "1":  # the app obeys it
        time.sleep(1.1)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_failing_token_endpoint_is_a_page_and_the_next_attempt_works(person, app, box, fault):
    box.misbehave("token", fault)
    says_so(person.sign_in())
    assert not person.signed_in
    other = Visitor(app.url)
    other.sign_in("alex")
    assert other.signed_in
    person.sign_in()
    assert person.signed_in


@pytest.mark.parametrize("answer", ODD_TOKENS.values(), ids=ODD_TOKENS)
def test_a_token_response_that_makes_no_sense_signs_nobody_in(person, box, answer):
    box.misbehave("token", Answer(200, answer))
    assert person.sign_in().status_code == 502
    assert not person.signed_in


@pytest.fixture(scope="module")
def fresh_app(tmp_path_factory):
    """Starts apps that have not asked the tenant anything yet."""
    from conftest import Served

    started = []

    def start(box):
        started.append(Served(box.settings, tmp_path_factory.mktemp("fresh")))
        box.redirect_uris.add(started[-1].settings["REDIRECT_URI"])
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_failing_discovery_is_a_page_and_the_next_attempt_works(fresh_app, box):
    app = fresh_app(box)
    for fault in FAULTS.values():
        box.misbehave("discovery", fault, times=2)  # a GET that breaks is sent twice
        says_so(Visitor(app.url).get("/login"))
        assert Visitor(app.url).get("/").status_code == 200
        box.behave()
    person = Visitor(app.url)
    person.sign_in()
    assert person.signed_in


def test_failing_keys_are_a_page_and_the_next_attempt_works(fresh_app, box):
    app = fresh_app(box)
    person = Visitor(app.url)
    for fault in FAULTS.values():
        box.misbehave("keys", fault, times=2)
        says_so(person.sign_in())
        assert not person.signed_in
        box.behave()
    person.sign_in()
    assert person.signed_in


def test_a_request_to_the_tenant_takes_fifteen_seconds_at_most():
    assert deadlines.REQUEST_SECONDS < 15


def test_a_silent_or_dripping_tenant_is_a_page_when_the_deadline_is_over(tmp_path):
    """All at the same time, each fault with a tenant and apps of its own: one waits for its deadline, so do all."""

    def wait(answer):
        app, url = answer
        page = app.get(url)  # the faults go on for longer than a visitor waits
        says_so(page)
        # A document that failed so slowly is not asked for again before that.
        return int(page.headers.get("Retry-After", 0))

    def meet(fault):
        with Sandbox() as own:
            apps = [hurried(own, tmp_path) for _ in range(3)]
            people = [Visitor(app.url) for app in apps]
            answers = [people[0].answer(), people[1].answer(), "/login"]
            for endpoint in ("token", "keys", "discovery"):
                own.misbehave(endpoint, fault, times=None)
            with ThreadPoolExecutor(3) as pool:
                seconds = list(pool.map(wait, zip(people, answers, strict=True)))
            own.behave()
            time.sleep(max(seconds))
            for person in people:
                person.sign_in()
                assert person.signed_in
            for app in apps:
                app.end()

    with ThreadPoolExecutor(len(SLOW)) as pool:
        list(pool.map(meet, SLOW.values()))


def test_one_slow_person_does_not_hold_up_the_others(app, box):
    slow, quick = Visitor(app.url), Visitor(app.url)
    answer = slow.answer()
    held = Hold()
    box.misbehave("token", held)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.get, answer)
        held.wait()
        quick.sign_in("alex")
        assert quick.signed_in
        assert not waiting.done()
        held.release()
        assert waiting.result().url == app.url + "/"


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_the_tenant_is_passed_on_and_obeyed(serve, box, status):
    app = serve()
    person, other = Visitor(app.url), Visitor(app.url)
    box.misbehave("token", Answer(status, "", {"Retry-After": "17"}), times=None)
    page = person.sign_in()
    assert page.headers["Retry-After"] == "17"
    assert "17 seconds" in page.text
    asked = len(box.seen("token"))
    for _ in range(5):  # nor for anybody else
        page = other.sign_in("alex")
        assert page.status_code == 503
        assert 1 <= int(page.headers["Retry-After"]) <= 17
    assert len(box.seen("token")) == asked


def test_while_the_tenant_wants_a_pause_a_token_that_is_good_is_used(serve, box):
    person = Visitor(serve().url)
    box.access_token_lifetime = 60
    person.sign_in()
    box.misbehave("token", Answer(429, "", {"Retry-After": "120"}), times=None)
    for _ in range(3):
        assert person.get("/call_graph").status_code == 200


@pytest.mark.parametrize("fault", [FAULTS["500 with HTML"], FAULTS["connection reset"]], ids=["500", "reset"])
def test_a_failing_refresh_shows_the_page_and_keeps_the_person_signed_in(person, box, fault):
    box.access_token_lifetime = 1
    person.sign_in()
    box.misbehave("token", fault)
    says_so(person.get("/call_graph"))
    assert person.signed_in
    assert person.get("/call_graph").status_code == 200


def test_a_revoked_refresh_token_leads_to_sign_in_and_back_to_the_page(person, box):
    box.access_token_lifetime = 1
    person.sign_in()
    box.revoke("adele")
    box.access_token_lifetime = 4000
    page = person.go_on(person.get("/call_graph"))
    assert page.url == person.url + "/call_graph"
    assert "Retail Manager" in page.text


@pytest.mark.parametrize(
    ("state", "code"), [("expired", "AADSTS7000222"), ("revoked", "AADSTS7000215")], ids=["expired", "wrong"]
)
def test_a_bad_secret_is_explained_to_whoever_runs_the_app(person, box, state, code):
    box.client_secret_state = state
    page = person.sign_in()
    assert page.status_code == 500
    assert "CLIENT_SECRET" in page.text
    assert code in page.text
    assert "not set up properly" in page.text


def test_an_authority_that_cannot_be_reached_is_a_page(serve):
    app = serve(AUTHORITY="https://localhost:1/852bedc8-1345-41c8-99f3-2fa1667ffefa")
    says_so(Visitor(app.url).get("/login"))
    assert "localhost:1" not in Visitor(app.url).get("/").text


def test_a_tenant_that_does_not_exist_is_explained_to_whoever_runs_the_app(serve, box):
    app = serve(AUTHORITY=f"{box.back_url}/11111111-2222-3333-4444-555555555555")
    page = Visitor(app.url).get("/login")
    assert page.status_code == 500
    assert "The tenant in AUTHORITY does not exist" in page.text
    assert "AADSTS90002" in page.text


def test_a_file_of_certificates_that_is_not_there_is_a_page(serve):
    page = Visitor(serve(REQUESTS_CA_BUNDLE="/nowhere/certificates.pem").url).get("/")
    assert "REQUESTS_CA_BUNDLE names a file that is not there" in Page(page.text).text


def test_a_certificate_that_nobody_vouches_for_is_a_page(serve):
    app = serve(REQUESTS_CA_BUNDLE=None)
    page = Visitor(app.url).get("/login")
    says_so(page)
    assert "SSLError" in page.text
    assert "REQUESTS_CA_BUNDLE names those that are" in page.text

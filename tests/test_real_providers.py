"""The whole journey with three providers that nobody here wrote, each as it comes, over TLS, at the root of its host."""

import json
import logging
import ssl
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from fake_provider import make_app
from real_providers import PROVIDERS
from visitor import REDIRECTS, Page, Visitor
from werkzeug import Request, Response

from sandbox.listener import Listener

pytestmark = pytest.mark.xdist_group("real providers")  # each is started once


@pytest.fixture(scope="module", params=PROVIDERS)
def at(request, tmp_path_factory):
    """One of the providers, and the address of the app that is registered there."""
    front = Listener("127.0.0.1", 0)
    folder = tmp_path_factory.mktemp("provider")
    authority = trustme.CA()
    real = PROVIDERS[request.param](folder, authority, f"http://localhost:{front.port}")
    real.front, real.authority, real.name = front, authority, request.param
    front.serve(Response("not yet"))
    yield real
    real.stop()
    front.close()


@pytest.fixture
def app(at, monkeypatch, tmp_path):
    """Makes the app, in this process, at its registered address, and a visitor."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def start(**settings):
        client = {name.upper(): value for name, value in at.client.items()}
        redirect_uri = f"{at.app_url}/getAToken"
        at.front.app = make_app(monkeypatch, tmp_path, at, REDIRECT_URI=redirect_uri, **{**client, **settings})
        return visitor(at)

    yield start
    root.handlers[:], root.level = before


def visitor(at):
    person = Visitor(at.app_url)
    person.verify = at.ca_file
    return person


def sign_in(at, person, path="/login", who="alice"):
    return at.go_on(person, person.get(path), who)


def test_a_person_signs_in_and_is_known_after_a_reload(at, app):
    person = app()
    page = sign_in(at, person)
    assert page.url == at.app_url + "/"
    assert page.status_code == 200
    assert person.signed_in
    assert "Show your profile" in person.get("/").text
    # Django OAuth Toolkit has no names to tell: its default validator knows `sub` alone.
    name = "Welcome" if at.name == "Django OAuth Toolkit" else "Alice Liddell"
    assert name in person.get("/").text
    profile = person.get("/call_graph")
    assert profile.status_code == 200
    assert '"sub"' in Page(profile.text).text


def test_both_of_two_tabs_finish(at, app):
    person = app()
    tabs = [person.get("/login?next=/call_graph"), person.get("/login?next=/")]
    ends = [at.go_on(person, tabs[0]).url]
    # The other tab is reloaded: the person is signed in by then. (Canaille keeps the last request only, and went on with it.)
    other = tabs[0] if at.name == "Canaille" else tabs[1]
    ends.append(at.go_on(person, person.get(other.history[0].headers["Location"])).url)
    assert sorted(ends) == [at.app_url + "/", at.app_url + "/call_graph"]
    assert person.signed_in


@pytest.mark.parametrize("prompt", ["", "&prompt=consent"], ids=["as usual", "with consent"])
def test_an_api_that_takes_the_token_no_more_gets_another(at, app, prompt):
    if prompt and at.name == "Django OAuth Toolkit":
        prompt = ""  # it asks for consent each time, and knows no `prompt` for it
    tokens = []

    @Request.application
    def api(request):
        tokens.append(request.headers["Authorization"])
        expired = request.headers["Authorization"] == tokens[0]
        return Response(status=401) if expired else Response(json.dumps({"displayName": "The API"}))

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    at.authority.issue_cert("localhost").configure_cert(tls)
    listener = Listener("127.0.0.1", 0, tls)
    listener.serve(api)
    try:
        person = app(ENDPOINT=f"https://localhost:{listener.port}/me")
        sign_in(at, person, f"/login?{prompt}")
        answer = person.get("/call_graph", follow=False)
        # oidc-provider gives a refresh token only with offline_access, and that only for prompt=consent: without, the person's
        # single sign-on brings the new token, and no page is shown.
        refreshed = at.name != "oidc-provider" or bool(prompt)
        assert answer.status_code in ((200,) if refreshed else REDIRECTS)
        if not refreshed:
            answer = at.go_on(person, person.get(answer.headers["Location"]))
        assert answer.url == at.app_url + "/call_graph"
        assert "The API" in answer.text
        assert len(set(tokens)) == 2
        assert person.signed_in
    finally:
        listener.close()


def test_a_sign_out_comes_back_and_the_next_sign_in_asks_who_it_is(at, app):
    person = app()
    sign_in(at, person)
    out = person.get("/logout", follow=False)
    location = urlsplit(out.headers["Location"])
    if at.name == "Django OAuth Toolkit":  # it has no end_session_endpoint unless one is switched on
        assert location.geturl() == at.app_url + "/"
        assert not person.signed_in
        return
    assert {"id_token_hint", "state", "post_logout_redirect_uri", "client_id"} == set(parse_qs(location.query))
    home = at.go_on(person, person.get(out.headers["Location"]))
    assert home.url.startswith(at.app_url + "/?state=")
    assert not person.signed_in
    page = person.get("/login")
    assert page.url.startswith(at.url)
    assert at.go_on(person, page, "bob").url == at.app_url + "/"
    assert person.signed_in


@pytest.mark.parametrize("at", ["oidc-provider"], indirect=True)  # of the three, it alone has a back channel
def test_a_sign_out_at_the_provider_ends_the_session_here(at, app):
    person, log = app(), logging.getLogger("flask_entra.signin.channels")
    sign_in(at, person)
    other = visitor(at)
    sign_in(at, other, who="bob")
    lines = []
    log.addFilter(lambda record: lines.append(record.getMessage()) or True)
    page = person.get(f"{at.url}/session/end")
    action, fields, _ = Page(page.text).forms[0]
    at.fill_in(person, page, action, fields, "alice", cancel=False)  # it has told the app before it answers
    assert not person.signed_in
    assert lines == ["Signed out: oid=alice tid=None (back-channel sign-out)"]
    assert other.signed_in


def test_another_account_can_be_taken(at, app):
    person = app()
    sign_in(at, person)
    first = person.get("/call_graph").text
    page = person.get("/login?prompt=select_account")
    assert page.url.startswith(at.url)
    at.go_on(person, page, "bob")
    assert person.signed_in
    assert person.get("/call_graph").text != first


def test_a_person_who_declines_is_told_so_and_may_try_again(at, app):
    person = app()
    page = at.go_on(person, person.get("/login"), who="bob", cancel=True)
    if not person.signed_in:
        assert page.status_code == 403
        assert "The sign-in was cancelled or refused." in page.text
    sign_in(at, person, who="bob")
    assert person.signed_in


def test_a_new_key_is_followed(at, app):
    """oidc-provider gives it the old one's `kid`. None of the three can leave the `kid` out: `test_conformance.py` has that."""
    person = app()
    sign_in(at, person)
    at.start_with_a_new_key()
    other = visitor(at)
    assert sign_in(at, other).url == at.app_url + "/"
    assert other.signed_in


def test_the_doctor_asks_it_what_it_asks_entra(at, app):
    app()
    result = at.front.app.test_cli_runner().invoke(args=["doctor", "--port", str(urlsplit(at.app_url).port)])
    assert result.exit_code == 0, result.output
    assert f"✓ OIDC_AUTHORITY answers, as {at.url}" in result.output
    assert "✓ CLIENT_SECRET is accepted by the tenant" in result.output
    assert ("has no end_session_endpoint" in result.output) == (at.name == "Django OAuth Toolkit")
    app(CLIENT_SECRET="wrong")
    result = at.front.app.test_cli_runner().invoke(args=["doctor"])
    assert "✗ CLIENT_SECRET is not accepted by the tenant (invalid_client)" in result.output

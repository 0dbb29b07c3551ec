"""Sign-outs that the authority tells the app of: front-channel, in a frame without a cookie, and back-channel, with a token."""

import time
import uuid

import pytest
from fake_provider import CLIENT, Browser, SigningKey, due
from programs import free_port

from flask_entra.signin.logout_token import EVENT

SID = "0e0ea2a8-6a6a-4f35-9c2e-4f9a5a7f0a11"
HTTP = "http://localhost:5000"


@pytest.fixture
def browser(visit, provider):
    """Somebody who is signed in, with a session at the authority."""
    provider.claims = {"sid": SID}
    browser = visit()
    browser.sign_in()
    assert browser.signed_in
    return browser


def other(browser, subject="alice", sid=None):
    """Another browser at the same app."""
    browser.provider.claims = {"sid": sid, "sub": subject}
    browser.provider.userinfo = {"sub": subject}
    another = Browser(browser.app, browser.provider)
    another.sign_in()
    assert another.signed_in
    return another


def frame(browser, query, method="GET"):
    """What the app answers to a frame of the authority's page: without any cookie."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"}
    client = browser.app.test_client(use_cookies=False)
    return client.open(f"/logout/front-channel{query}", base_url=HTTP, headers=headers, method=method)


# --- Front-channel ------------------------------------------------------------------------------------------------------


def test_a_frame_without_a_cookie_ends_the_sessions_of_its_sid_and_no_other(browser, caplog):
    here, elsewhere, nobody = other(browser, sid=SID), other(browser, sid=str(uuid.uuid4())), other(browser)
    answer = frame(browser, f"?sid={SID}")
    assert (answer.status_code, answer.text) == (200, "")
    assert [each.signed_in for each in (browser, here, elsewhere, nobody)] == [False, False, True, True]
    assert caplog.text.count("(front-channel sign-out)") == 2
    assert frame(browser, f"?sid={SID}").status_code == 200  # once more, as a page that is loaded again does


def test_its_answer_may_be_framed_by_the_authority_alone_and_is_kept_nowhere(browser):
    answer = frame(browser, f"?sid={SID}")
    authority = browser.provider.url
    assert answer.headers["Content-Security-Policy"] == f"default-src 'none'; frame-ancestors {authority}"
    assert answer.headers["Cache-Control"] == "no-cache, no-store"
    assert "Set-Cookie" not in answer.headers
    for path in ("/", "/logout", "/logout/back-channel", "/healthz", "/nowhere"):
        assert "frame-ancestors 'none'" in browser.get(path).headers["Content-Security-Policy"]


@pytest.mark.parametrize("issuer", ["the authority", None])
def test_an_issuer_need_not_be_sent(browser, issuer):
    query = f"&iss={browser.provider.url}" if issuer else ""
    assert frame(browser, f"?sid={SID}{query}").status_code == 200
    assert not browser.signed_in


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sid=",
        "?sid",
        f"?SID={SID}",
        f"?sid={SID}&sid={SID}",
        f"?sid={SID}&sid=other",
        f"?sid={SID}{'x' * 1_000_000}",
        f"?sid={SID}&iss=https://attacker.example",
        f"?sid={SID}&iss=",
        f"?sid={SID}&iss=ISSUER&iss=ISSUER",
        f"?sid={SID}&iss=ISSUER/",
    ],
)
def test_a_request_that_is_wrong_signs_nobody_out_and_leaves_one_line(browser, caplog, query):
    caplog.clear()
    answer = frame(browser, query.replace("ISSUER", browser.provider.url))
    assert answer.status_code == 400
    assert answer.headers["Cache-Control"] == "no-cache, no-store"
    assert [each.levelname for each in caplog.records if "ront-channel" in each.message] == ["WARNING"]
    assert browser.signed_in


@pytest.mark.parametrize("sid", [SID.upper(), SID[:-1], f"{SID} ", "%00", "%F0%9F%90%8D", "{", "*", "..%2F..%2F"])
def test_a_sid_that_is_nobodys_is_no_fault_and_signs_nobody_out(browser, caplog, sid):
    assert frame(browser, f"?sid={sid}").status_code == 200
    assert "no session here has that sid" in caplog.text
    assert browser.signed_in


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_only_a_get_signs_out(browser, method):
    frame(browser, f"?sid={SID}", method)
    assert browser.signed_in


def test_after_a_sign_in_nobody_is_led_to_it(browser):
    answer = browser.sign_in(f"/login?next=/logout/front-channel?sid={SID}")
    assert answer.headers["Location"] == "/"
    assert browser.signed_in


def test_another_apps_index_finds_nobody(browser, visit):
    another = visit(CLIENT_SECRET="another secret")
    assert frame(another, f"?sid={SID}").status_code == 200
    assert browser.signed_in


def test_a_session_is_found_after_the_key_was_rotated(visit, provider):
    provider.claims = {"sid": SID}
    before, new, never = ("the-key-of-before-" * 2, "the-new-key-----" * 2, "another-key-----" * 2)
    browser = visit(SECRET_KEY=before)
    browser.sign_in()
    assert frame(visit(SECRET_KEY=new, SECRET_KEY_FALLBACKS=never), f"?sid={SID}").status_code == 200
    assert browser.signed_in
    assert frame(visit(SECRET_KEY=new, SECRET_KEY_FALLBACKS=before), f"?sid={SID}").status_code == 200
    assert not browser.signed_in


# --- Back-channel -------------------------------------------------------------------------------------------------------


def logout_token(provider, key=None, typ="logout+jwt", **changes):
    now = int(time.time())
    claims = {"iss": provider.url, "aud": CLIENT["CLIENT_ID"], "iat": now, "exp": now + 120, "jti": str(uuid.uuid4())}
    claims |= {"events": {EVENT: {}}, "sid": SID, **changes}
    return (key or provider.keys[0]).sign({name: each for name, each in claims.items() if each is not None}, typ=typ)


def send(browser, *tokens, **data):
    client = browser.app.test_client(use_cookies=False)
    form = data or {"logout_token": list(tokens)}
    return client.post("/logout/back-channel", base_url=HTTP, data=form)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, [False, False, True, True]),
        ({"sid": None, "sub": "alice"}, [False, False, False, True]),
        ({"sub": "alice"}, [False, False, True, True]),
        ({"aud": [CLIENT["CLIENT_ID"]]}, [False, False, True, True]),
        ({"typ": "JWT"}, [False, False, True, True]),
        ({"trace_id": 7, "events": {EVENT: {}, "more": 1}}, [False, False, True, True]),
    ],
    ids=str,
)
def test_a_token_ends_the_sessions_that_it_names(browser, changes, left):
    people = [browser, other(browser, sid=SID), other(browser, sid="another"), other(browser, "bob", sid="bobs")]
    answer = send(browser, logout_token(browser.provider, **changes))
    assert (answer.status_code, answer.text) == (200, "")
    assert answer.headers["Cache-Control"] == "no-cache, no-store"
    assert [each.signed_in for each in people] == left


def test_a_provider_sends_it_as_no_page_of_another_site_and_may_send_it_all_the_same(browser):
    headers = {"Origin": "https://idp.example", "Sec-Fetch-Site": "cross-site"}
    data = {"logout_token": logout_token(browser.provider)}
    answer = browser.app.test_client().post("/logout/back-channel", base_url=HTTP, data=data, headers=headers)
    assert answer.status_code == 200
    assert not browser.signed_in


def test_beside_flask_wtf_it_is_exempt_as_the_documents_say(visit, provider):
    csrf = pytest.importorskip("flask_wtf.csrf")
    provider.claims = {"sid": SID}
    browser = visit(SECRET_KEY="k" * 32)
    protect = csrf.CSRFProtect(browser.app)
    browser.sign_in()
    assert send(browser, logout_token(browser.provider)).status_code == 400
    assert browser.signed_in
    protect.exempt(browser.app.view_functions["identity.back_channel_logout"])
    assert send(browser, logout_token(browser.provider)).status_code == 200
    assert not browser.signed_in


LATER = int(time.time()) + 4000
FORGED = {
    "another's key": lambda provider: logout_token(provider, SigningKey(kid="first", number=7)),
    "a key that nobody publishes": lambda provider: logout_token(provider, SigningKey(kid="made up", number=7)),
    "unsigned": lambda provider: logout_token(provider).rpartition(".")[0] + ".",
    "another's signature": lambda provider: logout_token(provider)[:-8] + "AAAAAAAA",
    "another issuer": lambda provider: logout_token(provider, iss="https://attacker.example"),
    "no issuer": lambda provider: logout_token(provider, iss=None),
    "another audience": lambda provider: logout_token(provider, aud="other"),
    "several audiences": lambda provider: logout_token(provider, aud=[CLIENT["CLIENT_ID"], "other"]),
    "no audience": lambda provider: logout_token(provider, aud=None),
    "expired": lambda provider: logout_token(provider, exp=int(time.time()) - 300),
    "no expiry": lambda provider: logout_token(provider, exp=None),
    "of the day before yesterday": lambda provider: logout_token(provider, iat=1_700_000_000, exp=LATER),
    "of tomorrow": lambda provider: logout_token(provider, iat=LATER + 80000, exp=LATER + 90000),
    "no time": lambda provider: logout_token(provider, iat=None),
    "a time in words": lambda provider: logout_token(provider, iat="now"),
    "no event": lambda provider: logout_token(provider, events=None),
    "another event": lambda provider: logout_token(provider, events={"http://schemas.example/other": {}}),
    "an event that is no object": lambda provider: logout_token(provider, events={EVENT: "yes"}),
    "events in a list": lambda provider: logout_token(provider, events=[EVENT]),
    "a nonce": lambda provider: logout_token(provider, nonce="n"),
    "an empty nonce": lambda provider: logout_token(provider, nonce=""),
    "nobody": lambda provider: logout_token(provider, sid=None),
    "an empty sid": lambda provider: logout_token(provider, sid=" "),
    "a sid that is a list": lambda provider: logout_token(provider, sid=[SID]),
    "a sub that is a number": lambda provider: logout_token(provider, sub=7),
    "no identifier": lambda provider: logout_token(provider, jti=None),
    "an empty identifier": lambda provider: logout_token(provider, jti=""),
    "an access token's kind": lambda provider: logout_token(provider, typ="at+jwt"),
    "an ID token": lambda provider: provider.id_token("a nonce"),
    "no token": lambda provider: "x",
    "nothing": lambda provider: "",
    "far too much": lambda provider: logout_token(provider, more="x" * 40_000),
    "a lone surrogate": lambda provider: logout_token(provider, more="\ud800"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_signs_nobody_out_and_leaves_one_line(browser, caplog, kind):
    token = FORGED[kind](browser.provider)
    caplog.clear()
    answer = send(browser, token)
    assert (answer.status_code, answer.json) == (400, {"error": "invalid_request"})
    assert answer.headers["Cache-Control"] == "no-cache, no-store"
    lines = [each.getMessage() for each in caplog.records if "Back-channel" in each.getMessage()]
    assert len(lines) == 1
    assert SID not in lines[0]
    assert browser.signed_in


@pytest.mark.parametrize("sent", [{}, {"token": "x"}, {"logout_token": ["a", "b"]}])
def test_what_is_not_one_token_is_refused(browser, sent):
    assert send(browser, **(sent or {"x": "y"})).status_code == 400
    assert browser.get("/logout/back-channel").status_code == 405
    assert browser.signed_in


def test_a_token_works_once_and_the_next_one_again(browser):
    token = logout_token(browser.provider, sid=None, sub="alice")
    assert send(browser, token).status_code == 200
    again = other(browser)
    assert send(browser, token).status_code == 400
    assert again.signed_in
    assert send(browser, logout_token(browser.provider, sid=None, sub="alice")).status_code == 200
    assert not again.signed_in


def test_a_token_that_could_not_be_obeyed_may_come_again(browser, monkeypatch):
    from flask_entra.sessions.files import FileStore
    from flask_entra.sessions.store import StoreUnavailable

    def fail(*_):
        raise StoreUnavailable("gone")

    token = logout_token(browser.provider)
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "delete", fail)
        assert send(browser, token).status_code == 400
    assert send(browser, token).status_code == 200
    assert not browser.signed_in


def test_a_token_that_is_sent_again_when_it_is_forgotten_is_too_old(browser, monkeypatch):
    token = logout_token(browser.provider, exp=int(time.time()) + 10**8)
    assert send(browser, token).status_code == 200
    due(monkeypatch, 24 * 3600 + 130)
    again = other(browser, sid=SID)
    assert send(browser, token).status_code == 400
    assert again.signed_in


def test_a_provider_that_has_changed_its_keys_is_understood(browser):
    key = SigningKey(kid="second", number=3)
    browser.provider.keys.append(key)
    assert send(browser, logout_token(browser.provider, key)).status_code == 200
    assert not browser.signed_in


# --- As Entra does it, in a browser -------------------------------------------------------------------------------------


@pytest.fixture
def strict_browser(launch):
    """A Chromium that blocks third-party cookies."""
    started = launch("--test-third-party-cookie-phaseout")
    yield started
    started.close()


@pytest.mark.slow
def test_a_sign_out_in_one_app_reaches_the_other_without_third_party_cookies(serve, box, strict_browser):
    apps = []
    for _ in range(2):  # at another site than the tenant, which is at localhost
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve(port=port, REDIRECT_URI=f"{url}/getAToken")
        box.front_channel_logout_urls.add(f"{url}/logout/front-channel")
        apps.append(url)
    box.sid_claim = True
    context = strict_browser.new_context()
    page = context.new_page()
    frames = []
    page.on("request", lambda request: "front-channel" in request.url and frames.append(request))
    page.goto(f"{apps[0]}/login")
    page.click("button[value=adele]")
    page.click("button[value=accept]")
    page.wait_for_url(f"{apps[0]}/")
    page.goto(f"{apps[1]}/login")
    page.wait_for_url(f"{apps[1]}/")
    assert "Adèle" in page.inner_text("h1")
    page.click("details.account summary")
    page.click("details.account button")
    page.wait_for_url(f"{apps[1]}/")
    assert "You have signed out." in page.inner_text("main")
    assert sorted(each.url.partition("/logout")[0] for each in frames) == sorted(apps)
    assert all("cookie" not in each.all_headers() for each in frames)
    assert "iss=" not in "".join(each.url for each in frames)
    page.goto(apps[0])
    assert "Sign in with Microsoft" in page.inner_text("main")
    assert "Your session has been ended" in page.inner_text("main")
    context.close()

"""When a sign-in begins, what it asks for, where it ends, and when it is given up: the app in this process, in milliseconds."""

import datetime
import hashlib
import json
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import flask
import itsdangerous
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fake_provider import Browser, asked, due, refusal
from visitor import REDIRECTS, cookie_name
from werkzeug import Response

from flask_entra import Auth, SignInRequired
from flask_entra.config import of
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signin import guards, pending, sign_in_link
from flask_entra.signin.errors import person
from flask_entra.testing import sign_in

REFUSED = Response("", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
GROUP = "b9b3d9a4-5a0f-4c4e-8b6e-6f3d6b0f5b11"
SCRIPT = {"Accept": "application/json"}


@pytest.fixture
def browser(visit):
    """A person who has signed in to the app, which has two more views: one for POST, and one that asks for what one wants."""
    browser = visit(SCOPE="invoices")
    auth = Auth()

    def step(*, context):
        raise SignInRequired(flask.request.args.get("claims"), flask.request.args.getlist("scope") or None)

    def order(*, context):
        return "ordered"

    browser.app.add_url_rule("/step", view_func=auth.login_required(step))
    browser.app.add_url_rule("/order", view_func=auth.login_required(order), methods=["POST"])
    browser.sign_in()
    return browser


def step(**query):
    return f"/step?{urlencode(query, doseq=True)}"


def path_of(url):
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def link_to_a_sign_in(browser, scopes, claims):
    """The path of such a link, as the app gives it to a script."""
    with browser.app.test_request_context("/", base_url="http://localhost:5000"):
        return path_of(sign_in_link.make(of(browser.app), scopes, claims))


def goes_to_the_provider(browser, answer):
    return answer.headers.get("Location", "").startswith(browser.provider.url)


def again(browser, path):
    """Sign in again for a page, if the app lets the person; whether it has."""
    answer = browser.get(path)
    if goes_to_the_provider(browser, answer):
        browser.finish(asked(answer))
        return True
    assert answer.status_code == 403
    return False


# --- What it asks for ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["none", "create", "x", "login consent", ""])
def test_only_a_prompt_that_a_link_may_ask_for_goes_to_the_authority(browser, prompt):
    assert "prompt" not in browser.begin(f"/login?{urlencode({'prompt': prompt})}")
    assert browser.begin("/login?prompt=login")["prompt"] == "login"


def test_on_another_host_a_sign_in_moves_to_the_hosts_of_the_redirect_uri_with_all_it_was_asked(browser):
    query = {"next": "/call_graph?x=1", "prompt": "login", "user_flow": "x", "for": "é&="}
    answer = browser.client.get(f"/login?{urlencode(query)}", base_url="http://127.0.0.1:5000")
    location = urlsplit(answer.headers["Location"])
    assert (location.scheme, location.netloc, location.path) == ("http", "localhost:5000", "/login")
    assert dict(parse_qsl(location.query)) == {**query, "moved": "2"}


def test_a_link_that_a_script_follows_is_handed_on_to_a_person_with_what_it_asks_for(browser):
    claims = json.dumps({"id_token": {"acrs": {"value": "c1"}}})
    told = browser.client.get(link_to_a_sign_in(browser, ["special"], claims), headers=SCRIPT)
    assert told.status_code == 401
    begun = browser.begin(path_of(told.json["sign_in"]))
    assert "special" in begun["scope"].split()
    assert json.loads(begun["claims"])["id_token"] == json.loads(claims)["id_token"]


def test_a_link_for_claims_alone_asks_for_the_settings_scopes_with_them(browser):
    begun = browser.begin(link_to_a_sign_in(browser, None, json.dumps({"id_token": {"auth_time": None}})))
    assert "invoices" in begun["scope"].split()
    assert json.loads(begun["claims"])["id_token"] == {"auth_time": None}


@pytest.mark.parametrize(
    "path", ["/logout", "/./logout", "/%6cogout", "/x/../logout", "/logout?x=1", "//logout", "/logout/"]
)
def test_a_sign_in_never_leads_to_the_sign_out(browser, path):
    answer = browser.finish(browser.begin(f"/login?{urlencode({'next': path})}"))
    assert answer.headers["Location"] == "/"


# --- Where it ends ------------------------------------------------------------------------------------------------------


def test_after_a_form_that_needed_a_sign_in_comes_a_page_that_says_so(browser):
    browser.sign_out()
    answer = browser.client.post("/order", base_url="http://localhost:5000")
    assert answer.status_code == 401
    begun = dict(parse_qsl(urlsplit(answer.headers["Refresh"].removeprefix("0; url=")).query))
    page = browser.finish(begun)
    assert page.status_code == 200
    assert "Your form was not sent" in page.text
    assert 'href="/order"' not in page.text  # that address has no page
    assert browser.signed_in


def test_a_sign_in_that_the_authority_refuses_is_over(browser):
    begun = browser.begin()
    assert browser.finish(begun, code=None, error="access_denied").status_code == 403
    browser.client.delete_cookie(cookie_name(browser.app))
    page = browser.finish(begun)
    assert page.status_code == 400
    assert not browser.signed_in


def test_a_sign_in_that_the_authority_did_not_answer_can_be_finished_by_a_reload(visit, provider):
    browser = visit()
    begun = browser.begin()
    provider.token = Response("down", 503)
    assert browser.finish(begun).status_code in (502, 503)
    assert not browser.signed_in
    provider.token = {}
    assert browser.finish(begun).status_code in REDIRECTS
    assert browser.signed_in


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "²"])
def test_a_count_of_sign_ins_that_is_none_keeps_nobody_out(visit, value):
    browser = visit()
    browser.client.set_cookie(cookie_name(browser.app, "signed-in"), value)
    assert browser.sign_in("/call_graph").status_code in REDIRECTS
    assert browser.signed_in


def test_a_sign_in_in_the_cookie_of_another_counts_for_nothing(visit):
    browser, other = visit(), visit()
    begun, theirs = browser.begin(), other.begin()

    def cookie_of(whose, query):
        return whose.client.get_cookie(
            f"{cookie_name(whose.app, 'sign-in')}-{hashlib.sha256(query['state'].encode()).hexdigest()[:12]}",
            path="/getAToken",
        )

    mine = cookie_of(browser, begun)
    browser.client.set_cookie(mine.key, cookie_of(other, theirs).value, path="/getAToken")
    assert browser.finish({**begun, "nonce": theirs["nonce"]}).status_code == 400
    assert not browser.signed_in


def test_who_is_signed_in_and_does_not_sign_in_as_somebody_else_has_refused_no_permission(visit):
    browser = visit()  # which asks for no permission of an API
    sign_in(browser.client)
    page = browser.finish(browser.begin(), code=None, error="access_denied")
    assert page.status_code == 403
    assert "openid" not in page.text
    assert browser.signed_in


def test_a_sign_out_comes_back_to_the_address_of_the_redirect_uri(browser):
    answer = browser.client.get("/logout", base_url="http://127.0.0.1:5000")
    assert asked(answer)["post_logout_redirect_uri"] == "http://localhost:5000/"


# --- When it is given up ------------------------------------------------------------------------------------------------


def test_the_same_sign_in_is_tried_again_once_however_its_scopes_are_ordered(browser):
    assert again(browser, step(scope=["one", "two"]))
    assert not again(browser, step(scope=["two", "one"]))
    assert again(browser, step(scope=["one", "three"]))


def test_for_the_same_scopes_three_different_challenges_are_passed_on_in_a_minute(browser, monkeypatch):
    challenges = [step(scope="one", claims=json.dumps({"id_token": {name: None}})) for name in "abcde"]
    assert [again(browser, each) for each in challenges] == [True, True, True, False, False]
    due(monkeypatch, 61)
    assert again(browser, challenges[0])


def test_eight_sign_ins_are_repeated_in_a_minute(browser):
    assert [again(browser, step(scope=f"scope{number}")) for number in range(10)] == [True] * 8 + [False] * 2


def test_a_sign_in_that_took_its_time_is_not_repeated_for_ever(browser, monkeypatch):
    begun = browser.begin(step(scope="one"))
    due(monkeypatch, 120)
    browser.finish(begun)
    assert not again(browser, step(scope="one"))


def test_a_clock_that_was_ahead_keeps_nobody_from_signing_in(browser, monkeypatch):
    due(monkeypatch, 1800)
    assert again(browser, step(scope="one"))
    due(monkeypatch, -1800)
    assert again(browser, step(scope="one"))


def test_who_signs_in_for_several_things_has_not_lost_the_session(browser):
    for _ in range(4):
        browser.sign_in()
    assert again(browser, step(scope="one"))


def test_sessions_that_get_lost_end_on_a_page_after_three_sign_ins_in_a_minute(browser):
    for number in range(3):
        browser.client.delete_cookie(cookie_name(browser.app))
        answer = browser.get("/call_graph")
        if number < 2:
            assert goes_to_the_provider(browser, answer)
            browser.finish(asked(answer))
    assert answer.status_code == 500
    assert "session" in answer.text


def test_who_signs_out_may_sign_in_again_at_once(browser):
    for _ in range(4):
        browser.sign_out()
        answer = browser.get("/call_graph")
        assert goes_to_the_provider(browser, answer)
        browser.finish(asked(answer))


def test_a_store_that_fails_while_a_sign_in_begins_has_its_own_page(visit, monkeypatch):
    browser = visit()

    def fails(_):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(pending.SignIns, "finished_too_often", fails)
    assert browser.get("/call_graph").status_code == 503


def test_where_a_sign_in_did_not_help_the_page_says_that_it_was_the_api(browser):
    browser.provider.userinfo = REFUSED
    for _ in range(2):
        browser.provider.token = refusal("invalid_grant")
        answer = browser.get("/call_graph")
        browser.provider.token = {}
        if goes_to_the_provider(browser, answer):
            browser.finish(asked(answer))
    assert answer.status_code == 401  # as the API has said


# --- What is signed, guarded and logged -----------------------------------------------------------------------------------


def test_a_new_key_signs_and_former_ones_are_still_believed(visit):
    old, new = "o" * 32, "n" * 32
    during, after, before = (
        visit(**settings).app
        for settings in (
            {"SECRET_KEY": new, "SECRET_KEY_FALLBACKS": old},
            {"SECRET_KEY": new},
            {"SECRET_KEY": old},
        )
    )

    def sign(app):
        return pending.serializer(of(app)).dumps("x")

    def believes(app, signed, salt="sign-in"):
        try:
            return pending.serializer(of(app), salt).loads(signed) == "x"
        except itsdangerous.BadData:
            return False

    assert [believes(app, sign(during)) for app in (during, after, before)] == [True, True, False]
    assert [believes(app, sign(before)) for app in (during, after, before)] == [True, False, True]
    assert not believes(after, sign(after), "invitation")


def test_a_view_that_answers_options_itself_needs_a_sign_in_and_flasks_own_answer_does_not():
    app = flask.Flask("protected")

    def nobody(needs):
        raise SignInRequired()

    guards.protect(app, nobody)
    app.register_error_handler(SignInRequired, lambda error: ("sign in", 401))
    app.add_url_rule("/own", "own", lambda: "mine", methods=["GET", "OPTIONS"])
    app.add_url_rule("/flasks", "flasks", lambda: "mine")
    client = app.test_client()
    assert client.options("/flasks").status_code == 200
    assert [client.options("/own").status_code, client.get("/own").status_code, client.get("/flasks").status_code] == [
        401
    ] * 3


def test_the_log_names_a_person_by_an_id_and_never_by_an_address():
    claims = {
        "sub": "s-1",
        "tid": "t-1",
        "preferred_username": "adele@contoso.example",
        "email": "adele@contoso.example",
    }
    assert person(claims) == "oid=s-1 tid=t-1"
    assert person({**claims, "oid": "o-1"}) == "oid=o-1 tid=t-1"


@pytest.mark.parametrize("other", ["{}", "", "another"], ids=["the same", "empty", "another"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_an_answer_with_a_parameter_twice_is_refused(visit, provider, name, first, other):
    browser = visit()
    query = browser.begin()
    answer = {"code": query["nonce"], "state": query["state"], "iss": provider.url}
    if name == "error":
        answer |= {"error": "access_denied"}
        del answer["code"]
    pairs, twice = [*answer.items()], (name, other.format(answer[name]))
    pairs = [twice, *pairs] if first else [*pairs, twice]
    assert browser.get(f"/getAToken?{urlencode(pairs)}").status_code == 400
    assert provider.forms() == []
    assert not browser.signed_in


@pytest.mark.parametrize("path", ["/call_graph", "/login", "/account"])
def test_a_sign_in_that_cannot_begin_is_a_page(visit, provider, path):
    provider.metadata = Response("", 503)
    page = visit().get(path)
    assert page.status_code == 502
    assert "Try again" in page.text


@pytest.mark.parametrize("host", ["https://localhost:5000", "http://127.0.0.1:5000", "http://localhost:8000"])
def test_the_link_to_a_sign_in_is_at_the_address_of_the_redirect_uri(visit, host):
    answer = visit().client.get("/call_graph", base_url=host, headers=SCRIPT)
    assert answer.status_code == 401
    assert answer.json["sign_in"].startswith("http://localhost:5000/login?")


def test_with_protected_somebody_who_was_revoked_is_sent_to_sign_in_by_a_view_that_asks_for_nothing(
    visit, provider, monkeypatch
):
    browser = visit()
    browser.app.add_url_rule("/plain", "plain", lambda: "plain")
    guards.protect(browser.app, Auth().admit)
    browser.sign_in()
    due(monkeypatch, 4000)
    assert browser.get("/plain").text == "plain"  # vouched for once more
    assert [form["grant_type"] for form in provider.forms()] == ["authorization_code", "refresh_token"]
    due(monkeypatch, 4000)
    provider.token = refusal("invalid_grant")
    assert goes_to_the_provider(browser, browser.get("/plain"))


def test_of_the_sign_ins_begun_in_one_browser_as_many_as_it_can_hold_can_be_finished(visit):
    browser, kept = visit(), set()
    begun = []
    for _ in range(45):
        answer = browser.get("/login")
        begun.append(asked(answer))
        for cookie in answer.headers.getlist("Set-Cookie"):
            (kept.discard if "Max-Age=0" in cookie else kept.add)(cookie.partition("=")[0])
    whole = [name for name in kept if name.startswith("sign-in-")]
    assert 15 <= len(whole) <= 20
    assert len(kept) == len(whole) + len(whole) + 20  # each has a marker, and so have twenty that were given up
    for number, query in enumerate(begun):
        page = browser.finish(query)
        if number >= 45 - len(whole):
            assert page.status_code in REDIRECTS
        elif number >= 45 - len(whole) - 20:
            assert page.status_code == 400
            assert "This one was given up" in page.text
            assert 'class="button" href="/login"' in page.text
        else:
            assert page.status_code == 400


@pytest.mark.parametrize(
    ("settings", "ends_after"),
    [({"SESSION_IDLE_MINUTES": "0.5"}, 31), ({"SESSION_IDLE_MINUTES": "600", "SESSION_MAX_HOURS": "0.01"}, 37)],
)
def test_a_session_ends_when_the_settings_say(visit, monkeypatch, settings, ends_after):
    browser = visit(**settings)
    sign_in(browser.client)
    assert browser.signed_in
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + ends_after)
    assert not browser.signed_in


@pytest.mark.parametrize(
    ("settings", "code", "told"),
    [
        ({}, "en", "After 12 hours without use, 24 hours after you signed in"),
        ({}, "fr", "Après 12 heures sans utilisation, 24 heures après votre connexion"),
        ({"SESSION_IDLE_MINUTES": "90", "SESSION_MAX_HOURS": "8"}, "en", "After 90 minutes without use, 8 hours after"),
        ({"SESSION_IDLE_MINUTES": "0.5", "SESSION_MAX_HOURS": "1"}, "en", "After 30 seconds without use, 1 hour after"),
    ],
)
def test_the_account_page_says_when_the_session_ends(visit, settings, code, told):
    browser = visit(**settings)
    sign_in(browser.client)
    assert told in browser.get(f"/account?lang={code}").text.replace("\u202f", " ").replace("\xa0", " ")


# --- Rights that are taken away ---------------------------------------------------------------------------------------


@pytest.fixture
def approver(visit, provider, monkeypatch):
    """A browser whose person had a role at the sign-in, an ID token's lifetime ago; refreshes bring no ID token."""
    provider.claims = {"roles": ["Orders.Approve"], "groups": [GROUP]}
    browser, auth = visit(), Auth()
    for path, needs in {
        "/approve": {"roles": ["Orders.Approve"]},
        "/leaders": {"groups": [GROUP]},
        "/plain": {},
    }.items():
        view = auth.login_required(lambda *, context: context["user"]["sub"], **needs)
        browser.app.add_url_rule(path, path[1:], view)
    browser.sign_in()
    assert [browser.get(path).status_code for path in ("/approve", "/leaders", "/plain")] == [200, 200, 200]
    due(monkeypatch, 4000)
    provider.token = {"id_token": None}
    return browser


@pytest.mark.parametrize("told", [{}, {"groups": [GROUP]}], ids=str)
def test_a_role_of_which_nobody_has_told_since_is_asked_for_anew(approver, provider, told):
    provider.userinfo = {"sub": "alice", **told}
    assert approver.get("/plain").text == "alice"  # vouched for
    assert goes_to_the_provider(approver, approver.get("/approve"))
    provider.claims, provider.token = {"roles": []}, {}
    approver.sign_in("/login?next=/approve")
    assert approver.get("/approve").status_code == 403


def test_userinfo_tells_that_a_role_is_still_there_or_gone(approver, provider, monkeypatch):
    provider.userinfo = {"sub": "alice", "roles": ["Orders.Approve"]}
    assert approver.get("/approve").text == "alice"
    assert goes_to_the_provider(approver, approver.get("/leaders"))  # of the groups it told nothing
    due(monkeypatch, 4000)
    provider.userinfo = {"sub": "alice", "roles": ["Orders.Read"]}
    assert approver.get("/approve").status_code == 403


def test_a_role_that_userinfo_alone_tells_of_is_none(visit, provider, monkeypatch):
    browser = visit()
    view = Auth().login_required(lambda *, context: "approved", roles=["Orders.Approve"])
    browser.app.add_url_rule("/approve", "approve", view)
    browser.sign_in()
    due(monkeypatch, 4000)
    provider.token, provider.userinfo = {"id_token": None}, {"sub": "alice", "roles": ["Orders.Approve"]}
    assert goes_to_the_provider(browser, browser.get("/approve"))


def test_a_script_of_a_person_whose_role_is_old_is_told_to_sign_in(approver, provider):
    provider.userinfo = {"sub": "alice"}
    assert approver.client.get("/approve", base_url="http://localhost:5000", headers=SCRIPT).status_code == 401


# --- Another key ------------------------------------------------------------------------------------------------------

OLD, NEW = "o" * 32, "n" * 32
DAY = datetime.timedelta(days=1)


def rotations(tmp_path):
    """The steps of docs/operate.md, each with the settings of a process that has taken it."""
    for name in ("old", "new"):
        make_certificate(tmp_path / f"{name}.pem")
    old, new = (str(tmp_path / f"{name}.pem") for name in ("old", "new"))
    none = {"CLIENT_SECRET": None}
    return {
        "SECRET_KEY": [
            {"SECRET_KEY": OLD},
            {"SECRET_KEY": OLD, "SECRET_KEY_FALLBACKS": NEW},
            {"SECRET_KEY": NEW, "SECRET_KEY_FALLBACKS": OLD},
            {"SECRET_KEY": NEW},
        ],
        "CLIENT_SECRET": [
            {"CLIENT_SECRET": OLD},
            {"CLIENT_SECRET": OLD, "CLIENT_CREDENTIAL_FALLBACKS": NEW},
            {"CLIENT_SECRET": NEW, "CLIENT_CREDENTIAL_FALLBACKS": OLD},
            {"CLIENT_SECRET": NEW},
        ],
        "certificate": [
            {**none, "CLIENT_CERTIFICATE_PATH": old},
            {**none, "CLIENT_CERTIFICATE_PATH": old, "CLIENT_CREDENTIAL_FALLBACKS": new},
            {**none, "CLIENT_CERTIFICATE_PATH": new, "CLIENT_CREDENTIAL_FALLBACKS": old},
            {**none, "CLIENT_CERTIFICATE_PATH": new},
        ],
        "a secret by a certificate": [
            {"CLIENT_SECRET": OLD},
            {"CLIENT_SECRET": OLD, "CLIENT_CREDENTIAL_FALLBACKS": new},
            {**none, "CLIENT_CERTIFICATE_PATH": new, "CLIENT_CREDENTIAL_FALLBACKS": OLD},
            {**none, "CLIENT_CERTIFICATE_PATH": new},
        ],
    }


def make_certificate(path):
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


@pytest.mark.parametrize("what", ["SECRET_KEY", "CLIENT_SECRET", "certificate", "a secret by a certificate"])
def test_by_the_documented_steps_a_new_key_fails_no_sign_in(visit, tmp_path, what):
    apps = [visit(**settings).app for settings in rotations(tmp_path)[what]]
    # While processes take a step one after the other, a sign-in may begin on one that has taken it, and end on one that has not.
    neighbours = [*zip(apps[:2], apps[1:3], strict=True), *zip(apps[1:3], apps[:2], strict=True), (apps[2], apps[3])]
    for begins, ends in neighbours:
        browser = Browser(begins, None)
        query = browser.begin()
        browser.client.application = ends
        assert browser.finish(query).status_code in REDIRECTS


def test_a_key_that_is_not_known_is_told_apart_from_a_cookie_that_is_missing(visit, capsys):
    browser = visit(SECRET_KEY=OLD)
    query = browser.begin()
    browser.client.application = visit(SECRET_KEY=NEW).app
    told = "signed with a key that this process does not have"
    assert browser.finish(query).status_code == 400
    assert told in capsys.readouterr().err
    assert Browser(browser.client.application, None).finish(query).status_code == 400
    assert told not in capsys.readouterr().err

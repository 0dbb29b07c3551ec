"""Hints for a sign-in: `login_hint`, `domain_hint`, `max_age`, `acr_values`; the remembered account, and the silent sign-in."""

import re
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from configs import config_of
from conftest import Served
from fake_provider import asked as asked_of
from visitor import REDIRECTS, Page, Visitor, cookie_name, cookie_of

from flask_entra import Auth, hints
from sandbox.people import DOMAIN

ADELE, ALEX = f"adele@{DOMAIN}", f"alex@{DOMAIN}"


@pytest.fixture(scope="module")
def shared(shared_box, tmp_path_factory):
    settings = {**shared_box.settings, "REMEMBER_ACCOUNT": "on", "DOMAIN_HINT": "contoso.example"}
    app = Served(settings, tmp_path_factory.mktemp("hints"))
    yield app
    app.end()


@pytest.fixture
def remembering(shared, box):
    """An app that remembers accounts."""
    box.redirect_uris.add(shared.settings["REDIRECT_URI"])
    return shared


@pytest.fixture
def known(remembering):
    """Somebody who has signed in there, and whose session has ended since."""
    person = Visitor(remembering.url)
    person.sign_in()
    end_session(person)
    return person


def end_session(person):
    cookie = cookie_of(person.cookies)
    person.cookies.clear(cookie.domain, cookie.path, cookie.name)


def begun(answer):
    """The authorization request to which an answer of the app leads."""
    assert answer.status_code in REDIRECTS
    return {name: each[0] for name, each in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def login(person, **query):
    return begun(person.get(f"/login?{urlencode(query)}", follow=False))


def asked(box):
    return [each.query for each in box.seen("authorize")]


# --- In the link ----------------------------------------------------------------------------------------------------------


def test_what_a_link_hints_at_is_passed_on(person):
    given = {
        "login_hint": "نور@contoso.example",
        "domain_hint": "Contoso.example",
        "acr_values": "a urn:b",
        "max_age": "0",
    }
    query = login(person, **given)
    assert {name: query[name] for name in given} == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("login_hint", "adele@contoso.example\r\nX: y"),
        ("login_hint", "a\tb"),
        ("login_hint", "\u202eadele"),
        ("login_hint", "a\u2028b"),
        ("login_hint", "\0"),
        ("login_hint", "x" * 401),
        ("login_hint", ""),
        ("login_hint", "   "),
        ("domain_hint", "contoso.example\n"),
        ("domain_hint", "contoso.example\r\nSet-Cookie: a=b"),
        ("domain_hint", "contoso"),
        ("domain_hint", "-a.example"),
        ("domain_hint", "a..example"),
        ("domain_hint", "a.example/x"),
        ("domain_hint", "a.example&prompt=none"),
        ("domain_hint", "Organizations"),
        ("domain_hint", "ｃontoso.example"),
        ("domain_hint", f"{'a' * 64}.example"),
        ("domain_hint", f"{'a.' * 130}example"),
        ("acr_values", "a\nb"),
        ("acr_values", "é"),
        ("acr_values", "x" * 401),
        ("max_age", "-1"),
        ("max_age", "1.5"),
        ("max_age", "٣"),
        ("max_age", "1" * 10),
        ("max_age", "300\n"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_what_cannot_be_a_hint_is_left_out(person, name, value):
    assert name not in login(person, **{name: value})


def test_bytes_that_are_no_text_are_no_hint(person):
    answer = person.get("/login?login_hint=%ff%fe&domain_hint=%80", follow=False)
    assert "domain_hint" not in begun(answer)
    assert answer.status_code in REDIRECTS


@pytest.mark.parametrize(
    "value", ["organizations", "consumers", "a.example", "xn--bcher-kva.example", "a-b.c-d.example"]
)
def test_domains_and_the_names_of_entra_are_domain_hints(value):
    assert hints.read({"domain_hint": f" {value} "}) == {"domain_hint": value}


def test_a_link_with_a_max_age_is_held_to_it(person, box):
    box.forge = lambda claims, header: claims.pop("auth_time", None) and None
    page = person.go_on(person.get("/login?max_age=300"))
    assert page.status_code == 403
    assert not person.signed_in


def test_the_hint_comes_first_on_the_tenants_page_and_skips_it_for_who_is_signed_in_there(person, box):
    page = person.get(f"/login?login_hint={quote(ALEX)}")
    assert re.search(r'<button name="person" value="(\w+)"', page.text)[1] == "alex"
    assert person.go_on(page, "alex").url == f"{person.url}/"
    assert person.get(f"/login?login_hint={quote(ALEX.upper())}").url == f"{person.url}/"
    assert "Pick an account" in person.get(f"/login?login_hint={quote(ADELE)}").text


def test_another_provider_gets_them_too_and_none_of_entras(visit):
    browser = visit(DOMAIN_HINT="contoso.example", REMEMBER_ACCOUNT="on")
    query = browser.begin(f"/login?{urlencode({'login_hint': 'alice', 'acr_values': 'gold', 'max_age': '60'})}")
    assert (query["login_hint"], query["acr_values"], query["max_age"]) == ("alice", "gold", "60")
    assert "X-AnchorMailbox" not in query
    browser.finish(query)
    assert not browser.signed_in  # it has not said when Alice signed in
    browser.provider.claims = {"auth_time": int(time.time()), "preferred_username": "alice"}
    browser.sign_in("/login?max_age=60")
    assert browser.signed_in
    assert browser.begin("/login")["login_hint"] == "alice"


# --- The domain -----------------------------------------------------------------------------------------------------------


def test_the_domain_of_the_setting_is_said_unless_another_account_or_hint_is_wanted(remembering):
    person = Visitor(remembering.url)
    assert login(person)["domain_hint"] == "contoso.example"
    assert begun(person.get("/account", follow=False))["domain_hint"] == "contoso.example"
    assert login(person, domain_hint="b.example")["domain_hint"] == "b.example"
    assert "domain_hint" not in login(person, prompt="select_account")
    assert "domain_hint" not in login(person, login_hint=ADELE)


def test_a_domain_that_is_none_is_not_said():
    assert config_of(DOMAIN_HINT="contoso.example\r\nX: y").domain_hint == ""
    assert config_of(DOMAIN_HINT="contoso.example").domain_hint == "contoso.example"


# --- The remembered account -------------------------------------------------------------------------------------------------


def test_by_default_no_account_is_remembered(person, app):
    person.sign_in()
    assert not [each for each in person.cookies if "account" in each.name]
    end_session(person)
    assert "login_hint" not in login(person)
    assert "prompt" not in begun(person.get("/account", follow=False))


def test_the_next_sign_in_of_the_browser_does_not_ask_for_the_account(known, box):
    assert login(known)["login_hint"] == ADELE
    box.revoke("adele")
    page = known.get("/login")
    assert 'class="hinted"' in page.text
    cookie = cookie_of(known.cookies, "account")
    assert "adele" not in cookie.value
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert 89 * 24 * 3600 < cookie.expires - time.time() <= 90 * 24 * 3600


def test_the_claim_that_is_made_for_it_is_preferred(remembering, box):
    box.login_hint_claim = True
    person = Visitor(remembering.url)
    person.sign_in("alex")
    assert login(person)["login_hint"].startswith("O.")
    end_session(person)
    assert person.get("/account").url == f"{person.url}/account"


def test_another_account_is_another_one(known):
    assert "login_hint" not in login(known, prompt="select_account")
    known.go_on(known.get("/login?prompt=select_account"), "alex")
    assert login(known)["login_hint"] == ALEX


def test_a_sign_out_forgets_it(known):
    known.sign_in()
    known.sign_out()
    assert "login_hint" not in login(known)
    page = known.get("/account")
    assert "Pick an account" in page.text


def test_a_sign_out_after_the_session_has_ended_forgets_it_too(known):
    known.sign_out()
    assert "login_hint" not in login(known)


def test_an_account_that_cannot_sign_in_keeps_nobody_out(known, box):
    box.person("adele").needs_admin = True
    box.tenant.memory.consents.clear()
    page = known.get("/login")
    link = Page(page.text).links[-1]
    page = known.get(link)
    assert page.status_code == 403
    assert "login_hint" not in login(known)
    known.go_on(known.get("/login?prompt=select_account"), "alex")
    assert known.signed_in


def test_an_account_whose_id_token_is_refused_is_forgotten(known, box):
    box.forge = lambda claims, header: claims.update(aud="another")
    assert known.get("/login").status_code == 502
    assert "login_hint" not in login(known)


@pytest.mark.parametrize("value", ["", "x", "=", "é", "A" * 80, "A" * 4000, "W10"])
def test_a_cookie_that_this_app_has_not_made_says_nothing(remembering, value):
    person = Visitor(remembering.url)
    person.cookies.set(cookie_name(remembering, "account"), quote(value), domain="localhost.local")
    answer = person.get(
        "/account", follow=False, headers={"Cookie": f"{cookie_name(remembering, 'account')}={quote(value)}"}
    )
    assert "prompt" not in begun(answer)


def test_it_is_encrypted_for_this_app_and_holds_for_90_days(visit, monkeypatch):
    first = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32)
    first.provider.claims = {"preferred_username": "alice@example.com"}
    first.sign_in()
    name = cookie_name(first.app, "account")
    value = first.client.get_cookie(name).value

    def hint_at(**settings):
        other = visit(REMEMBER_ACCOUNT="on", **settings)
        other.client.set_cookie(name, value)
        return other.begin("/login").get("login_hint")

    assert hint_at(SECRET_KEY="a" * 32) == "alice@example.com"
    assert hint_at(SECRET_KEY="b" * 32) is None
    assert hint_at(SECRET_KEY="b" * 32, SECRET_KEY_FALLBACKS="a" * 32) == "alice@example.com"
    other = visit(SECRET_KEY="a" * 32)  # where it has been switched off since
    other.client.set_cookie(name, value)
    assert "login_hint" not in other.begin("/login")
    other.sign_in()
    assert other.client.get_cookie(name) is None
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 90 * 24 * 3600 + 1)
    assert hint_at(SECRET_KEY="a" * 32) is None


@pytest.mark.parametrize("name", ["a\nb", "", 7, None, ["a"], "x" * 500])
def test_a_name_that_is_no_hint_is_not_remembered(visit, name):
    browser = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32)
    browser.provider.claims = {"preferred_username": name}
    browser.sign_in()
    assert browser.signed_in
    assert browser.client.get_cookie(cookie_name(browser.app, "account")) is None


# --- The silent sign-in -----------------------------------------------------------------------------------------------------


def test_a_session_that_has_ended_begins_again_without_a_page(known, box):
    box.log.clear()
    page = known.get("/account?x=1")
    assert page.url == f"{known.url}/account?x=1"
    (query,) = asked(box)
    assert (query["prompt"], query["login_hint"]) == ("none", ADELE)


def test_a_view_that_wants_a_recent_or_stronger_sign_in_asks_for_none_silently(visit):
    browser, auth = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32), Auth()
    for name, needs in {"plain": {}, "recent": {"max_age": 300}, "strong": {"auth_context": "c1"}}.items():
        browser.app.add_url_rule(f"/{name}", name, auth.login_required(lambda *, context: "", **needs))
    browser.provider.claims = {"preferred_username": "alice"}
    browser.sign_in()
    browser.client.delete_cookie(cookie_name(browser.app))
    assert [browser.begin(f"/{name}").get("prompt") for name in ("plain", "recent", "strong")] == ["none", None, None]


def test_where_the_authority_wants_to_see_the_person_the_ordinary_sign_in_begins_at_once(known, box):
    box.revoke("adele")
    box.log.clear()
    page = known.get("/account?x=1")
    assert "Pick an account" in page.text
    assert [each.get("prompt") for each in asked(box)] == ["none", None]
    assert asked(box)[1]["login_hint"] == ADELE
    assert known.go_on(page).url == f"{known.url}/account?x=1"


def test_where_consent_is_missing_too(known, box):
    box.tenant.memory.consents.clear()
    page = known.go_on(known.get("/call_graph"))
    assert page.url == f"{known.url}/call_graph"
    assert "Retail Manager" in page.text


def test_somebody_else_who_is_signed_in_at_the_tenant_is_not_signed_in_silently(known, box):
    other = Visitor(known.url)
    other.sign_in("alex")
    sso = next(each for each in other.cookies if each.name.startswith("sandbox_sso"))
    known.cookies.set_cookie(sso)
    box.log.clear()
    assert "Pick an account" in known.get("/account").text
    assert [each.get("prompt") for each in asked(box)] == ["none", None]


@pytest.mark.parametrize(
    "error", ["login_required", "interaction_required", "consent_required", "account_selection_required"]
)
def test_it_is_tried_once(visit, error):
    browser = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32)
    browser.provider.claims = {"preferred_username": "alice"}
    browser.sign_in()
    browser.client.delete_cookie(cookie_name(browser.app))
    silent = browser.begin("/account")
    assert silent["prompt"] == "none"
    answer = browser.finish(silent, code=None, error=error)
    shown = asked_of(answer)
    assert "prompt" not in shown
    page = browser.finish(shown, code=None, error=error)
    assert page.status_code in (400, 401, 403)  # a page, and no third sign-in
    assert "prompt=select_account" in page.text


def test_another_error_has_its_page(visit):
    browser = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32)
    browser.provider.claims = {"preferred_username": "alice"}
    browser.sign_in()
    browser.client.delete_cookie(cookie_name(browser.app))
    page = browser.finish(browser.begin("/account"), code=None, error="server_error")
    assert page.status_code == 502


def test_what_the_sign_in_is_for_survives_a_silent_one_that_fails(visit):
    browser = visit(REMEMBER_ACCOUNT="on", SECRET_KEY="a" * 32, SCOPE="invoices email")
    browser.provider.claims = {"preferred_username": "alice"}
    browser.sign_in()
    browser.client.delete_cookie(cookie_name(browser.app))
    answer = browser.client.post("/call_graph", base_url="http://localhost:5000")
    assert answer.status_code == 405  # a view for GET alone
    silent = browser.begin("/call_graph?y=2")
    shown = asked_of(browser.finish(silent, code=None, error="login_required"))
    assert set(shown["scope"].split()) == set(silent["scope"].split())
    assert browser.finish(shown).headers["Location"] == "/call_graph?y=2"


def test_a_link_is_never_silent_and_no_script_is_either(known):
    assert "prompt" not in login(known)
    assert "prompt" not in login(known, prompt="none")
    assert known.get("/account", headers={"Accept": "application/json"}).status_code == 401


def test_sessions_that_get_lost_end_on_a_page(known):
    for _ in range(5):
        answer = known.get("/account")
        if answer.status_code == 500:
            break
        end_session(known)
    assert answer.status_code == 500
    assert "session" in answer.text

"""How long a session lives, by the settings, and what a person is told when it has ended."""

import time

import pytest
from fake_provider import CLIENT
from flask import Flask
from visitor import Page, cookie_name

from flask_entra import Auth

LIMITS = {"SESSION_IDLE_MINUTES": "90", "SESSION_MAX_HOURS": "8.5"}


def told(browser):
    """What home says of the end of a session, or None."""
    page = browser.get("/").text
    return Page(page.partition('role="status">')[2].partition("</p>")[0]).text or None


def cookies_set(answer):
    """The attributes of each cookie that an answer sets, by its name."""
    lines = answer.headers.getlist("Set-Cookie")
    return {line.partition("=")[0]: line.split("; ")[1:] for line in lines}


@pytest.mark.parametrize(
    ("minutes", "says"),
    [
        (0, None),
        (1, "Your session has been ended, for example by a sign-out in another app."),
        (89, "Your session has been ended, for example by a sign-out in another app."),
        (91, "You have been signed out after 90 minutes without use."),
        (
            511,
            "You have been signed out: a session ends after 90 minutes without use, and 510 minutes after the sign-in.",
        ),
    ],
)
def test_home_says_why_nobody_is_signed_in_any_more_once(visit, monkeypatch, minutes, says):
    browser = visit(**LIMITS)
    if minutes:
        browser.sign_in()
        browser.client.delete_cookie(cookie_name(browser.app))  # the browser deletes it after the idle time
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + minutes * 60)
    assert told(browser) == says
    assert told(browser) is None


def test_it_is_said_in_french_too_and_not_while_somebody_is_signed_in(visit, monkeypatch):
    browser = visit()
    browser.sign_in()
    assert browser.signed_in
    assert told(browser) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 13 * 3600)
    page = browser.get("/?lang=fr").text
    assert "Vous avez été déconnecté après 12 heures d’inactivité." in page.replace("\u202f", " ").replace("\xa0", " ")


@pytest.mark.parametrize("planted", ["", "x", "-1", "9" * 4000, "²", "1e3"])
def test_a_note_that_somebody_has_made_up_does_no_harm(visit, planted):
    browser = visit()
    browser.client.set_cookie(cookie_name(browser.app, "signed-out"), planted)
    assert browser.get("/").status_code == 200
    assert told(browser) is None


def test_signing_out_says_so_and_no_more(visit):
    browser = visit()
    browser.sign_in()
    browser.sign_out()
    assert told(browser) == "You have signed out."
    assert told(browser) is None


@pytest.mark.parametrize(("setting", "persistent"), [("on", True), ("1", True), ("off", False), ("0", False)])
def test_the_cookies_end_with_the_browser_if_the_setting_says_so(visit, monkeypatch, setting, persistent):
    browser = visit(SESSION_COOKIE_PERSISTENT=setting)
    found = cookies_set(browser.sign_in())
    for name in ("session", "signed-out"):
        attributes = found[cookie_name(browser.app, name)]
        assert persistent == any(each.startswith(("Max-Age", "Expires")) for each in attributes)
        assert "HttpOnly" in attributes
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 3600)  # the session's end moves, and its cookie is set again
    attributes = cookies_set(browser.get("/"))[cookie_name(browser.app)]
    assert persistent == any(each.startswith("Max-Age") for each in attributes)


# --- No session that nobody wants (ASVS 7.6.2) --------------------------------------------------------------------------

OPENED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("path", ["/call_graph", "/login", "/login?next=/account&prompt=consent", "/account?a=1"])
def test_another_site_that_opens_a_page_without_a_click_begins_no_sign_in(visit, path):
    browser = visit()
    answer = browser.client.get(path, base_url="http://localhost:5000", headers=OPENED)
    assert answer.status_code == 200
    assert "Another site opened this page. You have not been signed in." in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers.getlist("Set-Cookie") == []
    again = Page(answer.text).links
    assert path in again  # a click there is one of this site
    clicked = OPENED | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-User": "?1"}
    answer = browser.client.get(path, base_url="http://localhost:5000", headers=clicked)
    assert answer.headers["Location"].startswith(browser.provider.url)


@pytest.mark.parametrize(
    "headers",
    [
        {**OPENED, "Sec-Fetch-User": "?1"},
        {**OPENED, "Sec-Fetch-Site": "none"},
        {**OPENED, "Sec-Fetch-Site": "same-site"},
        {},
    ],
)
def test_a_click_on_another_site_a_bookmark_and_an_old_browser_go_straight_to_the_sign_in(visit, headers):
    browser = visit()
    answer = browser.client.get("/call_graph", base_url="http://localhost:5000", headers=headers)
    assert answer.headers["Location"].startswith(browser.provider.url)


def test_a_switch_lets_a_portal_lead_people_straight_to_the_sign_in(tmp_path, provider, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", provider.ca_file)
    for switch in (True, False):
        app = Flask(__name__)
        settings = {**CLIENT, "OIDC_AUTHORITY": provider.url, "SESSION_FILE_DIR": str(tmp_path)}
        app.config.update({f"ENTRA_{name}": value for name, value in settings.items()}, ENTRA_ASK_BEFORE_SIGN_IN=switch)
        Auth(app)
        answer = app.test_client().get("/login", base_url="http://localhost:5000", headers=OPENED)
        assert answer.headers.get("Location", "").startswith(provider.url) != switch


def test_somebody_who_is_signed_in_is_not_asked(visit):
    browser = visit()
    browser.sign_in()
    answer = browser.client.get("/account", base_url="http://localhost:5000", headers=OPENED)
    assert "What this app knows about you" in answer.text

"""The pages as people meet them, in the machine's own Chromium: in two languages, on a phone, in the dark, by keyboard."""

import hashlib
import json
import re
import sys
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from conftest import Served
from programs import free_port
from visitor import Visitor

from sandbox.faults import Delay
from sandbox.people import Person, profile

ROOT = Path(__file__).parent.parent
LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff" * 6  # 210 characters without a space
# The app's own words, not somebody's data.
WORDS = "a:not(dd a, .brand), h1, h2, p:not(nav p), dt:not(:has(code)), li:not(nav li), summary:not(.account *), strong, button"
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


# --- Ways to each page ----------------------------------------------------------------------------------------------


def press(page, selector):
    """Press a button, and wait for the page that it leads to, redirects included."""
    with page.expect_navigation():
        page.locator(selector).click()


def sign_in(page, url, who="adele"):
    """Be signed in, on the home page, without the time that a browser takes for the tenant's pages."""
    person = Visitor(url)
    assert person.sign_in(who).ok
    page.context.add_cookies(
        [{"name": each.name, "value": each.value, "domain": "localhost", "path": each.path} for each in person.cookies]
    )
    page.goto(url)


def press_through_the_tenants_pages(page, url, consent="accept"):
    page.goto(f"{url}/login")
    press(page, "button[value=adele]")
    press(page, f"button[value={consent}]")


def open_menu(page):
    page.locator("details.account summary").click()


def home(page, url, box):
    page.goto(url)


def signed_in(page, url, box):
    sign_in(page, url)


def the_profile(page, url, box):
    sign_in(page, url)
    page.goto(f"{url}/call_graph")


def a_declined_sign_in(page, url, box):
    press_through_the_tenants_pages(page, url, consent="cancel")


def a_sign_in_with_an_expired_secret(page, url, box):
    box.client_secret_state = "expired"
    press_through_the_tenants_pages(page, url)


def a_busy_graph(page, url, box):
    sign_in(page, url, "lynne")
    page.goto(f"{url}/call_graph")


def a_page_that_is_not_there(page, url, box):
    page.goto(f"{url}/nowhere")


def a_form_sent_to_a_page_without_one(page, url, box):
    page.route(f"{url}/call_graph", lambda route: route.continue_(method="POST"))
    page.goto(f"{url}/call_graph")
    page.unroute(f"{url}/call_graph")


def a_mistake_in_the_app(page, url, box):
    page.goto(f"{page.other_apps['broken']}/mistake")


def a_page_for_a_role(page, url, box):
    own = page.other_apps["broken"]
    box.redirect_uris.add(f"{own}/getAToken")
    sign_in(page, own)
    page.goto(f"{own}/approvals")


def the_account(page, url, box):
    sign_in(page, url)
    page.goto(f"{url}/account")


def a_sign_out_that_another_site_asks_for(page, url, box):
    sign_in(page, url)
    page.goto(box.front_url)
    with page.expect_navigation():
        page.evaluate(f"location.href = '{url}/logout'")


def the_configuration(page, url, box):
    page.goto(page.other_apps["unready"])


PAGES = {
    home: (200, "Home"),
    signed_in: (200, "Home"),
    the_profile: (200, "Your profile"),
    a_declined_sign_in: (403, "You are not signed in"),
    a_sign_in_with_an_expired_secret: (500, "This app is not set up properly"),
    a_busy_graph: (503, "Graph is busy"),
    a_page_that_is_not_there: (404, "Page not found"),
    a_form_sent_to_a_page_without_one: (405, "Action not available here"),
    a_mistake_in_the_app: (500, "Something went wrong"),
    a_page_for_a_role: (403, "Not allowed"),
    the_account: (200, "Your account"),
    a_sign_out_that_another_site_asks_for: (200, "Sign out"),
    the_configuration: (200, "Configuration"),
}


# --- Browsers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def other_apps(shared_box, tmp_path_factory):
    """The app with a page that fails and one for a role, and the app as it is before anybody has set it up: their addresses."""
    port = free_port()
    code = f"""
from flask import render_template
from app import app, auth
app.add_url_rule("/mistake", "mistake", lambda: 1 / 0)
approvals = auth.login_required(roles=["Orders.Approve"])(lambda *, context: render_template("home.html", user=auth.user))
app.add_url_rule("/approvals", "approvals", approvals)
app.run(port={port})
"""
    folder, command = tmp_path_factory.mktemp("broken"), [sys.executable, "-c", code]
    broken = Served(shared_box.settings, folder, command, port, expected="ZeroDivisionError")
    # An empty SCOPE is only odd.
    unready = Served({"CLIENT_ID": "Enter_the_Client_Id_Here", "SCOPE": ""}, tmp_path_factory.mktemp("unready"))
    yield {"broken": broken.url, "unready": unready.url}
    broken.end()
    unready.end()


@pytest.fixture(scope="session")
def open_page(browser, shared_app, other_apps):
    """Open a browser of one's own, with Playwright's options, on a blank page.

    The page gets `responses`, those of the document that is shown and its assets, and `complaints`: what pages of the
    app logged to the console, loaded from elsewhere, or could not load.
    """
    own = (shared_app.url, *other_apps.values())

    def open_page(**options):
        context = browser.new_context(**{"viewport": DESK, "locale": "en-GB", **options})
        page = context.new_page()
        page.other_apps, page.complaints, page.responses = other_apps, [], []

        def console(message):
            # The browser logs the status of the page itself too, when that is an error.
            own_status = message.text.startswith("Failed to load resource") and message.location["url"] == page.url
            if page.url.startswith(own) and not own_status:
                page.complaints.append(message.text)

        def requested(request):
            if request.is_navigation_request():
                page.responses.clear()
            elif page.url.startswith(own) and not request.url.startswith(own):
                page.complaints.append(f"{page.url} loads {request.url}")

        def answered(response):
            page.responses.append(response)
            if response.status >= 400 and not response.request.is_navigation_request():
                page.complaints.append(f"{response.status} {response.url}")

        def failed(request):
            if request.failure != "net::ERR_ABORTED":  # the person went on before the icon was there
                page.complaints.append(f"{request.url} {request.failure}")

        page.on("console", console)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", requested)
        page.on("response", answered)
        page.on("requestfailed", failed)
        return page

    return open_page


@pytest.fixture
def visit(open_page, app):
    """Open browsers for one test, and hear no complaint at its end."""
    pages = []

    def visit(**options):
        pages.append(open_page(**options))
        return pages[-1]

    yield visit
    for page in pages:
        page.context.close()
        assert page.complaints == []


@pytest.fixture(scope="module", params=PAGES, ids=lambda go: go.__name__)
def shown(request, open_page, shared_app, shared_box):
    """Each page of the app in turn, as English and as French browsers show it: a dict of the two, and `status`, `title`."""
    pages = {}
    for language, locale in (("en", "en-GB"), ("fr", "fr-CA")):
        shared_box.reset()
        shared_box.redirect_uris.add(shared_app.settings["REDIRECT_URI"])
        pages[language] = open_page(locale=locale, reduced_motion="reduce")
        request.param(pages[language], shared_app.url, shared_box)
        pages[language].wait_for_load_state()
    shared_box.reset()
    status, title = PAGES[request.param]
    yield {**pages, "status": status, "title": title}
    for page in pages.values():
        page.context.close()


@pytest.fixture
def english(shown):
    """The page of the app whose turn it is, in English, as it was when it was opened."""
    page = shown["en"]
    yield page
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light", forced_colors="none", reduced_motion="reduce")
    page.evaluate("document.documentElement.style.fontSize = ''; document.styleSheets[0].disabled = false")


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def focused(page):
    """The text of what has the focus."""
    return page.evaluate("document.activeElement.innerText").strip()


def assert_focus_is_visible(page):
    style, width = page.evaluate(
        "(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))"
    )
    box = page.evaluate("(b => [b.left, b.top, b.right])(document.activeElement.getBoundingClientRect())")
    assert style != "none", focused(page)
    assert width >= 2
    assert box[0] >= 0
    assert box[1] >= 0
    assert box[2] <= page.viewport_size["width"]


def tab_to(page, text):
    """Press Tab until something with this text has the focus, which must show on everything on the way."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.url.startswith("http://localhost") and page.title().endswith("Flask starter"):
            assert_focus_is_visible(page)
        if text in focused(page):
            return
    raise AssertionError(f"Tab does not lead to {text!r}")


# --- Each page ------------------------------------------------------------------------------------------------------


def test_the_page_answers_with_its_status_and_a_title_that_names_it(shown):
    page = shown["en"]
    assert [each.status for each in page.responses if each.request.is_navigation_request()] == [shown["status"]]
    assert page.title() == f"{shown['title']} – Flask starter"


def test_the_page_logs_nothing_and_loads_nothing_from_elsewhere(shown):
    assert shown["en"].complaints == shown["fr"].complaints == []


# A rule looks at the colours of a theme or at the sizes of a width, and hardly at both.
VIEWS = {"en": [(320, "light"), (1440, "light"), (768, "dark")], "fr": [(320, "dark"), (1440, "light")]}


@pytest.mark.parametrize("language", VIEWS)
def test_axe_finds_nothing_light_or_dark_from_320_to_1440_pixels(shown, language):
    page = shown[language]
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    for width, theme in VIEWS[language]:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=theme)
        found = page.evaluate("axe.run({rules: {'target-size': {enabled: true}}, resultTypes: ['violations']})")
        assert found["passes"]
        assert [(each["id"], each["nodes"]) for each in found["violations"]] == [], f"{theme}, {width}"
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light")
    page.evaluate("document.querySelectorAll('details.account').forEach(each => each.open = false)")


def test_nothing_scrolls_sideways_on_a_phone_or_at_200_percent(shown):
    for page in (shown["en"], shown["fr"]):
        page.set_viewport_size({"width": 320, "height": 640})
        assert not scrolls_sideways(page)
        page.set_viewport_size({"width": 640, "height": 400})  # what zooming a desk's 1280 to 200 % leaves
        assert not scrolls_sideways(page)
        page.set_viewport_size(DESK)
        page.evaluate("document.documentElement.style.fontSize = '200%'")  # larger text alone
        assert not scrolls_sideways(page)
        page.evaluate("document.documentElement.style.fontSize = ''")


def test_the_page_can_be_read_without_its_stylesheet(english):
    english.evaluate("document.styleSheets[0].disabled = true")
    headings = [int(each.evaluate("each => each.tagName[1]")) for each in english.locator("h1, h2, h3").all()]
    assert headings == sorted(headings)
    assert headings.count(1) == 1
    assert english.get_by_text("Skip to the content").is_visible()
    assert not scrolls_sideways(english)
    for image in english.locator("img").all():
        assert image.bounding_box()["width"] <= 360


def test_what_can_be_pressed_shows_itself_with_forced_colours(english):
    english.emulate_media(forced_colors="active")
    for link in english.locator("main a").all():
        line, border = link.evaluate("each => (s => [s.textDecorationLine, s.borderTopStyle])(getComputedStyle(each))")
        assert line == "underline" or border == "solid"
        link.focus()
        assert_focus_is_visible(english)


def test_the_page_is_in_the_browsers_language(shown):
    for language, page in (("en", shown["en"]), ("fr", shown["fr"])):
        assert page.locator("html").get_attribute("lang") == language
        switch = page.locator("nav [hreflang]")
        assert switch.text_content() == {"en": "Français", "fr": "English"}[language]
        assert switch.get_attribute("lang") == switch.get_attribute("hreflang") != language
    texts = {
        language: {shown[language].title().partition(" – ")[0], *shown[language].locator(WORDS).all_inner_texts()}
        for language in ("en", "fr")
    }
    both = [message for folder in CATALOGUES.values() for message in read(folder)]
    international = {message.id for message in both if message.id == message.string}
    assert (texts["en"] & texts["fr"]) - international <= {"", "Adèle Vance"}


def test_the_page_and_its_assets_are_light_and_cached(shown):
    for page in (shown["en"], shown["fr"]):
        weight = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".reduce((sum, each) => sum + each.decodedBodySize, 0)"
        )
        assert 2000 < weight + (ROOT / "static/icon.svg").stat().st_size <= 40 * 1024
        assets = [response for response in page.responses if "/static/" in response.url]
        assert assets
        for response in assets:
            url = urlsplit(response.url)
            digest = hashlib.sha256((ROOT / "static" / url.path.rpartition("/")[2]).read_bytes()).hexdigest()
            assert digest.startswith(parse_qs(url.query)["v"][0])
            assert "max-age=31536000" in response.headers["cache-control"]


def test_the_stylesheet_and_the_script_are_small():
    assert (ROOT / "static/style.css").stat().st_size <= 14 * 1024
    assert (ROOT / "static/page.js").stat().st_size <= 3 * 1024


# --- By keyboard, without scripts, without motion --------------------------------------------------------------------


def test_nothing_moves_for_people_who_want_less_motion(visit, app):
    page = visit()
    page.goto(app.url)
    for motion, expected in (("reduce", {"0s"}), ("no-preference", {"0.15s", "0s"})):
        page.emulate_media(reduced_motion=motion)
        durations = page.evaluate(
            "[...document.querySelectorAll('*')].map(each => getComputedStyle(each))"
            ".flatMap(style => [style.transitionDuration, style.animationDuration]).join(', ').split(', ')"
        )
        assert set(durations) - {"auto"} == expected


def test_the_first_tab_stop_skips_to_the_content(visit, app):
    page = visit()
    page.goto(app.url)
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    assert_focus_is_visible(page)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert focused(page) == "Sign in with Microsoft"


def test_the_whole_journey_by_keyboard(visit, app, box):
    page = visit(reduced_motion="reduce")
    page.goto(app.url)
    tab_to(page, "Sign in with Microsoft")
    page.keyboard.press("Enter")
    page.wait_for_url("**/authorize**")
    tab_to(page, "Adèle Vance")
    page.keyboard.press("Enter")
    page.wait_for_function("document.title.startsWith('Permissions')")
    tab_to(page, "Accept")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{app.url}/")
    tab_to(page, "Call Graph")
    page.keyboard.press("Enter")
    page.wait_for_url("**/call_graph")
    assert page.locator("h1").inner_text() == "Adèle Vance"
    tab_to(page, "Go to the home page")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{app.url}/")
    tab_to(page, "Adèle Vance")  # the menu
    page.keyboard.press("Enter")
    tab_to(page, "Sign out")
    page.keyboard.press("Enter")  # a form, a page of ours, the tenant on another origin, and home
    page.get_by_role("link", name="Sign in with Microsoft").wait_for()
    assert page.get_by_role("status").inner_text() == "You have signed out."
    assert [each.method for each in box.seen("logout")] == ["GET"]
    page.reload()
    assert page.get_by_role("status").count() == 0


def test_a_problem_and_its_details_by_keyboard(visit, app, box):
    page = visit(reduced_motion="reduce")
    box.person("lynne").throttled = 1
    a_busy_graph(page, app.url, box)
    assert not page.get_by_text("TooManyRequests").is_visible()
    tab_to(page, "Details for support")
    page.keyboard.press("Enter")
    assert page.get_by_text("TooManyRequests").is_visible()
    box.person("lynne").throttled = None
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "Go to the home page"
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "Try again"
    page.wait_for_timeout(1100)  # as Graph has asked
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Lynne Robbins").wait_for()


def test_the_whole_journey_with_javascript_off(visit, app, box):
    page = visit(java_script_enabled=False)
    page.goto(app.url)
    page.get_by_role("link", name="Français").click()
    page.get_by_role("link", name="Se connecter avec Microsoft").click()
    page.locator("button[value=adele]").click()
    page.locator("button[value=accept]").click()
    page.get_by_role("link", name="Appeler Graph").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Adèle Vance"
    page.locator("summary", has_text="Adèle Vance").click()
    page.get_by_role("button", name="Se déconnecter").click()
    page.get_by_role("link", name="Se connecter avec Microsoft").wait_for()  # after a page of ours, and the tenant's


def test_a_role_that_is_given_is_picked_up_by_keyboard(visit, app, box):
    page = visit(reduced_motion="reduce")
    a_page_for_a_role(page, app.url, box)
    assert page.get_by_text("This page is for people with the role Orders.Approve.").is_visible()
    tab_to(page, "Details for support")
    page.keyboard.press("Enter")
    assert page.get_by_text("The ID token has no roles.").is_visible()
    box.assign("adele", "Orders.Approve")
    for expected in ("Go to the home page", "Sign in with a different account", "Sign in again"):
        page.keyboard.press("Shift+Tab")
        assert focused(page) == expected
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals")
    assert page.get_by_role("heading", level=1).inner_text() == "Hello, Adèle Vance"


def test_a_link_of_another_site_signs_nobody_out_before_they_press_the_button(visit, app, box):
    page = visit(reduced_motion="reduce")
    a_sign_out_that_another_site_asks_for(page, app.url, box)
    assert box.seen("logout") == []
    tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page) == "Sign out"
    page.keyboard.press("Enter")
    page.get_by_text("You have signed out.").wait_for()


FETCHED = """async path => {
    const answer = await fetch(path);
    const type = answer.headers.get("Content-Type"), asks = answer.headers.get("WWW-Authenticate");
    return {status: answer.status, redirected: answer.redirected, type, asks, body: await answer.json()};
}"""


def test_a_real_fetch_gets_its_problem_as_json_and_is_sent_nowhere(visit, app, box):
    page = visit()
    page.goto(f"{app.url}/?page=1")
    answer = page.evaluate(FETCHED, "/call_graph")
    assert (answer["status"], answer["type"], answer["redirected"]) == (401, "application/problem+json", False)
    assert answer["asks"].startswith("Cookie ")
    assert box.seen("authorize") == []
    page.goto(answer["body"]["sign_in"])
    press(page, "button[value=adele]")
    press(page, "button[value=accept]")
    assert page.url == f"{app.url}/?page=1"
    assert page.evaluate(FETCHED, "/nowhere")["status"] == 404
    # Chromium notes each answer of 4xx by itself; nothing else was complained of, as a redirect to another site would be.
    expected = [f"401 {app.url}/call_graph", f"404 {app.url}/nowhere"]
    assert [each for each in page.complaints if not each.startswith("Failed to load resource")] == expected
    page.complaints.clear()


# --- People ---------------------------------------------------------------------------------------------------------


def test_home_greets_by_name_and_says_which_account_this_is(visit, app, box):
    page = visit()
    sign_in(page, app.url)
    assert page.get_by_role("heading", level=1).inner_text() == "Hello, Adèle Vance"
    assert "adele@contoso.onmicrosoft.com" in page.get_by_role("main").inner_text()


def nameless(claims, header):
    del claims["name"]


def nobody(claims, header):
    del claims["name"], claims["preferred_username"]


@pytest.mark.parametrize(
    ("forge", "greeting"), [(nameless, "Hello, adele@contoso.onmicrosoft.com"), (nobody, "Welcome")]
)
def test_home_greets_somebody_without_a_name_too(visit, app, box, forge, greeting):
    box.forge = forge
    page = visit()
    sign_in(page, app.url)
    assert page.get_by_role("heading", level=1).inner_text() == greeting
    assert "None" not in page.get_by_role("main").inner_text()


def test_a_very_long_name_stays_on_a_phone(visit, app, box):
    box.people["long"] = Person(
        "long",
        "",
        profile(
            "long", None, None, LONG_NAME, jobTitle=LONG_NAME, officeLocation=LONG_NAME, userPrincipalName=LONG_NAME
        ),
    )
    page = visit(viewport=PHONE)
    sign_in(page, app.url, "long")
    assert page.get_by_role("heading", level=1).inner_text().replace("\n", "") == f"Hello, {LONG_NAME}"
    assert not scrolls_sideways(page)
    page.get_by_role("link", name="Call Graph").click()
    assert page.get_by_role("heading", level=1).inner_text() == LONG_NAME
    assert not scrolls_sideways(page)


def test_a_right_to_left_name_does_not_turn_what_stands_around_it(visit, app, box):
    box.person("noor").profile["displayName"] = "(نور الحسن)"
    page = visit()
    sign_in(page, app.url, "noor")
    name = page.get_by_role("heading", level=1).locator("[dir=auto]")
    assert name.evaluate("each => each.matches(':dir(rtl)')")
    assert page.get_by_role("heading", level=1).evaluate("each => getComputedStyle(each).direction") == "ltr"
    page.get_by_role("link", name="Call Graph").click()
    assert page.get_by_role("heading", level=1).locator("[dir=auto]").evaluate("each => each.matches(':dir(rtl)')")
    # The photo, or here the initials, stay before the name.
    picture, name = page.locator(".person img").bounding_box(), page.get_by_role("heading", level=1).bounding_box()
    assert picture["x"] < name["x"]


def test_a_profile_with_every_field_empty(visit, app, box):
    empty = {"displayName": "", "mail": None, "userPrincipalName": None}
    box.people["empty"] = Person("empty", "", profile("empty", None, None, "") | empty)
    page = visit()
    sign_in(page, app.url, "empty")
    page.get_by_role("link", name="Call Graph").click()
    assert page.get_by_role("heading", level=1).inner_text() == "What the API answered"
    assert "None" not in page.get_by_role("main").inner_text()
    assert '"displayName": ""' in page.locator("pre").inner_text()


def test_everything_in_a_profile_is_shown_as_text(visit, app, box):
    box.person("adele").profile["jobTitle"] = "<b>Boss</b> & %(name)s {{ 7 * 7 }}"
    page = visit()
    the_profile(page, app.url, box)
    assert page.get_by_text("<b>Boss</b> & %(name)s {{ 7 * 7 }}", exact=True).is_visible()


def test_a_profile_links_mail_and_phone_and_shows_the_photo(visit, app, box):
    page = visit()
    the_profile(page, app.url, box)
    assert page.locator("a[href='mailto:adele@contoso.onmicrosoft.com']").first.is_visible()
    assert page.locator("a[href='tel:+14255550109']").is_visible()
    assert page.locator(".person img").evaluate("each => each.naturalWidth") > 0


# --- The head of every page -----------------------------------------------------------------------------------------


def a_sign_in_as_somebody_else_that_fails(page, url, box):
    sign_in(page, url)
    page.goto(f"{url}/login?prompt=select_account")
    press(page, "button[value=alex]")
    press(page, "button[value=cancel]")


@pytest.mark.parametrize(
    "go",
    [signed_in, the_profile, a_page_that_is_not_there, a_form_sent_to_a_page_without_one, the_account]
    + [a_sign_in_as_somebody_else_that_fails],
)
def test_every_page_shows_who_is_signed_in_and_offers_to_sign_out(visit, app, box, go):
    page = visit()
    if go in (a_page_that_is_not_there, a_form_sent_to_a_page_without_one):
        sign_in(page, app.url)
    go(page, app.url, box)
    page.complaints.clear()  # 404 and 405 are what was asked for
    open_menu(page)
    menu = page.locator("details.account")
    assert "Adèle Vance" in menu.inner_text()
    assert "adele@contoso.onmicrosoft.com" in menu.inner_text()
    for name in ("Your profile", "Your account", "Sign in with a different account"):
        assert menu.get_by_role("link", name=name).is_visible()
    menu.get_by_role("button", name="Sign out").click()
    page.get_by_text("You have signed out.").wait_for()


def test_a_failed_sign_in_as_somebody_else_does_not_say_that_nobody_is_signed_in(visit, app, box):
    page = visit()
    a_sign_in_as_somebody_else_that_fails(page, app.url, box)
    page.complaints.clear()
    main = page.get_by_role("main").inner_text()
    assert "You are still signed in as Adèle Vance." in main
    assert "not signed in" not in main
    assert "not signed in" not in page.title()


def test_the_menu_closes_at_escape_and_at_a_click_elsewhere(visit, app):
    page = visit()
    sign_in(page, app.url)
    link = page.get_by_role("link", name="Your account")
    open_menu(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not link.is_visible()
    assert "Adèle Vance" in focused(page)
    open_menu(page)
    assert link.is_visible()
    page.get_by_role("heading", level=1).click()
    assert not link.is_visible()


@pytest.mark.parametrize("width", [320, 360, 768, 1440])
def test_the_head_of_a_page_is_one_row_and_the_menu_stays_on_the_screen(visit, app, width):
    page = visit(viewport={"width": width, "height": 740}, locale="fr-FR")
    sign_in(page, app.url)
    assert page.locator("header").bounding_box()["height"] < 80
    open_menu(page)
    box = page.locator("details.account nav").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert not scrolls_sideways(page)


@pytest.mark.parametrize("name", ["Contoso Portal", 'R&D "A < B"', "N" * 300])
def test_a_team_gives_the_app_a_name_of_its_own(open_page, serve, name):
    app = serve(APP_NAME=name)
    page = open_page(viewport=PHONE)
    page.goto(app.url)
    assert page.title() == f"Home – {name}"
    assert page.locator(".brand").inner_text() == name
    assert not scrolls_sideways(page)
    page.context.close()


# --- The script: it only adds ---------------------------------------------------------------------------------------


def test_the_json_can_be_copied_and_folded_away(visit, app, box):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    the_profile(page, app.url, box)
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["displayName"] == "Adèle Vance"
    page.get_by_text("The answer as JSON").click()
    assert not page.locator("pre").is_visible()
    assert not page.get_by_role("button", name="Copied").is_visible()


def test_a_long_line_of_json_goes_on_under_its_key(visit, app, box):
    box.person("adele").profile["aboutMe"] = "word " * 100
    page = visit(viewport=PHONE)
    the_profile(page, app.url, box)
    line = page.locator("pre .line", has_text="aboutMe")
    key, rows = (
        line.locator(".key").bounding_box(),
        line.locator(".text").evaluate("text => [...text.getClientRects()].map(row => row.left)"),
    )
    assert len(rows) > 2
    assert all(left > key["x"] for left in rows)


def test_seconds_are_counted_down_and_then_it_says_so(visit, app, box):
    page = visit()
    box.person("lynne").throttled = 2
    a_busy_graph(page, app.url, box)
    page.complaints.clear()
    assert page.get_by_text("Try again in 2 seconds.").is_visible()
    page.get_by_text("Try again in 1 seconds.").wait_for()
    page.get_by_text("Try again now.").wait_for()


def test_a_bar_moves_while_graph_takes_its_time(visit, app, box):
    page = visit()
    sign_in(page, app.url)
    box.misbehave("me", Delay(1.5))
    press_and_look = "() => { document.querySelector('.button').click(); return document.documentElement.className; }"
    assert page.evaluate(press_and_look) == "waiting"
    page.wait_for_url("**/call_graph")
    assert page.locator("html.waiting").count() == 0


def test_browsers_run_no_script_but_the_apps_own(visit, app):
    page = visit()
    page.goto(app.url)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))"
    )
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {src: '/static/style.css'}))")
    assert page.evaluate("window.evil") is None
    assert any("Content Security Policy" in each for each in page.complaints)
    page.complaints.clear()


# --- The sign-in button and the diagram -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theme", "background", "text"),
    [("light", "rgb(255, 255, 255)", "rgb(94, 94, 94)"), ("dark", "rgb(47, 47, 47)", "rgb(255, 255, 255)")],
)
def test_the_sign_in_button_follows_microsofts_guidelines(visit, app, theme, background, text):
    # https://learn.microsoft.com/entra/identity-platform/howto-add-branding-in-apps
    page = visit(color_scheme=theme)
    page.goto(app.url)
    button = page.get_by_role("link", name="Sign in with Microsoft")
    style = button.evaluate(
        "each => (s => [s.backgroundColor, s.color, s.fontSize, s.fontWeight, s.paddingLeft])(getComputedStyle(each))"
    )
    assert style == [background, text, "15px", "600", "12px"]
    assert button.bounding_box()["height"] == 41
    assert button.locator("img").bounding_box()["width"] == 21


def test_the_diagram_follows_the_theme_and_the_language(visit, app):
    pictures = set()
    for locale in ("en-GB", "fr-FR"):
        page = visit(locale=locale)
        page.goto(app.url)
        diagram = page.locator(".how img")
        assert len(diagram.get_attribute("alt")) > 50
        diagram.evaluate("image => image.decode()")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            pictures.add(diagram.screenshot())
    assert len(pictures) == 4


# --- Two languages --------------------------------------------------------------------------------------------------


def test_the_language_chosen_is_remembered(visit, app, box):
    page = visit()
    sign_in(page, app.url)
    page.goto(f"{app.url}/call_graph")
    open_menu(page)
    page.get_by_role("link", name="Français").click()
    assert urlsplit(page.url).path == "/call_graph"
    assert page.get_by_text("La requête et sa réponse").is_visible()
    page.goto(app.url)
    assert page.get_by_role("heading", level=1).inner_text() == "Bonjour, Adèle Vance"
    open_menu(page)
    page.get_by_role("link", name="English").click()
    page.goto(f"{app.url}/nowhere")
    assert page.get_by_role("heading", level=1).inner_text() == "Page not found"


def test_the_language_can_be_switched_on_a_page_that_is_not_there(visit, app):
    page = visit()
    page.goto(f"{app.url}//elsewhere.example/nowhere?a=1")
    page.get_by_role("link", name="Français").click()
    assert page.url == f"{app.url}//elsewhere.example/nowhere?lang=fr"
    assert page.get_by_role("heading", level=1).inner_text() == "Page introuvable"


def test_switching_the_language_does_not_use_a_code_twice(visit, app, box):
    page = visit()
    a_declined_sign_in(page, app.url, box)
    page.get_by_role("link", name="Français").click()
    assert page.url == f"{app.url}/?lang=fr"


CATALOGUES = {"starter": ROOT, "package": ROOT / "flask_entra"}


def messages(folder):
    """What the starter or the package says, by its sources: the text and where it stands."""
    with (folder / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    keywords = {"_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(folder, methods, options, keywords)
    return {message: f"{name}:{line}" for name, line, message, *_ in found}


@pytest.fixture(scope="module", params=CATALOGUES)
def catalogue(request):
    return CATALOGUES[request.param] / "translations" / "fr" / "LC_MESSAGES"


def read(folder):
    with (folder / "translations" / "fr" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, "fr", abort_invalid=True)


@pytest.fixture(scope="module")
def french(catalogue):
    return read(catalogue.parents[2])


def test_every_message_is_translated(catalogue, french):
    found = messages(catalogue.parents[2])
    missing = {text: where for text, where in found.items() if not (text in french and french[text].string)}
    assert missing == {}, "pybabel extract, pybabel update, translate, pybabel compile"


def test_no_translation_is_stale_or_fuzzy(catalogue, french):
    assert {message.id for message in french if message.id} - set(messages(catalogue.parents[2])) == set()
    assert french.obsolete == {}
    assert [message.id for message in french if message.id and message.fuzzy] == []


def test_the_compiled_catalogue_is_what_the_source_says(catalogue, french):
    with (catalogue / "messages.mo").open("rb") as file:
        compiled = {message.id: message.string for message in read_mo(file) if message.id}
    assert compiled == {message.id: message.string for message in french if message.id}, "pybabel compile"


def test_translations_fill_the_same_gaps_and_keep_the_same_tags(french):
    for message in french:
        if message.id:
            assert list(message.check(french)) == []
            assert re.findall(r"</?\w+>", message.string) == re.findall(r"</?\w+>", message.id)


def test_french_is_set_as_french_is(french):
    for message in french:
        text = re.sub(r"<[^>]+>|https?://\S*|rediss?://|unix://", "", message.string if message.id else "")
        assert "'" not in text, text
        assert not re.search(r" [:;!?]|[^\s\u00a0\u202f][;!?](?=\s|$)|\w:(?=\s|$)", text), text

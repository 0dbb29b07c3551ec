"""A form that is sent after the session has ended: a sign-in, then a page that says that it was not sent, with a link to it."""

import re

import pytest
from conftest import Served
from visitor import Page, Visitor, cookie_of

from sandbox.faults import Answer

VIEWS = """
from flask import request
from app import app, auth

orders = []


@app.get("/orders")
@auth.login_required
def form(*, context):
    return "the form"


@app.post("/orders")
@auth.login_required
def order(*, context):
    orders.append(request.form["what"])
    return "ordered"


@app.route("/both", methods=["GET", "POST", "DELETE"])
@auth.login_required
def both(*, context):
    orders.append(request.method)
    return "both"


@app.post("/only/<what>")
@auth.login_required(max_age=300)
def only(what, *, context):
    orders.append(what)
    return "only"


@app.get("/left-open")
@auth.public
def left_open():
    return '<form method="post" action="/orders"><button name="what" value="12 chairs">Order</button></form>'


@app.get("/ordered")
def ordered():
    return repr(orders)
"""
TITLE = "Your form was not sent"


@pytest.fixture(scope="module")
def shared(shared_box, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost-form")
    (folder / "mine.py").write_text(VIEWS)
    app = Served(shared_box.settings, folder, flask_app=folder / "mine.py")
    yield app
    app.end()


@pytest.fixture
def app(shared, box):
    box.redirect_uris.add(shared.settings["REDIRECT_URI"])
    return shared


@pytest.fixture
def person(app):
    """Somebody whose session has ended, at a form that is open."""
    person = Visitor(app.url)
    assert person.sign_in(path="/orders").text == "the form"
    person.cookies.clear(cookie_of(person.cookies).domain, "/", cookie_of(person.cookies).name)
    return person


def send(person, path="/orders", referer="/orders", method="POST", **headers):
    """Send a form; the tenant's answer when the browser has gone there, or the app's."""
    if referer is not None:
        headers["Referer"] = person.url + referer if referer.startswith("/") else referer
    before = person.get("/ordered").text
    answer = person.request(method, person.url + path, data={"what": "12 chairs"}, headers=headers, timeout=30)
    assert answer.url == person.url + path  # no redirect, which browsers hold to the form-action of the page
    if "Refresh" in answer.headers:
        assert answer.status_code == 401
        answer = person.go_where(answer)
    assert person.get("/ordered").text == before  # nothing was done, neither by a POST nor by a GET
    return answer


def way_back(page):
    assert page.status_code == 200
    assert TITLE in Page(page.text).heading
    return re.search(r'class="button" href="([^"]+)"', page.text)[1]


def test_a_page_says_that_nothing_was_done_and_leads_back_to_the_form(person):
    page = send(person)
    assert way_back(page) == "/orders"
    assert "12 chairs" not in page.text
    assert "Back button" in page.text
    assert person.get("/orders").text == "the form"
    assert person.post(f"{person.url}/orders", data={"what": "x"}, timeout=30).text == "ordered"


def test_in_french(person):
    person.headers["Accept-Language"] = "fr"
    text = Page(send(person).text).text
    assert "Votre formulaire n’a pas été envoyé" in text
    assert "Back" not in text


def test_with_the_query_of_the_form(person):
    assert way_back(send(person, referer="/orders?of=2026&x=%3C")) == "/orders?of=2026&amp;x=%3C"


@pytest.mark.parametrize(
    "referer", [None, "https://attacker.example/orders", "http://[", "null", "/login", "/getAToken?code=x"]
)
@pytest.mark.parametrize(("path", "there"), [("/both?x=1", "/both?x=1"), ("/only/a%3Fb", "/"), ("/orders", "/orders")])
def test_without_the_page_it_is_the_forms_own_address_if_that_can_be_opened(person, path, referer, there):
    assert way_back(send(person, path, referer)) == there


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_every_method_that_does_something(person, method):
    assert way_back(send(person, "/both", None, method)) == "/both"


def test_a_page_that_is_only_opened_is_opened_after_the_sign_in(person):
    assert person.get("/orders").text == "the form"
    assert person.request("HEAD", f"{person.url}/orders", timeout=30).status_code == 200


def test_the_sign_out_is_no_way_back(person):
    assert way_back(send(person, referer="/logout")) == "/"


def test_a_script_gets_the_401_that_it_got(person):
    answer = send(person, Accept="application/json")
    assert answer.status_code == 401
    assert TITLE not in person.go_on(person.get(answer.json()["sign_in"])).text


def test_a_form_that_needs_a_more_recent_sign_in_too(person):
    person.sign_in()
    page = person.go_on(send(person, "/only/chairs", "/orders"))
    assert way_back(page) == "/orders"
    assert person.post(f"{person.url}/only/chairs", timeout=30).text == "only"


def test_a_sign_in_that_is_refused_leads_back_to_the_form_too(person, box):
    box.revoke("adele")
    box.forge = lambda claims, header: claims.update(aud="another")
    page = person.go_on(send(person))
    assert page.status_code == 502
    assert 'href="/login?next=%2Forders"' in page.text


def test_in_a_browser_too_when_the_tenant_passes_the_person_on_to_another_organizations_site(app, box, browser):
    """Chromium holds the redirects after a form to the form-action of its page, and this tenant's leads to a third site."""
    elsewhere = app.url.replace("localhost", "127.0.0.1") + "/ordered?at-the-other-organization"
    box.misbehave("authorize", Answer(302, headers={"Location": elsewhere}))
    page = browser.new_page()
    page.goto(f"{app.url}/left-open")
    page.click("button")
    page.wait_for_url(elsewhere)
    page.close()


def test_on_another_host_the_page_comes_too(person, app):
    there = app.url.replace("localhost", "127.0.0.1")
    answer = person.post(f"{there}/orders", headers={"Referer": f"{there}/orders?y"}, data={"what": "x"}, timeout=30)
    assert way_back(person.go_on(person.go_where(answer))) == "/orders?y"
    # Signed in on this host all the time: no sign-in is needed, and the form was not sent all the same.
    answer = person.post(f"{there}/orders", data={"what": "x"}, timeout=30)
    assert answer.status_code == 401
    assert way_back(person.go_where(answer)) == "/orders"


def test_nobody_else_makes_a_link_to_the_page(person):
    for link in ("/login?not_sent=1", "/login?for=W251bGwsbnVsbCxudWxsLHRydWVd.x.y"):
        assert TITLE not in person.get(link).text

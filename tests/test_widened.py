"""The Content-Security-Policy of an app that needs more than the package allows, in Chromium."""

import re
import shutil

import pytest
from conftest import ROOT
from installed import node_packages, python_packages
from visitor import Visitor
from werkzeug import Request, Response
from werkzeug.utils import send_file

from sandbox.listener import Listener

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("widened")]
APP = ROOT / "tests" / "widened"


@pytest.fixture(scope="module")
def packages():
    return node_packages(APP) / "node_modules"


@pytest.fixture(scope="module")
def cdn(packages):
    """Another origin, with Bootstrap."""
    front = Listener("127.0.0.1", 0)

    @Request.application
    def serve(request):
        path = packages / "bootstrap" / "dist" / request.path.strip("/")
        response = send_file(path, request.environ) if path.is_file() else Response(status=404)
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    front.serve(serve)
    yield f"http://127.0.0.1:{front.port}"
    front.close()


@pytest.fixture
def app(serve, cdn, packages, tmp_path):
    static = tmp_path / "static"
    static.mkdir()
    shutil.copy(packages / "htmx.org" / "dist" / "htmx.min.js", static)
    return serve(flask_app=APP, CDN=cdn, DASH=str(python_packages("dash>=4.4,<5")), STATIC=str(static))


@pytest.fixture
def page(browser, app):
    """A page of somebody who is signed in, and what the browser complained of."""
    person = Visitor(app.url)
    assert person.sign_in().ok
    context = browser.new_context()
    context.add_cookies(
        [{"name": each.name, "value": each.value, "domain": "localhost", "path": each.path} for each in person.cookies]
    )
    page = context.new_page()
    page.complaints = []
    context.route("**/favicon.ico", lambda route: route.fulfill(status=204))  # only a browser with windows asks for it
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


def policy(page, path):
    response = page.request.get(path)
    return dict(each.split(" ", 1) for each in response.headers["content-security-policy"].split("; "))


def test_bootstrap_comes_from_a_cdn_by_a_line_above_the_view(page, app, cdn):
    page.goto(f"{app.url}/bootstrap")
    assert page.locator("button").evaluate("button => getComputedStyle(button).backgroundColor") == "rgb(13, 110, 253)"
    page.locator("button").click()
    page.locator("#more.show").wait_for()
    assert page.complaints == []
    assert cdn in policy(page, f"{app.url}/bootstrap")["script-src"]
    assert cdn not in policy(page, f"{app.url}/htmx")["script-src"]
    assert "font-src" not in policy(page, f"{app.url}/htmx")


def test_htmx_is_one_of_the_apps_own_files_and_a_nonce_allows_a_script_of_the_page(page, app):
    page.goto(f"{app.url}/htmx")
    assert page.locator("#nonce").text_content() == "A script of the page's own."
    page.locator("button").click()
    page.locator("#greeting b").wait_for()
    assert page.locator("#greeting").text_content() == "Hello, Adèle Vance"
    assert page.locator("#greeting b").evaluate("b => getComputedStyle(b).color") == "rgb(0, 128, 0)"
    assert page.complaints == []
    nonces = [re.findall("'nonce-([^']*)'", policy(page, f"{app.url}/htmx")["script-src"]) for _ in range(2)]
    assert len(nonces[0]) == 1
    assert nonces[0] != nonces[1]


def test_a_script_that_somebody_else_has_written_into_the_page_is_not_run(page, app):
    page.goto(f"{app.url}/htmx")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'evil = 1'}))")
    assert page.evaluate("typeof evil") == "undefined"
    assert "violates the following Content Security Policy directive" in page.complaints[0]


def test_dash_runs_behind_the_sign_in_by_a_setting(page, app):
    page.goto(f"{app.url}/dash/")
    page.locator("#name").fill("Dash")
    page.get_by_text("Hello, Dash; Adèle Vance is signed in.").wait_for()
    assert page.complaints == []
    stranger = Visitor(app.url)
    assert stranger.get("/dash/", follow=False).is_redirect
    assert stranger.get("/dash/_dash-layout", headers={"Accept": "application/json"}).status_code == 401

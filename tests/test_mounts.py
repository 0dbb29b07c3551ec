"""The app below a path, behind nginx, whoever knows of the path: the proxy, the server, the app's settings, or the code."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from programs import free_port, gunicorn_command, posix
from proxies import nginx
from visitor import Visitor

PREFIX = "/portal"
FORWARDED = "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto http;"
AS_IT_CAME, STRIPPED = "", "/"  # what stands behind the address of a `proxy_pass`
DISPATCHED = """
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.exceptions import NotFound

from app import app as mounted

app = DispatcherMiddleware(NotFound(), {"/portal": mounted})
"""
# Who knows of the path: what nginx passes on, its header, the app's settings, and the module that gunicorn serves.
WAYS = {
    "a header of the proxy": (STRIPPED, f"proxy_set_header X-Forwarded-Prefix {PREFIX};", {}, "app"),
    "the server (SCRIPT_NAME)": (AS_IT_CAME, "", {"SCRIPT_NAME": PREFIX}, "app"),
    "the app (APPLICATION_ROOT)": (AS_IT_CAME, "", {"APPLICATION_ROOT": PREFIX}, "app"),
    "the app, and the proxy strips it": (STRIPPED, "", {"APPLICATION_ROOT": f"{PREFIX}/"}, "app"),
    "the code (DispatcherMiddleware)": (AS_IT_CAME, "", {}, "dispatched"),
}


@pytest.fixture(params=WAYS)
def mounted(request, serve, box, tmp_path):
    """The address of the app, below a path."""
    passed_on, header, settings, module = WAYS[request.param]
    (tmp_path / "dispatched.py").write_text(DISPATCHED)
    app_port = free_port()
    location = f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:{app_port}{passed_on}; {FORWARDED} {header} }}"
    with nginx(tmp_path, f"{location} location / {{ return 404 'another app'; }}") as port:
        address = f"http://localhost:{port}{PREFIX}"
        command = gunicorn_command(app_port, "--workers", "1", "--pythonpath", str(tmp_path))
        command[command.index("app:app")] = f"{module}:app"
        serve(
            command=command,
            port=app_port,
            THREADS="8",
            REDIRECT_URI=f"{address}/getAToken",
            TRUSTED_PROXY_COUNT="1",
            **settings,
        )
        yield address


def links(page):
    """Where the links, forms, pictures and scripts of a page lead."""
    found = re.findall(r'(?:href|action|src)="([^"]*)"', page.text)
    return [each for each in found if not each.startswith(("#", "mailto:", "tel:", "?", "data:"))]


@posix
def test_the_whole_journey_stays_below_the_path(mounted, box):
    person = Visitor(mounted)
    for path in ("/", "/nowhere"):
        page = person.get(path)
        assert page.status_code == (200 if path == "/" else 404)
        assert links(page)
        assert all(each.startswith(f"{PREFIX}/") for each in links(page)), links(page)
        assert all(person.get(each.removeprefix(PREFIX), follow=False).status_code < 400 for each in links(page))
    page = person.sign_in(path="/call_graph?x=%C3%A9%2F")
    assert page.url == f"{mounted}/call_graph?x=%C3%A9%2F"
    assert "Retail Manager" in page.text
    assert all(each.startswith(f"{PREFIX}/") for each in links(page)), links(page)
    assert person.get("/photo").headers["Content-Type"].startswith("image/")
    assert person.get("/account").status_code == 200
    assert person.get("/?lang=fr").status_code == 200
    assert "Bonjour" in person.get("/").text
    assert {cookie.path for cookie in person.cookies if cookie.domain.startswith("localhost")} <= {
        PREFIX,
        f"{PREFIX}/getAToken",
        "/",  # the tenant's
    }
    assert person.sign_out().url == f"{mounted}/"
    assert not person.signed_in


@posix
def test_failures_and_scripts_are_led_below_the_path(mounted, box):
    person = Visitor(mounted)
    location = person.get("/login", follow=False).headers["Location"]
    state = parse_qs(urlsplit(location).query)["state"][0]
    page = person.get(f"/getAToken?error=access_denied&state={state}")
    assert page.status_code == 403
    assert "Sign in again" in page.text
    assert all(each.startswith(f"{PREFIX}/") for each in links(page)), links(page)
    refused = person.get("/call_graph", headers={"Accept": "application/json", "Referer": f"{mounted}/x"})
    assert refused.status_code == 401
    sign_in = refused.json()["sign_in"]
    assert sign_in.startswith(f"{mounted}/login?")
    assert parse_qs(urlsplit(sign_in).query)["next"] == [f"{PREFIX}/x"]
    assert person.go_on(person.get(sign_in)).url == f"{mounted}/x"


@posix
@pytest.mark.parametrize(
    "elsewhere", ["/other/", "/portalx/", "/", "/portal/../other", "/portal/%2e%2e/other", "/portal/..%2fother"]
)
def test_a_sign_in_leads_to_no_other_app_of_the_host(mounted, elsewhere):
    page = Visitor(mounted).sign_in(path=f"/login?next={elsewhere}")
    assert urlsplit(page.url).path.startswith(f"{PREFIX}/")

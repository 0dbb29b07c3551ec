"""What guards each page: every route of the app and of tests/own_app, and `protected=True`, under which a view is closed."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT, Served, bare_environment
from visitor import REDIRECTS, Visitor

from sandbox.people import group_id

FINANCE = group_id("Finance")

LIST = """
import json, sys
from flask_entra.signin.authorization import DEFAULT_SCOPES
from flask_entra.signin.guards import guard_of

app = __import__("app").app if sys.argv[1] == "app" else __import__("own_app").create_app()
found = {}
for rule in app.url_map.iter_rules():
    guard = guard_of(app, rule.endpoint)
    if guard and not isinstance(guard, str):
        scopes = "default" if guard.scopes is DEFAULT_SCOPES else guard.scopes
        guard = [scopes, list(guard.roles), list(guard.groups)]
    found[rule.rule] = guard
print(json.dumps(found))
"""
SIGNED_IN = [None, [], []]
OF_THE_PACKAGE = {
    "/static/<path:filename>": "static",
    "/login": "public",
    "/getAToken": "public",
    "/logout": "public",
    "/logout/back-channel": "public",
    "/logout/front-channel": "public",
    "/healthz": "public",
    "/readyz": "public",
}
ROUTES = {
    "app": {
        **OF_THE_PACKAGE,
        "/": None,  # everybody's start page, in an app that is not protected as a whole
        "/call_graph": ["default", [], []],
        "/photo": ["default", [], []],
        "/account": SIGNED_IN,
    },
    "own_app": {
        **OF_THE_PACKAGE,
        "/mail/": [["Mail.Read"], [], []],
        "/mail/newest.json": [["Mail.Read"], [], []],
        "/staff/approvals": [None, ["Orders.Approve"], []],
        "/staff/figures": [None, [], [FINANCE]],
        "/staff/orders": [["api://orders/Orders.Read"], [], []],
        "/staff/news": None,  # by `protected=True`
        "/staff/hours": "public",
    },
}


@pytest.mark.parametrize("name", ROUTES)
def test_every_route_and_what_guards_it(name, tmp_path):
    environment = bare_environment() | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "SESSION_FILE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", LIST, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if name == "own_app":  # it has no static folder, and so no files
        found.setdefault("/static/<path:filename>", "static")
    assert found == ROUTES[name]


PROTECTED = """
import app_config
from flask import Blueprint, Flask, send_from_directory
from flask.views import MethodView
from flask_entra import Auth

auth = Auth()
app = Flask(__name__, static_folder="files", static_url_path="/files")
app.config.from_mapping(app_config.load())
auth.init_app(app, protected=True)
asked = []


@app.before_request
def count():
    asked.append(1)


@app.get("/plain/")
def plain():
    return f"plain {auth.user['name']}"


@app.get("/open")
@auth.public
def everybody():
    return "open"


@app.get("/strict")
@auth.public
@auth.login_required(roles=["Orders.Approve"])
def strict(*, context):
    return "strict"


@app.get("/stricter")
@auth.login_required(roles=["Orders.Approve"])
@auth.public
def stricter(*, context):
    return "stricter"


@app.route("/form", methods=["POST"])
def form():
    return "form"


class Things(MethodView):
    def get(self):
        return "things"


class OpenThings(MethodView):
    decorators = [auth.public]

    def get(self):
        return "open things"


app.add_url_rule("/things", view_func=Things.as_view("things"))
app.add_url_rule("/open-things", view_func=OpenThings.as_view("open_things"))
later = Blueprint("later", __name__, static_folder="files", url_prefix="/later")
inner = Blueprint("inner", __name__, url_prefix="/inner")


@later.get("/page")
def page():
    return "later"


@inner.get("/static")
def static():
    return "a view of this name"


later.register_blueprint(inner)
app.register_blueprint(later)
"""


@pytest.fixture(scope="module")
def protected(shared_box, shared_app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("protected")
    (folder / "mine.py").write_text(PROTECTED)
    (folder / "templates").mkdir()
    (folder / "templates" / "base.html").write_text(
        "<title>{% block title %}{% endblock %}</title>{% block main %}{% endblock %}"
    )
    (folder / "files").mkdir()
    (folder / "files" / "style.css").write_text("p{}")
    app = Served({**shared_box.settings, "PYTHONPATH": str(ROOT)}, folder, flask_app=folder / "mine.py")
    yield app
    app.end()


@pytest.fixture
def person(protected, box):
    box.redirect_uris.add(protected.settings["REDIRECT_URI"])
    return Visitor(protected.url)


CLOSED = ["/plain/", "/plain/?x=1", "/things", "/later/page", "/later/inner/static"]
OPEN = ["/open", "/open-things", "/files/style.css", "/later/files/style.css", "/healthz", "/readyz"]


@pytest.mark.parametrize("path", CLOSED)
def test_a_view_that_says_nothing_needs_a_sign_in_and_comes_back(person, path):
    assert person.get(path, follow=False).status_code in REDIRECTS
    assert person.get(path, headers={"Accept": "application/json"}).status_code == 401
    page = person.go_on(person.get(path))
    assert (page.status_code, page.url) == (200, person.url + path)


@pytest.mark.parametrize("path", OPEN)
def test_a_public_view_needs_no_sign_in(person, path):
    answer = person.get(path, follow=False)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_what_there_is_not_is_404_and_no_way_to_sign_in(person):
    assert person.get("/nowhere", follow=False).status_code == 404
    assert person.get("/files/nowhere", follow=False).status_code == 404
    assert person.post(person.url + "/plain/", timeout=9).status_code == 405
    assert person.get("/plain", follow=False).headers["Location"].endswith("/plain/")  # the slash alone
    assert person.options(person.url + "/plain/", timeout=9).status_code == 200
    assert person.head(person.url + "/plain/", timeout=9, allow_redirects=False).status_code in REDIRECTS


def test_a_form_needs_a_sign_in_too(person):
    page = person.post(person.url + "/form", timeout=9, allow_redirects=False)
    assert page.status_code == 401
    assert "Sign in first" in page.text
    person.sign_in()
    assert person.post(person.url + "/form", timeout=9).text == "form"


def test_a_view_with_a_requirement_of_its_own_is_asked_once_and_by_that(person, box):
    location = person.get("/stricter", follow=False).headers["Location"]
    assert location.startswith(box.front_url)
    assert person.go_on(person.get("/stricter"), "patti").text == "stricter"
    assert len([each for each in box.seen("authorize") if each.method == "GET"]) == 1


@pytest.mark.parametrize("path", ["/strict", "/stricter"])
def test_a_mark_for_everybody_does_not_open_what_a_role_closes(person, path):
    assert person.get(path, follow=False).status_code in REDIRECTS
    assert person.go_on(person.get(path), "alex").status_code == 403


def test_own_app_is_closed_but_for_what_it_marks(staff):
    person = Visitor(staff.url)
    assert person.get("/staff/hours").text == "Open from nine to five."
    assert person.go_on(person.get("/staff/news")).text == "News for Adèle Vance."

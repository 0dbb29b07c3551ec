"""Names for groups (the setting `GROUPS`): in views, on pages, in `app.config`, in tests, and what the doctor says of them."""

import re

import flask
import pytest
from conftest import Served
from visitor import Page, Visitor

from flask_entra import Auth, group_names
from flask_entra.config import KEY, of
from flask_entra.doctor.own_app import check_app
from flask_entra.testing import sign_in
from sandbox.people import group_id

FINANCE, MANAGERS, STAFF = (group_id(name) for name in ("Finance", "Managers", "Staff"))
GROUPS = f"finance={FINANCE}, Upper Management={MANAGERS.upper()}, staff={STAFF}"
VIEWS = f"""
from app import app, auth


@app.get("/figures")
@auth.login_required(groups=["finance"])
def figures(*, context):
    return "figures"


@app.get("/either")
@auth.login_required(groups=["staff", "Upper Management"])
def either(*, context):
    return "either"


@app.get("/staff")
@auth.login_required(groups=["staff"])
def staff(*, context):
    return "staff"


@app.get("/by-id")
@auth.login_required(groups=["{STAFF}"])
def by_id(*, context):
    return "by id"


@app.get("/unnamed")
@auth.login_required(groups=["staff", "{group_id("Nobody")}"])
def unnamed(*, context):
    return "unnamed"
"""


@pytest.fixture(scope="module")
def shared(shared_box, tmp_path_factory):
    folder = tmp_path_factory.mktemp("group-names")
    (folder / "mine.py").write_text(VIEWS)
    app = Served({**shared_box.settings, "GROUPS": GROUPS}, folder, flask_app=folder / "mine.py")
    yield app
    app.end()


@pytest.fixture
def person(shared, box):
    box.redirect_uris.add(shared.settings["REDIRECT_URI"])
    return Visitor(shared.url)


def text(page):
    return re.sub(r"\s+", " ", Page(page.text).text)


def test_a_view_names_a_group_and_opens_for_its_members(person, box):
    assert person.go_on(person.get("/figures"), "nestor").text == "figures"
    assert person.get("/either").text == "either"
    assert box.seen("groups") == []


def test_graph_is_asked_about_the_id_when_the_token_has_no_room(person, box):
    assert person.go_on(person.get("/figures"), "isaiah").text == "figures"
    assert len(box.seen("groups")) == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/staff", "This page is for members of the group staff."),
        ("/by-id", "This page is for members of the group staff."),
        ("/unnamed", "This page is for members of a group that you are not in."),
    ],
)
def test_the_page_of_a_refusal_speaks_of_the_name(person, path, words):
    person.sign_in("nestor")
    page = person.get(path)
    assert page.status_code == 403
    assert words in text(page)
    assert f"staff ({STAFF})" in text(page)
    assert f"finance ({FINANCE})" in text(page)  # one of the person's own


def test_several_groups_and_in_french(person):
    person.sign_in("alex")
    assert "members of one of these groups: staff, Upper Management." in text(person.get("/either"))
    person.headers["Accept-Language"] = "fr"
    assert "réservée aux membres de l’un de ces groupes : staff, Upper Management." in text(person.get("/either"))
    assert "réservée aux membres du groupe staff." in text(person.get("/staff"))


def test_a_program_is_told_the_ids(person):
    person.sign_in("alex")
    assert person.get("/staff", headers={"Accept": "application/json"}).json()["groups"] == [STAFF]


def test_the_account_page_shows_the_names_and_of_others_the_ids(person):
    page = text(person.go_on(person.get("/account"), "nestor"))
    assert f"finance ({FINANCE})" in page
    assert f"Upper Management ({MANAGERS})" in page
    assert f" {group_id('Everybody')}" in page


# --- In app.config, and names that nobody knows -----------------------------------------------------------------------------


def made(tmp_path, groups, named):
    app, auth = flask.Flask(__name__), Auth()
    app.config.update(
        ENTRA_CLIENT_ID="7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
        ENTRA_CLIENT_SECRET="s" * 40,
        ENTRA_AUTHORITY="https://login.microsoftonline.com/contoso.example",
        ENTRA_SESSION_FILE_DIR=str(tmp_path),
        ENTRA_GROUPS=groups,
    )
    auth.init_app(app)

    @app.get("/figures")
    @auth.login_required(groups=named)
    def figures(*, context):
        return "figures"

    return app


@pytest.mark.parametrize(
    "groups", [{"finance": FINANCE}, f"finance={FINANCE}", {"finance": FINANCE.upper(), "a": STAFF}]
)
def test_in_the_configuration_it_may_be_a_dictionary(tmp_path, groups):
    app = made(tmp_path, groups, ["finance"])
    assert of(app).groups["finance"] == FINANCE
    client = app.test_client()
    sign_in(client, groups=["finance"])
    assert client.get("/figures").text == "figures"
    sign_in(client, groups=[STAFF])
    assert client.get("/figures").status_code == 403


@pytest.mark.parametrize("groups", ["", f"finance={FINANCE}"])
def test_a_name_that_the_setting_does_not_have_fails_at_the_first_request_and_names_the_setting(tmp_path, groups):
    app = made(tmp_path, groups, ["Finance"])
    app.config["PROPAGATE_EXCEPTIONS"] = True
    for path in ("/figures", "/nowhere"):
        with pytest.raises(ValueError, match=r"the setting GROUPS does not have: figures \(Finance\)"):
            app.test_client().get(path)
    findings = {str(each.setting): each for each in check_app(app, app.extensions[KEY].config)}
    assert findings["Views"].level == "wrong"
    assert "figures (Finance)" in str(findings["Views"].found)


def test_a_name_is_exact_and_the_first_one_of_a_group_is_shown():
    names, malformed = group_names.read(f"b={FINANCE}, a={FINANCE}, B={STAFF}, c=x,, d")
    assert names == {"b": FINANCE, "a": FINANCE, "B": STAFF}
    assert malformed == ["c=x", "d"]
    assert group_names.shown(names, FINANCE.upper()) == f"b ({FINANCE.upper()})"
    assert group_names.shown(names, MANAGERS) == MANAGERS

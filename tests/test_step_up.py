"""Step-up: views that want a recent sign-in (`max_age`), or an authentication context of Entra's (`auth_context`)."""

import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from configs import config_of
from visitor import REDIRECTS, Page, Visitor, cookies_of, let_the_id_token_expire

from flask_entra import Auth
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.session import Session
from flask_entra.signin.current_user import USER
from flask_entra.signin.step_up import StepUp
from flask_entra.testing import sign_in

FETCH = {"Accept": "application/json"}
VIEWS = """
from flask import request
from app import app, auth


@app.get("/transfer")
@auth.login_required(max_age=300)
def transfer(*, context):
    return f"A transfer of {context['user']['name']}."


@app.get("/payroll")
@auth.login_required(auth_context="c1")
def payroll(*, context):
    return "The payroll."


@app.get("/both")
@auth.login_required(scopes=["Mail.Read"], max_age=300, auth_context="c2")
def both(*, context):
    return context["token_type"]


@app.get("/role")
@auth.login_required(roles=["Orders.Approve"], max_age=300)
def role(*, context):
    return "role"


@app.get("/plain")
@auth.login_required
def plain(*, context):
    return "plain"

"""


@pytest.fixture(scope="module")
def shared(shared_box, tmp_path_factory):
    from conftest import Served

    folder = tmp_path_factory.mktemp("step-up")
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
    return Visitor(app.url)


def asked(box):
    """The latest authorization request."""
    return box.seen("authorize")[-1].query


def begun(answer):
    """The authorization request to which an answer of the app leads."""
    return {name: each[0] for name, each in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def change(app, person, **claims):
    """Change what the session knows of a person; None takes a claim out."""
    store = FileStore(Path(app.settings["SESSION_FILE_DIR"]))
    (sid,) = (value for name, value in cookies_of(person).items())
    session = Session(store, 12 * 3600, sid, owner=config_of(**app.settings).owner)
    session[USER] = {name: value for name, value in {**session[USER], **claims}.items() if value is not None}
    session.save()


# --- A recent sign-in ---------------------------------------------------------------------------------------------------


def test_a_view_for_a_recent_sign_in_asks_for_one_and_opens_for_as_long(person, app, box):
    page = person.go_on(person.get("/transfer"))
    assert page.text == "A transfer of Adèle Vance."
    assert asked(box)["max_age"] == "300"
    assert "prompt" not in asked(box)
    count = len(box.seen("authorize"))
    assert person.get("/transfer").status_code == 200
    change(app, person, auth_time=int(time.time()) - 400)  # within the leeway
    assert person.get("/transfer").status_code == 200
    change(app, person, auth_time=int(time.time()) - 500)
    box.let_time_pass(500)
    page = person.get("/transfer")
    assert "Pick an account" in page.text
    assert person.go_on(page).text == "A transfer of Adèle Vance."
    assert len(box.seen("authorize")) > count


def test_somebody_whose_sign_in_does_not_say_when_it_was_signs_in_anew(person, box):
    person.sign_in()
    page = person.get("/transfer")
    assert "Pick an account" in page.text
    assert (asked(box)["max_age"], asked(box)["prompt"]) == ("300", "login")
    assert person.go_on(page).text == "A transfer of Adèle Vance."


def test_where_each_id_token_says_when_it_was_the_first_sign_in_is_enough(person, box):
    box.auth_time_claim = True
    person.sign_in()
    assert person.get("/transfer", follow=False).text == "A transfer of Adèle Vance."


def test_somebody_who_signed_in_recently_elsewhere_need_not_again(person, app):
    person.sign_in()
    change(app, person, auth_time=int(time.time()) - 500)  # and at the tenant just now
    assert person.get("/transfer").text == "A transfer of Adèle Vance."


@pytest.mark.parametrize("claim", [None, "now", True, [], -1, 2**40, 1e300])
def test_a_time_that_is_none_is_not_recent(person, app, claim):
    person.sign_in()
    change(app, person, auth_time=claim)
    assert person.get("/transfer", follow=False).status_code in REDIRECTS


@pytest.mark.parametrize("told", [False, True])
def test_a_refresh_does_not_change_when_the_person_signed_in(person, app, box, told):
    person.go_on(person.get("/transfer"))
    before = int(time.time()) - 200
    change(app, person, auth_time=before)
    if told:  # a tenant that says when it has refreshed
        box.person("adele").id_claims["auth_time"] = int(time.time())
    let_the_id_token_expire(app, person)
    assert person.get("/transfer", follow=False).status_code == 200
    assert [each.form["grant_type"] for each in box.seen("token")][-1] == "refresh_token"
    change(app, person, auth_time=before - 300)
    let_the_id_token_expire(app, person)
    assert person.get("/transfer", follow=False).status_code in REDIRECTS


def test_a_refresh_does_not_say_when_somebody_signed_in_whose_sign_in_did_not(person, app, box):
    person.sign_in()
    box.person("adele").id_claims["auth_time"] = int(time.time())
    let_the_id_token_expire(app, person)
    assert person.get("/plain").text == "plain"
    assert [each.form["grant_type"] for each in box.seen("token")][-1] == "refresh_token"
    assert begun(person.get("/transfer", follow=False))["max_age"] == "300"


def test_another_sign_in_of_the_same_person_does_not_forget_it_and_one_of_somebody_else_does(person, box):
    person.go_on(person.get("/transfer"))
    person.sign_in()
    assert person.get("/transfer", follow=False).status_code == 200
    person.go_on(person.get("/login?prompt=select_account"), "alex")
    assert begun(person.get("/transfer", follow=False))["max_age"] == "300"


@pytest.mark.parametrize("said", ["nothing", "too long ago", "not a number", "in the future"])
def test_a_tenant_that_does_not_do_it_has_a_page_and_is_not_asked_for_ever(person, app, box, said):
    claims = {"nothing": None, "too long ago": time.time() - 3600, "not a number": "now", "in the future": 2**40}

    def forge(given, header):
        given.pop("auth_time", None)
        given.update({} if claims[said] is None else {"auth_time": claims[said]})

    box.forge = forge
    page = person.go_on(person.get("/transfer"))
    assert page.status_code == 403
    assert "has not confirmed" in page.text
    assert "auth_time" in Page(page.text).text
    assert len(box.seen("token")) == 1
    assert "/login?next=%2Ftransfer&amp;prompt=login" in page.text
    assert person.get("/plain", follow=False).status_code in REDIRECTS  # nobody was signed in
    assert "unmet_authentication_requirements" in app.log()


def test_a_step_up_that_fails_leaves_the_present_sign_in_as_it_was(person, box):
    person.sign_in()
    box.forge = lambda claims, header: claims.pop("auth_time", None) and None
    assert person.go_on(person.get("/transfer")).status_code == 403
    assert person.get("/plain").text == "plain"


# --- An authentication context --------------------------------------------------------------------------------------------


def test_a_view_for_an_authentication_context_makes_its_claims_challenge_and_checks_it(person, box):
    person.sign_in()
    assert person.get("/payroll").text == "The payroll."
    assert json.loads(asked(box)["claims"])["id_token"] == {"acrs": {"essential": True, "value": "c1"}}
    count = len(box.seen("authorize"))
    assert person.get("/payroll").text == "The payroll."
    assert len(box.seen("authorize")) == count


@pytest.mark.parametrize("acrs", ["c1", ["c1"], ["c2", "c1"], "c2 c1"])
def test_the_claim_may_be_a_list_or_a_text(person, app, acrs):
    person.sign_in()
    change(app, person, acrs=acrs)
    assert person.get("/payroll", follow=False).text == "The payroll."


@pytest.mark.parametrize("acrs", ["c10", ["c11", 1], {"c1": True}, True, [["c1"]], "C1", None])
def test_any_other_context_is_none(person, app, acrs):
    person.sign_in()
    change(app, person, acrs=acrs)
    assert person.get("/payroll", follow=False).status_code in REDIRECTS


@pytest.mark.parametrize("acrs", [[], "c2", ["c11"], {"c1": 1}])
def test_an_answer_without_the_context_is_a_page(person, box, acrs):
    box.person("adele").id_claims["acrs"] = acrs
    page = person.go_on(person.get("/payroll"))
    assert page.status_code == 403
    assert "no c1 in acrs" in page.text
    assert len(box.seen("token")) == 1


def test_a_context_holds_until_an_id_token_comes_without_it(person, app):
    person.go_on(person.get("/payroll"))
    let_the_id_token_expire(app, person)
    assert begun(person.get("/payroll", follow=False))["claims"]


def test_the_scopes_the_age_and_the_context_take_one_sign_in(person, box):
    assert person.go_on(person.get("/both")).text == "Bearer"
    assert len(box.seen("token")) == 1
    query = asked(box)
    assert "Mail.Read" in query["scope"].split()
    assert query["max_age"] == "300"
    assert json.loads(query["claims"])["id_token"]["acrs"]["value"] == "c2"


def test_a_role_is_asked_about_before_a_sign_in_that_would_not_help(person):
    person.sign_in("alex")
    assert person.get("/role", follow=False).status_code == 403
    patti = Visitor(person.url)
    patti.sign_in("patti")
    assert patti.go_on(patti.get("/role"), "patti").text == "role"


# --- Scripts ------------------------------------------------------------------------------------------------------------


def test_a_script_is_told_what_is_wanted_and_where_and_the_link_asks_for_it(person, box):
    person.sign_in()
    answer = person.get("/both", headers=FETCH)
    assert answer.status_code == 401
    assert answer.json()["max_age"] == 300
    assert answer.json()["claims"]["id_token"]["acrs"]["value"] == "c2"
    person.go_on(person.get(answer.json()["sign_in"]))
    assert asked(box)["max_age"] == "300"
    assert person.get("/both", headers=FETCH).text == "Bearer"


def test_the_header_says_it_as_rfc_9470_has_it(person):
    person.sign_in()
    header = person.get("/transfer", headers=FETCH).headers["WWW-Authenticate"]
    assert 'error="insufficient_user_authentication"' in header
    assert 'max_age="300"' in header


# --- All views protected, and what is written wrong -------------------------------------------------------------------------

PROTECTED = """
import functools
import app_config
from flask import Flask
from flask_entra import Auth

auth = Auth()
app = Flask(__name__)
app.config.from_mapping(app_config.load(), ENTRA_LAYOUT="")
auth.init_app(app, protected=True)


def cached(view):
    kept = []

    @functools.wraps(view)
    def answer():
        kept.append(kept[0] if kept else view())
        return kept[0]

    return answer


@app.get("/figures")
@cached
@auth.login_required(max_age=300)
def figures(*, context):
    return "figures"


@app.get("/")
def home():
    return "home"
"""


def test_with_protected_the_guard_asks_before_a_cache_answers(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(PROTECTED)
    first = Visitor(serve(flask_app=tmp_path / "mine.py").url)
    assert first.go_on(first.get("/figures")).text == "figures"
    second = Visitor(first.url)
    second.sign_in("alex")
    assert second.get("/").text == "home"
    assert begun(second.get("/figures", follow=False))["max_age"] == "300"
    assert second.go_on(second.get("/figures"), "alex").text == "figures"


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"max_age": "300"}, TypeError, "max_age is a number of seconds"),
        ({"max_age": 300.0}, TypeError, "max_age is a number of seconds"),
        ({"max_age": True}, TypeError, "max_age is a number of seconds"),
        ({"max_age": 0}, ValueError, "above 0"),
        ({"max_age": -5}, ValueError, "above 0"),
        ({"auth_context": 1}, TypeError, "auth_context is a text"),
        ({"auth_context": ["c1"]}, TypeError, "auth_context is a text"),
        ({"auth_context": ""}, ValueError, "c1 to c99"),
        ({"auth_context": "c0"}, ValueError, "c1 to c99"),
        ({"auth_context": "c100"}, ValueError, "c1 to c99"),
        ({"auth_context": "C1"}, ValueError, "c1 to c99"),
        ({"auth_context": "c1\n"}, ValueError, "c1 to c99"),
    ],
)
def test_what_is_written_wrong_is_said_at_once(wrong, error, words):
    with pytest.raises(error, match=words):
        Auth().login_required(**wrong)


def test_a_step_up_for_nothing_is_none():
    assert not StepUp()
    assert StepUp.of(1, None) and StepUp.of(None, "c99")


def test_somebody_signed_in_for_a_test_has_signed_in_recently_and_meets_a_context_on_demand(visit):
    browser, auth = visit(), Auth()

    def view(*, context):
        return "in"

    browser.app.add_url_rule("/recent", "recent", auth.login_required(view, max_age=60))
    browser.app.add_url_rule("/strong", "strong", auth.login_required(view, auth_context="c1"))
    sign_in(browser.client)
    assert [browser.get("/recent").status_code, browser.get("/strong").status_code in REDIRECTS] == [200, True]
    sign_in(browser.client, claims={"acrs": ["c1"], "auth_time": None})
    assert [browser.get("/recent").status_code in REDIRECTS, browser.get("/strong").status_code] == [True, 200]

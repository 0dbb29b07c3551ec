"""The journeys that people make, from end to end."""

import jwt
from visitor import Page, Visitor, cookie_name


def test_a_person_signs_in_calls_graph_and_signs_out(person, box):
    home = person.get("/")
    assert home.status_code == 200
    assert "Sign in with Microsoft" in home.text

    greeting = person.sign_in("adele")
    assert greeting.url == person.url + "/"
    assert "Adèle Vance" in greeting.text
    assert "Call Graph" in greeting.text

    profile = person.get("/call_graph")
    assert profile.status_code == 200
    assert "Retail Manager" in profile.text
    assert "GET " + box.settings["ENDPOINT"] in profile.text

    out = person.get("/logout")
    assert out.url == person.url + "/"
    assert [each.path.rpartition("/")[2] for each in box.seen("logout")] == ["logout"]
    assert not person.signed_in


def test_there_is_one_consent_and_call_graph_needs_no_second_token_request(person, box):
    person.sign_in("adele")
    person.get("/call_graph")
    assert len(box.seen("token")) == 1


def test_declining_the_consent_comes_back_to_a_page_that_says_so(person):
    page = person.press(person.press(person.get("/login"), "adele"), "cancel")
    assert page.url.startswith(person.url + "/getAToken")
    assert page.status_code == 403
    assert "You declined" in page.text
    assert "AADSTS65004" in page.text
    assert not person.signed_in
    assert person.sign_in("adele").status_code == 200


def test_after_declining_another_account_may_be_taken_and_the_page_is_not_forgotten(person):
    page = person.press(person.press(person.get("/call_graph"), "adele"), "cancel")
    assert 'href="/login?prompt=select_account"' in page.text
    assert 'href="/login?next=%2Fcall_graph"' in page.text


def test_a_page_asked_for_while_signed_out_is_shown_after_sign_in(person):
    page = person.go_on(person.get("/call_graph?x=1"))
    assert page.url == person.url + "/call_graph?x=1"
    assert "Retail Manager" in page.text


def test_an_expired_access_token_is_refreshed_without_a_word(person, box):
    box.access_token_lifetime = 1  # due as soon as it is there
    person.sign_in("adele")
    box.access_token_lifetime = 4000
    assert "Retail Manager" in person.get("/call_graph").text
    assert [each.form["grant_type"] for each in box.seen("token")] == ["authorization_code", "refresh_token"]
    assert "Retail Manager" in person.get("/call_graph").text
    assert len(box.seen("token")) == 2


def test_single_sign_on_brings_a_person_back_without_a_question(person, app):
    person.sign_in("adele")
    person.cookies.clear(domain="localhost.local", path="/", name=cookie_name(app))
    assert not person.signed_in
    assert person.get("/call_graph").url == person.url + "/call_graph"


def test_a_person_can_change_the_account(person):
    person.sign_in("adele")
    page = person.get("/login?prompt=select_account")
    assert "Adèle Vance" in Page(page.text).text
    assert "Adèle" not in person.go_on(page, "alex").text


def test_an_administrators_consent_is_asked_for(person, box):
    assert "admin approval" in person.press(person.get("/login"), "miriam").text


def test_nothing_but_sign_in_pages_come_from_the_tenant(person, box):
    person.get("/")
    assert [each.endpoint for each in box.log] == []


def test_two_people_do_not_see_each_other(app):
    adele, alex = Visitor(app.url), Visitor(app.url)
    adele.sign_in("adele")
    alex.sign_in("alex")
    assert "Adèle" in adele.get("/").text
    assert "Adèle" not in alex.get("/").text


# --- What is built on it: a view of one's own, for another API --------------------------------------------------------

ANOTHER_VIEW = """
from flask import flash, redirect, url_for

from app import app, auth


@app.get("/people")
@auth.login_required(scopes=["User.ReadBasic.All"])
def people(*, context):
    return context["access_token"]


@app.get("/plain")
@auth.login_required
def plain(*, context):
    assert "access_token" not in context
    return context["user"]["name"]


@app.post("/done")
@auth.login_required
def done(*, context):
    flash("It is <done>.")
    return redirect(url_for("account"))
"""


def test_the_starters_pages_show_what_a_view_flashes_once(serve, tmp_path):
    (tmp_path / "mine.py").write_text(ANOTHER_VIEW)
    person = Visitor(serve(flask_app=tmp_path / "mine.py").url)
    person.sign_in()
    page = person.post(f"{person.url}/done", timeout=30)
    assert '<p class="note" role="status">It is &lt;done&gt;.</p>' in page.text
    assert "done" not in person.get("/account").text


def test_a_view_of_ones_own_gets_a_token_for_the_scopes_it_asks_for(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(ANOTHER_VIEW)
    app = serve(flask_app=tmp_path / "mine.py")
    person = Visitor(app.url)
    assert person.sign_in(path="/plain").text == "Adèle Vance"
    asked = len(box.seen("token"))
    token = person.go_on(person.get("/people")).text
    scopes = jwt.decode(token, options={"verify_signature": False})["scp"].split()
    assert "User.ReadBasic.All" in scopes
    assert len(box.seen("token")) > asked
    asked = len(box.seen("token"))
    assert person.get("/people").text == token
    assert "Retail Manager" in person.get("/call_graph").text
    assert len(box.seen("token")) <= asked + 1
    assert person.get("/people").text.count(".") == 2

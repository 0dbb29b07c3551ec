"""`/account`: what the app sees of the person. And `flask doctor` about roles and groups."""

import re

import forked
import pytest
from conftest import ROOT, bare_environment
from visitor import Page

from sandbox.people import group_id


def text(page):
    return re.sub(r"\s+", " ", Page(page.text).text)


def test_it_shows_claims_roles_groups_permissions_and_times_and_no_token(person, box):
    box.person("patti").groups.append(group_id("Finance"))
    page = person.go_on(person.get("/account"), "patti")
    assert page.url == person.url + "/account"
    shown = text(page)
    for expected in (
        "Orders.Approve",
        group_id("Finance"),
        "User.Read",
        "patti@contoso.onmicrosoft.com",
        box.client_id,
    ):
        assert expected in shown
    times = re.findall(
        r'<time datetime="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)">\d+ \w+ \d{4} [\d:]+ UTC</time>', page.text
    )
    assert len(times) >= 6
    assert page.headers["Cache-Control"] == "no-store"
    for token in ("eyJ", "1.A" + "x" * 40):
        assert token not in page.text
    assert not re.search(r"[\w-]{80,}", page.text)
    assert 'href="/account"' in person.get("/").text


def test_in_french_with_french_dates(person):
    person.headers["Accept-Language"] = "fr"
    page = person.go_on(person.get("/account"), "alex")
    assert "Ce que cette application sait de vous" in text(page)
    months = "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre"
    assert re.search(rf">\d+ ({months}) \d{{4}} [\d:]+ UTC</time>", page.text)
    assert "Configuration du jeton" in text(page)


def test_a_person_in_too_many_groups_for_the_token_is_told_so(person):
    page = person.go_on(person.get("/account"), "isaiah")
    assert "too many groups for the ID token" in text(page)


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": "Orders.Approve"},
        {"roles": 7, "groups": {"a": [1]}},
        {"roles": [f"R{n}" for n in range(10_000)]},
        {"groups": [[1]], "_claim_names": 5, "hasgroups": "yes"},
        {"auth_time": "now", "nbf": -62e10, "xms_pl": None},
        {"name": "<script>alert(1)</script>", "extra": {"<b>": "x" * 100_000}},
        {"auth_time": 1e300},
    ],
    ids=lambda claims: " ".join(claims),
)
def test_whatever_stands_in_a_claim_is_shown_as_text(person, box, claims):
    box.person("alex").id_claims |= claims
    page = person.go_on(person.get("/account"), "alex")
    if "nbf" not in claims:  # a token of that time is refused at the sign-in
        assert page.status_code == 200
    assert "<script>" not in page.text
    assert len(page.content) < 40_000


def test_it_says_so_when_a_claim_admits_nobody(person, box):
    box.person("alex").id_claims["roles"] = "Orders.Approve"
    assert "it gives access to nothing" in text(person.go_on(person.get("/account"), "alex"))


# --- flask doctor -------------------------------------------------------------------------------------------------------


def doctor(box, app, tmp_path, **settings):
    environment = bare_environment() | box.settings | {"SESSION_FILE_DIR": str(tmp_path / "sessions"), **settings}
    status, printed = forked.run(["flask", "--app", str(app), "doctor"], ROOT, environment)
    assert "Traceback" not in printed, printed
    return status, printed


@pytest.fixture
def own_doctor(box, tmp_path):
    return lambda: doctor(box, ROOT / "tests" / "own_app", tmp_path)


def test_the_doctor_is_silent_about_roles_where_no_view_names_one(box, tmp_path):
    status, printed = doctor(box, "app", tmp_path)
    assert status == 0
    assert "Roles" not in printed
    assert "Groups" not in printed


def test_the_doctor_says_what_to_look_at_when_it_may_not_read_the_registration(own_doctor):
    status, printed = own_doctor()
    assert status == 0
    assert (
        "! Roles are named by views, and the app registration could not be read (Authorization_RequestDenied)."
        in printed
    )
    assert "See that App roles has each of these: Orders.Approve." in printed
    assert "See that Token configuration has a groups claim." in printed


def test_the_doctor_compares_roles_and_groups_with_the_registration(own_doctor, box):
    box.may_read_applications = True
    _, printed = own_doctor()
    assert "✓ Roles are in the app registration." in printed
    assert "✓ Groups are in the ID tokens." in printed
    box.app_roles.clear()
    box.group_claims = False
    status, printed = own_doctor()
    assert status == 0
    assert (
        "! Roles are named by views, and no ID token ever has these: Orders.Approve. Add them under App roles"
        in printed
    )
    assert (
        "! Groups are named by views, and no ID token has any. Add them under Token configuration › Add groups claim"
        in printed
    )


def test_the_doctor_finds_scopes_of_two_apis(box, tmp_path):
    status, printed = doctor(box, "app", tmp_path, SCOPE="User.Read api://x/Orders.Read")
    assert status == 1
    assert "✗ SCOPE has scopes of several APIs (environment)." in printed
    assert (
        "several APIs"
        not in doctor(box, "app", tmp_path, SCOPE="User.Read https://graph.microsoft.com/Mail.Read email")[1]
    )

"""People of other organizations: what a guest sees of their own, and what a person of a tenant that may not sign in is told."""

import re

import pytest
from visitor import Page, Visitor

from flask_entra.config import KEY
from pages.accounts import home_of
from sandbox.people import FABRIKAM

OTHER, HOME = "5f4e2d1c-0b9a-4876-9a4b-3c2d1e0f9a8b", "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"


def text(page):
    return re.sub(r"\s+", " ", Page(page.text).text)


# --- Guests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ["Home organization", "You are a guest"]), ("fr", ["Organisation d’origine", "Vous êtes un invité"])],
)
def test_the_account_page_shows_a_guest_their_own_organization(person, language, words):
    person.headers["Accept-Language"] = language
    page = person.go_on(person.get("/account"), "noor")
    for each in (*words, "fabrikam.example", FABRIKAM):
        assert each in text(page)


def test_a_member_has_none(person):
    assert "guest" not in text(person.go_on(person.get("/account")))


USER = {"tid": HOME, "iss": f"https://login.microsoftonline.com/{HOME}/v2.0", "preferred_username": "a@contoso.example"}
GUEST = {"preferred_username": "first_last_fabrikam.example#EXT#@contoso.example"}


@pytest.mark.parametrize(
    ("claims", "home"),
    [
        ({}, None),
        ({"acct": 0}, None),
        ({"idp": USER["iss"]}, None),
        ({"idp": f"https://sts.windows.net/{HOME.upper()}/"}, None),
        ({"idp": None, "acct": None, "preferred_username": None}, None),
        ({"acct": 1}, ("contoso.example", "", "")),
        ({"acct": "1", "email": "a@b@fabrikam.example"}, ("fabrikam.example", "", "")),
        (GUEST, ("fabrikam.example", "", "")),
        ({**GUEST, "idp": f"https://sts.windows.net/{OTHER}/"}, ("fabrikam.example", OTHER, "")),
        ({"idp": "live.com"}, ("contoso.example", "", "live.com")),
        ({"idp": "x" * 2000, "preferred_username": 7}, ("", "", "x" * 1000 + "…")),
        ({"idp": ["live.com"]}, ("contoso.example", "", "['live.com']")),
    ],
)
def test_what_an_id_token_tells_of_a_guests_home(claims, home):
    found = home_of({**USER, **claims})
    assert home == (found and (found["domain"], found["tenant"], found["provider"]))


# --- Tenants that may not sign in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["not open to people of your organization", "add the tenant ID", "another organization"]),
        ("fr", ["n’est pas ouverte aux personnes de votre organisation", "ajoutez l’ID de locataire"]),
    ],
)
def test_a_tenant_that_may_not_sign_in_is_named_with_what_to_do(serve, box, language, words):
    app = serve(AUTHORITY=box.authority("common"), ALLOWED_TENANTS=OTHER)
    person = Visitor(app.url)
    person.headers["Accept-Language"] = language
    page = person.sign_in("alex", "/account")
    assert page.status_code == 403
    for each in (*words, box.tenant_id, "ALLOWED_TENANTS", "alex@contoso.onmicrosoft.com"):
        assert each in text(page)
    assert 'class="button" href="/login?prompt=select_account"' in page.text
    assert not person.signed_in
    assert f"not one of ALLOWED_TENANTS: {box.tenant_id}" in app.log()
    box.person("adele").tenant_id = OTHER
    assert person.go_on(person.get("/login?prompt=select_account")).status_code == 200
    assert person.signed_in


def test_a_forged_tenant_is_not_told_of_as_one_that_may_be_added(serve, box):
    app = serve(AUTHORITY=box.authority("common"), ALLOWED_TENANTS=OTHER)
    box.forge = lambda claims, header: claims.update(tid=HOME)  # but the issuer of another
    page = Visitor(app.url).sign_in()
    assert page.status_code == 502
    assert HOME not in page.text


def test_a_tenant_that_may_not_sign_in_is_named_whatever_this_machines_clock_says(visit):
    browser = visit(ALLOWED_TENANTS=HOME)
    browser.provider.claims = {"tid": OTHER}
    query = browser.begin()
    browser.app.extensions[KEY].authority.clock_offset = 1000
    page = browser.finish(query)
    assert page.status_code == 403
    assert OTHER in page.text

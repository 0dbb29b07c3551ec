"""Errors explained: each of Entra's codes is a sentence and a next step, with what support asks for beside it."""

import html
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from visitor import Visitor

from flask_entra.pages import explanations
from flask_entra.pages.problems import sign_in_details
from sandbox.faults import Answer

TRACE, CORRELATION = "0a1b2c3d-0000-4444-8888-123456789abc", "9f8e7d6c-0000-4444-8888-cba987654321"


OWN = {"no_sign_in_begun", "sign_in_did_not_help", "session_lost"}
PROTOCOL = sorted(set(explanations.OAUTH_ERRORS) - OWN)


def come_back(person, **query):
    """Return from the tenant with an error."""
    state = parse_qs(urlsplit(person.get("/login", follow=False).headers["Location"]).query)["state"][0]
    return person.get("/getAToken?" + urlencode({**query, "state": state}))


@pytest.mark.parametrize("code", explanations.ENTRA_ERRORS)
def test_each_of_entras_codes_is_a_sentence_and_a_next_step(person, code):
    status, text, advice, action, *_ = explanations.ENTRA_ERRORS[code]
    description = (
        f"{code}: What Entra says. Trace ID: {TRACE} Correlation ID: {CORRELATION} Timestamp: 2026-11-22 10:11:12Z"
    )
    page = come_back(person, error="access_denied", error_description=description)
    assert page.status_code == status
    shown = html.unescape(page.text)
    for expected in (str(text), str(advice), code, TRACE, CORRELATION, "2026-11-22 10:11:12Z"):
        assert expected in shown
    way_on = {
        "sign_in": "/login",
        "other_account": "/login?prompt=select_account",
        "reset_password": "/login?user_flow=reset_password",
        "home": "/",
    }[action]
    assert f'href="{way_on}"' in shown
    assert not person.signed_in


@pytest.mark.parametrize("error", PROTOCOL)
def test_each_error_of_the_protocol_is_a_sentence_and_a_next_step(person, error):
    page = come_back(person, error=error)
    assert page.status_code == explanations.OAUTH_ERRORS[error][0]
    assert str(explanations.OAUTH_ERRORS[error][1]) in html.unescape(page.text)


def test_an_error_nobody_has_heard_of_is_still_a_page(person):
    page = come_back(person, error="odd", error_description="AADSTS99999999: New. Trace ID: x")
    assert page.status_code == 400
    assert "AADSTS99999999" in page.text
    assert "Sign in again" in page.text


@pytest.mark.parametrize("kind", explanations.GRAPH_ERRORS)
def test_each_kind_of_graph_error_has_a_title_a_text_and_advice(kind):
    explanation = explanations.GRAPH_ERRORS[kind]
    assert 400 <= explanation.status < 600
    assert all(str(text).strip() for text in (explanation.title, explanation.text, explanation.advice))
    assert explanation.way_on in ("home", "retry", "sign_in", "other_account")


def test_the_details_of_entras_description_are_read_whatever_their_order():
    found = sign_in_details(
        f"AADSTS50105: No. Timestamp: 2026-11-22 10:11:12Z Correlation ID: {CORRELATION} Trace ID: {TRACE}"
    )
    assert found == {
        "code": "AADSTS50105",
        "trace_id": TRACE,
        "correlation_id": CORRELATION,
        "time": "2026-11-22 10:11:12Z",
    }
    assert sign_in_details("") == {}
    assert sign_in_details("AADSTS: " * 10_000) == {}


def test_an_error_page_shows_the_id_that_finds_its_log_line(person, app, box):
    from sandbox.faults import Answer

    person.sign_in()
    box.misbehave("me", Answer(403))
    request_id = re.search(r">([0-9a-f]{16})<", person.get("/call_graph").text)[1]
    assert f" {request_id} 403 GraphError" in app.log()


def test_forgetting_the_password_in_b2c_leads_to_its_own_page(serve, box):
    app = serve(
        AUTHORITY=None,
        B2C_TENANT_NAME="contoso",
        SIGNUPSIGNIN_USER_FLOW="B2C_1_in",
        EDITPROFILE_USER_FLOW="B2C_1_edit",
        RESETPASSWORD_USER_FLOW="B2C_1_reset",
    )
    location = Visitor(app.url).get("/login?user_flow=reset_password", follow=False).headers["Location"]
    assert location.startswith(
        "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_reset/oauth2/v2.0/authorize?"
    )
    assert parse_qs(urlsplit(location).query)["redirect_uri"] == [app.settings["REDIRECT_URI"]]
    back = parse_qs(urlsplit(location).query)["state"][0]
    assert (
        Visitor(app.url).get("/getAToken?" + urlencode({"state": back, "code": "x"}), follow=False).headers["Location"]
        == "/"
    )


def test_what_only_the_person_who_runs_the_app_can_mend_is_addressed_to_them(person, box):
    box.client_secret_state = "expired"
    page = person.sign_in()
    assert page.status_code == 500
    before, _, after = html.unescape(page.text).partition("For the person who runs this app")
    assert "has to correct its settings first" in before
    assert "CLIENT_SECRET" not in before
    assert "CLIENT_SECRET has expired." in after


def test_the_advice_for_developers_stands_among_the_details(person, box):
    person.sign_in()
    box.misbehave("me", Answer(403, {"error": {"code": "Authorization_RequestDenied", "message": "no"}}))
    page = html.unescape(person.get("/call_graph").text)
    before, _, after = page.partition("Details for support")
    assert "Ask an administrator" in before
    assert "app registration" not in before
    assert "app registration under API permissions" in after

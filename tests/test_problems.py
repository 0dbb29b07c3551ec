"""Errors explained: each of Entra's codes is a sentence and a next step, with what support asks for beside it."""

import html
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import flask
import pytest
from conftest import ROOT
from visitor import Visitor

from flask_entra import Auth
from flask_entra.graph_error import GraphError, TokenRejected
from flask_entra.pages import entra_kinds, explanations
from flask_entra.pages.entra_errors import ENTRA_ERRORS
from flask_entra.pages.graph_errors import GRAPH_ERRORS
from flask_entra.same_error import same
from flask_entra.signin.errors import (
    AppTokenRefused,
    AuthorityUnavailable,
    CallerRefused,
    MembershipUnknown,
    NotAllowed,
    SignInError,
    SignInRequired,
    TenantNotAllowed,
    sign_in_details,
)
from flask_entra.testing import sign_in
from sandbox.faults import Answer

TRACE, CORRELATION = "0a1b2c3d-0000-4444-8888-123456789abc", "9f8e7d6c-0000-4444-8888-cba987654321"


# What a person gets for each error: the status, and the way on that the page offers.
ENTRA = {
    "400 reset_password": "AADB2C90118",
    "400 return": "AADSTS54005",
    "400 sign_in": "AADSTS501481 AADSTS70008",
    "401 sign_in": "AADSTS50058 AADSTS50173 AADSTS700082 AADSTS70043",
    "403 home": "AADSTS53000 AADSTS53001 AADSTS90095",
    "403 other_account": "AADSTS50020 AADSTS50034 AADSTS50057 AADSTS50105 AADSTS53003 AADSTS90072 AADSTS90094",
    "403 sign_in": "AADB2C90091 AADSTS50053 AADSTS50055 AADSTS50074 AADSTS50076 AADSTS50078 AADSTS50079 AADSTS50126 "
    "AADSTS50158 AADSTS65001 AADSTS65004",
    "500 home": "AADSTS28000 AADSTS50011 AADSTS500112 AADSTS50194 AADSTS650053 AADSTS650057 AADSTS7000112 AADSTS700016 "
    "AADSTS7000215 AADSTS7000218 AADSTS7000222 AADSTS7000229 AADSTS700025 AADSTS700027 AADSTS700051 AADSTS700054 AADSTS70011 "
    "AADSTS700211 AADSTS700213 AADSTS90002 AADSTS900023 AADSTS9002325 AADSTS9002331",
}
PROTOCOL = {
    "400 sign_in": "invalid_grant",
    "401 sign_in": "login_required",
    "403 sign_in": "access_denied consent_required interaction_required invalid_scope",
    "403 sign_in_anew": "unmet_authentication_requirements",
    "500 home": "invalid_client unauthorized_client",
    "502 sign_in": "server_error",
    "503 sign_in": "temporarily_unavailable",
}
GRAPH = {
    "401 sign_in": "token",
    "403 home": "forbidden",
    "404 home": "no_endpoint not_found",
    "409 home": "conflict",
    "502 home": "refused",
    "502 retry": "not_understood unavailable",
    "503 retry": "throttled",
    "504 retry": "timeout",
}
# tests/test_signin.py and others lead to these.
OWN = {"no_sign_in_begun", "too_many_sign_ins", "sign_in_did_not_help", "session_lost"}
WAYS_ON = {
    "sign_in": "/login",
    "sign_in_anew": "/login?prompt=login",
    "other_account": "/login?prompt=select_account",
    "reset_password": "/login?user_flow=reset_password",
    "home": "/",
    "return": "/",
}


def each(table):
    """Parameters: the error, its status and the way on."""
    return [(error, int(is_[:3]), is_[4:]) for is_, errors in table.items() for error in errors.split()]


def test_there_is_an_expectation_for_each_error():
    assert {error for error, *_ in each(ENTRA)} == set(ENTRA_ERRORS)
    assert {error for error, *_ in each(PROTOCOL)} == set(explanations.OAUTH_ERRORS) - OWN
    assert {kind for kind, *_ in each(GRAPH)} == set(GRAPH_ERRORS)


def come_back(person, **query):
    """Return from the tenant with an error."""
    state = parse_qs(urlsplit(person.get("/login", follow=False).headers["Location"]).query)["state"][0]
    return person.get("/getAToken?" + urlencode({**query, "state": state}))


@pytest.mark.parametrize(("code", "status", "way_on"), each(ENTRA))
def test_each_of_entras_codes_is_a_sentence_and_a_next_step(person, code, status, way_on):
    description = (
        f"{code}: What Entra says. Trace ID: {TRACE} Correlation ID: {CORRELATION} Timestamp: 2026-11-22 10:11:12Z"
    )
    page = come_back(person, error="access_denied", error_description=description)
    assert page.status_code == status
    shown = html.unescape(page.text)
    explained = ENTRA_ERRORS[code]
    for expected in (str(explained.text), str(explained.advice), code, TRACE, CORRELATION, "2026-11-22 10:11:12Z"):
        assert expected in shown
    assert f'href="{WAYS_ON[way_on]}"' in shown
    assert not person.signed_in


@pytest.mark.parametrize(("error", "status", "way_on"), each(PROTOCOL))
def test_each_error_of_the_protocol_is_a_sentence_and_a_next_step(person, error, status, way_on):
    page = come_back(person, error=error)
    assert page.status_code == status
    assert str(explanations.OAUTH_ERRORS[error].text) in html.unescape(page.text)
    assert f'href="{WAYS_ON[way_on]}"' in page.text


def test_an_error_nobody_has_heard_of_is_still_a_page(person):
    page = come_back(person, error="odd", error_description="AADSTS99999999: New. Trace ID: x")
    assert page.status_code == 400
    assert "AADSTS99999999" in page.text
    assert "Sign in again" in page.text


@pytest.mark.parametrize(("kind", "status", "way_on"), each(GRAPH))
def test_each_kind_of_graph_error_has_a_title_a_text_and_advice(kind, status, way_on):
    explanation = GRAPH_ERRORS[kind]
    assert (explanation.status, explanation.way_on) == (status, way_on)
    assert all(str(text).strip() for text in (explanation.title, explanation.text, explanation.advice))


@pytest.mark.parametrize(("status", "visible"), [(403, True), (409, True), (500, False), (503, False)])
def test_the_words_of_a_view_are_for_people_unless_it_is_the_apps_fault(visit, status, visible):
    browser = visit()
    browser.app.add_url_rule("/words", view_func=lambda: flask.abort(status, "the ledger of shop 7"))
    sign_in(browser.client)
    page = browser.get("/words")
    assert page.status_code == status
    assert ("the ledger of shop 7" in page.text) is visible


@pytest.mark.parametrize(
    ("description", "told"),
    [("AADSTS65004: declined.", True), ("", True), ("AADSTS90094: An administrator must approve it.", False)],
)
def test_a_person_who_is_asked_for_more_is_told_why_they_do_not_get_it(visit, description, told):
    browser = visit(SCOPE="invoices")
    sign_in(browser.client)
    page = browser.finish(browser.begin(), code=None, error="access_denied", error_description=description)
    assert page.status_code == 403
    assert ("permissions that have not been given: invoices" in page.text) is told
    if not told:
        assert str(ENTRA_ERRORS["AADSTS90094"].text) in html.unescape(page.text)


@pytest.mark.parametrize("answer", [{"error": "access_denied"}, {"error": "server_error"}, {"state": "x"}])
def test_no_link_of_a_failed_sign_in_leads_back_to_its_answer(visit, answer):
    browser = visit()
    page = browser.finish(browser.begin(), code=None, **answer)
    assert page.status_code >= 400
    links = re.findall(r'(?:href|action|content)="([^"]*)"', page.text)
    assert "/" in links
    assert not [link for link in links if "getAToken" in link]


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
    assert "login_required" not in before
    assert "login_required(scopes=[…])" in after


KINDS = {
    "AADSTS50146": entra_kinds.APP,
    "AADSTS9002327": entra_kinds.APP,  # by its first five digits
    "AADSTS50196": entra_kinds.APP,
    "AADSTS700999": entra_kinds.APP,  # by its first two
    "AADSTS90093": entra_kinds.CONSENT,
    "AADSTS6500599": entra_kinds.APP,
    "AADSTS530033": entra_kinds.POLICY,
    "AADSTS53099": entra_kinds.POLICY,
    "AADSTS500212": entra_kinds.POLICY,
    "AADSTS50097": entra_kinds.DEVICE,
    "AADSTS500208": entra_kinds.ACCOUNT,
    "AADSTS51099": entra_kinds.ACCOUNT,
    "AADSTS53004": entra_kinds.BLOCKED,
    "AADSTS50144": entra_kinds.PASSWORD,
    "AADSTS50072": entra_kinds.PROOF,
    "AADSTS50132": entra_kinds.EXPIRED,
    "AADSTS80002": entra_kinds.FEDERATION,
    "AADSTS90033": entra_kinds.PASSING,
    "AADSTS50140": entra_kinds.INTERRUPTED,
    "AADSTS50999": None,
    "AADB2C90037": None,
}


@pytest.mark.parametrize(("code", "kind"), KINDS.items(), ids=KINDS)
def test_a_code_without_words_of_its_own_is_of_a_kind(person, code, kind):
    assert entra_kinds.kind_of(code) is kind
    page = come_back(person, error="access_denied", error_description=f"{code}: What Entra says.")
    explained = kind or explanations.OAUTH_ERRORS["access_denied"]
    assert page.status_code == explained.status
    for expected in (str(explained.text), str(explained.advice), code):
        assert expected in html.unescape(page.text)


def test_no_code_has_two_kinds():
    codes = " ".join(entra_kinds._CODES.values()).split()
    assert len(codes) == len(set(codes)) > 250


@pytest.mark.parametrize("code", ["AADSTS70011", "AADSTS650053"])
def test_a_scope_of_a_view_that_there_is_not_is_blamed_on_the_view(visit, provider, code):
    browser = visit(SCOPE="invoices")
    view = Auth().login_required(lambda *, context: "x", scopes=["ledgers", "journals", "invoices"])
    browser.app.add_url_rule("/ledgers", "ledgers", view)

    def page(path, said):
        error = {"error": "invalid_client", "error_description": f"{code}: {said}"}
        return html.unescape(browser.finish(browser.begin(path), code=None, **error).text)

    words = "The view at /ledgers asks for a permission that there is not, or that is not this API's: "
    assert f"{words}journals ledgers." in page("/ledgers?a=1", "There is no such scope.")
    assert f"{words}ledgers." in page(
        "/ledgers", "The app asked for scope 'Ledgers' that doesn't exist on the resource 'x'."
    )
    assert f"{words}journals." in page("/ledgers", "The app asked for scope 'api://x/journals' that doesn't exist.")
    for path, said in (("/login", "There is no such scope."), ("/ledgers", "The app asked for scope 'invoices'.")):
        assert "SCOPE contains a permission" in page(path, said)


def test_no_text_points_to_a_page_that_is_not_there():
    """What a text calls a document, or a file of the docs, is there."""
    for catalogue in (ROOT / "flask_entra" / "translations", ROOT / "translations"):
        texts = (catalogue / "fr" / "LC_MESSAGES" / "messages.po").read_text()
        assert "README" not in texts
        for name in re.findall(r"[\w/.]+\.md\b", texts):
            assert (ROOT / name).exists(), name


def of_this_package():
    """An error of each kind, with all that it can say."""
    user = {"sub": "s", "tid": "t"}
    return [
        TenantNotAllowed(user),
        SignInError("a", "b", ["c"]),
        AppTokenRefused("a", "AADSTS65001", ["c"]),
        SignInRequired("{}", ["c"], 5),
        AuthorityUnavailable("a", timeout=True, retry_after=4),
        CallerRefused("invalid_token", "a", reason="b", user=user),
        NotAllowed("roles", ("a",), user),
        MembershipUnknown(("a",), user, "b", retry_after=4),
        GraphError("timeout", "a", status=504),
        TokenRejected("a", claims="{}", status=401),
    ]


@pytest.mark.parametrize("error", of_this_package(), ids=lambda error: type(error).__name__)
def test_an_error_that_is_raised_again_says_the_same(error):
    try:
        raise error
    except type(error):
        other = same(error)
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
    assert (other is not error, other.__traceback__) == (True, None)

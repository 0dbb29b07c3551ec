"""What OpenID Connect asks of a relying party in the code flow, by the OpenID Foundation's own list of tests.

`docs/evidence.md` has the list, each with the test here that shows it. The provider is one that can be made to do it wrong.
"""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
import pytest
from fake_provider import CLIENT, Browser, SigningKey, due, refusal
from programs import until
from visitor import REDIRECTS, cookie_name
from werkzeug import Response

from flask_entra.http_client import BoundedSession
from flask_entra.sessions.files import FileStore
from flask_entra.signin import current_user
from flask_entra.signin.id_token import LEEWAY_SECONDS

# MSAL's advice; `signin/client.py` says why not. pytest sets its own filters.
REFUSED = "Sign-in refused"


def refused(browser, reason=""):
    page = browser.sign_in()
    assert page.status_code == 502
    assert REFUSED in page.text
    assert reason in page.text
    assert not browser.signed_in


# --- Sign-in ----------------------------------------------------------------------------------------------------------


def test_a_person_signs_in(visit, provider):
    browser = visit()
    query = browser.begin()
    assert (
        query.items()
        >= {"response_type": "code", "client_id": CLIENT["CLIENT_ID"], "code_challenge_method": "S256"}.items()
    )
    assert "response_mode" not in query
    page = browser.finish(query)
    assert page.status_code in REDIRECTS
    assert page.headers["Location"] == "/"
    assert 'Hello, <span dir="auto">Alice</span>' in browser.get("/").text
    (form,) = provider.forms()
    assert form["grant_type"] == "authorization_code"
    assert form["redirect_uri"] == query["redirect_uri"]


@pytest.mark.parametrize("nonce", ["another", None])
def test_another_nonce_or_none_is_refused(visit, provider, nonce):
    provider.claims = {"nonce": nonce}
    refused(visit(), "nonce")


@pytest.mark.parametrize("issuer", ["https://another.example", "", None, "/"])
def test_an_id_token_of_another_issuer_is_refused(visit, provider, issuer):
    provider.claims = {"iss": provider.url + "/" if issuer == "/" else issuer}
    refused(visit(), "iss")


@pytest.mark.parametrize("subject", [None, "", 5, ["alice"]])
def test_an_id_token_without_a_subject_is_refused(visit, provider, subject):
    provider.claims = {"sub": subject}
    refused(visit(), "sub" if not subject else "Subject must be a string")


@pytest.mark.parametrize("audience", ["another app", None, ["another app", CLIENT["CLIENT_ID"]]])
def test_an_id_token_for_another_app_is_refused(visit, provider, audience):
    provider.claims = {"aud": audience}
    refused(visit(), "azp" if isinstance(audience, list) else "")


def test_an_id_token_issued_to_another_app_is_refused(visit, provider):
    provider.claims = {"azp": "another app"}
    refused(visit(), "azp")


@pytest.mark.parametrize("claims", [{"iat": None}, {"iat": 2**40}, {"exp": None}, {"exp": 1}], ids=str)
def test_an_id_token_without_its_times_or_outside_of_them_is_refused(visit, provider, claims):
    provider.claims = claims
    refused(visit())


def test_a_token_response_without_an_id_token_is_refused(visit, provider):
    provider.token = {"id_token": None}
    refused(visit(), "there is none")


@pytest.mark.parametrize(
    "answer", [{"iss": "https://another.example"}, {"iss": ""}, {}], ids=["another", "empty", "none"]
)
def test_an_answer_that_does_not_say_whose_it_is_is_refused_where_that_is_announced(visit, provider, answer):
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    browser = visit()
    assert browser.sign_in(**answer).status_code == 400
    assert not browser.signed_in
    assert browser.sign_in(code=None, error="access_denied", iss=provider.url).status_code == 403
    assert provider.forms() == []
    browser.sign_in(iss=provider.url)
    assert browser.signed_in


def test_an_answer_need_not_say_whose_it_is_elsewhere_but_must_not_be_anothers(visit, provider):
    browser = visit()
    assert browser.sign_in(iss="https://another.example").status_code == 400
    browser.sign_in()
    assert browser.signed_in


# --- Signatures and keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384", "ES256", "EdDSA"])
@pytest.mark.parametrize("kid", ["a", None])
def test_an_id_token_signed_in_a_way_that_is_announced_signs_in(visit, provider, algorithm, kid):
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "none", "HS256", algorithm]
    provider.keys = [SigningKey(algorithm, kid)]
    browser = visit()
    browser.sign_in()
    assert browser.signed_in


@pytest.mark.parametrize("announced", [["RS256"], None, "PS256 ES256"])
@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "RS512"])
def test_an_id_token_signed_in_a_way_that_is_not_announced_is_refused(visit, provider, announced, algorithm):
    provider.metadata["id_token_signing_alg_values_supported"] = announced
    provider.keys = [SigningKey(algorithm, "a")]
    refused(visit(), "does not announce")


@pytest.mark.parametrize("announced", [["none"], ["none", "RS256", "HS256"]])
def test_an_unsigned_id_token_is_refused_even_where_it_is_announced(visit, provider, announced):
    provider.metadata["id_token_signing_alg_values_supported"] = announced
    provider.sign = lambda claims: jwt.encode(claims, None, "none", headers={"kid": "first"})
    refused(visit(), "alg")


def test_an_id_token_signed_with_the_client_secret_is_refused_even_where_it_is_announced(visit, provider):
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "HS256"]
    provider.sign = lambda claims: jwt.encode(
        claims, CLIENT["CLIENT_SECRET"].ljust(32), "HS256", headers={"kid": "first"}
    )
    refused(visit(), "alg")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
def test_an_id_token_signed_with_a_key_that_is_not_published_is_refused(visit, provider, algorithm):
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", algorithm]
    provider.keys = [SigningKey(algorithm, "first")]
    provider.sign = SigningKey(algorithm, "first", number=9).sign
    refused(visit(), "does not publish")


@pytest.mark.parametrize("beside", ["refresh_token", "token_type", "expires_in"])
def test_an_id_token_is_validated_whatever_is_missing_beside_it(visit, provider, beside):
    provider.token = {beside: None}
    provider.sign = SigningKey(kid="first", number=9).sign
    refused(visit(), "does not publish")


def test_a_key_is_used_for_nothing_but_what_it_says_it_is_for(visit, provider):
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "PS256"]
    provider.keys = [SigningKey("PS256", "first", alg="RS256")]
    refused(visit(), "does not publish")
    provider.keys = [SigningKey("RS256", "second", use="enc"), SigningKey("RS256", "third", number=1)]
    refused(visit(), "does not publish")


def test_a_key_that_nobody_can_read_is_left_out(visit, provider):
    odd = [
        {"kty": "AKP", "alg": "ML-DSA-1", "kid": "x"},
        {"kty": "new"},
        {"kty": "RSA", "kid": "y"},
        5,
        {"kty": "oct", "k": "x"},
    ]
    provider.published = {"keys": [*odd, provider.keys[0].jwk]}
    browser = visit()
    browser.sign_in()
    assert browser.signed_in


def test_of_several_keys_without_an_id_each_is_tried(visit, provider):
    provider.keys = [SigningKey(number=0), SigningKey(number=1), SigningKey(number=2)]
    browser = visit()
    for key in provider.keys:
        provider.sign = key.sign
        browser.sign_in()
        assert browser.signed_in
        browser.get("/logout")
    assert len(provider.headers("/keys")) == 1


def test_of_several_keys_with_one_id_each_is_tried(visit, provider):
    provider.keys = [SigningKey(kid="same", number=0), SigningKey(kid="same", number=1)]
    browser = visit()
    provider.sign = provider.keys[1].sign
    browser.sign_in()
    assert browser.signed_in


@pytest.mark.parametrize("kids", [("a", "b"), ("a", "a"), (None, None), ("a", None)], ids=str)
def test_a_new_key_is_followed_at_once_whatever_it_is_called(visit, provider, kids):
    provider.keys = [SigningKey(kid=kids[0], number=0)]
    browser = visit()
    browser.sign_in()
    for number in (1, 2):  # the second time as well
        provider.keys = [SigningKey(kid=kids[1], number=number)]
        browser.get("/logout")
        browser.sign_in()
        assert browser.signed_in
    assert len(provider.headers("/keys")) == 3


def test_a_new_key_keeps_none_of_several_people_out_who_come_at_once(visit, provider):
    browser = visit()
    browser.sign_in()
    provider.keys = [SigningKey(kid="first", number=1)]
    people = [Browser(browser.app, provider) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Browser.sign_in, people))
    assert all(person.signed_in for person in people)


def test_a_key_that_changes_between_the_code_and_the_token_is_followed(visit, provider):
    browser = visit()
    query = browser.begin()
    provider.keys = [SigningKey(kid="new", number=1)]
    browser.finish(query)
    assert browser.signed_in


@pytest.mark.parametrize("kid", ["first", None])
def test_forged_signatures_are_no_flood_of_requests_for_the_keys(visit, provider, kid):
    provider.keys = [SigningKey(kid=kid)]
    browser = visit()
    browser.sign_in()
    provider.sign = SigningKey(kid=kid, number=9).sign
    for _ in range(4):
        browser.get("/logout")
        refused(browser)
    assert len(provider.headers("/keys")) == 2


def test_the_keys_are_asked_for_again_a_minute_later(visit, provider, monkeypatch):
    provider.keys = [SigningKey(kid="one")]
    browser = visit()
    browser.sign_in()
    provider.sign = SigningKey(kid="another", number=9).sign
    now = time.monotonic
    for later, asked in ((0, 2), (50, 2), (61, 3), (70, 3), (122, 4)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now() + later)
        browser.get("/logout")
        refused(browser)
        assert len(provider.headers("/keys")) == asked


def test_keys_that_could_not_be_fetched_are_asked_for_again_by_the_next_sign_in(visit, provider):
    browser = visit()
    browser.sign_in()
    provider.keys = [SigningKey(kid="second", number=1)]
    provider.published = Response("", 503)
    browser.get("/logout")
    assert browser.sign_in().status_code == 502
    provider.published = None
    assert browser.sign_in().status_code in REDIRECTS
    assert browser.signed_in


@pytest.mark.parametrize("status", [201, 400, 404])
def test_keys_with_another_status_than_200_are_none(visit, provider, status):
    key_set = json.dumps({"keys": [key.jwk for key in provider.keys]})
    provider.published = Response(key_set, status, content_type="application/json")
    browser = visit()
    assert browser.sign_in().status_code == 502
    assert not browser.signed_in


def test_an_answer_that_is_nested_too_deeply_is_an_answer_that_is_not_understood(visit, provider):
    provider.token = Response(
        '{"access_token": ' + "[" * 100_000 + "]" * 100_000 + "}", content_type="application/json"
    )
    browser = visit()
    page = browser.sign_in()
    assert page.status_code == 502
    assert "nonce" not in page.text
    assert not browser.signed_in


# --- Discovery --------------------------------------------------------------------------------------------------------


def test_what_the_app_asks_and_where_comes_from_the_discovery_document(visit, provider):
    assert visit().begin()["client_id"] == CLIENT["CLIENT_ID"]
    assert [path for path, _, _ in provider.seen] == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "issuer",
    ["https://login.microsoftonline.com/common/v2.0", "{url}/realm", "{url}/.", "https://localhost", "{url}:443", ""],
)
def test_a_discovery_document_of_another_issuer_signs_nobody_in(visit, provider, issuer):
    provider.metadata["issuer"] = issuer.replace("{url}", provider.url)
    page = visit().get("/login")
    assert page.status_code == 502
    assert "another issuer" in page.text


@pytest.mark.parametrize("configured", ["", "/"])
@pytest.mark.parametrize("published", ["", "/"])
def test_an_issuer_may_end_with_a_slash_wherever_it_is_written(visit, provider, configured, published):
    provider.metadata["issuer"] = provider.url + published
    browser = visit(OIDC_AUTHORITY=provider.url + configured)
    browser.sign_in()
    assert browser.signed_in


def test_a_discovery_document_that_moved_is_named_for_what_it_is(visit, provider):
    provider.metadata = Response("", 308, {"Location": "https://new.example/.well-known/openid-configuration"})
    page = visit().get("/login")
    assert page.status_code == 502
    assert "redirects to https://new.example/" in page.text


# --- Userinfo ---------------------------------------------------------------------------------------------------------


def test_names_that_stand_only_at_userinfo_are_shown(visit, provider):
    provider.claims = {"name": None}
    provider.userinfo = {"sub": "alice", "name": "Alice Liddell", "preferred_username": "alice@example.com", "email": 5}
    browser = visit()
    browser.sign_in()
    page = browser.get("/").text
    assert "Alice Liddell" in page
    assert "alice@example.com" in page


@pytest.mark.parametrize(("size", "known"), [(60_000, True), (66_000, False)])
def test_of_userinfo_64_kilobytes_are_read_and_no_more(visit, provider, size, known):
    provider.claims = {"name": None}
    provider.userinfo = {"sub": "alice", "name": "Alice of userinfo", "about": "x" * size}
    browser = visit()
    browser.sign_in()
    assert browser.signed_in
    assert ("Alice of userinfo" in browser.get("/").text) == known


def test_userinfo_tells_names_and_nothing_else(visit, provider):
    provider.claims = {"name": None}
    provider.userinfo = {
        "sub": "alice",
        "name": "Alice",
        "email": "alice@example.com",
        "preferred_username": ["alice"],
        "roles": ["Orders.Approve"],
        "groups": ["a8e3e0d6-487d-5293-ae3c-92bae21d4b3a"],
        "tid": "another",
        "exp": 2**40,
    }
    browser = visit()
    browser.app.add_url_rule("/claims", "claims", lambda: current_user.get_user())
    browser.sign_in()
    claims = browser.get("/claims").json
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "nonce", "name", "email"}
    assert claims["exp"] < 2**40


def test_names_of_the_id_token_are_not_asked_for_again(visit, provider):
    browser = visit()
    browser.sign_in()
    assert provider.headers("/userinfo") == []


@pytest.mark.parametrize("told", [{"sub": "mallory", "name": "Mallory"}, {"name": "Mallory"}, {"sub": None}], ids=str)
def test_userinfo_about_another_person_signs_nobody_in(visit, provider, told):
    provider.claims, provider.userinfo = {"name": None}, told
    browser = visit()
    refused(browser, "another person")
    assert "Mallory" not in browser.get("/").text


@pytest.mark.parametrize("status", [401, 403, 404, 500, 302])
def test_a_userinfo_endpoint_that_fails_keeps_nobody_out(visit, provider, status):
    provider.claims, provider.userinfo = {"name": None}, Response("", status)
    browser = visit()
    browser.sign_in()
    assert browser.signed_in
    assert "Welcome" in browser.get("/").text


def test_the_access_token_goes_to_userinfo_in_the_header_and_nowhere_else(visit, provider):
    provider.token = {"access_token": "the-access-token"}
    browser = visit()
    browser.sign_in()
    assert "alice" in browser.get("/call_graph").text
    (headers,) = provider.headers("/userinfo")
    assert headers["Authorization"] == "Bearer the-access-token"
    assert provider.forms("/userinfo") == [{}]


def test_the_profile_without_an_api_is_what_userinfo_tells(visit, provider):
    provider.userinfo = {"sub": "alice", "name": "Alice Liddell", "email": "alice@example.com"}
    browser = visit()
    browser.sign_in()
    home = browser.get("/").text
    assert "Show your profile" in home
    assert "Microsoft" not in home
    page = browser.get("/call_graph").text
    assert "Alice Liddell" in page
    assert 'href="mailto:alice@example.com"' in page
    assert f"GET {provider.url}/userinfo" in page
    provider.userinfo = {"sub": "mallory", "name": "Mallory"}
    page = browser.get("/call_graph")
    assert page.status_code == 502
    assert "Mallory" not in page.text


@pytest.mark.parametrize("charset", ["idna", "undefined", "utf-16", "nowhere", "ascii"])
def test_a_charset_that_userinfo_names_changes_nothing(visit, provider, charset):
    told = '{"sub": "alice", "name": "Zoë"}'.encode()
    provider.claims = {"name": None}
    provider.userinfo = Response(told, content_type=f"application/json; charset={charset}")
    browser = visit()
    assert browser.sign_in().status_code in REDIRECTS
    assert "Zoë" in browser.get("/").text
    assert browser.get("/call_graph").status_code == 200


@pytest.mark.parametrize(
    "endpoint", ["javascript:alert(1)", "http://idp.example/authorize", "https://idp.example/\r\nX: y"]
)
def test_an_authorization_endpoint_that_is_no_https_address_is_not_led_to(visit, provider, endpoint):
    provider.metadata["authorization_endpoint"] = endpoint
    page = visit().get("/login")
    assert page.status_code == 502
    assert "Location" not in page.headers


@pytest.mark.parametrize("endpoint", [None, "http://userinfo.example/", "", 7])
def test_without_userinfo_over_https_there_is_nothing_to_show_and_no_button_for_it(visit, provider, endpoint):
    provider.metadata["userinfo_endpoint"] = endpoint
    browser = visit()
    browser.sign_in()
    assert "This app is not set up to call an API" in browser.get("/").text
    assert "/call_graph" not in browser.get("/").text
    assert browser.get("/call_graph").status_code == 404
    assert browser.get("/photo").status_code == 200


def test_a_userinfo_endpoint_that_refuses_the_token_gets_a_new_one_and_then_the_person(visit, provider):
    browser = visit()
    browser.sign_in()
    provider.userinfo = Response("", 401)
    answer = browser.get("/call_graph")
    assert answer.status_code in REDIRECTS
    assert answer.headers["Location"].startswith(provider.metadata["authorization_endpoint"])
    assert [form["grant_type"] for form in provider.forms()] == ["authorization_code", "refresh_token"]


def signed(key, **claims):
    return Response(
        key.sign({"sub": "alice", "name": "Alice Liddell", **claims}), content_type="application/jwt; charset=utf-8"
    )


def test_userinfo_that_is_signed_is_held_to_the_same_keys(visit, provider):
    browser = visit()
    browser.sign_in()
    key, stranger = provider.keys[0], SigningKey(kid="first", number=9)
    provider.userinfo = signed(key, iss=provider.url, aud=CLIENT["CLIENT_ID"])
    assert "Alice Liddell" in browser.get("/call_graph").text
    for forged in (
        signed(stranger),
        signed(key, iss="https://another.example"),
        signed(key, aud="another app"),
        signed(key, aud=f"another-{CLIENT['CLIENT_ID']}"),
        signed(key, aud=["another app", f"{CLIENT['CLIENT_ID']}0"]),
        signed(key, sub="mallory"),
        Response(key.sign({"sub": "alice"}, typ="logout+jwt"), content_type="application/jwt"),
        Response(key.sign({"sub": "alice"}, typ="at+jwt"), content_type="application/jwt"),
        Response(key.sign({"sub": "alice"}) + "==", content_type="application/jwt"),
        Response(key.sign({"sub": "alice", "email": "\ud800"}), content_type="application/jwt"),
        Response(jwt.encode({"sub": "alice"}, None, "none"), content_type="application/jwt"),
        Response("a.b.c.d.e", content_type="application/jwt"),
    ):
        provider.userinfo = forged
        page = browser.get("/call_graph")
        assert page.status_code == 502
        assert REFUSED in page.text


def test_aggregated_and_distributed_claims_are_shown_as_they_are_and_followed_nowhere(visit, provider):
    sources = {"one": {"JWT": "a.b.c"}, "two": {"endpoint": f"{provider.url}/elsewhere", "access_token": "x"}}
    provider.userinfo = {
        "sub": "alice",
        "_claim_names": {"address": "one", "phone_number": "two"},
        "_claim_sources": sources,
    }
    browser = visit()
    browser.sign_in()
    assert "_claim_sources" in browser.get("/call_graph").text
    assert provider.headers("/elsewhere") == []


# --- Client authentication --------------------------------------------------------------------------------------------


def basic(headers):
    client = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    return dict(zip(("CLIENT_ID", "CLIENT_SECRET"), map(unquote_plus, client.split(":")), strict=True))


@pytest.mark.parametrize(
    "methods",
    [None, [], ["client_secret_basic"], ["client_secret_post", "client_secret_basic"], ["private_key_jwt"]],
    ids=str,
)
def test_the_client_secret_goes_by_http_basic(visit, provider, methods):
    provider.metadata["token_endpoint_auth_methods_supported"] = methods
    browser = visit()
    browser.sign_in()
    assert browser.signed_in
    assert basic(provider.headers()[0]) == CLIENT
    assert not {"client_id", "client_secret"} & set(provider.forms()[0])


def test_the_client_secret_goes_in_the_body_where_that_is_the_only_way(visit, provider):
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    visit().sign_in()
    assert "Authorization" not in provider.headers()[0]
    assert (
        provider.forms()[0].items()
        >= {"client_id": CLIENT["CLIENT_ID"], "client_secret": CLIENT["CLIENT_SECRET"]}.items()
    )


def test_where_the_secret_may_go_two_ways_the_second_is_tried_when_the_first_is_refused(visit, provider):
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_basic", "client_secret_post"]
    browser = visit()
    query = browser.begin()
    provider.token = lambda: Response('{"error": "invalid_client"}', 401) if len(provider.forms()) == 1 else {}
    browser.finish(query)
    assert browser.signed_in
    browser.get("/logout")
    browser.sign_in()
    ways = ["Authorization" in headers for headers in provider.headers()]
    assert ways == [True, False, False]  # what has been accepted is remembered


@pytest.mark.parametrize(
    ("methods", "tries"),
    [(["client_secret_basic", "client_secret_post"], 2), (["client_secret_post"], 1), ([], 1), (None, 1)]
    + [(["private_key_jwt"], 1)],
)
def test_a_wrong_secret_is_explained_and_not_tried_for_ever(visit, provider, methods, tries):
    provider.metadata["token_endpoint_auth_methods_supported"] = methods
    provider.token = Response('{"error": "invalid_client", "error_description": "no such secret"}', 401)
    page = visit().sign_in()
    assert page.status_code == 500
    assert "no such secret" in page.text
    assert len(provider.forms()) == tries


def test_a_public_client_has_no_secret_and_proves_itself_by_pkce(visit, provider):
    provider.metadata["token_endpoint_auth_methods_supported"] = ["none"]
    browser = visit(CLIENT_SECRET=None, SECRET_KEY="k" * 32)
    browser.sign_in()
    assert browser.signed_in
    (form,) = provider.forms()
    assert form["client_id"] == CLIENT["CLIENT_ID"]
    assert form["code_verifier"]
    assert "client_secret" not in form
    assert "Authorization" not in provider.headers()[0]


def test_a_certificate_signs_an_assertion(visit, provider, tmp_path):
    from certificates import as_pem, make_certificate

    provider.metadata["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
    (tmp_path / "app.pem").write_bytes(as_pem(*make_certificate()))
    browser = visit(CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(tmp_path / "app.pem"))
    browser.sign_in()
    assert browser.signed_in
    assertion = jwt.decode(provider.forms()[0]["client_assertion"], options={"verify_signature": False})
    assert assertion.items() >= {"iss": CLIENT["CLIENT_ID"], "aud": provider.metadata["token_endpoint"]}.items()


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (["openid", "profile", "offline_access"], {"openid", "profile", "offline_access"}),
        (["openid", "profile"], {"openid", "profile"}),
        (["openid"], {"openid"}),
        (None, {"openid", "profile"}),
    ],
)
def test_no_scope_is_asked_for_that_the_provider_does_not_have(visit, provider, known, asked):
    provider.metadata["scopes_supported"] = known
    assert set(visit().begin()["scope"].split()) == asked


def test_a_scope_that_is_refused_is_on_the_page_with_what_was_asked_for(visit, provider):
    page = visit(SCOPE="email invoices").sign_in(code=None, error="invalid_scope", error_description="not yours")
    assert page.status_code == 403
    assert "email invoices offline_access openid profile" in page.text
    assert "not yours" in page.text


def test_nothing_of_entras_own_is_sent(visit, provider):
    browser = visit()
    query = browser.begin()
    browser.finish(query)
    assert not {"client_info", "claims"} & set(query)
    assert not {"client_info", "claims"} & set(provider.forms()[0])
    assert not [name for name in provider.headers()[0] if name.lower().startswith(("x-", "client-request"))]


@pytest.mark.parametrize(
    ("offered", "sent"),
    [(["none", "login", "select_account"], "select_account"), (["none", "login"], "login"), (None, "login")],
)
def test_another_account_is_asked_for_as_the_provider_can(visit, provider, offered, sent):
    provider.metadata["prompt_values_supported"] = offered
    assert visit().begin("/login?prompt=select_account")["prompt"] == sent


# --- Refresh ----------------------------------------------------------------------------------------------------------


def refreshed(browser, provider, monkeypatch):
    browser.sign_in()
    provider.seen.clear()
    due(monkeypatch)
    return browser.get("/call_graph")


def test_a_refresh_names_no_scope_and_is_no_more_than_was_granted(visit, provider, monkeypatch):
    provider.token = {"scope": "openid profile invoices"}  # offline_access was not granted
    browser = visit(SCOPE="invoices")
    assert refreshed(browser, provider, monkeypatch).status_code == 200
    (form,) = provider.forms()
    assert form["grant_type"] == "refresh_token"
    assert "scope" not in form


@pytest.mark.parametrize(
    "claims", [{"iss": "https://another.example"}, {"sub": "mallory"}, {"aud": "x"}, {"azp": "x"}], ids=str
)
def test_the_id_token_of_a_refresh_is_held_to_the_same(visit, provider, monkeypatch, claims):
    browser = visit()
    browser.sign_in()
    provider.claims = {**claims, "nonce": None}
    due(monkeypatch)
    page = browser.get("/call_graph")
    assert page.status_code == 502
    assert REFUSED in page.text
    provider.claims = {}
    assert browser.get("/call_graph").status_code == 200


def test_a_refresh_without_an_id_token_is_asked_whose_it_is_and_lasts_as_long_as_one(visit, provider, monkeypatch):
    provider.token = {"expires_in": 90_000}  # the access token stays good
    browser = visit()
    browser.sign_in()
    provider.token = {"expires_in": 90_000, "id_token": None}
    lasts = 3600 + LEEWAY_SECONDS
    for later, asked in ((lasts - 20, 1), (40, 2), (lasts - 20, 2), (40, 3)):
        due(monkeypatch, later)
        assert browser.get("/call_graph").status_code == 200
        assert len(provider.forms()) == asked


@pytest.mark.parametrize(
    ("told", "status"),
    [({"sub": "mallory"}, (502,)), (Response("", 500), (502,)), (Response("", 401), REDIRECTS)],
    ids=["another person", "no answer", "refuses the token"],
)
def test_a_refresh_that_is_another_persons_is_not_kept(visit, provider, monkeypatch, told, status):
    browser = visit()
    browser.sign_in()
    provider.token, provider.userinfo = {"id_token": None, "access_token": "mallorys"}, told
    due(monkeypatch)
    assert browser.get("/call_graph").status_code in status
    provider.userinfo = {"sub": "alice"}
    provider.token = {"id_token": None, "access_token": "alices"}
    assert browser.get("/call_graph").status_code == 200
    assert provider.headers("/userinfo")[-1]["Authorization"] == "Bearer alices"


def test_somebody_who_signs_out_while_a_refresh_is_about_to_begin_stays_signed_out(visit, provider, monkeypatch):
    browser = visit()
    browser.sign_in()
    due(monkeypatch)
    lock = FileStore.lock

    def sign_out_first(store, key):
        store.delete(key)  # as another request does that had the session first
        return lock(store, key)

    monkeypatch.setattr(FileStore, "lock", sign_out_first)
    assert browser.get("/call_graph").status_code in REDIRECTS
    assert len(provider.forms()) == 1
    assert not browser.signed_in


@pytest.mark.parametrize("access_token", ["\u20ac", "a\nb", "a\r\nX-Evil: b", "", " ", "a b", 5, None])
def test_an_access_token_that_no_header_can_carry_signs_nobody_in(visit, provider, access_token):
    provider.token = {"access_token": access_token}
    browser = visit()
    assert browser.sign_in().status_code == 502
    assert not browser.signed_in
    assert provider.headers("/userinfo") == []


@pytest.mark.parametrize("status", [400, 401, 404])
@pytest.mark.parametrize(
    "body", ["{}", "[]", "", '{"error": 5}', '{"error": "invalid_grant", "error_description": []}']
)
def test_a_refusal_that_does_not_say_why_is_an_answer_that_is_not_understood(visit, provider, status, body):
    provider.token = Response(body, status, content_type="application/json")
    browser = visit()
    assert browser.sign_in().status_code == 502
    assert not browser.signed_in


def test_one_persons_refreshes_hold_no_more_than_a_quarter_of_the_threads(visit, provider, monkeypatch):
    browser, go_on = visit(THREADS="8"), threading.Event()
    browser.sign_in()
    due(monkeypatch)
    provider.token = lambda: {} if go_on.wait(30) else None
    cookie = browser.client.get_cookie(cookie_name(browser.app)).value

    def ask():
        client = browser.app.test_client()
        client.set_cookie(cookie_name(browser.app), cookie)
        return client.get("/call_graph", base_url="http://localhost:5000").status_code

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask) for _ in range(6)]
        until(lambda: sum(each.done() for each in asked) == 4)
        go_on.set()
    assert sorted(each.result() for each in asked) == [200, 200, 503, 503, 503, 503]


def test_one_persons_failed_refresh_is_not_told_to_another_who_asks_at_the_same_time(visit, provider, monkeypatch):
    alice, go_on, lock = visit(), threading.Event(), FileStore.lock
    bob = Browser(alice.app, provider)
    alice.sign_in()
    bob.sign_in()
    due(monkeypatch)
    provider.token = lambda: refusal("invalid_grant") if go_on.wait(30) else None
    with ThreadPoolExecutor(1) as pool:
        hers = pool.submit(alice.get, "/call_graph")
        until(lambda: len(provider.forms()) == 3)

        def when_hers_has_failed(store, key):
            go_on.set()
            assert hers.result().status_code in REDIRECTS
            provider.token = {}
            return lock(store, key)

        monkeypatch.setattr(FileStore, "lock", when_hers_has_failed)
        assert bob.get("/call_graph").status_code == 200


def test_every_sign_in_has_a_state_a_nonce_and_a_challenge_of_its_own(visit):
    browser = visit()
    begun = [browser.begin() for _ in range(4)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({each[name] for each in begun}) == 4


def test_the_refresh_token_that_came_last_is_used(visit, provider, monkeypatch):
    browser = visit()
    browser.sign_in()
    for days in (1, 2):
        due(monkeypatch, days * 3700)
        assert browser.get("/call_graph").status_code == 200
    first, second = (form["refresh_token"] for form in provider.forms() if form["grant_type"] == "refresh_token")
    assert first != second


def test_the_names_outlast_a_refresh_that_does_not_tell_them(visit, provider, monkeypatch):
    browser = visit()
    browser.sign_in()
    provider.claims = {"name": None}
    due(monkeypatch)
    assert browser.get("/call_graph").status_code == 200
    assert 'Hello, <span dir="auto">Alice</span>' in browser.get("/").text


@pytest.mark.parametrize("seconds", [30, 60, 300, 3600])
@pytest.mark.parametrize("refresh_token", [None, "r"])
def test_a_token_just_issued_is_used_and_not_at_once_renewed(visit, provider, seconds, refresh_token):
    provider.token = {"expires_in": seconds, "refresh_token": refresh_token}
    browser = visit()
    browser.sign_in()
    for _ in range(3):
        assert browser.get("/call_graph").status_code == 200
    assert len(provider.forms()) == 1


@pytest.mark.parametrize(
    ("lives", "after", "renewed"), [(60, 50, False), (60, 55, True), (4000, 3600, False), (4000, 3710, True)]
)
def test_a_token_is_renewed_before_it_expires_by_a_share_of_its_life(
    visit, provider, monkeypatch, lives, after, renewed
):
    provider.token = {"expires_in": lives}
    browser = visit()
    browser.sign_in()
    provider.seen.clear()
    provider.claims = {"exp": int(time.time()) + 9000}
    due(monkeypatch, after)
    browser.get("/call_graph")
    assert bool(provider.forms()) == renewed


@pytest.mark.parametrize(("after", "status"), [(3800, 200), (3995, 503)])
def test_a_token_that_is_still_good_is_used_while_the_provider_cannot_renew_it(
    visit, provider, monkeypatch, after, status
):
    provider.token, provider.claims = {"expires_in": 4000}, {"exp": int(time.time()) + 9000}
    browser = visit()
    browser.sign_in()
    due(monkeypatch, after)
    provider.token = Response("", 503, {"Retry-After": "3600"})
    page = browser.get("/call_graph")
    assert page.status_code == status
    assert page.headers.get("Retry-After") == (None if status == 200 else "3600")


@pytest.mark.parametrize("after", [3800, 3995])
def test_a_token_that_is_still_good_is_not_used_for_somebody_who_was_revoked(visit, provider, monkeypatch, after):
    provider.token, provider.claims = {"expires_in": 4000}, {"exp": int(time.time()) + 9000}
    browser = visit()
    browser.sign_in()
    due(monkeypatch, after)
    provider.token = refusal("invalid_grant")
    assert browser.get("/call_graph").status_code in REDIRECTS


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
@pytest.mark.parametrize(("after", "status"), [(3800, 200), (3995, 502)])
def test_a_token_that_is_still_good_is_used_while_the_provider_says_to_come_back(
    visit, provider, monkeypatch, error, after, status
):
    provider.token, provider.claims = {"expires_in": 4000}, {"exp": int(time.time()) + 9000}
    browser = visit()
    browser.sign_in()
    due(monkeypatch, after)
    provider.token = refusal(error)
    assert browser.get("/call_graph").status_code == status


@pytest.mark.parametrize(("after", "asked"), [(3600 + LEEWAY_SECONDS - 20, False), (3600 + LEEWAY_SECONDS + 20, True)])
def test_an_id_token_that_has_expired_is_asked_about_again_and_its_claims_are_kept(
    visit, provider, monkeypatch, after, asked
):
    provider.token = {"expires_in": 90_000}  # the access token stays good
    browser = visit()
    browser.sign_in()
    provider.claims = {"name": "Alice Renamed", "nonce": None}
    due(monkeypatch, after)
    for _ in range(2):
        assert browser.get("/call_graph").status_code == 200
    assert [form["grant_type"] for form in provider.forms()] == ["authorization_code"] + ["refresh_token"] * asked
    assert ("Alice Renamed" in browser.get("/").text) == asked


def test_somebody_who_was_revoked_is_sent_to_sign_in_when_the_id_token_has_expired(visit, provider, monkeypatch):
    provider.token = {"expires_in": 90_000}
    browser = visit()
    browser.sign_in()
    provider.token = refusal("invalid_grant")
    assert browser.get("/call_graph").status_code == 200
    due(monkeypatch, 3600 + LEEWAY_SECONDS + 20)
    assert browser.get("/call_graph").status_code in REDIRECTS


def test_userinfo_takes_a_place_of_the_persons_own_share(visit, provider, monkeypatch):
    asked, fetch = [], BoundedSession.fetch

    def note(self, method, url, **more):
        asked.append((url, more.get("person")))
        return fetch(self, method, url, **more)

    monkeypatch.setattr(BoundedSession, "fetch", note)
    browser = visit()
    browser.sign_in()
    assert browser.get("/call_graph").status_code == 200
    (person,) = {person for url, person in asked if url == f"{provider.url}/userinfo"}
    assert person.startswith("access-")


def test_somebody_who_uses_the_app_day_and_night_signs_in_once_a_day(visit, provider, monkeypatch):
    browser, hour = visit(), 3600
    browser.sign_in()
    provider.claims = {"nonce": None}
    for _ in range(23):
        due(monkeypatch, hour)
        assert browser.get("/call_graph").status_code == 200
    due(monkeypatch, hour - 10)
    assert browser.get("/call_graph").status_code == 200
    due(monkeypatch, 10)
    assert not browser.signed_in
    provider.claims = {}
    assert browser.sign_in("/call_graph").headers["Location"] == "/call_graph"
    due(monkeypatch, 11 * hour)
    provider.claims = {"nonce": None}
    assert browser.get("/call_graph").status_code == 200


@pytest.mark.parametrize("granted", ["openid", "openid profile"])
def test_a_refresh_that_grants_less_than_the_view_needs_leads_to_a_sign_in(visit, provider, monkeypatch, granted):
    provider.token = {"scope": "openid profile invoices"}
    browser = visit(SCOPE="invoices")
    browser.sign_in()
    provider.token = {"scope": granted}
    due(monkeypatch)
    answer = browser.get("/call_graph")
    assert answer.status_code in REDIRECTS
    assert "invoices" in parse_qs(urlsplit(answer.headers["Location"]).query)["scope"][0].split()


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_scope", "interaction_required"])
def test_a_refresh_that_is_refused_leads_to_a_sign_in(visit, provider, monkeypatch, error):
    browser = visit()
    browser.sign_in()
    provider.token = refusal(error)
    due(monkeypatch)
    answer = browser.get("/call_graph")
    assert answer.status_code in REDIRECTS
    assert answer.headers["Location"].startswith(provider.metadata["authorization_endpoint"])


# --- Sign-out ---------------------------------------------------------------------------------------------------------


def test_a_sign_out_names_the_session_and_where_to_come_back_to(visit, provider):
    browser = visit()
    browser.sign_in()
    location = urlsplit(browser.get("/logout").headers["Location"])
    assert location.geturl().startswith(provider.metadata["end_session_endpoint"])
    query = parse_qs(location.query)
    assert set(query) == {"post_logout_redirect_uri", "client_id", "state", "id_token_hint"}
    assert query["post_logout_redirect_uri"] == ["http://localhost:5000/"]
    hint = jwt.decode(query["id_token_hint"][0], options={"verify_signature": False})
    assert hint["sub"] == "alice"
    assert not browser.signed_in


def test_a_sign_out_at_an_address_with_a_query_keeps_it(visit, provider):
    provider.metadata["end_session_endpoint"] += "?p=policy"
    browser = visit()
    browser.sign_in()
    query = parse_qs(urlsplit(browser.sign_out().headers["Refresh"].removeprefix("0; url=")).query)
    assert query["p"] == ["policy"]
    assert query["client_id"] == [CLIENT["CLIENT_ID"]]


@pytest.mark.parametrize("state", ["", "?state=another", "?state="])
def test_home_is_home_whatever_comes_back_from_a_sign_out(visit, provider, state):
    browser = visit()
    browser.sign_in()
    browser.get("/logout")
    assert browser.get(f"/{state}").status_code == 200
    assert not browser.signed_in


def test_an_id_token_too_long_for_an_address_is_left_out_of_the_sign_out(visit, provider):
    provider.claims = {"groups": ["a-group-with-a-long-name"] * 200}
    browser = visit()
    browser.sign_in()
    query = parse_qs(urlsplit(browser.get("/logout").headers["Location"]).query)
    assert "id_token_hint" not in query
    assert query["client_id"] == [CLIENT["CLIENT_ID"]]


@pytest.mark.parametrize("endpoint", [None, "javascript:alert(1)", 5])
def test_without_an_end_session_endpoint_a_sign_out_is_the_apps_own(visit, provider, endpoint):
    provider.metadata["end_session_endpoint"] = endpoint
    browser = visit()
    browser.sign_in()
    assert browser.get("/logout").headers["Location"] == "http://localhost:5000/"
    assert not browser.signed_in

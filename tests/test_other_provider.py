"""Another OpenID provider works through OIDC_AUTHORITY: one that nobody here wrote (oidc-provider-mock), over TLS."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import trustme
from certificates import as_pem, make_certificate
from programs import free_port
from visitor import REDIRECTS, Page, Visitor
from werkzeug import Response


@pytest.fixture
def mock(tmp_path):
    """The provider's URL, and the file with the certificate of who vouches for it."""
    authority, port = trustme.CA(), free_port()
    vouches, certificate = tmp_path / "ca.pem", tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(vouches)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    script = Path(__file__).with_name("other_provider.py")
    with (tmp_path / "provider.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, script, str(port), certificate], stdout=log, stderr=log)
    url = f"https://localhost:{port}"
    for _ in range(100):
        try:
            requests.get(url, verify=str(vouches), timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None, (tmp_path / "provider.txt").read_text()
            time.sleep(0.1)
    yield url, str(vouches)
    process.terminate()
    process.wait(10)


def test_a_person_signs_in_with_another_provider_and_out_again(serve, mock):
    url, vouches = mock
    app = serve(
        AUTHORITY=None,
        OIDC_AUTHORITY=url,
        CLIENT_ID="any-client",
        CLIENT_SECRET="any-secret-will-do",
        SCOPE="",
        REQUESTS_CA_BUNDLE=vouches,
    )
    person = Visitor(app.url)
    person.verify = vouches
    page = person.get("/login")
    assert page.url.startswith(url)
    _, fields, _ = Page(page.text).forms[0]
    answer = person.post(page.url, data={**fields, "sub": "alice"}, timeout=9)
    assert answer.url == app.url + "/", answer.text
    assert "alice" in answer.text.lower()
    assert person.signed_in
    person.get("/logout")
    assert not person.signed_in


# --- Words, logs and the doctor, with the provider in this process ------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "fr"])
def test_microsoft_is_named_only_where_it_is_microsofts(visit, provider, language):
    browser = visit()
    for sign_in in (False, True):
        if sign_in:
            browser.sign_in()
        page = browser.client.get("/", base_url="http://localhost:5000", headers={"Accept-Language": language}).text
        assert f'<html lang="{language}">' in page
        assert "localhost" in page
        assert not {"Microsoft", "Entra", "Graph"} & set(Page(page).text.replace("’", " ").split())
    provider.token = Response("", 503)
    page = browser.sign_in("/login?prompt=login")
    assert page.status_code == 502
    assert "Microsoft" not in page.text


def test_what_a_provider_says_of_an_error_is_in_the_log_on_one_line(visit, provider, capfd):
    said = "the client\nis 2026-01-01 INFO not known\x1b[0m here"
    visit().sign_in(code=None, error="unauthorized_client", error_description=said)
    line = next(
        line for line in capfd.readouterr().err.splitlines() if "SignInError: error=unauthorized_client" in line
    )
    assert "the client" in line
    assert "here" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("address", ["https://{host}:{port}", "not a url", "https://", 5])
def test_whatever_msal_makes_of_an_address_is_a_page(visit, provider, address):
    host, port = provider.url.removeprefix("https://").split(":")
    for name in ("token_endpoint", "authorization_endpoint"):
        before = provider.metadata[name]
        provider.metadata[name] = address if address == 5 else address.format(host=host, port=port)
        page = visit().get("/login")
        assert page.status_code in (*REDIRECTS, 502)
        assert "Something went wrong" not in page.text
        provider.metadata[name] = before


def doctor(browser):
    result = browser.app.test_cli_runner().invoke(args=["doctor"])
    return result.exit_code, result.output


def test_the_doctor_finds_nothing_wrong_with_a_provider_that_can_do_all(visit, provider):
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
    provider.token = Response('{"error": "invalid_grant"}', 400)
    code, printed = doctor(visit())
    assert code == 0, printed
    for line in (
        f"✓ OIDC_AUTHORITY answers, as {provider.url}",
        "✓ OIDC_AUTHORITY signs in a way that is accepted: RS256",
        "✓ OIDC_AUTHORITY can be told of a sign-out",
        "✓ CLIENT_SECRET is accepted by the tenant",
    ):
        assert line in printed
    assert "Microsoft" not in printed.replace("not for Microsoft Graph", "")
    assert "User.Read" not in printed


ABLE = [
    ({"id_token_signing_alg_values_supported": ["HS256"]}, {}, "✗ OIDC_AUTHORITY signs ID tokens in no way"),
    ({"response_types_supported": ["id_token"]}, {}, "✗ OIDC_AUTHORITY does not offer the authorization code flow"),
    ({"code_challenge_methods_supported": ["plain"]}, {}, "! OIDC_AUTHORITY does not offer PKCE"),
    ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, {}, "✗ CLIENT_SECRET is not how this provider"),
    ({}, {"CLIENT_SECRET": None, "SECRET_KEY": "k" * 32}, "✗ CLIENT_SECRET is not how this provider"),
    ({"scopes_supported": ["openid"]}, {"SCOPE": "invoices"}, "! SCOPE has what the provider does not list"),
    ({"scopes_supported": ["openid"]}, {}, "! OIDC_AUTHORITY does not list offline_access"),
    ({"end_session_endpoint": None}, {}, "! OIDC_AUTHORITY has no end_session_endpoint"),
    ({"issuer": "https://another.example"}, {}, "✗ OIDC_AUTHORITY publishes another issuer: https://another.example"),
    ({}, {"CLIENT_SECRET": None}, "✗ CLIENT_SECRET is missing"),
    ({}, {"OIDC_AUTHORITY": "https://id.example/.well-known/openid-configuration"}, "is the URL of one endpoint"),
    ({}, {}, "! ENDPOINT is not set, so there is no API to call"),
]


@pytest.mark.parametrize(("metadata", "settings", "line"), ABLE)
def test_the_doctor_says_what_will_not_work_with_a_provider(visit, provider, metadata, settings, line):
    provider.metadata |= metadata
    code, printed = doctor(visit(**settings))
    assert line in printed
    assert code == ("✗" in printed)


@pytest.mark.parametrize(("error", "status"), [("invalid_client", 401), ("unauthorized_client", 400)])
def test_the_doctor_says_that_a_provider_does_not_take_the_secret(visit, provider, error, status):
    provider.token = Response(f'{{"error": "{error}", "error_description": "no"}}', status)
    code, printed = doctor(visit())
    assert code == 1
    assert f"✗ CLIENT_SECRET is not accepted by the tenant ({error})" in printed


def test_the_doctor_names_a_redirect_for_what_it_is(visit, provider):
    provider.metadata = Response("", 301, {"Location": "https://new.example/"})
    _, printed = doctor(visit())
    assert "redirects to https://new.example/" in printed
    assert "Write the address that it redirects to" in printed


def test_a_certificate_is_said_not_to_do_where_its_signature_is_not_taken(visit, provider, tmp_path):
    provider.metadata |= {
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
    }
    (tmp_path / "app.pem").write_bytes(as_pem(*make_certificate()))
    settings = {"CLIENT_SECRET": None, "CLIENT_CERTIFICATE_PATH": str(tmp_path / "app.pem")}
    _, printed = doctor(visit(**settings))
    assert "✗ CLIENT_CERTIFICATE_PATH signs with PS256" in printed

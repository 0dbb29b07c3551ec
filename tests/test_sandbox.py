"""The sandbox itself, over real HTTP: what the other tests rely on when they call it Entra."""

import base64
import datetime
import hashlib
import json
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from programs import free_port
from visitor import Page

from sandbox import Sandbox
from sandbox.entra.keys import SigningKey
from sandbox.faults import Answer, Challenge, Close, Delay, Drip, DripHeaders, Flood, Reset, Silence, Truncated
from sandbox.people import group_id
from sandbox.process import CHATTER, KEPT, clean_environment

PROJECT = Path(__file__).resolve().parent.parent
REDIRECT_URI = "http://localhost:5000/getAToken"
SCOPE = "openid profile offline_access User.Read"
THREE_SENTENCES = [
    "Maintain access to data you have given it access to",
    "Sign you in",
    "Read your profile",
]


class Visitor(requests.Session):
    """A browser without scripts that follows nothing by itself."""

    def __init__(self, box):
        super().__init__()
        self.box = box
        # Otherwise requests prefers the environment's certificates and proxies to ours.
        self.trust_env = False
        self.verify = box.ca_file

    def ask(self, **parameters):
        """Open the authorize endpoint; a parameter that is None is left out."""
        tenant = parameters.pop("tenant", self.box.tenant_id)
        query = {
            "client_id": self.box.client_id,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": SCOPE,
            "state": "the-state",
            "nonce": "the-nonce",
            **parameters,
        }
        url = f"{self.box.front_url}/{tenant}/oauth2/v2.0/authorize"
        query = {name: value for name, value in query.items() if value is not None}
        return self.get(url, params=query, allow_redirects=False)

    def press(self, response, name, value):
        """Press a button of the form on a page."""
        ((action, fields, buttons),) = Page(response.text).forms
        assert (name, value) in buttons
        return self.post(urljoin(response.url, action), data={**fields, name: value}, allow_redirects=False)

    def sign_in(self, person="adele", **parameters):
        """Go all the way, and return the parameters that come back to the app."""
        response = self.ask(**parameters)
        while response.status_code == 200:
            names = {button[0] for button in Page(response.text).forms[0][2]}
            response = self.press(response, *(("person", person) if "person" in names else ("consent", "accept")))
        return answer_of(response)

    def token(self, tenant=None, **form):
        """Call the token endpoint with the client's secret; a field that is None is left out."""
        data = {"client_id": self.box.client_id, "client_secret": self.box.client_secret, **form}
        data = {name: value for name, value in data.items() if value is not None}
        return self.post(f"{self.box.authority(tenant)}/oauth2/v2.0/token", data=data)

    def redeem(self, code, **form):
        """Redeem an authorization code."""
        return self.token(**{"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **form})

    def refresh(self, refresh_token, scope=SCOPE, **form):
        """Use a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, scope=scope, **form)

    def tokens(self, person="adele", **parameters):
        """Sign in and redeem the code."""
        return self.redeem(self.sign_in(person, **parameters)["code"]).json()

    def me(self, access_token, path="", **headers):
        """Call Graph."""
        headers["Authorization"] = f"Bearer {access_token}"
        return self.get(f"{self.box.back_url}/v1.0/me{path}", headers=headers, timeout=5)


def answer_of(response):
    """The parameters of a redirect back to the app."""
    assert response.status_code == 302
    assert response.headers["Location"].startswith(REDIRECT_URI + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def refused(response, status, error, number, suberror=None):
    """Hold an error of the token endpoint against what Entra would answer."""
    body = response.json()
    assert (response.status_code, body["error"], body["error_codes"]) == (status, error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert f"Trace ID: {uuid.UUID(body['trace_id'])}" in body["error_description"]
    assert f"Correlation ID: {uuid.UUID(body['correlation_id'])}" in body["error_description"]
    datetime.datetime.strptime(body["timestamp"], "%Y-%m-%d %H:%M:%SZ")
    assert body.get("suberror") == suberror
    assert response.headers["x-ms-request-id"]
    return body


def unpacked(text):
    """A JSON object out of base64url without padding."""
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def claims_of(token):
    """A token's claims, unverified."""
    return unpacked(token.split(".")[1])


@pytest.fixture(scope="module")
def running():
    with Sandbox(redirect_uris=(REDIRECT_URI,)) as box:
        yield box


@pytest.fixture
def box(running):
    running.reset()
    return running


@pytest.fixture
def visitor(box):
    with Visitor(box) as session:
        yield session


# The whole way


def test_msal_signs_somebody_in_and_gets_another_token_later(box, visitor):
    app = msal.ConfidentialClientApplication(
        box.client_id,
        authority=box.authority(),
        client_credential=box.client_secret,
        instance_discovery=False,
        http_client=visitor,
    )
    flow = app.initiate_auth_code_flow(["User.Read"], REDIRECT_URI, response_mode="form_post")
    consent = visitor.press(visitor.get(flow["auth_uri"]), "person", "adele")
    assert Page(consent.text).items == THREE_SENTENCES
    ((action, fields, _),) = Page(visitor.press(consent, "consent", "accept").text).forms
    assert action == REDIRECT_URI
    result = app.acquire_token_by_auth_code_flow(flow, fields)
    assert result["id_token_claims"]["name"] == "Adèle Vance"
    cached = app.acquire_token_silent(["User.Read"], app.get_accounts()[0])
    assert cached["access_token"] == result["access_token"]
    again = app.acquire_token_silent(["User.Read"], app.get_accounts()[0], force_refresh=True)
    assert visitor.me(again["access_token"]).json()["displayName"] == "Adèle Vance"


def test_an_id_token_has_the_claims_of_entra_v2_and_no_other(box, visitor):
    tokens = visitor.tokens()
    claims = claims_of(tokens["id_token"])
    expected = {"aud", "iss", "iat", "nbf", "exp", "name", "oid", "preferred_username", "rh", "sub"}
    assert set(claims) == expected | {"tid", "uti", "ver", "nonce"}
    assert (claims["aud"], claims["nonce"], claims["ver"]) == (box.client_id, "the-nonce", "2.0")
    assert claims["iss"] == f"{box.back_url}/{box.tenant_id}/v2.0"
    assert claims["sub"] != claims["oid"]
    assert tokens["scope"] == "openid profile email User.Read"
    assert (tokens["token_type"], tokens["expires_in"], tokens["ext_expires_in"]) == ("Bearer", 4000, 4000)
    access = claims_of(tokens["access_token"])
    assert access["aud"] == "00000003-0000-0000-c000-000000000000"
    assert "User.Read" in access["scp"].split()


@pytest.mark.parametrize("scope", ["User.Read", "https://graph.microsoft.com/User.Read", "user.read", "{}/User.Read"])
def test_user_read_has_several_names(box, visitor, scope):
    scope = scope.format(box.back_url)
    tokens = visitor.tokens(scope=f"openid {scope}")
    assert tokens["scope"].split()[-1] == scope
    assert "refresh_token" not in tokens
    assert visitor.me(tokens["access_token"]).status_code == 200


def test_client_info_comes_when_it_is_asked_for(box, visitor):
    code = visitor.sign_in(client_info="1")
    info = unpacked(visitor.redeem(code["code"], client_info="1").json()["client_info"])
    assert info == {"uid": box.person("adele").oid, "utid": box.tenant_id}
    assert "client_info" in code
    assert "client_info" not in visitor.tokens()


def test_common_means_the_home_tenant_of_whoever_signs_in(box, visitor):
    box.person("alex").tenant_id = home = str(uuid.uuid4())
    code = visitor.sign_in("alex", tenant="common")["code"]
    claims = claims_of(visitor.redeem(code, tenant="common").json()["id_token"])
    assert (claims["tid"], claims["iss"]) == (home, f"{box.back_url}/{home}/v2.0")


# Discovery and keys


@pytest.mark.parametrize("version", ["/v2.0", ""])
def test_discovery_puts_pages_on_plain_http_and_the_rest_on_tls(box, visitor, version):
    document = visitor.get(f"{box.authority()}{version}/.well-known/openid-configuration").json()
    assert document["issuer"] == f"{box.back_url}/{box.tenant_id}/v2.0"
    for name in ("token_endpoint", "jwks_uri"):
        assert document[name].startswith(box.back_url)
    for name in ("authorization_endpoint", "end_session_endpoint"):
        assert document[name].startswith(box.front_url)
    (key,) = visitor.get(document["jwks_uri"]).json()["keys"]
    assert {"kty", "use", "kid", "x5t", "n", "e", "x5c", "issuer"} <= set(key)


def test_discovery_by_other_names_of_the_tenant(box, visitor):
    def discover(name):
        return visitor.get(f"{box.authority(name)}/v2.0/.well-known/openid-configuration")

    assert discover("common").json()["issuer"] == f"{box.back_url}/{{tenantid}}/v2.0"
    assert discover("organizations").json()["token_endpoint"].startswith(f"{box.back_url}/organizations/")
    assert discover("consumers").json()["issuer"].endswith("/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")
    assert discover("contoso.onmicrosoft.com").json() == discover(box.tenant_id).json()
    refused(discover("nobody.example"), 400, "invalid_tenant", 90002)


def test_keys_change_at_once_and_the_old_one_stays_if_wanted(box, visitor):
    def kids():
        return [key["kid"] for key in visitor.get(f"{box.authority()}/discovery/v2.0/keys").json()["keys"]]

    before, token = kids(), visitor.tokens()["access_token"]
    box.rotate_keys(keep_old=True)
    assert kids()[1:] == before
    box.rotate_keys()
    assert len(kids()) == 1
    assert not set(kids()) & set(before)
    assert visitor.me(token).status_code == 200


def test_pages_are_not_on_tls_and_tokens_not_on_plain_http(box, visitor):
    path = f"/{box.tenant_id}/oauth2/v2.0"
    assert visitor.get(f"{box.back_url}{path}/authorize").status_code == 404
    assert visitor.post(f"{box.front_url}{path}/token").status_code == 404
    assert visitor.get(f"{box.front_url}/v1.0/me").status_code == 404


# Pages


def test_pages_load_nothing_from_elsewhere_and_say_what_they_are(box, visitor):
    page = visitor.ask()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in policy
    assert "form-action 'self' http://localhost:5000" in policy
    assert "No Microsoft account is involved" in page.text
    assert visitor.get(f"{box.front_url}/sandbox/sandbox.css").status_code == 200
    assert [button[1] for button in Page(page.text).forms[0][2]] == [*box.people, "cancel"]


def test_consent_is_asked_once_for_a_set_of_scopes(box, visitor):
    assert visitor.sign_in()["state"] == "the-state"
    assert "code" in answer_of(visitor.ask())
    more = visitor.ask(scope=f"{SCOPE} Mail.Read")
    assert Page(more.text).items[-1] == "Read your mail"


def test_nobody_is_asked_when_consent_is_off(box, visitor):
    box.require_consent = False
    assert "code" in answer_of(visitor.press(visitor.ask(), "person", "miriam"))


def test_consent_declined_goes_back_as_entra_says_it(visitor):
    consent = visitor.press(visitor.ask(), "person", "adele")
    answer = answer_of(visitor.press(consent, "consent", "cancel"))
    assert (answer["error"], answer["error_subcode"], answer["state"]) == (
        "access_denied",
        "cancel",
        "the-state",
    )
    assert answer["error_description"].startswith("AADSTS65004: User declined to consent to access the app.")


def test_whoever_needs_an_administrator_gets_a_link_back(visitor):
    page = Page(visitor.press(visitor.ask(), "person", "miriam").text)
    assert page.heading == "Need admin approval"
    query = parse_qs(urlsplit(page.links[-1]).query)
    assert page.links[-1].startswith(REDIRECT_URI)
    assert query["error"] == ["access_denied"]
    assert "AADSTS90094" in query["error_description"][0]
    assert query["state"] == ["the-state"]


def test_single_sign_on_by_a_cookie_of_its_own(box, visitor):
    visitor.sign_in()
    (cookie,) = visitor.cookies
    assert cookie.name == f"sandbox_sso_{urlsplit(box.front_url).port}"
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    assert "code" in answer_of(visitor.ask())


@pytest.mark.parametrize("prompt", ["select_account", "login"])
def test_prompts_that_ask_who_it_is(visitor, prompt):
    visitor.sign_in()
    assert Page(visitor.ask(prompt=prompt).text).heading == "Pick an account"
    assert "code" in visitor.sign_in("adele", prompt=prompt)


def test_prompt_consent_asks_again(visitor):
    visitor.sign_in()
    page = visitor.ask(prompt="consent")
    assert Page(page.text).heading == "Permissions requested"
    assert "code" in answer_of(visitor.press(page, "consent", "accept"))


def test_prompt_none_shows_nothing(box, visitor):
    answer = answer_of(visitor.ask(prompt="none"))
    assert answer["error"] == "login_required"
    assert "AADSTS50058" in answer["error_description"]
    visitor.sign_in()
    assert "code" in answer_of(visitor.ask(prompt="none"))
    answer = answer_of(visitor.ask(prompt="none", scope=f"{SCOPE} Mail.Read"))
    assert answer["error"] == "consent_required"
    assert "AADSTS65001" in answer["error_description"]


def test_login_hint_comes_first_and_overrides_single_sign_on(box, visitor):
    page = visitor.ask(login_hint=box.person("noor").username).text
    assert Page(page).forms[0][2][0] == ("person", "noor")
    assert re.findall('value="([^"]*)" class="hinted"', page) == ["noor"]
    visitor.sign_in("adele")
    assert Page(visitor.ask(login_hint=box.person("alex").username).text).heading == "Pick an account"
    assert "code" in answer_of(visitor.ask(login_hint=box.person("adele").username))


@pytest.mark.parametrize(
    ("parameters", "number"),
    [
        ({"client_id": str(uuid.UUID(int=1))}, 700016),
        ({"client_id": None}, 900144),
        ({"redirect_uri": "http://localhost:5000/elsewhere"}, 50011),
        ({"redirect_uri": "https://attacker.example/"}, 50011),
        ({"redirect_uri": None}, 900144),
        ({"tenant": "nobody.example"}, 90002),
    ],
)
def test_errors_that_must_not_go_anywhere_stay_on_a_page(visitor, parameters, number):
    response = visitor.ask(**parameters)
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert f"AADSTS{number}: " in response.text


@pytest.mark.parametrize(
    ("parameters", "error", "number"),
    [
        ({"response_type": "token"}, "unsupported_response_type", 700051),
        ({"response_type": "id_token"}, "unsupported_response_type", 700054),
        ({"response_type": None}, "invalid_request", 900144),
        ({"scope": None}, "invalid_request", 900144),
        ({"scope": "openid Coffee.Make"}, "invalid_client", 650053),
        ({"prompt": "please"}, "invalid_request", 90023),
        ({"claims": "{"}, "invalid_request", 9002313),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request", 9002313),
    ],
)
def test_errors_that_go_back_to_the_app(visitor, parameters, error, number):
    answer = answer_of(visitor.ask(**parameters))
    assert (answer["error"], answer["state"]) == (error, "the-state")
    assert answer["error_description"].startswith(f"AADSTS{number}: ")


def test_signing_out_goes_back_only_where_the_app_is(box, visitor):
    visitor.sign_in()
    url = f"{box.front_url}/{box.tenant_id}/oauth2/v2.0/logout"
    back = {"post_logout_redirect_uri": "http://localhost:5000/", "logout_hint": "adele", "state": "s"}
    response = visitor.get(url, params=back, allow_redirects=False)
    assert response.headers["Location"] == "http://localhost:5000/?state=s"
    assert not visitor.cookies
    assert Page(visitor.ask().text).heading == "Pick an account"
    elsewhere = {"post_logout_redirect_uri": "https://attacker.example/"}
    page = Page(visitor.get(url, params=elsewhere, allow_redirects=False).text)
    assert (page.heading, page.links) == ("You signed out of your account", ["/"])  # the sandbox's own page
    assert [seen.query for seen in box.seen("logout")] == [back, elsewhere]


# The token endpoint


def test_pkce_is_held_against_the_challenge(visitor):
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def code():
        return visitor.sign_in(code_challenge=challenge, code_challenge_method="S256")["code"]

    assert visitor.redeem(code(), code_verifier=verifier).status_code == 200
    refused(visitor.redeem(code(), code_verifier="x" * 43), 400, "invalid_grant", 501481)
    refused(visitor.redeem(code()), 400, "invalid_grant", 50148)
    refused(visitor.redeem(visitor.sign_in()["code"], code_verifier=verifier), 400, "invalid_grant", 501481)


def test_a_code_works_once_and_its_tokens_end_when_it_comes_again(visitor):
    code = visitor.sign_in()["code"]
    tokens = visitor.redeem(code).json()
    refused(visitor.redeem(code), 400, "invalid_grant", 54005)
    refused(visitor.refresh(tokens["refresh_token"]), 400, "invalid_grant", 50173, "bad_token")


def test_a_code_that_is_made_up_expired_or_of_another_redirect_uri_is_refused(box, visitor):
    refused(visitor.redeem("made-up"), 400, "invalid_grant", 9002313)
    other = {"redirect_uri": "http://localhost:5000/elsewhere"}
    refused(visitor.redeem(visitor.sign_in()["code"], **other), 400, "invalid_client", 500112)
    code = visitor.sign_in()["code"]
    box.code_lifetime = -1
    refused(visitor.redeem(code), 400, "invalid_grant", 70008)


def test_a_wrong_client_id_or_secret_is_refused(box, visitor):
    code = visitor.sign_in()["code"]
    refused(visitor.redeem(code, client_id=str(uuid.uuid4())), 400, "unauthorized_client", 700016)
    refused(visitor.redeem(code, client_id=None), 400, "invalid_request", 900144)
    refused(visitor.redeem(code, client_secret="wrong"), 401, "invalid_client", 7000215)
    refused(visitor.redeem(code, client_secret=None), 401, "invalid_client", 7000218)
    box.client_secret_state = "expired"
    refused(visitor.redeem(code), 401, "invalid_client", 7000222)
    box.client_secret_state = "revoked"
    refused(visitor.redeem(code), 401, "invalid_client", 7000215)
    box.reset()
    box.public_client = True
    refused(visitor.redeem(code), 401, "invalid_client", 700025)


def test_a_client_secret_may_come_by_basic_authentication(box, visitor):
    visitor.auth = (box.client_id, box.client_secret)
    form = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
    assert visitor.token(client_id=None, client_secret=None, **form).status_code == 200


def test_other_requests_that_do_not_do(box, visitor):
    refused(visitor.token(grant_type="password"), 400, "unsupported_grant_type", 70003)
    refused(visitor.token(), 400, "invalid_request", 900144)
    refused(visitor.get(f"{box.authority()}/oauth2/v2.0/token"), 400, "invalid_request", 900561)
    refused(visitor.token("nobody.example"), 400, "invalid_tenant", 90002)


def test_the_app_gets_a_token_of_its_own(visitor):
    answer = visitor.token(grant_type="client_credentials", scope="https://graph.microsoft.com/.default").json()
    assert claims_of(answer["access_token"])["idtyp"] == "app"
    assert "refresh_token" not in answer
    refused(visitor.token(grant_type="client_credentials", scope="User.Read"), 400, "invalid_scope", 1002012)


def test_a_refresh_token_gives_new_ones_and_goes_on_working(box, visitor):
    first = visitor.tokens()
    second = visitor.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert "nonce" not in claims_of(second["id_token"])
    box.single_use_refresh_tokens = True
    assert visitor.refresh(first["refresh_token"]).status_code == 200
    refused(visitor.refresh(first["refresh_token"]), 400, "invalid_grant", 50173, "bad_token")


def test_refresh_tokens_that_do_not_do(box, visitor):
    token = visitor.tokens()["refresh_token"]
    refused(visitor.refresh("made-up"), 400, "invalid_grant", 9002313)
    scopes = {"grant_type": "refresh_token", "refresh_token": token}
    refused(visitor.token(**scopes, scope="Coffee.Make"), 400, "invalid_scope", 70011)
    refused(visitor.token(**scopes, scope="Mail.Read"), 400, "invalid_grant", 65001, "consent_required")
    box.refresh_token_lifetime = -1
    refused(visitor.refresh(token), 400, "invalid_grant", 70043, "token_expired")
    box.refresh_token_lifetime = 60
    box.revoke("adele")
    refused(visitor.refresh(token), 400, "invalid_grant", 50173, "bad_token")
    assert Page(visitor.ask().text).heading == "Pick an account"
    other = visitor.tokens("alex")["refresh_token"]
    box.revoke_all()
    refused(visitor.refresh(other), 400, "invalid_grant", 50173, "bad_token")


def test_a_second_factor_is_asked_for_with_claims(box, visitor):
    token = visitor.tokens()["refresh_token"]
    box.demand_sign_in("adele")
    body = refused(visitor.refresh(token), 400, "interaction_required", 50076, "basic_action")
    token = visitor.tokens(claims=body["claims"])["refresh_token"]
    assert visitor.refresh(token).status_code == 200


# Certificates and federated credentials


def certificate():
    """A private key and a self-signed certificate, as PEM text."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


def test_msal_authenticates_with_a_certificate(box, visitor):
    private, public = certificate()

    def app_token():
        app = msal.ConfidentialClientApplication(
            box.client_id,
            authority=box.authority(),
            client_credential={"private_key": private, "public_certificate": public},
            instance_discovery=False,
            http_client=visitor,
        )
        return app.acquire_token_for_client(["https://graph.microsoft.com/.default"])

    assert app_token()["error_codes"] == [700027]
    box.register_certificate(public)
    assert "access_token" in app_token()


def test_client_assertions_that_do_not_do(box, visitor):
    private, public = certificate()
    box.register_certificate(public)
    der = x509.load_pem_x509_certificate(public.encode()).fingerprint(hashes.SHA256())
    header = {"x5t#S256": base64.urlsafe_b64encode(der).rstrip(b"=").decode()}

    def send(key=private, **changes):
        now = int(time.time())
        claims = {"iss": box.client_id, "sub": box.client_id, "aud": f"{box.authority()}/oauth2/v2.0/token"}
        claims |= {"jti": "1", "nbf": now, "exp": now + 600, **changes}
        return visitor.token(
            client_secret=None,
            grant_type="client_credentials",
            scope="https://graph.microsoft.com/.default",
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=box.sign(claims, header, key, "PS256"),
        )

    assert send().status_code == 200
    refused(send(key=certificate()[0]), 401, "invalid_client", 700027)
    refused(send(sub="somebody"), 401, "invalid_client", 700021)
    refused(send(aud="https://elsewhere.example"), 401, "invalid_client", 700023)
    refused(send(exp=int(time.time()) - 600), 401, "invalid_client", 700024)
    refused(send(exp=int(time.time()) + 3600), 401, "invalid_client", 700024)
    refused(send(iss="https://issuer.example"), 401, "invalid_client", 70021)


def test_a_token_of_another_issuer_will_do_once_it_is_registered(box, visitor):
    issuer_key = SigningKey()
    box.register_federation("https://issuer.example", "system:app", issuer_key.public_pem())

    def send(**changes):
        claims = {"iss": "https://issuer.example", "sub": "system:app", "aud": "api://AzureADTokenExchange"}
        claims |= {"exp": int(time.time()) + 3600, **changes}
        return visitor.token(
            client_secret=None,
            grant_type="client_credentials",
            scope="https://graph.microsoft.com/.default",
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=box.sign(claims, key=issuer_key.private),
        )

    assert send().status_code == 200
    refused(send(sub="system:other"), 401, "invalid_client", 700213)
    refused(send(aud="api://else"), 401, "invalid_client", 700213)
    refused(send(iss="https://other.example"), 401, "invalid_client", 70021)


# Forged tokens


def test_id_tokens_can_be_forged_for_a_test(box, visitor):
    box.forge = lambda claims, header: ({**claims, "aud": "someone"}, {**header, "kid": "other"})
    assert claims_of(visitor.tokens()["id_token"])["aud"] == "someone"
    box.forge = lambda claims, header: box.sign(claims, algorithm="none")
    assert visitor.tokens()["id_token"].endswith(".")
    box.forge = lambda claims, header: claims.pop("oid") and None
    assert "oid" not in claims_of(visitor.tokens()["id_token"])


# Graph


def test_graph_answers_profile_and_photo(box, visitor):
    token = visitor.tokens()["access_token"]
    profile = visitor.me(token, **{"client-request-id": "mine"})
    assert profile.headers["client-request-id"] == "mine"
    assert profile.headers["request-id"]
    assert profile.headers["Content-Type"].startswith("application/json;odata.metadata=minimal;")
    assert profile.json()["@odata.context"].endswith("/v1.0/$metadata#users/$entity")
    photo = visitor.me(token, "/photo/$value")
    assert (photo.headers["Content-Type"], photo.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    missing = visitor.me(visitor.tokens("alex", prompt="login")["access_token"], "/photo/$value")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "ImageNotFound")
    box.person("adele").profile["displayName"] = "Somebody Else"
    assert visitor.me(token, "?$select=displayName").json()["displayName"] == "Somebody Else"


def test_graph_refuses_tokens_that_do_not_do(box, visitor):
    def error(token):
        response = visitor.me(token)
        assert response.json()["error"]["innerError"]["request-id"] == response.headers["request-id"]
        return response.status_code, response.json()["error"]["code"], response.json()["error"]["message"]

    token = visitor.tokens()["access_token"]
    code = "InvalidAuthenticationToken"
    assert error("") == (401, code, "Access token is empty.")
    assert error("nonsense")[:2] == (401, code)
    assert error(token[:-8] + "AAAAAAAA")[:2] == (401, code)
    assert error(box.sign({**claims_of(token), "aud": "other"}))[:2] == (401, code)
    box.access_token_lifetime = -1
    expired = visitor.tokens()["access_token"]
    assert error(expired) == (401, code, "Lifetime validation failed, the token is expired.")
    box.access_token_lifetime = 60
    box.require_consent = False
    other = visitor.tokens(scope="openid Mail.Read")["access_token"]
    denied = "Insufficient privileges to complete the operation."
    assert error(other) == (403, "Authorization_RequestDenied", denied)


def test_the_list_of_people_needs_a_scope_of_its_own(box, visitor):
    def users(token):
        return visitor.get(f"{box.back_url}/v1.0/users", headers={"Authorization": f"Bearer {token}"})

    assert users(visitor.tokens()["access_token"]).status_code == 403
    token = visitor.tokens(scope="openid User.ReadBasic.All")["access_token"]
    assert len(users(token).json()["value"]) == len(box.people)


def test_roles_and_groups_stand_in_the_id_token_and_201_groups_are_named_elsewhere(box, visitor):
    def claims(person):
        return claims_of(visitor.tokens(person, prompt="select_account")["id_token"])

    assert claims("patti")["roles"] == ["Orders.Approve"]
    assert len(claims("nestor")["groups"]) == 3
    overage = claims("isaiah")
    assert "groups" not in overage
    assert overage["_claim_names"] == {"groups": "src1"}
    assert overage["_claim_sources"]["src1"]["endpoint"].startswith("https://graph.windows.net/")
    box.person("isaiah").groups.pop()
    assert len(claims("isaiah")["groups"]) == 200
    box.assign("isaiah", "Orders.Approve")
    assert claims("isaiah")["roles"] == ["Orders.Approve"]
    box.unassign("isaiah", "Orders.Approve")
    box.group_claims = False
    assert not {"roles", "groups", "_claim_names"} & set(claims("isaiah"))


def test_graph_says_of_which_groups_somebody_is_a_member(box, visitor):
    token = visitor.tokens("isaiah")["access_token"]

    def check(**options):
        headers = {"Authorization": f"Bearer {token}"}
        return visitor.post(f"{box.back_url}/v1.0/me/checkMemberGroups", headers=headers, **options)

    finance, sales = group_id("Finance"), group_id("Sales")
    assert check(json={"groupIds": [finance, sales]}).json()["value"] == [finance]
    assert check(json={"groupIds": [sales]}).json()["value"] == []
    assert check(json={"groupIds": [finance] * 20}).status_code == 200
    for wrong in ({"groupIds": [finance] * 21}, {"groupIds": ["Finance"]}, {"groupIds": []}, {"groupIds": finance}, []):
        assert check(json=wrong).status_code == 400
    assert check(data="{").status_code == 400


def test_the_second_api_takes_tokens_of_its_own_audience_alone(box, visitor):
    box.require_consent = False

    def status(token):
        answer = visitor.get(f"{box.orders_url}/mine", headers={"Authorization": f"Bearer {token}"})
        assert ("WWW-Authenticate" in answer.headers) == (answer.status_code != 200)
        return answer.status_code

    both = visitor.tokens(scope=f"openid offline_access {box.orders_scope}")
    assert claims_of(both["access_token"])["scp"] == "Orders.Read"
    assert status(both["access_token"]) == 200
    assert visitor.me(both["access_token"]).status_code == 401
    graph = visitor.refresh(both["refresh_token"], scope="User.Read").json()["access_token"]
    assert visitor.me(graph).status_code == 200
    assert status(graph) == status("") == status("nonsense") == 401
    assert status(box.sign({**claims_of(both["access_token"]), "scp": "Other"})) == 403
    answer = visitor.refresh(both["refresh_token"], scope=f"User.Read {box.orders_scope}")
    refused(answer, 400, "invalid_request", 28000)


def test_graph_is_busy_for_one_of_them(visitor):
    response = visitor.me(visitor.tokens("lynne")["access_token"])
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")


# Misbehaviour


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Close(), requests.ConnectionError),
        (Reset(), requests.ConnectionError),
        (Silence(1), requests.ReadTimeout),
        (Drip(1, 5), requests.ConnectionError),
        (DripHeaders(1, 200), requests.ReadTimeout),
        (Truncated(), requests.exceptions.ChunkedEncodingError),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else "",
)
def test_faults_of_the_connection(box, visitor, fault, error):
    url = f"{box.authority()}/v2.0/.well-known/openid-configuration"
    box.misbehave("discovery", fault)
    with pytest.raises(error):
        visitor.get(url, timeout=0.2)
    assert visitor.get(url).status_code == 200


def test_a_reset_is_one_indeed(box):
    box.misbehave("authorize", Reset())
    with socket.create_connection(("127.0.0.1", urlsplit(box.front_url).port)) as client:
        client.sendall(f"GET /{box.tenant_id}/oauth2/v2.0/authorize HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_faults_of_the_answer(box, visitor):
    url = f"{box.authority()}/v2.0/.well-known/openid-configuration"
    box.misbehave("discovery", Answer(503, {"error": "busy"}, {"Retry-After": "3"}), times=2)
    box.misbehave("discovery", lambda environ: Answer(418))
    box.misbehave("discovery", lambda environ: None)
    answers = [visitor.get(url) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 418, 200]
    assert (answers[0].json(), answers[0].headers["Retry-After"]) == ({"error": "busy"}, "3")
    box.misbehave("discovery", Delay(0.2))
    assert visitor.get(url).elapsed.total_seconds() >= 0.2
    box.misbehave("discovery", Answer(500), times=None)
    assert [visitor.get(url).status_code for _ in range(3)] == [500] * 3
    box.behave()
    assert visitor.get(url).status_code == 200
    with pytest.raises(ValueError, match="'coffee' is none of"):
        box.misbehave("coffee", Close())


@pytest.mark.parametrize("announced", [True, False])
def test_a_flood_is_as_large_as_it_says(box, visitor, announced):
    box.misbehave("keys", Flood(5_000_000, announced=announced))
    with visitor.get(f"{box.authority()}/discovery/v2.0/keys", stream=True) as response:
        assert sum(len(chunk) for chunk in response.iter_content(65536)) == 5_000_000


def test_slow_headers_arrive_in_the_end(box, visitor):
    box.misbehave("keys", DripHeaders(0.001, 100))
    assert visitor.get(f"{box.authority()}/discovery/v2.0/keys").json() == {}
    visitor.close()  # the sandbox hangs up after a fault, which a kept-alive connection may notice only later
    box.misbehave("keys", Drip(0.001, 20))
    assert visitor.get(f"{box.authority()}/discovery/v2.0/keys").content == b" " * 20


STEP_UP = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}


def test_a_claims_challenge_is_met_by_a_refresh_with_the_claims(box, visitor):
    tokens = visitor.tokens()
    box.misbehave("me", Challenge(STEP_UP))
    response = visitor.me(tokens["access_token"])
    header = response.headers["WWW-Authenticate"]
    assert 'error="insufficient_claims"' in header
    claims = base64.b64decode(header.partition('claims="')[2].partition('"')[0]).decode()
    assert (response.status_code, json.loads(claims)) == (401, STEP_UP)
    assert visitor.me(visitor.refresh(tokens["refresh_token"]).json()["access_token"]).status_code == 401
    merged = json.dumps({"access_token": {**STEP_UP["access_token"], "xms_cc": {"values": ["CP1"]}}})
    again = visitor.refresh(tokens["refresh_token"], claims=merged).json()
    assert visitor.me(again["access_token"]).status_code == 200


def test_a_claims_challenge_may_need_the_person(box, visitor):
    tokens = visitor.tokens()
    box.misbehave("me", Challenge(STEP_UP, refresh="interaction"))
    assert visitor.me(tokens["access_token"]).status_code == 401
    answer = visitor.refresh(tokens["refresh_token"], claims=json.dumps(STEP_UP))
    body = refused(answer, 400, "interaction_required", 50076, "basic_action")
    tokens = visitor.tokens(claims=body["claims"])
    assert visitor.me(tokens["access_token"]).status_code == 200
    again = visitor.refresh(tokens["refresh_token"], claims=body["claims"]).json()
    assert visitor.me(again["access_token"]).status_code == 200


# The listeners


def test_connections_are_kept_and_counted(box, visitor):
    url = f"{box.authority()}/discovery/v2.0/keys"
    for _ in range(3):
        visitor.get(url, headers={"X-Test": "yes"})
    seen = box.seen("keys")
    assert len({entry.connection for entry in seen}) == 1
    assert (seen[0].method, seen[0].path, seen[0].headers["x-test"]) == ("GET", urlsplit(url).path, "yes")
    with Visitor(box) as other:
        other.get(url)
    assert len({entry.connection for entry in box.seen("keys")}) == 2


def test_a_client_that_says_nothing_keeps_nobody_waiting(box, visitor):
    with socket.create_connection(("127.0.0.1", urlsplit(box.back_url).port)):
        assert visitor.get(f"{box.authority()}/discovery/v2.0/keys", timeout=2).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_it_listens_on_loopback_only(host):
    with pytest.raises(ValueError, match="loopback only"):
        Sandbox(host=host)


def test_a_port_that_is_taken_is_an_error_and_not_the_end(box):
    port = urlsplit(box.front_url).port
    with pytest.raises(RuntimeError, match=f"port {port} of 127.0.0.1 is not free"):
        Sandbox(front_port=port)


def test_it_needs_a_redirect_uri():
    with pytest.raises(ValueError, match="redirect URI"):
        Sandbox(redirect_uris=())


def test_closing_ends_every_wait_and_leaves_nothing_behind():
    box = Sandbox()
    box.misbehave("keys", Silence(60))
    errors = queue.Queue()

    def wait():
        try:
            with Visitor(box) as session:
                session.get(f"{box.authority()}/discovery/v2.0/keys", timeout=30)
        except requests.ConnectionError as error:
            errors.put(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not box.seen("keys"):
        time.sleep(0.01)
    start = time.monotonic()
    box.close()
    box.close()
    thread.join(5)
    assert time.monotonic() - start < 3
    assert errors.qsize() == 1
    assert not Path(box.ca_file).exists()


def test_settings_point_the_app_at_the_sandbox(box):
    assert box.settings == {
        "CLIENT_ID": box.client_id,
        "CLIENT_SECRET": box.client_secret,
        "AUTHORITY": f"{box.back_url}/{box.tenant_id}",
        "ENDPOINT": f"{box.back_url}/v1.0/me",
        "REQUESTS_CA_BUNDLE": box.ca_file,
    }


# The command


def run_command(*arguments, **options):
    """Start ``python -m sandbox`` in a process group of its own."""
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    options["env"] = {**options.get("env", os.environ), "LC_ALL": "C.UTF-8"}  # it speaks the terminal's language
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_command_says_when_the_port_is_in_use():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with run_command("--port", str(port)) as command:
            out, err = command.communicate(timeout=15)
    assert (command.returncode, out) == (1, "")
    assert err == f"Port {port} is in use. Try another one: {sys.executable} -m sandbox --port {port + 1}\n"


@pytest.mark.parametrize("package", ["trustme", "dotenv"])  # the sandbox needs the one, the app's settings the other
def test_the_command_says_which_package_is_missing(tmp_path, package):
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module', name={package!r})\n")
    with run_command("--port", str(free_port()), env={**os.environ, "PYTHONPATH": str(tmp_path)}) as command:
        out, err = command.communicate(timeout=15)
    assert (command.returncode, out) == (1, "")
    assert err.startswith(f"The package {package!r} is missing.")
    own = "-r sandbox/requirements.txt"
    assert err.endswith(f" -m pip install {own}\n" if package == "trustme" else f" install -r requirements.txt {own}\n")
    assert err.count("\n") == 1


def test_settings_of_a_real_tenant_do_not_reach_the_app():
    kept = {"PATH": "/bin", "HOME": "/home/me", "NO_PROXY": "localhost"}
    dropped = {
        "CLIENT_SECRET": "s",
        "https_proxy": "http://proxy",
        "FLASK_DEBUG": "1",
        "B2C_TENANT_NAME": "b",
    }
    assert clean_environment({**kept, **dropped}) == kept


def test_no_setting_of_a_tenant_is_inherited():
    settings = pytest.importorskip("flask_entra.settings")
    names = [*settings.SETTINGS, *(f"FLASK_{settings.key_of(name)}" for name in settings.SETTINGS)]
    left = clean_environment(dict.fromkeys(names, "from a real tenant"))
    assert set(left) == {*KEPT, *(f"FLASK_{settings.key_of(name)}" for name in KEPT)}
    assert not {"CLIENT_ID", "AUTHORITY", "ENDPOINT", "SECRET_KEY", "REDIS_URL", "SESSION_FILE_DIR"} & set(KEPT)


def test_the_servers_chatter_is_not_shown_and_errors_are():
    chatter = [
        " * Serving Flask app 'app'",
        "Press CTRL+C to quit",
        '127.0.0.1 - - [01/Jan/2026 00:00:00] "GET / HTTP/1.1" 200 -',
        '2026-01-01 00:00:00,000 INFO werkzeug - 127.0.0.1 - - [01/Jan/2026] "GET / HTTP/1.1" 302 -',
    ]
    errors = [
        "Traceback (most recent call last):",
        '127.0.0.1 - - [01/Jan/2026 00:00:00] "GET / HTTP/1.1" 500 -',
        "2026-01-01 00:00:00,000 ERROR auth - no",
    ]
    assert all(CHATTER.match(line) for line in chatter)
    assert not any(CHATTER.match(line) for line in errors)


@pytest.mark.skipif(not (PROJECT / "app.py").exists(), reason="there is no app to run")
def test_the_command_runs_the_app_and_stops_cleanly():
    port = free_port()
    with run_command("--port", str(port)) as command:
        try:
            ready = command.stdout.readline()
            assert ready == f"Sandbox ready: open http://localhost:{port} (Ctrl-C stops)\n"
            assert command.stdout.readline().startswith("Consents are remembered until then. http://localhost:")
            with requests.Session() as session:
                session.trust_env = False
                assert session.get(f"http://localhost:{port}/", timeout=5).status_code == 200
        finally:
            command.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)
            out, err = command.communicate(timeout=15)
    assert (command.returncode, out) == (0, "")
    assert "Traceback" not in err
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


# What Entra would refuse, or tell


@pytest.mark.parametrize(
    ("resource", "audience"),
    [
        ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"),
        ("00000003-0000-0000-c000-000000000000", "00000003-0000-0000-c000-000000000000"),
        ("api://6f2b1c84-90d3-4f0e-9c1a-7d55e3f0a2b9", "api://6f2b1c84-90d3-4f0e-9c1a-7d55e3f0a2b9"),
        ("https://vault.azure.net", None),
        ("api://00000000-1111-2222-3333-444444444444", None),
        ("", None),
    ],
)
def test_an_app_gets_a_token_for_the_api_it_asks_for_or_none(box, visitor, resource, audience):
    answer = visitor.token(grant_type="client_credentials", scope=f"{resource}/.default")
    if audience is None:
        refused(answer, 400, "invalid_resource", 500011)
        return
    claims = claims_of(answer.json()["access_token"])
    assert claims["aud"] == audience
    assert "roles" not in claims
    box.may_read_applications = True
    more = claims_of(
        visitor.token(grant_type="client_credentials", scope=f"{resource}/.default").json()["access_token"]
    )
    assert more.get("roles") == (["Application.Read.All"] if audience.startswith("0000") else None)


def test_an_access_token_of_version_1_has_the_issuer_of_version_1(box, visitor):
    claims = claims_of(visitor.tokens()["access_token"])
    assert (claims["ver"], claims["iss"]) == ("1.0", f"https://sts.windows.net/{box.tenant_id}/")


def test_the_scope_email_brings_the_email_of_a_person_who_has_one(visitor):
    assert "email" not in claims_of(visitor.tokens()["id_token"])
    assert claims_of(visitor.tokens(scope=f"{SCOPE} email")["id_token"])["email"] == "adele@contoso.onmicrosoft.com"


def test_the_endpoint_for_personal_accounts_takes_no_work_accounts(visitor):
    page = visitor.ask(tenant="consumers")
    assert "AADSTS9002332" in page.text
    assert "Location" not in page.headers


def test_max_age_asks_again_where_the_sign_in_is_older_and_tells_when_it_was(box, visitor):
    visitor.sign_in()
    began = int(time.time())
    assert "code" in answer_of(visitor.ask(max_age="300"))
    box.let_time_pass(301)
    assert Page(visitor.ask(max_age="300").text).heading == "Pick an account"
    assert answer_of(visitor.ask(max_age="300", prompt="none"))["error"] == "login_required"
    claims = claims_of(visitor.tokens(max_age="300")["id_token"])
    assert began <= claims["auth_time"] <= time.time()
    assert "auth_time" not in claims_of(visitor.tokens()["id_token"])
    box.auth_time_claim = True
    assert "auth_time" in claims_of(visitor.tokens()["id_token"])
    assert answer_of(visitor.ask(max_age="x"))["error"] == "invalid_request"


def test_acrs_comes_where_it_is_asked_for(visitor):
    asked = json.dumps({"id_token": {"acrs": {"essential": True, "value": "c1"}}})
    assert claims_of(visitor.tokens(claims=asked)["id_token"])["acrs"] == ["c1"]
    assert "acrs" not in claims_of(visitor.tokens()["id_token"])


def test_a_silent_sign_in_is_of_the_person_who_is_hinted_at(box, visitor):
    visitor.sign_in()
    box.login_hint_claim = True
    hint = claims_of(visitor.tokens()["id_token"])["login_hint"]
    for each in (hint, "adele@contoso.onmicrosoft.com", "ADELE@contoso.onmicrosoft.com"):
        assert "code" in answer_of(visitor.ask(login_hint=each, prompt="none"))
    for each in ("alex@contoso.onmicrosoft.com", hint.lower(), "x"):
        assert answer_of(visitor.ask(login_hint=each, prompt="none"))["error"] == "login_required"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_graph_does_not_have_is_an_error_of_graphs(box, visitor, method):
    token = {"Authorization": f"Bearer {visitor.tokens()['access_token']}"}
    for path, status in (("/me/people", 405), ("/me/messages", 405), ("/nowhere", 400)):
        answer = visitor.request(method, f"{box.back_url}/v1.0{path}", json={}, headers=token)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        assert answer.headers["request-id"]


def test_query_options_are_obeyed_or_refused(box, visitor):
    token = visitor.tokens(scope="openid User.Read Mail.Read User.ReadBasic.All")["access_token"]
    assert [set(mail) for mail in visitor.me(token, "/messages?$select=subject&$top=1").json()["value"]] == [
        {"id", "subject"}
    ]
    users = f"{box.back_url}/v1.0/users?$top=3&$select=mail"
    assert len(visitor.get(users, headers={"Authorization": f"Bearer {token}"}).json()["value"]) == 3
    for path in ("/messages?$filter=isRead eq false", "/messages?$top=x", "/messages?$top=0", "?$expand=manager"):
        answer = visitor.me(token, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")

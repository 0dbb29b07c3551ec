"""A credential without a secret: a managed identity, by stand-ins of Azure's endpoints, and the workload identity of AKS."""

import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlsplit

import flask
import jwt
import pytest
from configs import config_of
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from visitor import Page, Visitor

from flask_entra import Auth, deadlines, managed_identity
from flask_entra.clouds import exchange_audience
from flask_entra.config import of
from flask_entra.managed_identity import IdentityUnavailable, ManagedIdentity

AUDIENCE = "api://AzureADTokenExchange"
IDENTITY = "0f8fad5b-d9cb-469f-a165-70867728950e"
ISSUER, SUBJECT = "https://login.microsoftonline.com/852bedc8-1345-41c8-99f3-2fa1667ffefa/v2.0", "the-identity"
SECRET_KEY = "k7Q-long-enough-and-random-0123456789"


class Endpoint:
    """Azure's endpoint of a managed identity.

    :ivar seen: the requests so far: path, query, headers.
    :ivar answer: the status and the body of each answer; None for a token.
    :ivar hold: an event that each answer waits for.
    """

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        self.reset()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                outer.seen.append((parts.path, query, dict(self.headers)))
                outer.hold.wait(20)
                status, body = outer.answer or (200, outer.token(query["resource"]))
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # a client that has given up waiting
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self):
        self.seen, self.answer, self.hold, self.seconds = [], None, threading.Event(), 86400
        self.hold.set()

    def token(self, audience):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": audience, "iat": now, "exp": now + self.seconds}
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "1"})
        # App Service says when, virtual machines say in how many seconds.
        return {"access_token": token, "expires_on": str(now + self.seconds), "expires_in": str(self.seconds)}

    @property
    def public_key(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def shared_endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def endpoint(shared_endpoint):
    shared_endpoint.reset()
    yield shared_endpoint
    shared_endpoint.hold.set()


@pytest.fixture(params=["App Service", "virtual machine"])
def platform(request, endpoint, monkeypatch):
    for name, value in surroundings(endpoint, request.param).items():
        monkeypatch.setenv(name, value)
    return request.param


def surroundings(endpoint, platform="App Service"):
    """The variables of a platform."""
    if platform == "App Service":
        return {"IDENTITY_ENDPOINT": f"{endpoint.url}/msi/token", "IDENTITY_HEADER": "a-secret-of-the-platform"}
    return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": endpoint.url}


def settings(endpoint, **more):
    return {
        "CLIENT_SECRET": None,
        "MANAGED_IDENTITY_CLIENT_ID": IDENTITY,
        "SECRET_KEY": SECRET_KEY,
        **surroundings(endpoint),
        **more,
    }


@pytest.mark.parametrize("identity", [IDENTITY, "system", "System"])
def test_a_token_is_asked_for_once_and_kept(endpoint, platform, identity, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # the endpoint is not beyond a proxy
    managed = ManagedIdentity(identity, AUDIENCE)
    token = managed.token()
    assert managed.token() == token
    ((path, query, headers),) = endpoint.seen
    assert query["resource"] == AUDIENCE
    assert query.get("client_id") == (IDENTITY if identity == IDENTITY else None)
    if platform == "App Service":
        assert (path, headers["X-IDENTITY-HEADER"]) == ("/msi/token", "a-secret-of-the-platform")
    else:
        assert (path, headers["Metadata"]) == ("/metadata/identity/oauth2/token", "true")
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == AUDIENCE


def test_it_is_renewed_before_it_ends_and_used_to_its_end_if_that_fails(endpoint, platform, monkeypatch):
    managed = ManagedIdentity(IDENTITY, AUDIENCE)
    endpoint.seconds = managed_identity.EARLY_SECONDS - 10
    old = managed.token()
    endpoint.answer = 500, b"broken"
    assert [managed.token() for _ in range(3)] == [old] * 3
    assert len(endpoint.seen) == 2  # it is left alone meanwhile
    endpoint.answer, endpoint.seconds = None, 86400
    monkeypatch.setattr(managed_identity, "PAUSE_SECONDS", 0)
    managed._client = None  # MSAL leaves it alone too, for five seconds
    new = managed.token()
    assert new != old
    assert managed.token() == new


def test_one_thread_asks_and_the_others_wait_for_its_answer(endpoint, platform):
    managed = ManagedIdentity(IDENTITY, AUDIENCE)
    for answer in (500, b"broken"), None:
        endpoint.answer = answer
        endpoint.hold.clear()
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(managed.token) for _ in range(8)]
            endpoint.hold.set()
        if answer:
            assert {type(each.exception()) for each in asked} == {IdentityUnavailable}
        else:
            assert len({each.result() for each in asked}) == 1
        assert len(endpoint.seen) == 1
        endpoint.reset()
        managed = ManagedIdentity(IDENTITY, AUDIENCE)


UNKNOWN = {
    "error": "invalid_request",
    "error_description": "Identity not found",
    "statusCode": 400,
    "message": "No managed identity",
}
FAULTS = {
    "unknown identity": ((400, UNKNOWN), "answered 400", True),
    "404": ((404, {"error": "not_found"}), "answered 404", False),
    "500": ((500, {"error": "server_error"}), "answered 500", False),
    "429": ((429, {}), "answered 429", False),
    "403": ((403, {}), "answered 403", True),
    "no JSON": ((200, b"<html>"), "no JSON", False),
    "a list": ((200, []), "AttributeError", False),
    "no token": ((200, {}), "answered 200", False),
    "no JWT": (
        (200, {"access_token": "x y", "expires_in": "9999", "expires_on": "9999999999"}),
        "no token that",
        False,
    ),
    "ended": ((200, {"access_token": "a.b.c", "expires_in": "5", "expires_on": "5"}), "no token that", False),
    "a strange time": (
        (200, {"access_token": "a.b.c", "expires_in": "soon", "expires_on": "soon"}),
        "ValueError",
        False,
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_the_endpoint_does_wrong_is_one_clear_failure_and_it_is_not_hammered(endpoint, platform, fault):
    endpoint.answer, told, lasting = fault
    managed = ManagedIdentity(IDENTITY, AUDIENCE)
    for _ in range(3):
        with pytest.raises(IdentityUnavailable, match=told) as error:
            managed.token()
        assert error.value.lasting == lasting
    assert len(endpoint.seen) == 1


def test_an_endpoint_that_does_not_answer_or_is_not_there_takes_no_longer_than_the_deadlines(
    endpoint, platform, monkeypatch
):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.2)
    endpoint.hold.clear()
    with pytest.raises(IdentityUnavailable, match="ReadTimeout"):
        ManagedIdentity(IDENTITY, AUDIENCE).token()
    for name in surroundings(endpoint, platform):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(IdentityUnavailable, match="ConnectionError"):
        ManagedIdentity(IDENTITY, AUDIENCE).token()


def test_the_audience_is_the_clouds():
    assert exchange_audience("https://login.microsoftonline.com/x") == exchange_audience(None) == AUDIENCE
    assert exchange_audience("https://login.microsoftonline.us/x") == f"{AUDIENCE}USGov"
    assert exchange_audience("https://login.partner.microsoftonline.cn/x") == f"{AUDIENCE}China"


# --- The app ------------------------------------------------------------------------------------------------------------


def test_a_managed_identity_signs_the_app_in(serve, box, endpoint):
    box.register_federation(ISSUER, SUBJECT, endpoint.public_key)
    app = serve(**settings(endpoint))
    assert "Retail Manager" in Visitor(app.url).sign_in(path="/call_graph").text
    assert Visitor(app.url).sign_in("alex").status_code == 200
    assert len(endpoint.seen) == 1
    (first, *_) = box.seen("token")
    assert "client_secret" not in first.form
    assert first.form["client_assertion"] not in app.log()


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [((400, UNKNOWN), 500, "MANAGED_IDENTITY_CLIENT_ID"), ((500, b"broken"), 503, "managed identity")],
)
def test_without_a_token_a_page_and_the_log_say_so_and_the_app_is_not_ready(serve, box, endpoint, answer, status, says):
    box.register_federation(ISSUER, SUBJECT, endpoint.public_key)
    endpoint.answer = answer
    app = serve(**settings(endpoint))
    page = Visitor(app.url).sign_in()
    assert page.status_code == status
    assert says in Page(page.text).text
    assert Visitor(app.url).get("/readyz").status_code == 503
    assert "Not ready: no token of the managed identity: its endpoint answered" in app.log()
    assert len(endpoint.seen) == 1


# --- The doctor ---------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_the_identity_lacks(run_doctor, box, endpoint):
    status, printed = run_doctor(**settings(endpoint))
    assert status == 1
    assert "✗ MANAGED_IDENTITY_CLIENT_ID is not accepted by the tenant (AADSTS70021)" in printed
    assert (
        f"Add a federated credential to the app registration: issuer {ISSUER}, subject {SUBJECT}, audience {AUDIENCE}."
        in printed
    )
    box.register_federation(ISSUER, SUBJECT, endpoint.public_key)
    status, printed = run_doctor(**settings(endpoint))
    assert status == 0
    assert "✓ MANAGED_IDENTITY_CLIENT_ID is accepted by the tenant" in printed
    endpoint.answer = 400, UNKNOWN
    status, printed = run_doctor(**settings(endpoint))
    assert status == 1
    assert "✗ MANAGED_IDENTITY_CLIENT_ID gives this app no token" in printed
    status, printed = run_doctor(**settings(endpoint, IDENTITY_ENDPOINT="http://127.0.0.1:1"))
    assert status == 3  # it is only there where the app runs
    assert "eyJ" not in printed


def test_it_needs_a_secret_key(run_doctor, endpoint):
    printed = run_doctor("--offline", **settings(endpoint, SECRET_KEY=None))[1]
    assert "✗ SECRET_KEY is missing, and there is no secret or certificate to derive it from" in printed


# --- The workload identity of AKS ---------------------------------------------------------------------------------------


@pytest.fixture
def pod(box, endpoint, tmp_path):
    """The variables that AKS gives to a pod, whose token is one of `endpoint`."""
    (tmp_path / "token").write_text(endpoint.token(AUDIENCE)["access_token"])
    return {
        "AZURE_CLIENT_ID": box.client_id,
        "AZURE_TENANT_ID": box.tenant_id,
        "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
        "AZURE_AUTHORITY_HOST": f"{box.back_url}/",
        "SECRET_KEY": SECRET_KEY,
    }


OWN = dict.fromkeys(("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"))


def test_nothing_is_copied_from_the_variables_of_aks(run_doctor, box, endpoint, pod):
    status, printed = run_doctor(**OWN, **pod)
    assert status == 1
    assert f"issuer {ISSUER}, subject {SUBJECT}, audience {AUDIENCE}." in printed
    box.register_federation(ISSUER, SUBJECT, endpoint.public_key)
    status, printed = run_doctor(**OWN, **pod)
    assert status == 0, printed
    assert f"✓ CLIENT_ID = {box.client_id}" in printed
    assert "✓ AZURE_FEDERATED_TOKEN_FILE is accepted by the tenant" in printed


def test_settings_of_the_apps_own_win_over_the_variables_of_aks(box, pod):
    pod = {name: value for name, value in pod.items() if name != "SECRET_KEY"}
    config = config_of(**pod)
    assert (config.client_id, config.authority) == (box.client_id, box.authority())
    assert config.client_credential["client_assertion"]().startswith("eyJ")
    config = config_of(**pod, CLIENT_ID="mine", AUTHORITY="https://login.microsoftonline.com/mine")
    assert (config.client_id, config.authority) == ("mine", "https://login.microsoftonline.com/mine")
    config = config_of(**pod, CLIENT_SECRET="a secret")  # the pod's identity is for something else
    assert (config.client_id, config.authority, config.client_credential) == ("", None, "a secret")
    config = config_of(**pod, OIDC_AUTHORITY="https://login.example.com")
    assert config.client_id == ""


def test_an_app_of_ones_own_reads_them_too(monkeypatch, box, pod, tmp_path):
    for name, value in pod.items():
        monkeypatch.setenv(name, value)
    app = flask.Flask("app", instance_path=str(tmp_path))
    Auth(app)
    assert (of(app).client_id, of(app).authority) == (box.client_id, box.authority())
    assert of(app).client_credential["client_assertion"]().startswith("eyJ")

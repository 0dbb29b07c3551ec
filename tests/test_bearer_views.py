"""`auth.bearer_required`: an API beside the pages, over HTTP to the sandbox, and each way in which a token can be bad."""

import asyncio
import base64
import contextvars
import functools
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
import requests
import responses
import responses.matchers
from conftest import ROOT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.views import MethodView
from orders_api import create_app
from programs import free_port, until
from visitor import REDIRECTS, Visitor

from flask_entra import Auth, access_denied
from flask_entra.bearer import claims_challenge
from flask_entra.bulkhead import RETRY_SECONDS
from flask_entra.config import KEY
from flask_entra.signin import on_behalf_of
from flask_entra.signin.issuer import version_1
from flask_entra.testing import bearer, sign_in
from sandbox.entra.keys import peek, sign
from sandbox.entra.own_api import CALLER_ID
from sandbox.faults import Answer, Challenge, Close, Hold

PROBLEM = "application/problem+json"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
ANOTHER = "99999999-9999-4999-8999-999999999999"  # tenant, or app
GRAPH = "00000003-0000-0000-c000-000000000000"


def documented(box, folder, settings):
    """The app of the documentation, on the sandbox."""
    given = {**box.settings, "SESSION_FILE_DIR": str(folder / "sessions"), **settings}
    return create_app({f"ENTRA_{name}": value for name, value in given.items() if value is not None})


@pytest.fixture
def start(box, tmp_path, monkeypatch):
    """Makes the app of the documentation, with other settings."""

    def start(**settings):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", box.ca_file)
        return documented(box, tmp_path, settings)

    return start


@pytest.fixture
def app(start):
    return start()


@pytest.fixture
def client(app):
    return app.test_client()


def sent(token, **more):
    return {"Authorization": f"Bearer {token}", **more}


def refused(answer, status, error, *words):
    """It is an answer of RFC 6750, and says nothing of the token."""
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM), answer.text
    header = answer.headers.get("WWW-Authenticate", "")
    assert header.startswith('Bearer realm="localhost"')
    assert re.findall(r'error="(\w+)"', header) == ([error] if error else [])
    assert re.fullmatch(r'Bearer (\w+="[ !#-\[\]-~]*"(, |$))+', header)
    for word in words:
        assert word in header
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Authorization" in answer.headers["Vary"]
    assert answer.json["status"] == status
    assert "sign_in" not in answer.json
    assert "Set-Cookie" not in answer.headers


# --- Tokens that open a view ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_persons_token_with_the_scope_opens_the_view(client, box, version):
    token = box.token_for_app("adele", scopes=["Other.Read", "Orders.Read"], version=version)
    answer = client.get("/api/orders", headers=sent(token, **BROWSER))
    assert (answer.status_code, answer.json["caller"]) == (200, peek(token)[1]["sub"])
    assert "Authorization" in answer.headers["Vary"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in answer.headers
    assert "Set-Cookie" not in answer.headers


GOOD = {
    "another audience that is this app's": {"aud": "https://orders.example"},
    "several audiences": {"aud": ["https://orders.example", "https://more.example"]},
    "a clock that is a little ahead": {"nbf": time.time() + 60},
    "no idtyp": {"idtyp": None},
    "idtyp": {"idtyp": "user"},
}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD)
def test_a_token_may_differ_in_this(start, box, claims):
    client = start(API_AUDIENCE="api://orders https://orders.example").test_client()
    token = box.token_for_app("adele", scopes=["Orders.Read"], claims=claims)
    assert client.get("/api/orders", headers=sent(token)).status_code == 200


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_may_be_of_these_kinds(client, box, typ, scheme):
    header = {"typ": typ} if typ else {}
    token = box.token_for_app("adele", scopes=["Orders.Read"], header=header)
    assert client.get("/api/orders", headers={"Authorization": f"{scheme} {token}"}).status_code == 200


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("idtyp", ["app", None])
def test_an_apps_own_token_needs_a_role(client, box, version, idtyp):
    def ask(path, *roles):
        token = box.token_for_app(roles=roles, version=version, claims={"idtyp": idtyp})
        return client.get(path, headers=sent(token))

    assert ask("/api/orders", "Orders.Read.All").status_code == 200
    refused(ask("/api/orders", "Orders.Approve"), 403, "insufficient_scope", 'scope="Orders.Read"')
    refused(ask("/api/profile", "Orders.Read.All"), 403, "insufficient_scope")  # it names no role
    if idtyp:
        refused(ask("/api/orders"), 403, "insufficient_scope")


# --- What a view may ask for ------------------------------------------------------------------------------------------


def views(app, auth):
    """A view for each thing that one can ask for, at its name."""

    def show(*, context):
        return {"user": context["user"]["oid"], "keys": sorted(context), "signed_in": bool(auth.user)}

    async def later(*, context):
        return show(context=context)

    for name, needs in {
        "person": {},
        "scopes": {"scopes": ["Orders.Read", "Orders.Write"]},
        "roles": {"roles": ["Orders.Approve", "Orders.Read.All"]},
        "both": {"scopes": ["Orders.Read"], "roles": ["Orders.Approve"]},
        "either": {"session": True},
        "either_with_a_role": {"roles": ["Orders.Approve"], "session": True},
    }.items():
        app.add_url_rule(f"/{name}", name, auth.bearer_required(show, **needs))
    app.add_url_rule("/bare", "bare", auth.bearer_required(show))
    app.add_url_rule("/later", "later", auth.bearer_required(later, scopes=["Orders.Read"]))


@pytest.fixture
def make(box, tmp_path, monkeypatch):
    """An app on the sandbox with views of its own."""

    def make(protected=False, add=views, **settings):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", box.ca_file)
        app, auth = flask.Flask(__name__), Auth()
        app.config.update({f"ENTRA_{name}": value for name, value in {**box.settings, **settings}.items()})
        app.config["ENTRA_SESSION_FILE_DIR"] = str(tmp_path)
        auth.init_app(app, protected=protected)
        add(app, auth)
        return app

    return make


# The scopes and the roles of a token, and what it opens. Without scopes it is an app's own.
OPENED = [
    (["Orders.Read"], [], {"person", "bare", "scopes", "both", "either"}),
    (["Orders.Write"], [], {"person", "bare", "scopes", "either"}),
    (["orders.read"], [], {"person", "bare", "either"}),  # letter case counts
    (["Profile"], ["Orders.Approve"], {"person", "bare", "roles", "either", "either_with_a_role"}),
    (["Orders.Read"], ["Orders.Read.All"], {"person", "bare", "scopes", "roles", "both", "either"}),
    (None, ["Orders.Approve"], {"roles", "both", "either_with_a_role"}),
    (None, ["Orders.Read.All"], {"roles"}),
    (None, ["Orders.Read"], set()),  # a role that is called as a scope is none
]


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize(("scopes", "roles", "opened"), OPENED)
def test_what_opens_which_view(make, box, scopes, roles, opened, protected):
    client = make(protected).test_client()
    token = box.token_for_app("adele" if scopes else None, scopes=scopes or (), roles=roles)
    names = ("person", "bare", "scopes", "roles", "both", "either", "either_with_a_role")
    answers = {name: client.get(f"/{name}", headers=sent(token)) for name in names}
    assert {name for name, answer in answers.items() if answer.status_code == 200} == opened
    for name, answer in answers.items():
        if name not in opened:
            refused(answer, 403, "insufficient_scope")
    for name in opened:
        assert answers[name].json == {"user": peek(token)[1]["oid"], "keys": ["user"], "signed_in": False}


def test_a_coroutine_may_be_a_view(make, box):
    app = make()
    # As asgiref does: in a thread of its own, because this one may have a loop already (Playwright's).
    app.async_to_sync = lambda view: (
        lambda **values: threads.submit(contextvars.copy_context().run, asyncio.run, view(**values)).result()
    )
    client = app.test_client()
    with ThreadPoolExecutor(1) as threads:
        token = box.token_for_app("adele", scopes=["Orders.Read"])
        assert client.get("/later", headers=sent(token)).status_code == 200
        refused(client.get("/later"), 401, "")


@pytest.mark.parametrize("roles", ["Orders.Approve", 7, {"Orders.Approve": True}, [["Orders.Approve"]], None])
def test_roles_that_are_no_list_of_texts_open_nothing(make, box, roles):
    token = box.token_for_app("adele", scopes=["Profile"], claims={"roles": roles})
    refused(make().test_client().get("/roles", headers=sent(token)), 403, "insufficient_scope")


def test_a_refused_caller_is_told_of_by_the_signal_and_in_the_log_without_a_name(make, box, caplog):
    app, told = make(), []
    token = box.token_for_app("adele", scopes=["Profile"])
    with access_denied.connected_to(lambda sender, **more: told.append(more), app):
        answer = app.test_client().get("/both", headers=sent(token))
    refused(answer, 403, "insufficient_scope", 'scope="Orders.Read"')
    assert answer.json["scopes"] == ["Orders.Read"]
    assert answer.json["roles"] == ["Orders.Approve"]
    assert told[0]["user"]["oid"] == box.person("adele").oid
    assert f"oid={box.person('adele').oid} tid={box.tenant_id} azp={CALLER_ID} lacks one of the scopes" in caplog.text
    assert "Adèle" not in caplog.text


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (TypeError, {"scopes": "Orders.Read"}),
        (TypeError, {"roles": 7}),
        (TypeError, {"scopes": [None]}),
        (ValueError, {"scopes": []}),
        (ValueError, {"roles": []}),
        (ValueError, {"roles": [" "]}),
        (ValueError, {"scopes": ["api://orders/Orders.Read"]}),
    ],
)
def test_what_is_written_wrong_is_said_at_once(error, wrong):
    with pytest.raises(error, match=r"bearer_required\((scopes|roles)="):
        Auth().bearer_required(lambda context: "", **wrong)


# --- Tokens that open nothing -----------------------------------------------------------------------------------------


def of(box, header=None, **claims):
    """A token with which all is right but for this."""
    return box.token_for_app("adele", scopes=["Orders.Read"], claims=claims, header=header)


def id_token(box, **claims):
    whole = peek(of(box))[1]
    return box.sign({name: whole[name] for name in whole if name not in ("azp", "azpacr", "scp")} | claims)


def confused(box, algorithm, key):
    header, claims = peek(of(box))
    return sign(claims, key, {"kid": header["kid"]}, algorithm)


def tampered(box):
    head, claims, signature = of(box, scp="Other.Read").split(".")
    whole = json.loads(base64.urlsafe_b64decode(claims + "=="))
    more = base64.urlsafe_b64encode(json.dumps({**whole, "scp": "Orders.Read"}).encode()).rstrip(b"=").decode()
    return f"{head}.{more}.{signature}"


stranger = functools.cache(lambda: rsa.generate_private_key(65537, 2048))


def public_key(box):
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return box.tenant.keys.current.private.public_key().public_bytes(encoding, kind)


HOUR = 3600
BAD = {
    "another tenant": lambda box: of(box, tid=ANOTHER),
    "another tenant and issuer": lambda box: of(box, tid=ANOTHER, iss=f"{box.back_url}/{ANOTHER}/v2.0"),
    "another tenant's issuer": lambda box: of(box, iss=f"{box.back_url}/{ANOTHER}/v2.0"),
    "another tenant's issuer of version 1": lambda box: of(box, iss=f"https://sts.windows.net/{ANOTHER}/"),
    "another issuer of version 1": lambda box: of(box, iss=f"https://sts.chinacloudapi.cn/{box.tenant_id}/"),
    "an issuer that is only nearly right": lambda box: of(box, iss=f"{box.back_url}/{box.tenant_id}/v2.0/"),
    "no issuer": lambda box: of(box, iss=None),
    "no tenant": lambda box: of(box, tid=None),
    "a tenant that is no id": lambda box: of(box, tid="contoso.example"),
    "another app": lambda box: of(box, aud=ANOTHER),
    "another API": lambda box: of(box, aud=f"api://{ANOTHER}"),
    "a longer audience": lambda box: of(box, aud=f"api://{box.client_id}/"),
    "no audience": lambda box: of(box, aud=None),
    "Graph": lambda box: of(box, aud=GRAPH),
    "Graph by its address": lambda box: of(box, aud="https://graph.microsoft.com"),
    "expired": lambda box: of(box, exp=time.time() - HOUR),
    "no expiry": lambda box: of(box, exp=None),
    "an expiry that is text": lambda box: of(box, exp=str(int(time.time() + HOUR))),
    "an expiry that never comes": lambda box: of(box, exp=1e300),
    "not yet valid": lambda box: of(box, nbf=time.time() + HOUR),
    "valid from a text on": lambda box: of(box, nbf=str(int(time.time()))),
    "issued in the future": lambda box: of(box, iat=time.time() + HOUR),
    "issued at no time": lambda box: of(box, iat=None),
    "issued at a truth": lambda box: of(box, iat=True),
    "no subject": lambda box: of(box, sub=None),
    "an empty subject": lambda box: of(box, sub=" "),
    "an ID token": lambda box: id_token(box, nonce="n"),
    "an ID token of a refresh": lambda box: id_token(box),
    "an ID token with roles": lambda box: id_token(box, roles=["Orders.Read.All"]),
    "an ID token with a scope": lambda box: id_token(box, scp="Orders.Read", nonce="n"),
    "an ID token with at_hash": lambda box: of(box, at_hash="x"),
    "an ID token with c_hash": lambda box: of(box, c_hash="x"),
    "a logout token without its typ": lambda box: of(
        box, events={"http://schemas.openid.net/event/backchannel-logout": {}}
    ),
    "no scp": lambda box: of(box, scp=None),
    "an empty scp": lambda box: of(box, scp=" "),
    "a list as scp": lambda box: of(box, scp=["Orders.Read"]),
    "scope in the place of scp": lambda box: of(box, scp=None, scope="Orders.Read"),
    "a person's and an app's": lambda box: of(box, idtyp="app"),
    "a device's": lambda box: of(box, scp=None, idtyp="device", roles=["Orders.Read.All"]),
    "a logout token": lambda box: of(box, {"typ": "logout+jwt"}),
    "a DPoP proof": lambda box: of(box, {"typ": "dpop+jwt"}),
    "another typ": lambda box: of(box, {"typ": "JOSE"}),
    "a critical header": lambda box: of(box, {"crit": ["exp"], "exp": 1}),
    "no signature": lambda box: confused(box, "none", ""),
    "a signature that is left off": lambda box: ".".join([*of(box).split(".")[:2], ""]),
    "a shared secret": lambda box: confused(box, "HS256", box.client_secret),
    "the public key as a secret": lambda box: confused(box, "HS256", public_key(box)),
    "another algorithm": lambda box: confused(box, "PS256", box.tenant.keys.current),
    "somebody else's key": lambda box: confused(box, "RS256", stranger()),
    "tampered with": tampered,
    "an unknown kid": lambda box: of(box, {"kid": "unknown"}),
    "an encrypted token": lambda box: f"{of(box)}.x.y",
    "one part": lambda box: "opaque",
    "no JSON": lambda box: "e30.bm90IGpzb24.x",
    "a list": lambda box: "e30.W10.x",
    "16 KB": lambda box: of(box, more="x" * 16_384),
    "1 MB": lambda box: "x" * 1_000_000,
}


@pytest.fixture(scope="module")
def kept(shared_box, tmp_path_factory):
    """One app for all bad tokens: it is asked so often that the keys must not be fetched each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", shared_box.ca_file)
        yield documented(shared_box, tmp_path_factory.mktemp("kept"), {})


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_token_is_refused_and_nothing_of_it_is_logged_or_told(kept, box, bad, caplog):
    caplog.set_level(logging.DEBUG)
    token = bad(box)
    for path in ("/api/orders", "/api/approvals", "/api/profile"):
        answer = kept.test_client().get(path, headers=sent(token, **BROWSER))
        refused(answer, 401, "invalid_token")
    told = answer.text + str(answer.headers) + caplog.text
    assert "401 CallerRefused: invalid_token: " in caplog.text
    assert "Traceback" not in caplog.text
    for part in token.split("."):
        assert len(part) < 8 or part[:200] not in told
    assert ('error_description="The access token has expired"' in str(answer.headers)) == (bad is BAD["expired"])


def test_all_is_right_with_the_tokens_that_the_bad_ones_are_made_of(kept, box):
    assert kept.test_client().get("/api/orders", headers=sent(of(box))).status_code == 200


HEADERS = {
    "none": (None, 401, ""),
    "Basic": ("Basic dXNlcjpwYXNzd29yZA==", 401, ""),
    "Digest": ('Digest username="a", realm="b"', 401, ""),
    "empty": ("", 401, ""),
    "the scheme alone": ("Bearer", 400, "invalid_request"),
    "the scheme and a space": ("Bearer ", 400, "invalid_request"),
    "two tokens": ("Bearer {token} {token}", 400, "invalid_request"),
    "two headers": ("Bearer {token}, Bearer {token}", 400, "invalid_request"),
    "two headers, one of another scheme": ("Basic dXNlcjpwYXNzd29yZA==,Bearer {token}", 400, "invalid_request"),
    "a quoted token": ('Bearer "{token}"', 400, "invalid_request"),
    "a comma": ("Bearer {token},", 400, "invalid_request"),
    "another alphabet": ("Bearer é{token}", 400, "invalid_request"),
    "no space": ("Bearer{token}", 401, ""),
    "a colon": ("Bearer: {token}", 400, "invalid_request"),
}


@pytest.mark.parametrize(("header", "status", "error"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("path", ["/api/orders", "/api/approvals"])
def test_a_header_that_is_no_bearer_token(kept, box, path, header, status, error):
    client = kept.test_client()
    sign_in(client, roles=["Orders.Approve"], claims={"tid": box.tenant_id})
    headers = {} if header is None else {"Authorization": header.format(token=of(box, roles=["Orders.Approve"]))}
    answer = client.get(path, headers=headers)
    if header is None and path == "/api/approvals":
        assert answer.status_code == 200  # the session's
    else:
        refused(answer, status, error)


def test_a_token_is_read_from_the_header_only(kept, box):
    token = of(box)
    client = kept.test_client()
    client.set_cookie("access_token", token)
    refused(client.get("/api/orders", query_string={"access_token": token}), 401, "")
    assert client.post("/api/orders", data={"access_token": token}).status_code == 405


@pytest.mark.parametrize("audience", [GRAPH, "https://graph.microsoft.com", "https://graph.microsoft.com/"])
def test_graphs_audience_cannot_be_made_this_apps(start, box, audience):
    client = start(API_AUDIENCE=audience).test_client()
    refused(client.get("/api/orders", headers=sent(of(box, aud=audience))), 401, "invalid_token")


def test_a_token_that_the_tenant_really_gives_for_graph_opens_nothing(kept, box):
    person = box.person("adele")
    box.tenant.memory.consent(person.key, {"User.Read"})
    answer = box.tenant.issue(person, ["openid", "User.Read"], {}, "", box.tenant_id, "a nonce")
    for token in (answer["access_token"], answer["id_token"]):
        refused(kept.test_client().get("/api/orders", headers=sent(token)), 401, "invalid_token")


def test_an_app_without_a_client_id_takes_no_token(make, box):
    client = make(CLIENT_ID="").test_client()
    for audience in ("", "api://", box.client_id):
        refused(client.get("/scopes", headers=sent(of(box, aud=audience))), 401, "invalid_token")


# --- Issuers ----------------------------------------------------------------------------------------------------------

TENANT = "22222222-2222-4222-8222-222222222222"
OLDER = {
    f"https://login.microsoftonline.com/{TENANT}/v2.0": f"https://sts.windows.net/{TENANT}/",
    f"https://login.microsoftonline.us/{TENANT}/v2.0": f"https://sts.windows.net/{TENANT}/",
    f"https://login.partner.microsoftonline.cn/{TENANT}/v2.0": f"https://sts.chinacloudapi.cn/{TENANT}/",
    f"https://{TENANT}.ciamlogin.com/{TENANT}/v2.0": None,
    f"https://contoso.b2clogin.com/{TENANT}/v2.0/": None,
    f"https://contoso.b2clogin.com/{TENANT}/v2.0": None,
    f"https://login.microsoftonline.com/{ANOTHER}/v2.0": None,
    "https://login.microsoftonline.com//v2.0": None,
}


@pytest.mark.parametrize(("issuer", "older"), OLDER.items())
def test_the_name_of_an_issuer_in_tokens_of_version_1(issuer, older):
    assert version_1(issuer, TENANT) == older


# --- Several tenants --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_common_takes_the_tokens_of_every_tenant_unless_some_are_named(start, box, version):
    box.person("adele").tenant_id = ANOTHER
    token = box.token_for_app("adele", scopes=["Orders.Read"], version=version)
    common = box.authority("common")
    assert start(AUTHORITY=common).test_client().get("/api/orders", headers=sent(token)).status_code == 200
    allowed = start(AUTHORITY=common, ALLOWED_TENANTS=ANOTHER.upper()).test_client()
    assert allowed.get("/api/orders", headers=sent(token)).status_code == 200
    others = start(AUTHORITY=common, ALLOWED_TENANTS=box.tenant_id).test_client()
    refused(others.get("/api/orders", headers=sent(token)), 401, "invalid_token")
    mixed = box.token_for_app("adele", scopes=["Orders.Read"], version=version, claims={"tid": box.tenant_id})
    refused(others.get("/api/orders", headers=sent(mixed)), 401, "invalid_token")


# --- Other providers --------------------------------------------------------------------------------------------------

ELSEWHERE = {"sub": "alice", "aud": "https://orders.example", "client_id": "the-caller"}
OF_ANOTHER_PROVIDER = {
    "a person's": (200, {"scope": "openid Orders.Read"}, "at+jwt"),
    "a person's of no declared kind": (200, {"scope": "Orders.Read"}, "JWT"),
    "a person's, as a list": (200, {"scp": ["Orders.Read"]}, "JWT"),
    "an app's own with the role": (200, {"sub": "the-caller", "roles": ["Orders.Read.All"]}, "at+jwt"),
    "an app's own with scopes": (403, {"sub": "the-caller", "scope": "Orders.Read"}, "at+jwt"),
    "a person's without the scope": (403, {"scope": "openid"}, "at+jwt"),
    "an ID token": (401, {"roles": ["Orders.Read.All"], "azp": "the-caller"}, "JWT"),
    "another issuer": (401, {"scope": "Orders.Read", "iss": "https://id.example"}, "at+jwt"),
    "another audience": (401, {"scope": "Orders.Read", "aud": "https://other.example"}, "at+jwt"),
}


@pytest.mark.parametrize(("status", "claims", "typ"), OF_ANOTHER_PROVIDER.values(), ids=OF_ANOTHER_PROVIDER)
def test_tokens_of_another_provider(start, provider, monkeypatch, status, claims, typ):
    app = start(
        AUTHORITY=None, OIDC_AUTHORITY=provider.url, API_AUDIENCE="https://orders.example", CLIENT_ID="the-app:1"
    )
    app.extensions[KEY].http.verify = provider.ca_file
    usual = {**ELSEWHERE, "iss": provider.url, "iat": time.time(), "exp": time.time() + HOUR}
    token = provider.keys[0].sign({**usual, **claims}, typ=typ)
    assert app.test_client().get("/api/orders", headers=sent(token)).status_code == status


# --- Keys -------------------------------------------------------------------------------------------------------------


def fetched(box):
    return len(box.seen("keys"))


@pytest.fixture
def own_keys(box, monkeypatch):
    """The tenant's keys are as they were after the test: other tests share an app that knows them."""
    for name in ("current", "published"):
        monkeypatch.setattr(box.tenant.keys, name, getattr(box.tenant.keys, name))


def test_a_new_key_is_found_and_made_up_ones_are_no_flood_of_requests(client, box, own_keys):
    assert client.get("/api/orders", headers=sent(of(box))).status_code == 200
    assert fetched(box) == 1
    box.rotate_keys()
    assert client.get("/api/orders", headers=sent(of(box))).status_code == 200
    assert fetched(box) == 2
    for number in range(20):
        refused(client.get("/api/orders", headers=sent(of(box, {"kid": f"made up {number}"}))), 401, "invalid_token")
    assert fetched(box) == 4  # the tenant's and this app's own, once a minute


def test_made_up_keys_are_no_flood_while_the_keys_cannot_be_fetched(client, box, own_keys, monkeypatch):
    good = of(box)
    assert client.get("/api/orders", headers=sent(good)).status_code == 200
    box.misbehave("keys", Answer(500), None)
    before = fetched(box)
    for number in range(5):
        assert client.get("/api/orders", headers=sent(of(box, {"kid": f"made up {number}"}))).status_code == 503
        assert client.get("/api/orders", headers=sent(good)).status_code == 200
    assert fetched(box) == before + 1
    box.behave()
    box.rotate_keys()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + RETRY_SECONDS)
    assert client.get("/api/orders", headers=sent(of(box))).status_code == 200


@pytest.mark.parametrize("endpoint", ["discovery", "keys"])
def test_nor_before_they_have_ever_been_fetched(client, box, monkeypatch, endpoint):
    box.misbehave(endpoint, Answer(500), None)
    for number in range(5):
        assert client.get("/api/orders", headers=sent(of(box, {"kid": f"made up {number}"}))).status_code == 503
    assert len(box.seen(endpoint)) == 1
    box.behave()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + RETRY_SECONDS)
    assert client.get("/api/orders", headers=sent(of(box))).status_code == 200


def test_a_key_of_the_apps_own_is_found(client, box):
    box.own_signing_key = type(box.tenant.keys.current)()
    token = sign(peek(of(box))[1], box.own_signing_key)
    assert client.get("/api/orders", headers=sent(token)).status_code == 200


@pytest.mark.parametrize("endpoint", ["discovery", "keys"])
@pytest.mark.parametrize(
    ("fault", "seconds"), [(Close(), "5"), (Answer(500), "5"), (Answer(429, headers={"Retry-After": "7"}), "7")]
)
def test_while_the_keys_cannot_be_fetched_it_says_when_to_come_back(client, box, endpoint, fault, seconds):
    box.misbehave(endpoint, fault, None)
    answer = client.get("/api/orders", headers=sent(of(box), **BROWSER))
    assert (answer.status_code, answer.mimetype) == (503, PROBLEM)
    assert answer.headers["Retry-After"] == seconds
    assert answer.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in answer.headers


def test_a_token_that_is_too_long_asks_nobody_for_a_key(client, box):
    refused(client.get("/api/orders", headers=sent("x" * 20_000)), 401, "invalid_token")
    assert box.seen("discovery") == []


# --- A token or a session ---------------------------------------------------------------------------------------------


def test_without_the_header_a_view_for_either_is_as_one_that_needs_a_sign_in(client, box):
    page = client.get("/api/approvals", headers=BROWSER)
    assert page.status_code in REDIRECTS
    assert "Authorization" in page.headers["Vary"]
    script = client.get("/api/approvals", headers={"Accept": "application/json"})
    assert script.status_code == 401
    assert script.headers["WWW-Authenticate"].startswith("Cookie ")
    sign_in(client, name="Patti", claims={"tid": box.tenant_id})
    assert client.get("/api/approvals", headers=BROWSER).status_code == 403
    sign_in(client, name="Patti", roles=["Orders.Approve"], claims={"tid": box.tenant_id})
    answer = client.get("/api/approvals", headers=BROWSER)
    assert answer.json == {"approver": "Patti"}
    assert {"Authorization", "Cookie"} <= set(answer.headers["Vary"].split(", "))


def test_with_the_header_the_token_decides_alone(make, box):
    client = make().test_client()
    sign_in(client, name="Patti", roles=["Orders.Approve"], claims={"tid": box.tenant_id})
    assert client.get("/either").json["signed_in"]
    token = box.token_for_app("adele", scopes=["Orders.Read"])
    answer = client.get("/either", headers=sent(token))
    assert answer.json == {"user": box.person("adele").oid, "keys": ["user"], "signed_in": False}
    refused(client.get("/either_with_a_role", headers=sent(token)), 403, "insufficient_scope")
    refused(client.get("/either_with_a_role", headers=sent("expired")), 401, "invalid_token")
    refused(client.get("/person"), 401, "")  # a session opens no view that takes tokens alone
    assert client.get("/either").json["signed_in"]  # and is still there


def test_a_person_signs_in_to_a_view_for_either_with_a_browser(box, serve, tmp_path):
    (tmp_path / "mine.py").write_text("from tests.orders_api import create_app\n")
    port = free_port()
    settings = {**box.settings, "REDIRECT_URI": f"http://localhost:{port}/getAToken"}
    served = serve(
        port=port,
        flask_app=tmp_path / "mine.py",
        PYTHONPATH=str(ROOT),
        **{f"FLASK_ENTRA_{name}": value for name, value in settings.items()},
        FLASK_ENTRA_SESSION_FILE_DIR=str(tmp_path / "more"),
    )
    visitor = Visitor(served.url)
    assert visitor.go_on(visitor.get("/api/approvals"), "patti").json() == {"approver": "Patti Fernandez"}
    token = box.token_for_app("adele", scopes=["Profile"], roles=["Orders.Approve"])
    assert visitor.get("/api/approvals", headers=sent(token)).json() == {"approver": "Adèle Vance"}
    two = visitor.get("/api/approvals", headers={"Authorization": f"Bearer {token},Bearer {token}"})
    assert two.status_code == 400
    assert token not in served.log()


# --- Where it stands --------------------------------------------------------------------------------------------------


def cached(view):
    """As Flask-Caching does: the first answer is everybody's."""
    kept = []

    @functools.wraps(view)
    def answer(*args, **kwargs):
        if not kept:
            kept.append(view(*args, **kwargs))
        return kept[0]

    return answer


@pytest.mark.parametrize("protected", [False, True])
def test_a_cache_above_it_opens_nothing_where_all_views_are_guarded(make, box, protected):
    def add(app, auth):
        app.add_url_rule("/x", "x", cached(auth.bearer_required(lambda context: "x", scopes=["Orders.Read"])))
        app.add_url_rule("/y", "y", auth.bearer_required(cached(lambda context: "y"), scopes=["Orders.Read"]))

    client = make(protected, add).test_client()
    token = box.token_for_app("adele", scopes=["Orders.Read"])
    for path in ("/x", "/y"):
        assert client.get(path, headers=sent(token)).status_code == 200
    refused(client.get("/y"), 401, "")
    if protected:
        refused(client.get("/x"), 401, "")
        refused(client.get("/x", headers=sent(box.token_for_app("adele", scopes=["Other"]))), 403, "insufficient_scope")


@pytest.mark.parametrize("protected", [False, True])
def test_above_the_route_it_stops_the_app(make, box, protected, caplog):
    def add(app, auth):
        @auth.bearer_required
        @app.get("/x")
        def view(context=None):
            return "x"

    app = make(protected, add)
    assert app.test_client().get("/x").status_code == 500
    assert "bearer_required stands above the route and guards nothing: view (" in caplog.text
    told = app.test_cli_runner().invoke(args=["doctor", "--json"]).output
    (finding,) = [each for each in json.loads(told)["findings"] if each["setting"] == "views"]
    assert "bearer_required" in finding["found"] + finding["mend"]


def test_login_required_does_not_stand_beside_it():
    auth = Auth()
    for first, second in ((auth.login_required, auth.bearer_required), (auth.bearer_required, auth.login_required)):
        with pytest.raises(TypeError, match="session=True"):
            first(second(lambda context: ""))


@pytest.mark.parametrize("protected", [False, True])
def test_what_a_browser_asks_ahead_for_another_site_needs_no_token(make, protected):
    def add(app, auth):
        @app.route("/flask", methods=["GET", "POST"])
        @auth.bearer_required
        def by_flask(*, context):
            return "x"

        def shared(view):  # as flask-cors does
            @functools.wraps(view)
            def answer(*args, **kwargs):
                response = flask.current_app.make_default_options_response()
                if flask.request.method != "OPTIONS":
                    response = flask.make_response(view(*args, **kwargs))
                response.headers["Access-Control-Allow-Origin"] = "https://spa.example"
                return response

            answer.provide_automatic_options = False
            return answer

        app.add_url_rule("/cors", "cors", shared(auth.bearer_required(lambda context: "x")), methods=["GET", "OPTIONS"])

    client = make(protected, add).test_client()
    asked = {"Origin": "https://spa.example", "Access-Control-Request-Headers": "authorization"}
    for path in ("/flask", "/cors"):
        assert client.options(path, headers=asked).status_code == 200
        refused(client.get(path), 401, "")
    assert client.options("/cors").headers["Access-Control-Allow-Origin"] == "https://spa.example"


@pytest.mark.parametrize("protected", [False, True])
def test_a_view_class_may_have_it(make, box, protected):
    def add(app, auth):
        class Orders(MethodView):
            decorators = [auth.bearer_required(scopes=["Orders.Read"])]

            def get(self, context):
                return "orders"

        app.add_url_rule("/orders", view_func=Orders.as_view("orders"))

    client = make(protected, add).test_client()
    token = box.token_for_app("adele", scopes=["Orders.Read"])
    assert client.get("/orders", headers=sent(token)).text == "orders"
    refused(client.get("/orders", headers=BROWSER), 401, "")


def test_no_other_view_announces_that_it_takes_tokens(make, box):
    def add(app, auth):
        app.add_url_rule("/x", "x", auth.login_required(lambda context: "x"))
        app.add_url_rule("/forbidden", "forbidden", lambda: flask.abort(401))

    client = make(add=add).test_client()
    for path in ("/x", "/forbidden"):
        answer = client.get(path, headers=sent(of(box), Accept="application/json"))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Cookie ")


@pytest.mark.parametrize(("status", "header"), [(401, "Bearer "), (403, ""), (404, ""), (500, "")])
def test_what_a_view_answers_by_itself_is_json_for_a_caller(make, box, status, header):
    def add(app, auth):
        app.add_url_rule("/x", "x", auth.bearer_required(lambda context: flask.abort(status)))

    answer = make(add=add).test_client().get("/x", headers=sent(of(box), **BROWSER))
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM)
    assert answer.headers.get("WWW-Authenticate", "").startswith(header)
    assert answer.headers.get("WWW-Authenticate") or not header


def test_the_views_that_take_tokens_are_marked_also_below_other_decorators(make):
    views = make(add=lambda app, auth: app.add_url_rule("/x", "x", cached(auth.bearer_required(lambda context: ""))))
    assert views.view_functions["x"].__flask_entra_bearer__
    assert not hasattr(views.view_functions["identity.login"], "__flask_entra_bearer__")


# --- On behalf of the caller ------------------------------------------------------------------------------------------


def exchanged(box):
    return [each.form for each in box.seen("token") if each.form["grant_type"].endswith(":jwt-bearer")]


@pytest.fixture
def consented(box):
    box.tenant.memory.consent("adele", {"User.Read", "openid", "profile", "offline_access"})
    return box


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_view_calls_graph_for_the_caller_and_keeps_the_token(client, consented, version, caplog):
    caplog.set_level(logging.INFO)
    token = consented.token_for_app("adele", scopes=["Orders.Read"], version=version)
    for _ in range(3):
        answer = client.get("/api/profile", headers=sent(token))
        assert (answer.status_code, answer.json) == (200, {"title": consented.person("adele").profile["jobTitle"]})
    (form,) = exchanged(consented)
    assert form["assertion"] == token
    assert form["requested_token_use"] == "on_behalf_of"
    assert set(form["scope"].split()) == {"User.Read", "openid", "profile", "offline_access"}
    assert f"Token on behalf of oid={consented.person('adele').oid}" in caplog.text
    assert token not in caplog.text
    assert "Set-Cookie" not in answer.headers
    another = consented.token_for_app("adele", scopes=["Orders.Read"], version=version)
    assert client.get("/api/profile", headers=sent(another)).status_code == 200
    assert len(exchanged(consented)) == 2  # each token of a caller has its own


def profiles(app, auth, scopes=("User.Read",)):
    @app.get("/context")
    @auth.bearer_required
    def context(*, context):
        found = auth.context(list(scopes))
        return {**found, "user": found["user"]["oid"], "bare": sorted(auth.context())}

    @app.get("/me")
    @auth.bearer_required
    def me(*, context):
        found = auth.context(list(scopes))
        name = auth.graph.me(found)["displayName"]
        return {"name": name, "token": found["access_token"]}

    @app.get("/renewed")
    @auth.bearer_required
    def renewed(*, context):
        return {"token": auth.renew_token(scopes=list(scopes))}


def test_the_context_is_what_login_required_gives(make, consented):
    client = make(add=profiles).test_client()
    found = client.get("/context", headers=sent(of(consented))).json
    assert set(found) == {"user", "access_token", "token_type", "expires_in", "scopes", "bare"}
    assert (found["user"], found["bare"], found["scopes"]) == (consented.person("adele").oid, ["user"], ["User.Read"])
    assert peek(found["access_token"])[1]["aud"] == GRAPH
    token = of(consented)
    first, again = (client.get("/context", headers=sent(token)).json["access_token"] for _ in range(2))
    new = client.get("/renewed", headers=sent(token)).json["token"]
    assert first == again != new == client.get("/context", headers=sent(token)).json["access_token"]


@pytest.mark.parametrize("scope", ["https://graph.microsoft.com/.default", "https://graph.microsoft.com/User.Read"])
def test_scopes_may_be_written_in_other_ways(make, consented, scope):
    client = make(add=functools.partial(profiles, scopes=[scope])).test_client()
    assert client.get("/me", headers=sent(of(consented))).json["name"] == "Adèle Vance"


def test_a_token_is_kept_no_longer_than_either_token_lives(make, consented):
    client = make(add=profiles).test_client()

    def twice(token):
        """How many exchanges two requests take."""
        before = len(exchanged(consented))
        for _ in range(2):
            assert client.get("/context", headers=sent(token)).status_code == 200
        return len(exchanged(consented)) - before

    assert twice(of(consented)) == 1
    assert twice(of(consented, exp=time.time() + on_behalf_of.LAST_SECONDS)) == 2
    consented.access_token_lifetime = on_behalf_of.LAST_SECONDS
    assert twice(of(consented, exp=time.time() + HOUR)) == 2


def test_no_more_tokens_are_kept_than_that(make, consented, monkeypatch):
    monkeypatch.setattr(on_behalf_of, "KEPT_AT_MOST", 2)
    client, (first, second, third) = make(add=profiles).test_client(), (of(consented) for _ in range(3))
    for token in (first, second, first, third, first, second):
        client.get("/context", headers=sent(token))
    assert [form["assertion"] for form in exchanged(consented)] == [first, second, third, second]


def test_requests_at_once_with_one_token_make_one_exchange(make, consented):
    app, hold, token = make(add=profiles), Hold(), of(consented)
    app.test_client().get("/context")  # the first request of all is alone
    consented.misbehave("token", hold)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(app.test_client().get, "/context", headers=sent(token)) for _ in range(4)]
        hold.wait()
        until(lambda: len(app.extensions[KEY].http._bulkhead._asking) == 4)
        hold.release()
        found = {each.result().json["access_token"] for each in asked}
    assert len(found) == len(exchanged(consented)) == 1


def test_a_failure_of_an_exchange_is_not_kept(make, consented):
    client, token = make(add=profiles).test_client(), of(consented)
    consented.misbehave("token", Answer(500))
    answer = client.get("/context", headers=sent(token))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert client.get("/context", headers=sent(token)).status_code == 200


def test_what_graph_refuses_is_exchanged_once_more_with_the_claims_that_it_asks_for(make, consented):
    client, token = make(add=profiles).test_client(), of(consented)
    before = client.get("/me", headers=sent(token)).json["token"]
    claims = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
    consented.misbehave("me", Challenge(claims))
    after = client.get("/me", headers=sent(token)).json
    assert after["name"] == "Adèle Vance"
    assert after["token"] != before
    assert client.get("/me", headers=sent(token)).json["token"] == after["token"]  # kept in the place of the other
    assert len(exchanged(consented)) == 2
    assert json.loads(exchanged(consented)[1]["claims"])["access_token"]["acrs"] == claims["access_token"]["acrs"]


def test_a_challenge_that_only_the_person_can_meet_is_passed_on_to_the_caller(make, consented):
    client = make(add=profiles).test_client()
    claims = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
    consented.misbehave("me", Challenge(claims, "interaction"))
    answer = client.get("/me", headers=sent(of(consented)))
    refused(answer, 401, "insufficient_claims")
    passed_on = json.loads(claims_challenge(answer.headers["WWW-Authenticate"]))
    assert passed_on["access_token"]["acrs"] == claims["access_token"]["acrs"]
    assert answer.json["claims"] == passed_on


def test_a_token_that_graph_goes_on_refusing_is_the_callers_to_replace(make, consented):
    client = make(add=profiles).test_client()
    consented.misbehave("me", Answer(401, {"error": {"code": "x", "message": "y"}}), None)
    refused(client.get("/me", headers=sent(of(consented))), 401, "invalid_token")
    assert len(exchanged(consented)) == 2


def told(error, code=0, **more):
    return Answer(400, {"error": error, "error_description": f"AADSTS{code}: Words. Trace ID: x", **more})


CLAIMS = json.dumps({"access_token": {"capolids": {"essential": True, "values": ["1"]}}})
ANSWERS = {
    "no consent": (told("invalid_grant", 65001, suberror="consent_required"), 403, "insufficient_scope"),
    "no consent, by another name": (told("consent_required"), 403, "insufficient_scope"),
    "an assertion that it does not take": (told("invalid_grant", 50013), 401, "invalid_token"),
    "an expired one": (told("invalid_grant", 500133), 401, "invalid_token"),
    "a second factor": (told("interaction_required", 50079, claims=CLAIMS), 401, "insufficient_claims"),
    "a second factor, otherwise": (told("invalid_grant", 50076, claims=CLAIMS), 401, "insufficient_claims"),
    "a sign-in": (told("interaction_required", 50058), 401, "invalid_token"),
    "a wrong secret": (told("invalid_client", 7000215), 500, None),
    "a wrong scope": (told("invalid_scope", 70011), 500, None),
    "a grant that it does not have": (told("unsupported_grant_type"), 500, None),
    "something new": (told("what_is_that"), 500, None),
    "a fault that passes": (told("temporarily_unavailable", 90033), 503, None),
    "too many": (Answer(429, headers={"Retry-After": "9"}), 503, None),
    "down": (Close(), 503, None),
    "a page": (Answer(200, b"<html>"), 503, None),
}


@pytest.mark.parametrize(("answer", "status", "error"), ANSWERS.values(), ids=ANSWERS)
def test_what_the_authority_says_to_the_exchange_is_the_callers_or_the_apps_to_mend(
    make, consented, answer, status, error, caplog
):
    client, token = make(add=profiles).test_client(), of(consented)
    consented.misbehave("token", answer, None)
    told = client.get("/me", headers=sent(token, **BROWSER))
    assert (told.status_code, told.mimetype) == (status, PROBLEM)
    if error:
        refused(told, status, error, *(['scope="User.Read"'] if status == 403 else []))
    else:
        assert "WWW-Authenticate" not in told.headers
        assert told.headers["Cache-Control"] == "no-store"
        assert ("Retry-After" in told.headers) == (status == 503)
        assert "sign in" not in told.json["detail"].lower() or status == 503
    assert token not in caplog.text
    assert consented.client_secret not in caplog.text


def test_who_has_not_consented_is_told_so_by_the_tenant_itself(client, box):
    answer = client.get("/api/profile", headers=sent(of(box)))
    refused(answer, 403, "insufficient_scope", 'scope="User.Read"', "consented")


def test_an_app_has_nobody_to_act_for(make, consented):
    def add(app, auth):
        app.add_url_rule("/x", "x", auth.bearer_required(lambda context: auth.context(["User.Read"]), roles=["R"]))

    client = make(add=add).test_client()
    answer = client.get("/x", headers=sent(consented.token_for_app(roles=["R"])))
    refused(answer, 403, "insufficient_scope", "an app has nobody on whose behalf")
    assert exchanged(consented) == []


def test_without_a_credential_nothing_can_be_exchanged(make, consented, caplog):
    client = make(add=profiles, CLIENT_SECRET="").test_client()
    assert client.get("/me", headers=sent(of(consented))).status_code == 500
    assert "takes a credential of this app" in caplog.text


def test_a_token_with_another_persons_id_token_is_not_used(make, consented):
    client = make(add=profiles).test_client()
    consented.forge = lambda claims, header: ({**claims, "oid": consented.person("alex").oid}, header)
    assert client.get("/me", headers=sent(of(consented))).status_code == 502


def test_scopes_that_were_not_granted_are_missing(make, consented):
    client = make(add=profiles).test_client()
    granted = Answer(
        200, {"access_token": "x", "token_type": "Bearer", "expires_in": 3600, "scope": "openid Other.Read"}
    )
    consented.misbehave("token", granted)
    refused(client.get("/me", headers=sent(of(consented))), 403, "insufficient_scope", 'scope="user.read"')


# The sandbox's own checks, which are Entra's.
EXCHANGES = {
    "another app": (lambda box: {"assertion": of(box, aud=ANOTHER)}, 500131),
    "another key": (lambda box: {"assertion": confused(box, "RS256", stranger())[:-4] + "AAAA"}, 50013),
    "expired": (lambda box: {"assertion": of(box, exp=time.time() - HOUR)}, 500133),
    "no token": (lambda box: {"assertion": "x"}, 50027),
    "no assertion": (lambda box: {"assertion": ""}, 900144),
    "an app's own": (lambda box: {"assertion": box.token_for_app(roles=["R"])}, 7000114),
    "another use": (lambda box: {"requested_token_use": "x"}, 900144),
    "no consent": (lambda box: {"scope": "Mail.Read"}, 65001),
    "no such scope": (lambda box: {"scope": "Nothing.Read"}, 70011),
    "a wrong secret": (lambda box: {"client_secret": "x"}, 7000215),
}


@pytest.mark.parametrize(("changes", "code"), EXCHANGES.values(), ids=EXCHANGES)
def test_the_sandbox_refuses_an_exchange_as_entra_does(consented, changes, code):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_id": consented.client_id,
        "client_secret": consented.client_secret,
        "assertion": of(consented),
        "scope": "User.Read",
        "requested_token_use": "on_behalf_of",
        **changes(consented),
    }
    answer = requests.post(f"{consented.authority()}/oauth2/v2.0/token", form, verify=consented.ca_file, timeout=9)
    assert answer.status_code in (400, 401)
    assert answer.json()["error_codes"] == [code]


# --- For tests of an app, without a tenant ----------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path):
    """The app, with a tenant that does not answer."""
    tenant = f"https://login.microsoftonline.com/{ANOTHER}"
    settings = {"CLIENT_ID": "11111111-1111-4111-8111-111111111111", "CLIENT_SECRET": "s" * 40, "AUTHORITY": tenant}
    settings["SESSION_FILE_DIR"] = str(tmp_path)
    return create_app({f"ENTRA_{name}": value for name, value in settings.items()})


def test_the_api(app, client):
    headers = bearer(app, scopes=["Orders.Read"])
    assert client.get("/api/orders", headers=headers).status_code == 200
    headers = bearer(app, roles=["Orders.Read.All"])  # without scopes: the other app's own token
    assert client.get("/api/orders", headers=headers).status_code == 200
    assert client.get("/api/orders").status_code == 401


def test_a_token_of_a_test_is_held_against_the_same_checks(alone):
    client = alone.test_client()
    assert client.get("/api/orders", headers=bearer(alone, scopes=["Orders.Read"])).status_code == 200
    assert client.get("/api/orders", headers=bearer(alone, scopes=["Mail.Read"])).status_code == 403
    assert client.get("/api/orders", headers=bearer(alone)).status_code == 403
    for claims in ({"aud": "x"}, {"exp": 1}, {"tid": GRAPH}, {"iss": "https://x"}, {"nonce": "n"}, {"scp": None}):
        headers = bearer(alone, scopes=["Orders.Read"], claims=claims)
        refused(client.get("/api/orders", headers=headers), 401, "invalid_token")


def test_a_token_of_a_test_may_bring_one_for_another_api(alone):
    headers = bearer(alone, scopes=["Orders.Read"], on_behalf_of=["User.Read"], access_token="graphs")
    with responses.RequestsMock() as graph:
        there = [responses.matchers.header_matcher({"Authorization": "Bearer graphs"})]
        graph.get("https://graph.microsoft.com/v1.0/me", json={"jobTitle": "Manager"}, match=there)
        assert alone.test_client().get("/api/profile", headers=headers).json == {"title": "Manager"}


def test_a_token_of_a_test_passes_at_another_provider_and_at_several_tenants(start):
    for settings in (
        {"AUTHORITY": None, "OIDC_AUTHORITY": "https://id.example"},
        {"AUTHORITY": "https://login.microsoftonline.com/common", "ALLOWED_TENANTS": GRAPH},
        {"AUTHORITY": "https://login.microsoftonline.com/contoso.example"},
    ):
        app = start(**settings)
        for given in ({"scopes": ["Orders.Read"]}, {"roles": ["Orders.Read.All"]}):
            assert app.test_client().get("/api/orders", headers=bearer(app, **given)).status_code == 200


def test_an_app_without_a_client_id_has_no_tokens(make):
    with pytest.raises(ValueError, match="ENTRA_CLIENT_ID"):
        bearer(make(CLIENT_ID=""))

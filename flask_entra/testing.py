"""For the tests of an app: somebody who is signed in, without a tenant and without a browser.

    from flask_entra.testing import sign_in

    def test_orders(client):                        # Flask's test client
        sign_in(client, roles=["Orders.Approve"])
        assert client.get("/orders").status_code == 200

`bearer` makes the headers of a request with a bearer token, for views of `bearer_required`:

    def test_the_api(app, client):
        headers = bearer(app, scopes=["Orders.Read"])
        assert client.get("/api/orders", headers=headers).status_code == 200

With `pytest_plugins = ["flask_entra.testing"]` in `conftest.py`, the fixture `sign_in_as` does the same, for the fixture
`client`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import jwt
import msal
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient

from flask_entra.background import request_of
from flask_entra.config import KEY, Config
from flask_entra.sessions.interface import SealedSessionInterface
from flask_entra.signin import noted
from flask_entra.signin.authorization import DEFAULT_SCOPES, Requirement
from flask_entra.signin.callers_tokens import Caller
from flask_entra.signin.current_user import USER, VOUCHED_UNTIL
from flask_entra.signin.guards import guard_of
from flask_entra.signin.id_token import Key
from flask_entra.signin.token_cache import TOKEN_CACHE, as_token

SECONDS = 3600  # the lifetime of the tokens
TENANT = "00000000-0000-4000-8000-000000000001"  # unless `claims` or the settings name another


def sign_in(
    client: FlaskClient,
    *,
    name: str = "Test Person",
    roles: Iterable[str] = (),
    groups: Iterable[str] = (),
    scopes: Iterable[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    access_token: str | None = None,
) -> dict[str, Any]:
    """Sign somebody in to an app, as its next requests by this client find it. Somebody else who was signed in is replaced.

    What the app has given to `Auth.on_sign_in` is called, as in a sign-in.

    :param client: of an app that `Auth.init_app` was called for. Its settings need not be complete.
    :param name: of the person. The same name is the same person: `oid` and `sub` follow from it.
    :param roles: app roles.
    :param groups: object ids of groups, or names of the setting `GROUPS`.
    :param scopes: those that the person has granted; None grants whatever a view asks for, except more than one API at once.
    :param claims: further claims of the ID token, or others instead of the usual ones, such as `{"acrs": ["c1"]}` for a view with
        an authentication context. None as a value leaves a claim out.
    :param access_token: what views get as the access token, and send to APIs; None makes one.
    :return: the claims of the ID token, as `auth.user` gives them.
    :raises TypeError: the app has no sealed sessions, because `Auth.init_app` was not called for it; or `roles`, `groups` or
        `scopes` is a text instead of a list of texts.
    :raises SignInRefused: the app lets this person not in.
    """
    app = client.application
    _are_lists(roles=roles, groups=groups, scopes=scopes)
    if not isinstance(app.session_interface, SealedSessionInterface):
        raise TypeError("sign_in(client): call auth.init_app(app) for the app of this client first.")
    config, now = app.extensions[KEY].config, int(time.time())
    usual = {
        **_usual(config, next(iter(sorted(config.allowed_tenants)), TENANT), now),
        **_named(name),
        "auth_time": now,
    }
    usual |= {"roles": list(roles)} if roles else {}
    usual |= {"groups": [config.groups.get(each, each) for each in groups]} if groups else {}
    user = {claim: value for claim, value in {**usual, **(claims or {})}.items() if value is not None}
    access_token = access_token or f"access-token-of-a-test-{secrets.token_hex(8)}"
    granted = [list(scopes)] if scopes is not None else _asked_for(app, config.scope)
    session = app.session_interface.new_session()
    session.update({USER: user, VOUCHED_UNTIL: user["exp"], TOKEN_CACHE: _cache(granted, access_token, now)})
    session[noted.BEGAN] = {"at": now, "browser": "Flask's test client"}
    session.save()
    with app.test_request_context() as context:
        cookie, domain = app.session_interface.cookie(), context.request.host.partition(":")[0]
    client.set_cookie(cookie["key"], session.sid, domain=domain, path=cookie["path"], secure=cookie["secure"])
    with request_of(app, config, session.sid):
        app.extensions[KEY].routes.let_in(user)
    return user


def bearer(
    app: Flask,
    *,
    name: str = "Test Person",
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    claims: Mapping[str, Any] | None = None,
    on_behalf_of: Iterable[str] = (),
    access_token: str | None = None,
) -> dict[str, str]:
    """Make a bearer token for an app, which passes all of its checks: it is signed with a key that the app is made to trust.

    :param app: one that `Auth.init_app` was called for, with `CLIENT_ID`.
    :param name: of the person, as for `sign_in`.
    :param scopes: delegated permissions, by their short names. Without them, the token is an app's own if it has roles, and
        otherwise has the scope `access_as_user`.
    :param roles: app roles.
    :param claims: further claims of the token, or others instead of the usual ones. None as a value leaves a claim out.
    :param on_behalf_of: the scopes of another API that a view asks for with `auth.context`. It gets a token for them.
    :param access_token: that token; None makes one.
    :return: the headers of a request with the bearer token.
    :raises ValueError: the app has no `CLIENT_ID`, so that there can be no token for it.
    :raises TypeError: `scopes`, `roles` or `on_behalf_of` is a text instead of a list of texts.
    """
    _are_lists(scopes=scopes, roles=roles, on_behalf_of=on_behalf_of)
    state, now = app.extensions[KEY], int(time.time())
    config, scopes, roles = state.config, list(scopes), list(roles)
    if not state.callers.audiences:
        raise ValueError("bearer(app): set ENTRA_CLIENT_ID first. Without it, no token can be for this app.")
    tenant = state.authority.expected.tenant_id or next(iter(sorted(config.allowed_tenants)), TENANT)
    usual = {
        **_usual(config, tenant, now),
        "aud": state.callers.audiences[0],
        "azp": "the-caller-of-a-test",
        "nbf": now,
    }
    if not scopes and roles:
        usual |= {"sub": "the-caller-of-a-test", "oid": str(uuid.uuid5(uuid.NAMESPACE_DNS, "caller")), "idtyp": "app"}
    else:
        usual |= {**_named(name), "scp" if config.entra else "scope": " ".join(scopes or ["access_as_user"])}
    usual |= {"roles": roles} if roles else {}
    private, key = _signing_key()
    issuer = usual["iss"] if config.entra else config.issuer_address
    addresses = {name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    state.authority.trust({"issuer": issuer, **addresses}, key)
    usual["iss"] = state.authority.provider.issuer.replace("{tenantid}", tenant)
    given = {claim: value for claim, value in {**usual, **(claims or {})}.items() if value is not None}
    token = jwt.encode(given, private, key.algorithm, {"kid": key.kid, "typ": "JWT" if config.entra else "at+jwt"})
    if wanted := list(on_behalf_of):
        access_token = access_token or f"access-token-of-a-test-{secrets.token_hex(8)}"
        state.on_behalf_of.keep(Caller(token, given), wanted, as_token(access_token, None, SECONDS))
    return {"Authorization": f"Bearer {token}"}


def _are_lists(**arguments: Iterable[str] | None) -> None:
    for name, value in arguments.items():
        if isinstance(value, str):
            raise TypeError(f"{name}={value!r} is a text, which is read letter by letter. Write {name}=[{value!r}].")


def _usual(config: Config, tenant: str, now: int) -> dict[str, Any]:
    """The claims of every token."""
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    return {"iss": issuer, "aud": config.client_id, "tid": tenant, "iat": now, "exp": now + SECONDS}


def _named(name: str) -> dict[str, Any]:
    """The claims about a person."""
    return {
        "sub": hashlib.sha256(name.encode()).hexdigest()[:43],
        "oid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "preferred_username": f"{name.lower().replace(' ', '.')}@example.com",
    }


@cache
def _signing_key() -> tuple[rsa.RSAPrivateKey, Key]:
    private = rsa.generate_private_key(65537, 2048)
    return private, Key(private.public_key(), "the-key-of-a-test", "RSA", "RS256")


def _asked_for(app: Flask, usual: list[str]) -> list[list[str]]:
    """The scopes of each view, and those of the setting `SCOPE`."""
    guards = [guard_of(app, endpoint) for endpoint in app.view_functions]
    needs = [each.scopes for each in guards if isinstance(each, Requirement)]
    return [usual, *(scopes for scopes in needs if scopes and scopes is not DEFAULT_SCOPES)]


def _cache(granted: list[list[str]], access_token: str, now: int) -> str:
    """MSAL's token cache with an access token for each list of scopes."""
    entries = {
        str(number): {
            "secret": access_token,
            "target": " ".join(scopes),
            "token_type": "Bearer",
            "cached_at": str(now),
            "expires_on": str(now + SECONDS),
        }
        for number, scopes in enumerate(granted)
    }
    return json.dumps({msal.TokenCache.CredentialType.ACCESS_TOKEN: entries})


try:
    import pytest
except ImportError:  # without pytest, the function alone
    pass
else:

    @pytest.fixture
    def sign_in_as(client: FlaskClient) -> Callable[..., dict[str, Any]]:
        """`sign_in`, with the fixture `client`."""

        def sign_in_as(**person: Any) -> dict[str, Any]:
            return sign_in(client, **person)

        return sign_in_as

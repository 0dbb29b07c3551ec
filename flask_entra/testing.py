"""For the tests of an app: somebody who is signed in, without a tenant and without a browser.

    from flask_entra.testing import sign_in

    def test_orders(client):                        # Flask's test client
        sign_in(client, roles=["Orders.Approve"])
        assert client.get("/orders").status_code == 200

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
from typing import Any

import msal
from flask import Flask
from flask.testing import FlaskClient

from flask_entra.config import KEY
from flask_entra.sessions.interface import SealedSessionInterface
from flask_entra.signin.authorization import DEFAULT_SCOPES, Requirement
from flask_entra.signin.current_user import USER, VOUCHED_UNTIL
from flask_entra.signin.guards import guard_of
from flask_entra.signin.token_cache import TOKEN_CACHE

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

    :param client: of an app that `Auth.init_app` was called for. Its settings need not be complete.
    :param name: of the person. The same name is the same person: `oid` and `sub` follow from it.
    :param roles: app roles.
    :param groups: object ids of groups, or names of the setting `GROUPS`.
    :param scopes: those that the person has granted; None grants whatever a view asks for, except more than one API at once.
    :param claims: further claims of the ID token, or others instead of the usual ones, such as `{"acrs": ["c1"]}` for a view with
        an authentication context. None as a value leaves a claim out.
    :param access_token: what views get as the access token, and send to APIs; None makes one.
    :return: the claims of the ID token, as `auth.user` gives them.
    :raises TypeError: the app has no sealed sessions, because `Auth.init_app` was not called for it.
    """
    app = client.application
    if not isinstance(app.session_interface, SealedSessionInterface):
        raise TypeError("sign_in(client): call auth.init_app(app) for the app of this client first.")
    config, now = app.extensions[KEY].config, int(time.time())
    tenant = next(iter(sorted(config.allowed_tenants)), TENANT)
    usual: dict[str, Any] = {
        "iss": f"https://login.microsoftonline.com/{tenant}/v2.0",
        "aud": config.client_id,
        "sub": hashlib.sha256(name.encode()).hexdigest()[:43],
        "oid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "tid": tenant,
        "name": name,
        "preferred_username": f"{name.lower().replace(' ', '.')}@example.com",
        "auth_time": now,
        "iat": now,
        "exp": now + SECONDS,
    }
    usual |= {"roles": list(roles)} if roles else {}
    usual |= {"groups": [config.groups.get(each, each) for each in groups]} if groups else {}
    user = {claim: value for claim, value in {**usual, **(claims or {})}.items() if value is not None}
    access_token = access_token or f"access-token-of-a-test-{secrets.token_hex(8)}"
    granted = [list(scopes)] if scopes is not None else _asked_for(app, config.scope)
    session = app.session_interface.new_session()
    session.update({USER: user, VOUCHED_UNTIL: user["exp"], TOKEN_CACHE: _cache(granted, access_token, now)})
    session.save()
    with app.test_request_context() as context:
        cookie, domain = app.session_interface.cookie(), context.request.host.partition(":")[0]
    client.set_cookie(cookie["key"], session.sid, domain=domain, path=cookie["path"], secure=cookie["secure"])
    return user


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

"""Who is signed in, and how long the authority's word on that counts: asks nobody but the session."""

from __future__ import annotations

import time
from typing import Any, cast

import flask
from flask import current_app, request

from flask_entra.config import KEY
from flask_entra.sessions.session import Session
from flask_entra.signin import audit
from flask_entra.signin.id_token import LEEWAY_SECONDS

# Where the session keeps the ID token's claims: identity's own name.
USER = "_logged_in_user"
# And our own: until when (Unix seconds) the authority has vouched for the person, and for what userinfo told of their roles and
# groups since the ID token (by claim); and the userinfo endpoint, if it has one.
VOUCHED_UNTIL, RIGHTS_UNTIL, USERINFO = "_vouched_until", "_rights_until", "_userinfo"
# In the environment of a request: its bearer token decides, and not the session.
BY_TOKEN = "flask_entra.by_token"  # noqa: S105  no token

session = cast(Session, flask.session)


def get_user() -> dict[str, Any] | None:
    """The ID token's claims of the person who is signed in, or None. Asks nobody but the session.

    A person whose tenant has been taken out of `ALLOWED_TENANTS` since they signed in is signed out. Where a bearer token
    decides, nobody is signed in, whatever the session says.
    """
    if BY_TOKEN in request.environ:
        return None
    user: dict[str, Any] | None = session.get(USER)
    allowed = current_app.extensions[KEY].config.allowed_tenants
    if user and allowed and str(user.get("tid")).lower() not in allowed:
        audit.write("signed_out", user, "the tenant is no longer one of ALLOWED_TENANTS")
        session.clear()
        return None
    return user


def is_current(user: dict[str, Any]) -> bool:
    """Whether the authority has vouched for the person who makes the present request until now, or longer."""
    return bool(session.get(VOUCHED_UNTIL, user["exp"]) + LEEWAY_SECONDS >= time.time())


def is_told_now(user: dict[str, Any], claim: str) -> bool:
    """Whether the authority has told of the person's roles, or groups, no longer ago than an ID token lives.

    To vouch for a person, as a refresh without an ID token does (OpenID Connect Core, 12.2), says nothing about their rights.

    :param user: the claims of the person who makes the present request.
    :param claim: `roles` or `groups`.
    """
    until = max(user["exp"], session.get(RIGHTS_UNTIL, {}).get(claim, 0))
    return bool(until + LEEWAY_SECONDS >= time.time())

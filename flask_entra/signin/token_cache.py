"""MSAL's token cache in the session: which access tokens it holds, and until when they are good."""

from __future__ import annotations

import time
from typing import Any, cast

import flask
import msal
import msgspec

from flask_entra.scopes import missing_scopes
from flask_entra.sessions.session import Session

TOKEN_CACHE = "_token_cache"  # noqa: S105  identity's own name for it in the session, and no token
# Before expiry, from when on a token is renewed, and from when on it is not used any more: so many seconds at most, and no
# more than a share of its life. A token that lives for five minutes is not due at once.
RENEW_SECONDS, LAST_SECONDS, MARGIN_SHARE = 300, 10, 0.1

session = cast(Session, flask.session)


def cached(scopes: list[str], at_most: int = RENEW_SECONDS) -> dict[str, Any] | None:
    """The newest access token for some scopes that does not expire soon. MSAL would find it, 20 times slower.

    :param scopes: those that it must have been given for.
    :param at_most: how many seconds before its expiry it is not good any more, if it lives long.
    :return: `access_token`, `token_type` and `expires_in` (seconds), or None.
    """
    now = time.time()
    good = [
        entry
        for entry in _entries(msal.TokenCache.CredentialType.ACCESS_TOKEN)
        if int(entry["expires_on"]) - _margin(entry, at_most) > now
        and not missing_scopes(scopes, entry["target"].split())
    ]
    if not good:
        return None
    newest = max(reversed(good), key=lambda entry: int(entry["cached_at"]))  # of several in one second, the last
    return as_token(newest["secret"], newest.get("token_type"), int(newest["expires_on"]) - int(now))


def granted() -> list[tuple[list[str], int]]:
    """The access tokens that the session holds, without the tokens: the scopes of each and when it expires (Unix seconds)."""
    entries = _entries(msal.TokenCache.CredentialType.ACCESS_TOKEN)
    return [(entry["target"].split(), int(entry["expires_on"])) for entry in entries]


def refreshable() -> list[list[str]]:
    """The scopes that each refresh token in the session was given for."""
    return [entry["target"].split() for entry in _entries(msal.TokenCache.CredentialType.REFRESH_TOKEN)]


def newest_id_token() -> str | None:
    """The person's newest ID token, as it came."""
    entries = _entries(msal.TokenCache.CredentialType.ID_TOKEN)
    return entries[-1]["secret"] if entries else None


def as_token(access_token: str, token_type: str | None, expires_in: float) -> dict[str, Any]:
    """An access token as a view's `context` has it."""
    return {"access_token": access_token, "token_type": token_type or "Bearer", "expires_in": int(expires_in)}


def _entries(kind: str) -> list[dict[str, Any]]:
    cache = msgspec.json.decode(session.get(TOKEN_CACHE) or "{}")
    return list(cache.get(kind, {}).values())


def _margin(entry: dict[str, Any], at_most: int) -> float:
    """How many seconds before its expiry an access token is due: at least one, because its times are whole seconds."""
    lifetime = int(entry["expires_on"]) - int(entry["cached_at"])
    return max(1.0, min(at_most, lifetime * MARGIN_SHARE))

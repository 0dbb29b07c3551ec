"""The validation of a logout token, by which a provider tells that somebody has signed out there.

OpenID Connect Back-Channel Logout 1.0, 2.6: as an ID token is validated, and more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from flask_entra.signin import id_token
from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import IdTokenRefused
from flask_entra.signin.id_token import Expected, Key
from flask_entra.signin.provider import Provider

LONGEST = 16 * 1024  # characters
OLDEST_SECONDS = 24 * 3600  # since it was issued; the specification recommends that it lives for two minutes
EVENT = "http://schemas.openid.net/event/backchannel-logout"
_KINDS = (
    "JWT",
    "LOGOUT+JWT",
    "APPLICATION/LOGOUT+JWT",
)  # the first of a provider from before the specification was final
_REQUIRED = ["iss", "aud", "iat", "exp", "jti", "events"]


def validate(token: str, authority: Authority) -> dict[str, Any]:
    """Validate a logout token, except for whether it has come before (`jti`).

    :param token: as it came.
    :param authority: what must have issued it.
    :return: its claims, among them `sid`, `sub` or both.
    :raises IdTokenRefused: it fails a check.
    :raises AuthorityUnavailable: the keys are not known, and cannot be fetched.
    """
    if len(token) > LONGEST:
        raise IdTokenRefused("it is too long")
    provider = authority.provider
    return authority.with_keys(token, lambda keys: _validated(token, keys, provider, authority.expected), stranger=True)


def _validated(token: str, keys: Sequence[Key], provider: Provider, expected: Expected) -> dict[str, Any]:
    options = {"require": _REQUIRED}
    claims, key = id_token.verified(
        token, keys, provider.algorithms, _KINDS, audience=expected.client_id, options=options
    )
    _Claims(claims, key, provider.issuer, expected).validate()
    return claims


class _Claims(id_token.Claims):
    """The claims of a logout token whose signature, audience and times hold."""

    def validate(self) -> None:
        self.validate_times()
        self.validate_age()
        self.validate_azp()
        self.validate_iss()
        self.validate_event()
        self.validate_whose()
        self.validate_jti()

    def validate_age(self) -> None:
        """It is young: what has come before is not remembered for ever."""
        if self._claims["iat"] < time.time() - OLDEST_SECONDS:
            raise IdTokenRefused("it was issued more than a day ago (iat)")

    def validate_event(self) -> None:
        """It tells of a sign-out, and is no ID token."""
        events = self._claims["events"]
        if not (isinstance(events, dict) and isinstance(events.get(EVENT), dict)):
            raise IdTokenRefused("it tells of no sign-out (events)")
        if "nonce" in self._claims:
            raise IdTokenRefused("it is an ID token (nonce)")

    def validate_whose(self) -> None:
        """It names a session, a person or both."""
        named = [self._claims[name] for name in ("sid", "sub") if name in self._claims]
        if not named or not all(isinstance(each, str) and each.strip() for each in named):
            raise IdTokenRefused("it names neither a session (sid) nor a person (sub)")

    def validate_jti(self) -> None:
        """It can be told from others."""
        if not (isinstance(self._claims["jti"], str) and self._claims["jti"].strip()):
            raise IdTokenRefused("it has no identifier (jti)")

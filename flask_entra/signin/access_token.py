"""The validation of an access token for this app, which another app sends as a bearer token.

RFC 9068 (JWT profile for access tokens), RFC 8725 (best current practices for JWT);
https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens and access-token-claims-reference
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jwt

from flask_entra.clouds import GRAPH_AUDIENCES
from flask_entra.signin import id_token
from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import IdTokenRefused
from flask_entra.signin.id_token import Expected, Key
from flask_entra.signin.issuer import version_1
from flask_entra.signin.provider import Provider

LONGEST = 16 * 1024  # characters; Entra's own limit for the roles and groups of a token keeps it well below
KINDS = ("JWT", "AT+JWT", "APPLICATION/AT+JWT")  # Entra's tokens say JWT, those of RFC 9068 one of the others
_PROFILE = KINDS[1:]
# What only an ID token has (OpenID Connect Core, 2, 3.1.3.6 and 3.3.2.11; FAPI 1.0 part 2, 5.1), or a logout token or another
# security event (RFC 8417, 2.2). They have this app's id as their audience too, and none says what the sender may do.
_OF_OTHERS = {
    **dict.fromkeys(("nonce", "at_hash", "c_hash", "s_hash"), "an ID token"),
    "events": "a security event token",
}


def audiences(client_id: str, more: Collection[str]) -> list[str]:
    """The audiences of tokens for this app: its id, its usual Application ID URI, and others.

    :param client_id: this app's; empty while it has none.
    :param more: the setting `API_AUDIENCE`.
    """
    own = [client_id, f"api://{client_id}"] if client_id else []
    return [*own, *(each for each in more if each.rstrip("/") not in GRAPH_AUDIENCES)]


def validate(token: str, authority: Authority, accepted: list[str]) -> dict[str, Any]:
    """Validate an access token for this app.

    :param token: as it came.
    :param authority: what must have issued it.
    :param accepted: the audiences of which it must be for one.
    :return: its claims.
    :raises IdTokenRefused: it fails a check.
    :raises AuthorityUnavailable: the keys are not known, and cannot be fetched.
    """
    if len(token) > LONGEST:
        raise IdTokenRefused("it is too long")
    try:
        with authority.spared():
            provider = authority.provider
            return authority.with_keys(
                token, lambda keys: _validated(token, keys, provider, authority.expected, accepted), stranger=True
            )
    except IdTokenRefused as error:
        if clock := authority.wrong_clock:
            raise IdTokenRefused(f"{error}; {clock}") from error.__cause__
        raise


def _validated(
    token: str, keys: Sequence[Key], provider: Provider, expected: Expected, accepted: list[str]
) -> dict[str, Any]:
    claims, key = id_token.verified(
        token,
        keys,
        provider.algorithms,
        KINDS,
        audience=accepted,
        options={"require": ["iss", "aud", "exp", "iat", "sub"]},
    )
    kind = str(jwt.get_unverified_header(token).get("typ", "JWT")).upper()
    _Claims(claims, key, provider, expected, kind).validate()
    return claims


def scopes_of(claims: dict[str, Any]) -> list[str]:
    """The delegated permissions in an access token: `scp` at Entra, `scope` elsewhere (RFC 9068, 2.2.3)."""
    value = claims.get("scp", claims.get("scope"))
    listed = value.split() if isinstance(value, str) else value
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def is_app_only(claims: dict[str, Any]) -> bool:
    """Whether a validated access token is for an app by itself, without a person."""
    of_the_client = (claims.get("client_id"), claims.get("azp"))  # RFC 9068, 2.2: its subject is the client then
    return claims.get("idtyp") == "app" or not scopes_of(claims) or claims["sub"] in of_the_client


class _Claims(id_token.Claims):
    """The claims of an access token whose signature, audience and times hold.

    :param kind: what the token declares itself to be (`typ`), in capitals.
    """

    def __init__(self, claims: dict[str, Any], key: Key, provider: Provider, expected: Expected, kind: str):
        super().__init__(claims, key, provider.issuer, expected)
        self._entra, self._kind = provider.entra, kind

    def validate(self) -> None:
        self.validate_times()
        self.validate_sub()
        self.validate_kind()
        self.validate_tid()
        self.validate_iss()
        self.validate_allowed()

    def validate_kind(self) -> None:
        """It is an access token, for a person or for an app. An ID token of this app has the same issuer, audience and key."""
        for name, kind in _OF_OTHERS.items():
            if name in self._claims:
                raise IdTokenRefused(f"it is {kind} ({name})")
        if "scp" in self._claims or (not self._entra and "scope" in self._claims):
            if not scopes_of(self._claims) or (self._entra and not isinstance(self._claims["scp"], str)):
                raise IdTokenRefused("its permissions (scp) are not text")
            if self._claims.get("idtyp", "user") != "user":
                raise IdTokenRefused("it has permissions (scp) without a person (idtyp)")
        elif not (self._is_of_an_app() if self._entra else self._kind in _PROFILE):
            raise IdTokenRefused(
                "it is no access token: it has neither permissions (scp) nor the marks of an app's own"
            )

    def _is_of_an_app(self) -> bool:
        idtyp = self._claims.get("idtyp")  # an optional claim; without it, an app's own token has roles and no scp
        has_client = any(isinstance(self._claims.get(name), str) for name in ("azp", "appid"))
        return bool(idtyp == "app" or (idtyp is None and has_client and self._claims.get("roles")))

    def validate_iss(self) -> None:
        """The issuer is the authority's, by its name of either version: the app registration chooses that of its tokens."""
        published = self._issuer.replace("{tenantid}", self._tid or "")
        names = [published]
        if self._entra and (older := version_1(published, self._tid or "")):
            names.append(older)
        if self._claims["iss"] not in names:
            raise IdTokenRefused("its issuer (iss) is not the authority's")
        # A key names the issuer that it may sign for by its name of version 2.0.
        own = self._key.issuer if "{tenantid}" in self._issuer else None
        if own and own.replace("{tenantid}", self._tid or "") != published:
            raise IdTokenRefused("its issuer (iss) is not the one of its key")

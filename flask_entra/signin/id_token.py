"""The validation of an ID token, which MSAL (1.38 and newer) leaves to the application: a method for each check.

OpenID Connect Core 1.0, 3.1.3.7; RFC 8725 (best current practices for JWT);
https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens (the same rules for `tid` and `iss`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from jwt.utils import base64url_decode, base64url_encode

from flask_entra.clouds import GUID
from flask_entra.signin.errors import IdTokenRefused, TenantNotAllowed

LEEWAY_SECONDS = 120
SHORTEST_KEY_BITS = 2048
LAST_SECOND = 253_402_300_800  # the end of the year 9999
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}  # what signs, by the first letters of the algorithm


class NoKeyFits(IdTokenRefused):
    """None of the keys has made the signature: the authority may sign with a new one."""


@dataclass(frozen=True)
class Key:
    """A key that the authority publishes.

    :ivar key: the public key, as PyJWT takes it.
    :ivar kid: its id, if it has one.
    :ivar kind: `RSA`, `EC` or `OKP` (RFC 7517, 4.1).
    :ivar algorithm: the only one that it is for; None for any of its kind.
    :ivar issuer: Entra's addition: the issuer that may sign with it, in which `{tenantid}` stands for any tenant; or None.
    """

    key: Any
    kid: str | None
    kind: str
    algorithm: str | None = None
    issuer: str | None = None

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Key | None:
        """A key out of a key set (RFC 7517, 5).

        :return: None for one that is not for signatures.
        :raises jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError: it cannot be used.
        """
        if entry["kty"] not in _KINDS.values() or entry.get("use", "sig") != "sig":
            return None
        # PyJWT would refuse a key for an algorithm that it does not know, so it is told only what the key is made of.
        key = jwt.PyJWK({name: value for name, value in entry.items() if name != "alg"}).key
        if entry["kty"] == "RSA" and key.key_size < SHORTEST_KEY_BITS:  # RFC 7518, 3.3
            raise ValueError("too short")
        named = [entry.get(name) for name in ("kid", "alg", "issuer")]
        if not all(each is None or isinstance(each, str) for each in named):
            raise TypeError("kid, alg or issuer is no text")
        kid, algorithm, issuer = named
        return cls(key, kid, entry["kty"], algorithm, issuer)

    def fits(self, header: dict[str, Any]) -> bool:
        """Whether a token with this header can be signed with it. One that names no key may be (Core, 10.1)."""
        named = header.get("kid")
        algorithm = header["alg"]
        return (
            (named is None or self.kid in (None, named))
            and self.kind == _KINDS[algorithm[:2]]
            and self.algorithm in (None, algorithm)
        )


@dataclass(frozen=True)
class Expected:
    """What an ID token is held against.

    :ivar client_id: this app's, which must be the audience.
    :ivar tenant_id: the tenant that the authority names, when it names one by GUID.
    :ivar allowed_tenants: when not empty, the only tenants whose people may sign in. In lower case.
    """

    client_id: str
    tenant_id: str | None = None
    allowed_tenants: frozenset[str] = frozenset()


def key_id(token: object) -> str | None:
    """The `kid` of the key that a token says it is signed with; None when it does not say.

    :raises IdTokenRefused: it is not a token.
    """
    with _refused():
        return jwt.get_unverified_header(token).get("kid")  # type: ignore[arg-type]  # anything may have come


def validate(
    id_token: object, keys: Sequence[Key], algorithms: Collection[str], issuer: str, expected: Expected
) -> dict[str, Any]:
    """Validate an ID token, except for its nonce, which MSAL checks.

    :param id_token: as the token endpoint sent it.
    :param keys: those that the authority publishes.
    :param algorithms: the signatures that are accepted (`Provider.algorithms`).
    :param issuer: as the authority publishes it. `{tenantid}` in it stands for the person's tenant.
    :param expected: what the claims are held against.
    :return: the claims.
    :raises NoKeyFits: none of the keys has signed it.
    :raises TenantNotAllowed: it passes all checks but for the tenants that may sign in.
    :raises IdTokenRefused: it fails another check.
    """
    required = {"require": ["iss", "aud", "exp", "iat", "sub"]}
    claims, key = verified(id_token, keys, algorithms, audience=expected.client_id, options=required)
    Claims(claims, key, issuer, expected).validate()
    return claims


def verified(
    token: object, keys: Sequence[Key], algorithms: Collection[str], kinds: Collection[str] = ("JWT",), **wanted: Any
) -> tuple[dict[str, Any], Key]:
    """The claims of a signed token, and the key that has signed it. Where several keys fit, each is tried.

    The token is of one of the kinds, and its claims can be stored and shown.

    :param kinds: the values of `typ` that are accepted, in capitals. A token that declares none is a JWT.
    :param wanted: what else is checked, as PyJWT takes it.
    :raises NoKeyFits: none of the keys has signed it.
    :raises IdTokenRefused: it fails another check.
    """
    with _refused():
        header = jwt.get_unverified_header(token)  # type: ignore[arg-type]  # anything may have come
        parts = str(token).split(".")
        decoded = list(map(base64url_decode, parts))
        # PyJWT takes padding and other spellings of the same bytes too (RFC 7515, 2), and UTF-16 (RFC 8725, 3.7).
        if [base64url_encode(each).decode() for each in decoded] != parts:
            raise IdTokenRefused("it is not spelled as a JWT is (base64url)")
        if any(json.detect_encoding(each) != "utf-8" for each in decoded[:2]):
            raise IdTokenRefused("it is not encoded in UTF-8")
        # RFC 8725, 3.11: another kind of token from the same authority, with the same key.
        if str(header.get("typ", "JWT")).upper() not in kinds:
            raise IdTokenRefused("it is a token of another kind (typ)")
        if header.get("alg") not in algorithms:
            raise IdTokenRefused("it is signed in a way that the authority does not announce (alg)")
        for key in keys:
            if key.fits(header):
                with contextlib.suppress(jwt.InvalidSignatureError, jwt.InvalidKeyError):
                    claims = jwt.decode(
                        token,  # type: ignore[arg-type]  # anything may have come
                        key.key,
                        algorithms=[header["alg"]],
                        leeway=LEEWAY_SECONDS,
                        **wanted,
                    )
                    _check_text(claims)
                    return claims, key
    raise NoKeyFits("it is signed with a key that the authority does not publish (kid)")


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except jwt.PyJWTError as error:
        raise IdTokenRefused(str(error)) from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:  # it has not even the shape of a token
        raise IdTokenRefused("it is not a JWT") from error


def _check_text(claims: dict[str, Any]) -> None:
    """Refuse claims that cannot be stored and shown."""
    try:
        msgspec.msgpack.encode(claims)
    except (UnicodeEncodeError, OverflowError) as error:  # a lone surrogate, a number of more than 64 bits
        raise IdTokenRefused("its claims are not text") from error


class Claims:
    """The claims of an ID token whose signature, audience and times hold."""

    def __init__(self, claims: dict[str, Any], key: Key, issuer: str, expected: Expected):
        self._claims, self._key, self._issuer, self._expected = claims, key, issuer, expected
        self._tid = claims.get("tid")

    def validate(self) -> None:
        self.validate_times()
        self.validate_sub()
        self.validate_azp()
        self.validate_tid()
        self.validate_iss()
        self.validate_allowed()

    def validate_times(self) -> None:
        """The times are numbers (RFC 7519, 2) and times that there are. PyJWT's own check also takes them from a text."""
        for name in ("exp", "iat", "nbf"):
            value = self._claims.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LAST_SECOND:
                raise IdTokenRefused(f"its time ({name}) is no such number")

    def validate_sub(self) -> None:
        """The person has an identifier (OpenID Connect Core, 2)."""
        if not self._claims["sub"].strip():
            raise IdTokenRefused("its subject (sub) is empty")

    def validate_azp(self) -> None:
        """The token was issued to this app: it says so, or this app is its only audience."""
        client_id = self._expected.client_id
        only_us = self._claims["aud"] in (client_id, [client_id])
        if self._claims.get("azp", client_id if only_us else None) != client_id:
            raise IdTokenRefused("it was issued to another app (azp)")

    def validate_tid(self) -> None:
        """The tenant, if there is one, is a GUID, and the authority's own."""
        tid = self._tid
        if tid is not None and not (isinstance(tid, str) and GUID.fullmatch(tid)):
            raise IdTokenRefused("its tenant (tid) is not a GUID")
        tenant = (tid or "").lower()
        if self._expected.tenant_id and tenant != self._expected.tenant_id.lower():
            raise IdTokenRefused("its tenant (tid) is not the authority's")

    def validate_allowed(self) -> None:
        """The tenant is one that may sign in. This is the last check, so that the page may say whose tenant it is."""
        allowed = self._expected.allowed_tenants
        if allowed and (self._tid or "").lower() not in allowed:
            raise TenantNotAllowed(self._claims)

    def validate_iss(self) -> None:
        """The issuer is the authority's, and the key's where the authority speaks for many tenants."""
        # `common` and `organizations` publish an issuer with {tenantid} in it, which stands for the person's tenant. Each
        # key then names the issuer that it may sign for.
        for issuer in (self._issuer, self._key.issuer if "{tenantid}" in self._issuer else None):
            if issuer and self._claims["iss"] != issuer.replace("{tenantid}", self._tid or ""):
                raise IdTokenRefused("its issuer (iss) is not the authority's")

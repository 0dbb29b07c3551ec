"""The app's credentials at the token endpoint: a secret, a certificate, or a token of another issuer.

RFC 6749 section 2.3 and RFC 7523 section 2.2. Authlib's own checks only say "no"; Entra says what is wrong.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from werkzeug.datastructures import Authorization

from .errors import EntraError, missing, unknown_client
from .keys import peek, verify
from .registration import Registration

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 15 * 60  # the longest life of an assertion by certificate
CLOCK_SKEW_SECONDS = 300  # two clocks may differ by as much


def authenticate(
    registration: Registration, form: Mapping[str, str], basic: Authorization | None, audiences: set[str]
) -> None:
    """Authenticate the client of a token request.

    :param registration: the app registration.
    :param form: the request's form.
    :param basic: the request's `Authorization` header, if it has one.
    :param audiences: the values of `aud` that an assertion by certificate may have.
    :raises EntraError: the client is not the registered app, or does not prove it.
    """
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if basic is not None and basic.type == "basic":
        # RFC 6749 section 2.3.1: both parts are form-encoded first.
        client_id, secret = unquote_plus(basic.username or ""), unquote_plus(basic.password or "")
    assertion = form.get("client_assertion")
    if not client_id and assertion:
        client_id = _peek(assertion)[1].get("sub")
    if not client_id:
        raise missing("client_id")
    if client_id != registration.client_id:
        raise unknown_client(client_id)
    if registration.public_client:
        if secret or assertion:
            message = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."
            raise EntraError("invalid_client", 700025, message, 401)
    elif assertion:
        if form.get("client_assertion_type") != JWT_BEARER:
            raise missing("client_assertion_type")
        _check_assertion(registration, assertion, audiences)
    else:
        _check_secret(registration, secret)


def _check_secret(registration: Registration, secret: str | None) -> None:
    """Check a client secret.

    :raises EntraError: it is missing, wrong, revoked or expired.
    """
    if not secret:
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise EntraError("invalid_client", 7000218, message, 401)
    known = filter(None, (registration.client_secret, registration.second_client_secret))
    right = any(hmac.compare_digest(secret.encode(), each.encode()) for each in known)
    if not right or registration.client_secret_state == "revoked":
        message = (
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
            f"value, not the client secret ID, for a secret added to app '{registration.client_id}'."
        )
        raise EntraError("invalid_client", 7000215, message, 401)
    if registration.client_secret_state == "expired":
        message = (
            f"The provided client secret keys for app '{registration.client_id}' are expired. Visit the Azure portal "
            "to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate "
            "credentials for added security: https://aka.ms/certCreds."
        )
        raise EntraError("invalid_client", 7000222, message, 401)


def _peek(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of an assertion that is not verified yet."""
    try:
        return peek(assertion)
    except ValueError as error:
        message = "Client assertion is malformed: it is not a JSON Web Token."
        raise EntraError("invalid_client", 50027, message, 401) from error


def _check_assertion(registration: Registration, assertion: str, audiences: set[str]) -> None:
    """Check a client assertion, by a registered certificate or of another issuer.

    The same `jti` may come again: MSAL uses an assertion for as long as it is valid, and Entra accepts that.

    :raises EntraError: it fails a check.
    """
    header, claims = _peek(assertion)
    if claims.get("iss") != registration.client_id:
        _check_federation(registration, assertion, claims)
        return
    thumbprint = header.get("x5t#S256") or header.get("x5t")
    # MSAL leaves the padding on, against RFC 7515 section 2, and Entra accepts it.
    certificate = registration.certificates.get(str(thumbprint).rstrip("="))
    if certificate is None:
        message = (
            "The certificate with identifier used to sign the client assertion is not registered on application. "
            f"[Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
        )
        raise EntraError("invalid_client", 700027, message, 401)
    try:
        verify(assertion, certificate, ("RS256", "PS256"))
    except ValueError as error:
        message = "Client assertion failed signature validation. [Reason - The provided signature value is wrong.]"
        raise EntraError("invalid_client", 700027, message, 401) from error
    if claims.get("sub") != registration.client_id:
        message = "Client assertion contains an invalid subject: 'sub' must equal 'iss'."
        raise EntraError("invalid_client", 700021, message, 401)
    if claims.get("aud") not in audiences:
        message = f"Client assertion audience claim does not match Realm issuer: '{claims.get('aud')}'."
        raise EntraError("invalid_client", 700023, message, 401)
    if not claims.get("jti"):
        raise EntraError("invalid_client", 50027, "Client assertion has no 'jti'.", 401)
    _check_times(claims, ASSERTION_SECONDS)


def _check_federation(registration: Registration, assertion: str, claims: dict[str, Any]) -> None:
    """Check the token of another issuer against the federated credentials.

    https://learn.microsoft.com/entra/workload-id/workload-identity-federation

    :raises EntraError: it matches none of them, or fails a check.
    """
    issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
    candidates = [federation for federation in registration.federations if federation.issuer == issuer]
    if not candidates:
        message = f"No matching federated identity record found for presented assertion issuer '{issuer}'."
        raise EntraError("invalid_client", 70021, message, 401)
    audiences = audience if isinstance(audience, list) else [audience]
    for federation in candidates:
        if federation.subject == subject and federation.audience in audiences:
            try:
                verify(assertion, federation.public_key_pem)
            except ValueError as error:
                message = "Client assertion failed signature validation."
                raise EntraError("invalid_client", 700027, message, 401) from error
            _check_times(claims, None)
            return
    message = (
        f"No matching federated identity record found for presented assertion subject '{subject}'. Check "
        "your federated identity credential Subject, Audience and Issuer against the presented assertion."
    )
    raise EntraError("invalid_client", 700213, message, 401)


def _check_times(claims: dict[str, Any], longest: float | None) -> None:
    """Check `exp`, `nbf` and `iat`.

    :param claims: the assertion's claims.
    :param longest: the seconds that it may be valid for, or None for any time.
    :raises EntraError: AADSTS700024, it is not valid now, or valid for too long.
    """
    now = time.time()
    if not _is_valid_at(now, claims, longest):
        message = (
            "Client assertion is not within its valid time range. Expiry time of assertion is "
            f"{claims.get('exp')}, current time is {now:.0f}."
        )
        raise EntraError("invalid_client", 700024, message, 401)


def _is_valid_at(now: float, claims: dict[str, Any], longest: float | None) -> bool:
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if claims.get(name) is not None}
    if "exp" not in times or not all(isinstance(value, (int, float)) for value in times.values()):
        return False
    begin, end = times.get("nbf", times.get("iat", now)), times["exp"]
    in_time: bool = begin <= now + CLOCK_SKEW_SECONDS and now - CLOCK_SKEW_SECONDS < end
    return in_time and (longest is None or end - begin <= longest)

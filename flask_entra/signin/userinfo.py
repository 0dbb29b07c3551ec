"""What the authority tells about a person at its userinfo endpoint (OpenID Connect Core, 5.3)."""

from __future__ import annotations

from typing import Any

from flask_entra.bearer import InvalidToken
from flask_entra.http_client import JsonObject
from flask_entra.signin import id_token
from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import AuthorityUnavailable, IdTokenRefused
from flask_entra.signin.provider import ALGORITHMS

LONGEST = 64 * 1024  # bytes of an answer


def ask(authority: Authority, url: str, access_token: str, subject: str) -> JsonObject:
    """The claims of a person.

    :param authority: what is asked.
    :param url: its userinfo endpoint.
    :param access_token: the person's.
    :param subject: the `sub` of their ID token, which the answer must have too (Core, 5.3.2 and 16.11).
    :return: the claims. They are no proof of who somebody is: only `sub` has been checked.
    :raises IdTokenRefused: they are another person's, or their signature does not hold.
    :raises InvalidToken: the authority does not accept the token.
    :raises AuthorityUnavailable: there is no such answer.
    """
    headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"}
    response = authority.fetch("GET", url, headers=headers, limit=LONGEST, person=access_token)
    if response.status_code == 401:
        raise InvalidToken("the userinfo endpoint does not accept the access token")
    if response.status_code != 200:
        raise AuthorityUnavailable(f"the userinfo endpoint answered {response.status_code}")
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/jwt":
        claims = JsonObject(_signed(authority, response.content.decode("ascii", "replace").strip()), response)
    else:
        claims = authority.json_object(response)
    if claims.get("sub") != subject:
        raise IdTokenRefused("the userinfo endpoint tells about another person (sub)")
    return claims


def _signed(authority: Authority, token: str) -> dict[str, Any]:
    """The claims of an answer that is a signed JWT. If `iss` or `aud` is present, it must match."""
    options: Any = {"verify_aud": False}
    claims, _key = authority.with_keys(token, lambda keys: id_token.verified(token, keys, ALGORITHMS, options=options))
    audience, issuer = claims.get("aud", authority.client_id), authority.provider.issuer
    if claims.get("iss", issuer) != issuer:
        raise IdTokenRefused("the userinfo endpoint's answer is another issuer's (iss)")
    if authority.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise IdTokenRefused("the userinfo endpoint's answer is for another app (aud)")
    return claims

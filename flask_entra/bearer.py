"""What an API says when it refuses a bearer token (RFC 6750, 3): read from another's answer, and written into this app's own.

https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable

# What cannot stand in a quoted string as it is (RFC 9110, 5.6.4).
_UNQUOTABLE = re.compile(r'[^ -~]|["\\]')

log = logging.getLogger(__name__)


class InvalidToken(Exception):
    """An API answered 401: it wants another token.

    :ivar claims: the claims challenge that came with it (JSON), or None.
    """

    claims: str | None = None


def claims_challenge(www_authenticate: str) -> str | None:
    """The `claims` of a `WWW-Authenticate` header with `error="insufficient_claims"`.

    :param www_authenticate: the header's value; empty when there is none.
    :return: the claims, decoded (JSON); None when there are none that can be read.
    """
    found = re.search(r'\bclaims="([^"]+)"', www_authenticate)
    if not found or "insufficient_claims" not in www_authenticate:
        return None
    try:
        claims = base64.b64decode(found[1] + "==", altchars=b"-_" if re.search("[-_]", found[1]) else None).decode()
        return claims if isinstance(json.loads(claims), dict) else None
    except (ValueError, RecursionError):
        log.warning("An API sent a claims challenge that cannot be read")
        return None


def merged_claims(*challenges: str | None) -> str | None:
    """Several claims challenges as one (OpenID Connect Core, 5.5). One that is not an object of objects is left out.

    :return: what all of them ask for (JSON); None when none asks for anything.
    """
    merged: dict[str, dict[str, object]] = {}
    for challenge in challenges:
        try:
            parts = json.loads(challenge or "{}")
            if not all(isinstance(part, dict) for part in parts.values()):
                raise TypeError
        except (ValueError, TypeError, AttributeError, RecursionError):
            log.warning("A claims challenge is not a JSON object of objects, and is left out")
            continue
        for name, part in parts.items():
            merged[name] = {**merged.get(name, {}), **part}
    return json.dumps(merged, separators=(",", ":")) if merged else None


def refusal(
    realm: str,
    error: str = "",
    scopes: Iterable[str] = (),
    claims: str | None = None,
    *,
    scheme: str = "Cookie",
    description: str = "",
) -> str:
    """A `WWW-Authenticate` header of this app's own.

    :param realm: what is protected: the app's host.
    :param error: a code of RFC 6750, 3.1, or Entra's `insufficient_claims`; empty when nobody is signed in.
    :param scopes: those that are needed.
    :param claims: a claims challenge to pass on (JSON); `claims_challenge` reads it again.
    :param scheme: `Bearer` where a bearer token decides, and only there; `Cookie` where a session does.
    :param description: what is wrong, for the developer of the caller.
    """
    parts = {
        "realm": realm,
        "error": "insufficient_claims" if claims else error,
        "error_description": description,
        "scope": " ".join(scopes),
        "claims": base64.b64encode(claims.encode()).decode() if claims else "",
    }
    said = [f'{name}="{_UNQUOTABLE.sub("", value)}"' for name, value in parts.items() if value]
    return f"{scheme} {', '.join(said)}"

"""Claims requests: the `claims` parameter (OpenID Connect Core 1.0 section 5.5)."""

from __future__ import annotations

import json
from typing import Any

from .errors import EntraError


def parse(text: str | None) -> dict[str, Any]:
    """Read a `claims` parameter.

    :param text: the parameter, or None when the request had none.
    :return: the object; empty when there is no parameter.
    :raises EntraError: AADSTS9002313, it is not a JSON object.
    """
    if not text:
        return {}
    try:
        claims = json.loads(text)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise EntraError("invalid_request", 9002313, "Invalid request. The parameter 'claims' is not valid JSON.")
    return claims


def contexts(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims of an ID token that meets the authentication contexts which were asked for: `acrs`, or none.

    https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context
    """
    asked = (claims.get("id_token") or {}).get("acrs") or {}
    met = [each for each in (asked.get("value"), *asked.get("values", [])) if each]
    return {"acrs": met} if met else {}


def merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Put two claims requests together, as far as they concern the access token. The second one takes precedence."""
    parts = [claims.get("access_token") or {} for claims in (one, other)]
    return {"access_token": {**parts[0], **parts[1]}}

"""The API that the app itself exposes (*Expose an API*): access tokens for it, as Entra gives them to another app.

https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from ..people import Person
from .keys import sign
from .tenant import Tenant, pairwise

CALLER_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "caller.contoso.example"))  # the other app's client id


def access_token(
    tenant: Tenant,
    person: Person | None,
    *,
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    version: str = "2.0",
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
) -> str:
    """Make an access token for the app, sent by another app.

    :param tenant: the tenant.
    :param person: on whose behalf; None for the other app by itself (client credentials).
    :param scopes: the delegated permissions, by their short names.
    :param roles: the app roles.
    :param version: "2.0", or "1.0", as the app's registration chooses (`requestedAccessTokenVersion`).
    :param claims: further claims, or others instead of the usual ones. None as a value leaves a claim out.
    :param header: header fields, likewise.
    :return: the token, signed with the tenant's key.
    """
    now, client_id = int(time.time()), tenant.registration.client_id
    tenant_id = tenant.addresses.tenant_id if person is None else person.tenant_id or tenant.addresses.tenant_id
    oid = str(uuid.uuid5(uuid.NAMESPACE_DNS, CALLER_ID)) if person is None else person.oid
    usual: dict[str, Any] = {
        "iat": now,
        "nbf": now,
        "exp": int(now + tenant.registration.access_token_lifetime),
        "oid": oid,
        "sub": oid if person is None else pairwise(person, client_id),
        "tid": tenant_id,
        "uti": secrets.token_urlsafe(16),
        "ver": version,
    }
    if version == "2.0":
        usual |= {"aud": client_id, "iss": tenant.addresses.issuer(tenant_id), "azp": CALLER_ID, "azpacr": "1"}
    else:
        older = f"https://sts.windows.net/{tenant_id}/"
        usual |= {"aud": f"api://{client_id}", "iss": older, "appid": CALLER_ID, "appidacr": "1"}
    if person is not None:
        name = "preferred_username" if version == "2.0" else "upn"
        usual |= {"scp": " ".join(scopes), "name": person.name, name: person.username}
    usual |= {"roles": list(roles)} if roles else {}
    given = {name: value for name, value in {**usual, **(claims or {})}.items() if value is not None}
    tenant.memory.claims_met[str(given.get("uti"))] = {}
    return sign(given, tenant.keys.current, dict(header or {}))

"""The documents that the tenant publishes: its metadata and its keys.

OpenID Connect Discovery 1.0 section 3 and RFC 7517 section 5, with Entra's additions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from .addresses import SHARED, Addresses
from .keys import SigningKey
from .scopes import OIDC


def metadata(addresses: Addresses, name: str, app_id: str | None = None) -> dict[str, Any]:
    """The discovery document.

    :param addresses: the tenant's names and URLs.
    :param name: the tenant's name in the URL.
    :param app_id: the app whose own keys the document is to point to; None for the tenant's.
    :return: the document.
    :raises EntraError: AADSTS90002, there is no such tenant.
    """
    tenant_id, path = addresses.id_of(name), addresses.name_in_urls(name)
    back, front = f"{addresses.back_url}/{path}", f"{addresses.front_url}/{path}"
    own = f"?{urlencode({'appid': app_id})}" if app_id else ""
    return {
        "token_endpoint": f"{back}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{back}/discovery/v2.0/keys{own}",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code"],
        "scopes_supported": list(OIDC),
        "issuer": addresses.issuer(tenant_id),
        "request_uri_parameter_supported": False,
        "authorization_endpoint": f"{front}/oauth2/v2.0/authorize",
        "end_session_endpoint": f"{front}/oauth2/v2.0/logout",
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "ver"],
        "tenant_region_scope": None if path in SHARED else "EU",
        "cloud_instance_name": "localhost",
        "cloud_graph_host_name": "localhost",
        "msgraph_host": addresses.back_url.removeprefix("https://"),
    }


def key_set(addresses: Addresses, keys: Iterable[SigningKey], name: str) -> dict[str, Any]:
    """The published keys.

    :param addresses: the tenant's names and URLs.
    :param keys: the keys.
    :param name: the tenant's name in the URL.
    :return: the JSON Web Key Set.
    :raises EntraError: AADSTS90002, there is no such tenant.
    """
    issuer = addresses.issuer(addresses.id_of(name))
    return {"keys": [key.jwk(issuer) for key in keys]}

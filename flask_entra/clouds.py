"""Microsoft's clouds: where Graph answers, and where people sign in."""

from __future__ import annotations

import re

from flask_entra.urls import is_loopback, origin, split_url

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

# Where Microsoft Graph answers, and where its cloud signs people in.
# https://learn.microsoft.com/graph/deployments
GRAPH_CLOUDS = {
    "graph.microsoft.com": "login.microsoftonline.com",
    "graph.microsoft.us": "login.microsoftonline.us",
    "dod-graph.microsoft.us": "login.microsoftonline.us",
    "microsoftgraph.chinacloudapi.cn": "login.partner.microsoftonline.cn",
}
# The audiences of its tokens, which are never meant for an app.
GRAPH_AUDIENCES = frozenset({"00000003-0000-0000-c000-000000000000", *(f"https://{host}" for host in GRAPH_CLOUDS)})
# Whom a token must be for that takes the place of a client secret, where the cloud is another than the worldwide one.
# https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
_EXCHANGE_AUDIENCES = {
    "login.microsoftonline.us": "api://AzureADTokenExchangeUSGov",
    "login.partner.microsoftonline.cn": "api://AzureADTokenExchangeChina",
}
# The names that stand for several tenants in an authority, and the hosts whose documents name each other.
SEVERAL_TENANTS = frozenset({"common", "organizations"})
WORLDWIDE_HOSTS = frozenset({"login.microsoftonline.com", "login.microsoft.com", "login.windows.net"})
V1_HOSTS = frozenset({"sts.windows.net", "sts.chinacloudapi.cn"})  # in the issuers of version 1.0


def is_microsoft(host: str | None) -> bool:
    """Whether a host is one where Microsoft signs people in."""
    # Here, because the settings are read by gunicorn's master too, which has no use for MSAL.
    from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS, WELL_KNOWN_B2C_HOSTS

    return host in WELL_KNOWN_AUTHORITY_HOSTS or bool(
        host and host.endswith(tuple(f".{each}" for each in WELL_KNOWN_B2C_HOSTS))
    )


def is_entra(oidc_authority: str) -> bool:
    """Whether people sign in with Microsoft Entra ID: unless `OIDC_AUTHORITY` is another provider's.

    :param oidc_authority: the setting. External ID under a custom domain has a tenant's GUID in its path.
    """
    parts = split_url(oidc_authority)
    custom_domain = re.fullmatch(rf"/{GUID.pattern}/v2\.0/?", parts.path, re.IGNORECASE)
    return not oidc_authority or is_microsoft(parts.hostname) or custom_domain is not None


def exchange_audience(authority: str | None) -> str:
    """Whom a token must be for that takes the place of a client secret.

    :param authority: the setting `AUTHORITY`.
    """
    return _EXCHANGE_AUDIENCES.get(split_url(authority).hostname or "", "api://AzureADTokenExchange")


def graph_of(authority: str | None, endpoint: str) -> str:
    """The Microsoft Graph of the cloud that signs people in, as an origin; empty when it has none that is known.

    :param authority: the setting `AUTHORITY`.
    :param endpoint: the setting `ENDPOINT`, which names the Graph of a cloud unless it is another API's.
    """
    login, host = split_url(authority).hostname, split_url(endpoint).hostname
    if host in GRAPH_CLOUDS or (is_loopback(login) and is_loopback(host)):  # the latter is the sandbox
        return origin(endpoint)
    return next((f"https://{graph}" for graph, home in GRAPH_CLOUDS.items() if home == login), "")

"""Microsoft's clouds: where Graph answers, where people sign in, and what a scope is called in each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
# The names that stand for several tenants in an authority, and the hosts whose documents name each other.
SEVERAL_TENANTS = frozenset({"common", "organizations"})
WORLDWIDE_HOSTS = frozenset({"login.microsoftonline.com", "login.microsoft.com", "login.windows.net"})
V1_HOSTS = frozenset({"sts.windows.net", "sts.chinacloudapi.cn"})  # in the issuers of version 1.0
_GRAPH_PREFIXES = tuple(f"https://{host}/" for host in GRAPH_CLOUDS)
# MSAL asks for these always, and refuses them from the caller.
_ALWAYS_ASKED = {"openid", "profile", "offline_access"}


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


def qualified_scopes(scope: str, endpoint: str) -> list[str]:
    """The scopes to ask for.

    A scope without a host means Microsoft Graph in the world-wide cloud; for a Graph of another cloud it needs the host.

    :param scope: space separated, as in the setting `SCOPE`.
    :param endpoint: the URL that will be called.
    :return: the scopes, in the given order, without those that MSAL adds by itself.
    """
    host = split_url(endpoint).hostname
    prefix = f"https://{host}/" if host in GRAPH_CLOUDS and host != "graph.microsoft.com" else ""
    names = [name for name in scope.split() if name not in _ALWAYS_ASKED]
    # A name with a slash says already which API it is of: api://…/Orders.Read, or the API's id before the slash.
    return [name if "/" in name or name == "email" else prefix + name for name in names]


def missing_scopes(wanted: Iterable[str], granted: Iterable[str]) -> set[str]:
    """The scopes that were asked for and not granted.

    Entra answers `User.Read` to `user.read` and to `https://graph.microsoft.com/User.Read`. The scopes of OpenID Connect are
    left out: some authorities grant them without saying so.
    """
    return comparable_scopes(wanted) - comparable_scopes(granted)


def comparable_scopes(scopes: Iterable[str]) -> set[str]:
    """Scopes as names that are equal when they mean the same; see `missing_scopes`."""
    names = {scope.lower() for scope in scopes} - _ALWAYS_ASKED - {"email"}
    return {
        name.removeprefix(prefix) for name in names for prefix in [next(filter(name.startswith, _GRAPH_PREFIXES), "")]
    }


def resources_of(scopes: Iterable[str]) -> set[str]:
    """The APIs that scopes are of, each by what stands before the scope's name; Microsoft Graph is the empty one."""
    return {name.rpartition("/")[0] for name in comparable_scopes(scopes)}


def graph_of(authority: str | None, endpoint: str) -> str:
    """The Microsoft Graph of the cloud that signs people in, as an origin; empty when it has none that is known.

    :param authority: the setting `AUTHORITY`.
    :param endpoint: the setting `ENDPOINT`, which names the Graph of a cloud unless it is another API's.
    """
    login, host = split_url(authority).hostname, split_url(endpoint).hostname
    if host in GRAPH_CLOUDS or (is_loopback(login) and is_loopback(host)):  # the latter is the sandbox
        return origin(endpoint)
    return next((f"https://{graph}" for graph, home in GRAPH_CLOUDS.items() if home == login), "")

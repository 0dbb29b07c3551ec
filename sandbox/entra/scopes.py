"""Scopes: those that the tenant knows, the ways to write them, and what the consent page says about each.

https://learn.microsoft.com/entra/identity-platform/scopes-oidc
"""

from __future__ import annotations

from collections.abc import Iterable

GRAPH_ID = "00000003-0000-0000-c000-000000000000"  # Microsoft Graph's application id, the audience of its access tokens
# Prefixes that make a scope one of Microsoft Graph's. The URL of the sandbox's own Graph is another one.
GRAPH_PREFIXES = ("https://graph.microsoft.com/", f"{GRAPH_ID}/")
OIDC = ("openid", "profile", "email", "offline_access")  # OpenID Connect Core 1.0, sections 5.4 and 11
# Graph's delegated permissions that the tenant knows, each with its sentence on the consent page.
GRAPH = {
    "User.Read": "Read your profile",
    "User.ReadWrite": "Read and update your profile",
    "User.ReadBasic.All": "Read all users' basic profiles",
    "People.Read": "Read your relevant people lists",
    "Mail.Read": "Read your mail",
    "Mail.Send": "Send mail as you",
    "Calendars.Read": "Read your calendars",
    "Calendars.ReadWrite": "Have full access to your calendars",
    "Files.Read": "Read your files",
    "Files.ReadWrite": "Have full access to your files",
}

# A second API, of the organization's own: its application id URI, which is the audience of its access tokens.
ORDERS_URI = "api://6f2b1c84-90d3-4f0e-9c1a-7d55e3f0a2b9"
ORDERS = {f"{ORDERS_URI}/Orders.Read": "Read your orders"}  # its delegated permissions, likewise


def resources_of(short: Iterable[str]) -> set[str]:
    """The APIs that scopes belong to, by the audience of their access tokens.

    :param short: short names of scopes.
    """
    return {ORDERS_URI if name in ORDERS else GRAPH_ID for name in short if name not in OIDC}


def audience_of(resource: str, graph_url: str) -> str | None:
    """The audience of the access tokens of an API; None for an API that the tenant does not know.

    :param resource: as it stands before `/.default` in a scope.
    :param graph_url: the URL of the sandbox's Graph, without a path.
    """
    name = f"{resource.rstrip('/')}/".lower()
    if name in {prefix.lower() for prefix in (*GRAPH_PREFIXES, f"{graph_url}/")}:
        return GRAPH_ID
    return ORDERS_URI if name == f"{ORDERS_URI}/" else None


def short_names(scopes: Iterable[str], graph_url: str) -> set[str]:
    """The short names of several scopes.

    :param scopes: as the client wrote them.
    :param graph_url: the URL of the sandbox's Graph, without a path.
    :return: the names, such as `User.Read`.
    :raises ValueError: the tenant does not know one of them, which is the error's text.
    """
    return {short_name(scope, graph_url) for scope in scopes}


def short_name(scope: str, graph_url: str) -> str:
    """The short name of a scope, in whichever form the client wrote it. Like Entra, this ignores letter case.

    :param scope: such as `User.Read` or `https://graph.microsoft.com/User.Read`.
    :param graph_url: the URL of the sandbox's Graph, without a path.
    :return: the name, such as `User.Read`; a scope of the second API keeps the API's URI in front. `.default` means all that
        the app registration asks for, which is `User.Read`.
    :raises ValueError: the tenant knows no such scope, which is the error's text.
    """
    if scope.lower().startswith(f"{ORDERS_URI}/"):
        wanted = scope.lower().replace("/.default", "/orders.read")
        for known in ORDERS:
            if known.lower() == wanted:
                return known
        raise ValueError(scope)
    name = scope
    for prefix in (*GRAPH_PREFIXES, f"{graph_url}/"):
        if scope.lower().startswith(prefix.lower()):
            name = scope[len(prefix) :].lstrip("/")
    if name == scope and scope.lower() in OIDC:
        return scope.lower()
    if name.lower() == ".default":
        return "User.Read"
    for known in GRAPH:
        if known.lower() == name.lower():
            return known
    raise ValueError(scope)


def no_scope(error: ValueError) -> str:
    """The message about a scope that Entra may know, and the tenant does not.

    :param error: as `short_name` raises it.
    """
    return f"The sandbox has no scope '{error}', though Entra may. It has {', '.join((*GRAPH, *ORDERS))}."


def sentences(scopes: set[str]) -> list[str]:
    """The sentences of the consent page for the scopes that are asked for.

    :param scopes: short names.
    :return: one sentence for each permission.
    """
    lines = []
    if "offline_access" in scopes:
        lines.append("Maintain access to data you have given it access to")
    if "openid" in scopes:
        lines.append("Sign you in")
    # Permission to read the whole profile includes these two.
    if "profile" in scopes and "User.Read" not in scopes:
        lines.append("View your basic profile")
    if "email" in scopes and "User.Read" not in scopes:
        lines.append("View your email address")
    return lines + [sentence for name, sentence in {**GRAPH, **ORDERS}.items() if name in scopes]

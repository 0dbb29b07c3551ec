"""Scopes: which ones the tenant knows, what they are called, and what the consent page says of them.

https://learn.microsoft.com/entra/identity-platform/scopes-oidc
"""

from __future__ import annotations

#: Microsoft Graph's application id, the audience of its access tokens.
GRAPH_ID = "00000003-0000-0000-c000-000000000000"
#: Ways to write that a scope is one of Microsoft Graph's; this sandbox's own URL is another.
GRAPH_PREFIXES = ("https://graph.microsoft.com/", f"{GRAPH_ID}/")
#: The scopes of OpenID Connect (Core 1.0 section 5.4 and section 11).
OIDC = ("openid", "profile", "email", "offline_access")
#: Graph's delegated permissions that this sandbox knows, and what the consent page says of each.
GRAPH = {
    "User.Read": "Read your profile",
    "User.ReadWrite": "Read and update your profile",
    "User.ReadBasic.All": "Read all users' basic profiles",
    "People.Read": "Read your relevant people lists",
    "Mail.Read": "Read your mail",
    "Calendars.Read": "Read your calendars",
    "Files.Read": "Read your files",
}


def canonical(scope: str, graph_url: str) -> str:
    """The short name of a scope, however the client wrote it; Entra ignores letter case as well.

    Args:
        scope: such as ``User.Read`` or ``https://graph.microsoft.com/User.Read``.
        graph_url: the URL of this sandbox's Graph, without a path.

    Returns:
        The name, such as ``User.Read``; ``.default`` means what the app registration asks for,
        which is ``User.Read``.

    Raises:
        ValueError: the tenant knows no such scope.
    """
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


def sentences(scopes: set[str]) -> list[str]:
    """What the consent page says of the scopes asked for.

    Args:
        scopes: short names.
    """
    lines = []
    if "offline_access" in scopes:
        lines.append("Maintain access to data you have given it access to")
    if "openid" in scopes:
        lines.append("Sign you in")
    # Reading the whole profile covers these two.
    if "profile" in scopes and "User.Read" not in scopes:
        lines.append("View your basic profile")
    if "email" in scopes and "User.Read" not in scopes:
        lines.append("View your email address")
    return lines + [sentence for name, sentence in GRAPH.items() if name in scopes]

"""The names of scopes: what they are called in each of Microsoft's clouds, and when two mean the same."""

from __future__ import annotations

from collections.abc import Iterable

from flask_entra.clouds import GRAPH_CLOUDS
from flask_entra.urls import split_url

_GRAPH_PREFIXES = tuple(f"https://{host}/" for host in GRAPH_CLOUDS)
# MSAL asks for these always, and refuses them from the caller.
_ALWAYS_ASKED = {"openid", "profile", "offline_access"}


def qualified_scopes(scope: str, endpoint: str) -> list[str]:
    """The scopes to ask for.

    A scope without a host means Microsoft Graph in the world-wide cloud; for a Graph of another cloud it needs the host.

    :param scope: space separated, as in the setting `SCOPE`.
    :param endpoint: the URL that will be called.
    :return: the scopes, in the given order, without those that MSAL adds by itself.
    """
    host = split_url(endpoint).hostname
    prefix = f"https://{host}/" if host in GRAPH_CLOUDS and host != "graph.microsoft.com" else ""
    names = without_usual(scope.split())
    # A name with a slash says already which API it is of: api://…/Orders.Read, or the API's id before the slash.
    return [name if "/" in name or name == "email" else prefix + name for name in names]


def without_usual(scopes: Iterable[str]) -> list[str]:
    """Scopes without those that MSAL adds by itself, and refuses from the caller."""
    return [scope for scope in scopes if scope not in _ALWAYS_ASKED]


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
    # An API whose id ends with a slash is written with two: https://database.windows.net//.default
    return {name.rpartition("/")[0].rstrip("/") for name in comparable_scopes(scopes)}

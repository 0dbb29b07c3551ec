"""Microsoft Entra ID sign-in and Microsoft Graph for Flask, hardened for production.

The names below are what an app needs. Each room keeps to one subject, and imports point one way: `wiring` stands on top,
`deadlines`, `urls`, `settings` and `bulkhead` at the bottom, and nothing here imports the app. CONTRIBUTING.md has the map.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_entra.graph import GraphClient, GraphError
    from flask_entra.http_client import BoundedSession
    from flask_entra.pages import accounts, profiles
    from flask_entra.signin.auth import Auth
    from flask_entra.signin.errors import MembershipUnknown, NotAllowed, SignInError, SignInRequired
    from flask_entra.wiring import init_app

__all__ = [
    "Auth",
    "BoundedSession",
    "GraphClient",
    "GraphError",
    "MembershipUnknown",
    "NotAllowed",
    "SignInError",
    "SignInRequired",
    "accounts",
    "init_app",
    "profiles",
]

_WHERE = {
    "Auth": "signin.auth",
    "BoundedSession": "http_client",
    "GraphClient": "graph",
    "GraphError": "graph",
    "MembershipUnknown": "signin.errors",
    "NotAllowed": "signin.errors",
    "SignInError": "signin.errors",
    "SignInRequired": "signin.errors",
    "accounts": "pages",
    "init_app": "wiring",
    "profiles": "pages",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and not before (PEP 562).

    gunicorn's master reads the settings, and for that needs two small modules of this package. If the others were imported
    with them, its workers would inherit them, and a reload (HUP) would not load new code.
    """
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Microsoft Entra ID sign-in and Microsoft Graph for Flask, hardened for production.

The names below are what an app needs. Each room keeps to one subject, and imports point one way: `extension` stands on top, the
settings and the small things at the bottom, and nothing here imports the app. CONTRIBUTING.md has the map.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_entra.extension import Auth
    from flask_entra.graph_error import GraphError
    from flask_entra.signals import access_denied, signed_in, signed_out, token_refreshed
    from flask_entra.signin.errors import (
        CallerRefused,
        MembershipUnknown,
        NotAllowed,
        SignInError,
        SignInRefused,
        SignInRequired,
    )

__all__ = [
    "Auth",
    "CallerRefused",
    "GraphError",
    "MembershipUnknown",
    "NotAllowed",
    "SignInError",
    "SignInRefused",
    "SignInRequired",
    "access_denied",
    "signed_in",
    "signed_out",
    "token_refreshed",
]

_WHERE = {"Auth": "extension", "GraphError": "graph_error"}
_WHERE |= dict.fromkeys(("access_denied", "signed_in", "signed_out", "token_refreshed"), "signals")
# Names of before 0.1: where each is, and what is written instead of it.
_DEPRECATED = {
    "BoundedSession": ("http_client", "auth = Auth(), which makes its own"),
    "GraphClient": ("graph", "auth.graph"),
    "init_app": ("deprecated", "auth.init_app(app)"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and not before (PEP 562).

    gunicorn's master reads the settings, and for that needs two small modules of this package. If the others were imported
    with them, its workers would inherit them, and a reload (HUP) would not load new code.
    """
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_WHERE.get(name, 'signin.errors')}"), name)
    if name in _DEPRECATED:
        where, now = _DEPRECATED[name]
        import_module(f"{__name__}.deprecated").warn(f"flask_entra.{name}", now, stacklevel=3)
        return getattr(import_module(f"{__name__}.{where}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

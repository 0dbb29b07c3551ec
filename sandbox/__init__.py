"""An embedded Microsoft Entra tenant and Microsoft Graph, on this machine only.

``python -m sandbox`` runs the app against it, so that anybody can try the app with no Azure
account. The app's tests use the same thing through the ``Sandbox`` object::

    from sandbox import Sandbox

    with Sandbox(redirect_uris=("http://localhost:5000/getAToken",)) as box:
        environment.update(box.settings)

It speaks Entra's protocol with Entra's URLs, claims and error codes, over real HTTP and real TLS,
so the app runs the very code that it runs against Entra. The app never imports this package.
It is a stand-in to learn and test with, not an identity provider: whoever can reach it can sign
in as anybody, and that is why it listens on loopback and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .people import Person
    from .server import Sandbox, Seen

__all__ = ["Person", "Sandbox", "Seen"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and not before (PEP 562).

    ``python -m sandbox`` imports this module first, and has something better to say than a
    traceback when a package is missing.
    """
    if name == "Person":
        from .people import Person

        return Person
    if name in ("Sandbox", "Seen"):
        from . import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

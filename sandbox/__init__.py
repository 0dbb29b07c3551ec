"""An embedded Microsoft Entra tenant and Microsoft Graph, on this machine only.

`python -m sandbox` runs the app against it, so that anybody can try the app without an Azure account. The app's tests use
it through the `Sandbox` object:

    from sandbox import Sandbox

    with Sandbox(redirect_uris=("http://localhost:5000/getAToken",)) as box:
        environment.update(box.settings)

It speaks Entra's protocol with Entra's URLs, claims and error codes, over real HTTP and real TLS, so the app runs the
same code as against Entra. The app never imports this package. It is a stand-in to learn and test with, not an identity
provider: anybody who can reach it can sign in as anybody, so it listens on loopback and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .box import Sandbox
    from .people import Person
    from .traffic import Seen

__all__ = ["Person", "Sandbox", "Seen"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562).

    `python -m sandbox` imports this module first, and must be able to say which package is missing.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import box

    return getattr(box, name)

"""The settings of the app, by Microsoft's names: from the environment, and from a `.env` beside this file.

`.env.sample` explains each. flask_entra gives them their defaults, derives what follows from them, and checks them: run
`flask doctor`. A setting of your own is a line in `load()`, such as `"ORDERS_URL": os.environ["ORDERS_URL"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flask_entra.settings import Settings


def load(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Flask's configuration. `CLIENT_ID` is `ENTRA_CLIENT_ID` there, and so on.

    :param environ: the settings, instead of the environment and `.env`.
    """
    settings = Settings.read(Path(__file__).with_name(".env"), environ)
    return {
        **settings.for_flask(),
        "MAX_CONTENT_LENGTH": 64 * 1024,
        # The layout of this package's pages for failures: templates/base.html, in its block `main`.
        "ENTRA_LAYOUT": "base.html",
        "ENTRA_LAYOUT_BLOCK": "main",
        # What an app that begins here has from the start; remove a line to have it otherwise.
        "ENTRA_SECURITY_HEADERS": True,
        "ENTRA_ACCESS_LOG": True,
        "ENTRA_LOGGING": True,
        "ENTRA_LANGUAGES": True,
        "ENTRA_ASSETS": True,
        "ENTRA_COMPILED_TEMPLATES": True,
        "ENTRA_CONFIGURATION_EVERYWHERE": True,
        "TRUSTED_HOSTS": settings.own_hosts(),
    }

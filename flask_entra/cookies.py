"""What every cookie of this package has in common."""

from __future__ import annotations

from typing import Any

from flask import request

from flask_entra.config import Config


def attributes(config: Config, name: str, path: str | None = None) -> dict[str, Any]:
    """The name, path and flags of a cookie, as `Response.set_cookie` and `delete_cookie` take them.

    On https the browser holds the app to it by the name's prefix (RFC 6265bis, 4.1.3): a `__Host-` cookie can be set by this
    host alone, not by a neighbouring one. Such a cookie is for the whole host; others are for the path that the app is
    mounted at.

    :param config: the app's.
    :param name: without a prefix.
    :param path: the only part of the app that gets the cookie; None for all of it.
    """
    whole = path is None
    if path is None:
        path = "/" if config.https else request.script_root or "/"
    prefix = ("__Host-" if whole else "__Secure-") if config.https else ""
    return {"key": prefix + name, "path": path, "secure": config.https, "httponly": True, "samesite": "Lax"}

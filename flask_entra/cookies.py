"""What every cookie of this package has in common."""

from __future__ import annotations

from typing import Any

from flask import request

from flask_entra.config import Config


def attributes(config: Config, name: str, path: str | None = None, tab: str | None = None) -> dict[str, Any]:
    """The name, path and flags of a cookie, as `Response.set_cookie` and `delete_cookie` take them.

    On https the browser holds the app to it by the name's prefix (RFC 6265bis, 4.1.3): a `__Host-` cookie can be set by this
    host alone, not by a neighbouring one. Such a cookie is for the whole host; others are for the path that the app is
    mounted at.

    The name says whose it is: browsers give the cookies of a host to each app on it, whatever its port.

    :param config: the app's.
    :param name: what it is.
    :param path: the only part of the app that gets the cookie; None for all of it.
    :param tab: tells it from others of the same kind, if there are several.
    """
    whole = path is None
    if path is None:
        path = "/" if config.https else request.script_root or "/"
    key = name_of(config, name, whole=whole, tab=tab)
    return {"key": key, "path": path, "secure": config.https, "httponly": True, "samesite": "Lax"}


def name_of(config: Config, name: str, *, whole: bool = True, tab: str | None = None) -> str:
    """The name of a cookie, as a browser has it; see `attributes`.

    :param whole: whether all of the app gets it.
    """
    prefix = ("__Host-" if whole else "__Secure-") if config.https else ""
    return f"{prefix}{name}-{config.cookie_mark}" + ("" if tab is None else f"-{tab}")

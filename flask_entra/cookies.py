"""What every cookie of the app has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def attributes(config: Mapping[str, Any], name: str, path: str = "/") -> dict[str, Any]:
    """The name, path and flags of a cookie, as `Response.set_cookie` and `delete_cookie` take them.

    On https the browser holds the app to it by the name's prefix (RFC 6265bis, 4.1.3): a `__Host-` cookie can be set by this
    host alone, not by a neighbouring one.

    :param config: Flask's.
    :param name: without a prefix.
    :param path: the part of the app that gets the cookie.
    """
    https = config["HTTPS"]
    prefix = ("__Host-" if path == "/" else "__Secure-") if https else ""
    return {"key": prefix + name, "path": path, "secure": https, "httponly": True, "samesite": "Lax"}

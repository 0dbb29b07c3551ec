"""What the authority says in the query of a URL of the app's, kept out of sight of everything that writes URLs down.

The query of the redirect URI holds the authorization code, and that of a front-channel sign-out the `sid` that ends a session.
Tracing and error reports (OpenTelemetry, Sentry and the like) note the URL of each request, so the query is taken out of the
request before Flask, or what is wrapped around it, sees it.
"""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qsl

from flask import request
from werkzeug.datastructures import MultiDict

_ENVIRON = "flask_entra.callback_query"
_SLASHES = re.compile("/+")
# Where servers and proxies put the whole URL: RAW_URI, REQUEST_URI; X-Original-URL, X-WAWS-Unencoded-URL (Azure App Service).
_URLS = ("_URL", "_URI")


def take(environ: dict[str, Any], redirect_path: str, front_channel_path: str) -> None:
    """Take the query out of a request for the redirect URI, or of a front-channel sign-out.

    :param environ: of WSGI.
    :param redirect_path: the path of the redirect URI, as WSGI spells it (PEP 3333).
    :param front_channel_path: that of the sign-out, below the app's own root, likewise.
    """
    path = environ.get("PATH_INFO", "")
    # A proxy's prefix may be put in front of the path only later.
    prefixes = (environ.get("SCRIPT_NAME", ""), environ.get("HTTP_X_FORWARDED_PREFIX", "").rstrip("/"))
    # Flask takes several slashes for one.
    if path == front_channel_path or any(_SLASHES.sub("/", prefix + path) == redirect_path for prefix in prefixes):
        environ[_ENVIRON] = _Secret(environ.get("QUERY_STRING", ""))
        environ["QUERY_STRING"] = ""
        for name in [each for each in environ if each.endswith(_URLS)]:
            environ[name] = environ[name].partition("?")[0]


def parameters() -> MultiDict[str, str]:
    """What the authority says with the present request: the answer to a sign-in (RFC 6749, 4.1.2), or a sign-out elsewhere."""
    query = cast(_Secret, request.environ.get(_ENVIRON, _Secret(""))).query.encode("latin-1").decode("utf-8", "replace")
    return MultiDict(parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote"))  # as `request.args`


class _Secret:
    """A query that no `repr()` of the environment shows."""

    def __init__(self, query: str):
        self.query = query

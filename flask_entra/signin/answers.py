"""The authority's answer in the query of the redirect URI, kept out of sight of everything that writes URLs down.

The query holds the authorization code. Tracing and error reports (OpenTelemetry, Sentry and the like) note the URL of each
request, so the answer is taken out of the request before Flask, or what is wrapped around it, sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, cast
from urllib.parse import parse_qsl

from flask import Flask, request
from werkzeug.datastructures import MultiDict

from flask_entra.urls import route_of

_ENVIRON = "flask_entra.answer"
_SLASHES = re.compile("/+")
# Where servers and proxies put the whole URL: RAW_URI, REQUEST_URI; X-Original-URL, X-WAWS-Unencoded-URL (Azure App Service).
_URLS = ("_URL", "_URI")


def init_app(app: Flask) -> None:
    """Take the answer out of the URL of each request for the redirect URI."""
    wsgi_app = app.wsgi_app
    # As WSGI spells it (PEP 3333). Flask takes several slashes for one.
    path = _SLASHES.sub("/", route_of(app.config["REDIRECT_URI"]).encode().decode("latin-1"))

    def take(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _SLASHES.sub("/", environ.get("PATH_INFO", "")) == path:
            environ[_ENVIRON] = _Secret(environ.get("QUERY_STRING", ""))
            environ["QUERY_STRING"] = ""
            for name in [each for each in environ if each.endswith(_URLS)]:
                environ[name] = environ[name].partition("?")[0]
        return wsgi_app(environ, start_response)

    app.wsgi_app = take  # type: ignore[method-assign]  # as Flask's documentation has it


def parameters() -> MultiDict[str, str]:
    """The parameters of the authority's answer to which the present request belongs (RFC 6749, 4.1.2)."""
    query = (
        cast(_Secret, request.environ.get(_ENVIRON, _Secret(""))).query.encode("latin-1").decode("utf-8", "replace")
    )  # PEP 3333
    return MultiDict(parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote"))  # as `request.args`


class _Secret:
    """A query that no `repr()` of the environment shows."""

    def __init__(self, query: str):
        self.query = query

"""The path that was asked for, the home page's, the redirect URI's, and where a sign-in may lead back to."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

from flask import request
from werkzeug.sansio.utils import host_is_trusted

from flask_entra.config import Config, current
from flask_entra.urls import is_ours, split_url

LONGEST = 8192  # characters of an address: servers take no longer ones
# What may stand in a path as it is (RFC 3986, 3.3), and in a query besides (3.4).
_PATH = "/:@!$&'()*+,;=-._~"
_AS_IT_CAME = f"%[]{_PATH}?"
_UNENCODED = re.compile("[^\0-\x7f]+| ")
_ABSOLUTE = re.compile(r"^\w+://[^/?]*")  # how a request to a proxy begins (RFC 9112, 3.2.2)


def home() -> str:
    """The path of the app's home page, below whatever path the app is mounted at."""
    return f"{quote(request.script_root)}/"


def route_of(url: str) -> str:
    """The path of the redirect URI; Microsoft's own, while the setting is not a URL with a path that can be a route."""
    path = split_url(url).path
    return path if path.startswith("/") and not set(path) & set("<>") else "/getAToken"


def redirect_uri(config: Config) -> str:
    """The redirect URI at the host that is asked for, if that is one of `ALLOWED_HOSTS`; else that of the setting."""
    if config.allowed_hosts and host_is_trusted(request.host, config.allowed_hosts):
        parts = split_url(config.redirect_uri)
        return f"{parts.scheme}://{request.host}{parts.path}"
    return config.redirect_uri


def requested() -> str:
    """The path of the present request, with its query: a link to the same page, percent-encoded as it came.

    To WSGI (PEP 3333), `/customers/a%3Fb` is `/customers/a?b`, which as a link is another page. Servers pass on what came as
    `RAW_URI` (gunicorn, Werkzeug) or `REQUEST_URI` (uWSGI, mod_wsgi, Werkzeug). Where they do not (granian), or where it is no
    longer what was routed, the decoded path is encoded anew; then a slash that was encoded is one like the others.
    """
    prefix, path, query = (
        request.environ.get(name, "").encode("latin-1") for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")
    )
    written = quote(prefix + path, _PATH)
    for name in ("RAW_URI", "REQUEST_URI"):
        raw = _ABSOLUTE.sub("", request.environ.get(name, "")).partition("?")[0].encode("latin-1", "replace")
        decoded = unquote_to_bytes(raw)
        if raw and decoded in (prefix + path, path):
            written = quote(b"" if decoded == prefix + path else prefix, _PATH) + quote(raw, _AS_IT_CAME)
            break
    return f"{written}?{quote(query, _AS_IT_CAME)}" if query else written


def page_of_the_caller(config: Config) -> str | None:
    """The path and query of the page that the present request comes from (`Referer`); None if it is not one of this app's."""
    referer = split_url(request.referrer)
    if not is_ours(request.referrer, request.host_url, config.redirect_uri):
        return None
    return local_path(f"{referer.path}{f'?{referer.query}' if referer.query else ''}")


def local_path(link: str | None) -> str:
    """The link, if it is a path of this app and none of a sign-out; otherwise home. Never another site (RFC 9700, 4.11).

    Below a path, what is beside that is another app.

    :param link: an unvalidated path, from a query.
    """
    # As a browser would send it: a query has been decoded.
    link = _UNENCODED.sub(lambda found: quote(found[0], errors="replace"), link or "")
    root = request.script_root
    # Browsers read a backslash as a slash and skip control characters, so neither may stand anywhere; after one slash
    # must come something else than a slash, also once it is decoded.
    if (
        len(link) <= LONGEST
        and re.fullmatch(r"/(?!/|%2f|%5c)[!-\[\]-~]*", link, re.IGNORECASE)
        and urlsplit(urljoin("http://here", link)).netloc == "here"
    ):
        path = posixpath.normpath(unquote(urlsplit(link).path))
        if f"{path}/".startswith(f"{root}/") and not f"{path}/".startswith(f"{root}{current().logout_path}/"):
            return link
    return home()

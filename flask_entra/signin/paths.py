"""The paths of sign-in and sign-out, and where a sign-in may lead back to."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urljoin, urlsplit

LOGIN, LOGOUT = "/login", "/logout"
RETURN_LENGTH = 512  # it rides in a cookie, and servers take 8 KB of cookies as a header


def local_path(link: str | None) -> str:
    """The link, if it is a path of this app other than the sign-out's; otherwise home. Never another site (RFC 9700, 4.11).

    :param link: an unvalidated path, from a query.
    """
    # Browsers read a backslash as a slash and skip control characters, so neither may stand anywhere; after one slash
    # must come something else than a slash, also once it is decoded.
    if (
        link
        and len(link) <= RETURN_LENGTH
        and re.fullmatch(r"/(?!/|%2f|%5c)[!-\[\]-~]*", link, re.IGNORECASE)
        and urlsplit(urljoin("http://here", link)).netloc == "here"
        and posixpath.normpath(unquote(urlsplit(link).path)) != LOGOUT
    ):
        return link
    return "/"

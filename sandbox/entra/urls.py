"""URLs taken apart and put together."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """A URL with parameters added to its query.

    :param url: the URL, which may have a query already.
    :param parameters: the parameters to add.
    :return: the longer URL.
    """
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"

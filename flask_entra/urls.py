"""URLs as people write them into settings: read without an exception, whatever they are."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def split_url(url: str | None) -> SplitResult:
    """`urlsplit`, with an empty result for a text that is not a URL at all (`https://[`, a port that is not a number)."""
    try:
        parts = urlsplit(url or "")
        parts.port  # noqa: B018  it is checked only when it is asked for
    except ValueError:
        return urlsplit("")
    return parts


def origin(url: str | None) -> str:
    """Scheme, host and port of a URL, as in `https://graph.microsoft.com`; empty when it has no host."""
    parts = split_url(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_ours(url: str | None, *own: str) -> bool:
    """Whether a URL is of this app.

    :param url: as a browser's `Origin` or `Referer` has it.
    :param own: the app's own host and port, or URLs with them.
    """
    there = split_url(url).netloc
    return bool(there) and there in {split_url(each).netloc or each for each in own}

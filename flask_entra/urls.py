"""URLs as people write them into settings: read without an exception, whatever they are."""

from __future__ import annotations

import ipaddress
import re
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


_VISIBLE = re.compile("[!-~]+")


def is_endpoint(url: object) -> bool:
    """Whether a text is an address that a browser or this app may be sent to: https, or http on this machine.

    No other scheme is one, such as javascript, and no text with a space or a control character.
    """
    if not (isinstance(url, str) and _VISIBLE.fullmatch(url)):
        return False
    parts = split_url(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    )


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_ours(url: str | None, *own: str) -> bool:
    """Whether a URL is of this app.

    :param url: as a browser's `Origin` or `Referer` has it.
    :param own: URLs of the app: their schemes, hosts and ports are its own.
    """
    there = origin(url)
    return bool(there) and there in map(origin, own)


def origin_pattern(text: str) -> str:
    """An origin as a setting names it, as browsers write it: in lower case, without the usual port or a slash at its end.

    :param text: scheme and host. The host may begin with `*.`, which stands for all names below it.
    :return: empty for a text that is neither, such as `https://*` or a URL with a path.
    """
    parts = split_url(text.lower().removesuffix("/"))
    below = (parts.hostname or "").removeprefix("*.")
    is_origin = parts.scheme in _PORTS and _ORIGIN_HOST.fullmatch(below) and "@" not in parts.netloc
    if not is_origin or parts.path or parts.query or parts.fragment or text.endswith(("?", "#")):
        return ""
    return f"{parts.scheme}://{parts.netloc.removesuffix(_PORTS[parts.scheme])}"


_PORTS = {"https": ":443", "http": ":80"}
# Of a name, no part is empty: a browser's origin for https://example.com./ ends with a point, as every name does below "*.".
_ORIGIN_HOST = re.compile(r"[\w-]+(\.[\w-]+)*|[0-9a-f:]+")

"""Whether a request is a person's browser that opens a page, or a caller that shows no page: a script, a picture, a program."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from werkzeug import http
from werkzeug.datastructures import Accept, MIMEAccept

# What the answer depends on, for caches (RFC 9110, 12.5.5).
VARY = ("Accept", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "X-Requested-With")
ACCEPTED_LENGTH = 1000  # of Accept; the rest of a longer one is not read
_Accepted = TypeVar("_Accepted", bound=Accept)


def expects_a_page() -> bool:
    """Whether the present request can be answered with a page, or with a redirect to another site.

    Today's browsers say it themselves (Fetch Metadata: `Sec-Fetch-Dest` and `Sec-Fetch-Mode`). Of others, a caller is no page
    that says so (`X-Requested-With`), that prefers JSON to HTML, or that takes no HTML at all. A caller that takes anything, as
    curl does, gets a page.
    """
    headers = request.headers
    if "Sec-Fetch-Dest" in headers or "Sec-Fetch-Mode" in headers:
        to_a_document = headers.get("Sec-Fetch-Dest", "document") == "document"
        return to_a_document and headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    if headers.get("X-Requested-With", "").lower() == "xmlhttprequest":
        return False
    accepted = read_accepted(headers.get("Accept", "")[:ACCEPTED_LENGTH], MIMEAccept)
    if not accepted:
        return True
    json = max((quality for kind, quality in accepted if kind.lower().endswith(("/json", "+json"))), default=0)
    html = max(
        (quality for kind, quality in accepted if kind.lower() in ("text/html", "application/xhtml+xml")), default=0
    )
    return html >= json and accepted.quality("text/html") > 0


def read_accepted(value: str, kind: type[_Accepted]) -> _Accepted:
    """The values of an `Accept` header, or of `Accept-Language`, and how much each is wanted."""
    from_header = getattr(kind, "from_header", None)  # from Werkzeug 3.2 on, which deprecates the function
    return from_header(value) if from_header else http.parse_accept_header(value, kind)

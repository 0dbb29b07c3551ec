"""The form of Graph's answers: JSON, errors, and the headers that each of them has.

https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from typing import Any

from flask import Response, request

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
VERSIONS = ("v1.0", "beta")


class GraphError(Exception):
    """An error that Graph answers.

    :param status: the HTTP status.
    :param code: Graph's error code.
    :param message: its message.
    :param headers: further headers.
    :param inner: further fields of the error's `innerError`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
        inner: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.inner = inner or {}


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(json.dumps(body, ensure_ascii=False), status, headers, content_type=JSON)


def nothing_more(status: int, headers: dict[str, str] | None = None) -> Response:
    """An answer without a body, and without the media type of a page."""
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response


def error_answer(error: GraphError) -> Response:
    """The answer that tells an error."""
    own, theirs = _request_ids()
    inner = {"date": moment().rstrip("Z"), "request-id": own, "client-request-id": theirs, **error.inner}
    response = answer({"error": {"code": error.code, "message": str(error), "innerError": inner}}, error.status)
    response.headers["request-id"], response.headers["client-request-id"] = own, theirs
    response.headers.update(error.headers)
    return response


def add_headers(response: Response) -> Response:
    """Add the headers that every answer of Graph has."""
    own, theirs = _request_ids()
    response.headers.setdefault("request-id", own)
    response.headers.setdefault("client-request-id", theirs)
    response.headers["x-ms-ags-diagnostic"] = json.dumps(
        {"ServerInfo": {"DataCenter": "Sandbox", "Slice": "E", "Ring": "0", "ScaleUnit": "000"}}
    )
    response.headers.setdefault("Cache-Control", "no-cache")
    return response


def version() -> str:
    """The version in the path of the current request, which the URLs in its answer have too."""
    first = request.path.split("/")[1]
    return first if first in VERSIONS else VERSIONS[0]


def moment(seconds_from_now: float = 0) -> str:
    """A point in time, as Graph writes it: UTC, to the second.

    :param seconds_from_now: how far ahead it is.
    """
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def check_if_match(etag: str, conflict: GraphError) -> None:
    """Refuse a change of a resource that is no longer the one that the client read (RFC 9110 section 13.1.1).

    :param etag: the resource's ETag.
    :param conflict: the error to raise.
    :raises GraphError: the request has an `If-Match`, and the ETag is not in it.
    """
    wanted = re.findall(r'(?:W/)?"[^"]*"|[^\s,]+', request.headers.get("If-Match", "*"))
    # Graph's ETags are weak ones in part, and it compares them all the same. Clients leave out `W/`, too.
    if "*" not in wanted and etag.removeprefix("W/") not in [each.removeprefix("W/") for each in wanted]:
        raise conflict


def _request_ids() -> tuple[str, str]:
    """The `request-id`, and the `client-request-id`, which echoes the client's own."""
    own = str(uuid.uuid4())
    return own, request.headers.get("client-request-id") or own

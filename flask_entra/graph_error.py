"""`GraphError`: what Graph, or another API, has answered instead of what it was asked for.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling; RFC 6750 (bearer tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
import urllib3.exceptions

from flask_entra.bearer import InvalidToken, claims_challenge
from flask_entra.http_client import TooLarge, is_untrusted, json_object, retry_after


class GraphError(Exception):
    """Graph did not give what it was asked for, or did not do it.

    :ivar kind: `token`, `forbidden`, `not_found`, `conflict` (409, 412: it has been changed meanwhile), `refused` (another 4xx),
        `throttled`, `unavailable`, `timeout`, `not_understood`, or `no_endpoint` when there is nothing to call.
    :ivar status: the HTTP status, or None when there was no answer.
    :ivar code: Graph's error code, such as `Authorization_RequestDenied`.
    :ivar message: Graph's words, or what could not be understood.
    :ivar request_id: what Microsoft's support finds the call by.
    :ivar retry_after: how many seconds to wait, or None.
    :ivar url: what was asked for, without its query; empty where that is not known, as for a part of a batch.
    :ivar may_have_happened: whether a call that was to change something may have changed it all the same: its outcome is
        unknown, which the text says too. It has not been sent again: look before you do.
    :ivar upload_url: where an upload that was cut off can be continued (`GraphCalls.upload`), or empty.
    """

    url = ""
    may_have_happened = False
    upload_url = ""

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after: int | None = None,
    ):
        super().__init__(f"{kind}: {' '.join(str(each) for each in (status, code, message) if each)}")
        self.kind, self.message, self.status, self.code = kind, message, status, code
        self.request_id, self.retry_after = request_id, retry_after

    def __str__(self) -> str:
        unknown = "; the outcome is unknown: the change may have been made" if self.may_have_happened else ""
        return f"{super().__str__()}{unknown}"


class TokenRejected(GraphError, InvalidToken):
    """401: Graph wants another token. `claims` is the claims challenge that came with it (JSON), or None."""

    def __init__(self, message: str, *, claims: str | None = None, **kwargs: Any):
        super().__init__("token", message, **kwargs)
        self.claims = claims


def of_answer(response: requests.Response) -> GraphError:
    """The failure that an answer tells of."""
    try:
        body: dict[str, Any] = json_object(response, replace=True)
    except ValueError:
        body = {}
    if response.status_code < 400:
        return not_understood(response)
    return of_status(response.status_code, body, response.headers, retry_after(response), request_id_of(response))


def of_status(
    status: int, body: object, headers: Mapping[str, str], wait: int | None, request_id: str = ""
) -> GraphError:
    """The failure that a status of 400 or more tells of.

    :param body: as Graph writes it: an object with `error`, which has `code` and `message`.
    :param wait: the seconds that `Retry-After` asks for.
    """
    try:
        error = body["error"]  # type: ignore[index]  # anything may have come
        code, message = (str(error[name]) for name in ("code", "message"))
    except (KeyError, TypeError, IndexError):
        code = message = ""
    details: dict[str, Any] = {"status": status, "code": code, "retry_after": wait, "request_id": request_id}
    if status == 401:
        return TokenRejected(message, claims=claims_challenge(headers.get("WWW-Authenticate", "")), **details)
    kinds = {403: "forbidden", 404: "not_found", 409: "conflict", 412: "conflict", 429: "throttled", 504: "timeout"}
    kind = "throttled" if status == 503 and wait is not None else kinds.get(status)
    return GraphError(kind or ("unavailable" if status >= 500 else "refused"), message, **details)


def not_understood(response: requests.Response) -> GraphError:
    """The failure of an answer that is not what was asked for."""
    content_type = response.headers.get("Content-Type", "no content type")
    message = f"{response.url.partition('?')[0]} → {response.status_code}, {content_type}"
    return GraphError("not_understood", message, status=response.status_code, request_id=request_id_of(response))


def request_id_of(response: requests.Response) -> str:
    """What Microsoft's support finds a call by."""
    return response.headers.get("request-id") or response.headers.get("client-request-id", "")


def was_sent(error: Exception) -> bool:
    """Whether a request that has failed may have reached the other side.

    :param error: as requests raises it.
    """
    if isinstance(error, requests.exceptions.ReadTimeout | TooLarge):
        return True
    if not isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return False  # the URL, a header or the like
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError) or is_untrusted(error):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return not isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)

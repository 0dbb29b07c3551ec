"""`GraphClient`: a bearer token in, a profile or a `GraphError` out. Knows nothing of Flask, sessions or sign-in.

To use it in another app, take `http_client.py` and `bulkhead.py` along.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling,
https://learn.microsoft.com/entra/identity-platform/claims-challenge; RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import base64
import json
import logging
import re
import uuid

import requests

from bulkhead import Busy
from http_client import BoundedSession, TooLarge, retry_after

PHOTO_BYTES = 4 * 1024 * 1024
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}

log = logging.getLogger(__name__)


class GraphError(Exception):
    """Graph did not give what it was asked for.

    :ivar kind: `token`, `forbidden`, `not_found`, `refused` (another 4xx), `throttled`, `unavailable`, `timeout` or
        `not_understood`.
    :ivar status: the HTTP status, or None when there was no answer.
    :ivar code: Graph's error code, such as `Authorization_RequestDenied`.
    :ivar message: Graph's words, or what could not be understood.
    :ivar request_id: what Microsoft's support finds the call by.
    :ivar retry_after: how many seconds to wait, or None.
    """

    def __init__(self, kind, message="", *, status=None, code="", request_id="", retry_after=None):
        super().__init__(f"{kind}: {status} {code} {message}")
        self.kind, self.message, self.status, self.code = kind, message, status, code
        self.request_id, self.retry_after = request_id, retry_after


class TokenRejected(GraphError):
    """401: Graph wants another token. `claims` is the claims challenge that came with it (JSON), or None."""

    def __init__(self, *args, claims: str | None = None, **kwargs):
        super().__init__("token", *args, **kwargs)
        self.claims = claims


class GraphClient:
    """Calls Microsoft Graph, or another API that takes the same kind of token and answers JSON.

    :param session: the process's one HTTP client.
    :param endpoint: the absolute URL of the profile, such as `https://graph.microsoft.com/v1.0/me`.
    """

    def __init__(self, session: BoundedSession, endpoint: str):
        self._session, self.endpoint = session, endpoint

    def me(self, access_token: str) -> dict:
        """GET the endpoint.

        :param access_token: the bearer token.
        :return: the JSON object that came.
        :raises GraphError: none came; `TokenRejected` if another token might help.
        """
        response = self._get(self.endpoint, access_token, "application/json")
        try:
            answer = response.json()
            text = json.dumps(answer, ensure_ascii=False)
        except (ValueError, RecursionError):
            answer = text = None
        if not isinstance(answer, dict) or _too_deep(answer):
            raise _not_understood(response)
        if re.search("[\ud800-\udfff]", text):  # half a character, which JSON can spell and no page can hold
            answer = json.loads(text.encode("utf-8", "replace"))
        return answer

    def photo(self, access_token: str) -> tuple[bytes, str] | None:
        """GET the person's photo.

        :param access_token: the bearer token.
        :return: the image and its content type; None if there is none, or what came is no image.
        :raises GraphError: as `me` does.
        """
        try:
            response = self._get(f"{self.endpoint}/photo/$value", access_token, "image/*", limit=PHOTO_BYTES)
        except GraphError as error:
            if error.kind in ("not_found", "not_understood"):
                return None
            raise
        kind = next((kind for magic, kind in IMAGE_TYPES.items() if response.content.startswith(magic)), None)
        return (response.content, kind) if kind else None

    def _get(self, url: str, access_token: str, accept: str, **kwargs) -> requests.Response:
        client_request_id = str(uuid.uuid4())
        headers = {
            "Authorization": f"Bearer {access_token}",
            "Accept": accept,
            "client-request-id": client_request_id,
            "return-client-request-id": "true",
        }
        try:
            # A token names the person well enough to give everybody their share of the waiting.
            response = self._session.fetch("GET", url, headers=headers, person=access_token, **kwargs)
        except Busy as error:
            raise GraphError("throttled", str(error), retry_after=error.retry_after) from error
        except TooLarge as error:
            raise GraphError("not_understood", str(error), status=error.response.status_code) from error
        except requests.Timeout as error:
            raise GraphError("timeout", request_id=client_request_id) from error
        except requests.RequestException as error:
            raise GraphError("unavailable", type(error).__name__, request_id=client_request_id) from error
        if response.status_code != 200:
            raise _error(response)
        return response


def _error(response: requests.Response) -> GraphError:
    try:
        error = response.json()["error"]
        code, message = (str(error[name]).encode("utf-8", "replace").decode() for name in ("code", "message"))
    except (ValueError, KeyError, TypeError, RecursionError):
        code = message = ""
    status, wait = response.status_code, retry_after(response)
    what = {"status": status, "code": code, "retry_after": wait, **_ids(response)}
    if status == 401:
        return TokenRejected(message, claims=_claims_challenge(response), **what)
    kind = {403: "forbidden", 404: "not_found", 429: "throttled", 504: "timeout"}.get(status)
    if status == 503 and wait is not None:
        kind = "throttled"
    if status < 400:
        return _not_understood(response)
    return GraphError(kind or ("unavailable" if status >= 500 else "refused"), message, **what)


def _too_deep(value, levels: int = 64) -> bool:
    # Nobody nests so deep but to make whoever shows it indent or recurse without end.
    for _ in range(levels):
        value = [
            child
            for each in (value if isinstance(value, list) else value.values())
            for child in (each if isinstance(each, list) else each.values() if isinstance(each, dict) else ())
        ]
        if not value:
            return False
    return True


def _not_understood(response: requests.Response) -> GraphError:
    content_type = response.headers.get("Content-Type", "no content type")
    message = f"{response.url} → {response.status_code}, {content_type}"
    return GraphError("not_understood", message, status=response.status_code, **_ids(response))


def _ids(response: requests.Response) -> dict[str, str]:
    return {"request_id": response.headers.get("request-id") or response.headers.get("client-request-id", "")}


def _claims_challenge(response: requests.Response) -> str | None:
    """The `claims` of a `WWW-Authenticate` header with `error="insufficient_claims"`, decoded."""
    header = response.headers.get("WWW-Authenticate", "")
    found = re.search(r'\bclaims="([^"]+)"', header)
    if not found or "insufficient_claims" not in header:
        return None
    try:
        claims = base64.b64decode(found[1] + "==", altchars=b"-_" if re.search("[-_]", found[1]) else None).decode()
        return claims if isinstance(json.loads(claims), dict) else None
    except (ValueError, RecursionError):
        log.warning("Graph sent a claims challenge that cannot be read")
        return None

"""`GraphClient`: a bearer token in, a JSON object or a `GraphError` out. Knows nothing of Flask, sessions or sign-in.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling; RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

import requests

from flask_entra import deadlines
from flask_entra.bearer import InvalidToken, claims_challenge
from flask_entra.bulkhead import Refusal
from flask_entra.http_client import BoundedSession, JsonObject, TooLarge, is_untrusted, json_object, retry_after
from flask_entra.pauses import Pauses
from flask_entra.urls import origin, split_url

PHOTO_BYTES = 4 * 1024 * 1024
GROUPS_AT_ONCE = 20  # the most group ids that one request may ask about
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}


class GraphError(Exception):
    """Graph did not give what it was asked for.

    :ivar kind: `token`, `forbidden`, `not_found`, `refused` (another 4xx), `throttled`, `unavailable`, `timeout`,
        `not_understood`, or `no_endpoint` when there is nothing to call.
    :ivar status: the HTTP status, or None when there was no answer.
    :ivar code: Graph's error code, such as `Authorization_RequestDenied`.
    :ivar message: Graph's words, or what could not be understood.
    :ivar request_id: what Microsoft's support finds the call by.
    :ivar retry_after: how many seconds to wait, or None.
    """

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


class TokenRejected(GraphError, InvalidToken):
    """401: Graph wants another token. `claims` is the claims challenge that came with it (JSON), or None."""

    def __init__(self, message: str, *, claims: str | None = None, **kwargs: Any):
        super().__init__("token", message, **kwargs)
        self.claims = claims


class GraphClient:
    """Calls Microsoft Graph, or another API that takes the same kind of token and answers JSON.

    :param http: the app's one HTTP client.
    :param endpoint: the absolute URL of the profile, such as `https://graph.microsoft.com/v1.0/me`.
    """

    def __init__(self, http: BoundedSession, endpoint: str):
        self._http, self.endpoint = http, endpoint
        self._base = endpoint.rstrip("/").removesuffix("/me")
        self._pauses = Pauses()
        self._is_address = bool(split_url(endpoint).hostname)

    def url(self, path: str) -> str:
        """The whole URL of a path below the endpoint's version, or of a URL of the same host, such as a `@odata.nextLink`.

        :raises ValueError: it is of another host, where the token must not go.
        """
        if path.startswith("/") and not path.startswith("//") and self.endpoint:
            return self._base + path
        if not self.endpoint or origin(path) != origin(self.endpoint):
            here = origin(self.endpoint) or "no API, because ENDPOINT is not set"
            raise ValueError(f"{path[:200]!r} is neither a path that begins with / nor a URL of {here}")
        return path

    def me(self, access_token: str) -> JsonObject:
        """GET the profile; see `get`."""
        return self.get(self.endpoint, access_token)

    def get(self, url: str, access_token: str) -> JsonObject:
        """GET a JSON object.

        :param url: absolute, of an API that this token is for.
        :param access_token: the bearer token.
        :return: the object that came. A lone surrogate in it, which no page can hold, is a question mark.
        :raises GraphError: none came; `TokenRejected` if another token might help.
        """
        return _object(self._ask("GET", url, access_token, "application/json"))

    def check_member_groups(self, access_token: str, groups: Sequence[str]) -> set[str]:
        """POST: which of some groups is the person a member of, directly or through another group?

        https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups

        :param access_token: the bearer token.
        :param groups: their ids, in lower case.
        :return: the ids of those groups. Graph has answered for every one.
        :raises GraphError: as `get` does; `not_understood` also for an answer that is not whole, or about other groups.
        """
        members: set[str] = set()
        url = f"{self.endpoint}/checkMemberGroups"
        for start in range(0, len(groups), GROUPS_AT_ONCE):
            asked = groups[start : start + GROUPS_AT_ONCE]
            # It changes nothing, so that it can be sent again as a GET can.
            response = self._ask(
                "POST", url, access_token, "application/json", json={"groupIds": list(asked)}, repeatable=True
            )
            answer = _object(response)
            found = answer.get("value")
            if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
                raise _not_understood(response)
            theirs = {each.lower() for each in found}
            if not theirs <= set(asked) or "@odata.nextLink" in answer:
                raise _not_understood(response)
            members |= theirs
        return members

    def photo(self, access_token: str) -> tuple[bytes, str] | None:
        """GET the person's photo.

        :param access_token: the bearer token.
        :return: the image and its content type; None if there is none, or what came is not an image.
        :raises GraphError: as `get` does.
        """
        try:
            url = f"{self.endpoint}/photo/$value"
            response = self._ask("GET", url, access_token, "image/*", limit=PHOTO_BYTES)
        except GraphError as error:
            if error.kind in ("not_found", "not_understood", "no_endpoint"):
                return None
            raise
        kind = next((kind for magic, kind in IMAGE_TYPES.items() if response.content.startswith(magic)), None)
        return (response.content, kind) if kind else None

    def _ask(self, method: str, url: str, access_token: str, accept: str, **kwargs: Any) -> requests.Response:
        if not self._is_address:
            raise GraphError("no_endpoint")
        where, person = url.partition("?")[0], str(hash(access_token))
        # It tells requests apart, and need not be hard to guess.
        client_request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        headers = {
            "Authorization": f"Bearer {access_token}",
            "Accept": accept,
            "client-request-id": client_request_id,
            "return-client-request-id": "true",
        }
        try:
            # A token names the person well enough to give everybody their share of the waiting.
            self._pauses.check(origin(url), person)  # Graph counts by person
            response = self._http.fetch(method, url, headers=headers, person=access_token, **kwargs)
        except Refusal as error:
            raise GraphError("throttled", str(error), retry_after=error.retry_after) from error
        except TooLarge as error:
            raise GraphError("not_understood", str(error), status=error.status) from error
        except requests.Timeout as error:
            message = f"no answer from {where} within {deadlines.ANSWER_SECONDS:g} seconds"
            raise GraphError("timeout", message, request_id=client_request_id) from error
        except requests.RequestException as error:
            message = f"no answer from {where} ({type(error).__name__})"
            if is_untrusted(error):
                message += ": its certificate is not trusted, and REQUESTS_CA_BUNDLE names those that are"
            raise GraphError("unavailable", message, request_id=client_request_id) from error
        if response.status_code != 200:
            failure = _error(response)
            if failure.kind == "throttled" and failure.retry_after:
                self._pauses.note(origin(url), failure.retry_after, person)
            raise failure
        return response


def _object(response: requests.Response) -> JsonObject:
    try:
        answer = json_object(response, replace=True)
    except ValueError as error:
        raise _not_understood(response) from error
    if _too_deep(answer):
        raise _not_understood(response)
    return answer


def _error(response: requests.Response) -> GraphError:
    try:
        error = json_object(response, replace=True)["error"]
        code, message = (str(error[name]) for name in ("code", "message"))
    except (ValueError, KeyError, TypeError):
        code = message = ""
    status, wait = response.status_code, retry_after(response)
    if status < 400:
        return _not_understood(response)
    details: dict[str, Any] = {"status": status, "code": code, "retry_after": wait, "request_id": _request_id(response)}
    if status == 401:
        return TokenRejected(message, claims=claims_challenge(response.headers.get("WWW-Authenticate", "")), **details)
    kind = {403: "forbidden", 404: "not_found", 429: "throttled", 504: "timeout"}.get(status)
    if status == 503 and wait is not None:
        kind = "throttled"
    return GraphError(kind or ("unavailable" if status >= 500 else "refused"), message, **details)


def _too_deep(value: dict[str, Any], levels: int = 64) -> bool:
    # An answer nested so deeply is made to make whoever shows it indent or recurse without end.
    here: list[Any] = [value]
    for _ in range(levels):
        children = [child for each in here for child in (each if isinstance(each, list) else each.values())]
        here = [child for child in children if isinstance(child, list | dict)]
        if not here:
            return False
    return True


def _not_understood(response: requests.Response) -> GraphError:
    content_type = response.headers.get("Content-Type", "no content type")
    message = f"{response.url} → {response.status_code}, {content_type}"
    return GraphError("not_understood", message, status=response.status_code, request_id=_request_id(response))


def _request_id(response: requests.Response) -> str:
    return response.headers.get("request-id") or response.headers.get("client-request-id", "")

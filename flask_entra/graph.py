"""`GraphClient`: a bearer token in, an answer or a `GraphError` out. Knows nothing of Flask, sessions or sign-in.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling; RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from flask_entra import deadlines
from flask_entra.bulkhead import Refusal
from flask_entra.graph_error import GraphError, not_understood, of_answer, was_sent
from flask_entra.http_client import BoundedSession, JsonObject, TooLarge, is_untrusted, json_value
from flask_entra.pauses import Pauses
from flask_entra.urls import origin, split_url

PHOTO_BYTES = 4 * 1024 * 1024
GROUPS_AT_ONCE = 20  # the most group ids that one request may ask about
WRITES = ("POST", "PUT", "PATCH", "DELETE")
DONE = (200, 201, 202, 204)
VERSIONS = ("/v1.0", "/beta")
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}


class GraphClient:
    """Calls Microsoft Graph, or another API that takes the same kind of token and answers JSON.

    :param http: the app's one HTTP client.
    :param endpoint: the absolute URL of the profile, such as `https://graph.microsoft.com/v1.0/me`.
    """

    def __init__(self, http: BoundedSession, endpoint: str):
        self.http, self.endpoint = http, endpoint
        self._base = endpoint.rstrip("/").removesuffix("/me")
        self._pauses = Pauses()
        self._is_address = bool(split_url(endpoint).hostname)

    def url(self, path: str) -> str:
        """The whole URL of a path, or of a URL of the same host, such as a `@odata.nextLink`.

        :param path: below the endpoint's version; one that begins with `/beta/` or `/v1.0/` is of that version of Graph.
        :raises ValueError: it is of another host, where the token must not go.
        """
        if path.startswith("/") and not path.startswith("//") and self.endpoint:
            version = next(
                (each for each in VERSIONS if path.startswith(f"{each}/") and self._base.endswith(VERSIONS)), ""
            )
            return (self._base.rpartition("/")[0] if version else self._base) + path
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
        return _object(self._ask("GET", url, access_token))

    def request(self, method: str, url: str, access_token: str, **kwargs: Any) -> Any:
        """Ask for anything, or for a change.

        :param method: `GET`, `POST`, `PATCH`, `PUT` or `DELETE`.
        :param kwargs: `json`, `data`, `params` and `headers`, as `requests` takes them.
        :return: the JSON that came, an object as a `JsonObject`; None with 202 and 204, and where a change answers with nothing.
        :raises GraphError: it has failed, or what came is no JSON; `TokenRejected` if another token might help.
        """
        response = self._ask(method, url, access_token, done=DONE, **kwargs)
        if response.status_code in (202, 204) or (method in WRITES and not response.content):
            return None
        try:
            return _value(response)
        except GraphError as error:
            error.may_have_happened = method in WRITES
            raise

    def stream(self, url: str, access_token: str, **kwargs: Any) -> requests.Response:
        """GET something whose body is read afterwards, bit by bit; close it in the end.

        :raises GraphError: as `get` does.
        """
        return self._ask(
            "GET", url, access_token, "*/*", done=(200, 206, 301, 302, 303, 307, 308), stream=True, **kwargs
        )

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
            response = self._ask("POST", url, access_token, json={"groupIds": list(asked)}, repeatable=True)
            answer = _object(response)
            found = answer.get("value")
            if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
                raise not_understood(response)
            theirs = {each.lower() for each in found}
            if not theirs <= set(asked) or "@odata.nextLink" in answer:
                raise not_understood(response)
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

    def _ask(
        self,
        method: str,
        url: str,
        access_token: str,
        accept: str = "application/json",
        *,
        done: tuple[int, ...] = (200,),
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> requests.Response:
        """Send one request. `done` are the statuses of an answer; another is a failure."""
        if not self._is_address:
            raise GraphError("no_endpoint")
        person, send = str(hash(access_token)), self.http.open if stream else self.http.fetch
        # It tells requests apart, and need not be hard to guess.
        client_request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        headers = {
            "Accept": accept,
            **(headers or {}),
            "Authorization": f"Bearer {access_token}",
            "client-request-id": client_request_id,
            "return-client-request-id": "true",
        }
        try:
            # A token names the person well enough to give everybody their share of the waiting.
            self._pauses.check(origin(url), person)  # Graph counts by person
            response = send(method, url, headers=headers, person=access_token, **kwargs)
        except (Refusal, requests.RequestException) as error:
            failure = failure_of(error, url.partition("?")[0], client_request_id)
            repeatable = kwargs.get("repeatable", method not in WRITES)
            failure.may_have_happened = not repeatable and (isinstance(error, TooLarge) or was_sent(error))
            raise failure from error
        if response.status_code in done:
            return response
        failure = of_answer(response)
        failure.may_have_happened = method in WRITES and response.status_code >= 500 and failure.kind != "throttled"
        if failure.kind == "throttled" and failure.retry_after:
            self._pauses.note(origin(url), failure.retry_after, person)
        raise failure


def failure_of(error: Exception, where: str, client_request_id: str = "") -> GraphError:
    """What it means that no answer came.

    :param error: as `BoundedSession` raises it.
    :param where: was asked.
    """
    if isinstance(error, Refusal):
        return GraphError("throttled", str(error), retry_after=error.retry_after)
    if isinstance(error, TooLarge):
        return GraphError("not_understood", str(error), status=error.status)
    if isinstance(error, requests.Timeout):
        message = f"no answer from {where} within {deadlines.ANSWER_SECONDS:g} seconds"
        return GraphError("timeout", message, request_id=client_request_id)
    message = f"no answer from {where} ({type(error).__name__})"
    if is_untrusted(error):
        message += ": its certificate is not trusted, and REQUESTS_CA_BUNDLE names those that are"
    return GraphError("unavailable", message, request_id=client_request_id)


def _object(response: requests.Response) -> JsonObject:
    answer = _value(response)
    if not isinstance(answer, JsonObject):
        raise not_understood(response)
    return answer


def _value(response: requests.Response) -> Any:
    try:
        answer = json_value(response, replace=True)
    except ValueError as error:
        raise not_understood(response) from error
    if _too_deep(answer):
        raise not_understood(response)
    return answer


def _too_deep(value: Any, levels: int = 64) -> bool:
    # An answer nested so deeply is made to make whoever shows it indent or recurse without end.
    here: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        children = [child for each in here for child in (each if isinstance(each, list) else each.values())]
        here = [child for child in children if isinstance(child, list | dict)]
        if not here:
            return False
    return True

"""`ApiClient`: a bearer token in, an answer or a `GraphError` out. Knows nothing of Flask, sessions or sign-in.

RFC 6750 (bearer tokens). `graph` has what only Microsoft Graph has.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

import requests

from flask_entra import deadlines
from flask_entra.bulkhead import Refusal
from flask_entra.graph_error import GraphError, not_understood, of_answer, was_sent
from flask_entra.http_client import BoundedSession, JsonObject, TooLarge, is_untrusted, json_value
from flask_entra.pauses import Pauses
from flask_entra.urls import origin, split_url

WRITES = ("POST", "PUT", "PATCH", "DELETE")
DONE = (200, 201, 202, 204)
JSON_BYTES = 16 * 1024 * 1024  # of an answer: ten messages with their text may have several MB


class ApiClient:
    """Calls an API that takes bearer tokens and answers JSON.

    :param http: the app's one HTTP client.
    :param endpoint: its absolute URL, without the paths that will be called.
    """

    def __init__(self, http: BoundedSession, endpoint: str):
        self.http, self.endpoint = http, endpoint
        self._pauses = Pauses()
        self._is_address = bool(split_url(endpoint).hostname)

    def url(self, path: str) -> str:
        """The whole URL of a path, or of a URL of the same host, such as a `@odata.nextLink`.

        :param path: below the API's address.
        :raises ValueError: it is of another host, where the token must not go.
        """
        if path.startswith("/") and not path.startswith("//") and self.endpoint:
            return self._below(path)
        if not self.endpoint or origin(path) != origin(self.endpoint):
            here = origin(self.endpoint) or "no API, because ENDPOINT is not set"
            there = (
                origin(path) or path[:200]
            )  # an address that needs no token is a secret (@microsoft.graph.downloadUrl)
            raise ValueError(f"{there!r} is neither a path that begins with / nor a URL of {here}")
        return path

    def _below(self, path: str) -> str:
        return self.endpoint.rstrip("/") + path

    def get(self, url: str, access_token: str) -> JsonObject:
        """GET a JSON object.

        :param url: absolute, of an API that this token is for.
        :param access_token: the bearer token.
        :return: the object that came. A lone surrogate in it, which no page can hold, is a question mark.
        :raises GraphError: none came; `TokenRejected` if another token might help.
        """
        return json_object_of(self._ask("GET", url, access_token))

    def request(self, method: str, url: str, access_token: str, **kwargs: Any) -> Any:
        """Ask for anything, or for a change.

        :param method: `GET`, `POST`, `PATCH`, `PUT` or `DELETE`.
        :param kwargs: `json`, `data`, `params` and `headers`, as `requests` takes them.
        :return: the JSON that came, an object as a `JsonObject`; None with 202 and 204, and where a change answers with nothing.
        :raises GraphError: it has failed, or what came is no JSON; `TokenRejected` if another token might help.
        """
        response = self._ask(method, url, access_token, done=DONE, limit=JSON_BYTES, **kwargs)
        if response.status_code in (202, 204) or (method in WRITES and not response.content):
            return None
        try:
            return json_of(response)
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
        where, person = url.partition("?")[0], str(hash(access_token))
        send = self.http.open if stream else self.http.fetch
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
            failure = failure_of(error, where, client_request_id)
            repeatable = kwargs.get("repeatable", method not in WRITES)
            failure.may_have_happened = not repeatable and was_sent(error)
            failure.url = where
            raise failure from error
        if response.status_code in done:
            return response
        failure = of_answer(response)
        failure.url = where
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


def json_object_of(response: requests.Response) -> JsonObject:
    """The JSON object in an answer.

    :raises GraphError: `not_understood`: there is none.
    """
    answer = json_of(response)
    if not isinstance(answer, JsonObject):
        raise not_understood(response)
    return answer


def json_of(response: requests.Response) -> Any:
    """The JSON in an answer; see `ApiClient.request`.

    :raises GraphError: `not_understood`: there is none, or it is nested too deeply.
    """
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

"""Several requests in one: `$batch`.

https://learn.microsoft.com/graph/json-batching

Each part goes the way of a request of its own. So it stands in the sandbox's log, and meets the faults of its endpoint.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Response, current_app, request
from werkzeug.wrappers import Response as AnyResponse

from ..faults import Hangup
from .access import Access, Route
from .answers import GraphError, answer, version
from .bodies import json_body

AT_ONCE = 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SHOWN = ("Cache-Control", "Content-Type", "ETag", "Location", "Retry-After", "WWW-Authenticate")  # headers of an answer
ENTRANCE = "sandbox.entrance"  # the application's extension that all requests enter by


@dataclass(frozen=True)
class Part:
    """A request of several.

    :ivar id: its id.
    :ivar method: the HTTP method.
    :ivar url: path and query, below the version.
    :ivar headers: the headers.
    :ivar body: the body.
    :ivar depends_on: the ids of the requests that must have gone well before it.
    """

    id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    depends_on: list[str]


class Batch:
    """The endpoint.

    :param access: the access to Graph.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [Route("/$batch", self.batch, ("POST",))]

    def batch(self) -> Response:
        """Answer all parts. Graph promises no order of the answers, so the sandbox never has that of the requests."""
        self._access.claims()
        asked = json_body().get("requests")
        if not isinstance(asked, list) or not asked:
            raise _refusal("Invalid batch payload format.")
        if len(asked) > AT_ONCE:
            raise _refusal(f"Number of batch request steps exceed the maximum value of {AT_ONCE}.")
        parts = [_read(each) for each in asked]
        responses: dict[str, dict[str, Any]] = {}
        for part in _in_order(parts):
            responses[part.id] = _failed(part) if _fails(part, responses) else _send(part)
        return answer({"responses": [responses[part.id] for part in reversed(parts)]})


def _read(asked: Any) -> Part:
    """A part, once everything in it has its form.

    :raises GraphError: something has not.
    """
    if not isinstance(asked, dict):
        raise _refusal("Invalid batch payload format.")
    for name in ("id", "method", "url"):
        if not isinstance(asked.get(name), str) or not asked[name]:
            raise _refusal(f"Invalid batch payload format: the request's '{name}' is missing or is not a string.")
    method, url = asked["method"].upper(), "/" + asked["url"].removeprefix("/")
    if method not in METHODS:
        raise _refusal(f"Invalid batch payload format: the method '{asked['method']}' is not supported.")
    if "://" in url.partition("?")[0] or url.lower().startswith("/$batch"):
        raise _refusal(f"Invalid batch payload format: the url '{asked['url']}' is not one relative to the version.")
    headers, depends_on = asked.get("headers") or {}, asked.get("dependsOn") or []
    if not isinstance(headers, dict) or not all(_is_header(*header) for header in headers.items()):
        raise _refusal("Invalid batch payload format: the headers are not strings.")
    if not isinstance(depends_on, list) or not all(isinstance(each, str) for each in depends_on):
        raise _refusal("Invalid batch payload format: 'dependsOn' is not a list of ids.")
    media_type = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if method in ("POST", "PUT", "PATCH") and not media_type:
        raise _refusal("Write requests (excluding DELETE) must contain the Content-Type header declaration.")
    return Part(asked["id"], method, url, headers, _body(asked.get("body"), media_type), depends_on)


def _is_header(name: str, value: Any) -> bool:
    """Whether a header can be one of an HTTP request."""
    return isinstance(value, str) and name.isascii() and value.isascii() and (name.strip() + value).isprintable()


def _body(body: Any, media_type: str) -> bytes:
    """The bytes of a part's body: those of the JSON, or of what base64 encodes.

    :raises GraphError: it is neither.
    """
    if body is None:
        return b""
    if "json" in media_type.lower():
        return json.dumps(body).encode()
    try:
        return base64.b64decode(body if isinstance(body, str) else "-", validate=True)
    except ValueError:
        raise _refusal("Invalid batch payload format: the body is neither JSON nor base64.") from None


def _in_order(parts: list[Part]) -> list[Part]:
    """The parts, each of them after those that it depends on.

    :raises GraphError: there is no such order, or two parts have the same id.
    """
    if len({part.id for part in parts}) < len(parts):
        raise _refusal("Request Id has to be unique in a batch.")
    ordered: dict[str, Part] = {}
    while len(ordered) < len(parts):
        ready = [part for part in parts if part.id not in ordered and ordered.keys() >= set(part.depends_on)]
        if not ready:
            raise _refusal(
                "Invalid batch payload format: 'dependsOn' names unknown requests, or goes round in circles."
            )
        ordered.update({part.id: part for part in ready})
    return list(ordered.values())


def _fails(part: Part, responses: dict[str, dict[str, Any]]) -> bool:
    return any(responses[each]["status"] >= 400 for each in part.depends_on)


def _failed(part: Part) -> dict[str, Any]:
    """The answer to a part that depends on one that went wrong."""
    error = {"code": "FailedDependency", "message": "A request that this one depends on has failed."}
    return {
        "id": part.id,
        "status": 424,
        "headers": {"Content-Type": "application/json"},
        "body": {"error": error},
    }


def _send(part: Part) -> dict[str, Any]:
    """Answer a part, with the token of the whole request."""
    path, _, query = part.url.partition("?")
    environ = {
        name: value for name, value in request.environ.items() if not name.startswith(("HTTP_", "werkzeug.request"))
    }
    # A header whose name is one of the CGI's own would have the wrong place.
    headers = {f"HTTP_{name.strip().upper().replace('-', '_')}": value for name, value in part.headers.items()}
    environ |= headers
    environ |= {
        "REQUEST_METHOD": part.method,
        "PATH_INFO": unquote_to_bytes(f"/{version()}{path}").decode("latin-1"),
        "QUERY_STRING": query.partition("#")[0].encode().decode("latin-1"),
        "CONTENT_TYPE": headers.get("HTTP_CONTENT_TYPE", ""),
        "CONTENT_LENGTH": str(len(part.body)),
        "wsgi.input": io.BytesIO(part.body),
        "HTTP_HOST": request.host,
        "HTTP_AUTHORIZATION": request.headers["Authorization"],
    }
    application = current_app.extensions.get(ENTRANCE, current_app.wsgi_app)
    try:
        response = AnyResponse.from_app(application, environ, buffered=True)
    except Hangup:  # in a batch, no part has a connection of its own that could be lost
        return {"id": part.id, "status": 504, "headers": {}}
    content = _content(response)
    shown = {name: response.headers[name] for name in SHOWN if name in response.headers}
    if not content:
        shown.pop("Content-Type", None)
    return {"id": part.id, "status": response.status_code, "headers": shown, **content}


def _content(response: AnyResponse) -> dict[str, Any]:
    """The body of an answer: JSON as it is, anything else in base64."""
    data = response.get_data()
    if response.is_json:
        return {"body": json.loads(data)}
    return {"body": base64.b64encode(data).decode()} if data else {}


def _refusal(message: str) -> GraphError:
    return GraphError(400, "BadRequest", message)

"""Several requests to Graph in one (JSON batching): the request's body, and each answer in its place.

https://learn.microsoft.com/graph/json-batching
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask_entra.graph_error import GraphError, of_status
from flask_entra.http_client import seconds_of
from flask_entra.same_error import same
from flask_entra.urls import origin

AT_ONCE = 20  # the most requests of one batch
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_VERSION = re.compile(r"/(v[0-9]+\.[0-9]+|beta)(?=[/?]|$)", re.IGNORECASE)
_MEMBERS = {"id", "method", "url", "headers", "body", "dependsOn"}


def parts_of(requests: Sequence[str | Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """The parts, as Graph wants them, in batches of at most 20.

    :param requests: as `GraphCalls.batch` takes them.
    :raises ValueError, TypeError: one is none; the text says which and why.
    """
    parts = [_part(number, each) for number, each in enumerate(requests, 1)]
    ids = [part["id"] for part in parts]
    if twice := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"two requests of the batch have the id {min(twice)!r}")
    for part in parts:
        if unknown := set(part.get("dependsOn", ())) - set(ids):
            raise ValueError(f"request {part['id']!r} of the batch depends on {min(unknown)!r}, which is not in it")
    if len(parts) > AT_ONCE and any("dependsOn" in part for part in parts):
        raise ValueError(
            f"a batch whose requests depend on each other has at most {AT_ONCE}; this one has {len(parts)}"
        )
    return [parts[start : start + AT_ONCE] for start in range(0, len(parts), AT_ONCE)]


def _part(number: int, request: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(request, str):
        request = {"url": request}
    if not isinstance(request, Mapping) or not isinstance(request.get("url"), str):
        raise TypeError(f"request {number} of the batch is neither a path nor a mapping with a url")
    if unknown := request.keys() - _MEMBERS:
        raise ValueError(
            f"request {number} of the batch has {min(unknown)!r}, which is none of {', '.join(sorted(_MEMBERS))}"
        )
    url = request["url"]
    if not url.startswith("/") or url.startswith("//"):
        there = origin(url) or url[:200]  # the rest of an address of another host may be a secret
        raise ValueError(f"request {number} of the batch: {there!r} does not begin with /")
    if version := _VERSION.match(url):
        raise ValueError(
            f"request {number} of the batch: {url[:200]!r} names a version. Leave {version[0]} out: the batch has one for all, "
            'as in auth.graph.batch(…, version="beta").'
        )
    method = request.get("method", "GET")
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise ValueError(f"request {number} of the batch: the method {method!r} is none of {', '.join(METHODS)}")
    if not isinstance(request.get("headers") or {}, Mapping):
        raise TypeError(f"request {number} of the batch: its headers are no mapping")
    depends_on = request.get("dependsOn", [])
    if not isinstance(depends_on, list | tuple) or not all(isinstance(each, str) for each in depends_on):
        raise TypeError(f"request {number} of the batch: dependsOn is no list of ids, which are texts")
    part = {**request, "id": str(request.get("id", number)), "method": method.upper()}
    if "body" in part and not isinstance(part["body"], str):  # Graph refuses a body of which it is not told the type
        headers = part.get("headers") or {}
        named = any(name.lower() == "content-type" for name in headers)
        part["headers"] = headers if named else {**headers, "Content-Type": "application/json"}
    return part


def failed(error: GraphError, parts: Sequence[Mapping[str, Any]]) -> list[GraphError]:
    """What the failure of a batch is to each of its requests: those that only look have nothing to undo."""
    found = [same(error) for _ in parts]
    for each, part in zip(found, parts, strict=True):
        each.may_have_happened = error.may_have_happened and part["method"] != "GET"
    return found


def answers_of(parts: Sequence[Mapping[str, Any]], answer: object) -> list[Any]:
    """The answers, in the order of the parts: Graph gives them in any.

    :return: for each part the JSON that came, None if nothing did, or a `GraphError`.
    :raises GraphError: `not_understood`: there is no list of answers, so that the changes may have been made.
    """
    found = answer.get("responses") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        error = GraphError("not_understood", "the answer to a batch has no list named responses")
        error.may_have_happened = True
        raise error
    by_id = {each["id"]: each for each in found if isinstance(each, dict) and isinstance(each.get("id"), str)}
    return [_outcome(part, by_id.get(part["id"])) for part in parts]


def _outcome(part: Mapping[str, Any], answer: Mapping[str, Any] | None) -> Any:
    status = answer.get("status") if answer else None
    changes = part["method"] != "GET"
    if answer is None or isinstance(status, bool) or not isinstance(status, int):
        error = GraphError("not_understood", f"the batch has no answer to request {part['id']}")
        error.may_have_happened = changes
        return error
    if 200 <= status < 300:
        return answer.get("body")
    headers = answer.get("headers")
    headers = {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    if status < 400:  # a file, for example: `GraphCalls.download` goes there
        return GraphError("not_understood", f"request {part['id']} leads elsewhere", status=status)
    ids = headers.get("request-id") or headers.get("client-request-id", "")
    challenge = {"WWW-Authenticate": headers.get("www-authenticate", "")}
    error = of_status(status, answer.get("body"), challenge, seconds_of(headers.get("retry-after", "")), ids)
    error.may_have_happened = changes and status >= 500 and error.kind != "throttled"
    return error

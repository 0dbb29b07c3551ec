"""Query options: the fields, the number and the page of what is answered.

https://learn.microsoft.com/graph/query-parameters and https://learn.microsoft.com/graph/paging
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flask import request

from .access import Access
from .answers import GraphError

FARTHEST = 1_000_000_000  # that may be skipped to


def check_options(*known: str) -> None:
    """Refuse a query option that the sandbox does not have, which Graph may have.

    :param known: those that it has.
    :raises GraphError: there is another one, or one twice.
    """
    for name, values in request.args.lists():
        if not name.startswith("$"):
            continue
        if name not in known:
            raise GraphError(
                400, "BadRequest", f"The sandbox has no query option '{name}' here. Microsoft Graph may have it."
            )
        if len(values) > 1:
            message = f"Query option '{name}' was specified more than once, but it must be specified at most once."
            raise GraphError(400, "BadRequest", message)


def chosen(fields: Collection[str], kind: str) -> list[str]:
    """The fields that `$select` names; an empty list stands for all of them.

    :param fields: the names of the fields that there are.
    :param kind: the name of Graph's type, such as "message".
    :raises GraphError: there is no such field.
    """
    names = [name.strip() for name in request.args.get("$select", "").split(",") if name.strip()]
    for name in names:
        if name != "*" and name not in fields:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
            raise GraphError(400, "BadRequest", f"Parsing OData Select and Expand failed: {message}")
    return [] if "*" in names else names


def selected(item: Mapping[str, Any], names: list[str], *always: str) -> dict[str, Any]:
    """An item with the fields that are asked for.

    :param item: the whole item.
    :param names: as `chosen` returns them.
    :param always: the fields that are there in any case.
    """
    return {name: item.get(name) for name in dict.fromkeys((*always, *names))} if names else dict(item)


def page(
    access: Access,
    total: int,
    read: Callable[[int, int], list[dict[str, Any]]],
    size: int = 10,
    largest: int = 1000,
    option: str = "$skip",
) -> dict[str, Any]:
    """A page of a collection: `value`, and where it is so, `@odata.count` and `@odata.nextLink`.

    :param access: the access to Graph, which knows its URL.
    :param total: the number of items in the collection.
    :param read: a function that returns the items from one position up to another.
    :param size: the items on a page without `$top`.
    :param largest: the items on a page at most.
    :param option: the query option by which the link to the next page continues: `$skip` or `$skiptoken`.
    :return: the fields of the answer.
    :raises GraphError: an option is not a number that there is.
    """
    top = _number("$top", largest, least=1, default=size)
    start = _number("$skip", FARTHEST, default=0) if option == "$skip" else _position()
    end = min(start + top, total)
    body: dict[str, Any] = {}
    if wants_count() and (option == "$skip" or "$skiptoken" not in request.args):  # the directory counts once
        body["@odata.count"] = total
    if end < total:
        query = [(name, value) for name, value in request.args.items(multi=True) if name != option]
        query.append((option, str(end) if option == "$skip" else _token(end)))
        path = request.path.removeprefix("/").partition("/")[2]
        body["@odata.nextLink"] = f"{access.url}/{path}?{urlencode(query, safe='$,@', quote_via=quote)}"
    return {**body, "value": read(start, end)}


def wants_count() -> bool:
    """Whether the request asks for the number of all items.

    :raises GraphError: the option is neither true nor false.
    """
    asked = request.args.get("$count", "false").lower()
    if asked not in ("true", "false"):
        message = f"Invalid value '{asked}' for $count query option found. Valid values are 'true' and 'false'."
        raise GraphError(400, "BadRequest", message)
    return asked == "true"


def _number(name: str, largest: int, least: int = 0, default: int = 0) -> int:
    """The number that a query option has.

    :raises GraphError: it is not a number that there is.
    """
    asked = request.args.get(name)
    if asked is None:
        return default
    if not (asked.isascii() and asked.isdecimal() and len(asked) < 12 and least <= int(asked) <= largest):
        raise GraphError(400, "BadRequest", f"Invalid value '{asked}' for {name} query option found.")
    return int(asked)


def _token(position: int) -> str:
    """A `$skiptoken`, which hides the position as Graph's do: a client has to take the link as it is."""
    return base64.urlsafe_b64encode(f"position {position:011}".encode()).decode()


def _position() -> int:
    """The position that the request's `$skiptoken` stands for; 0 without one.

    :raises GraphError: it is not one of `_token`'s.
    """
    token = request.args.get("$skiptoken")
    if token is None:
        return 0
    try:
        position = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("position "))
    except ValueError:
        position = -1
    if not 0 <= position <= FARTHEST or _token(position) != token:
        raise GraphError(400, "Request_BadRequest", "Invalid page token.")
    return position

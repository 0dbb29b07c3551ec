"""Bodies of requests: JSON objects, and the forms that their fields must have.

https://learn.microsoft.com/graph/use-the-api#request-body and https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeAlias

from flask import request

from .answers import GraphError

DEEPEST = 30  # objects and lists in one another

# Gets the name and the value of a field, and raises `Unfit` for a value that the field cannot have.
Check: TypeAlias = Callable[[str, Any], None]


class Unfit(ValueError):
    """A field that does not do; the text is Graph's message."""


def json_body() -> dict[str, Any]:
    """The request's body.

    :return: the JSON object.
    :raises GraphError: it is none.
    """
    data = request.get_data()
    if not data:
        raise GraphError(400, "BadRequest", "Empty Payload. JSON content expected.")
    try:
        if not request.is_json:
            raise ValueError(request.mimetype)
        body = json.loads(data, parse_constant=_no_constant, parse_float=_finite)
        if not isinstance(body, dict) or _depth(body) > DEEPEST:
            raise ValueError("this is no object of Graph's")
        json.dumps(body, ensure_ascii=False).encode()  # half of a surrogate pair could not be answered later
    except (ValueError, RecursionError) as error:
        message = (
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid "
            "JSON format."
        )
        raise GraphError(400, "BadRequest", message) from error
    return body


def checked(
    body: dict[str, Any],
    fields: Mapping[str, Check],
    kind: str,
    code: str = "RequestBodyRead",
    ignored: Collection[str] = (),
) -> dict[str, Any]:
    """The fields of a body that a client may set, once each of them is known and has its form.

    :param body: the body, or a part of it.
    :param fields: the fields that may be set.
    :param kind: the name of Graph's type, such as "event".
    :param code: the code of the error.
    :param ignored: fields that exist, but that a client cannot set: Outlook ignores them.
    :return: the fields. Annotations, such as `@odata.type`, are left out.
    :raises GraphError: a field is unknown, or has another form.
    """
    given = {name: value for name, value in body.items() if "@" not in name and name not in ignored}
    try:
        shape(fields, kind)(kind, given)
    except Unfit as error:
        raise GraphError(400, code, str(error)) from error
    return given


def text(name: str, value: Any) -> None:
    """The form of a text, which may be null."""
    if value is not None and not isinstance(value, str):
        _unexpected(name, value, "PrimitiveValue")


def flag(name: str, value: Any) -> None:
    """The form of a truth value."""
    if value is not None and not isinstance(value, bool):
        raise Unfit(f"Cannot convert the value of property '{name}' to the expected type 'Edm.Boolean'.")


def number(name: str, value: Any) -> None:
    """The form of a whole number of 32 bits."""
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
    if value is not None and not whole:
        raise Unfit(f"Cannot convert the value of property '{name}' to the expected type 'Edm.Int32'.")


def anything(name: str, value: Any) -> None:
    """The form of an object that the sandbox keeps as it is."""
    if value is not None and not isinstance(value, dict):
        _unexpected(name, value, "StartObject")


def one_of(*words: str) -> Check:
    """The form of a field that has one of several words as its value, in any case."""

    def check(name: str, value: Any) -> None:
        text(name, value)
        if value is not None and value.lower() not in [word.lower() for word in words]:
            raise Unfit(f"Requested value '{value}' was not found.")

    return check


def many(each: Check) -> Check:
    """The form of a list.

    :param each: the form of its items, which must not be null.
    """

    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            _unexpected(name, value, "StartArray")
        for item in value:
            if item is None:
                raise Unfit(f"A null value was found for an item of the property '{name}', which is not nullable.")
            each(name, item)

    return check


def shape(fields: Mapping[str, Check], kind: str) -> Check:
    """The form of an object.

    :param fields: the form of each of its fields, none of which is required.
    :param kind: the name of Graph's type, such as "itemBody".
    """

    def check(name: str, value: Any) -> None:
        anything(name, value)
        for field, content in (value or {}).items():
            if "@" in field:  # an annotation
                continue
            if field not in fields:
                raise Unfit(
                    f"The property '{field}' does not exist on type 'microsoft.graph.{kind}'. Make sure to only use "
                    "property names that are defined by the type or mark the type as open type."
                )
            fields[field](field, content)

    return check


ADDRESS = shape({"name": text, "address": text}, "emailAddress")
RECIPIENT = shape({"emailAddress": ADDRESS}, "recipient")
ITEM_BODY = shape({"contentType": one_of("text", "html"), "content": text}, "itemBody")


def _unexpected(name: str, value: Any, expected: str) -> NoReturn:
    found = "StartObject" if isinstance(value, dict) else "StartArray" if isinstance(value, list) else "PrimitiveValue"
    raise Unfit(
        f"An unexpected '{found}' node was found for property named '{name}' when reading from the JSON reader. "
        f"A '{expected}' node was expected."
    )


def _no_constant(name: str) -> NoReturn:
    """Refuse what Python reads, but is not JSON: NaN and Infinity."""
    raise ValueError(name)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value


def _depth(value: Any) -> int:
    """How many objects and lists stand in one another."""
    level, depth = [value], 0
    while level:
        inner = [each for each in level if isinstance(each, (dict, list))]
        level = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
        depth += bool(inner)
    return depth

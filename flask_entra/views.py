"""View functions as this package marks them."""

from __future__ import annotations

from functools import update_wrapper, wraps
from types import FunctionType
from typing import Any, TypeVar

V = TypeVar("V", bound=Any)


def copy_of(view: V) -> V:
    """The same view as another object: a mark on it is for where it is registered, not where the view is registered too."""
    if not isinstance(view, FunctionType):  # an object that can be called
        return wraps(view)(lambda *args, **kwargs: view(*args, **kwargs))  # type: ignore[return-value]
    copy = FunctionType(view.__code__, view.__globals__, view.__name__, view.__defaults__, view.__closure__)
    copy.__kwdefaults__ = view.__kwdefaults__
    return update_wrapper(copy, view)  # type: ignore[return-value]  # it has the view's own signature

"""An error that is raised several times: by each of the threads that have waited for the same answer, or later once more."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def same(error: E) -> E:
    """The same error as another object, without a traceback: its frames would be kept alive, or shared by several threads.

    `copy.copy` would call the class with the error's text, which not each of them can be made of.
    """
    other: E = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    return other

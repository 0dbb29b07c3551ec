"""A JSON object in lines, to be shown in colours. (Pygments does it too, for every language there is, with 4 MB of code.)"""

from __future__ import annotations

import json
import re
from typing import Any

HUGE = 100_000  # characters that are shown
COLOURED = 20_000  # characters up to which there are colours: they make a page ten times as large
DEEPEST = 9  # levels that `style.css` indents

Line = tuple[int, list[tuple[str, str]]]

_PIECE = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"(?=:[ ]))|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)
    |[^"\w-]+|.""",
    re.VERBOSE,
)


def of(value: dict[str, Any]) -> list[Line]:
    """The lines of an object.

    :param value: what JSON can hold.
    :return: for each line its depth, up to `DEEPEST`, and its pieces: what each is (`key`, `text`, `number`, `word`, or nothing)
        and its characters. The pieces together are the JSON, with an ellipsis where it is cut off.
    """
    written = json.dumps(value, ensure_ascii=False)
    if len(written) <= HUGE:  # indentation can make it a hundred times as long
        written = json.dumps(value, ensure_ascii=False, indent=2)
    if len(written) > COLOURED:
        return [(0, [("", written[:HUGE] + ("…" if len(written) > HUGE else ""))])]
    return [_line(line) for line in written.split("\n")]


def _line(line: str) -> Line:
    pieces = [(match.lastgroup or "", match[0]) for match in _PIECE.finditer(line)]
    return min((len(line) - len(line.lstrip(" "))) // 2, DEEPEST), pieces

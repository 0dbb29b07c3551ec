"""A `.env` file: read whatever its encoding is, with the line of each value."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dotenv.main import resolve_variables
from dotenv.parser import Binding, parse_stream

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


_FIRST_WORD = re.compile(r"\W*(?:export\s+|set\s+|\$env:)?(\w*).*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One setting of a `.env` file, or a line that is none.

    :ivar number: where it begins; the first line is 1.
    :ivar name: what stands before the equals sign; for a line that cannot be understood, the word that it begins with.
    :ivar value: as it is written; None when there is no equals sign.
    :ivar broken: whether the line cannot be understood.
    """

    number: int
    name: str
    value: str | None
    broken: bool = False


@dataclass(frozen=True)
class Dotenv:
    """A `.env` file.

    :ivar path: where it is, or would be.
    :ivar lines: the settings in it.
    :ivar values: the last value of each name, with `${NAME}` replaced as python-dotenv and Flask do.
    :ivar encoding: what it is written in.
    :ivar error: why it cannot be read, or None.
    """

    path: Path
    lines: list[Line] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    error: OSError | None = None

    @classmethod
    def read(cls, path: Path) -> Dotenv:
        """Read a file; one that is not there has no lines.

        :param path: the file.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            return cls(path, error=error)
        encoding = _encoding(data)
        text = data.decode(encoding, "replace")
        lines = list(_lines(text))
        found = resolve_variables([(line.name, line.value) for line in lines if not line.broken], override=True).items()
        # No variable of the environment can hold a null character, or have an empty name.
        values = {name: value.replace("\0", "") for name, value in found if name.strip("=\0") and value is not None}
        return cls(path, lines, values, encoding)

    def last(self, name: str) -> Line | None:
        """The line that counts for a name: the last of those that have a value."""
        return next((line for line in reversed(self.lines) if line.name == name and line.value is not None), None)


def is_skipped(environ: Mapping[str, str]) -> bool:
    """Whether no `.env` is to be read, as Flask understands `FLASK_SKIP_DOTENV`.

    :param environ: the environment.
    """
    return environ.get("FLASK_SKIP_DOTENV", "").lower() not in ("", "0", "false", "no")


@dataclass(frozen=True)
class Source:
    """Where the value of a setting came from.

    :ivar kind: the process's environment, a file, Flask's configuration, or nowhere: it is the default.
    :ivar file: the path of the file.
    :ivar line: in the file; the first line is 1.
    :ivar instead_of: the place in a file whose value lost to the environment's, or None.
    """

    kind: Literal["environment", "file", "configuration", "default"]
    file: Path | None = None
    line: int = 0
    instead_of: Source | None = None


def _encoding(data: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    # Without a mark: English text in UTF-16 has a null byte in each pair.
    if data[1:2] == b"\0" or data[:1] == b"\0":
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"  # what Windows calls ANSI in Western Europe; nearly the same as Latin-1
    return "utf-8"


def _lines(text: str) -> Iterator[Line]:
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            yield Line(_number(binding), _FIRST_WORD.sub(r"\1", binding.original.string), None, broken=True)
        elif binding.key is not None:
            yield Line(_number(binding), binding.key, binding.value)


def _number(binding: Binding) -> int:
    # python-dotenv counts the empty lines before a setting as its own.
    written = binding.original.string
    blank = written[: len(written) - len(written.lstrip())].replace("\r\n", "\n").replace("\r", "\n")
    return int(binding.original.line) + blank.count("\n")

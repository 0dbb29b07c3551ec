"""The shape of the app's one table of settings. The table itself is in `app_config.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Setting:
    """One setting.

    :ivar default: its value when it is left out.
    :ivar kind: what it holds. A `secret` is never shown, a `path` is relative to the app's folder, an `id` and a `url` hold
        no space, a `count` is a number.
    """

    default: str = ""
    kind: Literal["text", "secret", "path", "id", "url", "count"] = "text"


class Settings(dict[str, str]):
    """Each setting of the table as it was written, or its default.

    :param table: the settings that there are.
    :param environ: the names and values that were given.
    :param root: the app's folder.
    :ivar table: the same table.
    :ivar dotenv: the path of `.env`.
    """

    def __init__(self, table: Mapping[str, Setting], environ: Mapping[str, str], root: Path):
        self.table, self.dotenv = table, root / ".env"
        for name, setting in table.items():
            value = environ.get(name, setting.default).strip()
            # A setting that is there but empty counts as left out, except SCOPE: empty says that no scope is wanted.
            if not value and name != "SCOPE":
                value = setting.default
            if value and setting.kind == "path":  # not relative to wherever the app happens to be started
                value = str(root / value)
            self[name] = value


def number(value: str) -> int | None:
    """A count, or None for a text that is not one."""
    return int(value) if value.isdecimal() and value.isascii() else None

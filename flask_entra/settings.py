"""The shape of the app's one table of settings. The table itself is in `app_config.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from flask_entra.environment import Dotenv, Source


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
    :param environ: the names and values that were given; those of `.env` are among them.
    :param dotenv: the `.env` in the app's folder.
    :param elsewhere: another `.env` that Flask has read, because it was started in another folder; None if there is none.
    :ivar table: the same table; likewise `environ`, `dotenv` and `elsewhere`.
    """

    def __init__(
        self, table: Mapping[str, Setting], environ: Mapping[str, str], dotenv: Dotenv, elsewhere: Dotenv | None = None
    ):
        self.table, self.environ, self.dotenv, self.elsewhere = table, environ, dotenv, elsewhere
        for name, setting in table.items():
            value = environ.get(name, setting.default).strip()
            # A setting that is there but empty counts as left out, except SCOPE: empty says that no scope is wanted.
            if not value and name != "SCOPE":
                value = setting.default
            if value and setting.kind == "path":  # not relative to wherever the app happens to be started
                value = str(dotenv.path.parent / value)
            self[name] = value

    def source(self, name: str) -> Source | None:
        """Where a value came from, or None for a setting that has none.

        :param name: of a setting, or of any other variable.
        """
        given = self.environ.get(name)
        if given is None or (not given.strip() and name != "SCOPE"):
            return Source("default") if self.get(name) else None
        places = []
        for dotenv in filter(None, (self.elsewhere, self.dotenv)):
            line = dotenv.last(name)
            if line and name in dotenv.values:
                place = Source("file", dotenv.path, line.number)
                # Flask has put the file's values into the environment already, where nothing tells them from others.
                if dotenv.values[name] == given:
                    return place
                places.append(place)
        return Source("environment", instead_of=places[0] if places else None)


def number(value: str) -> int | None:
    """A count, or None for a text that is not one."""
    return int(value) if value.isdecimal() and value.isascii() else None

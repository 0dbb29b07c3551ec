"""The setting `GROUPS`: names that views and pages may use for groups, which Entra knows by ids."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flask_entra.clouds import GUID

_ENTRY = re.compile(rf"([^=]*\S)\s*=\s*({GUID.pattern})", re.IGNORECASE)


def read(value: str) -> tuple[dict[str, str], list[str]]:
    """The groups in the setting, and the entries that name none.

    :param value: `managers=<object id>, staff=<object id>`.
    :return: the id of each name, in lower case; the entries that are malformed, or give a name a second time.
    """
    names: dict[str, str] = {}
    malformed = []
    for entry in filter(None, map(str.strip, value.split(","))):
        found = _ENTRY.fullmatch(entry)
        if found and not GUID.fullmatch(found[1]) and names.get(found[1], found[2].lower()) == found[2].lower():
            names[found[1]] = found[2].lower()
        else:
            malformed.append(entry)
    return names, malformed


def written(groups: Mapping[object, object]) -> str:
    """The setting as a text, from a dictionary in Flask's configuration."""
    return ", ".join(f"{name}={group}" for name, group in groups.items())


def shown(names: Mapping[str, str], group: str) -> str:
    """A group for a page: its name, if it has one, and its id.

    :param names: as `read` gives them.
    :param group: the id.
    """
    name = name_of(names, group)
    return f"{name} ({group})" if name else group


def name_of(names: Mapping[str, str], group: str) -> str | None:
    """The first name that the setting gives to a group; None if it gives it none.

    :param group: the id.
    """
    return next((name for name, each in names.items() if each == group.lower()), None)

"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask_entra.pages.languages import Text

Level = Literal["right", "odd", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was found about one setting.

    :ivar setting: its name.
    :ivar level: `wrong` keeps everybody from signing in, `odd` is worth a look.
    :ivar found: what was found, to be read after the setting's name.
    :ivar mend: what to do about it.
    """

    setting: str | Text
    level: Level
    found: str | Text
    mend: str | Text = ""

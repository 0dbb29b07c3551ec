"""`entra` in templates: who is signed in, and what a page needs to know of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g, session

from flask_entra.config import Config
from flask_entra.pages.languages import Span
from flask_entra.pages.names import name_of
from flask_entra.signin.current_user import USERINFO, get_user


class Face:
    """What templates see of this package. The session is read only when a page uses them.

    :param config: the app's.
    :param has_signed_out: whether the person has just signed out; it says so once.
    :ivar config: the same.
    """

    def __init__(self, config: Config, has_signed_out: Callable[[], bool]):
        self.config, self._has_signed_out = config, has_signed_out

    @property
    def user(self) -> dict[str, Any] | None:
        """The claims of the person who is signed in, or None. A page that tells of a failed store has nobody."""
        return None if "entra_no_session" in g else get_user()

    name_of, span = staticmethod(name_of), Span

    @property
    def api(self) -> str:
        """The address that shows the person's profile: `ENDPOINT`, or the userinfo endpoint; empty if there is none."""
        return self.config.endpoint or ("" if "entra_no_session" in g else session.get(USERINFO, ""))

    def signed_out_just_now(self) -> bool:
        """Whether the person has just signed out. It is said once."""
        return self._has_signed_out()

"""`entra` in templates: who is signed in, and what a page needs to know of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g, session

from flask_entra.config import Config
from flask_entra.pages.languages import Span, Text
from flask_entra.pages.languages import Text as _
from flask_entra.pages.names import name_of
from flask_entra.signin.current_user import USERINFO, get_user
from flask_entra.signin.sign_out import Ended


class Face:
    """What templates see of this package. The session is read only when a page uses them.

    :param config: the app's.
    :param ended: why nobody is signed in any more; it says so once.
    :ivar config: the same.
    """

    def __init__(self, config: Config, ended: Callable[[], Ended | None]):
        self.config, self._ended = config, ended

    @property
    def user(self) -> dict[str, Any] | None:
        """The claims of the person who is signed in, or None. A page that tells of a failed store has nobody."""
        return None if "entra_no_session" in g else get_user()

    name_of, span = staticmethod(name_of), Span

    @property
    def api(self) -> str:
        """The address that shows the person's profile: `ENDPOINT`, or the userinfo endpoint; empty if there is none."""
        return self.config.endpoint or ("" if "entra_no_session" in g else session.get(USERINFO, ""))

    def signed_out_just_now(self) -> Text | None:
        """For a page for nobody: why the person who was signed in is no longer, in words. None if nobody was. It is said once."""
        ended = self._ended()
        if ended is None:
            return None
        idle, longest = Span(self.config.idle_seconds), Span(self.config.longest_seconds)
        told = {
            Ended.BY_THEMSELVES: _("You have signed out."),
            Ended.IDLE: _("You have been signed out after %(idle)s without use.", idle=idle),
            Ended.LONGEST: _(
                "You have been signed out: a session ends after %(idle)s without use, and %(longest)s after the sign-in.",
                idle=idle,
                longest=longest,
            ),
            Ended.SOONER: _("Your session has been ended, for example by a sign-out in another app."),
        }
        return told[ended]

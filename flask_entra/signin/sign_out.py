"""Sign-out, guarded against other sites (cross-site request forgery), and the browser's note of why nobody is signed in any more.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
"""

from __future__ import annotations

import time
from enum import Enum
from typing import Any

from flask import Response, after_this_request, request

from flask_entra import cookies, cross_site
from flask_entra.config import Config
from flask_entra.urls import is_ours

NOTE_SECONDS = 300  # to sign out at the authority, where a person may have to pick an account
KEPT_SECONDS = 24 * 3600  # that the note is kept after a session has ended
_BY_THEMSELVES = "1"


def is_wanted(config: Config) -> bool:
    """Whether the person has asked for it: on a page of this app, or by typing the address. Another site has not.

    Of a link, old browsers say only on which page it was (`Referer`). One that says nothing at all is believed: its cookie is
    still kept from other sites' forms (SameSite).
    """
    if cross_site.told_by(config):
        return False
    told = any(name in request.headers for name in ("Sec-Fetch-Site", "Origin"))
    return told or request.referrer is None or is_ours(request.referrer, request.host_url, config.redirect_uri)


class Ended(Enum):
    """Why the person who was signed in in a browser no longer is."""

    BY_THEMSELVES = "they have signed out"
    IDLE = "the session was not used for as long as it may not be"
    LONGEST = "that, or the time for which a session lives at most, is over"
    SOONER = "the session was ended from elsewhere, or has been lost"


class Note:
    """The note in the browser that somebody has signed in there (the time, in Unix seconds), or has just signed out.

    :param config: the app's.
    """

    def __init__(self, config: Config):
        self._config = config

    def begin(self, response: Response) -> Response:
        """Note that somebody has signed in, so that a page can say why they are no longer once their session has ended."""
        kept = self._config.longest_seconds + KEPT_SECONDS if self._config.cookie_persistent else None
        response.set_cookie(value=str(int(time.time())), max_age=kept, **self._cookie())
        return response

    def leave(self, response: Response) -> Response:
        """Let the next page say that the person has signed out."""
        response.set_cookie(value=_BY_THEMSELVES, max_age=NOTE_SECONDS, **self._cookie())
        return response

    def read(self) -> Ended | None:
        """Why nobody is signed in any more, on a page for nobody; None if nobody was. It is said once."""
        value = request.cookies.get(self._cookie()["key"])
        if value is None:
            return None
        after_this_request(self._remove)
        if value == _BY_THEMSELVES or not (value.isdecimal() and value.isascii()):
            return Ended.BY_THEMSELVES
        seconds = time.time() - int(value[:12])
        if seconds < self._config.idle_seconds:
            return Ended.SOONER
        return Ended.IDLE if seconds < self._config.longest_seconds else Ended.LONGEST

    def _remove(self, response: Response) -> Response:
        response.delete_cookie(**self._cookie())
        return response

    def _cookie(self) -> dict[str, Any]:
        return cookies.attributes(self._config, "signed-out")

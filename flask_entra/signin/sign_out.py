"""Sign-out, guarded against other sites (cross-site request forgery), and the note that it has happened.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
"""

from __future__ import annotations

from typing import Any

from flask import Response, after_this_request, request

from flask_entra import cookies, cross_site
from flask_entra.config import Config
from flask_entra.urls import is_ours

NOTE_SECONDS = 300  # to sign out at the authority, where a person may have to pick an account


def is_wanted(config: Config) -> bool:
    """Whether the person has asked for it: on a page of this app, or by typing the address. Another site has not.

    Of a link, old browsers say only on which page it was (`Referer`). One that says nothing at all is believed: its cookie is
    still kept from other sites' forms (SameSite).
    """
    if cross_site.told_by(config):
        return False
    told = any(name in request.headers for name in ("Sec-Fetch-Site", "Origin"))
    return told or request.referrer is None or is_ours(request.referrer, request.host_url, config.redirect_uri)


class Note:
    """The note in the browser that the person has just signed out.

    :param config: the app's.
    """

    def __init__(self, config: Config):
        self._config = config

    def leave(self, response: Response) -> Response:
        """Let the next page say that the person has signed out."""
        response.set_cookie(value="1", max_age=NOTE_SECONDS, **self._cookie())
        return response

    def remove(self, response: Response) -> Response:
        """Say it no more: it has been said, or the person has signed in again."""
        if self._is_there():
            response.delete_cookie(**self._cookie())
        return response

    def read(self) -> bool:
        """Whether the person has just signed out. It is said once."""
        after_this_request(self.remove)
        return self._is_there()

    def _is_there(self) -> bool:
        return self._cookie()["key"] in request.cookies

    def _cookie(self) -> dict[str, Any]:
        return cookies.attributes(self._config, "signed-out")

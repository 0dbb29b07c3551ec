"""Sign-out, guarded against other sites (cross-site request forgery), and the note that it has happened.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
"""

from __future__ import annotations

from typing import Any

from flask import Response, after_this_request, request

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.urls import is_ours

NOTE_SECONDS = 300  # to sign out at the authority, where a person may have to pick an account


def is_wanted(config: Config) -> bool:
    """Whether the person has asked for it: on a page of this app, or by typing the address. Another site has not.

    Browsers say where a request comes from (`Sec-Fetch-Site`). Old ones that do not, say it with a form (`Origin`), or with a
    link (`Referer`). One that says nothing at all is believed: its cookie is still kept from other sites' forms (SameSite).
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    source = request.headers.get("Origin", request.referrer)
    return source is None or is_ours(source, request.host_url, config.redirect_uri)


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

"""The account that signed in last in a browser (`REMEMBER_ACCOUNT`), so that the next sign-in need not ask for it.

It stands in a cookie, encrypted with a key of the app's (`sealed`): no script of a page reads it, nor does anybody who finds
the cookie, and only this app makes one. It signs nobody in: the authority decides, as always.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Response, request

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.hints import is_login_hint
from flask_entra.sealed import opened, sealed

_PURPOSE = "account"
REMEMBERED_SECONDS = 90 * 24 * 3600
# The claims that a `login_hint` may be, the best first: the optional one, which is made for this, tells nothing about the person.
CLAIMS = ("login_hint", "preferred_username", "email")


class Remembered:
    """The account that is remembered in the browser that makes the present request.

    :param config: the app's. Without a key to encrypt with, or without the setting, nothing is remembered.
    """

    def __init__(self, config: Config):
        self._config = config

    def hint(self) -> str | None:
        """The `login_hint` of the account; None when there is none."""
        value = request.cookies.get(self._cookie()["key"], "") if self._config.remember_account else ""
        at, _, hint = (opened(self._config, _PURPOSE, value) or "").partition(" ")
        fresh = at.isdecimal() and 0 <= time.time() - int(at) < REMEMBERED_SECONDS
        return hint if fresh and is_login_hint(hint) else None

    def keep(self, response: Response, user: dict[str, Any]) -> Response:
        """Remember the account of a person who has signed in, instead of the one before.

        :param user: the claims of the ID token.
        """
        hints = (user.get(claim) for claim in CLAIMS)
        hint = next((each for each in hints if isinstance(each, str) and is_login_hint(each)), None)
        if not (hint and self._config.remember_account and self._config.signing_keys):
            return self.forget(response)
        value = sealed(self._config, _PURPOSE, f"{int(time.time())} {hint}")
        response.set_cookie(value=value, max_age=REMEMBERED_SECONDS, **self._cookie())
        return response

    def forget(self, response: Response) -> Response:
        """Remember no account: the person has signed out, or could not sign in."""
        if self._cookie()["key"] in request.cookies:
            response.delete_cookie(**self._cookie())
        return response

    def _cookie(self) -> dict[str, Any]:
        return cookies.attributes(self._config, "account")

"""The account that signed in last in a browser (`REMEMBER_ACCOUNT`), so that the next sign-in need not ask for it.

It stands in a cookie, encrypted (AES-256-GCM) with a key of the app's: no script of a page reads it, nor does anybody who finds
the cookie, and only this app makes one. It signs nobody in: the authority decides, as always.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Response, request

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.hints import is_login_hint

REMEMBERED_SECONDS = 90 * 24 * 3600
NONCE_BYTES = 12
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
        for key in reversed(self._config.signing_keys):
            if (opened := self._opened(key, value)) is not None:
                at, _, hint = opened.partition(" ")
                fresh = at.isdecimal() and 0 <= time.time() - int(at) < REMEMBERED_SECONDS
                return hint if fresh and is_login_hint(hint) else None
        return None

    def keep(self, response: Response, user: dict[str, Any]) -> Response:
        """Remember the account of a person who has signed in, instead of the one before.

        :param user: the claims of the ID token.
        """
        hints = (user.get(claim) for claim in CLAIMS)
        hint = next((each for each in hints if isinstance(each, str) and is_login_hint(each)), None)
        if not (hint and self._config.remember_account and self._config.signing_keys):
            return self.forget(response)
        nonce, content = secrets.token_bytes(NONCE_BYTES), f"{int(time.time())} {hint}".encode()
        sealed = nonce + self._cipher(self._config.signing_keys[-1]).encrypt(nonce, content, None)
        value = base64.urlsafe_b64encode(sealed).decode()
        response.set_cookie(value=value, max_age=REMEMBERED_SECONDS, **self._cookie())
        return response

    def forget(self, response: Response) -> Response:
        """Remember no account: the person has signed out, or could not sign in."""
        if self._cookie()["key"] in request.cookies:
            response.delete_cookie(**self._cookie())
        return response

    def _opened(self, key: bytes, value: str) -> str | None:
        try:
            sealed = base64.b64decode(value.encode("ascii"), b"-_", validate=True)
            return self._cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except (ValueError, InvalidTag):  # it is another app's, forged, or of a key that is not used any more
            return None

    @staticmethod
    def _cipher(key: bytes) -> AESGCM:
        return AESGCM(hmac.digest(key, b"remembered account", "sha256"))

    def _cookie(self) -> dict[str, Any]:
        return cookies.attributes(self._config, "account")

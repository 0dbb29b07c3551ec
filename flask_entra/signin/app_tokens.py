"""Access tokens for the app itself, for what it may do without a person (client credentials, RFC 6749, 4.4).

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, TypeVar

import msal

from flask_entra.config import Config
from flask_entra.signin.authority import Authority
from flask_entra.signin.client import Client
from flask_entra.signin.errors import AppTokenRefused, AuthorityUnavailable
from flask_entra.signin.token_cache import LAST_SECONDS, MARGIN_SHARE, RENEW_SECONDS, as_token
from flask_entra.signin.tokens import COMES_BACK

# After an API has refused a token, the one in its place is not replaced for so long; after the authority has refused to give
# one, it is not asked again for so long.
REFUSED_SECONDS = 10
KEPT_AT_MOST = 100  # lists of scopes

T = TypeVar("T")
log = logging.getLogger(__name__)


class AppTokens:
    """The app's own access tokens, in the memory of this process. Safe to share among threads: one asks, the others wait.

    :param authority: what issues them.
    :param client: this app, as its client.
    :param config: the app's.
    """

    def __init__(self, authority: Authority, client: Client, config: Config):
        self._authority, self._client, self._config = authority, client, config
        self._lock = threading.Lock()
        # The token, its type, how long it lives (seconds) and when it ends (monotonic).
        self._kept: dict[tuple[str, ...], tuple[str, str, int, float]] = {}
        self._replaced: dict[tuple[str, ...], float] = {}  # when a token was last asked for because an API refused one
        self._refused: dict[
            tuple[str, ...], tuple[float, str, str]
        ] = {}  # when the authority has refused, and its words

    def get(self, scopes: list[str], claims: str | None = None, *, refused: str = "") -> dict[str, Any]:
        """A token.

        :param scopes: of one API, each as `<API>/.default`: all that the app has been given there.
        :param claims: a claims challenge to pass on (JSON).
        :param refused: a token that the API has refused, in whose place another one is wanted.
        :return: `access_token`, `token_type`, `expires_in` (seconds) and `scopes`. It is the refused token if that has just taken
            the place of another one: an API that refuses every token must not make each call a token request.
        :raises ValueError: a scope is a person's to grant, or the app has no credential.
        :raises AppTokenRefused: the authority refuses.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        if not scopes or not all(each.endswith("/.default") for each in scopes):
            raise ValueError(
                f"{scopes!r}: an app has no scopes of its own but <API>/.default, such as https://graph.microsoft.com/.default"
            )
        if not self._config.client_credential:
            raise ValueError(
                "Only an app with a credential has tokens of its own: set CLIENT_SECRET, or another credential."
            )
        key = tuple(scopes)
        if found := self._found(key, refused):
            return found
        with self._authority.waiting("the app"), self._lock:
            if found := self._found(key, refused):  # another thread has asked meanwhile
                return found
            if refused:
                just_replaced = time.monotonic() - self._replaced.get(key, float("-inf")) < REFUSED_SECONDS
                if just_replaced and (found := self._found(key, due=False)):
                    return found
                self._keep(self._replaced, key, time.monotonic())
            try:
                return self._ask(scopes, claims)
            except (AuthorityUnavailable, AppTokenRefused) as error:
                if found := self._found(key, refused, due=False):
                    log.warning("The app's own token is used to its end, because it cannot be renewed: %s", error)
                    return found
                raise

    def _found(self, key: tuple[str, ...], refused: str = "", *, due: bool = True) -> dict[str, Any] | None:
        """The token that is kept, if it is not the refused one.

        :param due: whether one that is to be renewed soon is none.
        """
        token, kind, lifetime, until = self._kept.get(key, ("", "", 0, 0.0))
        left = until - time.monotonic()
        margin = min(RENEW_SECONDS if due else LAST_SECONDS, lifetime * MARGIN_SHARE)
        return {**as_token(token, kind, int(left)), "scopes": list(key)} if left > margin and token != refused else None

    def _ask(self, scopes: list[str], claims: str | None) -> dict[str, Any]:
        at, error, description = self._refused.get(tuple(scopes), (float("-inf"), "", ""))
        if time.monotonic() - at < REFUSED_SECONDS:
            raise AppTokenRefused(error, description, scopes)
        cache, provider = msal.SerializableTokenCache(), self._authority.provider
        began = time.monotonic()
        result = self._client.ask(
            lambda app: app.acquire_token_for_client(scopes, claims_challenge=claims), cache, provider
        )
        if "access_token" not in result:
            error, description = result.get("error", ""), result.get("error_description", "")
            if error in COMES_BACK:
                raise AuthorityUnavailable(f"the token endpoint answers {error}")
            self._keep(self._refused, tuple(scopes), (time.monotonic(), error, description))
            raise AppTokenRefused(error, description, scopes)
        log.info("Token of the app's own for %s", " ".join(scopes))
        lifetime = int(result.get("expires_in", 0))
        kept = result["access_token"], result.get("token_type", "Bearer"), lifetime, began + lifetime
        self._keep(self._kept, tuple(scopes), kept)
        return {**as_token(result["access_token"], result.get("token_type"), lifetime), "scopes": list(scopes)}

    @staticmethod
    def _keep(there: dict[tuple[str, ...], T], key: tuple[str, ...], value: T) -> None:
        there.pop(key, None)
        while len(there) >= KEPT_AT_MOST:
            del there[next(iter(there))]  # the oldest
        there[key] = value

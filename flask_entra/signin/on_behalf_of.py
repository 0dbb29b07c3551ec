"""Tokens for another API, on behalf of the person whose bearer token came with the present request.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow, which is Entra's form of RFC 7523, 2.1. What the
caller is told: https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, TypeAlias

import msal

from flask_entra.bearer import merged_claims
from flask_entra.config import Config
from flask_entra.same_error import same
from flask_entra.scopes import missing_scopes
from flask_entra.signin import access_token
from flask_entra.signin.authority import Authority
from flask_entra.signin.callers_tokens import Caller, present
from flask_entra.signin.client import Client
from flask_entra.signin.errors import AuthorityUnavailable, CallerRefused, IdTokenRefused, SignInError, person
from flask_entra.signin.token_cache import as_token
from flask_entra.signin.tokens import COMES_BACK

KEPT_AT_MOST = 1000
LAST_SECONDS = 60  # before the end of either token, from when on the kept one is not used any more
# What the token endpoint says when another token of the caller may help (RFC 6749, 5.2; OpenID Connect Core, 3.1.2.6).
_WANTS_ANOTHER = {"invalid_grant", "interaction_required", "login_required"}

_Key: TypeAlias = tuple[str, ...]
log = logging.getLogger(__name__)


class OnBehalfOf:
    """The tokens that callers' tokens are exchanged for. Safe to share among threads; each process keeps its own.

    It stands in the place of `Tokens` where a bearer token decides, and has the same two methods.

    :param authority: what issues them.
    :param client: this app, as its client.
    :param config: the app's.
    """

    def __init__(self, authority: Authority, client: Client, config: Config):
        self._authority, self._client, self._config = authority, client, config
        self._lock = threading.Lock()
        # By the digest of the caller's token and the scopes: the token, and until when it may be used (Unix seconds).
        self._kept: OrderedDict[_Key, tuple[dict[str, Any], float]] = OrderedDict()
        self._asked: dict[_Key, Future[dict[str, Any]]] = {}  # those that are being asked for

    def context(self, user: dict[str, Any] | None, scopes: list[str] | None) -> dict[str, Any]:
        """What `Auth.context` gives in a view that takes bearer tokens.

        :param user: not read: the caller's token says whose it is.
        :param scopes: the scopes of the access token, all of one API; None for no token.
        :return: `user`, the claims of the caller's token; with scopes also `access_token`, `token_type`, `expires_in` (seconds)
            and `scopes`, those that were asked for.
        :raises CallerRefused: the caller has to bring another token, or the person has not consented.
        :raises SignInError: the authority refuses for another reason, which is this app's to mend.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        caller = _caller()
        if scopes is None:
            return {"user": caller.claims}
        token = self._found(_key(caller, scopes)) or self._asked_once(caller, scopes, None)
        return {"user": caller.claims, **token, "scopes": list(scopes)}

    def renew(self, scopes: list[str] | None = None, claims: str | None = None) -> dict[str, Any]:
        """A new access token, in the place of one that an API refuses.

        :param scopes: None means `SCOPE`.
        :param claims: a claims challenge to pass on (JSON).
        :return: `access_token`, `token_type` and `expires_in` (seconds).
        :raises CallerRefused, SignInError, AuthorityUnavailable: as `context` does.
        """
        return self._asked_once(_caller(), self._config.scope if scopes is None else scopes, merged_claims(claims))

    def keep(self, caller: Caller, scopes: list[str], token: dict[str, Any]) -> None:
        """Keep a token for as long as it and the caller's token last. Beyond `KEPT_AT_MOST`, the longest unused one goes."""
        until = min(time.time() + token["expires_in"], caller.claims["exp"]) - LAST_SECONDS
        with self._lock:
            self._kept[_key(caller, scopes)] = token, until
            self._kept.move_to_end(_key(caller, scopes))
            while len(self._kept) > KEPT_AT_MOST:
                self._kept.popitem(last=False)

    def _found(self, key: _Key) -> dict[str, Any] | None:
        with self._lock:
            token, until = self._kept.get(key, ({}, 0.0))
            left = until - time.time()
            if left <= 0:
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
        return {**token, "expires_in": int(left) + LAST_SECONDS}

    def _asked_once(self, caller: Caller, scopes: list[str], claims: str | None) -> dict[str, Any]:
        """Ask for a token, or wait for the answer to another request that asks for the same one."""
        key = (*_key(caller, scopes), claims or "")
        with self._authority.waiting(person(caller.claims)):
            with self._lock:
                future = self._asked.get(key)
                first = future is None
                if future is None:
                    future = self._asked[key] = Future()
            if first:
                self._ask_for_all(future, key, caller, scopes, claims)
            if error := future.exception():
                raise same(error)  # a copy has no traceback, which several threads would share
            return dict(future.result())

    def _ask_for_all(
        self, future: Future[dict[str, Any]], key: _Key, caller: Caller, scopes: list[str], claims: str | None
    ) -> None:
        try:
            token = self._ask(caller, scopes, claims)
            self.keep(caller, scopes, token)
            future.set_result(token)
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._lock:
                self._asked.pop(key, None)

    def _ask(self, caller: Caller, scopes: list[str], claims: str | None) -> dict[str, Any]:
        if not self._config.client_credential:
            raise SignInError("invalid_client", "a token on behalf of a person takes a credential of this app")
        result = self._client.ask(
            lambda app: app.acquire_token_on_behalf_of(caller.token, scopes, claims_challenge=claims),
            msal.SerializableTokenCache(),
            self._authority.provider,
        )
        if "error" in result:
            raise _refusal(result, scopes, claims)
        if result.get("id_token_claims", {}).get("oid", caller.claims.get("oid")) != caller.claims.get("oid"):
            raise IdTokenRefused("a token on behalf of a person came with another person's (oid)")
        named = [scope for scope in scopes if scope.rpartition("/")[2] != ".default"]  # which stands for what there is
        if "scope" in result and (missing := missing_scopes(named, result["scope"].split())):
            raise _not_consented(missing, "not all scopes were granted")
        log.info("Token on behalf of %s for %s", person(caller.claims), " ".join(scopes))
        return as_token(result["access_token"], result.get("token_type"), result.get("expires_in", 0))


def _refusal(result: dict[str, Any], scopes: list[str], claims: str | None) -> Exception:
    """What the token endpoint's error is to the caller, or to this app."""
    error, said = result["error"], result.get("error_description", "")
    log.warning("No token on behalf of a person: %s %s", error, said)
    if challenge := merged_claims(claims, result.get("claims")) if result.get("claims") else None:
        return CallerRefused("insufficient_claims", "More claims are needed", claims=challenge)
    if error == "consent_required" or result.get("suberror") == "consent_required" or "AADSTS65001" in said:
        return _not_consented(scopes, "AADSTS65001")
    if error in _WANTS_ANOTHER:
        told = "The access token cannot be exchanged: get a new one"
        return CallerRefused("invalid_token", told, reason=f"the authority answers {error}")
    if error in COMES_BACK:
        return AuthorityUnavailable(f"the token endpoint answers {error}")
    return SignInError(error, said, scopes)


def _not_consented(scopes: list[str] | set[str], reason: str) -> CallerRefused:
    told = "The person has not consented to what this API needs of another one"
    return CallerRefused("insufficient_scope", told, reason=f"no consent ({reason})", scopes=sorted(scopes))


def _caller() -> Caller:
    """The sender of the present request.

    :raises CallerRefused: it is an app by itself, so that there is no person to act for.
    """
    caller = present()
    assert caller is not None  # noqa: S101  its token has been admitted, or else nobody asks here
    if access_token.is_app_only(caller.claims):
        told = "This needs the token of a person: an app has nobody on whose behalf another API can be called"
        raise CallerRefused("insufficient_scope", told)
    return caller


def _key(caller: Caller, scopes: list[str]) -> _Key:
    return (hashlib.sha256(caller.token.encode()).hexdigest(), *sorted(scopes))

"""`Tokens`: what MSAL gets from the authority for the person who is signed in, and what of it stays in the session."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, cast
from urllib.parse import urlencode

import flask
import msal
from werkzeug.datastructures import MultiDict

from flask_entra.bearer import InvalidToken, merged_claims
from flask_entra.config import Config, present_app
from flask_entra.same_error import same
from flask_entra.scopes import missing_scopes
from flask_entra.sessions.session import Session
from flask_entra.signals import token_refreshed
from flask_entra.signin import noted, step_up, userinfo
from flask_entra.signin.authority import Authority
from flask_entra.signin.client import Client
from flask_entra.signin.current_user import RIGHTS_UNTIL, USER, USERINFO, VOUCHED_UNTIL, get_user, is_current
from flask_entra.signin.errors import AuthorityUnavailable, IdTokenRefused, SignInError, SignInRequired
from flask_entra.signin.provider import Provider
from flask_entra.signin.token_cache import LAST_SECONDS, TOKEN_CACHE, as_token, cached, newest_id_token, refreshable
from flask_entra.signin.tries import Tries

# The claims that are shown, which many providers tell at the userinfo endpoint only (OpenID Connect Core, 5.4).
NAMES = ("name", "preferred_username", "email")
RIGHTS = ("roles", "groups")
# Characters of an ID token in an address: the head of an answer has 4 KB in nginx, its cookies included.
HINT_LENGTH = 2500
SHARED_FAILURE_SECONDS = 60
# What the token endpoint says when it wants to see the person (OpenID Connect Core, 3.1.2.6; RFC 6749, 5.2).
# `invalid_scope`: more is asked for than was granted (RFC 6749, 6), which a sign-in can change.
WANTS_THE_PERSON = {"invalid_grant", "interaction_required", "login_required", "consent_required", "invalid_scope"}
# What it says when another try may help (RFC 6749, 4.1.2.1; Entra's AADSTS90033 and others, with the status 400).
COMES_BACK = {"temporarily_unavailable", "server_error"}

log = logging.getLogger(__name__)
session = cast(Session, flask.session)


class Tokens:
    """The tokens of the person who makes the present request.

    :param authority: what issues them.
    :param client: this app, as its client.
    :param config: the app's.
    """

    def __init__(self, authority: Authority, client: Client, config: Config):
        self._authority, self._client, self._config = authority, client, config
        self._tries = Tries()
        # Failed refreshes of the last minute: session, scopes and claims, to the time and the error.
        self._failures: dict[tuple[str, ...], tuple[float, Exception]] = {}

    # --- Sign-in ------------------------------------------------------------------------------------------------------

    def begin(self, scopes: list[str] | None, prompt: str | None, claims: str | None, **more: Any) -> dict[str, Any]:
        """Begin a sign-in; see `Client.begin`. No scopes means those of `SCOPE`.

        :raises AuthorityUnavailable: the authority's address is not known yet, and it does not answer.
        """
        wanted = self._config.scope if scopes is None else scopes
        return self._client.begin(wanted, prompt, claims, self._authority.provider, **more)

    def finish(self, flow: dict[str, Any], answer: MultiDict[str, str]) -> dict[str, Any]:
        """Redeem the code. The session is then a new one, with the ID token's claims and the tokens.

        :param flow: as `begin` gave it.
        :param answer: the query of the redirect URI.
        :return: the ID token's claims.
        :raises SignInError: the authority says no, or the answer is not one to this sign-in.
        :raises IdTokenRefused: the ID token fails a check.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        if any(len(answer.getlist(name)) > 1 for name in ("code", "error", "iss")):
            raise SignInError("invalid_request", "a parameter is repeated")  # RFC 6749, 3.1
        provider = self._authority.provider
        if answer.get("iss", None if provider.names_itself else provider.issuer) != provider.issuer:
            raise SignInError("invalid_request", "another issuer answered, or none that says who it is")  # RFC 9207
        if not answer.get("code") and not answer.get("error"):
            raise SignInError("invalid_request", "neither a code nor an error came back")
        cache = msal.SerializableTokenCache()
        self._tries.count(flow["state"])
        with self._authority.waiting(f"sign-in {flow['state']}", stranger=True):
            result = self._client.ask(
                lambda app: app.acquire_token_by_auth_code_flow(
                    dict(flow), answer.to_dict()
                ),  # MSAL takes parts out of it
                cache,
                provider,
            )
        if "error" in result:
            raise SignInError(result["error"], result.get("error_description", ""), flow["scope"])
        if "id_token_claims" not in result:
            raise IdTokenRefused("there is none")
        if missing := _not_granted(flow["scope"], result):
            raise SignInError("invalid_scope", f"Ungranted scope(s): {' '.join(sorted(missing))}", flow["scope"])
        claims = result["id_token_claims"]
        step_up.check_answer(flow, claims)
        said = claims if "auth_time" in claims else {**claims, **step_up.kept_auth_time(get_user(), claims)}
        user = {**self._names(result, provider), **said}
        begun = {USER: user, VOUCHED_UNTIL: user["exp"], TOKEN_CACHE: cache.serialize(), noted.BEGAN: noted.began()}
        session.begin({**begun, USERINFO: provider.userinfo_endpoint} if provider.userinfo_endpoint else begun)
        return user

    def _names(self, result: dict[str, Any], provider: Provider) -> dict[str, Any]:
        """What the ID token does not say of the person's names, if the userinfo endpoint does."""
        claims, url = result["id_token_claims"], provider.userinfo_endpoint
        if claims.get("name") or not url:
            return {}
        try:
            told = userinfo.ask(self._authority, url, result["access_token"], claims["sub"])
        except (AuthorityUnavailable, InvalidToken) as error:
            log.warning("The person's name is not known: %s", error)
            return {}
        return {name: told[name] for name in NAMES if isinstance(told.get(name), str)}

    def sign_out(self, home: str) -> str:
        """Empty the session, which deletes what is stored of it.

        :param home: the address to come back to.
        :return: where to sign out at the authority (OpenID Connect RP-Initiated Logout 1.0); `home` if that is unknown.
        """
        user, id_token = get_user() or {}, newest_id_token()
        session.clear()
        try:
            provider = self._authority.provider
        except AuthorityUnavailable as error:
            log.warning("Signed out here only: %s", error)
            return home
        if not (endpoint := provider.end_session_endpoint):
            return home
        query = {"post_logout_redirect_uri": home, "client_id": self._config.client_id}
        if not provider.entra:
            query["state"] = secrets.token_urlsafe(16)
            if id_token and len(id_token) <= HINT_LENGTH:
                query["id_token_hint"] = id_token
        elif hint := user.get("login_hint"):  # an optional claim, which is made for this; a UPN is not
            query["logout_hint"] = hint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    # --- Who is signed in, and their access tokens --------------------------------------------------------------------

    def context(self, user: dict[str, Any] | None, scopes: list[str] | None) -> dict[str, Any]:
        """What a protected view is given.

        :param user: as `get_user` found them.
        :param scopes: the scopes of the access token; None for a view that calls no API.
        :return: `user`, the ID token's claims; with scopes also `access_token`, `token_type`, `expires_in` (seconds) and
            `scopes`, those that were asked for.
        :raises SignInRequired: nobody is signed in, or the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises AuthorityUnavailable: a token is needed, and the authority cannot be reached.
        """
        if not user:
            raise SignInRequired(scopes=scopes)
        if not is_current(user):  # the authority says whether they still may be
            token = self.renew(self._config.scope if scopes is None else scopes)
            user = get_user()
        elif scopes is not None:
            token = cached(scopes) or self._renew_in_time(scopes)
            user = get_user()  # a refresh may have brought other roles
        return {"user": user} if scopes is None else {"user": user, **token, "scopes": list(scopes)}

    def _renew_in_time(self, scopes: list[str]) -> dict[str, Any]:
        try:
            return self.renew(scopes)
        except AuthorityUnavailable as error:
            # The token was to be renewed before it expires. Until then, the present one is valid.
            present = cached(scopes, at_most=LAST_SECONDS)
            if not present:
                raise
            log.warning("The token is used to its end, because it cannot be renewed: %s", error)
            return present

    def renew(self, scopes: list[str] | None = None, claims: str | None = None) -> dict[str, Any]:
        """A new access token, from the refresh token.

        One refresh at a time for a session: of two requests that find the token expired, the second takes the first one's
        new token. Authorities that rotate refresh tokens take the use of an old one for a theft.

        :param scopes: None means `SCOPE`.
        :param claims: a claims challenge to pass on (JSON).
        :return: `access_token`, `token_type` and `expires_in` (seconds).
        :raises SignInRequired: the authority wants to see the person. It asks for these scopes, with these claims and those
            that the authority wants.
        :raises SignInError: the authority refuses for another reason.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        scopes, claims = self._config.scope if scopes is None else scopes, merged_claims(claims)
        had, asked = cached(scopes), time.monotonic()
        with self._authority.waiting(session.sid), session.exclusive():
            has = cached(scopes)
            if has and not claims and has["access_token"] != (had or {}).get("access_token"):
                return has
            key = (session.sid, *scopes, claims or "")
            failed_at, failure = self._failures.get(key, (asked, None))
            if failure and failed_at > asked:  # while this request waited: it need not ask for the same again
                raise same(failure)
            try:
                return _renewed(self._refresh(scopes, claims), scopes, claims)
            except (AuthorityUnavailable, IdTokenRefused, SignInRequired, SignInError) as error:
                recent = {k: each for k, each in self._failures.items() if asked - each[0] < SHARED_FAILURE_SECONDS}
                # A copy has no traceback, whose frames would keep 90 KB for each.
                self._failures = {**recent, key: (time.monotonic(), same(error))}
                raise

    def _refresh(self, scopes: list[str], claims: str | None) -> dict[str, Any]:
        user = get_user()
        if not user or not refreshable():
            return {"error": "interaction_required"}
        cache, provider = msal.SerializableTokenCache(), self._authority.provider
        cache.deserialize(session.get(TOKEN_CACHE))

        def refresh(app: msal.ClientApplication) -> Any:
            accounts = app.get_accounts()
            return accounts and app.acquire_token_silent_with_error(
                scopes, account=accounts[0], force_refresh=True, claims_challenge=claims
            )

        # A refresh for more than was granted is refused (RFC 6749, 6), and `offline_access` need not have been granted.
        same_scope = any(not missing_scopes(scopes, each) for each in refreshable())
        result = self._client.ask(refresh, cache, provider, same_scope) or {"error": "interaction_required"}
        if "error" in result:
            return result
        if _not_granted(scopes, result):
            return {"error": "consent_required"}
        told = self._told_since(user, result, provider)
        if told is None:
            return {"error": "interaction_required"}
        claims = result.get("id_token_claims")
        if claims:
            names = {name: user[name] for name in NAMES if name in user}
            user = {**names, **step_up.refreshed(user, claims)}
            session.update({USER: user, VOUCHED_UNTIL: claims["exp"], TOKEN_CACHE: cache.serialize()})
        else:  # the authority may leave it out (Core, 12.2); it has vouched for the person once more all the same
            until = time.time() + max(0, user["exp"] - user["iat"])
            rights = {name: told[name] for name in RIGHTS if name in told and name in user}
            session.update({VOUCHED_UNTIL: until, TOKEN_CACHE: cache.serialize()})
            if rights:
                session.update({USER: {**user, **rights}, RIGHTS_UNTIL: dict.fromkeys(rights, until)})
        return result

    def _told_since(self, user: dict[str, Any], result: dict[str, Any], provider: Provider) -> dict[str, Any] | None:
        """What userinfo tells where a refresh brings no ID token.

        :param user: the claims of the ID token of before.
        :return: the claims; none if nobody had to be asked. None if the refresh cannot be told to be the person's own.
        :raises IdTokenRefused: it is another person's (OpenID Connect Core, 12.2).
        """
        if "id_token_claims" in result:
            for claim in ("iss", "sub"):  # under `common`, one app has people of many issuers
                if result["id_token_claims"][claim] != user[claim]:
                    raise IdTokenRefused(f"a refresh brought another person's ({claim})")
            return {}
        if url := provider.userinfo_endpoint:
            try:
                return userinfo.ask(self._authority, url, result["access_token"], user["sub"])
            except InvalidToken as error:
                log.warning("A refresh cannot be told to be the person's own: %s", error)
                return None
        return {}


def _renewed(result: dict[str, Any], scopes: list[str], claims: str | None) -> dict[str, Any]:
    if "access_token" in result:
        log.info("Token refreshed for %s", " ".join(scopes) or "no scope")
        token_refreshed.send(present_app(), user=session[USER], scopes=list(scopes))
        return as_token(result["access_token"], result.get("token_type"), result.get("expires_in", 0))
    said = result["error"], result.get("error_description", "")
    if result["error"] in WANTS_THE_PERSON:
        # It is no fault when a page needs a permission for the first time, or a password was changed.
        log.info("A sign-in is needed for %s: %s %s", " ".join(scopes) or "no scope", *said)
        raise SignInRequired(merged_claims(claims, result.get("claims")), scopes)
    log.warning("No new token: %s %s", *said)
    if result["error"] in COMES_BACK:
        raise AuthorityUnavailable(f"the token endpoint answers {result['error']}")
    raise SignInError(result["error"], result.get("error_description", ""), scopes)


def _not_granted(scopes: list[str], result: dict[str, Any]) -> set[str]:
    """The scopes that were asked for and not granted; an answer that names no scopes grants all (RFC 6749, 5.1)."""
    return missing_scopes(scopes, result["scope"].split()) if "scope" in result else set()

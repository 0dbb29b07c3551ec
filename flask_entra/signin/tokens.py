"""`Tokens`: what MSAL gets from the authority for the person who is signed in, and what of it stays in the session."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, cast
from urllib.parse import urlencode

import flask
import msal
import msgspec
from werkzeug.datastructures import MultiDict

from flask_entra.bearer import merged_claims
from flask_entra.clouds import missing_scopes
from flask_entra.sessions.session import Session
from flask_entra.signin.errors import IdTokenRefused, SignInError, SignInRequired, TenantUnavailable
from flask_entra.signin.id_token import LEEWAY_SECONDS
from flask_entra.signin.tenant import Tenant
from flask_entra.signin.transport import Transport
from flask_entra.urls import origin, split_url

# Where the session keeps the ID token's claims and MSAL's cache: identity's own names.
USER = "_logged_in_user"
TOKEN_CACHE = "_token_cache"  # noqa: S105  a name, not a token
EXPIRY_MARGIN_SECONDS = 300  # before expiry, from when on a token is renewed
LAST_SECONDS = 10  # before expiry, from when on a token is not used any more
SHARED_FAILURE_SECONDS = 60
# What the token endpoint says when it wants to see the person (OpenID Connect Core, 3.1.2.6; RFC 6749, 5.2).
# `invalid_scope`: more is asked for than was granted (RFC 6749, 6), which a sign-in can change.
WANTS_THE_PERSON = {"invalid_grant", "interaction_required", "login_required", "consent_required", "invalid_scope"}

# MSAL recommends form_post to everybody. But a browser sends no SameSite=Lax cookie with another site's POST, and by that
# cookie this app knows which sign-in it began; the code in the query is bound to it by PKCE, and kept out of the logs.
warnings.filterwarnings("ignore", "response_mode='form_post' is recommended", UserWarning)

log = logging.getLogger(__name__)
session = cast(Session, flask.session)


def get_user() -> dict[str, Any] | None:
    """The ID token's claims of the person who is signed in, or None. Asks nobody but the session."""
    return session.get(USER)


def is_current(user: dict[str, Any]) -> bool:
    """Whether an ID token has not expired."""
    return bool(user["exp"] + LEEWAY_SECONDS >= time.time())


class Tokens:
    """The tokens of the person who makes the present request.

    :param tenant: the authority.
    :param config: Flask's.
    """

    def __init__(self, tenant: Tenant, config: Mapping[str, Any]):
        self._tenant, self._transport = tenant, Transport(tenant)
        self._client_id, self._credential = config["CLIENT_ID"], config["CLIENT_CREDENTIAL"]
        self._authority, self._oidc_authority = config["AUTHORITY"], config["OIDC_AUTHORITY"]
        if self._oidc_authority and not split_url(self._oidc_authority).path:
            self._oidc_authority += "/."  # MSAL refuses an authority without a path; this one means the same
        self._scopes: list[str] = config["SCOPE"]
        # Failed refreshes of the last minute: session, scopes and claims, to the time and the error.
        self._failures: dict[tuple[str, ...], tuple[float, Exception]] = {}

    # --- Sign-in ------------------------------------------------------------------------------------------------------

    def begin(
        self, redirect_uri: str, *, scopes: list[str] | None, prompt: str | None, claims: str | None
    ) -> dict[str, Any]:
        """Begin a sign-in.

        :param redirect_uri: where the answer is to come.
        :param scopes: to ask consent for; None means `SCOPE`.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :return: what the answer will be held against; `auth_uri` in it is where the browser goes.
        :raises TenantUnavailable: the authority's address is not known yet, and it does not answer.
        """
        wanted = self._scopes if scopes is None else scopes
        with _failures_of_msal():
            flow: dict[str, Any] = self._msal().initiate_auth_code_flow(
                wanted, redirect_uri=redirect_uri, prompt=prompt, claims_challenge=merged_claims(claims)
            )
        return flow

    def finish(self, flow: dict[str, Any], answer: MultiDict[str, str]) -> None:
        """Redeem the code. The session is then a new one, with the ID token's claims and the tokens.

        :param flow: as `begin` gave it.
        :param answer: the query of the redirect URI.
        :raises SignInError: the authority says no, or the answer is not one to this sign-in.
        :raises IdTokenRefused: the ID token fails a check.
        :raises TenantUnavailable: the authority cannot be reached.
        """
        if any(len(answer.getlist(name)) > 1 for name in ("code", "error", "iss")):
            raise SignInError("invalid_request", "a parameter is repeated")  # RFC 6749, 3.1
        if answer.get("iss", self._tenant.metadata["issuer"]) != self._tenant.metadata["issuer"]:
            raise SignInError("invalid_request", "another issuer answered")  # RFC 9207
        if not answer.get("code") and not answer.get("error"):
            raise SignInError("invalid_request", "neither a code nor an error came back")
        cache = msal.SerializableTokenCache()
        result = self._ask(lambda app: app.acquire_token_by_auth_code_flow(flow, answer.to_dict()), cache)
        if "error" in result:
            raise SignInError(result["error"], result.get("error_description", ""))
        if "id_token_claims" not in result:
            raise IdTokenRefused("there is none")
        if missing := _not_granted(flow["scope"], result):
            raise SignInError("invalid_scope", f"Ungranted scope(s): {' '.join(sorted(missing))}")
        session.clear()
        session.regenerate()
        self._keep(result, cache)

    def sign_out(self, home: str) -> str:
        """Empty the session, which deletes what is stored of it.

        :param home: the address to come back to.
        :return: where to sign out at the authority (OpenID Connect RP-Initiated Logout 1.0); `home` if that is unknown.
        """
        user = get_user() or {}
        session.clear()
        try:
            endpoint = self._tenant.metadata.get("end_session_endpoint")
        except TenantUnavailable as error:
            log.warning("Signed out here only: %s", error)
            endpoint = None
        if not isinstance(endpoint, str):
            return home
        query = {"post_logout_redirect_uri": home, "client_id": self._client_id}
        if hint := user.get("login_hint") or user.get("preferred_username"):
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
        :raises TenantUnavailable: a token is needed, and the authority cannot be reached.
        """
        if not user:
            raise SignInRequired(scopes=scopes)
        if not is_current(user):  # the authority says whether they still may be
            token = self.renew(self._scopes if scopes is None else scopes)
            user = get_user()
        elif scopes is not None:
            token = self._cached(scopes) or self._renew_in_time(scopes)
            user = get_user()  # a refresh may have brought other roles
        return {"user": user} if scopes is None else {"user": user, **token, "scopes": list(scopes)}

    def _renew_in_time(self, scopes: list[str]) -> dict[str, Any]:
        try:
            return self.renew(scopes)
        except TenantUnavailable as error:
            # It was to be renewed in good time: until it expires, the present one is as good as any.
            present = self._cached(scopes, margin=LAST_SECONDS)
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
        :raises TenantUnavailable: the authority cannot be reached.
        """
        scopes, claims = self._scopes if scopes is None else scopes, merged_claims(claims)
        had, asked = self._cached(scopes), time.monotonic()
        with self._tenant.waiting(session.sid), session.exclusive():
            has = self._cached(scopes)
            if has and not claims and has["access_token"] != (had or {}).get("access_token"):
                return has
            key = (session.sid, *scopes, claims or "")
            failed_at, failure = self._failures.get(key, (asked, None))
            if failure and failed_at > asked:  # while this request waited: it need not ask for the same again
                raise copy(failure)
            try:
                return self._granted(self._refresh(scopes, claims), scopes, claims)
            except (TenantUnavailable, IdTokenRefused, SignInRequired, SignInError) as error:
                recent = {k: each for k, each in self._failures.items() if asked - each[0] < SHARED_FAILURE_SECONDS}
                # A copy has no traceback, whose frames would keep 90 KB for each.
                self._failures = {**recent, key: (time.monotonic(), copy(error))}
                raise

    @staticmethod
    def _granted(result: dict[str, Any], scopes: list[str], claims: str | None) -> dict[str, Any]:
        if "access_token" in result:
            log.info("Token refreshed for %s", " ".join(scopes) or "no scope")
            return _token(result["access_token"], result.get("token_type"), result.get("expires_in", 0))
        log.warning("No new token: %s %s", result["error"], result.get("error_description", ""))
        if result["error"] in WANTS_THE_PERSON:
            raise SignInRequired(merged_claims(claims, result.get("claims")), scopes)
        raise SignInError(result["error"], result.get("error_description", ""))

    def _refresh(self, scopes: list[str], claims: str | None) -> dict[str, Any]:
        user = get_user()
        if not user:
            return {"error": "interaction_required"}
        cache = msal.SerializableTokenCache()
        cache.deserialize(session.get(TOKEN_CACHE))

        def refresh(app: msal.ClientApplication) -> Any:
            accounts = app.get_accounts()
            return accounts and app.acquire_token_silent_with_error(
                scopes, account=accounts[0], force_refresh=True, claims_challenge=claims
            )

        result = self._ask(refresh, cache) or {"error": "interaction_required"}
        if "error" in result:
            return result
        if _not_granted(scopes, result):
            return {"error": "consent_required"}
        if result.get("id_token_claims", user)["sub"] != user["sub"]:
            raise IdTokenRefused("a refresh brought another person's (sub)")  # OpenID Connect Core, 12.2
        self._keep(result, cache)
        return result

    def _keep(self, result: dict[str, Any], cache: msal.SerializableTokenCache) -> None:
        session[USER] = result.get("id_token_claims") or get_user()
        session[TOKEN_CACHE] = cache.serialize()

    def _cached(self, scopes: list[str], margin: int = EXPIRY_MARGIN_SECONDS) -> dict[str, Any] | None:
        """The newest access token for these scopes that does not expire soon. MSAL would find it, 20 times slower."""
        now = time.time()
        cache = msgspec.json.decode(session.get(TOKEN_CACHE) or "{}")
        good = [
            entry
            for entry in cache.get(msal.TokenCache.CredentialType.ACCESS_TOKEN, {}).values()
            if int(entry["expires_on"]) - margin > now and not missing_scopes(scopes, entry["target"].split())
        ]
        if not good:
            return None
        newest = max(reversed(good), key=lambda entry: int(entry["cached_at"]))  # of several in one second, the last
        return _token(newest["secret"], newest.get("token_type"), int(newest["expires_on"]) - int(now))

    def granted(self) -> list[tuple[list[str], int]]:
        """The access tokens that the session holds, without the tokens: the scopes of each and when it expires (Unix seconds)."""
        cache = msgspec.json.decode(session.get(TOKEN_CACHE) or "{}")
        entries = cache.get(msal.TokenCache.CredentialType.ACCESS_TOKEN, {}).values()
        return [(entry["target"].split(), int(entry["expires_on"])) for entry in entries]

    # --- MSAL ---------------------------------------------------------------------------------------------------------

    def for_app(self, endpoint: str) -> dict[str, Any]:
        """Ask for a token that needs no person (RFC 6749, 4.4): the authority accepts the app's credential, or says why not.

        :param endpoint: the URL of the API that the token would be for.
        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises TenantUnavailable: the authority cannot be reached.
        """
        scopes = [f"{origin(endpoint)}/.default"]
        return self._ask(lambda app: app.acquire_token_for_client(scopes), msal.SerializableTokenCache())

    def _msal(self, credential: Any = None, cache: Any = None) -> Any:
        make = msal.ConfidentialClientApplication if credential else msal.PublicClientApplication
        return make(
            self._client_id,
            client_credential=credential,
            authority=self._authority,
            oidc_authority=self._oidc_authority,
            token_cache=cache,
            http_client=self._transport,
            instance_discovery=False,
            client_capabilities=["CP1"],  # this app understands claims challenges
        )

    def _ask(self, acquire: Callable[[Any], Any], cache: msal.SerializableTokenCache) -> dict[str, Any]:
        """Let MSAL make one token request. `cache` holds the outcome, which is kept only once it has been checked."""
        with _failures_of_msal():
            result: dict[str, Any] = acquire(self._msal(self._credential, cache))
        return result


@contextlib.contextmanager
def _failures_of_msal() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        raise TenantUnavailable(f"an answer that MSAL does not understand ({type(error).__name__})") from error
    except OSError as error:  # the federated token's file; errors of the network are TenantUnavailable already
        raise SignInError("invalid_client", f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}") from error
    except RuntimeError as error:  # MSAL says so of a wrong nonce
        raise IdTokenRefused("its nonce is not the one that was sent") from error


def _not_granted(scopes: list[str], result: dict[str, Any]) -> set[str]:
    """The scopes that were asked for and not granted; an answer that names no scopes grants all (RFC 6749, 5.1)."""
    return missing_scopes(scopes, result["scope"].split()) if "scope" in result else set()


def _token(access_token: str, token_type: str | None, expires_in: float) -> dict[str, Any]:
    return {"access_token": access_token, "token_type": token_type or "Bearer", "expires_in": int(expires_in)}

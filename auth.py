"""`Auth`: identity's Flask helper, hardened. Sign-in, redirect URI, sign-out, and the access token of who is signed in.

The authorization code flow with PKCE (RFC 6749, 4.1; RFC 7636) as OpenID Connect Core 1.0 and RFC 9700 (security best
current practice) want it. Everything that overrides a private part of identity is in this file, and
`tests/test_auth_contract.py` fails when identity moves one of them. The way of a request:

    login_required (identity's)  who is signed in?       _WebAuth.get_user, from the session
                                 a token for the scopes? Auth._login_required → _WebAuth._get_token_for_user
                                 from the session, or by a refresh: _WebAuth._refresh → MSAL → Tenant.post
    SignInRequired               Auth._sign_in_first → Auth.login → 302 to the authority
    the redirect URI             Auth.auth_response → _WebAuth.complete_log_in → MSAL → Tenant.post → a new session
"""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
import re
import time
import warnings
from copy import copy
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import identity.flask
import identity.web
import itsdangerous
import msal
import msgspec
from flask import Blueprint, Flask, Response, after_this_request, current_app, g, redirect, request, session

from app_config import GRAPH_CLOUDS, GUID, split_url
from http_client import BoundedSession
from sessions import StoreUnavailable
from tenant import IdTokenRefused, Tenant, TenantUnavailable

SIGN_IN_SECONDS = 3600  # to pick an account, find the phone, and let an administrator look at the consent
SIGN_INS_AT_ONCE = 4  # begun in one browser; with more, their cookies outgrow the 8 KB that servers take as a header
RETURN_PATH_LENGTH = 512  # for the same reason
JUST_NOW_SECONDS = 60
# What the token endpoint says when it wants to see the person (OpenID Connect Core, 3.1.2.6; RFC 6749, 5.2).
WANTS_THE_PERSON = {"invalid_grant", "interaction_required", "login_required", "consent_required"}

# MSAL recommends form_post to everybody. But a browser sends no SameSite=Lax cookie with another site's POST, and by that
# cookie this app knows which sign-in it began; the code in the query is bound to it by PKCE, and kept out of the logs.
warnings.filterwarnings("ignore", "response_mode='form_post' is recommended", UserWarning)

_GRAPHS = tuple(f"https://{host}/" for host in GRAPH_CLOUDS)

log = logging.getLogger(__name__)


class SignInError(Exception):
    """A sign-in that cannot be finished. `error` and `description` are OAuth 2.0's; `ours` names what this app refused."""

    def __init__(self, error: str, description: str = ""):
        super().__init__(f"{error}: {description}")
        self.error, self.description = error, description


class SignInRequired(Exception):
    """Only the person can bring a token: they have to sign in (again).

    Raised in a view, it sends them to sign in and back to the page.

    :param claims: the claims challenge to pass on (JSON), if an API or Entra sent one.
    :param scopes: the scopes that are wanted; None means `SCOPE`.
    """

    def __init__(self, claims: str | None = None, scopes: list[str] | None = None):
        super().__init__("sign-in required")
        self.claims, self.scopes = claims, scopes


class Auth(identity.flask.Auth):
    """Signs people in to a Flask app.

    Routes: `/login` (`?next=` a path to return to, `?prompt=select_account`, `?user_flow=edit_profile` for Azure AD B2C),
    the path of `REDIRECT_URI`, and `/logout`.

    :param app: configured by `app_config.load()`, its session interface by `sessions.init_app()`.
    :param http: the client for every request to the authority.
    """

    _Session = staticmethod(lambda app: None)  # sessions.init_app() has been there

    def __init__(self, app: Flask, http: BoundedSession):
        config = app.config
        self._scopes = config["SCOPE"]
        self.http = http
        super().__init__(
            None,
            client_id=config["CLIENT_ID"],
            client_credential=config["CLIENT_CREDENTIAL"],
            authority=config["AUTHORITY"],
            oidc_authority=config["OIDC_AUTHORITY"],
            redirect_uri=config["REDIRECT_URI"],
            b2c_tenant_name=config["B2C_TENANT_NAME"],
            b2c_signup_signin_user_flow=config["SIGNUPSIGNIN_USER_FLOW"],
            b2c_edit_profile_user_flow=config["EDITPROFILE_USER_FLOW"],
            b2c_reset_password_user_flow=config["RESETPASSWORD_USER_FLOW"],
        )
        tenant_id = split_url(config["AUTHORITY"] or "").path.strip("/")
        self.tenant = Tenant(
            http,
            f"{self._oidc_authority or f'{self._authority}/v2.0'}/.well-known/openid-configuration",
            self._client_id,
            tenant_id if GUID.fullmatch(tenant_id) else None,
            config["ALLOWED_TENANTS"],
        )
        # identity's own blueprint would put sign-out at //logout, which a browser takes for a host named logout.
        self._bp = Blueprint("auth", __name__)
        self._bp.get("/login")(self.begin)
        self._bp.get(split_url(self._redirect_uri).path or "/getAToken")(self.auth_response)
        self._bp.get("/logout")(self.logout)
        self.init_app(app)
        app.register_error_handler(SignInRequired, self._sign_in_first)

    def _build_auth(self, session) -> _WebAuth:
        return _WebAuth(
            self.tenant,
            self._scopes,
            session=session,
            client_id=self._client_id,
            authority=self._authority,
            oidc_authority=self._oidc_authority,
            client_credential=self._client_credential,
        )

    @property
    def user(self) -> dict | None:
        """The ID token's claims of who is signed in, or None. Asks nobody but the session."""
        return self._auth._load_user_from_session()

    def begin(self) -> Response:
        """GET /login: send the browser to the authority to sign in."""
        here, there = split_url(request.host_url).hostname, split_url(self._redirect_uri).hostname
        if here != there and "moved" not in request.args:  # moved, and still not there: a proxy hides the host
            # The answer comes to the redirect URI's host, and only there will the browser show the cookie set now.
            query = urlencode({**request.args, "moved": 1})
            return redirect(f"{current_app.config['APP_ORIGIN']}{request.path}?{query}")
        if url := self._user_flow_url(request.args.get("user_flow", "")):
            return redirect(url)
        prompt = request.args.get("prompt")
        return self.login(
            next_link=request.args.get("next"),
            prompt=prompt if prompt in ("select_account", "login", "consent") else None,
        )

    def login(self, *, next_link=None, scopes=None, prompt=None, claims=None, again=False) -> Response:
        """Begin a sign-in: 302 to the authority, and a cookie with what the answer will be held against.

        :param next_link: where to go afterwards; anything but a path of this app is home.
        :param scopes: the scopes to ask consent for; None means `SCOPE`.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :param again: whether this is for somebody who is signed in, but whose sign-in does not do.
        :raises tenant.TenantUnavailable: the authority's address is not known yet, and it does not answer.
        """
        flow = self._auth.log_in(scopes=scopes, prompt=prompt, redirect_uri=self._redirect_uri, claims=_sound(claims))
        response = redirect(flow.pop("auth_uri"))
        self._remember(response, {**flow, "next": _local_path(next_link), "again": again})
        response.headers["Cache-Control"] = "no-store"
        return response

    def auth_response(self) -> Response:
        """GET, the redirect URI: finish the sign-in that this answer belongs to, and return to the page asked for.

        :raises SignInError: the authority says no, or the answer belongs to no sign-in begun in this browser.
        :raises tenant.IdTokenRefused: the ID token fails a check.
        :raises tenant.TenantUnavailable: the authority cannot be reached.
        """
        if request.args.get("state") == self._auth._STATE_NO_OP:  # back from one of B2C's other user flows
            return redirect("/")
        flow = self._recall()
        if flow is None:
            if self.user:  # the answer to a sign-in that is finished already: the person went back, or clicked twice
                return redirect("/")
            raise SignInError("no_sign_in_begun")
        g.return_to = flow["next"]  # for the page of a failure
        result = self._auth.complete_log_in(request.args, flow)
        # Used up, with or without success. Where the authority did not answer, a reload may still succeed.
        after_this_request(lambda response: self._forget(response, _name(flow["state"])))
        if "error" in result:
            raise SignInError(result["error"], result.get("error_description", ""))
        if flow["again"]:
            session["signed_in_again_at"] = int(time.time())
        log.info("Signed in: %s", _who(self.user))
        return redirect(flow["next"])

    def logout(self) -> Response:
        """GET /logout: sign out here, then at the authority, then home. Who only asks ahead is not signed out."""
        if request.method == "HEAD":
            return redirect("/")
        if "prefetch" in request.headers.get("Sec-Purpose", ""):
            # A failure, which a browser throws away: a success it would show at the click, instead of asking again.
            return Response(status=503, headers={"Cache-Control": "no-store"})
        if self.user:
            log.info("Signed out: %s", _who(self.user))
        return redirect(self._auth.log_out(current_app.config["APP_ORIGIN"] + "/"))

    def _sign_in_first(self, required: SignInRequired) -> Response:
        """Begin a sign-in for the page that is being asked for, unless that has just been done and did not help."""
        try:
            return self._sign_in_again(required)
        except (SignInError, TenantUnavailable, StoreUnavailable) as failure:
            # What an error handler raises is a 500 to Flask. What made the sign-in necessary says more, if it is known.
            cause = required.__cause__ if isinstance(failure, SignInError) else None
            return current_app.handle_user_exception(cause or failure)

    def _sign_in_again(self, required: SignInRequired) -> Response:
        if request.headers.get("Sec-Fetch-Dest", "document") != "document":
            raise SignInError("login_required")
        if 0 <= time.time() - session.get("signed_in_again_at", 0) < JUST_NOW_SECONDS:
            # With single sign-on, to ask again would go round and round.
            raise SignInError("sign_in_did_not_help")
        here = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return self.login(next_link=here, scopes=required.scopes, claims=required.claims, again=bool(self.user))

    def check_credential(self) -> dict:
        """Ask for a token that needs no person (RFC 6749, 4.4): the authority accepts the app's credential, or says why not.

        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises tenant.TenantUnavailable: the authority cannot be reached.
        """
        resource = split_url(current_app.config["ENDPOINT"])
        scopes = [f"{resource.scheme}://{resource.netloc}/.default"]
        return self._auth._ask(lambda app: app.acquire_token_for_client(scopes), msal.SerializableTokenCache())

    def renew_token(self, claims: str | None = None) -> str:
        """A new access token, for an API that refuses the present one.

        :param claims: the API's claims challenge (JSON), if it sent one.
        :return: the access token.
        :raises SignInRequired: the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises tenant.TenantUnavailable: the authority cannot be reached.
        """
        result = self._auth._get_token_for_user(self._scopes, force_refresh=True, claims=_sound(claims))
        return _granted(result)["access_token"]

    def _login_required(self, auth, user, scopes) -> dict:
        """What identity's `login_required` gives a view as `context`.

        :raises SignInRequired: nobody is signed in, or the authority wants to see the person.
        """
        if not user:
            raise SignInRequired
        return {"user": user, **(_granted(auth.get_token_for_user(scopes), scopes) if scopes else {})}

    def _user_flow_url(self, name: str) -> str | None:
        """Where one of Azure AD B2C's other user flows begins: `edit_profile` or `reset_password`."""
        settings = {"edit_profile": "EDITPROFILE_USER_FLOW", "reset_password": "RESETPASSWORD_USER_FLOW"}
        user_flow = current_app.config[settings[name]] if name in settings else ""
        if not (user_flow and current_app.config["B2C_TENANT_NAME"]):
            return None
        query = {
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": "openid",
            "state": self._auth._STATE_NO_OP,  # its answer signs nobody in
        }
        return f"{self._authority.rpartition('/')[0]}/{user_flow}/oauth2/v2.0/authorize?{urlencode(query)}"

    # --- A sign-in begun, in a cookie of its own --------------------------------------------------------------------
    # Named after its state, so tabs do not disturb each other; signed, so it can be believed; not in the session, so a
    # flood of visitors fills no store. Beside it a marker for the whole site, by which old ones are found and dropped. On
    # https the marker is a __Host- cookie: a neighbour (evil.example.com to app.example.com) that plants a sign-in begun
    # by itself cannot plant the marker.

    def _cookie(self, name: str) -> dict:
        https = current_app.config["HTTPS"]
        key, path = f"{'__Secure-' if https else ''}sign-in-{name}", split_url(self._redirect_uri).path
        return {"key": key, "path": path, "secure": https, "httponly": True, "samesite": "Lax"}

    def _marker(self, name: str) -> dict:
        return self._cookie(name) | {
            "key": f"{'__Host-' if current_app.config['HTTPS'] else ''}begun-{name}",
            "path": "/",
        }

    @staticmethod
    def _serializer() -> itsdangerous.URLSafeTimedSerializer:
        return itsdangerous.URLSafeTimedSerializer(
            current_app.secret_key, "sign-in", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def _remember(self, response: Response, flow: dict) -> None:
        prefix = self._marker("")["key"]
        begun = sorted((at, key) for key, at in request.cookies.items() if re.fullmatch(prefix + "[0-9a-f]{12}", key))
        for _at, old in begun[: -SIGN_INS_AT_ONCE + 1][:20]:
            self._forget(response, old.removeprefix(prefix))
        name = _name(flow["state"])
        response.set_cookie(value=self._serializer().dumps(flow), max_age=SIGN_IN_SECONDS, **self._cookie(name))
        response.set_cookie(value=str(int(time.time() * 1000)), max_age=SIGN_IN_SECONDS, **self._marker(name))

    def _recall(self) -> dict | None:
        states = request.args.getlist("state")
        name = _name(states[0]) if len(states) == 1 else ""
        try:
            flow, at = self._serializer().loads(
                request.cookies.get(self._cookie(name)["key"], ""), return_timestamp=True
            )
        except itsdangerous.BadData:
            return None
        # Not by itsdangerous's max_age: that refuses what was signed by a machine whose clock is a second ahead.
        fresh = time.time() - at.timestamp() < SIGN_IN_SECONDS
        return flow if fresh and flow["state"] == states[0] and self._marker(name)["key"] in request.cookies else None

    def _forget(self, response: Response, name: str) -> Response:
        response.delete_cookie(**self._cookie(name))
        response.delete_cookie(**self._marker(name))
        return response


class _WebAuth(identity.web.Auth):
    """identity's framework-agnostic half: the MSAL calls, and what they leave in the session."""

    def __init__(self, tenant: Tenant, scopes: list[str], **kwargs):
        super().__init__(**kwargs)
        self._tenant, self._scopes = tenant, scopes
        self._failures: dict[str, tuple[float, TenantUnavailable]] = {}  # of refreshes, by session, in the last minute

    def _build_msal_app(self, client_credential=None, cache=None):
        make = msal.ConfidentialClientApplication if client_credential else msal.PublicClientApplication
        return make(
            self._client_id,
            client_credential=client_credential,
            authority=self._authority,
            oidc_authority=self._oidc_authority,
            token_cache=cache,
            # The tenant's client is pooled and bounded, and keeps the discovery document. MSAL's own http_cache is left
            # out: it keeps failures too, and one person's 503 would be everybody's for as long as Retry-After says.
            http_client=self._tenant,
            instance_discovery=False,
            client_capabilities=["CP1"],  # this app understands claims challenges
        )

    def log_in(self, *, redirect_uri, scopes=None, prompt=None, claims=None) -> dict:
        """The first leg. Returns MSAL's flow, to be kept by the browser instead of in the session."""
        return self._build_msal_app().initiate_auth_code_flow(
            scopes or self._scopes, redirect_uri=redirect_uri, prompt=prompt, claims_challenge=claims
        )

    def complete_log_in(self, auth_response, flow: dict) -> dict:
        """The second leg. On success the session is a new one, with the ID token's claims and the token cache."""
        if any(len(auth_response.getlist(name)) > 1 for name in ("code", "error", "iss")):
            return {"error": "invalid_request", "error_description": "a parameter is repeated"}  # RFC 6749, 3.1
        if auth_response.get("iss", self._tenant.metadata["issuer"]) != self._tenant.metadata["issuer"]:
            return {"error": "invalid_request", "error_description": "another issuer answered"}  # RFC 9207
        if not auth_response.get("code") and not auth_response.get("error"):
            return {"error": "invalid_request", "error_description": "neither a code nor an error came back"}
        cache = msal.SerializableTokenCache()
        result = self._ask(
            lambda app: app.acquire_token_by_auth_code_flow(flow, auth_response.to_dict()),
            cache,
        )
        if "error" in result:
            return result
        if "id_token_claims" not in result:
            raise IdTokenRefused("there is none")
        if "scope" in result and (missing := _names(flow["scope"]) - _names(result["scope"].split())):
            return {"error": "invalid_scope", "error_description": f"Ungranted scope(s): {' '.join(sorted(missing))}"}
        self._session.clear()
        self._session.regenerate()
        self._save_user_into_session(result["id_token_claims"])
        self._save_cache(cache)
        return result

    def log_out(self, post_logout_redirect_uri: str) -> str:
        """Empty the session, which deletes what is stored of it.

        :return: where to sign out at the authority (OpenID Connect RP-Initiated Logout 1.0), or home if that is unknown.
        """
        user = self._load_user_from_session() or {}
        self._session.clear()
        try:
            endpoint = self._tenant.metadata.get("end_session_endpoint")
        except TenantUnavailable as error:
            log.warning("Signed out here only: %s", error)
            endpoint = None
        if not isinstance(endpoint, str):
            return post_logout_redirect_uri
        hint = user.get("login_hint") or user.get("preferred_username")
        query = {"post_logout_redirect_uri": post_logout_redirect_uri, "client_id": self._client_id}
        return (
            f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query | ({'logout_hint': hint} if hint else {}))}"
        )

    def get_user(self) -> dict | None:
        """Who is signed in; once the ID token has expired, the authority is asked whether they still may be.

        :raises SignInRequired: the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        """
        user = self._load_user_from_session()
        if user and not identity.web._is_valid(user):
            _granted(self._get_token_for_user(self._scopes, force_refresh=True))
            user = self._load_user_from_session()
        return user

    def _get_token_for_user(self, scopes, force_refresh=None, claims=None) -> dict:
        found = self._cached_token(scopes)
        if found and not force_refresh:
            return found
        # One refresh at a time for a session: of two requests that find the token expired, the second finds the first
        # one's token. Authorities that rotate refresh tokens take the use of an old one for a theft.
        asked = time.monotonic()
        with self._tenant.waiting(self._session.sid), self._session.exclusive():
            brought = self._cached_token(scopes)
            if brought and not claims and brought["access_token"] != (found or {}).get("access_token"):
                return brought
            failed_at, failure = self._failures.get(self._session.sid, (asked, None))
            if failed_at > asked:  # while this one waited for its turn: it need not wait for the same again
                raise copy(failure)
            try:
                return self._refresh(scopes, claims)
            except TenantUnavailable as error:
                recent = {sid: each for sid, each in self._failures.items() if asked - each[0] < 60}
                # A copy has no traceback, whose frames would keep 90 KB for each.
                self._failures = {**recent, self._session.sid: (time.monotonic(), copy(error))}
                raise

    def _refresh(self, scopes: list[str], claims: str | None) -> dict:
        user = self._load_user_from_session()
        if not user:
            return {"error": "interaction_required"}
        cache = self._load_cache()

        def refresh(app):
            accounts = app.get_accounts()
            return accounts and app.acquire_token_silent_with_error(
                scopes, account=accounts[0], force_refresh=True, claims_challenge=claims
            )

        result = self._ask(refresh, cache) or {"error": "interaction_required"}
        if "error" in result:
            log.warning("No new token: %s %s", result["error"], result.get("error_description", ""))
        elif "scope" in result and _names(scopes) - _names(result["scope"].split()):
            return {"error": "consent_required"}
        else:
            refreshed = result.get("id_token_claims", user)
            if refreshed["sub"] != user["sub"]:
                raise IdTokenRefused("a refresh brought another person's (sub)")  # OpenID Connect Core, 12.2
            self._save_user_into_session(refreshed)
            self._save_cache(cache)
        return result

    def _ask(self, acquire, cache: msal.SerializableTokenCache) -> dict | None:
        """Let MSAL make one token request. `cache` holds what came of it, and is saved only by who has checked that."""
        app = self._build_msal_app(self._client_credential, cache)
        try:
            return acquire(app)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise TenantUnavailable(f"an answer that MSAL does not understand ({type(error).__name__})") from error
        except OSError as error:  # not the network's, which is TenantUnavailable: a federated token's file
            raise SignInError(
                "invalid_client", f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}"
            ) from error
        except RuntimeError as error:  # the one thing that MSAL does check, with the flow it made
            raise IdTokenRefused("its nonce is not the one that was sent") from error

    def _cached_token(self, scopes) -> dict | None:
        """An access token that is good for five more minutes. MSAL would find the same, twenty times slower."""
        now, wanted = time.time(), _names(scopes)
        cache = msgspec.json.decode(self._session.get(self._TOKEN_CACHE) or "{}")
        for entry in cache.get(msal.TokenCache.CredentialType.ACCESS_TOKEN, {}).values():
            if int(entry["expires_on"]) - 300 > now and wanted <= _names(entry["target"].split()):
                return {
                    "access_token": entry["secret"],
                    "token_type": entry.get("token_type", "Bearer"),
                    "expires_in": int(entry["expires_on"]) - int(now),
                }
        return None


def _granted(result: dict, scopes: list[str] | None = None) -> dict:
    """The result of a token request, if it is a token."""
    if "access_token" in result:
        return result
    if result["error"] in WANTS_THE_PERSON:
        raise SignInRequired(result.get("claims"), scopes)
    raise SignInError(result["error"], result.get("error_description", ""))


def _sound(claims: str | None) -> str | None:
    """A claims challenge, if it is one that MSAL can add to: a JSON object of objects (OpenID Connect Core, 5.5)."""
    try:
        return claims if all(isinstance(each, dict) for each in json.loads(claims or "{}").values()) else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _local_path(link: str | None) -> str:
    """`link` if it is a path of this app, else home: never another site (open redirect, RFC 9700, 4.11)."""
    # Browsers read a backslash as a slash and skip control characters, so neither may stand anywhere; after one slash
    # must come something else than a slash, also once it is decoded.
    if (
        link
        and len(link) <= RETURN_PATH_LENGTH
        and re.fullmatch(r"/(?!/|%2f|%5c)[!-\[\]-~]*", link, re.IGNORECASE)
        and urlsplit(urljoin("http://here", link)).netloc == "here"
        and posixpath.normpath(unquote(urlsplit(link).path)) != "/logout"
    ):
        return link
    return "/"


def _name(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _names(scopes) -> set[str]:
    """Scopes to compare: Entra answers `User.Read` to `user.read` and to `https://graph.microsoft.com/User.Read`.

    What is asked of every authority is left out: some grant it without saying so.
    """
    names = {scope.lower() for scope in scopes} - {"openid", "profile", "offline_access", "email"}
    return {name.removeprefix(graph) for name in names for graph in [next(filter(name.startswith, _GRAPHS), "")]}


def _who(user: dict) -> str:
    """Who, for a log: the object and the tenant, which an administrator can look up, and no name."""
    return f"oid={user.get('oid') or user['sub']} tid={user.get('tid')}"

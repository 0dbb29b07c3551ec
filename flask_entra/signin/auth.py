"""`Auth`: identity's Flask helper, hardened. `login_required`, and the routes for sign-in, its answer and sign-out.

The way of a request to a protected view:

    login_required (identity's)   who is signed in?              tokens.get_user, from the session
                                  a token for the view's scopes? Tokens.context: from the session, or by a refresh
                                  one of the roles, the groups?  Requirement.check: from the ID token, or NotAllowed
    Auth.call                     the API refuses the token?     Tokens.renew, then the call once more
    SignInRequired                only the person can help       Auth.login → 302 to the authority; 401 to a script
    the redirect URI              the authority's answer         Tokens.finish → a new session → 302 to the view
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import flask
import identity.flask
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
)
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response as BaseResponse

from flask_entra.bearer import InvalidToken, merged_claims
from flask_entra.callers import expects_a_page
from flask_entra.clouds import comparable_scopes
from flask_entra.http_client import BoundedSession
from flask_entra.sessions.session import Session
from flask_entra.signin import answers, guards, invitation, pending, sign_out, tokens
from flask_entra.signin.authorization import Requirement
from flask_entra.signin.errors import IdTokenRefused, SignInElsewhere, SignInError, SignInRequired, person
from flask_entra.signin.paths import LOGIN, LOGOUT, local_path, requested
from flask_entra.signin.tenant import Tenant
from flask_entra.signin.tokens import Tokens, get_user, is_current
from flask_entra.urls import origin, route_of, split_url

# Limits on repeated sign-ins within JUST_NOW_SECONDS: once for the same scopes and claims, AGAIN_AT_MOST in all, CHALLENGES for
# the same scopes.
JUST_NOW_SECONDS, AGAIN_AT_MOST, CHALLENGES = 60, 8, 3
AGAIN = "signed_in_again"
# Where browsers say that they only ask ahead: today's, Chromium and Safari until 2022, Firefox until 2023.
PURPOSES = ("Sec-Purpose", "Purpose", "X-Moz")
NOBODY = "no-op"  # the state of a request whose answer signs nobody in: Azure AD B2C's other user flows

T = TypeVar("T")
log = logging.getLogger(__name__)
session = cast(Session, flask.session)


class Auth(identity.flask.Auth):  # type: ignore[misc]  # it has no types
    """Signs people in to a Flask app.

    Routes: `/login` (`?next=` a path to return to, `?prompt=select_account`, `?user_flow=edit_profile` for Azure AD B2C),
    the path of `REDIRECT_URI`, and `/logout`.

    :param http: the process's one HTTP client, for every request to the authority.
    """

    def __init__(self, http: BoundedSession):
        # identity keeps one app's settings in the helper. Here they are found with the app, so that one helper serves each
        # app that a factory makes.
        super().__init__(None, client_id="")
        self._auth = tokens  # all that identity's `login_required` asks it for is `get_user()`
        self.http = http

    def init_app(self, app: Flask, respond: Callable[[Exception], Response]) -> None:
        """Sign people in to this app.

        :param app: configured by `app_config.load()`, with its session interface set by `sessions.init_app()`.
        :param respond: makes the answer that tells a person of a failure.
        """
        tenant = Tenant(self.http, app.config)
        app.extensions["sign_in"] = tenant, Tokens(tenant, app.config)
        # identity's own blueprint would put sign-out at //logout, which a browser takes for a host named logout.
        routes = Blueprint("auth", __name__)
        routes.get(LOGIN, endpoint="login")(self._login_view)
        routes.get(route_of(app.config["REDIRECT_URI"]), endpoint="answer")(self.auth_response)
        routes.route(LOGOUT, methods=["GET", "POST"], endpoint="logout")(self.logout)
        app.register_blueprint(routes)
        answers.init_app(app)

        @app.errorhandler(SignInRequired)
        def sign_in_first(required: SignInRequired) -> BaseResponse:
            # Raised where no `login_required` is, for example by `context()`. To Flask, what a handler raises is a 500.
            try:
                return self._sign_in_first(required)
            except Exception as failure:
                return respond(failure)

        app.jinja_env.globals["signed_out_just_now"] = sign_out.has_just_happened
        # Asked for by each page that shows who is signed in, when it does: a store that does not answer is a page of its own.
        app.jinja_env.globals.update(user=LocalProxy(get_user), userinfo_url=LocalProxy(lambda: self.userinfo_url))

    @property
    def tenant(self) -> Tenant:
        """The authority of the present app."""
        return cast(Tenant, current_app.extensions["sign_in"][0])

    @property
    def _tokens(self) -> Tokens:
        return cast(Tokens, current_app.extensions["sign_in"][1])

    @property
    def user(self) -> dict[str, Any] | None:
        """The ID token's claims of the person who is signed in, or None. Asks nobody but the session."""
        return get_user()

    @property
    def userinfo_url(self) -> str:
        """The userinfo endpoint of the authority that signed the person in; empty if it has none. Entra's is Graph."""
        return cast(str, session.get(tokens.USERINFO, ""))

    # --- For views ----------------------------------------------------------------------------------------------------

    public = staticmethod(guards.public)

    def login_required(
        self,
        function: Any = None,
        /,
        *,
        scopes: Collection[str] | None = None,
        roles: Collection[str] | None = None,
        groups: Collection[str] | None = None,
    ) -> Any:
        """Let a view be opened only by a person who is signed in, and has what it asks for. It gets `context`.

        :param scopes: those of the access token that the view needs, all of one API; see `Tokens.context`.
        :param roles: app roles (`roles` in the ID token), any of which will do. Letter case counts.
        :param groups: object ids of groups (`groups` in the ID token, or asked of Graph when they are too many for it), any of
            which will do. With `roles` too, both are needed.
        :raises TypeError, ValueError: at once, when one of the three is written wrong.
        """
        needs = Requirement.of(scopes, roles, groups)
        if function is None:
            return lambda view: self.login_required(view, scopes=scopes, roles=roles, groups=groups)
        # identity hands its `scopes` to `_login_required` unread.
        view = guards.led_to_sign_in(super().login_required(function, scopes=needs), self._sign_in_first)
        return guards.mark(view, needs)

    def _login_required(self, auth: Any, user: dict[str, Any] | None, needs: Requirement) -> dict[str, Any]:
        """What identity's `login_required` gives a view as `context`; see `Tokens.context`.

        :raises NotAllowed: the person has none of the roles, or is in none of the groups.
        :raises MembershipUnknown: whether they are cannot be found out.
        """
        g.user = user  # for the page of a failure
        member_of = current_app.extensions["member_of"]
        try:
            context = self._tokens.context(user, needs.scopes)
        except SignInRequired:
            if user and is_current(user):  # nobody is asked to consent to what a page needs that they may not open
                needs.check(user, member_of)
            raise
        g.user = context["user"]
        needs.check(context["user"], member_of)  # after a refresh, which may have given or taken a role
        return context

    def need_sign_in(self) -> BaseResponse | None:
        """The way to a sign-in; None for a person who is signed in."""
        try:
            g.user = self.context()["user"]  # for the page of a failure
        except SignInRequired as required:
            return self._sign_in_first(required)
        return None

    def context(self, scopes: list[str] | None = None) -> dict[str, Any]:
        """What `login_required` gives a view, for use in the view: for a second API, or where nothing else asks for a sign-in.

        :param scopes: those of the access token, all of one API; None for no token.
        :return: see `Tokens.context`.
        :raises SignInRequired: nobody is signed in, or the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises TenantUnavailable: a token is needed, and the authority cannot be reached.
        """
        return self._tokens.context(self.user, scopes)

    def granted(self) -> list[tuple[list[str], int]]:
        """What the person has granted: the scopes of each access token, and when it expires (Unix seconds). No token."""
        return self._tokens.granted()

    def call(self, api: Callable[[str], T], context: dict[str, Any]) -> T:
        """Call an API for the person; if it refuses their token, once more with a new one.

        :param api: gets an access token. It raises `bearer.InvalidToken` when the API answers 401, as `GraphClient` does.
        :param context: the view's, of a view with scopes. It holds the new token afterwards.
        :return: the API's answer.
        :raises SignInRequired: the API refuses the new token too, or the authority wants to see the person. It asks for the
            view's scopes, with all claims that the API and the authority have asked for.
        """
        try:
            return api(context["access_token"])
        except InvalidToken as error:
            refused = error
        try:
            context.update(self._tokens.renew(context["scopes"], refused.claims))
        except SignInRequired as required:
            raise required from refused
        try:
            return api(context["access_token"])
        except InvalidToken as again:
            raise SignInRequired(merged_claims(refused.claims, again.claims), context["scopes"]) from again

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """What the authority tells about the person, for `call`; see `signin.userinfo`.

        :raises IdTokenRefused: it is about another person.
        :raises InvalidToken: the authority does not accept the token.
        :raises TenantUnavailable: it cannot be reached, or has no such endpoint.
        """
        return self._tokens.userinfo(access_token)

    def renew_token(self, claims: str | None = None, scopes: list[str] | None = None) -> str:
        """A new access token, for an API that refuses the present one and is not called by `call`.

        :param claims: the API's claims challenge (JSON), if it sent one.
        :param scopes: None means those of the setting `SCOPE`.
        :return: the access token.
        :raises SignInRequired: the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises TenantUnavailable: the authority cannot be reached.
        """
        return cast(str, self._tokens.renew(scopes, claims)["access_token"])

    def check_credential(self) -> dict[str, Any]:
        """Ask the authority whether it accepts the app's credential; see `Tokens.check_credential`."""
        return self._tokens.check_credential(current_app.config["REDIRECT_URI"], current_app.config["ENDPOINT"])

    # --- Sign-in ------------------------------------------------------------------------------------------------------

    @guards.public
    def _login_view(self) -> BaseResponse:
        """GET /login: send the browser to the authority to sign in."""
        config = current_app.config
        scopes, claims = invitation.accept()
        if not expects_a_page():
            raise SignInRequired(claims, scopes)
        here, there = split_url(request.host_url).hostname, split_url(config["REDIRECT_URI"]).hostname
        if (
            here != there and "moved" not in request.args
        ):  # redirected already, and still another host: a proxy hides it
            # The answer comes to the host of the redirect URI, so the cookie must be set on that host.
            query = urlencode({**request.args, "moved": 1})
            return redirect(f"{origin(config['REDIRECT_URI'])}{request.path}?{query}")
        if url := _user_flow_url(request.args.get("user_flow", ""), config):
            return redirect(url)
        prompt = request.args.get("prompt")
        return self.login(
            next_link=request.args.get("next"),
            prompt=prompt if prompt in ("select_account", "login", "consent") else None,
            scopes=scopes,
            claims=claims,
        )

    def login(
        self,
        *,
        next_link: str | None = None,
        scopes: list[str] | None = None,
        prompt: str | None = None,
        claims: str | None = None,
        again: dict[str, int] | None = None,
    ) -> BaseResponse:
        """Begin a sign-in: 302 to the authority, and a cookie with what the answer will be held against.

        :param next_link: where to go afterwards; anything but a path of this app is home.
        :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :param again: the digest and time (Unix seconds) of each recent repeated sign-in, this one last; None for a first one.
        :raises TenantUnavailable: the authority's address is not known yet, and it does not answer.
        """
        flow = self._tokens.begin(current_app.config["REDIRECT_URI"], scopes=scopes, prompt=prompt, claims=claims)
        response = redirect(flow.pop("auth_uri"))
        pending.remember(cast(Response, response), {**flow, "next": local_path(next_link), "again": again or {}})
        return response

    @guards.public
    def auth_response(self) -> BaseResponse | str:
        """GET, the redirect URI: finish the sign-in that this answer belongs to, and return to the page asked for.

        :raises SignInError: the authority says no, or the answer belongs to no sign-in begun in this browser.
        :raises IdTokenRefused: the ID token fails a check.
        :raises TenantUnavailable: the authority cannot be reached.
        """
        answer = answers.parameters()
        if answer.get("state") == NOBODY:
            return redirect("/")
        flow = pending.recall(answer.getlist("state"))
        if flow is None:
            if self.user:  # the answer to a sign-in that is finished already: the person went back, or clicked twice
                return redirect("/")
            raise SignInError(
                "too_many_sign_ins" if pending.was_given_up(answer.getlist("state")) else "no_sign_in_begun"
            )
        g.return_to = flow["next"] or "/"  # for the page of a failure
        try:
            self._tokens.finish(flow, answer)
        except IdTokenRefused:
            self._used_up(flow)
            raise
        except SignInError as error:
            self._used_up(flow)
            # A person who is signed in and refuses to consent to more still has the rest of the app.
            if g.setdefault("user", self.user):
                error.more_scopes = [scope for scope in flow["scope"] if comparable_scopes([scope])]
            raise
        after_this_request(pending.count_finished)
        after_this_request(sign_out.forget_note)
        self._used_up(flow)  # if the authority did not answer, it stays, so that a reload can succeed
        if isinstance(flow["again"], dict) and flow["again"]:
            session[AGAIN] = {**flow["again"], [*flow["again"]][-1]: int(time.time())}
        log.info("Signed in: %s", person(self.user))
        return redirect(flow["next"]) if flow["next"] else render_template("lost_address.html")

    @staticmethod
    def _used_up(flow: dict[str, Any]) -> None:
        after_this_request(lambda response: pending.forget(response, flow))

    def _sign_in_first(self, required: SignInRequired) -> BaseResponse:
        """Begin a sign-in for the page that is being asked for.

        :raises SignInElsewhere: the caller shows no page. It is told where a person can sign in: a redirect to another site is
            of no use to it.
        :raises InvalidToken, SignInError: that has just been done and did not help.
        :raises TenantUnavailable: the authority's address is not known yet, and it does not answer.
        """
        if not expects_a_page():
            raise SignInElsewhere(required, invitation.link(required.scopes, required.claims))
        if not self.user and pending.finished_too_often():
            raise SignInError("session_lost")
        try:
            again = _again(required) if self.user else None
        except SignInError as failure:
            cause = required.__cause__  # says more, if it is known
            raise cause if isinstance(cause, InvalidToken) else failure from None
        here = requested() if request.method == "GET" else "/"
        return self.login(next_link=here, scopes=required.scopes, claims=required.claims, again=again)

    # --- Sign-out -----------------------------------------------------------------------------------------------------

    @guards.public
    def logout(self) -> BaseResponse | str:
        """GET or POST /logout: sign out here, then at the authority, then home.

        Only a page that is opened signs out, and only when the person wants it; another site's link leads to a question.
        """
        if request.method == "HEAD":
            return redirect("/")
        if any("prefetch" in request.headers.get(name, "").lower() for name in PURPOSES):
            # A browser discards a failed prefetch and asks again at the click; it would show a successful one without asking.
            return Response(status=503)
        if not expects_a_page():
            abort(403)  # a picture, a style sheet or a script of any site: nobody has clicked
        if not sign_out.is_wanted():
            return render_template("sign_out.html", goal=None)
        if self.user:
            log.info("Signed out: %s", person(self.user))
            after_this_request(pending.forget_finished)
            after_this_request(sign_out.note)
        goal = self._tokens.sign_out(origin(current_app.config["REDIRECT_URI"]) + "/")
        if request.method == "GET":
            return redirect(goal)
        # Browsers hold the redirects after a form against form-action, on the authority's way through other sites too (a
        # federated one's). A page that leads there is no redirect.
        response = make_response(render_template("sign_out.html", goal=goal))
        response.headers["Refresh"] = f"0; url={goal}"
        return response


def _user_flow_url(name: str, config: Mapping[str, Any]) -> str | None:
    """Where one of Azure AD B2C's other user flows begins: `edit_profile` or `reset_password`."""
    settings = {"edit_profile": "EDITPROFILE_USER_FLOW", "reset_password": "RESETPASSWORD_USER_FLOW"}
    user_flow = config[settings[name]] if name in settings else ""
    if not (user_flow and config["B2C_TENANT_NAME"]):
        return None
    query = {
        "client_id": config["CLIENT_ID"],
        "redirect_uri": config["REDIRECT_URI"],
        "response_type": "code",
        "scope": "openid",
        "state": NOBODY,
    }
    return f"{config['AUTHORITY'].rpartition('/')[0]}/{user_flow}/oauth2/v2.0/authorize?{urlencode(query)}"


def _again(required: SignInRequired) -> dict[str, int]:
    """The digest of each recent repeated sign-in and its time (Unix seconds), with the present one last.

    :raises SignInError: that has just been done and did not help. With single sign-on it would go round and round.
    """
    now = int(time.time())
    recent = {what: at for what, at in session.get(AGAIN, {}).items() if 0 <= now - at < JUST_NOW_SECONDS}
    scopes, wanted = _digests(required)
    challenges = sum(what.startswith(scopes) for what in recent)
    if wanted in recent or challenges >= CHALLENGES or len(recent) >= AGAIN_AT_MOST:
        raise SignInError("sign_in_did_not_help")
    return {**recent, wanted: now}


def _digests(required: SignInRequired) -> tuple[str, str]:
    """What a sign-in is for, in a few characters: its scopes, and its scopes with its claims."""
    wanted = current_app.config["SCOPE"] if required.scopes is None else required.scopes
    scopes, claims = " ".join(sorted(comparable_scopes(wanted))), required.claims or ""
    first, second = (hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:8] for part in (scopes, claims))
    return first, first + second

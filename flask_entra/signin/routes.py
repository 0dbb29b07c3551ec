"""The pages of the sign-in (`beginning`), its answer and the sign-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    g,
    make_response,
    redirect,
    request,
    session,
    url_for,
)
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

from flask_entra.callers import expects_a_page
from flask_entra.config import Config, present_app
from flask_entra.cross_site import csrf_exempt
from flask_entra.scopes import comparable_scopes
from flask_entra.signals import access_denied, signed_in, signed_out
from flask_entra.signin import audit, callback_query, guards, lost_form, repeats, sign_out, user_flows
from flask_entra.signin.beginning import NEEDS_A_PAGE, Beginning
from flask_entra.signin.channels import Channels
from flask_entra.signin.current_user import get_user
from flask_entra.signin.errors import IdTokenRefused, SignInError, SignInRefused
from flask_entra.signin.paths import home, redirect_uri, route_of
from flask_entra.signin.pending import SignIns
from flask_entra.signin.tokens import Tokens
from flask_entra.urls import origin

# Where browsers say that they only ask ahead: today's, Chromium and Safari until 2022, Firefox until 2023.
PURPOSES = ("Sec-Purpose", "Purpose", "X-Moz")


class Routes:
    """What an app shows at the addresses of the sign-in.

    :param config: the app's.
    :param tokens: the people's.
    :param channels: hears of sign-outs elsewhere.
    :param not_set_up: the page that says which settings are missing; None when none is.
    :param render: makes one of this package's own pages: the template's name, and its values.
    :param prompt: what a sign-in asks with where nothing else is wanted (OpenID Connect Core, 3.1.2.1).
    :param on_sign_in: what the app wants to do when somebody signs in; each may raise `SignInRefused`.
    :param after_sign_out: the endpoint that is shown after a sign-out; None for the home page.
    :ivar sign_ins: those that have begun.
    :ivar beginning: begins them.
    :ivar note: the note that somebody has signed out.
    """

    def __init__(
        self,
        config: Config,
        tokens: Tokens,
        channels: Channels,
        *,
        not_set_up: Callable[[], Response | None],
        render: Callable[..., str],
        prompt: str | None,
        on_sign_in: list[Callable[[dict[str, Any]], object]],
        after_sign_out: str | None,
    ):
        self._config, self._tokens, self._not_set_up, self._render = config, tokens, not_set_up, render
        self._channels = channels
        self._on_sign_in, self._after_sign_out = on_sign_in, after_sign_out
        self.sign_ins, self.note = SignIns(config), sign_out.Note(config)
        self.beginning = Beginning(config, tokens, self.sign_ins, not_set_up=not_set_up, render=render, prompt=prompt)
        self._redirect_path = route_of(config.redirect_uri)

    def register(self, app: Flask) -> None:
        """Give the app the routes. Endpoints have the names that identity gives them."""
        routes = Blueprint(self._config.blueprint, __name__)
        # Below a path, the app does not see that part of the redirect URI.
        root = str(app.config["APPLICATION_ROOT"]).rstrip("/")
        route = self._redirect_path.removeprefix(root) if self._redirect_path.startswith(f"{root}/") else None
        routes.add_url_rule(self._config.login_path, "login", self.beginning.login)
        routes.add_url_rule(route or self._redirect_path, "auth_response", self.answer)
        routes.add_url_rule(self._config.logout_path, "logout", self.logout, methods=["GET", "POST"])
        routes.add_url_rule(self._config.front_channel_path, "front_channel_logout", self._channels.front)
        back = f"{self._config.logout_path}/back-channel"
        routes.add_url_rule(back, "back_channel_logout", self._channels.back, methods=["POST"])
        app.register_blueprint(routes)

        @app.before_request
        def answer_below_a_path() -> Any:
            # Mounted at a path that only the server or the proxy knows: no rule has the whole path of the redirect URI.
            not_found = isinstance(request.routing_exception, NotFound)
            if not_found and request.method == "GET" and request.script_root + request.path == self._redirect_path:
                return self.answer()
            return None

    # --- Sign-in ------------------------------------------------------------------------------------------------------

    @guards.public
    def answer(self) -> BaseResponse | str:
        """GET, the redirect URI: finish the sign-in that this answer belongs to, and return to the page asked for.

        :raises SignInError: the authority says no, or the answer belongs to no sign-in begun in this browser.
        :raises SignInRefused: the app says no.
        :raises IdTokenRefused: the ID token fails a check.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        g.entra_return_to = None  # for the page of a failure: home
        if page := self._not_set_up():
            return page
        answer = callback_query.parameters()
        states, user = answer.getlist("state"), get_user()
        if states == [user_flows.NOBODY]:
            return redirect(home())
        flow = self.sign_ins.recall(states)
        if flow is None:
            return self._answer_to_nothing(answer, states, known=bool(user))
        g.entra_return_to, g.entra_user = flow["next"], user
        try:
            claims = self._tokens.finish(flow, answer)
        except IdTokenRefused as error:
            audit.sign_in_failed(error, user)
            self._forget(flow)
            after_this_request(self.beginning.remembered.forget)
            raise
        except SignInError as error:
            self._forget(flow)
            if flow.get("silent") and error.error in NEEDS_A_PAGE:
                return self.beginning.begin_with_a_page(flow)
            audit.sign_in_failed(error, user)
            if not user:  # the account that could not sign in must keep nobody else out
                after_this_request(self.beginning.remembered.forget)
            # A person who is signed in and refuses to consent to more still has the rest of the app.
            if user:
                error.more_scopes = [scope for scope in flow["scope"] if comparable_scopes([scope])]
            raise
        self._forget(flow)  # if the authority did not answer, it stays, so that a reload can succeed
        self.let_in(claims)
        after_this_request(self.sign_ins.count_finished)
        after_this_request(self.note.begin)
        after_this_request(lambda response: self.beginning.remembered.keep(response, claims))
        repeats.finish(flow["again"])
        audit.write("signed_in", claims)
        signed_in.send(present_app(), user=claims)
        if flow.get("not_sent"):
            return lost_form.told(self._render, flow["next"])
        return redirect(flow["next"]) if flow["next"] else self._render("lost_address.html", here=home())

    def _answer_to_nothing(self, answer: MultiDict[str, str], states: list[str], *, known: bool) -> BaseResponse | str:
        """What to do with an answer that belongs to no sign-in begun in this browser. It signs nobody in.

        :param known: whether somebody is signed in.
        :raises SignInError: in other words than the authority's: what it says has not been asked for, and may be anybody's.
        """
        # https://learn.microsoft.com/entra/identity-platform/v2-admin-consent#successful-response
        if answer.get("admin_consent", "").lower() == "true" and not answer.get("error"):
            return self._render(
                "approved.html", here=home(), sign_in="" if known else url_for(f"{self._config.blueprint}.login")
            )
        if known:  # the answer to a sign-in that is finished already: the person went back, or clicked twice
            return redirect(home())
        begun = "too_many_sign_ins" if self.sign_ins.was_given_up(states) else "no_sign_in_begun"
        audit.write("sign_in_refused", None, begun)  # what the answer says may be anybody's
        raise SignInError(answer.get("error") or begun, answer.get("error_description", ""))

    def let_in(self, claims: dict[str, Any]) -> None:
        """Let the app refuse the sign-in, or add to the session.

        :param claims: of the person, who has just been signed in.
        :raises SignInRefused: it refuses.
        """
        try:
            for function in self._on_sign_in:
                function(claims)
        except Exception as error:
            session.clear()  # nobody is signed in by half
            g.entra_user = None
            if isinstance(error, SignInRefused):
                audit.write("sign_in_refused", claims, f"by the app: {error}" if error.reason else "by the app")
                access_denied.send(present_app(), user=claims, error=error)
                after_this_request(self.beginning.remembered.forget)
            raise

    def _forget(self, flow: dict[str, Any]) -> None:
        after_this_request(lambda response: self.sign_ins.forget(response, flow))

    # --- Sign-out -----------------------------------------------------------------------------------------------------

    @csrf_exempt  # it asks the person whether they want it
    @guards.public
    def logout(self) -> BaseResponse | str:
        """GET or POST /logout: sign out here, then at the authority, then home.

        Only a page that is opened signs out, and only when the person wants it; another site's link leads to a question. A form
        with `everywhere` ends all sessions of the person.
        """
        if request.method == "HEAD":
            return redirect(home())
        if any("prefetch" in request.headers.get(name, "").lower() for name in PURPOSES):
            # A browser discards a failed prefetch and asks again at the click; it would show a successful one without asking.
            return Response(status=503)
        if not expects_a_page():
            abort(403)  # a picture, a style sheet or a script of any site: nobody has clicked
        if not sign_out.is_wanted(self._config):
            return self._render("sign_out.html", goal=None, here=home())
        user = get_user()
        path = url_for(self._after_sign_out) if self._after_sign_out else home()
        after_this_request(self.beginning.remembered.forget)
        if user and request.form.get("everywhere"):
            self._channels.end_others(user)
        goal = self._tokens.sign_out(origin(redirect_uri(self._config)) + path)
        if user:
            audit.write("signed_out", user)
            after_this_request(self.sign_ins.forget_finished)
            after_this_request(self.note.leave)
            signed_out.send(present_app(), user=user)
        if request.method == "GET":
            return redirect(goal)
        # Browsers hold the redirects after a form against form-action, on the authority's way through other sites too (a
        # federated one's). A page that leads there is no redirect.
        response = make_response(self._render("sign_out.html", goal=goal, here=home()))
        response.headers["Refresh"] = f"0; url={goal}"
        return response

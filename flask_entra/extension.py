"""`Auth`, the extension: signs people in to a Flask app with Microsoft Entra ID, and calls Microsoft Graph for them.

The way of a request to a protected view:

    login_required (identity's)   who is signed in?              current_user.get_user, from the session
                                  a token for the view's scopes? Tokens.context: from the session, or by a refresh
                                  one of the roles, the groups?  Requirement.check: from the ID token, or NotAllowed
                                  signed in recently, strongly?  StepUp.check: from the ID token
    Auth.call, Auth.graph         the API refuses the token?     Tokens.renew, then the call once more
    SignInRequired                only the person can help       Beginning.lead_to_sign_in → the authority; 401 to a script
    the redirect URI              the authority's answer         Tokens.finish → a new session → the view
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar, cast

import flask
import identity.flask
from flask import Flask, g
from werkzeug.wrappers import Response as BaseResponse

from flask_entra import app_state, cross_site, deprecated
from flask_entra.apis import Apis
from flask_entra.config import present_app
from flask_entra.http_client import BoundedSession
from flask_entra.pages import policy
from flask_entra.sessions.session import Session
from flask_entra.signals import access_denied
from flask_entra.signin import audit, current_user, guards, noted, user_flows
from flask_entra.signin.authorization import DEFAULT_SCOPES, Requirement
from flask_entra.signin.errors import MembershipUnknown, NotAllowed, SignInRequired
from flask_entra.signin.token_cache import granted

# identity's arguments, each with the setting that it stands for.
_ARGUMENTS = {
    "client_id": "CLIENT_ID",
    "client_credential": "CLIENT_SECRET",
    "authority": "AUTHORITY",
    "oidc_authority": "OIDC_AUTHORITY",
    "redirect_uri": "REDIRECT_URI",
    "b2c_tenant_name": "B2C_TENANT_NAME",
    "b2c_signup_signin_user_flow": "SIGNUPSIGNIN_USER_FLOW",
    "b2c_edit_profile_user_flow": "EDITPROFILE_USER_FLOW",
    "b2c_reset_password_user_flow": "RESETPASSWORD_USER_FLOW",
}

session = cast(Session, flask.session)
T = TypeVar("T")
V = TypeVar("V", bound=Callable[..., Any])


class Auth(identity.flask.Auth, Apis):  # type: ignore[misc]  # it has no types
    """Signs people in to Flask apps. One object serves each app that a factory makes: it holds nothing of any of them.

    :param app: signed in to at once, as `init_app` does; None for an app that is made later.
    :param client_id: the setting `CLIENT_ID`. This argument and those below win over Flask's configuration, where the same
        settings have keys that begin with `ENTRA_`.
    :param client_credential: a client secret, or another credential as MSAL takes it.
    :param post_logout_view: the view that is shown after a sign-out; None for the home page.
    :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
    :param others: `authority`, `oidc_authority`, `redirect_uri` and those for Azure AD B2C, as identity names them.
    :raises TypeError: there is no such argument.
    """

    default_scopes = DEFAULT_SCOPES  # for `login_required(scopes=…)`: those of the setting `SCOPE`

    def __init__(
        self,
        app: Flask | None = None,
        client_id: str | None = None,
        *,
        client_credential: Any = None,
        post_logout_view: Callable[..., Any] | None = None,
        prompt: str | None = None,
        **others: str | None,
    ):
        if isinstance(app, BoundedSession):
            deprecated.warn("Auth(BoundedSession(…))", "Auth()", stacklevel=3)
            app = None
        if unknown := sorted(others.keys() - _ARGUMENTS.keys()):
            raise TypeError(f"Auth() has no argument {unknown[0]!r}. It has {', '.join(_ARGUMENTS)}.")
        is_secret = isinstance(client_credential, str)
        values = {
            **others,
            "client_id": client_id,
            "client_credential": client_credential if is_secret else None,
        }
        self._given = {_ARGUMENTS[name]: value for name, value in values.items() if value}
        self._credential = None if is_secret else client_credential
        self._on_sign_in: list[Callable[[dict[str, Any]], object]] = []
        # identity keeps one app's settings in the helper. Here they are found with the app.
        super().__init__(None, client_id="", post_logout_view=post_logout_view, prompt=prompt)
        self._auth = current_user  # all that identity's `login_required` asks it for is `get_user()`
        if app:
            self.init_app(app)

    def init_app(self, app: Flask, *, protected: bool = False) -> None:
        """Give an app sign-in and sign-out, sealed sessions, pages for failures, health checks and `flask doctor`.

        :param app: its configuration has been filled. `config.SWITCHES` are the parts that it may switch on and off,
            `config.OPTIONS` where they are and how they look.
        :param protected: whether every view needs a sign-in but those marked `public`, also those that are added later.
        """
        view = self._post_logout_view
        app_state.init_app(
            app,
            self,
            given=self._given,
            credential=self._credential,
            prompt=self._prompt,
            on_sign_in=self._on_sign_in,
            after_sign_out=view.__name__ if view else None,
            protected=protected,
        )

    # --- Who is signed in ---------------------------------------------------------------------------------------------

    @property
    def user(self) -> dict[str, Any] | None:
        """The ID token's claims of the person who is signed in, or None. Asks nobody but the session."""
        return current_user.get_user()

    granted = staticmethod(granted)

    # --- What a view asks for -----------------------------------------------------------------------------------------

    public = staticmethod(guards.public)
    csp = staticmethod(policy.csp)
    csrf_exempt = staticmethod(cross_site.csrf_exempt)

    def login_required(
        self,
        function: Any = None,
        /,
        *,
        scopes: Collection[str] | None = None,
        roles: Collection[str] | None = None,
        groups: Collection[str] | None = None,
        max_age: int | None = None,
        auth_context: str | None = None,
    ) -> Any:
        """Let a view be opened only by a person who is signed in, and has what it asks for. It gets `context`.

        :param scopes: those of the access token that the view needs, all of one API; see `Tokens.context`. `default_scopes`
            stands for those of the setting `SCOPE`.
        :param roles: app roles (`roles` in the ID token), any of which will do. Letter case counts.
        :param groups: object ids of groups, or names of the setting `GROUPS` (`groups` in the ID token, or asked of Graph when
            they are too many for it), any of which will do. With `roles` too, both are needed.
        :param max_age: how many seconds ago the person may have signed in at most; else they are asked to sign in again.
        :param auth_context: one of Entra's authentication contexts, such as `c1`, that the sign-in must have met.
        :raises TypeError, ValueError: at once, when one of them is written wrong.
        """
        needs = Requirement.of(scopes, roles, groups, max_age, auth_context)
        return partial(self._guarded, needs) if function is None else self._guarded(needs, function)

    def _guarded(self, needs: Requirement, function: Callable[..., Any]) -> Callable[..., Any]:
        # identity hands its `scopes` to `_login_required` unread.
        view = super().login_required(function, scopes=needs)
        return guards.mark(guards.led_to_sign_in(view, partial(self._lead_to_sign_in, needs)), needs, function)

    def _login_required(self, auth: Any, user: dict[str, Any] | None, needs: Requirement) -> dict[str, Any]:
        """What identity's `login_required` gives a view as `context`; see `Tokens.context`.

        :raises NotAllowed: the person has none of the roles, or is in none of the groups.
        :raises MembershipUnknown: whether they are cannot be found out.
        """
        admitted = g.get("entra_admitted")
        if admitted and admitted[0] is needs:  # by the guard of all views, a moment ago
            return cast("dict[str, Any]", admitted[1])
        state = self._state
        g.entra_user = user  # for the page of a failure
        scopes = state.config.scope if needs.scopes is DEFAULT_SCOPES else needs.scopes
        # Nobody is asked to consent to a page before it is known whether they may open it.
        if not user and needs.claims:
            raise SignInRequired()
        try:
            try:
                context = state.tokens.context(user, scopes)
            except SignInRequired:
                if user and current_user.is_current(user):
                    needs.check(user, state.member_of, state.config.groups)
                raise
            g.entra_user = context["user"]
            if not all(current_user.is_told_now(context["user"], claim) for claim in needs.claims):
                raise SignInRequired(scopes=scopes)
            needs.check(context["user"], state.member_of, state.config.groups)  # after a refresh, which may change them
            needs.step_up.check(context["user"], scopes)
        except (NotAllowed, MembershipUnknown) as error:
            audit.write("access_denied", g.entra_user, error.lacking)
            access_denied.send(present_app(), user=g.entra_user, error=error)
            raise
        return context

    def admit(self, needs: Requirement) -> BaseResponse | None:
        """The way to the sign-in for a person who may not open a view yet; None for one who may.

        :param needs: what the view asks for.
        :raises NotAllowed, MembershipUnknown: as the view's own `login_required` does.
        """
        try:
            g.entra_admitted = needs, self._admitted(needs)
        except SignInRequired as required:
            return self._lead_to_sign_in(needs, required)
        return None

    def _lead_to_sign_in(self, needs: Requirement, required: SignInRequired) -> BaseResponse:
        return self._state.lead_to_sign_in(needs.step_up.added_to(required))

    # --- Sign-in and sign-out -----------------------------------------------------------------------------------------

    def on_sign_in(self, function: V) -> V:
        """Decorate a function that is called when the authority has signed somebody in, before they are let in.

        It gets the ID token's claims. It may note something in `flask.session`, which is a new one, and raises `SignInRefused`
        to let nobody in.
        """
        self._on_sign_in.append(function)
        return function

    def login(self, *, next_link: str | None = None, scopes: list[str] | None = None) -> BaseResponse:
        """Begin a sign-in; see `Beginning.begin`."""
        return self._state.routes.beginning.begin(next_link=next_link, scopes=scopes)

    def auth_response(self) -> BaseResponse | str:
        """The redirect URI; see `Routes.answer`."""
        return self._state.routes.answer()

    def sessions(self) -> list[dict[str, Any]]:
        """The sessions of the person who is signed in, for a page on which they see them; the newest first.

        :return: of each, `began` (Unix seconds; None if it is not known), `browser` (what that calls itself; empty likewise) and
            `here`: whether it is the present one.
        :raises StoreUnavailable: they cannot be read.
        """
        user = self.user
        found = self._state.index.find(noted.by_person(user["iss"], user["sub"])) if user else []
        told = [
            {
                "began": each.about.get("at"),
                "browser": each.about.get("browser", ""),
                "here": each.key == session.key,
            }
            for each in found
            if self._state.index.is_alive(each)
        ]
        return sorted(told, key=lambda each: each["began"] or 0, reverse=True)

    def logout(self) -> BaseResponse | str:
        """Sign out; see `Routes.logout`."""
        return self._state.routes.logout()

    def get_edit_profile_url(self) -> str | None:
        """The address at which people edit their profile (Azure AD B2C); None without such a user flow."""
        return user_flows.address(self._state.config, "edit_profile")

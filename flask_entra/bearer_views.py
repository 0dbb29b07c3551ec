"""`Auth.bearer_required`: an API beside the pages, whose callers bring access tokens for this app.

bearer_required               a bearer token?              CallersTokens.admit: validated, with a scope or a role
                              none, and session=True       as login_required, from the session
Auth.context, Auth.graph      a token for another API      OnBehalfOf.context, in the place of Tokens.context
CallerRefused                 the answers of RFC 6750      pages.bearer_problems
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, cast

from flask import current_app

from flask_entra.app_state import AppState
from flask_entra.config import KEY, present_app
from flask_entra.signals import access_denied
from flask_entra.signin import audit, callers_tokens, current_user, guards
from flask_entra.signin.authorization import Requirement
from flask_entra.signin.callers_tokens import TokenRequirement
from flask_entra.signin.errors import CallerRefused
from flask_entra.signin.on_behalf_of import OnBehalfOf
from flask_entra.signin.tokens import Tokens


class BearerViews:
    """The part of `Auth` for views that take bearer tokens."""

    # What `Auth` has for views that take a session.
    _login_required: Any
    _lead_to_sign_in: Any

    @property
    def _state(self) -> AppState:
        return cast(AppState, current_app.extensions[KEY])

    def bearer_required(
        self,
        function: Any = None,
        /,
        *,
        scopes: Collection[str] | None = None,
        roles: Collection[str] | None = None,
        session: bool = False,
    ) -> Any:
        """Let a view be opened by a bearer token (RFC 6750): an access token for this app (RFC 9068, or one of Entra's).

        The view gets `context`, in which `user` has the token's claims. `Auth.context(["User.Read"])` gets it a token for another
        API, on behalf of the person. Without `scopes` and `roles`, the token of any person will do, and no app's own.

        :param scopes: delegated permissions of this app's own API by their short names (`scp` in the token), any of which will
            do for a person's token.
        :param roles: app roles (`roles` in the token), any of which will do. An app's own token needs one; a person's needs one
            where there are no `scopes`; and so does a person who comes with a session. Letter case counts.
        :param session: whether a person who is signed in may open it too. A request without an `Authorization` header is then
            treated as by `login_required`; in one with that header, the token decides alone.
        :raises TypeError, ValueError: at once, when one of the two is written wrong, or `login_required` stands there too.
        """
        needs = TokenRequirement.written(scopes, roles, session)
        if function is None:
            return lambda view: self.bearer_required(view, scopes=scopes, roles=roles, session=session)
        view = callers_tokens.given_context(function, lambda: self._admitted(needs))
        view = guards.led_to_sign_in(view, partial(self._lead_to_sign_in, needs))
        setattr(view, guards.BEARER, needs)
        return guards.mark(view, needs, function)

    def _admitted(self, needs: Requirement) -> dict[str, Any]:
        """What a view is given as `context`, of the bearer token or of the session.

        :raises CallerRefused: the token does not open the view, or there is none.
        :raises SignInRequired, NotAllowed, MembershipUnknown: as `login_required` does, where a session decides.
        """
        if isinstance(needs, TokenRequirement):
            try:
                if context := self._state.callers.admit(needs):
                    return context
            except CallerRefused as error:
                if error.error == "insufficient_scope":
                    audit.write("access_denied", error.user, str(error))
                    access_denied.send(present_app(), user=error.user, error=error)
                raise
        return cast("dict[str, Any]", self._login_required(None, current_user.get_user(), needs))

    @property
    def _tokens(self) -> Tokens | OnBehalfOf:
        """What gets tokens for other APIs: for the caller, or for the person who is signed in."""
        return self._state.on_behalf_of if callers_tokens.present() else self._state.tokens

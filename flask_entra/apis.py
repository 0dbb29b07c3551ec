"""The part of `Auth` that calls APIs: for the person who is signed in, for one whose work goes on later, and for the app."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from flask import has_request_context

from flask_entra import background
from flask_entra.api_calls import ApiCalls
from flask_entra.bearer import InvalidToken, merged_claims
from flask_entra.bearer_views import BearerViews
from flask_entra.config import present_app
from flask_entra.graph_calls import GraphCalls
from flask_entra.signin import current_user
from flask_entra.signin.errors import SignInRequired
from flask_entra.token_credential import AsyncTokenCredential, TokenCredential

T = TypeVar("T")


class Apis(BearerViews):
    """See `Auth`."""

    # --- For the person who is signed in ------------------------------------------------------------------------------

    def context(self, scopes: list[str] | None = None) -> dict[str, Any]:
        """What `login_required` gives a view, for use in the view: for a second API, or where nothing else asks for a sign-in.

        In a request that came with a bearer token, the token is one on behalf of the caller; see `OnBehalfOf.context`.

        :param scopes: those of the access token, all of one API; None for no token.
        :return: see `Tokens.context`.
        :raises SignInRequired: nobody is signed in, or the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises AuthorityUnavailable: a token is needed, and the authority cannot be reached.
        :raises RuntimeError: there is no request, so that nobody makes it.
        """
        self._check_request()
        return self._tokens.context(current_user.get_user(), scopes)

    @property
    def graph(self) -> GraphCalls:
        """Microsoft Graph, or the API of `ENDPOINT`, for the person who is signed in."""
        return self._state.graph

    def api(self, url: str, *, scopes: list[str] | None = None) -> ApiCalls:
        """Another API, for the person who is signed in: one that takes bearer tokens and answers JSON. It can be kept anywhere.

        :param url: absolute, without the paths that will be called, such as `https://orders.example/v1`.
        :param scopes: those of its access tokens; None for those of the view that calls it.
        """
        return ApiCalls(self.call, self.context, lambda: self._state.api_client(url), scopes)

    def call(self, api: Callable[[str], T], context: dict[str, Any]) -> T:
        """Call an API; if it refuses the token, once more with a new one.

        :param api: gets an access token. It raises `bearer.InvalidToken` when the API answers 401.
        :param context: the view's, of a view with scopes, or that of `app_context`. It holds the new token afterwards.
        :return: the API's answer.
        :raises SignInRequired: the API refuses the new token too, or the authority wants to see the person. It asks for the
            view's scopes, with all claims that the API and the authority have asked for. To a caller with a bearer token it
            is a `CallerRefused`.
        """
        try:
            return api(context["access_token"])
        except InvalidToken as error:
            refused = error
        if "user" not in context:  # the app itself, which nobody can sign in
            token = context["access_token"]
            context.update(self._state.app_tokens.get(context["scopes"], refused.claims, refused=token))
            if context["access_token"] == token:
                raise refused
            return api(context["access_token"])
        self._check_request()
        try:
            context.update(self._tokens.renew(context["scopes"], refused.claims))
        except SignInRequired as required:
            raise required from refused
        try:
            return api(context["access_token"])
        except InvalidToken as again:
            raise SignInRequired(merged_claims(refused.claims, again.claims), context["scopes"]) from again

    def renew_token(self, claims: str | None = None, scopes: list[str] | None = None) -> str:
        """A new access token, for an API that refuses the present one and is not called by `call`.

        :param claims: the API's claims challenge (JSON), if it sent one.
        :param scopes: None means those of the setting `SCOPE`.
        :return: the access token.
        :raises SignInRequired: the authority wants to see the person.
        :raises SignInError: the authority refuses for another reason.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        return cast(str, self._tokens.renew(scopes, claims)["access_token"])

    def credential(self, scopes: list[str] | None = None) -> TokenCredential:
        """The person as a `TokenCredential` of the Azure SDK.

        :param scopes: those of the tokens that its clients ask for as `<API>/.default`; None for those of the setting `SCOPE`.
        """
        usual = self._state.config.scope if scopes is None else scopes
        return TokenCredential(self.context, self.renew_token, usual)

    def async_credential(self, scopes: list[str] | None = None) -> AsyncTokenCredential:
        """The person as an `AsyncTokenCredential`, which msgraph-sdk takes; see `credential`."""
        return AsyncTokenCredential(self.credential(scopes))

    # --- Outside of their requests ------------------------------------------------------------------------------------

    def handle(self) -> str:
        """A text by which a thread, or the worker of a queue, can act for the person who makes this request.

        It is no token, and of no use without this app's key. It is good for as long as the session.

        :raises SignInRequired: nobody is signed in.
        :raises ValueError: the app has no key to encrypt it with.
        """
        self._check_request()
        return background.handle(self._state.config)

    def acting_for(self, handle: str) -> AbstractContextManager[None]:
        """Let a block act for the person of a handle, as a view of theirs would; in an app context (`app.app_context()`).

        :param handle: as `handle` made it.
        :raises ValueError: it is none of this app's.
        :raises SignInRequired: the person has signed out, or the session has ended. The block may raise it too.
        """
        return background.acting_for(present_app(), self._state.config, handle)

    @staticmethod
    def _check_request() -> None:
        if not has_request_context():
            raise RuntimeError(
                "There is no request here, so nobody is signed in. Take auth.handle() in the view, and write "
                "`with auth.acting_for(handle):` here. For the app itself there is auth.app_token(scopes)."
            )

    # --- For the app itself -------------------------------------------------------------------------------------------

    def app_token(self, scopes: list[str]) -> str:
        """An access token for the app itself, for its application permissions. It is kept until shortly before its end.

        :param scopes: `<API>/.default`, such as `https://graph.microsoft.com/.default`.
        :raises ValueError: the scopes are a person's, or the app has no credential.
        :raises SignInError: the authority refuses.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        return cast(str, self.app_context(scopes)["access_token"])

    def app_context(self, scopes: list[str]) -> dict[str, Any]:
        """What `auth.graph` and `auth.call` take as a context, for the app itself; the rest is as for `app_token`.

        :return: `access_token`, `token_type`, `expires_in` (seconds) and `scopes`.
        """
        return self._state.app_tokens.get(scopes)

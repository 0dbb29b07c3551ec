"""The way to the authority: the page `/login`, and a sign-in that any other page needs first."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from urllib.parse import urlencode

from flask import Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from flask_entra.bearer import InvalidToken
from flask_entra.callers import expects_a_page
from flask_entra.config import Config
from flask_entra.signin import guards, lost_form, repeats, sign_in_link, step_up, user_flows
from flask_entra.signin.current_user import get_user
from flask_entra.signin.errors import SignInElsewhere, SignInError, SignInRequired
from flask_entra.signin.paths import local_path, redirect_uri, requested
from flask_entra.signin.pending import SignIns
from flask_entra.signin.tokens import Tokens
from flask_entra.urls import origin, split_url

# In the address of a sign-in that has been moved to another host: whether somebody was signed in where it was asked for.
_BY_NOBODY, _BY_SOMEBODY = "1", "2"


class Beginning:
    """Begins the sign-ins of an app.

    :param config: the app's.
    :param tokens: the people's.
    :param sign_ins: where those are kept that have begun.
    :param not_set_up: the page that says which settings are missing; None when none is.
    :param render: makes one of this package's own pages: the template's name, and its values.
    :param prompt: what a sign-in asks with where nothing else is wanted (OpenID Connect Core, 3.1.2.1).
    """

    def __init__(
        self,
        config: Config,
        tokens: Tokens,
        sign_ins: SignIns,
        *,
        not_set_up: Callable[[], Response | None],
        render: Callable[..., str],
        prompt: str | None,
    ):
        self._config, self._tokens, self._sign_ins = config, tokens, sign_ins
        self._not_set_up, self._render, self._prompt = not_set_up, render, prompt

    @guards.public
    def login(self) -> BaseResponse | str:
        """GET /login: send the browser to the authority to sign in.

        `?next=` is a path to return to; `?prompt=select_account` and `?user_flow=edit_profile` (Azure AD B2C) are possible too.
        """
        if page := self._not_set_up():
            return page
        required = sign_in_link.read(self._config)
        if not expects_a_page():
            raise SignInElsewhere(required, self._link(required), known=False)
        if self._is_elsewhere():
            query = urlencode({**request.args, "moved": _BY_SOMEBODY})
            return redirect(f"{origin(redirect_uri(self._config))}{request.script_root}{request.path}?{query}")
        if request.args.get("moved") == _BY_NOBODY and get_user():  # signed in on this host all the time
            there = local_path(request.args.get("next"))
            return lost_form.told(self._render, there) if required.not_sent else redirect(there)
        if url := user_flows.address(self._config, request.args.get("user_flow", "")):
            return redirect(url)
        prompt = request.args.get("prompt")
        return self.begin(
            next_link=request.args.get("next"),
            prompt=prompt if prompt in ("select_account", "login", "consent") else self._prompt_for(required),
            scopes=required.scopes,
            claims=required.claims,
            max_age=required.max_age,
            not_sent=required.not_sent,
        )

    def begin(
        self,
        *,
        next_link: str | None = None,
        scopes: list[str] | None = None,
        prompt: str | None = None,
        claims: str | None = None,
        max_age: int | None = None,
        again: dict[str, int] | None = None,
        not_sent: bool = False,
    ) -> BaseResponse:
        """Begin a sign-in: a redirect to the authority, and a cookie with what the answer will be held against.

        :param next_link: where to go afterwards; anything but a path of this app is home.
        :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :param max_age: how many seconds ago the person may have signed in at most; None for any time.
        :param again: see `repeats.noted`; None for a first sign-in.
        :param not_sent: whether the sign-in comes in the place of a form, on whose page it is to end (`lost_form`).
        :raises AuthorityUnavailable: the authority's address is not known yet, and it does not answer.
        """
        flow = self._tokens.begin(scopes, prompt or self._prompt, claims, max_age)
        response = redirect(flow.pop("auth_uri"))
        flow |= {"next": local_path(next_link), "again": again or {}, "not_sent": not_sent or None}
        self._sign_ins.remember(cast(Response, response), flow)
        return response

    def lead_to_sign_in(self, required: SignInRequired) -> BaseResponse:
        """Begin a sign-in for the page that is being asked for.

        :raises SignInElsewhere: the caller shows no page. It is told where a person can sign in: a redirect to another site is
            of no use to it.
        :raises InvalidToken, SignInError: that has just been done and did not help.
        :raises AuthorityUnavailable: the authority's address is not known yet, and it does not answer.
        """
        if page := self._not_set_up():
            return page
        user = get_user()
        if not expects_a_page():
            raise SignInElsewhere(required, self._link(required), known=bool(user))
        if not user and self._sign_ins.finished_too_often():
            raise SignInError("session_lost")
        try:
            again = repeats.noted(required, self._config.scope) if user else None
        except SignInError as failure:
            cause = required.__cause__  # says more, if it is known
            raise cause if isinstance(cause, InvalidToken) else failure from None
        required.not_sent = lost_form.is_sent()
        here = lost_form.page(self._config) if required.not_sent else requested()
        if self._is_elsewhere():
            link = self._link(required, page=here)
            return redirect(f"{link}&moved={_BY_SOMEBODY if user else _BY_NOBODY}")
        return self.begin(
            next_link=here,
            scopes=required.scopes,
            prompt=self._prompt_for(required),
            claims=required.claims,
            max_age=required.max_age,
            again=again,
            not_sent=required.not_sent,
        )

    def _link(self, required: SignInRequired, page: str | None = None) -> str:
        return sign_in_link.make(
            self._config,
            required.scopes,
            required.claims,
            max_age=required.max_age,
            page=page,
            not_sent=required.not_sent,
        )

    @staticmethod
    def _prompt_for(required: SignInRequired) -> str | None:
        """`login` for a recent sign-in, where it is not known when the present one was: the authority may not read `max_age`."""
        user = get_user() if required.max_age is not None else None
        return "login" if user and step_up.auth_time(user) is None else None

    def _is_elsewhere(self) -> bool:
        """Whether the person is at another host than the answer will come to: there the cookie of the sign-in must be set."""
        here, there = split_url(request.host_url).hostname, split_url(redirect_uri(self._config)).hostname
        return here != there and "moved" not in request.args  # moved already, and still another host: a proxy hides it

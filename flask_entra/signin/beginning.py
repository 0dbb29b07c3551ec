"""The way to the authority: the page `/login`, and a sign-in that any other page needs first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlencode

from flask import Response, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from flask_entra import hints
from flask_entra.bearer import InvalidToken
from flask_entra.callers import expects_a_page
from flask_entra.config import Config
from flask_entra.scopes import without_usual
from flask_entra.signin import guards, lost_form, repeats, sign_in_link, step_up, user_flows
from flask_entra.signin.current_user import get_user
from flask_entra.signin.errors import SignInElsewhere, SignInError, SignInRequired
from flask_entra.signin.paths import home, local_path, redirect_uri, requested
from flask_entra.signin.pending import SignIns
from flask_entra.signin.remembered import Remembered
from flask_entra.signin.tokens import Tokens
from flask_entra.urls import origin, split_url

# In the address of a sign-in that has been moved to another host: whether somebody was signed in where it was asked for.
_BY_NOBODY, _BY_SOMEBODY = "1", "2"
SILENT = "none"  # the `prompt` of a sign-in that shows no page
# What the authority says to it when only the person can go on (OpenID Connect Core, 3.1.2.6).
NEEDS_A_PAGE = ("login_required", "interaction_required", "consent_required", "account_selection_required")


class Beginning:
    """Begins the sign-ins of an app.

    :param config: the app's.
    :param tokens: the people's.
    :param sign_ins: where those are kept that have begun.
    :param not_set_up: the page that says which settings are missing; None when none is.
    :param render: makes one of this package's own pages: the template's name, and its values.
    :param prompt: what a sign-in asks with where nothing else is wanted (OpenID Connect Core, 3.1.2.1).
    :ivar remembered: the account that signed in last.
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
        self.remembered = Remembered(config)

    @guards.public
    def login(self) -> BaseResponse | str:
        """GET /login: send the browser to the authority to sign in.

        `?next=` is a path to return to; `?prompt=select_account` and `?user_flow=edit_profile` (Azure AD B2C) are possible too,
        and `login_hint`, `domain_hint`, `max_age` and `acr_values` (`hints`).
        """
        if page := self._not_set_up():
            return page
        required = sign_in_link.read(self._config)
        if not expects_a_page():
            raise SignInElsewhere(required, self._link(required), known=False)
        if question := self._question():
            return question
        if self._is_elsewhere():
            query = urlencode({**request.args, "moved": _BY_SOMEBODY})
            return redirect(f"{origin(redirect_uri(self._config))}{request.script_root}{request.path}?{query}")
        if request.args.get("moved") == _BY_NOBODY and get_user():  # signed in on this host all the time
            there = local_path(request.args.get("next"))
            return lost_form.told(self._render, there) if required.not_sent else redirect(there)
        if url := user_flows.address(self._config, request.args.get("user_flow", "")):
            return redirect(url)
        prompt = request.args.get("prompt")
        if required.max_age is None:
            required.max_age = hints.seconds(request.args.get("max_age"))
        return self.begin(
            next_link=request.args.get("next"),
            prompt=prompt if prompt in ("select_account", "login", "consent") else self._prompt_for(required),
            scopes=required.scopes,
            claims=required.claims,
            max_age=required.max_age,
            not_sent=required.not_sent,
            asked=hints.read(request.args),
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
        asked: Mapping[str, str] = MappingProxyType({}),
    ) -> BaseResponse:
        """Begin a sign-in: a redirect to the authority, and a cookie with what the answer will be held against.

        :param next_link: where to go afterwards; anything but a path of this app is home.
        :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :param max_age: how many seconds ago the person may have signed in at most; None for any time.
        :param again: see `repeats.noted`; None for a first sign-in.
        :param not_sent: whether the sign-in comes in the place of a form, on whose page it is to end (`lost_form`).
        :param asked: hints that were asked for; see `hints.read`.
        :raises AuthorityUnavailable: the authority's address is not known yet, and it does not answer.
        """
        silent, prompt = prompt == SILENT, prompt or self._prompt
        flow = self._tokens.begin(
            scopes, prompt, claims, max_age=max_age, hints={**self._hints(prompt, asked), **asked}
        )
        response = redirect(flow.pop("auth_uri"))
        flow |= {"next": local_path(next_link), "again": again or {}, "not_sent": not_sent or None}
        flow["silent"] = silent or None
        self._sign_ins.remember(cast(Response, response), flow)
        return response

    def begin_with_a_page(self, flow: dict[str, Any]) -> BaseResponse:
        """Begin a sign-in once more that could not be finished silently (`prompt=none`): now the authority may ask the person.

        :param flow: the one before.
        """
        return self.begin(
            next_link=flow["next"],
            scopes=without_usual(flow["scope"]),
            claims=flow.get("claims_challenge"),
            max_age=flow.get("longest_ago"),
            again=flow["again"],
            not_sent=bool(flow.get("not_sent")),
        )

    def _hints(self, prompt: str | None, asked: Mapping[str, str]) -> dict[str, str]:
        """What this app knows of the person who will sign in: the remembered account, or else the setting `DOMAIN_HINT`.

        Neither is said where another account is to be chosen, nor where the person or the domain has been named.
        """
        if prompt == "select_account" or "login_hint" in asked or "domain_hint" in asked:
            return {}
        if hint := self.remembered.hint():
            return {"login_hint": hint}
        return {"domain_hint": self._config.domain_hint} if self._config.domain_hint else {}

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
        if question := self._question():
            return question
        try:
            again = repeats.noted(required, self._config.scope) if user else None
        except SignInError as failure:
            cause = required.__cause__  # says more, if it is known
            raise cause if isinstance(cause, InvalidToken) else failure from None
        required.not_sent = lost_form.is_sent()
        here = lost_form.page(self._config) if required.not_sent else requested()
        if self._is_elsewhere():
            link = self._link(required, page=here)
            return self._led_to(required, redirect(f"{link}&moved={_BY_SOMEBODY if user else _BY_NOBODY}"))
        # A browser in which somebody has signed in before may still be signed in at the authority: no page is needed then. But a
        # recent or stronger sign-in is not to be had without one, and a silent answer that is neither would be a refusal.
        wants_more = required.claims is not None or required.max_age is not None
        silent = SILENT if not user and not self._prompt and not wants_more and self.remembered.hint() else None
        response = self.begin(
            next_link=here,
            scopes=required.scopes,
            prompt=silent or self._prompt_for(required),
            claims=required.claims,
            max_age=required.max_age,
            again=again,
            not_sent=required.not_sent,
        )
        return self._led_to(required, response)

    def _led_to(self, required: SignInRequired, response: BaseResponse) -> BaseResponse:
        """The answer to what needs the sign-in: the redirect itself, or for a form a page that leads there.

        Browsers hold each redirect after a form to its page's `form-action` (CSP 3), so that a tenant could not pass the person
        on to the site of another organization.
        """
        if not required.not_sent:
            return response
        there = response.headers.pop("Location")
        response.status_code = 401
        response.headers["Refresh"] = f"0; url={there}"
        response.set_data(self._render("sign_in_first.html", there=there))
        return response

    def _question(self) -> Response | None:
        """The page that asks whether somebody wants to sign in; None where they have shown that already.

        Another site that opens a page of this app without a click would else have single sign-on begin a session that nobody
        wants (ASVS 7.6.2). A browser says whether it was a click: https://www.w3.org/TR/fetch-metadata/#sec-fetch-user-header
        """
        headers = request.headers
        by_itself = headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-User") != "?1"
        if "ENTRA_ASK_BEFORE_SIGN_IN" not in self._config.on or not by_itself or request.method != "GET" or get_user():
            return None
        response = make_response(self._render("sign_in_wanted.html", again=requested(), here=home()))
        response.headers["Cache-Control"] = "no-store"
        return response

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

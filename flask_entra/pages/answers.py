"""A failure as an answer: a page for a person, and for a caller that shows no page the same as JSON.

RFC 9457 (problem details), in the language of the page.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, SecurityError

from flask_entra import logs
from flask_entra.bearer import InvalidToken, refusal
from flask_entra.bulkhead import Busy, Refusal
from flask_entra.callers import VARY, expects_a_page
from flask_entra.config import Config
from flask_entra.cross_site import CrossSiteRefused
from flask_entra.graph_error import GraphError
from flask_entra.pages import bearer_problems, explanations, refusals  # noqa: F401  `refusals` teaches `explain` more exceptions
from flask_entra.pages.languages import Text as _
from flask_entra.pages.languages import language
from flask_entra.pages.other_sites import host_asked_for
from flask_entra.pages.own_pages import OwnPages
from flask_entra.pages.problems import Problem, explain, realm
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signin import callers_tokens, sign_in_link
from flask_entra.signin.current_user import get_user
from flask_entra.signin.errors import (
    AppTokenRefused,
    AuthorityUnavailable,
    CallerRefused,
    IdTokenRefused,
    MembershipUnknown,
    NotAllowed,
    SignInElsewhere,
    SignInError,
    SignInRefused,
    sign_in_details,
)
from flask_entra.signin.paths import home, local_path, requested

# What this package raises; werkzeug's own errors are answered too where the app wants it.
FAILURES = (
    SignInError,
    SignInElsewhere,
    SignInRefused,
    CallerRefused,
    NotAllowed,
    MembershipUnknown,
    IdTokenRefused,
    AuthorityUnavailable,
    StoreUnavailable,
    GraphError,
    InvalidToken,
    Busy,
    CrossSiteRefused,
)

log = logging.getLogger(__name__)


class Answers:
    """Answers the failures of an app.

    :param config: the app's.
    :param pages: shows `problem.html`.
    """

    def __init__(self, config: Config, pages: OwnPages):
        self._config, self._pages = config, pages
        self._refusals = logs.OnceInAWhile()

    def register(self, app: Flask) -> None:
        """Answer the app's failures, but for those that it has handlers of its own for."""
        others = (HTTPException,) if "ENTRA_PROBLEM_PAGES" in self._config.on else ()
        for failure in (*FAILURES, *others):
            app.register_error_handler(failure, self.respond)

    def respond(self, error: Exception) -> Response:
        """Log a failure, and answer with it. For an error that Flask does not see, call it by hand."""
        error = getattr(error, "original_exception", None) or error
        problem = explain(error)
        if callers_tokens.by_token():
            problem = bearer_problems.for_a_caller(error, problem)
        if not isinstance(error, HTTPException) or isinstance(error, SecurityError):
            told = f"{problem.explanation.status} {type(error).__name__}: {_for_the_log(error)}"
            is_refusal = isinstance(error, Refusal) or isinstance(error.__cause__, Refusal)
            more = self._refusals.count(told) if is_refusal else 0
            if more is not None:
                log.warning("%s%s", told, f" ({more} more like this since)" if more else "")
        return self.answer(problem)

    def answer(self, problem: Problem) -> Response:
        """A page for a person, JSON for a caller that shows no page."""
        by_token = callers_tokens.by_token()
        status, page = problem.explanation.status, expects_a_page() and not by_token
        if problem.explanation.for_developers:
            problem.details.append((_("For developers"), str(problem.explanation.for_developers)))
        problem.details.append((_("Request ID"), logs.request_id()))
        if problem.retry_after:
            problem.headers["Retry-After"] = str(problem.retry_after)
        if problem.is_about_rights and not by_token and (status == 401 or not page):
            error = "insufficient_scope" if status == 403 else ""
            problem.headers.setdefault("WWW-Authenticate", refusal(realm(), error))
        body = self._page(problem) if page else self._json(problem, by_token)
        response = current_app.make_response((body, status, problem.headers))
        if not page:
            response.mimetype = "application/problem+json"
            response.headers["Content-Language"] = language()
            response.vary.update(("Accept-Language", "Cookie"))
        response.vary.update(VARY)
        if by_token:
            bearer_problems.announce(response)
        return response

    def _page(self, problem: Problem) -> str:
        links = _Links(self._config)
        way_on = problem.explanation.way_on
        href, other_account = links.to(way_on), links.to("other_account")
        if way_on in ("pick_up", "sign_in_anew"):  # another account is to open this very page
            sign_in = links.to("sign_in")
            other_account = f"{sign_in}{'&' if '?' in sign_in else '?'}prompt=select_account"
        user = self._user(problem)
        return self._pages.render(
            "problem.html",
            problem=problem,
            href=href,
            other_account=other_account,
            home=home(),
            here="" if links.can_be_repeated else home(),
            still_signed_in=user if links.at_sign_in else None,
        )

    @staticmethod
    def _user(problem: Problem) -> dict[str, Any] | None:
        # A session that could not be stored may hold a sign-in.
        if problem.explanation not in (explanations.STORE_UNAVAILABLE, explanations.STORE_MISCONFIGURED):
            try:
                return get_user()
            except StoreUnavailable:  # the page is about something else
                pass
        g.entra_no_session = True
        return None

    def _json(self, problem: Problem, by_token: bool) -> str:
        status = problem.explanation.status
        body = {
            "type": "about:blank",  # the status says all that a program can act on
            "title": str(problem.title),
            "status": status,
            "detail": f"{problem.explanation.text} {problem.advice}",
            "instance": requested().partition("?")[0],
            "request_id": logs.request_id(),
            **({"sign_in": sign_in_link.make(self._config)} if problem.is_about_rights and not by_token else {}),
            **problem.members,
        }
        return json.dumps(body, ensure_ascii=False) + "\n"


class _Links:
    """The ways on from the page of a failure.

    :ivar at_sign_in: whether the failure is one of the sign-in itself.
    :ivar can_be_repeated: whether the page may be asked for again: any GET but those of a sign-in, whose code can be used only
        once.
    """

    def __init__(self, config: Config):
        self._login = request.script_root + config.login_path
        self._is_login = request.endpoint == f"{config.blueprint}.login"
        self.at_sign_in = request.blueprint == config.blueprint or "entra_return_to" in g
        self.can_be_repeated = request.method == "GET" and not self.at_sign_in

    def to(self, way_on: str) -> str:
        """The address that a way on leads to."""
        at_home, here = home(), requested()
        page = at_home
        if "entra_return_to" in g:  # at the redirect URI: the page that the sign-in was for
            page = g.entra_return_to or at_home
        elif request.endpoint and self.can_be_repeated:
            page = local_path(here)
        sign_in = here if self._is_login else self._login
        if page != at_home:
            sign_in = f"{self._login}?{urlencode({'next': page})}"
        return {
            "sign_in": sign_in,
            "pick_up": sign_in,
            "sign_in_anew": f"{sign_in}{'&' if '?' in sign_in else '?'}prompt=login",
            "other_account": f"{self._login}?prompt=select_account",
            "reset_password": f"{self._login}?user_flow=reset_password",
            "retry": page if request.endpoint and self.can_be_repeated else sign_in,
            "return": page,
        }.get(way_on, at_home)


def _for_the_log(error: Exception) -> str:
    if isinstance(error, SecurityError):
        host, header = host_asked_for()
        return f"the host {host} ({header}) is none that the app answers to: that of REDIRECT_URI, and ALLOWED_HOSTS"
    if isinstance(error, AppTokenRefused):
        return " ".join(str(error).split())[:1000]
    if isinstance(error, SignInError):  # its description may come from anybody, by the redirect URI's query
        found = " ".join(f"{name}={value}" for name, value in sign_in_details(error.description).items())
        # Entra's codes say all; what others say stands as it came, on one line.
        return f"error={error.error[:100]} {found or ascii(error.description[:300])}"
    return str(error)[:1000]

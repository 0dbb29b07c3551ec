"""A failure as an answer: what happened, what to do next, and the details that support asks for.

A person gets a page. A caller that shows no page gets the same as JSON (RFC 9457, problem details), in the same language.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from functools import singledispatch
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, render_template, request
from werkzeug.exceptions import HTTPException, default_exceptions

from flask_entra import logs
from flask_entra.bearer import InvalidToken, merged_claims, refusal
from flask_entra.bulkhead import Busy
from flask_entra.callers import VARY, expects_a_page
from flask_entra.graph import GraphError
from flask_entra.pages import explanations
from flask_entra.pages.explanations import Explanation
from flask_entra.pages.languages import Text, language
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signin import invitation
from flask_entra.signin.errors import (
    IdTokenRefused,
    MembershipUnknown,
    NotAllowed,
    SignInElsewhere,
    SignInError,
    TenantUnavailable,
)
from flask_entra.signin.paths import LOGIN, local_path, requested
from flask_entra.signin.tokens import get_user
from flask_entra.urls import split_url

FAILURES = (
    HTTPException,
    SignInError,
    SignInElsewhere,
    NotAllowed,
    MembershipUnknown,
    IdTokenRefused,
    TenantUnavailable,
    StoreUnavailable,
    GraphError,
    InvalidToken,
    Busy,
)
STORE_RETRY_SECONDS = 5
REFUSED = ("access_denied", "consent_required", "invalid_scope")  # what an authority says when consent is not given
SHOWN_AT_MOST = 20  # of a person's roles

log = logging.getLogger(__name__)


@dataclass
class Problem:
    """One problem, as `problem.html` shows it, and as JSON has it.

    :ivar explanation: the words, the status and the way on.
    :ivar details: pairs of name and value, for support.
    :ivar retry_after: after how many seconds it is worth another try, or None.
    :ivar headers: further headers of the answer.
    :ivar members: further members of the JSON object.
    """

    explanation: Explanation
    details: list[tuple[Text, str]] = field(default_factory=list)
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    members: dict[str, object] = field(default_factory=dict)

    @property
    def title(self) -> Text:
        """The page's title."""
        usual = explanations.SET_UP_WRONG if self.explanation.status == 500 else explanations.NOT_SIGNED_IN
        return self.explanation.title or usual

    @property
    def advice(self) -> Text:
        """What to do."""
        if self.counts_down:
            return _("Try again in %(seconds)s seconds.", seconds=self.retry_after)
        return self.explanation.advice

    @property
    def is_for_developers(self) -> bool:
        """Whether only the person who runs the app can do anything about it."""
        return self.title is explanations.SET_UP_WRONG

    @property
    def counts_down(self) -> bool:
        """Whether it is known when another try is worth it."""
        return self.retry_after is not None and self.explanation.way_on == "retry"


def init_app(app: Flask) -> None:
    """Answer every failure. `problem.html` gets `problem`, `href`, `other_account`, `here` and `at_sign_in`."""
    for failure in FAILURES:
        app.register_error_handler(failure, respond)


def respond(error: Exception) -> Response:
    """Log a failure, and answer with it. For an error that Flask does not see, call it by hand."""
    error = getattr(error, "original_exception", None) or error
    problem = explain(error)
    if not isinstance(error, HTTPException):
        log.warning("%s %s: %s", problem.explanation.status, type(error).__name__, _for_the_log(error))
    return answer(problem)


def answer(problem: Problem) -> Response:
    """A page for a person, JSON for a caller that shows no page (RFC 9457)."""
    status, page = problem.explanation.status, expects_a_page()
    if problem.explanation.for_developers:
        problem.details.append((_("For developers"), str(problem.explanation.for_developers)))
    problem.details.append((_("Request ID"), logs.request_id()))
    if problem.retry_after:
        problem.headers["Retry-After"] = str(problem.retry_after)
    if status == 401 or (status == 403 and not page):
        error = "insufficient_scope" if status == 403 else ""
        problem.headers.setdefault("WWW-Authenticate", refusal(_realm(), error))
    response = current_app.make_response((_page(problem) if page else _json(problem), status, problem.headers))
    if not page:
        response.mimetype = "application/problem+json"
        response.headers["Content-Language"] = language()
        response.vary.update(("Accept-Language", "Cookie"))
    response.vary.update(VARY)
    return response


def _page(problem: Problem) -> str:
    href, other_account = _href(problem.explanation.way_on), _href("other_account")
    if problem.explanation.way_on == "pick_up":  # another account is to open this very page
        other_account = f"{href}{'&' if '?' in href else '?'}prompt=select_account"
    return render_template(
        "problem.html",
        problem=problem,
        href=href,
        other_account=other_account,
        here="" if _can_be_repeated() else "/",
        at_sign_in=request.blueprint == "auth",
        **({} if _session_can_be_read(problem) else {"user": None, "userinfo_url": ""}),
    )


def _session_can_be_read(problem: Problem) -> bool:
    if problem.explanation is explanations.STORE_UNAVAILABLE:  # it may hold a sign-in that could not be stored
        return False
    try:
        get_user()
    except StoreUnavailable:  # the page is about something else
        return False
    return True


def _json(problem: Problem) -> str:
    status = problem.explanation.status
    body = {
        "type": "about:blank",  # the status says all that a program can act on
        "title": str(problem.title),
        "status": status,
        "detail": f"{problem.explanation.text} {problem.advice}",
        "instance": request.path,
        "request_id": logs.request_id(),
        **({"sign_in": invitation.link()} if status in (401, 403) else {}),
        **problem.members,
    }
    return json.dumps(body, ensure_ascii=False) + "\n"


def _realm() -> str:
    return split_url(current_app.config["REDIRECT_URI"]).hostname or ""


# --- What an exception is to a person -----------------------------------------------------------------------------------


@singledispatch
def explain(error: Exception) -> Problem:
    """The problem that an exception is to a person; one that nobody has expected is a 500.

    :param error: one of this package's exceptions, werkzeug's, or any other.
    """
    return Problem(explanations.HTTP_ERRORS[500])


@explain.register
def _http_error(error: HTTPException) -> Problem:
    status = error.code or 500
    explanation = explanations.HTTP_ERRORS.get(status)
    if not explanation:  # a status that is rarely seen keeps its standard name
        usual = explanations.HTTP_ERRORS[400 if status < 500 else 500]
        explanation = usual._replace(status=status, title=Text(error.name))
    # The words of a view, as in abort(403, "…"). werkzeug's own subclasses say what only a developer understands.
    own_words = error.description if type(error) is default_exceptions.get(status) else None
    if status < 500 and own_words and own_words != type(error).description:
        explanation = explanation._replace(text=own_words if isinstance(own_words, Text) else Text(str(own_words)))
    # Allow, Retry-After, WWW-Authenticate and the like belong to the status.
    headers = {name: value for name, value in error.get_headers() if not name.startswith("Content-")}
    return Problem(explanation, headers=headers)


@explain.register
def _sign_in_error(error: SignInError) -> Problem:
    found = sign_in_details(error.description)
    explanation = (
        explanations.ENTRA_ERRORS.get(found.get("code", ""))
        or explanations.OAUTH_ERRORS.get(error.error)
        or explanations.OTHER_ERROR
    )
    if error.more_scopes:  # the person is signed in, and still is
        asked = " ".join(error.more_scopes)
        refused = found.get("code") == "AADSTS65004" or not found and error.error in REFUSED
        if refused:
            text = _("This page needs permissions that have not been given: %(scopes)s.", scopes=asked)
            explanation = explanations.MORE_DECLINED._replace(text=text)
        elif explanation.status == 403:
            explanation = explanation._replace(title=explanations.MORE_DECLINED.title)
    names = {
        "code": _("Error code"),
        "trace_id": _("Trace ID"),
        "correlation_id": _("Correlation ID"),
        "time": _("Time"),
    }
    if g.get("user") and not explanation.title and explanation.status != 500:
        explanation = explanation._replace(title=explanations.STILL_SIGNED_IN)
    details: list[tuple[Text, str]] = [(_("Error"), error.error[:100])]
    if error.more_scopes:
        details.append((_("Permissions asked for"), asked))
    details += [(names[name], value) for name, value in found.items()]
    if error.scopes:
        details.append((_("Scopes"), " ".join(sorted(error.scopes))[:1000]))
    if error.description:
        details.append((_("Description"), error.description[:1000]))
    return Problem(explanation, details)


@explain.register
def _sign_in_elsewhere(error: SignInElsewhere) -> Problem:
    known = g.get("user") is not None
    explanation = explanations.OAUTH_ERRORS["interaction_required" if known else "login_required"]
    scopes, claims = error.scopes or [], merged_claims(error.claims)
    header = refusal(_realm(), "invalid_token" if known else "", scopes, claims)
    members: dict[str, object] = {"sign_in": error.sign_in}
    if scopes:
        members["scopes"] = scopes
    if claims:
        members["claims"] = json.loads(claims)
    return Problem(explanation._replace(status=401), headers={"WWW-Authenticate": header}, members=members)


@explain.register
def _not_allowed(error: NotAllowed) -> Problem:
    names = ", ".join(error.needed)
    explanation = explanations.GROUP_MISSING
    if error.claim == "roles":
        text = _("This page is for people with one of these roles: %(roles)s.", roles=names)
        if len(error.needed) == 1:
            text = _("This page is for people with the role %(role)s.", role=names)
        explanation = explanations.ROLE_MISSING._replace(text=text)
    has = error.user.get(error.claim)
    labels = {"roles": (_("Role needed"), _("Your roles")), "groups": (_("Group needed"), _("Your groups"))}[
        error.claim
    ]
    details = [(labels[0], names), (labels[1], _listed(has))]
    if account := error.user.get("preferred_username"):
        details.append((_("Account"), str(account)[:200]))
    if error.doubt:
        details.append((_("Reason"), error.doubt))
    elif not has:
        hint = _(
            "The ID token has no roles. Define the role under App roles of the app registration, and assign people to it."
        )
        if error.claim == "groups":
            hint = _("The ID token has no groups. Add them under Token configuration › Add groups claim.")
        explanation = explanation._replace(for_developers=hint)
    return Problem(explanation, details, members={error.claim: list(error.needed)})


def _listed(value: object) -> str:
    if not value or not isinstance(value, list):
        return str(value or _("none"))[:200]
    more = " …" if len(value) > SHOWN_AT_MOST else ""
    return ", ".join(str(each)[:100] for each in value[:SHOWN_AT_MOST]) + more


@explain.register
def _membership_unknown(error: MembershipUnknown) -> Problem:
    explanation = explanations.NOBODY_TO_ASK if error.lasting else explanations.MEMBERSHIP_UNKNOWN
    details = [(_("Group needed"), ", ".join(error.needed)), (_("Reason"), error.reason[:1000])]
    return Problem(explanation, details, error.retry_after, members={"groups": list(error.needed)})


@explain.register
def _tenant_unavailable(error: TenantUnavailable) -> Problem:
    if sign_in_details(error.description).get("code") in explanations.ENTRA_ERRORS:
        return _sign_in_error(SignInError("invalid_tenant", error.description))
    explanation = explanations.TENANT_UNAVAILABLE
    if error.retry_after or error.timeout:
        explanation = explanation._replace(status=503)
    return Problem(explanation, [(_("Reason"), str(error))], error.retry_after)


@explain.register
def _id_token_refused(error: IdTokenRefused) -> Problem:
    return Problem(explanations.ID_TOKEN_REFUSED, [(_("Reason"), str(error))])


@explain.register
def _store_unavailable(error: StoreUnavailable) -> Problem:
    return Problem(explanations.STORE_UNAVAILABLE, retry_after=STORE_RETRY_SECONDS)


@explain.register
def _graph_error(error: GraphError) -> Problem:
    details = [
        (_("Graph's status"), str(error.status or "")),
        (_("Graph's code"), error.code[:200]),
        (_("Graph's message"), error.message[:1000]),
        (_("Graph's request ID"), error.request_id[:100]),
    ]
    return Problem(explanations.GRAPH_ERRORS[error.kind], [each for each in details if each[1]], error.retry_after)


@explain.register
def _invalid_token(error: InvalidToken) -> Problem:
    return Problem(explanations.GRAPH_ERRORS["token"])


@explain.register
def _busy(error: Busy) -> Problem:
    return Problem(explanations.HTTP_ERRORS[503], [(_("Reason"), str(error))], error.retry_after)


def sign_in_details(description: str) -> dict[str, str]:
    """What support asks for, out of Entra's `error_description`: the code, trace id, correlation id and time."""
    found = {"code": re.search(r"\b(?:AADSTS|AADB2C)\d{4,8}\b", description)}
    for name, label in (("trace_id", "Trace ID"), ("correlation_id", "Correlation ID"), ("time", "Timestamp")):
        found[name] = re.search(
            rf"{label}: ([0-9A-Za-z: -]{{8,40}}?)(?= (?:Trace|Correlation|Timestamp)|\s*$)", description
        )
    return {name: match[match.lastindex or 0] for name, match in found.items() if match}


def _for_the_log(error: Exception) -> str:
    if isinstance(error, SignInError):  # its description may come from anybody, by the redirect URI's query
        found = " ".join(f"{name}={value}" for name, value in sign_in_details(error.description).items())
        # Entra's codes say all; what others say stands as it came, on one line.
        return f"error={error.error[:100]} {found or ascii(error.description[:300])}"
    return str(error)[:1000]


# --- The way on ---------------------------------------------------------------------------------------------------------


def _can_be_repeated() -> bool:
    """Whether the page may be asked for again: any GET but those of a sign-in, whose code can be used only once."""
    return request.method == "GET" and request.blueprint != "auth"


def _href(way_on: str) -> str:
    """The address that a way on leads to."""
    page, here = "/", requested()
    if "return_to" in g:  # at the redirect URI: the page that the sign-in was for
        page = g.return_to
    elif request.endpoint and _can_be_repeated():
        page = local_path(here)
    sign_in = here if request.endpoint == "auth.login" else LOGIN
    if page != "/":
        sign_in = f"{LOGIN}?{urlencode({'next': page})}"
    return {
        "sign_in": sign_in,
        "pick_up": sign_in,
        "other_account": f"{LOGIN}?prompt=select_account",
        "reset_password": f"{LOGIN}?user_flow=reset_password",
        "retry": page if request.endpoint and _can_be_repeated() else sign_in,
    }.get(way_on, "/")

"""What an exception is to a person: a `Problem`, with the words of `explanations` and the details that support asks for.

`refusals` has those that say that a person may not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import singledispatch

from flask import g
from werkzeug.exceptions import BadRequestKeyError, HTTPException, default_exceptions

from flask_entra.bearer import InvalidToken, merged_claims, refusal
from flask_entra.bulkhead import Busy
from flask_entra.config import current
from flask_entra.graph_error import GraphError
from flask_entra.pages import explanations
from flask_entra.pages.entra_errors import ENTRA_ERRORS
from flask_entra.pages.entra_kinds import APP, kind_of
from flask_entra.pages.explanations import Explanation
from flask_entra.pages.graph_errors import GRAPH_ERRORS, MAY_HAVE_HAPPENED, NO_PROFILE
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.scopes import comparable_scopes
from flask_entra.sessions.store import StoreMisconfigured, StoreUnavailable
from flask_entra.signin.errors import (
    AppTokenRefused,
    AuthorityUnavailable,
    IdTokenRefused,
    SignInElsewhere,
    SignInError,
    sign_in_details,
)
from flask_entra.signin.paths import requested
from flask_entra.urls import split_url

STORE_RETRY_SECONDS = 5
REFUSED = ("access_denied", "consent_required", "invalid_scope")  # what an authority says when consent is not given
# Entra's codes for a scope that is wrong.
SCOPE_CODES = {f"AADSTS{code}" for code in (28002, 28003, 70011, 500011, 650053, 650057, 700023)}


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
    def is_about_rights(self) -> bool:
        """Whether another sign-in, or another role, may help."""
        return self.explanation.status in (401, 403) and self.title is not explanations.CROSS_SITE.title

    @property
    def counts_down(self) -> bool:
        """Whether it is known when another try is worth it."""
        return self.retry_after is not None and self.explanation.way_on == "retry"


def realm() -> str:
    """What is protected, as a `WWW-Authenticate` header calls it: the app's host."""
    return split_url(current().redirect_uri).hostname or ""


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
    if isinstance(error, BadRequestKeyError) and error.show_exception and error.args:  # Flask's debug mode
        missing = _("The request has no field %(name)s.", name=error.args[0])
        explanation = explanation._replace(for_developers=missing)
    # Allow, Retry-After, WWW-Authenticate and the like belong to the status.
    headers = {name: value for name, value in error.get_headers() if not name.startswith("Content-")}
    return Problem(explanation, headers=headers)


@explain.register
def _sign_in_error(error: SignInError) -> Problem:
    found = sign_in_details(error.description)
    code = found.get("code", "")
    explanation = (
        ENTRA_ERRORS.get(code)
        or kind_of(code)
        or explanations.OAUTH_ERRORS.get(error.error)
        or explanations.OTHER_ERROR
    )
    if code in SCOPE_CODES and (own := _wrong_scopes(error) - comparable_scopes(current().scope)):
        page = (g.get("entra_return_to") or requested()).partition("?")[0]
        text = _(
            "The view at %(page)s asks for a permission that there is not, or that is not this API's: %(scopes)s.",
            page=page,
            scopes=" ".join(sorted(own)),
        )
        advice = _("Correct the scopes of its login_required, or the API permissions of the app registration.")
        explanation = explanation._replace(text=text, advice=advice)
    if error.more_scopes:  # the person is signed in, and still is
        asked = " ".join(error.more_scopes)
        refused = code == "AADSTS65004" or not found and error.error in REFUSED
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
    if g.get("entra_user") and not explanation.title and explanation.status != 500:
        explanation = explanation._replace(title=explanations.STILL_SIGNED_IN)
    details: list[tuple[Text, str]] = [(_("Error"), error.error[:100])]
    if error.more_scopes:
        details.append((_("Permissions asked for"), asked))
    details += [(names[name], value) for name, value in found.items()]
    if error.scopes and (error.error == "invalid_scope" or code in SCOPE_CODES):
        details.append((_("Scopes"), " ".join(sorted(error.scopes))[:1000]))
    if error.description:
        details.append((_("Description"), error.description[:1000]))
    return Problem(explanation, details)


def _wrong_scopes(error: SignInError) -> set[str]:
    """The scopes that Entra refuses, of those that were asked for: the one that it names, or else any of them may be meant."""
    asked, named = comparable_scopes(error.scopes), re.search(r"\bscope '([^']{1,1000})'", error.description)
    names = {each.rpartition("/")[2] for each in named[1].lower().split()} if named else set()
    return {each for each in asked if each.rpartition("/")[2] in names} or asked


@explain.register
def _app_token_refused(error: AppTokenRefused) -> Problem:
    problem = _sign_in_error(error)
    if error.not_granted:
        api = " ".join(error.scopes).replace("/.default", "")
        text = _("This app has no permissions of its own for %(api)s.", api=api)
        problem.explanation = explanations.APP_NOT_GRANTED._replace(text=text)
    elif problem.explanation.status < 500:  # what is said to a person about a sign-in of theirs
        problem.explanation = APP
    return problem


@explain.register
def _sign_in_elsewhere(error: SignInElsewhere) -> Problem:
    explanation = explanations.OAUTH_ERRORS["interaction_required" if error.known else "login_required"]
    scopes, claims = error.scopes or [], merged_claims(error.claims)
    header = refusal(realm(), "invalid_token" if error.known else "", scopes, claims)
    members: dict[str, object] = {"sign_in": error.sign_in}
    if error.max_age is not None:  # RFC 9470, 3
        wanted = "invalid_token" if claims else "insufficient_user_authentication"
        header = f'{refusal(realm(), wanted, scopes, claims)}, max_age="{error.max_age}"'
        members["max_age"] = error.max_age
    if scopes:
        members["scopes"] = scopes
    if claims:
        members["claims"] = json.loads(claims)
    return Problem(explanation._replace(status=401), headers={"WWW-Authenticate": header}, members=members)


@explain.register
def _tenant_unavailable(error: AuthorityUnavailable) -> Problem:
    code = sign_in_details(error.description).get("code", "")
    if code in ENTRA_ERRORS or kind_of(code):
        return _sign_in_error(SignInError("invalid_tenant", error.description))
    explanation = explanations.AUTHORITY_UNAVAILABLE
    if error.retry_after or error.timeout:
        explanation = explanation._replace(status=503)
    return Problem(explanation, [(_("Reason"), str(error))], error.retry_after)


@explain.register
def _id_token_refused(error: IdTokenRefused) -> Problem:
    return Problem(explanations.ID_TOKEN_REFUSED, [(_("Reason"), str(error))])


@explain.register
def _store_misconfigured(error: StoreMisconfigured) -> Problem:
    return Problem(explanations.STORE_MISCONFIGURED)


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
    explanation = MAY_HAVE_HAPPENED if error.may_have_happened else GRAPH_ERRORS[error.kind]
    if error.kind == "not_found" and error.url and error.url == current().endpoint.partition("?")[0]:
        explanation = NO_PROFILE
    return Problem(explanation, [each for each in details if each[1]], error.retry_after)


@explain.register
def _invalid_token(error: InvalidToken) -> Problem:
    return Problem(GRAPH_ERRORS["token"])


@explain.register
def _busy(error: Busy) -> Problem:
    return Problem(explanations.HTTP_ERRORS[503], [(_("Reason"), str(error))], error.retry_after)

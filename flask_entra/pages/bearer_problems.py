"""What a caller with a bearer token is told: the words, the status, and the header of RFC 6750, 3.

It is a program, so its answer is always JSON (RFC 9457), and leads to no sign-in.
"""

from __future__ import annotations

import json
from dataclasses import replace

from werkzeug.wrappers import Response as BaseResponse

from flask_entra.bearer import merged_claims, refusal
from flask_entra.bulkhead import RETRY_SECONDS
from flask_entra.pages import explanations
from flask_entra.pages.explanations import Explanation
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import Problem, explain, realm
from flask_entra.signin.errors import AuthorityUnavailable, CallerRefused, IdTokenRefused, SignInError

_NEW_TOKEN = _("Get a new access token for this app, and send it as a bearer token.")
_NO_TOKEN = Explanation(
    401,
    _("This address takes an access token for this app, and none was sent."),
    _NEW_TOKEN,
    title=_("Access token missing"),
)
_REFUSED = {
    "invalid_request": Explanation(
        400,
        _("The access token could not be read."),
        _("Send one Authorization header: the word Bearer, a space and the access token."),
        title=_("Bad request"),
    ),
    "invalid_token": Explanation(
        401,
        _("The access token is not one that this app accepts."),
        _NEW_TOKEN,
        title=_("Access token refused"),
    ),
    "insufficient_claims": Explanation(
        401,
        _("The access token lacks claims that are required here."),
        _("Get a new access token with the claims that the header WWW-Authenticate asks for."),
        title=_("Access token refused"),
    ),
    "insufficient_scope": Explanation(
        403,
        _("The access token lacks a permission that is required here."),
        _("Ask for the permission, or ask the person who runs this app."),
        title=_("Permission missing"),
    ),
}
_NO_TOKEN_FOR_THE_NEXT = Explanation(
    500,
    _("This app cannot get a token for the API behind it."),
    _("Ask the person who runs this app."),
    title=explanations.SET_UP_WRONG,
)


@explain.register
def _caller_refused(error: CallerRefused) -> Problem:
    header = refusal(realm(), error.error, error.scopes, error.claims, scheme="Bearer", description=error.description)
    members: dict[str, object] = {
        name: value for name, value in (("scopes", error.scopes), ("roles", error.roles)) if value
    }
    if claims := merged_claims(error.claims):
        members["claims"] = json.loads(claims)
    explanation = _REFUSED.get(error.error, _NO_TOKEN)
    return Problem(explanation, headers={"WWW-Authenticate": header}, members=members)


def for_a_caller(error: Exception, problem: Problem) -> Problem:
    """A problem as it is to a caller who brought a bearer token: no sign-in of theirs can mend what only this app can.

    :param problem: as it is to a person.
    """
    explanation = problem.explanation
    if isinstance(error, AuthorityUnavailable) and explanation.status == 502:
        return replace(
            problem, explanation=explanation._replace(status=503), retry_after=error.retry_after or RETRY_SECONDS
        )
    if isinstance(error, AuthorityUnavailable) and explanation.status == 503:
        return replace(problem, retry_after=error.retry_after or RETRY_SECONDS)
    if isinstance(error, SignInError | IdTokenRefused) and explanation.status < 500:
        return replace(problem, explanation=_NO_TOKEN_FOR_THE_NEXT)
    return problem


def announce(response: BaseResponse) -> None:
    """The headers of every failure of a request whose bearer token decides."""
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Authorization")
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", refusal(realm(), scheme="Bearer"))

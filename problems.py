"""What a failure looks like to a person: what happened, what to do next, and the details that support asks for.

One place for the words. Entra's error codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from flask import Flask, Response, g, render_template, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _
from werkzeug.exceptions import HTTPException, MethodNotAllowed

import logs
from auth import Auth, SignInError
from graph import GraphError
from sessions import StoreUnavailable
from tenant import IdTokenRefused, TenantUnavailable

FAILURES = (HTTPException, SignInError, IdTokenRefused, TenantUnavailable, StoreUnavailable, GraphError)

log = logging.getLogger(__name__)


@dataclass
class Problem:
    """One problem, as `templates/problem.html` shows it.

    :ivar status: HTTP status.
    :ivar action: the way on: `sign_in`, `other_account`, `retry`, `reset_password` or `home`.
    :ivar details: pairs of name and value, for support.
    :ivar retry_after: seconds.
    :ivar headers: what else the answer must say.
    :ivar href: where the way on leads.
    """

    status: int
    title: str
    text: str
    advice: str
    action: str = "home"
    details: list[tuple[str, str]] = field(default_factory=list)
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    href: str = "/"


# --- Entra's codes ---------------------------------------------------------------------------------------------------
# code: (status, what happened, what to do, the way on). Status 500 is for whoever runs the app: the person can't help it.

_ASK = _("Ask an administrator of your organization.")
_AGAIN = _("Sign in again.")
_PORTAL = _("In the Entra admin centre, open the app registration.")
ENTRA_ERRORS: dict[str, tuple[int, str, str, str]] = {
    # The person declined, or may not.
    "AADSTS65004": (
        403,
        _("You declined to give this app the permissions it asks for."),
        _("Sign in again and accept, or leave it: nothing was shared."),
        "sign_in",
    ),
    "AADSTS65001": (403, _("This app has not been given the permissions it needs."), _AGAIN, "sign_in"),
    "AADSTS90094": (
        403,
        _("An administrator must approve this app before you can use it."),
        _("Ask an administrator of your organization to grant consent for it."),
        "other_account",
    ),
    "AADSTS90095": (
        403,
        _("Your request for approval has been sent to an administrator."),
        _("Sign in again once they have approved it."),
        "home",
    ),
    "AADSTS50105": (
        403,
        _("Your account has not been assigned to this app."),
        _("Ask an administrator of your organization to assign you, or use another account."),
        "other_account",
    ),
    # The person has to prove more.
    "AADSTS50076": (403, _("Your organization asks for multifactor authentication."), _AGAIN, "sign_in"),
    "AADSTS50079": (403, _("You have to register for multifactor authentication first."), _AGAIN, "sign_in"),
    "AADSTS50074": (403, _("The multifactor authentication was not completed."), _AGAIN, "sign_in"),
    "AADSTS50078": (403, _("Your multifactor authentication has expired."), _AGAIN, "sign_in"),
    "AADSTS50055": (403, _("Your password has expired."), _("Change it, then sign in again."), "sign_in"),
    "AADSTS50058": (401, _("You are not signed in to Microsoft in this browser."), _AGAIN, "sign_in"),
    # The account is not the right one.
    "AADSTS50020": (
        403,
        _("Your account belongs to another organization, which this app does not admit."),
        _("Use an account of this organization, or ask its administrator to invite you as a guest."),
        "other_account",
    ),
    "AADSTS90072": (
        403,
        _("Your account is not known in this organization."),
        _("Use another account, or ask the organization's administrator to invite you as a guest."),
        "other_account",
    ),
    "AADSTS50034": (
        403,
        _("There is no such account in this organization."),
        _("Use another account."),
        "other_account",
    ),
    "AADSTS50057": (403, _("Your account is disabled."), _ASK, "other_account"),
    "AADSTS50053": (
        403,
        _("Your account is locked after too many attempts."),
        _("Wait some minutes, then sign in again."),
        "sign_in",
    ),
    "AADSTS50126": (403, _("The user name or the password is wrong."), _AGAIN, "sign_in"),
    # Conditional access.
    "AADSTS53003": (
        403,
        _("A conditional access policy of your organization blocks this sign-in."),
        _ASK,
        "other_account",
    ),
    "AADSTS53000": (403, _("Your organization admits only devices that comply with its rules."), _ASK, "home"),
    "AADSTS53001": (403, _("Your organization admits only devices that have joined it."), _ASK, "home"),
    "AADSTS50158": (403, _("Your organization asks for one more proof of who you are."), _AGAIN, "sign_in"),
    # It took too long, or came twice.
    "AADSTS54005": (400, _("This sign-in has been used already."), _AGAIN, "sign_in"),
    "AADSTS70008": (400, _("This sign-in took too long."), _AGAIN, "sign_in"),
    "AADSTS70043": (401, _("Your sign-in has expired, by a rule of your organization."), _AGAIN, "sign_in"),
    "AADSTS50173": (401, _("Your sign-in was revoked, for example by a change of your password."), _AGAIN, "sign_in"),
    "AADSTS700082": (401, _("Your sign-in has expired: it was not used for a long time."), _AGAIN, "sign_in"),
    # Azure AD B2C.
    "AADB2C90118": (400, _("You forgot your password."), _("Choose a new one."), "reset_password"),
    "AADB2C90091": (403, _("You cancelled."), _("Sign in again when you want to."), "sign_in"),
    # Whoever runs the app set it up wrong.
    "AADSTS7000215": (
        500,
        _("CLIENT_SECRET is wrong."),
        _("Copy the secret's Value, not its ID. It is shown only once: if it is gone, add a new secret."),
        "home",
    ),
    "AADSTS7000222": (
        500,
        _("CLIENT_SECRET has expired."),
        _("Add a new client secret to the app registration and put its Value into CLIENT_SECRET."),
        "home",
    ),
    "AADSTS7000218": (
        500,
        _("The app sent no credential."),
        _("Set CLIENT_SECRET or CLIENT_CERTIFICATE_PATH."),
        "home",
    ),
    "AADSTS700025": (
        500,
        _("The app is registered as a public client, which has no secret."),
        _("Register the redirect URI under the platform Web, not under Mobile and desktop or Single-page application."),
        "home",
    ),
    "AADSTS700027": (
        500,
        _("The certificate is not registered for this app, or has expired."),
        _("Upload the certificate under Certificates & secrets of the app registration."),
        "home",
    ),
    "AADSTS700211": (
        500,
        _("No federated credential of the app registration has the issuer of this token."),
        _("Compare the issuer under Certificates & secrets, Federated credentials."),
        "home",
    ),
    "AADSTS700213": (
        500,
        _("No federated credential of the app registration has the subject of this token."),
        _("Compare the subject under Certificates & secrets, Federated credentials."),
        "home",
    ),
    "AADSTS50011": (
        500,
        _("REDIRECT_URI is not registered for this app."),
        _("Add it to the app registration under Authentication, platform Web, exactly as it is written here."),
        "home",
    ),
    "AADSTS500112": (
        500,
        _("REDIRECT_URI is not the one that this sign-in began with."),
        _("Give all machines that run the app the same REDIRECT_URI."),
        "home",
    ),
    "AADSTS700016": (
        500,
        _("CLIENT_ID is not known in this tenant."),
        _("Compare CLIENT_ID and AUTHORITY with the Overview of the app registration."),
        "home",
    ),
    "AADSTS7000112": (
        500,
        _("The app has been disabled in this tenant."),
        _("Enable it under Enterprise applications."),
        "home",
    ),
    "AADSTS90002": (
        500,
        _("The tenant in AUTHORITY does not exist."),
        _("Copy the Directory (tenant) ID from the Overview of the app registration."),
        "home",
    ),
    "AADSTS900023": (
        500,
        _("The tenant in AUTHORITY is neither an ID nor a domain name."),
        _("Copy the Directory (tenant) ID from the Overview of the app registration."),
        "home",
    ),
    "AADSTS50194": (
        500,
        _("The app is registered for one tenant, but AUTHORITY is common."),
        _("Put your Directory (tenant) ID into AUTHORITY."),
        "home",
    ),
    "AADSTS9002331": (
        500,
        _("The app is registered for personal Microsoft accounts only."),
        _("Set AUTHORITY to https://login.microsoftonline.com/consumers."),
        "home",
    ),
    "AADSTS700051": (
        500,
        _("The app is not registered for this kind of sign-in."),
        _("Register the redirect URI under the platform Web."),
        "home",
    ),
    "AADSTS700054": (
        500,
        _("The app asked for an ID token by the implicit grant, which is not enabled."),
        _("This app does not need the implicit grant: register the redirect URI under the platform Web."),
        "home",
    ),
    "AADSTS9002325": (
        500,
        _("The redirect URI is registered for a single-page application."),
        _("Register it under the platform Web."),
        "home",
    ),
    "AADSTS70011": (
        500,
        _("SCOPE holds a permission that does not exist."),
        _("Correct SCOPE; for Microsoft Graph the name is, for example, User.Read."),
        "home",
    ),
    "AADSTS650053": (
        500,
        _("SCOPE holds a permission that the API does not have."),
        _("Compare SCOPE with the API permissions of the app registration."),
        "home",
    ),
    "AADSTS650057": (
        500,
        _("SCOPE names an API that the app registration does not list."),
        _("Add it under API permissions."),
        "home",
    ),
    "AADSTS501481": (
        400,
        _("This answer belongs to a sign-in that was begun elsewhere (PKCE)."),
        _AGAIN,
        "sign_in",
    ),
}

# Errors without a code of Entra's: OAuth 2.0's (RFC 6749, 4.1.2.1 and 5.2), OpenID Connect's and our own.
OAUTH_ERRORS: dict[str, tuple[int, str, str, str]] = {
    "no_sign_in_begun": (
        400,
        _("This answer belongs to no sign-in that was begun in this browser, or it took too long."),
        _("Sign in again. If it happens again, allow cookies for this site."),
        "sign_in",
    ),
    "sign_in_did_not_help": (
        403,
        _("You are signed in, but your access was refused again right after."),
        _("Try again in a minute, or use another account."),
        "other_account",
    ),
    "login_required": (401, _("You are not signed in."), _AGAIN, "sign_in"),
    "interaction_required": (403, _("Microsoft needs to see you for this sign-in."), _AGAIN, "sign_in"),
    "consent_required": (403, _("This app has not been given the permissions it needs."), _AGAIN, "sign_in"),
    "access_denied": (403, _("The sign-in was cancelled or refused."), _AGAIN, "sign_in"),
    "invalid_grant": (400, _("This sign-in has expired or has been used already."), _AGAIN, "sign_in"),
    "invalid_client": (
        500,
        _("The authority does not accept the app's credential."),
        _("Run flask doctor: it checks CLIENT_ID and the credential."),
        "home",
    ),
    "unauthorized_client": (
        500,
        _("The app is not registered for this kind of sign-in."),
        _("Run flask doctor: it checks the settings."),
        "home",
    ),
    "invalid_scope": (
        403,
        _("Not every permission in SCOPE was granted."),
        _("Sign in again and accept them all, or correct SCOPE."),
        "sign_in",
    ),
    "server_error": (502, _("Microsoft's sign-in has a problem."), _("Try again in a moment."), "sign_in"),
    "temporarily_unavailable": (503, _("Microsoft's sign-in is overloaded."), _("Try again in a moment."), "sign_in"),
}
_OTHER_ERROR = (400, _("The sign-in could not be finished."), _AGAIN, "sign_in")

# --- Graph, and this app itself ----------------------------------------------------------------------------------------
# kind: (status, title, what happened, what to do, the way on)

GRAPH_ERRORS: dict[str, tuple[int, str, str, str, str]] = {
    "forbidden": (
        403,
        _("Permission missing"),
        _("Graph does not let this app read that for you."),
        _("Grant the permission in the app registration under API permissions; an administrator may have to consent."),
        "home",
    ),
    "not_found": (
        404,
        _("No such profile"),
        _("Graph has nothing at this address: your account may have no profile here, or ENDPOINT may be wrong."),
        _("Use another account, or ask whoever runs this app."),
        "other_account",
    ),
    "refused": (
        502,
        _("Graph refused"),
        _("Graph did not accept the request."),
        _("Ask whoever runs this app."),
        "home",
    ),
    "throttled": (
        503,
        _("Graph is busy"),
        _("Graph gets too many requests at the moment."),
        _("Try again later."),
        "retry",
    ),
    "unavailable": (
        502,
        _("Graph cannot be reached"),
        _("Graph did not answer properly."),
        _("Try again in a moment."),
        "retry",
    ),
    "timeout": (
        504,
        _("Graph cannot be reached"),
        _("Graph did not answer in time."),
        _("Try again in a moment."),
        "retry",
    ),
    "not_understood": (
        502,
        _("Unknown answer"),
        _("The address answered with something this app does not understand."),
        _("Check that ENDPOINT is the address of an API that answers a JSON object."),
        "retry",
    ),
    "token": (
        401,
        _("Access refused"),
        _("Graph does not accept your sign-in."),
        _("Sign in again."),
        "sign_in",
    ),
}

HTTP_ERRORS: dict[int, tuple[str, str, str]] = {
    400: (_("Bad request"), _("The request could not be understood."), _("Go to the home page and begin there.")),
    404: (_("Page not found"), _("There is no page at this address."), _("Check the address, or go to the home page.")),
    405: (
        _("Not like this"),
        _("This page cannot be asked for in this way."),
        _("Go to the home page and begin there."),
    ),
    413: (_("Too large"), _("The request is larger than this app accepts."), _("Go to the home page and begin there.")),
    500: (_("Something went wrong"), _("The app made a mistake. It has been noted."), _("Try again in a moment.")),
}


def init_app(app: Flask, auth: Auth) -> None:
    """Answer every failure with a page that says what happened and what to do."""

    def show_problem(error: Exception) -> Response:
        problem = explain(error)
        # Where it is Graph that failed, the session is at hand; where the session failed, it must not be asked again.
        user = auth.user if isinstance(error, GraphError) else None
        page = render_template("problem.html", problem=problem, user=user)
        return app.make_response((page, problem.status, problem.headers))

    for failure in FAILURES:
        app.register_error_handler(failure, show_problem)


def explain(error: Exception) -> Problem:
    """The problem that an exception is to a person.

    :param error: one of this app's exceptions, werkzeug's, or any other, which is a 500.
    """
    error = getattr(error, "original_exception", None) or error
    if isinstance(error, TenantUnavailable) and sign_in_details(error.description).get("code") in ENTRA_ERRORS:
        problem = sign_in_problem(SignInError("invalid_tenant", error.description))
    elif isinstance(error, SignInError):
        problem = sign_in_problem(error)
    elif isinstance(error, IdTokenRefused):
        problem = Problem(
            502,
            gettext("Sign-in refused"),
            gettext("What came back does not prove who you are, so you have not been signed in."),
            gettext("Sign in again. If it happens again, tell whoever runs this app."),
            "sign_in",
            [(gettext("Reason"), str(error))],
        )
    elif isinstance(error, TenantUnavailable):
        problem = Problem(
            503 if error.retry_after or error.timeout else 502,
            gettext("Sign-in cannot be reached"),
            gettext("Microsoft's sign-in cannot be reached at the moment."),
            _wait(error.retry_after),
            "retry",
            [(gettext("Reason"), str(error))],
            error.retry_after,
        )
    elif isinstance(error, StoreUnavailable):
        problem = Problem(
            503,
            gettext("Try again in a moment"),
            gettext("This app cannot get at its sessions at the moment. You have not been signed out."),
            gettext("Try again in a moment."),
            "retry",
            retry_after=5,
        )
    elif isinstance(error, GraphError):
        problem = _graph_problem(error)
    else:
        status = error.code if isinstance(error, HTTPException) and error.code else 500
        title, text, advice = HTTP_ERRORS.get(status) or HTTP_ERRORS[400 if status < 500 else 500]
        problem = Problem(status, str(title), str(text), str(advice))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            problem.headers["Allow"] = ", ".join(error.valid_methods)  # RFC 9110, 15.5.6
    problem.href = _way_on(problem.action)
    if problem.retry_after:
        problem.headers["Retry-After"] = str(problem.retry_after)
    problem.details.append((gettext("Request ID"), logs.request_id()))
    if not isinstance(error, HTTPException):
        log.warning("%s %s: %s", problem.status, type(error).__name__, _for_the_log(error))
    return problem


def _way_on(action: str) -> str:
    # The page itself, if asking for it again does no harm: the redirect URI's code can be used only once.
    # Back at it, the page that the sign-in was for.
    page = g.get("return_to", "")
    if not page and request.method == "GET" and request.endpoint in ("call_graph", "home"):
        page = request.full_path.rstrip("?")
    sign_in = "/login?" + urlencode({"next": page}) if len(page) > 1 else "/login"
    if "return_to" in g:  # at the redirect URI, to try again is to sign in again
        page = sign_in
    return {
        "sign_in": sign_in,
        "other_account": "/login?prompt=select_account",
        "reset_password": "/login?user_flow=reset_password",
        "retry": page or "/login",
    }.get(action, "/")


def _for_the_log(error: Exception) -> str:
    if isinstance(error, SignInError):  # its description may come from anybody, by the redirect URI's query
        found = " ".join(f"{name}={value}" for name, value in sign_in_details(error.description).items())
        return f"error={error.error[:100]} {found}"
    return str(error)[:1000]


def sign_in_details(description: str) -> dict[str, str]:
    """What support asks for, out of Entra's `error_description`: the code, trace id, correlation id and time."""
    found = {"code": re.search(r"\b(?:AADSTS|AADB2C)\d{4,8}\b", description)}
    for name, label in (("trace_id", "Trace ID"), ("correlation_id", "Correlation ID"), ("time", "Timestamp")):
        found[name] = re.search(
            rf"{label}: ([0-9A-Za-z: -]{{8,40}}?)(?= (?:Trace|Correlation|Timestamp)|\s*$)", description
        )
    return {name: match[match.lastindex or 0] for name, match in found.items() if match}


def sign_in_problem(error: SignInError) -> Problem:
    """What an error of the authority, or of the answer to a sign-in, means; also outside a request."""
    found = sign_in_details(error.description)
    row = ENTRA_ERRORS.get(found.get("code", "")) or OAUTH_ERRORS.get(error.error) or _OTHER_ERROR
    status, text, advice, action = row
    title = gettext("This app is not set up properly") if status == 500 else gettext("You are not signed in")
    if error.error == "sign_in_did_not_help":
        title = gettext("Access refused")
    names = {
        "code": gettext("Error code"),
        "trace_id": gettext("Trace ID"),
        "correlation_id": gettext("Correlation ID"),
        "time": gettext("Time"),
    }
    details = [(names[name], value) for name, value in found.items()]
    details.insert(0, (gettext("Error"), error.error[:100]))
    if error.description:
        details.append((gettext("Description"), error.description[:1000]))
    return Problem(status, title, str(text), str(advice), action, details)


def _graph_problem(error: GraphError) -> Problem:
    status, title, text, advice, action = GRAPH_ERRORS[error.kind]
    details = [
        (gettext("Graph's status"), str(error.status or "")),
        (gettext("Graph's code"), error.code[:200]),
        (gettext("Graph's message"), error.message[:1000]),
        (gettext("Graph's request ID"), error.request_id[:100]),
    ]
    if error.kind == "throttled":
        advice = _wait(error.retry_after)
    return Problem(
        status, str(title), str(text), str(advice), action, [each for each in details if each[1]], error.retry_after
    )


def _wait(seconds: int | None) -> str:
    return (
        gettext("Try again in %(seconds)s seconds.", seconds=seconds) if seconds else gettext("Try again in a moment.")
    )

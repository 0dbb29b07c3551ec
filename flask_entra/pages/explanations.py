"""Failures in words, as data: what happened, what to do, and the way on. No code decides anything here.

`entra_errors` has those that have a code of Entra's, `graph_errors` Graph's.
"""

from __future__ import annotations

from typing import NamedTuple

from flask_entra.commands import DOCTOR
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _


class Explanation(NamedTuple):
    """What a failure means to a person. Status 500 is for the person who runs the app: the visitor cannot correct it.

    :ivar status: the HTTP status of the page.
    :ivar text: what happened.
    :ivar advice: what to do.
    :ivar way_on: where the button leads: `sign_in`, `pick_up` (a sign-in that brings a new role), `sign_in_anew` (one
        in which the person proves again who they are), `other_account`, `retry`,
        `return` (the page that the sign-in was for), `reset_password` or `home`.
    :ivar title: the page's title; None for the usual one of a failed sign-in.
    :ivar for_developers: what the person who runs the app can do, if that is something else; shown among the details.
    """

    status: int
    text: Text
    advice: Text
    way_on: str = "home"
    title: Text | None = None
    for_developers: Text | None = None


SET_UP_WRONG = _("This app is not set up properly")
STILL_SIGNED_IN = _("The sign-in was not finished")
NOT_SIGNED_IN = _("You are not signed in")
SOON = _("Try again in a moment.")
HOME = _("Go to the home page and start from there.")
ASK = _("Ask an administrator of your organization.")
AGAIN = _("Sign in again.")
# Errors without a code of Entra's: OAuth 2.0's (RFC 6749, 4.1.2.1 and 5.2), OpenID Connect's and our own.
OAUTH_ERRORS: dict[str, Explanation] = {
    "no_sign_in_begun": Explanation(
        400,
        _("This sign-in was not started in this browser, or it took too long."),
        _("Sign in again. If it happens again, allow cookies for this site."),
        "sign_in",
    ),
    "too_many_sign_ins": Explanation(
        400,
        _("More sign-ins have been begun in this browser than it can keep at once. This one was given up."),
        _("Sign in again. If you are still signed in there, that takes one click."),
        "sign_in",
    ),
    "sign_in_did_not_help": Explanation(
        403,
        _("You signed in, but access was refused again."),
        _("Try again in a minute, or use another account."),
        "other_account",
        _("Access refused"),
    ),
    "unmet_authentication_requirements": Explanation(
        403,
        _("This page needs a more recent or a stronger sign-in, and the sign-in service has not confirmed one."),
        _("Sign in again. If it happens again, tell the person who runs this app."),
        "sign_in_anew",
        _("Access refused"),
        _(
            "With max_age, the ID token must have auth_time: add it under Token configuration › Add optional claim. With "
            "auth_context, acrs must name it: see Conditional Access › Authentication contexts."
        ),
    ),
    "session_lost": Explanation(
        500,
        _("You signed in, but this app cannot find your session."),
        _(
            "All processes of the app must share their sessions. Set REDIS_URL, or the same SESSION_FILE_DIR for all of them."
        ),
        "sign_in",
    ),
    "login_required": Explanation(401, _("You are not signed in."), AGAIN, "sign_in"),
    "interaction_required": Explanation(
        403, _("The sign-in service needs something from you, such as your password or your consent."), AGAIN, "sign_in"
    ),
    "consent_required": Explanation(403, _("This app has not been given the permissions it needs."), AGAIN, "sign_in"),
    "access_denied": Explanation(403, _("The sign-in was cancelled or refused."), AGAIN, "sign_in"),
    "invalid_grant": Explanation(400, _("This sign-in has expired or has been used already."), AGAIN, "sign_in"),
    "invalid_client": Explanation(
        500,
        _("The authority does not accept the app's credential."),
        _("Run %(doctor)s: it checks CLIENT_ID and the credential.", doctor=DOCTOR),
    ),
    "unauthorized_client": Explanation(
        500,
        _("The app is not registered for this kind of sign-in."),
        _("Run %(doctor)s: it checks the settings.", doctor=DOCTOR),
    ),
    "invalid_scope": Explanation(
        403,
        _("Not every permission that was asked for was granted."),
        _("Sign in again and accept them all."),
        "sign_in",
        for_developers=_(
            "Compare SCOPE, and the scopes of the view, with the API permissions of the app registration."
        ),
    ),
    "server_error": Explanation(502, _("The sign-in service has a problem."), SOON, "sign_in"),
    "temporarily_unavailable": Explanation(503, _("The sign-in service is overloaded."), SOON, "sign_in"),
}
OTHER_ERROR = Explanation(400, _("The sign-in could not be finished."), AGAIN, "sign_in")
APP_NOT_GRANTED = Explanation(
    500,
    _("This app has no permissions of its own."),
    _("Add application permissions under API permissions of the app registration, and grant admin consent."),
)


# --- The authority and the store ----------------------------------------------------------------------------------------

ID_TOKEN_REFUSED = Explanation(
    502,
    _("The answer of the sign-in service does not prove your identity."),
    _("Sign in again. If it happens again, tell the person who runs this app."),
    "sign_in",
    _("Sign-in refused"),
)
AUTHORITY_UNAVAILABLE = Explanation(
    502, _("The sign-in service cannot be reached at the moment."), SOON, "retry", _("Sign-in service unavailable")
)
STORE_UNAVAILABLE = Explanation(
    503,
    _("This app cannot read its sessions at the moment. You have not been signed out."),
    SOON,
    "retry",
    _("Try again in a moment"),
)

STORE_MISCONFIGURED = Explanation(
    503,
    _("This app has no place where it can keep its sessions, so nobody can sign in."),
    _("Run %(doctor)s: it checks the session store.", doctor=DOCTOR),
    title=SET_UP_WRONG,
)

TENANT_NOT_ALLOWED = Explanation(
    403,
    _("This app is not open to people of your organization."),
    _("Use an account of another organization, or ask the person who runs this app to add yours."),
    "other_account",
    _("Sign-in refused"),
)
REFUSED_BY_THE_APP = Explanation(
    403,
    _("This app does not let you in."),
    _("Use another account, or ask the person who runs this app."),
    "other_account",
    _("Sign-in refused"),
)
NOT_SET_UP = Explanation(
    503,
    _("Nobody can sign in yet: this app does not have the settings of an app registration."),
    _("Run %(doctor)s: it checks the settings.", doctor=DOCTOR),
    title=SET_UP_WRONG,
)

# --- What the person may do -----------------------------------------------------------------------------------------------

NOT_ALLOWED = _("Not allowed")
ROLE_MISSING = Explanation(
    403,
    _("You do not have the role that this page requires."),
    _(
        "Ask an administrator of your organization to assign it to you, under Enterprise applications › Users and groups. "
        "If you have just received it, sign in again."
    ),
    "pick_up",
    NOT_ALLOWED,
)
GROUP_MISSING = Explanation(
    403,
    _("This page is for members of a group that you are not in."),
    _("Ask an administrator of your organization to add you to it. If you have just been added, sign in again."),
    "pick_up",
    NOT_ALLOWED,
)
MEMBERSHIP_UNKNOWN = Explanation(
    503,
    _("This app cannot get your groups from Microsoft Graph at the moment. Until it can, this page stays closed."),
    SOON,
    "retry",
    _("Try again in a moment"),
)
NOBODY_TO_ASK = Explanation(
    403,
    _("You are in too many groups for your sign-in to list them, and this app cannot look them up in Microsoft Graph."),
    _("Ask the person who runs this app."),
    "other_account",
    NOT_ALLOWED,
)
MORE_DECLINED = Explanation(
    403,
    _("This page needs permissions that have not been given."),
    _(
        "To open this page, sign in again and accept them. You are still signed in, and the rest of the app works as before."
    ),
    "sign_in",
    _("Permission missing"),
)

# --- Requests that are none of this app's ----------------------------------------------------------------------------------

ANOTHER_HOST = Explanation(
    400,
    _("This address is not one of this app's."),
    _("Check the address, or ask the person who runs this app."),
    title=_("Unknown address"),
)
CROSS_SITE = Explanation(
    403,
    _("Another site has sent this request in your name, so nothing was done."),
    _("If you want to do it, open this app yourself and do it there."),
    title=_("Request refused"),
)

# --- HTTP: by status ----------------------------------------------------------------------------------------------------

HTTP_ERRORS: dict[int, Explanation] = {
    400: Explanation(400, _("The request could not be understood."), HOME, title=_("Bad request")),
    401: Explanation(401, _("You must sign in to open this page."), AGAIN, "sign_in", NOT_SIGNED_IN),
    403: Explanation(
        403,
        _("You may not open this page."),
        _("Use another account, or ask the person who runs this app."),
        "other_account",
        NOT_ALLOWED,
    ),
    404: Explanation(
        404,
        _("There is no page at this address."),
        _("Check the address, or go to the home page."),
        title=_("Page not found"),
    ),
    405: Explanation(405, _("This page does not support that action."), HOME, title=_("Action not available here")),
    410: Explanation(410, _("This page no longer exists."), HOME, title=_("Page removed")),
    413: Explanation(413, _("The request is larger than this app accepts."), HOME, title=_("Request too large")),
    429: Explanation(429, _("You have sent too many requests."), SOON, "retry", _("Too many requests")),
    500: Explanation(
        500, _("An error occurred in the app. It has been logged."), SOON, title=_("Something went wrong")
    ),
    503: Explanation(503, _("This page is not available at the moment."), SOON, "retry", _("Try again in a moment")),
}

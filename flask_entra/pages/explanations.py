"""Every failure in words, as data: what happened, what to do, and the way on. No code decides anything here.

Entra's error codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

from typing import NamedTuple

from flask_entra.commands import DOCTOR
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _


class Explanation(NamedTuple):
    """What a failure means to a person.

    Status 500 is for whoever runs the app: the person cannot help it.

    :ivar status: the HTTP status of the page.
    :ivar text: what happened.
    :ivar advice: what to do.
    :ivar way_on: where the button leads: `sign_in`, `pick_up` (a sign-in that brings a new role), `other_account`, `retry`,
        `reset_password` or `home`.
    :ivar title: the page's title; None for the usual one of a failed sign-in.
    """

    status: int
    text: Text
    advice: Text
    way_on: str = "home"
    title: Text | None = None


SET_UP_WRONG = _("This app is not set up properly")
NOT_SIGNED_IN = _("You are not signed in")
SOON = _("Try again in a moment.")
HOME = _("Go to the home page and begin there.")
_ASK = _("Ask an administrator of your organization.")
_AGAIN = _("Sign in again.")
ENTRA_ERRORS: dict[str, Explanation] = {
    # The person declined, or may not.
    "AADSTS65004": Explanation(
        403,
        _("You declined to give this app the permissions it asks for."),
        _("Sign in again and accept, or leave it: nothing was shared."),
        "sign_in",
    ),
    "AADSTS65001": Explanation(403, _("This app has not been given the permissions it needs."), _AGAIN, "sign_in"),
    "AADSTS90094": Explanation(
        403,
        _("An administrator must approve this app before you can use it."),
        _("Ask an administrator of your organization to grant consent for it."),
        "other_account",
    ),
    "AADSTS90095": Explanation(
        403,
        _("Your request for approval has been sent to an administrator."),
        _("Sign in again once they have approved it."),
    ),
    "AADSTS50105": Explanation(
        403,
        _("Your account has not been assigned to this app."),
        _("Ask an administrator of your organization to assign you, or use another account."),
        "other_account",
    ),
    # The person has to prove more.
    "AADSTS50076": Explanation(403, _("Your organization asks for multifactor authentication."), _AGAIN, "sign_in"),
    "AADSTS50079": Explanation(403, _("You have to register for multifactor authentication first."), _AGAIN, "sign_in"),
    "AADSTS50074": Explanation(403, _("The multifactor authentication was not completed."), _AGAIN, "sign_in"),
    "AADSTS50078": Explanation(403, _("Your multifactor authentication has expired."), _AGAIN, "sign_in"),
    "AADSTS50055": Explanation(403, _("Your password has expired."), _("Change it, then sign in again."), "sign_in"),
    "AADSTS50058": Explanation(401, _("You are not signed in to Microsoft in this browser."), _AGAIN, "sign_in"),
    # The account is not the right one.
    "AADSTS50020": Explanation(
        403,
        _("Your account belongs to another organization, which this app does not admit."),
        _("Use an account of this organization, or ask its administrator to invite you as a guest."),
        "other_account",
    ),
    "AADSTS90072": Explanation(
        403,
        _("Your account is not known in this organization."),
        _("Use another account, or ask the organization's administrator to invite you as a guest."),
        "other_account",
    ),
    "AADSTS50034": Explanation(
        403,
        _("There is no such account in this organization."),
        _("Use another account."),
        "other_account",
    ),
    "AADSTS50057": Explanation(403, _("Your account is disabled."), _ASK, "other_account"),
    "AADSTS50053": Explanation(
        403,
        _("Your account is locked after too many attempts."),
        _("Wait some minutes, then sign in again."),
        "sign_in",
    ),
    "AADSTS50126": Explanation(403, _("The user name or the password is wrong."), _AGAIN, "sign_in"),
    # Conditional access.
    "AADSTS53003": Explanation(
        403,
        _("A conditional access policy of your organization blocks this sign-in."),
        _ASK,
        "other_account",
    ),
    "AADSTS53000": Explanation(403, _("Your organization admits only devices that comply with its rules."), _ASK),
    "AADSTS53001": Explanation(403, _("Your organization admits only devices that have joined it."), _ASK),
    "AADSTS50158": Explanation(403, _("Your organization asks for one more proof of who you are."), _AGAIN, "sign_in"),
    # It took too long, or came twice.
    "AADSTS54005": Explanation(400, _("This sign-in has been used already."), _AGAIN, "sign_in"),
    "AADSTS70008": Explanation(400, _("This sign-in took too long."), _AGAIN, "sign_in"),
    "AADSTS70043": Explanation(401, _("Your sign-in has expired, by a rule of your organization."), _AGAIN, "sign_in"),
    "AADSTS50173": Explanation(
        401, _("Your sign-in was revoked, for example by a change of your password."), _AGAIN, "sign_in"
    ),
    "AADSTS700082": Explanation(
        401, _("Your sign-in has expired: it was not used for a long time."), _AGAIN, "sign_in"
    ),
    # Azure AD B2C.
    "AADB2C90118": Explanation(400, _("You forgot your password."), _("Choose a new one."), "reset_password"),
    "AADB2C90091": Explanation(403, _("You cancelled."), _("Sign in again when you want to."), "sign_in"),
    # The app is set up wrong.
    "AADSTS7000215": Explanation(
        500,
        _("CLIENT_SECRET is wrong."),
        _("Copy the secret's Value, not its ID. It is shown only once: if it is gone, add a new secret."),
    ),
    "AADSTS7000222": Explanation(
        500,
        _("CLIENT_SECRET has expired."),
        _("Add a new client secret to the app registration and put its Value into CLIENT_SECRET."),
    ),
    "AADSTS7000218": Explanation(
        500,
        _("The app sent no credential."),
        _("Set CLIENT_SECRET or CLIENT_CERTIFICATE_PATH."),
    ),
    "AADSTS700025": Explanation(
        500,
        _("The app is registered as a public client, which has no secret."),
        _("Register the redirect URI under the platform Web, not under Mobile and desktop or Single-page application."),
    ),
    "AADSTS700027": Explanation(
        500,
        _("The certificate is not registered for this app, or has expired."),
        _("Upload the certificate under Certificates & secrets of the app registration."),
    ),
    "AADSTS700211": Explanation(
        500,
        _("No federated credential of the app registration has the issuer of this token."),
        _("Compare the issuer under Certificates & secrets, Federated credentials."),
    ),
    "AADSTS700213": Explanation(
        500,
        _("No federated credential of the app registration has the subject of this token."),
        _("Compare the subject under Certificates & secrets, Federated credentials."),
    ),
    "AADSTS50011": Explanation(
        500,
        _("REDIRECT_URI is not registered for this app."),
        _("Add it to the app registration under Authentication, platform Web, exactly as it is written here."),
    ),
    "AADSTS500112": Explanation(
        500,
        _("REDIRECT_URI is not the one that this sign-in began with."),
        _("Give all machines that run the app the same REDIRECT_URI."),
    ),
    "AADSTS700016": Explanation(
        500,
        _("CLIENT_ID is not known in this tenant."),
        _("Compare CLIENT_ID and AUTHORITY with the Overview of the app registration."),
    ),
    "AADSTS7000112": Explanation(
        500,
        _("The app has been disabled in this tenant."),
        _("Enable it under Enterprise applications."),
    ),
    "AADSTS7000229": Explanation(
        500,
        _("The app is registered, but the tenant has no service principal (enterprise application) of it."),
        _("Make one: the README has the command, az ad sp create."),
    ),
    "AADSTS90002": Explanation(
        500,
        _("The tenant in AUTHORITY does not exist."),
        _("Copy the Directory (tenant) ID from the Overview of the app registration."),
    ),
    "AADSTS900023": Explanation(
        500,
        _("The tenant in AUTHORITY is neither an ID nor a domain name."),
        _("Copy the Directory (tenant) ID from the Overview of the app registration."),
    ),
    "AADSTS50194": Explanation(
        500,
        _("The app is registered for one tenant, but AUTHORITY is common."),
        _("Put your Directory (tenant) ID into AUTHORITY."),
    ),
    "AADSTS9002331": Explanation(
        500,
        _("The app is registered for personal Microsoft accounts only."),
        _("Set AUTHORITY to https://login.microsoftonline.com/consumers."),
    ),
    "AADSTS700051": Explanation(
        500,
        _("The app is not registered for this kind of sign-in."),
        _("Register the redirect URI under the platform Web."),
    ),
    "AADSTS700054": Explanation(
        500,
        _("The app asked for an ID token by the implicit grant, which is not enabled."),
        _("This app does not need the implicit grant: register the redirect URI under the platform Web."),
    ),
    "AADSTS9002325": Explanation(
        500,
        _("The redirect URI is registered for a single-page application."),
        _("Register it under the platform Web."),
    ),
    "AADSTS70011": Explanation(
        500,
        _("SCOPE holds a permission that does not exist."),
        _("Correct SCOPE; for Microsoft Graph the name is, for example, User.Read."),
    ),
    "AADSTS650053": Explanation(
        500,
        _("SCOPE holds a permission that the API does not have."),
        _("Compare SCOPE with the API permissions of the app registration."),
    ),
    "AADSTS650057": Explanation(
        500,
        _("SCOPE names an API that the app registration does not list."),
        _("Add it under API permissions."),
    ),
    "AADSTS28000": Explanation(
        500,
        _("The permissions that were asked for are of several APIs, and a token is for one."),
        _(
            "Keep the scopes of one API in SCOPE and in each view; a view gets the other's token by auth.context(scopes=[…])."
        ),
    ),
    "AADSTS501481": Explanation(
        400,
        _("This answer belongs to a sign-in that was begun elsewhere (PKCE)."),
        _AGAIN,
        "sign_in",
    ),
}

# Errors without a code of Entra's: OAuth 2.0's (RFC 6749, 4.1.2.1 and 5.2), OpenID Connect's and our own.
OAUTH_ERRORS: dict[str, Explanation] = {
    "no_sign_in_begun": Explanation(
        400,
        _("This answer belongs to no sign-in that was begun in this browser, or it took too long."),
        _("Sign in again. If it happens again, allow cookies for this site."),
        "sign_in",
    ),
    "sign_in_did_not_help": Explanation(
        403,
        _("You are signed in, but your access was refused again right after."),
        _("Try again in a minute, or use another account."),
        "other_account",
        _("Access refused"),
    ),
    "session_lost": Explanation(
        500,
        _("You have signed in, but this app does not find your session again."),
        _("All processes of the app must share their sessions: by REDIS_URL, or by the same SESSION_FILE_DIR."),
        "sign_in",
    ),
    "login_required": Explanation(401, _("You are not signed in."), _AGAIN, "sign_in"),
    "interaction_required": Explanation(
        403, _("The sign-in service needs to see you for this sign-in."), _AGAIN, "sign_in"
    ),
    "consent_required": Explanation(403, _("This app has not been given the permissions it needs."), _AGAIN, "sign_in"),
    "access_denied": Explanation(403, _("The sign-in was cancelled or refused."), _AGAIN, "sign_in"),
    "invalid_grant": Explanation(400, _("This sign-in has expired or has been used already."), _AGAIN, "sign_in"),
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
        _("Sign in again and accept them all, or correct SCOPE."),
        "sign_in",
    ),
    "server_error": Explanation(502, _("The sign-in service has a problem."), SOON, "sign_in"),
    "temporarily_unavailable": Explanation(503, _("The sign-in service is overloaded."), SOON, "sign_in"),
}
OTHER_ERROR = Explanation(400, _("The sign-in could not be finished."), _AGAIN, "sign_in")


# --- The authority and the store ----------------------------------------------------------------------------------------

ID_TOKEN_REFUSED = Explanation(
    502,
    _("What came back does not prove who you are, so you have not been signed in."),
    _("Sign in again. If it happens again, tell whoever runs this app."),
    "sign_in",
    _("Sign-in refused"),
)
TENANT_UNAVAILABLE = Explanation(
    502,
    _("The sign-in cannot be reached at the moment."),
    SOON,
    "retry",
    _("Sign-in cannot be reached"),
)
STORE_UNAVAILABLE = Explanation(
    503,
    _("This app cannot get at its sessions at the moment. You have not been signed out."),
    SOON,
    "retry",
    _("Try again in a moment"),
)

NOT_SET_UP = Explanation(
    503,
    _("This app needs to know your app registration before anybody can sign in."),
    _("Run %(doctor)s: it checks the settings.", doctor=DOCTOR),
    title=SET_UP_WRONG,
)

# --- What the person may do -----------------------------------------------------------------------------------------------

NOT_ALLOWED = _("Not allowed")
ROLE_MISSING = Explanation(
    403,
    _("You do not have the role that this page is for."),
    _(
        "An administrator of your organization gives it to you, under Enterprise applications › Users and groups. "
        "If you were given it only a moment ago, sign in again to pick it up."
    ),
    "pick_up",
    NOT_ALLOWED,
)
GROUP_MISSING = Explanation(
    403,
    _("This page is for members of a group that you are not in."),
    _(
        "An administrator of your organization can add you to it. "
        "If you were added only a moment ago, sign in again to pick it up."
    ),
    "pick_up",
    NOT_ALLOWED,
)
MEMBERSHIP_UNKNOWN = Explanation(
    503,
    _("Microsoft Graph does not say at the moment whether you may open this page, so it stays closed."),
    SOON,
    "retry",
    _("Try again in a moment"),
)
NOBODY_TO_ASK = Explanation(
    403,
    _("You are in more groups than your sign-in can name, and this app has no Microsoft Graph to ask about them."),
    _("Ask whoever runs this app."),
    "other_account",
    NOT_ALLOWED,
)
MORE_DECLINED = Explanation(
    403,
    _("This page needs permissions that have not been given."),
    _("Sign in again and accept them, or leave it: you are still signed in, and the rest of the app works as before."),
    "sign_in",
    _("Permission missing"),
)

# --- Graph: by the kind of a GraphError ---------------------------------------------------------------------------------

GRAPH_ERRORS: dict[str, Explanation] = {
    "token": Explanation(
        401,
        _("Graph does not accept your sign-in."),
        _AGAIN,
        "sign_in",
        _("Access refused"),
    ),
    "forbidden": Explanation(
        403,
        _("Graph does not let this app read that for you."),
        _("Grant the permission in the app registration under API permissions; an administrator may have to consent."),
        title=_("Permission missing"),
    ),
    "not_found": Explanation(
        404,
        _("Graph has nothing at this address: your account may have no profile here, or ENDPOINT may be wrong."),
        _("Use another account, or ask whoever runs this app."),
        "other_account",
        _("No such profile"),
    ),
    "no_endpoint": Explanation(
        404,
        _("This app has no API to call: ENDPOINT is not set, and the sign-in's token is not for Microsoft Graph."),
        _("Ask whoever runs this app."),
        title=_("Nothing to call"),
    ),
    "refused": Explanation(
        502,
        _("Graph did not accept the request."),
        _("Ask whoever runs this app."),
        title=_("Graph refused"),
    ),
    "throttled": Explanation(
        503,
        _("Graph gets too many requests at the moment."),
        SOON,
        "retry",
        _("Graph is busy"),
    ),
    "unavailable": Explanation(
        502,
        _("Graph did not answer properly."),
        SOON,
        "retry",
        _("Graph cannot be reached"),
    ),
    "timeout": Explanation(
        504,
        _("Graph did not answer in time."),
        SOON,
        "retry",
        _("Graph cannot be reached"),
    ),
    "not_understood": Explanation(
        502,
        _("The address answered with something this app does not understand."),
        _("Check that ENDPOINT is the address of an API that answers a JSON object."),
        "retry",
        _("Unknown answer"),
    ),
}

# --- HTTP: by status ----------------------------------------------------------------------------------------------------

HTTP_ERRORS: dict[int, Explanation] = {
    400: Explanation(400, _("The request could not be understood."), HOME, title=_("Bad request")),
    401: Explanation(401, _("This page needs a sign-in."), _AGAIN, "sign_in", NOT_SIGNED_IN),
    403: Explanation(
        403,
        _("You may not open this page."),
        _("Use another account, or ask whoever runs this app."),
        "other_account",
        NOT_ALLOWED,
    ),
    404: Explanation(
        404,
        _("There is no page at this address."),
        _("Check the address, or go to the home page."),
        title=_("Page not found"),
    ),
    405: Explanation(405, _("This page cannot be asked for in this way."), HOME, title=_("Not like this")),
    410: Explanation(410, _("This page is no longer there."), HOME, title=_("Page removed")),
    413: Explanation(413, _("The request is larger than this app accepts."), HOME, title=_("Too large")),
    429: Explanation(429, _("You have asked for this too often."), SOON, "retry", _("Too many requests")),
    500: Explanation(
        500,
        _("The app made a mistake. It has been noted."),
        SOON,
        title=_("Something went wrong"),
    ),
    503: Explanation(503, _("This page is not available at the moment."), SOON, "retry", _("Try again in a moment")),
}

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

    Status 500 is for the person who runs the app. The visitor cannot correct it.

    :ivar status: the HTTP status of the page.
    :ivar text: what happened.
    :ivar advice: what to do.
    :ivar way_on: where the button leads: `sign_in`, `pick_up` (a sign-in that brings a new role), `other_account`, `retry`,
        `reset_password` or `home`.
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
_ASK = _("Ask an administrator of your organization.")
_AGAIN = _("Sign in again.")
ENTRA_ERRORS: dict[str, Explanation] = {
    # The person declined, or may not.
    "AADSTS65004": Explanation(
        403,
        _("You declined to give this app the permissions it asks for."),
        _("To use the app, sign in again and accept them. Nothing was shared."),
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
        _("Sign in again after the approval."),
    ),
    "AADSTS50105": Explanation(
        403,
        _("Your account has not been assigned to this app."),
        _("Ask an administrator of your organization to assign you, or use another account."),
        "other_account",
    ),
    # The person has to prove more.
    "AADSTS50076": Explanation(403, _("Your organization requires multifactor authentication."), _AGAIN, "sign_in"),
    "AADSTS50079": Explanation(403, _("You have to register for multifactor authentication first."), _AGAIN, "sign_in"),
    "AADSTS50074": Explanation(403, _("The multifactor authentication was not completed."), _AGAIN, "sign_in"),
    "AADSTS50078": Explanation(403, _("Your multifactor authentication has expired."), _AGAIN, "sign_in"),
    "AADSTS50055": Explanation(403, _("Your password has expired."), _("Change it, then sign in again."), "sign_in"),
    "AADSTS50058": Explanation(401, _("You are not signed in to Microsoft in this browser."), _AGAIN, "sign_in"),
    # The account is not the right one.
    "AADSTS50020": Explanation(
        403,
        _("Your account belongs to an organization that may not use this app."),
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
    "AADSTS53000": Explanation(403, _("Your organization allows only devices that comply with its rules."), _ASK),
    "AADSTS53001": Explanation(403, _("Your organization allows only devices that are joined to it."), _ASK),
    "AADSTS50158": Explanation(403, _("Your organization requires another proof of your identity."), _AGAIN, "sign_in"),
    # It took too long, or came twice.
    "AADSTS54005": Explanation(400, _("This sign-in has been used already."), _AGAIN, "sign_in"),
    "AADSTS70008": Explanation(400, _("This sign-in took too long."), _AGAIN, "sign_in"),
    "AADSTS70043": Explanation(401, _("A rule of your organization has ended your sign-in."), _AGAIN, "sign_in"),
    "AADSTS50173": Explanation(
        401, _("Your sign-in was revoked, for example because your password was changed."), _AGAIN, "sign_in"
    ),
    "AADSTS700082": Explanation(
        401, _("Your sign-in has expired because it was not used for a long time."), _AGAIN, "sign_in"
    ),
    # Azure AD B2C.
    "AADB2C90118": Explanation(400, _("You forgot your password."), _("Choose a new one."), "reset_password"),
    "AADB2C90091": Explanation(403, _("You cancelled the sign-in."), _("Sign in again when you want to."), "sign_in"),
    # The app is set up wrong.
    "AADSTS7000215": Explanation(
        500,
        _("CLIENT_SECRET is wrong."),
        _(
            "Copy the secret's Value, not its Secret ID. The Value is shown only once. If you do not have it, add a new secret."
        ),
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
        _("SCOPE contains a permission that does not exist."),
        _("Correct SCOPE; for Microsoft Graph the name is, for example, User.Read."),
    ),
    "AADSTS650053": Explanation(
        500,
        _("SCOPE contains a permission that the API does not have."),
        _("Compare SCOPE with the API permissions of the app registration."),
    ),
    "AADSTS650057": Explanation(
        500,
        _("SCOPE names an API that the app registration does not list."),
        _("Add it under API permissions."),
    ),
    "AADSTS28000": Explanation(
        500,
        _("The app asked for permissions of several APIs, but a token is for one API only."),
        _(
            "Keep to the scopes of one API in SCOPE and in each view. For another API, call auth.context(scopes=[…]) in the view."
        ),
    ),
    "AADSTS501481": Explanation(
        400,
        _("This sign-in does not match the one that was started in this browser (PKCE)."),
        _AGAIN,
        "sign_in",
    ),
}

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
    "session_lost": Explanation(
        500,
        _("You signed in, but this app cannot find your session."),
        _(
            "All processes of the app must share their sessions. Set REDIS_URL, or the same SESSION_FILE_DIR for all of them."
        ),
        "sign_in",
    ),
    "login_required": Explanation(401, _("You are not signed in."), _AGAIN, "sign_in"),
    "interaction_required": Explanation(
        403,
        _("The sign-in service needs something from you, such as your password or your consent."),
        _AGAIN,
        "sign_in",
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
        _("Sign in again and accept them all."),
        "sign_in",
        for_developers=_(
            "Compare SCOPE, and the scopes of the view, with the API permissions of the app registration."
        ),
    ),
    "server_error": Explanation(502, _("The sign-in service has a problem."), SOON, "sign_in"),
    "temporarily_unavailable": Explanation(503, _("The sign-in service is overloaded."), SOON, "sign_in"),
}
OTHER_ERROR = Explanation(400, _("The sign-in could not be finished."), _AGAIN, "sign_in")


# --- The authority and the store ----------------------------------------------------------------------------------------

ID_TOKEN_REFUSED = Explanation(
    502,
    _("The answer of the sign-in service does not prove your identity."),
    _("Sign in again. If it happens again, tell the person who runs this app."),
    "sign_in",
    _("Sign-in refused"),
)
TENANT_UNAVAILABLE = Explanation(
    502,
    _("The sign-in service cannot be reached at the moment."),
    SOON,
    "retry",
    _("Sign-in service unavailable"),
)
STORE_UNAVAILABLE = Explanation(
    503,
    _("This app cannot read its sessions at the moment. You have not been signed out."),
    SOON,
    "retry",
    _("Try again in a moment"),
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
        _("Graph does not allow this app to read this for you."),
        _("Ask an administrator of your organization, or the person who runs this app."),
        title=_("Permission missing"),
        for_developers=_(
            "Grant the permission in the app registration under API permissions. An administrator may have to consent."
        ),
    ),
    "not_found": Explanation(
        404,
        _("Graph has no data at this address. Your account may have no profile here."),
        _("Use another account, or ask the person who runs this app."),
        "other_account",
        _("Profile not found"),
        _("Check that ENDPOINT is right."),
    ),
    "no_endpoint": Explanation(
        404,
        _("This app has no API to call."),
        _("Ask the person who runs this app."),
        title=_("No API to call"),
        for_developers=_("ENDPOINT is not set, and the sign-in's token is not for Microsoft Graph."),
    ),
    "refused": Explanation(
        502,
        _("Graph did not accept the request."),
        _("Ask the person who runs this app."),
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
        _("This app got an answer that it cannot read."),
        SOON,
        "retry",
        _("Unreadable answer"),
        _("Check that ENDPOINT is the address of an API that answers with a JSON object."),
    ),
}

# --- HTTP: by status ----------------------------------------------------------------------------------------------------

HTTP_ERRORS: dict[int, Explanation] = {
    400: Explanation(400, _("The request could not be understood."), HOME, title=_("Bad request")),
    401: Explanation(401, _("You must sign in to open this page."), _AGAIN, "sign_in", NOT_SIGNED_IN),
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
        500,
        _("An error occurred in the app. It has been logged."),
        SOON,
        title=_("Something went wrong"),
    ),
    503: Explanation(503, _("This page is not available at the moment."), SOON, "retry", _("Try again in a moment")),
}

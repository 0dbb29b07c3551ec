"""Entra's error codes in words, as data.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

from flask_entra.pages.explanations import AGAIN, ASK, Explanation
from flask_entra.pages.languages import Text as _

ENTRA_ERRORS: dict[str, Explanation] = {
    # The person declined, or may not.
    "AADSTS65004": Explanation(
        403,
        _("You declined to give this app the permissions it asks for."),
        _("To use the app, sign in again and accept them. Nothing was shared."),
        "sign_in",
    ),
    "AADSTS65001": Explanation(403, _("This app has not been given the permissions it needs."), AGAIN, "sign_in"),
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
    "AADSTS50076": Explanation(403, _("Your organization requires multifactor authentication."), AGAIN, "sign_in"),
    "AADSTS50079": Explanation(403, _("You have to register for multifactor authentication first."), AGAIN, "sign_in"),
    "AADSTS50074": Explanation(403, _("The multifactor authentication was not completed."), AGAIN, "sign_in"),
    "AADSTS50078": Explanation(403, _("Your multifactor authentication has expired."), AGAIN, "sign_in"),
    "AADSTS50055": Explanation(403, _("Your password has expired."), _("Change it, then sign in again."), "sign_in"),
    "AADSTS50058": Explanation(401, _("You are not signed in to Microsoft in this browser."), AGAIN, "sign_in"),
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
    "AADSTS50057": Explanation(403, _("Your account is disabled."), ASK, "other_account"),
    "AADSTS50053": Explanation(
        403,
        _("Your account is locked after too many attempts."),
        _("Wait some minutes, then sign in again."),
        "sign_in",
    ),
    "AADSTS50126": Explanation(403, _("The user name or the password is wrong."), AGAIN, "sign_in"),
    # Conditional access.
    "AADSTS53003": Explanation(
        403,
        _("A conditional access policy of your organization blocks this sign-in."),
        ASK,
        "other_account",
    ),
    "AADSTS53000": Explanation(403, _("Your organization allows only devices that comply with its rules."), ASK),
    "AADSTS53001": Explanation(403, _("Your organization allows only devices that are joined to it."), ASK),
    "AADSTS50158": Explanation(403, _("Your organization requires another proof of your identity."), AGAIN, "sign_in"),
    # It took too long, or came twice.
    "AADSTS54005": Explanation(
        400,
        _("This sign-in has been finished already, by a double click or in another tab."),
        _("You may be signed in by now. Open the page again."),
        "return",
    ),
    "AADSTS70008": Explanation(400, _("This sign-in took too long."), AGAIN, "sign_in"),
    "AADSTS70043": Explanation(401, _("A rule of your organization has ended your sign-in."), AGAIN, "sign_in"),
    "AADSTS50173": Explanation(
        401, _("Your sign-in was revoked, for example because your password was changed."), AGAIN, "sign_in"
    ),
    "AADSTS700082": Explanation(
        401, _("Your sign-in has expired because it was not used for a long time."), AGAIN, "sign_in"
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
        _("Make one: az ad sp create --id, and the CLIENT_ID."),
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
        AGAIN,
        "sign_in",
    ),
}

"""The checks of an authorization request (RFC 6749 section 4.1.1, OpenID Connect Core 1.0 section 3.1.2.1)."""

from __future__ import annotations

from typing import Any

from authlib.oauth2 import OAuth2Error
from flask import request

from . import claims_request
from .addresses import SHARED, named_tenant
from .errors import EntraError, missing, not_multitenant, translate, unknown_client
from .oauth import Server
from .registration import Registration
from .scopes import no_scope
from .tenant import Tenant

PROMPTS = ("", "login", "none", "consent", "select_account", "create", "admin_consent")
RESPONSE_MODES = ("query", "fragment", "form_post")


def check(tenant: Tenant, server: Server, name: str) -> Any:
    """Check the current request.

    An error goes to the app only once the redirect URI is known to be the app's. Before that it has no redirect URI
    and is shown on a page: it must not be sent anywhere (RFC 6749 section 4.1.2.1).

    :param tenant: the tenant.
    :param server: its OAuth 2.0 server.
    :param name: the tenant's name in the URL.
    :return: Authlib's grant for the request.
    :raises EntraError: the request fails a check.
    """
    tenant.addresses.id_of(name)
    redirect_uri = _check_client(tenant.registration)
    try:
        _check_parameters(tenant)
        # Authlib's own checks: repeated parameters, `response_type`, the form of PKCE's parameters.
        return server.get_consent_grant()
    except OAuth2Error as error:
        entra = _unsupported_response_type() if error.error == "unsupported_response_type" else translate(error)
        entra.redirect_uri = redirect_uri
        raise entra from error


def _check_client(registration: Registration) -> str:
    """Check that the answer would go to the app, in a way that there is.

    :return: the redirect URI.
    :raises EntraError: it would not.
    """
    client_id, redirect_uri = request.args.get("client_id"), request.args.get("redirect_uri")
    if not client_id:
        raise missing("client_id")
    if client_id != registration.client_id:
        raise unknown_client(client_id)
    if named_tenant().lower() == "consumers":
        message = (
            f"Application '{client_id}'(Sandbox app) is configured for use by Azure Active Directory users only. Please do not "
            "use the /consumers endpoint to serve this request."
        )
        raise EntraError("invalid_request", 9002332, message)
    if registration.single_tenant and named_tenant().lower() in SHARED:
        raise not_multitenant(client_id)
    if not redirect_uri:
        raise missing("redirect_uri")
    if redirect_uri not in registration.redirect_uris:
        message = (
            f"The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs "
            f"configured for the application '{client_id}'. Make sure the redirect URI sent in the request "
            "matches one added to your application in the Azure portal. Navigate to "
            "https://aka.ms/redirectUriMismatchError to learn more about how to fix this."
        )
        raise EntraError("invalid_request", 50011, message)
    if request.args.get("response_mode", "query") not in RESPONSE_MODES:
        message = "The value of the parameter 'response_mode' is not supported."
        raise EntraError("invalid_request", 70007, message)
    return redirect_uri


def _check_parameters(tenant: Tenant) -> None:
    """Check the parameters that Authlib does not check, or not as Entra does."""
    if not request.args.get("response_type"):
        raise missing("response_type")
    scopes = request.args.get("scope", "").split()
    if not scopes:
        raise missing("scope")
    try:
        tenant.short_names(scopes)
    except ValueError as error:
        raise EntraError("invalid_client", 650053, no_scope(error)) from error
    if request.args.get("prompt", "") not in PROMPTS:
        raise EntraError("invalid_request", 90023, "The value of the parameter 'prompt' is not supported.")
    if not request.args.get("max_age", "0").isdecimal():
        raise EntraError("invalid_request", 90023, "The value of the parameter 'max_age' is not valid.")
    claims_request.parse(request.args.get("claims"))


def _unsupported_response_type() -> EntraError:
    kind = request.args["response_type"]
    message = f"response_type '{kind}' is not enabled for the application."
    return EntraError("unsupported_response_type", 700054 if "id_token" in kind else 700051, message)

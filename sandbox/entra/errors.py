"""Entra's errors: an OAuth error code, an AADSTS number with its message, and ids to trace the request by.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from authlib.oauth2 import OAuth2Error
from flask import has_request_context, request

from .urls import with_query


class EntraError(OAuth2Error):
    """An error that Entra answers.

    :param error: the OAuth error code (RFC 6749 sections 4.1.2.1 and 5.2).
    :param number: the AADSTS number.
    :param message: the sentence that follows the number.
    :param status: the HTTP status at the token endpoint.
    :param suberror: Entra's finer code, which MSAL calls `suberror`; empty for none.
    :param claims: the claims that the client must ask for in an interactive request, as JSON; empty for none.
    :param redirect_uri: the URI to which an error of the authorization endpoint goes; None shows it on a page instead.
    """

    def __init__(
        self,
        error: str,
        number: int,
        message: str,
        status: int = 400,
        suberror: str = "",
        claims: str = "",
        redirect_uri: str | None = None,
    ) -> None:
        super().__init__(error=error, status_code=status, redirect_uri=redirect_uri)
        self.number = number
        self.message = message
        self.suberror = suberror
        self.claims = claims
        self.trace_id = str(uuid.uuid4())
        self.correlation_id = _correlation_id()
        self.timestamp = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M:%SZ}"
        # Assigned here because the base class refuses a description with quotation marks.
        self.description = (
            f"AADSTS{number}: {message} Trace ID: {self.trace_id} "
            f"Correlation ID: {self.correlation_id} Timestamp: {self.timestamp}"
        )

    def body(self) -> dict[str, Any]:
        """The JSON object of the token endpoint (RFC 6749 section 5.2, with Entra's additions)."""
        body = {
            "error": self.error,
            "error_description": self.description,
            "error_codes": [self.number],
            "timestamp": self.timestamp,
            "trace_id": self.trace_id,
            "correlation_id": self.correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.number}",
        }
        if self.suberror:
            body["suberror"] = self.suberror
        if self.claims:
            body["claims"] = self.claims
        return body

    def parameters(self, state: str | None) -> dict[str, str]:
        """The parameters of an authorization response (RFC 6749 section 4.1.2.1).

        :param state: the request's `state`, or None when it had none.
        :return: the parameters by name.
        """
        parameters = {"error": self.error, "error_description": self.description}
        if self.suberror:
            parameters["error_subcode"] = self.suberror
        if state is not None:
            parameters["state"] = state
        return parameters

    def link(self, state: str | None) -> str:
        """The redirect URI with this error added to its query.

        :param state: the request's `state`, or None when it had none.
        :return: the URL.
        """
        return with_query(self.redirect_uri or "", self.parameters(state))


def _correlation_id() -> str:
    """The GUID that the client sent with this request (`client-request-id`), or a new one."""
    if has_request_context():
        try:
            return str(uuid.UUID(request.headers.get("client-request-id", "")))
        except ValueError:
            pass
    return str(uuid.uuid4())


def missing(parameter: str) -> EntraError:
    """AADSTS900144: the request lacks a parameter."""
    message = f"The request body must contain the following parameter: '{parameter}'."
    return EntraError("invalid_request", 900144, message)


def unknown_client(client_id: str) -> EntraError:
    """AADSTS700016: the tenant does not know the client."""
    message = (
        f"Application with identifier '{client_id}' was not found in the directory 'Contoso'. This can happen if "
        "the application has not been installed by the administrator of the tenant or consented to by any user in "
        "the tenant. You may have sent your authentication request to the wrong tenant."
    )
    return EntraError("unauthorized_client", 700016, message)


def not_multitenant(client_id: str) -> EntraError:
    """AADSTS50194: the app is registered for one tenant, and a name in the URL stands for several."""
    message = (
        f"Application '{client_id}'(Sandbox app) is not configured as a multi-tenant application. Usage of the /common "
        "endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or "
        "configure the application to be multi-tenant."
    )
    return EntraError("invalid_request", 50194, message)


def no_consent(error: str, client_id: str, suberror: str = "", redirect_uri: str | None = None) -> EntraError:
    """AADSTS65001: the person has not consented to the scopes."""
    message = (
        f"The user or administrator has not consented to use the application with ID '{client_id}' named "
        "'Sandbox app'. Send an interactive authorization request for this user and resource."
    )
    return EntraError(error, 65001, message, suberror=suberror, redirect_uri=redirect_uri)


def translate(error: OAuth2Error, grant_type: str | None = None) -> EntraError:
    """Put an error that Authlib raised by itself into Entra's words. An `EntraError` is returned unchanged.

    :param error: the error that was raised.
    :param grant_type: the request's `grant_type`, for the message.
    :return: the error as Entra answers it.
    """
    if isinstance(error, EntraError):
        return error
    if error.error == "unsupported_grant_type":
        if not grant_type:
            return missing("grant_type")
        message = f"The app requested an unsupported grant type '{grant_type}'."
        return EntraError("unsupported_grant_type", 70003, message)
    if error.error == "invalid_scope":
        message = "The provided request must include a valid 'scope' input parameter."
        return EntraError("invalid_scope", 70011, message)
    if error.error == "invalid_client":
        return EntraError("invalid_client", 7000218, f"{error.description}", 401)
    if error.error == "invalid_grant":
        return EntraError("invalid_grant", 9002313, f"Invalid request. {error.description or ''}".strip())
    return EntraError(error.error or "invalid_request", 9002313, f"Invalid request. {error.description or ''}")

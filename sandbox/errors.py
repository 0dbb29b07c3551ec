"""Errors as Entra words them: an OAuth error code with an AADSTS number, and numbers to trace it by.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from flask import has_request_context, request


def correlation_id() -> str:
    """The GUID by which the client calls this request (``client-request-id``), else a new one."""
    if has_request_context():
        try:
            return str(uuid.UUID(request.headers.get("client-request-id", "")))
        except ValueError:
            pass
    return str(uuid.uuid4())


class EntraError(OAuth2Error):
    """An error that Entra answers.

    Args:
        error: the OAuth error code (RFC 6749 sections 4.1.2.1 and 5.2).
        number: the AADSTS number.
        message: the sentence that follows the number.
        status: the HTTP status at the token endpoint.
        suberror: Entra's finer code, which MSAL calls ``suberror``; empty for none.
        claims: JSON text of what the client must ask for in an interactive request; empty for none.
        redirect_uri: where an error of the authorize endpoint goes; None shows it on a page instead.
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
        self.correlation_id = correlation_id()
        self.timestamp = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M:%SZ}"
        # Set here and not through the base class, which refuses quotation marks.
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

        Args:
            state: the request's ``state``, or None when it had none.
        """
        parameters = {"error": self.error, "error_description": self.description}
        if self.suberror:
            parameters["error_subcode"] = self.suberror
        if state is not None:
            parameters["state"] = state
        return parameters

    def link(self, state: str | None) -> str:
        """The redirect URI with this error added to its query."""
        mark = "&" if "?" in (self.redirect_uri or "") else "?"
        return f"{self.redirect_uri}{mark}{urlencode(self.parameters(state))}"


def translate(error: OAuth2Error, grant_type: str | None = None) -> EntraError:
    """Put an error that Authlib raised by itself into Entra's words; Entra's own pass unchanged.

    Args:
        error: what was raised.
        grant_type: the request's ``grant_type``, to name it in the message.
    """
    if isinstance(error, EntraError):
        return error
    if error.error == "unsupported_grant_type":
        if not grant_type:
            message = "The request body must contain the following parameter: 'grant_type'."
            return EntraError("invalid_request", 900144, message)
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

"""What MSAL asks of its HTTP client."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import requests

from flask_entra.signin.errors import TenantUnavailable
from flask_entra.signin.tenant import Tenant


class Transport:
    """MSAL's `http_client`: the tenant's documents, and token requests whose answer has been validated.

    Every ID token, of a sign-in and of a refresh, passes here before MSAL or anybody else sees it. The client underneath is
    pooled and bounded. MSAL's own `http_cache` is left out: it keeps failures too, and one person's 503 would be everybody's
    for as long as its Retry-After says.
    """

    def __init__(self, tenant: Tenant):
        self._tenant = tenant

    def get(self, url: str, **_kwargs: Any) -> SimpleNamespace:
        """The discovery document, which is all that MSAL gets, at every app object that it makes."""
        return SimpleNamespace(status_code=200, text=json.dumps(self._tenant.metadata), headers={})

    def post(
        self, url: str, *, data: Any = None, headers: dict[str, str] | None = None, **_kwargs: Any
    ) -> requests.Response:
        """A token request (RFC 6749, 4.1.3 and 6) whose answer is known to be one: a JSON object with a valid ID token.

        :raises TenantUnavailable: there is no such answer.
        :raises IdTokenRefused: the ID token fails a check.
        """
        response = self._tenant.fetch("POST", url, data=data, headers=headers)
        answer = self._tenant.json_object(response)
        if response.status_code != 200 and "error" not in answer:
            raise TenantUnavailable(f"the token endpoint answered {response.status_code}")
        if not all(isinstance(answer.get(name, ""), str) for name in ("error", "error_description", "claims")):
            raise TenantUnavailable("the token endpoint sent an error that is not text")
        if "error" not in answer:
            if not isinstance(answer.get("access_token"), str):
                raise TenantUnavailable("the token endpoint sent no access token")
            if "id_token" in answer:
                self._tenant.validate(answer["id_token"])
        return response

    def close(self) -> None:
        """Nothing: the shared client outlives MSAL's app objects."""

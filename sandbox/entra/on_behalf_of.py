"""The on-behalf-of grant: the app exchanges an access token that it was sent for one of another API.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
"""

from __future__ import annotations

import json
import time
from typing import Any

from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from ..people import Person
from .addresses import named_tenant
from .errors import EntraError, missing
from .grants import PersonGrant
from .keys import peek
from .scopes import GRAPH_ID


class OnBehalfOfGrant(PersonGrant, BaseGrant, TokenEndpointMixin):
    """The grant, with Entra's checks of the token that is exchanged (the assertion, RFC 7523)."""

    GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]

    def validate_token_request(self) -> None:
        self.request.client = self.authenticate_token_endpoint_client()
        form = self.request.form
        for name in ("assertion", "scope"):
            if not form.get(name):
                raise missing(name)
        if form.get("requested_token_use") != "on_behalf_of":
            raise missing("requested_token_use")
        self._assertion = self._checked(form["assertion"])
        self._person = self._person_of(self._assertion)
        self.check_scopes(form["scope"].split(), self._person)
        self._check_demands(form["assertion"])

    def _checked(self, assertion: str) -> dict[str, Any]:
        """The claims of the assertion.

        :raises EntraError: it is not a valid access token for the app.
        """
        try:
            peek(assertion)
        except ValueError as error:
            raise EntraError("invalid_request", 50027, "JWT token is invalid or malformed.") from error
        try:
            claims = self.tenant.keys.verify(assertion)
        except ValueError as error:
            message = "Assertion failed signature validation. [Reason - The key was not found.]"
            raise EntraError("invalid_grant", 50013, message) from error
        client_id = self.tenant.registration.client_id
        if claims.get("aud") not in (client_id, f"api://{client_id}"):
            message = (
                "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion "
                f"was '{claims.get('aud')}' and the expected audience is '{client_id}' or one of the Application Uris of "
                f"this application with App ID '{client_id}'(Sandbox app)."
            )
            raise EntraError("invalid_grant", 500131, message)
        if not claims.get("nbf", 0) <= time.time() < claims.get("exp", 0):
            message = "Assertion is not within its valid time range. Ensure that the access token is not expired."
            raise EntraError("invalid_grant", 500133, message)
        return claims

    def _person_of(self, claims: dict[str, Any]) -> Person:
        people = self.tenant.people.items()
        key = next((key for key, each in people if each.oid == claims.get("oid")), None)
        if "scp" not in claims or key is None:
            app = self.tenant.registration.client_id
            message = f"Application '{app}' is not allowed to make application on-behalf-of calls."
            raise EntraError("invalid_grant", 7000114, message)
        return self.person(key)

    def _check_demands(self, assertion: str) -> None:
        """Check that nothing demands that the person signs in anew to the app that holds the assertion.

        :raises EntraError: AADSTS50079, with the claims that the new assertion must have been requested with.
        """
        met = self.tenant.claims_met_by(assertion)
        wanted = self.claims(met)
        for challenge in self.server.challenges():
            if challenge.refresh == "interaction" and challenge.met_by(wanted) and not challenge.met_by(met):
                message = (
                    "Due to a configuration change made by your administrator, or because you moved to a new location, you "
                    f"must enroll in multifactor authentication to access '{GRAPH_ID}'."
                )
                text = json.dumps(challenge.claims, separators=(",", ":"))
                raise EntraError("interaction_required", 50079, message, suberror="basic_action", claims=text)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        claims = self.claims(self.tenant.claims_met_by(self.request.form["assertion"]))
        scopes = self.request.form["scope"].split()
        token = self.tenant.issue(
            self._person, scopes, claims, "", named_tenant(), client_info=self.wants_client_info()
        )
        return 200, token, self.TOKEN_RESPONSE_HEADER

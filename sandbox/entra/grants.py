"""The grants of the token endpoint: Authlib's, with Entra's rules and Entra's errors.

RFC 6749 for the grants, RFC 7636 for PKCE.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from ..people import Person
from . import claims_request
from .addresses import SHARED, named_tenant
from .errors import EntraError, no_consent, not_multitenant
from .memory import Code, RefreshToken
from .scopes import GRAPH_ID, OIDC, ORDERS_URI, audience_of, no_scope, resources_of
from .tenant import Tenant


class PersonGrant:
    """The common part of the grants that are for a person."""

    server: Any  # the tenant's OAuth 2.0 server (oauth.Server)
    request: Any  # Authlib's request

    @property
    def tenant(self) -> Tenant:
        tenant: Tenant = self.server.tenant
        return tenant

    def person(self, key: str) -> Person:
        """The person whom a code or a refresh token is about.

        :raises EntraError: AADSTS50034, the account is gone.
        """
        try:
            return self.tenant.people[key]
        except KeyError:
            message = "The user account does not exist in the directory."
            raise EntraError("invalid_grant", 50034, message, suberror="bad_token") from None

    def check_scopes(self, scopes: list[str], person: Person) -> None:
        """Check the scopes of a token request.

        :param scopes: as the client wrote them.
        :param person: the person whose consent it takes.
        :raises EntraError: AADSTS70011, there is no such scope; AADSTS28000, they are of two APIs; AADSTS65001, consent is
            missing.
        """
        try:
            short = self.tenant.short_names(scopes)
        except ValueError as error:
            raise EntraError("invalid_scope", 70011, no_scope(error)) from error
        if len(resources_of(short)) > 1:
            message = (
                "Provided value for the input parameter scope is not valid because it contains more than one resource. "
                f"Scope {' '.join(scopes)} is not valid."
            )
            raise EntraError("invalid_request", 28000, message)
        if not self.tenant.consented(person, short):
            raise no_consent("invalid_grant", self.tenant.registration.client_id, suberror="consent_required")

    def claims(self, before: dict[str, Any]) -> dict[str, Any]:
        """The claims requests of the sign-in and of this request, put together."""
        return claims_request.merge(before, claims_request.parse(self.request.form.get("claims")))

    def of_sign_in(self, code: Code) -> dict[str, Any]:
        """The claims about the sign-in: when it was, if the app has asked for that (`max_age`, only then), and what session it
        began; each of them if it is an optional claim of the app's."""
        registration = self.tenant.registration
        asked = code.tells_auth_time and isinstance(self, CodeGrant)
        claims: dict[str, Any] = {"sid": code.sid} if registration.sid_claim else {}
        return claims | ({"auth_time": int(code.signed_in_at)} if asked or registration.auth_time_claim else {})

    def wants_client_info(self) -> bool:
        return bool(self.request.form.get("client_info") == "1")


class CodeGrant(PersonGrant, AuthorizationCodeGrant):
    """The authorization code grant (RFC 6749 section 4.1)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]

    def generate_authorization_code(self) -> str:
        return f"1.A{secrets.token_urlsafe(72)}"

    def save_authorization_code(self, code: str, oauth_request: Any) -> None:
        data = oauth_request.payload.data
        self.tenant.memory.codes[code] = Code(
            value=code,
            client_id=oauth_request.client.client_id,
            person=oauth_request.user.key,
            redirect_uri=oauth_request.payload.redirect_uri,
            scopes=oauth_request.payload.scope.split(),
            nonce=data.get("nonce", ""),
            claims=claims_request.parse(data.get("claims")),
            code_challenge=data.get("code_challenge"),
            code_challenge_method=data.get("code_challenge_method"),
            issued_at=time.time(),
            tells_auth_time="max_age" in data,
        )

    def query_authorization_code(self, value: str, client: Any) -> Code:
        code = self.tenant.memory.codes.get(value)
        if code is None:
            raise EntraError("invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
        if code.used:
            # RFC 6749 section 4.1.2: the tokens that were issued for the code should be revoked as well.
            self.tenant.memory.revoke_descendants(value)
            message = "OAuth2 Authorization code was already redeemed, please retry with a new valid code."
            raise EntraError("invalid_grant", 54005, message)
        if code.issued_at + self.tenant.registration.code_lifetime < time.time():
            message = "The provided authorization code or refresh token has expired due to inactivity."
            raise EntraError("invalid_grant", 70008, f"{message} Send a new interactive authorization request.")
        given = self.request.payload.redirect_uri
        if given != code.redirect_uri:
            message = (
                f"The reply address '{given}' does not match the reply address '{code.redirect_uri}' provided "
                "when requesting Authorization code."
            )
            raise EntraError("invalid_client", 500112, message)
        return code

    def delete_authorization_code(self, code: Code) -> None:
        code.used = True

    def authenticate_user(self, code: Code) -> Person:
        return self.person(code.person)

    def generate_token(self, user: Person, **_: Any) -> dict[str, Any]:
        code: Code = self.request.authorization_code
        claims = self.claims(code.claims)
        scopes = code.scopes
        asked = self.request.form.get("scope")
        if asked:
            # Entra lets the redemption name the resource's scopes again, or other scopes that have consent.
            scopes = asked.split()
            self.check_scopes(scopes, user)
        scopes = [*scopes, *(scope for scope in code.scopes if scope in OIDC and scope not in scopes)]
        more = {**self.of_sign_in(code), **claims_request.contexts(code.claims)}
        return self.tenant.issue(
            user, scopes, claims, code.value, named_tenant(), code.nonce, self.wants_client_info(), more
        )


class EntraCodeChallenge(CodeChallenge):
    """Authlib's PKCE with Entra's error numbers (RFC 7636 section 4.6)."""

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        try:
            super().validate_code_verifier(grant, result)
        except InvalidGrantError as error:
            message = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
            raise EntraError("invalid_grant", 501481, message) from error
        except InvalidRequestError as error:
            number = 50148 if grant.request.authorization_code.code_challenge else 501481
            message = (
                "The code_verifier does not match the code_challenge supplied in the authorization request for "
                f"PKCE. {error.description}"
            )
            raise EntraError("invalid_grant", number, message) from error


class RefreshGrant(PersonGrant, RefreshTokenGrant):
    """The refresh token grant (RFC 6749 section 6). As at Entra, the old token goes on working beside the new one."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, value: str) -> RefreshToken:
        token = self.tenant.memory.refresh_tokens.get(value)
        if token is None:
            raise EntraError("invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
        issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.issued_at))
        if token.revoked_at is not None or token.used:
            message = (
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. The "
                f"user might have changed or reset their password. The grant was issued on '{issued}'."
            )
            raise EntraError("invalid_grant", 50173, message, suberror="bad_token")
        lifetime = self.tenant.registration.refresh_token_lifetime
        if token.issued_at + lifetime < time.time():
            message = (
                "The refresh token has expired or is invalid due to sign-in frequency checks by conditional "
                f"access. The token was issued on {issued} and the maximum allowed lifetime for this request "
                f"is {int(lifetime)}."
            )
            raise EntraError("invalid_grant", 70043, message, suberror="token_expired")
        self._check_demands(token)
        return token

    def _check_demands(self, token: RefreshToken) -> None:
        """Check that nothing demands a new sign-in.

        :raises EntraError: AADSTS50076, a sign-in with the error's claims is needed.
        """
        wanted = self.claims(token.claims)
        demand = token.demand
        for challenge in self.server.challenges():
            asked_in_vain = challenge.met_by(wanted) and not challenge.met_by(token.claims)
            if challenge.refresh == "interaction" and asked_in_vain:
                demand = challenge.claims
        if demand:
            message = (
                "Due to a configuration change made by your administrator, or because you moved to a new "
                f"location, you must use multi-factor authentication to access '{GRAPH_ID}'."
            )
            text = json.dumps(demand, separators=(",", ":"))
            raise EntraError("interaction_required", 50076, message, suberror="basic_action", claims=text)

    def _validate_token_scope(self, token: RefreshToken) -> None:
        # Authlib compares the scopes with those of the first sign-in (RFC 6749 section 6), Entra with everything that
        # the person has consented to.
        scopes = (self.request.payload.scope or "").split()
        self.check_scopes(scopes, self.person(token.person))

    def authenticate_user(self, token: RefreshToken) -> Person:
        return self.person(token.person)

    def generate_token(self, user: Person, scope: str, **_: Any) -> dict[str, Any]:
        token: RefreshToken = self.request.refresh_token
        scopes = scope.split()
        if "offline_access" not in scopes:
            scopes.append("offline_access")
        return self.tenant.issue(
            user,
            scopes,
            self.claims(token.claims),
            token.code,
            named_tenant(),
            client_info=self.wants_client_info(),
            more=self.of_sign_in(self.tenant.memory.codes[token.code]),
        )

    def revoke_old_credential(self, token: RefreshToken) -> None:
        token.used = self.tenant.registration.single_use_refresh_tokens


class AppGrant(ClientCredentialsGrant):
    """The client credentials grant (RFC 6749 section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]

    def validate_requested_scope(self) -> None:
        scope = self.request.payload.scope or ""
        if not scope.endswith("/.default"):
            message = (
                f"The provided value for scope {scope} is not valid. Client credential flows must have a scope "
                "value with /.default suffixed to the resource identifier (application ID URI)."
            )
            raise EntraError("invalid_scope", 1002012, message)

    def generate_token(self, **_: Any) -> dict[str, Any]:
        tenant: Tenant = self.server.tenant
        registration = tenant.registration
        if registration.single_tenant and named_tenant().lower() in SHARED:
            raise not_multitenant(registration.client_id)
        if not registration.service_principal:
            message = (
                f"The client application {registration.client_id} is missing service principal in the tenant "
                f"{tenant.addresses.tenant_id}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"
            )
            raise EntraError("unauthorized_client", 7000229, message)
        resource = (self.request.payload.scope or "").removesuffix("/.default")
        audience = audience_of(resource, tenant.addresses.back_url)
        if audience is None:
            message = (
                f"The sandbox has no API '{resource}', though Entra may. It has Microsoft Graph and '{ORDERS_URI}'."
            )
            raise EntraError("invalid_resource", 500011, message)
        return tenant.issue_to_app(named_tenant(), audience)

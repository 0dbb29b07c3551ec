"""The token endpoint: Authlib's OAuth 2.0 server with Entra's ways to authenticate and to fail.

RFC 6749 for the grants, RFC 7636 for PKCE, RFC 7523 for client assertions.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientMixin, InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Response, jsonify, request

from . import keys
from .errors import EntraError, translate
from .scopes import OIDC, canonical
from .tenant import ASSERTION_LIFETIME, CLOCK_SKEW, Code, RefreshToken, parse_claims

if TYPE_CHECKING:
    from .people import Person
    from .server import Sandbox

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Client(ClientMixin):
    """The app registration, as Authlib asks about it.

    Args:
        box: the sandbox, which holds the registration.
    """

    def __init__(self, box: Sandbox) -> None:
        self.box = box

    @property
    def client_id(self) -> str:
        return self.box.client_id

    def get_client_id(self) -> str:
        return self.box.client_id

    def get_default_redirect_uri(self) -> str | None:
        return next(iter(self.box.redirect_uris), None) if len(self.box.redirect_uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.box.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(client_secret.encode(), self.box.client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return True

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


class Server(AuthorizationServer):
    """Authlib's server, answering errors in Entra's words."""

    def handle_response(self, status_code: int, payload: Any, headers: Any) -> Response:
        if not isinstance(payload, dict):
            return Response(payload, status=status_code, headers=headers)
        response = jsonify(payload)
        response.status_code = status_code
        response.headers.update(dict(headers))
        return response

    def handle_error_response(self, oauth_request: Any, error: OAuth2Error) -> Response:
        entra = translate(error, oauth_request.payload.grant_type)
        response = self.handle_response(entra.status_code, entra.body(), {"Cache-Control": "no-store"})
        response.headers["x-ms-request-id"] = entra.trace_id
        return response


class EntraCodeChallenge(CodeChallenge):
    """Authlib's PKCE with Entra's numbers (RFC 7636 section 4.6)."""

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        try:
            super().validate_code_verifier(grant, result)
        except InvalidGrantError as error:
            message = "The Code_Verifier does not match the code_challenge supplied in the authorization request."
            raise EntraError("invalid_grant", 501481, message) from error
        except InvalidRequestError as error:
            challenged = grant.request.authorization_code.code_challenge
            number = 50148 if challenged else 501481
            message = (
                "The code_verifier does not match the code_challenge supplied in the authorization request for "
                f"PKCE. {error.description}"
            )
            raise EntraError("invalid_grant", number, message) from error


def _granted(box: Sandbox, text: str | None, person: Person) -> list[str]:
    """Check the scopes of a token request.

    Args:
        box: the sandbox.
        text: the request's ``scope``.
        person: whose consent it takes.

    Returns:
        The scopes, as the client wrote them.

    Raises:
        EntraError: AADSTS70011, no such scope; AADSTS65001, no consent.
    """
    scopes = (text or "").split()
    try:
        short = {canonical(scope, box.back_url) for scope in scopes}
    except ValueError as error:
        message = (
            "The provided request must include a 'scope' input parameter. The provided value for the input "
            f"parameter 'scope' is not valid. The scope {error} is not valid."
        )
        raise EntraError("invalid_scope", 70011, message) from error
    if not box.tenant.consented(person, short):
        message = (
            f"The user or administrator has not consented to use the application with ID '{box.client_id}' named "
            "'Sandbox app'. Send an interactive authorization request for this user and resource."
        )
        raise EntraError("invalid_grant", 65001, message, suberror="consent_required")
    return scopes


def _person(box: Sandbox, key: str) -> Person:
    """Somebody that a code or a refresh token is about.

    Raises:
        EntraError: AADSTS50034, no longer there.
    """
    try:
        return box.people[key]
    except KeyError:
        raise EntraError(
            "invalid_grant", 50034, "The user account does not exist in the directory.", suberror="bad_token"
        ) from None


def make_server(box: Sandbox) -> Server:
    """Put the OAuth 2.0 server together.

    Args:
        box: the sandbox.
    """
    tenant = box.tenant
    client = Client(box)

    def path_tenant() -> str:
        return (request.view_args or {})["name"]

    class CodeGrant(AuthorizationCodeGrant):
        """RFC 6749 section 4.1."""

        TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]

        def generate_authorization_code(self) -> str:
            return f"1.A{secrets.token_urlsafe(72)}"

        def save_authorization_code(self, code: str, oauth_request: Any) -> None:
            data = oauth_request.payload.data
            tenant.codes[code] = Code(
                value=code,
                client_id=oauth_request.client.client_id,
                person=oauth_request.user.key,
                redirect_uri=oauth_request.payload.redirect_uri,
                scopes=oauth_request.payload.scope.split(),
                nonce=data.get("nonce", ""),
                claims=parse_claims(data.get("claims")),
                code_challenge=data.get("code_challenge"),
                code_challenge_method=data.get("code_challenge_method"),
                issued_at=time.time(),
            )

        def query_authorization_code(self, value: str, client: Client) -> Code:
            code = tenant.codes.get(value)
            if code is None:
                raise EntraError("invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
            if code.used:
                # RFC 6749 section 4.1.2: what was got with it should end as well.
                for token in tenant.refresh_tokens.values():
                    if token.code == value and token.revoked_at is None:
                        token.revoked_at = time.time()
                message = "OAuth2 Authorization code was already redeemed, please retry with a new valid code."
                raise EntraError("invalid_grant", 54005, message)
            if code.issued_at + box.code_lifetime < time.time():
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
            return _person(box, code.person)

        def generate_token(self, user: Person, **_: Any) -> dict[str, Any]:
            code = self.request.authorization_code
            wanted = parse_claims(self.request.form.get("claims"))
            asked = self.request.form.get("scope")
            # Entra lets the redemption name the resource's scopes again, or others it has consent for.
            scopes = _granted(box, asked, user) if asked else code.scopes
            extra = [scope for scope in code.scopes if scope in OIDC and scope not in scopes]
            return tenant.issue(
                user,
                [*scopes, *extra],
                _merge(code.claims, wanted),
                code.value,
                path_tenant(),
                code.nonce,
                self.request.form.get("client_info") == "1",
            )

    class RefreshGrant(RefreshTokenGrant):
        """RFC 6749 section 6. As Entra has it, the old refresh token goes on working beside the new one."""

        TOKEN_ENDPOINT_AUTH_METHODS = ["entra"]
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, value: str) -> RefreshToken:
            token = tenant.refresh_tokens.get(value)
            if token is None:
                raise EntraError("invalid_grant", 9002313, "Invalid request. Request is malformed or invalid.")
            issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.issued_at))
            if token.revoked_at is not None or token.used:
                message = (
                    "The provided grant has expired due to it being revoked, a fresh auth token is needed. The "
                    f"user might have changed or reset their password. The grant was issued on '{issued}'."
                )
                raise EntraError("invalid_grant", 50173, message, suberror="bad_token")
            if token.issued_at + box.refresh_token_lifetime < time.time():
                message = (
                    "The refresh token has expired or is invalid due to sign-in frequency checks by conditional "
                    f"access. The token was issued on {issued} and the maximum allowed lifetime for this request "
                    f"is {int(box.refresh_token_lifetime)}."
                )
                raise EntraError("invalid_grant", 70043, message, suberror="token_expired")
            self._demand(token)
            return token

        def _demand(self, token: RefreshToken) -> None:
            """Answer that a person has to be there, if something asked for that."""
            wanted = _merge(token.claims, parse_claims(self.request.form.get("claims")))
            demand = token.demand
            for challenge in box.challenges():
                in_vain = challenge.met_by(wanted) and not challenge.met_by(token.claims)
                if challenge.refresh == "interaction" and in_vain:
                    demand = challenge.claims
            if demand:
                message = (
                    "Due to a configuration change made by your administrator, or because you moved to a new "
                    "location, you must use multi-factor authentication to access "
                    "'00000003-0000-0000-c000-000000000000'."
                )
                text = json.dumps(demand, separators=(",", ":"))
                raise EntraError("interaction_required", 50076, message, suberror="basic_action", claims=text)

        def _validate_token_scope(self, token: RefreshToken) -> None:
            # Authlib holds the request against the scopes of the first sign-in (RFC 6749 section 6).
            # Entra holds it against everything that the person has consented to.
            _granted(box, self.request.payload.scope, _person(box, token.person))

        def authenticate_user(self, token: RefreshToken) -> Person:
            return _person(box, token.person)

        def generate_token(self, user: Person, scope: str, **_: Any) -> dict[str, Any]:
            token = self.request.refresh_token
            scopes = scope.split()
            if "offline_access" not in scopes:
                scopes.append("offline_access")
            return tenant.issue(
                user,
                scopes,
                _merge(token.claims, parse_claims(self.request.form.get("claims"))),
                token.code,
                path_tenant(),
                client_info=self.request.form.get("client_info") == "1",
            )

        def revoke_old_credential(self, token: RefreshToken) -> None:
            token.used = box.single_use_refresh_tokens

    class AppGrant(ClientCredentialsGrant):
        """RFC 6749 section 4.4."""

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
            return tenant.app_token(path_tenant())

    server = Server(query_client=lambda client_id: client if client_id == box.client_id else None)
    server.register_client_auth_method("entra", lambda query, req: authenticate(box, query, req))
    server.register_grant(CodeGrant, [EntraCodeChallenge(required=False)])
    server.register_grant(RefreshGrant)
    server.register_grant(AppGrant)
    # The grants make the tokens themselves, and the tenant keeps them.
    server.save_token = lambda token, oauth_request: None
    return server


def _merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The access token's part of two claims requests together."""
    parts = [claims.get("access_token") or {} for claims in (one, other)]
    return {"access_token": {**parts[0], **parts[1]}}


def authenticate(box: Sandbox, query_client: Any, oauth_request: Any) -> Client:
    """Authenticate the client of a token request (RFC 6749 section 2.3, RFC 7523 section 2.2).

    Authlib's own methods say no more than "no"; Entra says what is wrong.

    Args:
        box: the sandbox.
        query_client: gives the client of an id, or None.
        oauth_request: Authlib's request.

    Returns:
        The client.

    Raises:
        EntraError: who it is cannot be told.
    """
    form = oauth_request.form
    client_id, secret = form.get("client_id"), form.get("client_secret")
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        # RFC 6749 section 2.3.1: both parts are form-encoded first.
        client_id, secret = unquote_plus(basic.username or ""), unquote_plus(basic.password or "")
    assertion = form.get("client_assertion")
    if not client_id and assertion:
        client_id = _peek(assertion)[1].get("sub")
    if not client_id:
        message = "The request body must contain the following parameter: 'client_id'."
        raise EntraError("invalid_request", 900144, message)
    client = query_client(client_id)
    if client is None:
        raise unknown_client(client_id)
    if box.public_client:
        if secret or assertion:
            message = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."
            raise EntraError("invalid_client", 700025, message, 401)
        return client
    if assertion:
        if form.get("client_assertion_type") != JWT_BEARER:
            message = "The request body must contain the following parameter: 'client_assertion_type'."
            raise EntraError("invalid_request", 900144, message)
        _check_assertion(box, assertion)
        return client
    if not secret:
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise EntraError("invalid_client", 7000218, message, 401)
    if not client.check_client_secret(secret) or box.client_secret_state == "revoked":
        message = (
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
            f"value, not the client secret ID, for a secret added to app '{box.client_id}'."
        )
        raise EntraError("invalid_client", 7000215, message, 401)
    if box.client_secret_state == "expired":
        message = (
            f"The provided client secret keys for app '{box.client_id}' are expired. Visit the Azure portal to "
            "create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate "
            "credentials for added security: https://aka.ms/certCreds."
        )
        raise EntraError("invalid_client", 7000222, message, 401)
    return client


def unknown_client(client_id: str) -> EntraError:
    """The error about a client that the tenant does not know."""
    message = (
        f"Application with identifier '{client_id}' was not found in the directory 'Contoso'. This can happen if "
        "the application has not been installed by the administrator of the tenant or consented to by any user in "
        "the tenant. You may have sent your authentication request to the wrong tenant."
    )
    return EntraError("unauthorized_client", 700016, message)


def _peek(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return keys.peek(assertion)
    except ValueError as error:
        message = "Client assertion is malformed: it is not a JSON Web Token."
        raise EntraError("invalid_client", 50027, message, 401) from error


def _check_assertion(box: Sandbox, assertion: str) -> None:
    """Check a client assertion by a registered certificate, or of a federated credential.

    That the same ``jti`` comes again is no mistake: MSAL uses an assertion for as long as it lives,
    and Entra lets it.

    Raises:
        EntraError: it does not hold.
    """
    header, claims = _peek(assertion)
    if claims.get("iss") != box.client_id:
        _check_federation(box, assertion, claims)
        return
    thumbprint = header.get("x5t#S256") or header.get("x5t")
    # MSAL leaves the padding on, against RFC 7515 section 2; Entra does not mind.
    certificate = box.tenant.certificates.get(str(thumbprint).rstrip("="))
    if certificate is None:
        message = (
            "The certificate with identifier used to sign the client assertion is not registered on application. "
            f"[Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
        )
        raise EntraError("invalid_client", 700027, message, 401)
    try:
        keys.verify(assertion, certificate, ("RS256", "PS256"))
    except ValueError as error:
        message = "Client assertion failed signature validation. [Reason - The provided signature value is wrong.]"
        raise EntraError("invalid_client", 700027, message, 401) from error
    if claims.get("sub") != box.client_id:
        message = "Client assertion contains an invalid subject: 'sub' must equal 'iss'."
        raise EntraError("invalid_client", 700021, message, 401)
    if claims.get("aud") not in _audiences(box):
        message = f"Client assertion audience claim does not match Realm issuer: '{claims.get('aud')}'."
        raise EntraError("invalid_client", 700023, message, 401)
    if not claims.get("jti"):
        raise EntraError("invalid_client", 50027, "Client assertion has no 'jti'.", 401)
    _check_times(claims, ASSERTION_LIFETIME)


def _audiences(box: Sandbox) -> set[str]:
    """The audiences of a client assertion: the token endpoint, by the name it was called, and issuer."""
    name = (request.view_args or {})["name"]
    names = {name, box.tenant.name_in_urls(name), box.tenant_id}
    return {f"{box.back_url}/{each}{end}" for each in names for end in ("/oauth2/v2.0/token", "/v2.0")}


def _check_times(claims: dict[str, Any], longest: float | None) -> None:
    """Check ``exp``, ``nbf`` and ``iat``.

    Args:
        claims: the assertion's claims.
        longest: seconds that it may live, or None for any time.

    Raises:
        EntraError: AADSTS700024, out of its time.
    """
    now = time.time()
    times = {name: claims.get(name) for name in ("exp", "nbf", "iat") if claims.get(name) is not None}
    sound = "exp" in times and all(isinstance(value, (int, float)) for value in times.values())
    if sound:
        begin = times.get("nbf", times.get("iat", now))
        sound = begin <= now + CLOCK_SKEW and now - CLOCK_SKEW < times["exp"]
        sound = sound and (longest is None or times["exp"] - begin <= longest)
    if not sound:
        message = "Client assertion is not within its valid time range. Expiry time of assertion is " + (
            f"{claims.get('exp')}, current time is {now:.0f}."
        )
        raise EntraError("invalid_client", 700024, message, 401)


def _check_federation(box: Sandbox, assertion: str, claims: dict[str, Any]) -> None:
    """Check the token of another issuer against the federated credentials.

    https://learn.microsoft.com/entra/workload-id/workload-identity-federation

    Raises:
        EntraError: it matches none of them, or does not hold.
    """
    issuers = [entry for entry in box.tenant.federations if entry[0] == claims.get("iss")]
    if not issuers:
        issuer = claims.get("iss")
        message = f"No matching federated identity record found for presented assertion issuer '{issuer}'."
        raise EntraError("invalid_client", 70021, message, 401)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    for _, subject, expected, public_pem in issuers:
        if subject == claims.get("sub") and expected in audiences:
            try:
                keys.verify(assertion, public_pem)
            except ValueError as error:
                message = "Client assertion failed signature validation."
                raise EntraError("invalid_client", 700027, message, 401) from error
            _check_times(claims, None)
            return
    message = (
        f"No matching federated identity record found for presented assertion subject '{claims.get('sub')}'. Check "
        "your federated identity credential Subject, Audience and Issuer against the presented assertion."
    )
    raise EntraError("invalid_client", 700213, message, 401)

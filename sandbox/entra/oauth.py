"""The tenant's OAuth 2.0 server: Authlib's, with Entra's grants, client authentication and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientMixin
from flask import Response, jsonify, request

from ..faults import Challenge
from .addresses import named_tenant
from .credentials import authenticate
from .errors import translate
from .grants import AppGrant, CodeGrant, EntraCodeChallenge, RefreshGrant
from .on_behalf_of import OnBehalfOfGrant
from .registration import Registration
from .tenant import Tenant


class Client(ClientMixin):
    """The app registration, as Authlib asks about it.

    :param registration: the registration.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    @property
    def client_id(self) -> str:
        return self._registration.client_id

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        uris = self._registration.redirect_uris
        return next(iter(uris)) if len(uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self._registration.redirect_uris

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return True

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


class Server(AuthorizationServer):
    """The server. The grants find the tenant and the claims challenges here.

    :param tenant: the tenant.
    :param challenges: a function that returns the claims challenges that Graph makes at present.
    """

    def __init__(self, tenant: Tenant, challenges: Callable[[], list[Challenge]]) -> None:
        super().__init__()
        self.tenant = tenant
        self.challenges = challenges
        self._client = Client(tenant.registration)
        self.register_client_auth_method("entra", self._authenticate)
        self.register_grant(CodeGrant, [EntraCodeChallenge(required=False)])
        self.register_grant(RefreshGrant)
        self.register_grant(AppGrant)
        self.register_grant(OnBehalfOfGrant)

    def query_client(self, client_id: str) -> Client | None:
        return self._client if client_id == self._client.client_id else None

    def save_token(self, token: dict[str, Any], oauth_request: Any) -> None:
        """Do nothing: the tenant made the tokens and keeps them."""

    def _authenticate(self, query_client: Callable[[str], Client | None], oauth_request: Any) -> Client:
        authenticate(self.tenant.registration, oauth_request.form, request.authorization, self._audiences())
        return self._client

    def _audiences(self) -> set[str]:
        """The audiences that a client assertion may have: the token endpoint, by the name it was called, or the issuer."""
        addresses, name = self.tenant.addresses, named_tenant()
        names = {name, addresses.name_in_urls(name), addresses.tenant_id}
        return {f"{addresses.authority(each)}{end}" for each in names for end in ("/oauth2/v2.0/token", "/v2.0")}

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

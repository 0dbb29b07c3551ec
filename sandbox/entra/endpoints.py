"""The tenant's endpoints that clients call over TLS: discovery, keys, token."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Blueprint, Response, jsonify, request

from . import discovery
from .addresses import only_over
from .errors import EntraError
from .oauth import Server
from .tenant import Tenant


class Endpoints:
    """The three endpoints.

    :param tenant: the tenant.
    :param server: its OAuth 2.0 server.
    """

    def __init__(self, tenant: Tenant, server: Server) -> None:
        self._tenant = tenant
        self._server = server

    def blueprint(self) -> Blueprint:
        """The routes, for Flask."""
        routes = Blueprint("tenant", __name__)
        routes.before_request(only_over("https"))
        routes.after_request(_headers)
        routes.register_error_handler(EntraError, _refuse)
        routes.add_url_rule("/<name>/v2.0/.well-known/openid-configuration", view_func=self.metadata)
        routes.add_url_rule("/<name>/.well-known/openid-configuration", view_func=self.metadata)
        routes.add_url_rule("/<name>/discovery/v2.0/keys", view_func=self.keys)
        routes.add_url_rule("/<name>/oauth2/v2.0/token", view_func=self.token, methods=["GET", "POST"])
        return routes

    def metadata(self, name: str) -> Response:
        return _document(discovery.metadata(self._tenant.addresses, name, request.args.get("appid")))

    def keys(self, name: str) -> Response:
        keys = self._tenant.published_keys(request.args.get("appid"))
        return _document(discovery.key_set(self._tenant.addresses, keys, name))

    def token(self, name: str) -> Response:
        self._tenant.addresses.id_of(name)
        if request.method == "GET":
            message = "The endpoint only accepts POST requests. Received a GET request."
            raise EntraError("invalid_request", 900561, message)
        # One request at a time: a code that arrives twice at once must not be redeemed twice.
        with self._tenant.memory.lock:
            answer: Response = self._server.create_token_response()
        return answer


def _document(content: dict[str, Any]) -> Response:
    answer = jsonify(content)
    answer.headers["Cache-Control"] = "max-age=86400, private"
    return answer


def _refuse(error: EntraError) -> tuple[Response, int]:
    return jsonify(error.body()), error.status_code


def _headers(response: Response) -> Response:
    """Add the headers that every answer of Entra has."""
    response.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
    response.headers["x-ms-ests-server"] = "2.1.0 - sandbox"
    response.headers.setdefault("Cache-Control", "no-store, no-cache")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

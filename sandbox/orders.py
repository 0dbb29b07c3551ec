"""A second API beside Graph, as a company writes one of its own: the orders of the person who signed in.

Its access tokens have an audience of their own (`entra.scopes.ORDERS_URI`); a token for Graph is refused. RFC 6750.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, jsonify, request

from .entra.addresses import only_over
from .entra.scopes import ORDERS_URI
from .entra.tenant import Tenant

PATH = "/orders/v1"
MINE = ("Two chairs", "A lamp")


class Orders:
    """The API's one endpoint.

    :param tenant: the tenant whose access tokens it takes.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def blueprint(self) -> Blueprint:
        """The route, for Flask."""
        routes = Blueprint("orders", __name__)
        routes.before_request(only_over("https"))
        routes.add_url_rule(f"{PATH}/mine", view_func=self.mine)
        return routes

    def mine(self) -> Response:
        claims = self._claims()
        if claims is None:
            return _refuse(401, "invalid_token")
        if "Orders.Read" not in str(claims.get("scp", "")).split():
            return _refuse(403, "insufficient_scope")
        return jsonify({"owner": claims.get("oid"), "value": [{"item": item} for item in MINE]})

    def _claims(self) -> dict[str, Any] | None:
        """The claims of the request's access token; None when it is not valid here and now."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = self._tenant.keys.verify(token.strip())
        except ValueError:
            return None
        now = time.time()
        valid = kind.lower() == "bearer" and claims.get("aud") == ORDERS_URI
        return claims if valid and claims.get("nbf", 0) <= now < claims.get("exp", 0) else None


def _refuse(status: int, error: str) -> Response:
    response = jsonify({"error": {"code": error, "message": "The token is not one for this."}})
    response.status_code = status
    response.headers["WWW-Authenticate"] = f'Bearer realm="{ORDERS_URI}", error="{error}"'
    return response

"""Access: from a request's token to the person whom it is about, and what every endpoint needs besides.

https://learn.microsoft.com/graph/permissions-reference
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from ..entra.scopes import GRAPH_ID
from ..entra.tenant import Tenant
from ..people import Person
from .answers import GraphError, version


@dataclass(frozen=True)
class Route:
    """An endpoint.

    :ivar path: Flask's rule for the path, below the version.
    :ivar view: the function that answers.
    :ivar methods: the HTTP methods that it takes.
    """

    path: str
    view: Callable[..., Response]
    methods: tuple[str, ...] = ("GET",)


class Access:
    """Finds out whom a request is for.

    :param tenant: the tenant whose people it knows and whose access tokens it takes.
    :ivar tenant: the same.
    :ivar lock: to be held while something is changed, because requests arrive on several threads.
    """

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.lock = threading.RLock()

    @property
    def people(self) -> list[Person]:
        """Everybody in the tenant."""
        return list(self.tenant.people.values())

    @property
    def url(self) -> str:
        """The URL of Graph, with the version that the current request has."""
        return f"{self.tenant.addresses.back_url}/{version()}"

    def context(self, what: str) -> str:
        """The `@odata.context` of an answer.

        :param what: the part behind `#`.
        """
        return f"{self.url}/$metadata#{what}"

    def person(self, *allowed: str) -> Person:
        """The person whom the request's access token is about.

        :param allowed: the scopes of which the token must have one.
        :return: the person.
        :raises GraphError: there is no valid token, or nobody whom it is about.
        """
        claims = self.claims()
        if claims.get("idtyp") == "app":
            message = "/me request is only valid with delegated authentication flow."
            raise GraphError(400, "BadRequest", message)
        if not set(allowed) & set(str(claims.get("scp", "")).split()):
            message = "Insufficient privileges to complete the operation."
            raise GraphError(403, "Authorization_RequestDenied", message)
        person = next((each for each in self.people if each.oid == claims.get("oid")), None)
        if person is None:
            raise not_there(str(claims.get("oid")))
        if person.throttled is not None:
            message = "Too many requests. Please try again later."
            raise GraphError(429, "TooManyRequests", message, {"Retry-After": str(person.throttled)})
        return person

    def claims(self) -> dict[str, Any]:
        """The claims of the request's access token.

        :raises GraphError: there is no token, or it is not valid here and now.
        """
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise self._unauthenticated("Access token is empty.")
        try:
            claims = self.tenant.keys.verify(token.strip())
        except ValueError as error:
            message = "Invalid JWT access token."
            if token.count(".") != 2:
                message = "IDX14100: JWT is not well formed, there are no dots (.)."
            raise self._unauthenticated(message) from error
        if claims.get("aud") not in (GRAPH_ID, "https://graph.microsoft.com"):
            raise self._unauthenticated("Access token validation failure. Invalid audience.")
        if not claims.get("nbf", 0) <= time.time() < claims.get("exp", 0):
            raise self._unauthenticated("Lifetime validation failed, the token is expired.")
        return claims

    def _unauthenticated(self, message: str) -> GraphError:
        url = self.tenant.addresses.authorize_url
        challenge = f'Bearer realm="", authorization_uri="{url}", client_id="{GRAPH_ID}"'
        return GraphError(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": challenge})


def not_there(name: str) -> GraphError:
    """The error of an object that the directory does not have."""
    message = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    return GraphError(404, "Request_ResourceNotFound", message)

"""The names and URLs of the tenant, and the channel on which each URL answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import abort, request

from ..people import DOMAIN, Person
from .errors import EntraError

CONSUMERS_ID = "9188040d-6c67-4c5b-b112-36a304b66dad"  # the tenant of all personal Microsoft accounts
SHARED = ("common", "organizations", "consumers")  # the names in a URL that stand for several tenants


@dataclass(frozen=True)
class Addresses:
    """The tenant's names and URLs.

    :ivar tenant_id: the tenant's GUID.
    :ivar front_url: `http://localhost:PORT` of the pages that a browser visits.
    :ivar back_url: `https://localhost:PORT` of discovery, keys, tokens and Graph.
    """

    tenant_id: str
    front_url: str
    back_url: str

    def id_of(self, name: str, person: Person | None = None) -> str:
        """The GUID of the tenant that a URL names.

        :param name: the name in the URL.
        :param person: the person who signed in; a shared name then means this person's home tenant.
        :return: the GUID, or the placeholder `{tenantid}` for a shared name without a person.
        :raises EntraError: AADSTS90002, there is no such tenant.
        """
        lowered = name.lower()
        if lowered in SHARED:
            if person is not None:
                return person.tenant_id or self.tenant_id
            return CONSUMERS_ID if lowered == "consumers" else "{tenantid}"
        if lowered in (self.tenant_id, DOMAIN):
            return self.tenant_id
        message = (
            f"Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into "
            "the correct cloud. Check with your subscription administrator, this may happen if there are no "
            "active subscriptions for the tenant."
        )
        raise EntraError("invalid_tenant", 90002, message)

    def name_in_urls(self, name: str) -> str:
        """The tenant's name in the URLs that discovery gives: a shared name stays, any other becomes the GUID."""
        return name.lower() if name.lower() in SHARED else self.id_of(name)

    def authority(self, tenant: str | None = None) -> str:
        """The authority URL.

        :param tenant: the tenant's name, such as `common` or its domain name; None for its GUID.
        :return: the URL.
        """
        return f"{self.back_url}/{tenant or self.tenant_id}"

    def issuer(self, tenant_id: str) -> str:
        """The issuer of a tenant's tokens."""
        return f"{self.back_url}/{tenant_id}/v2.0"

    @property
    def authorize_url(self) -> str:
        """The authorization endpoint for people of any tenant, as Graph names it in its challenges."""
        return f"{self.front_url}/common/oauth2/v2.0/authorize"


def named_tenant() -> str:
    """The tenant's name in the path of the current request."""
    name: str = (request.view_args or {})["name"]
    return name


def only_over(scheme: str) -> Callable[[], None]:
    """A hook that runs before a request, and answers 404 to one that came over the other channel.

    :param scheme: `http` for pages, because a browser would warn about the certificate of the other channel;
        `https` for everything else.
    :return: the function for `Blueprint.before_request`.
    """

    def refuse_the_other() -> None:
        if request.scheme != scheme:
            abort(404)

    return refuse_the_other

"""People: the one who is signed in, the others, and who is in which group; and the app registration."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, request

from ..people import Person
from .access import Access, Route, not_there
from .answers import GraphError, answer, nothing_more
from .bodies import Unfit, json_body
from .options import check_options, chosen, page, selected, wants_count
from .profile_fields import ADMINISTRATORS, LONGEST, OWN, PERSON, READ_ONLY, SITE, USER

READ_ME = ("User.Read", "User.ReadWrite")  # either lets an app read the person who signed in
GROUPS_AT_ONCE = 20  # that a request may ask about


class Users:
    """The endpoints of people.

    :param access: the access to Graph.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("/me", self.me),
            Route("/me", self.update, ("PATCH",)),
            Route("/me/photo/$value", self.photo),
            Route("/me/photos/<size>/$value", self.photo),
            Route("/me/checkMemberGroups", self.check_member_groups, ("POST",)),
            Route("/me/people", self.people),
            Route("/users", self.users),
            Route("/applications(appId='<app_id>')", self.application),
        ]

    def me(self) -> Response:
        """The person who is signed in. https://learn.microsoft.com/graph/api/user-get"""
        person = self._access.person(*READ_ME)
        check_options("$select")
        asked = request.args.get("$select")
        context = self._access.context(f"users{f'({asked})' if asked else ''}/$entity")
        return answer({"@odata.context": context, **_user(person, _chosen_of_users([person]))})

    def update(self) -> Response:
        """Change the profile. All of it changes, or, with one field that does not do, nothing.

        Which fields people may change is for administrators to choose. Here it is all that describes a person.
        https://learn.microsoft.com/graph/api/user-update
        """
        person = self._access.person("User.ReadWrite")
        check_options()
        given = {name: value for name, value in json_body().items() if "@" not in name}
        for name, value in given.items():
            _check_field(name, value)
        if 0 < len(SITE.keys() & given.keys()) < len(given):
            message = f"These properties need a request of their own: {', '.join(sorted(SITE.keys() & given.keys()))}."
            raise GraphError(400, "Request_BadRequest", message)
        with self._access.lock:
            for name, value in given.items():
                (person.profile if name in person.profile else person.further)[name] = value
        return nothing_more(204)

    def photo(self, size: str = "") -> Response:
        """The person's photo. https://learn.microsoft.com/graph/api/profilephoto-get"""
        person = self._access.person(*READ_ME)
        if person.photo is None:
            message = "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown."
            raise GraphError(404, "ImageNotFound", message)
        return Response(person.photo, content_type=person.photo_type)

    def users(self) -> Response:
        """Everybody. https://learn.microsoft.com/graph/api/user-list and https://learn.microsoft.com/graph/aad-advanced-queries"""
        self._access.person("User.ReadBasic.All")
        advanced = request.headers.get("ConsistencyLevel", "").lower() == "eventual"
        if "$search" in request.args or (wants_count() and not advanced):
            name = "$search" if "$search" in request.args else "$count"
            message = f"Request with {name} query parameter only works through MSGraph with a special request header: "
            message += "'ConsistencyLevel: eventual'"
            if advanced:
                message = "The sandbox has no query option '$search' here. Microsoft Graph may have it."
            raise GraphError(400, "Request_UnsupportedQuery", message)
        check_options("$select", "$top", "$count", "$skiptoken")
        everybody = self._access.people
        names = _chosen_of_users(everybody)

        def read(start: int, end: int) -> list[dict[str, Any]]:
            return [_user(person, names) for person in everybody[start:end]]

        body = page(self._access, len(everybody), read, size=100, largest=999, option="$skiptoken")
        return answer({"@odata.context": self._access.context("users"), **body})

    def people(self) -> Response:
        """The people whom the person works with: here everybody else. https://learn.microsoft.com/graph/api/user-list-people"""
        me = self._access.person("People.Read")
        check_options("$select", "$top", "$skip", "$count")
        others = [person for person in self._access.people if person.oid != me.oid]
        names = chosen(PERSON, "person")

        def read(start: int, end: int) -> list[dict[str, Any]]:
            return [selected(_relevant(person), names) for person in others[start:end]]

        context = self._access.context(f"users('{me.oid}')/people")
        return answer({"@odata.context": context, **page(self._access, len(others), read)})

    def check_member_groups(self) -> Response:
        """Those of the groups asked about in which the person is.

        https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups
        """
        person = self._access.person(*READ_ME)
        asked = json_body().get("groupIds")
        if not isinstance(asked, list) or not asked:
            raise GraphError(400, "BadRequest", "The groupIds parameter is missing or is not a collection.")
        if len(asked) > GROUPS_AT_ONCE:
            raise GraphError(400, "Request_BadRequest", f"The maximum number of groupIds is {GROUPS_AT_ONCE}.")
        for each in asked:
            try:
                uuid.UUID(each if isinstance(each, str) else "")
            except ValueError:
                raise GraphError(400, "Request_BadRequest", f"Invalid GUID:{each}") from None
        context = self._access.context("Collection(Edm.String)")
        return answer({"@odata.context": context, "value": [each for each in asked if each.lower() in person.groups]})

    def application(self, app_id: str) -> Response:
        """The app registration, as far as it says who may do what. For the app itself, with a permission of its own.

        https://learn.microsoft.com/graph/api/application-get
        """
        claims, registration = self._access.claims(), self._access.tenant.registration
        if claims.get("idtyp") != "app" or not registration.may_read_applications:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        if app_id != registration.client_id:
            raise not_there(app_id)
        whole = {
            "appId": app_id,
            "appRoles": [{"value": value, "isEnabled": True} for value in sorted(registration.app_roles)],
            "groupMembershipClaims": "SecurityGroup" if registration.group_claims else None,
        }
        names = [name.strip() for name in request.args.get("$select", "").split(",") if name.strip()]
        return answer({"@odata.context": self._access.context("applications/$entity"), **selected(whole, names)})


def _chosen_of_users(people: list[Person]) -> list[str]:
    """The fields that the request asks for about people; a test may give a person fields of its own."""
    own = {name for person in people for name in (*person.profile, *person.further)}
    return chosen({*USER, *own}, "user")


def _user(person: Person, names: list[str]) -> dict[str, Any]:
    return selected({**person.further, **person.profile}, names) if names else dict(person.profile)


def _check_field(name: str, value: Any) -> None:
    """Hold a field of a profile against what Graph takes.

    :raises GraphError: it is not one, or the value is not one for it.
    """
    if name in ADMINISTRATORS:
        raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    message = f"Property '{name}' does not exist as a declared property or extension property."
    if name in READ_ONLY:
        message = f"Property '{name}' is read-only and cannot be set."
    form = {**OWN, **SITE}.get(name)
    if form is None:
        raise GraphError(400, "Request_BadRequest", message)
    try:
        form(name, value)
        texts = value if isinstance(value, list) else [value or ""]
        too_long = any(len(each) > LONGEST.get(name, 1024) for each in texts)
        if too_long or (name == "displayName" and not value) or (name == "businessPhones" and len(texts) > 1):
            raise Unfit(f"Invalid value specified for property '{name}' of resource 'User'.")
    except Unfit as error:
        raise GraphError(400, "Request_BadRequest", str(error)) from error


def _relevant(person: Person) -> dict[str, Any]:
    """A person as `/me/people` has it."""
    profile = {**dict.fromkeys(PERSON), **person.further, **person.profile}
    address = {"address": person.profile.get("mail"), "relevanceScore": 8.0, "selectionLikelihood": "notSpecified"}
    whole = {
        **profile,
        "isFavorite": False,
        "scoredEmailAddresses": [address],
        "phones": [{"type": "business", "number": each} for each in profile["businessPhones"] or ()],
        "postalAddresses": [],
        "websites": [],
        "personType": {"class": "Person", "subclass": "OrganizationUser"},
    }
    return {name: whole[name] for name in PERSON}

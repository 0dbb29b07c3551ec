"""Microsoft Graph v1.0, as far as an app needs it that shows the person who signed in.

https://learn.microsoft.com/graph/api/user-get and https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

import datetime
import json
import time
import uuid
from typing import Any

from flask import Blueprint, Response, request

from .entra.addresses import only_over
from .entra.scopes import GRAPH_ID
from .entra.tenant import Tenant
from .people import Person

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
READ_ME = {"User.Read", "User.ReadWrite"}  # either lets an app read the person who signed in
READ_ALL = {"User.ReadBasic.All"}  # lets an app read everybody
READ_MAIL = {"Mail.Read"}  # lets an app read the mail of the person who signed in
GROUPS_AT_ONCE = 20  # that a request may ask about
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
KNOWN = ("me", "me/photo/$value", "me/messages", "me/checkMemberGroups", "users")  # paths of the endpoints below
SUBJECTS = ("Quarterly figures", "Lunch on Friday?")  # of everybody's mail


class GraphError(Exception):
    """An error that Graph answers.

    :param status: the HTTP status.
    :param code: Graph's error code.
    :param message: its message.
    :param headers: further headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


class Graph:
    """Graph's endpoints.

    :param tenant: the tenant whose people it knows and whose access tokens it takes.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def blueprint(self) -> Blueprint:
        """The routes, for Flask."""
        routes = Blueprint("graph", __name__, url_prefix="/v1.0")
        routes.before_request(only_over("https"))
        routes.after_request(_headers)
        routes.register_error_handler(GraphError, self._refuse)
        routes.add_url_rule("/me", view_func=self.me)
        routes.add_url_rule("/me/photo/$value", view_func=self.photo)
        routes.add_url_rule("/me/photos/<size>/$value", view_func=self.photo)
        routes.add_url_rule("/me/messages", view_func=self.messages)
        routes.add_url_rule("/me/checkMemberGroups", view_func=self.check_member_groups, methods=["POST"])
        routes.add_url_rule("/users", view_func=self.users)
        routes.add_url_rule("/applications(appId='<app_id>')", view_func=self.application)
        routes.add_url_rule("/<path:anything>", view_func=self.nothing, methods=METHODS)
        return routes

    def me(self) -> Response:
        person = self._caller(READ_ME)
        _check_options("$select")
        chosen = request.args.get("$select")
        return _answer(
            {
                "@odata.context": f"{self._context}{f'({chosen})' if chosen else ''}/$entity",
                **_selected(person.profile),
            }
        )

    def photo(self, size: str = "") -> Response:
        person = self._caller(READ_ME)
        if person.photo is None:
            message = "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown."
            raise GraphError(404, "ImageNotFound", message)
        return Response(person.photo, content_type=person.photo_type)

    def messages(self) -> Response:
        person = self._caller(READ_MAIL)
        _check_options("$select", "$top")
        mails = [{"id": str(number), "subject": subject} for number, subject in enumerate(SUBJECTS, 1)]
        value = [{"id": mail["id"], **_selected(mail)} for mail in mails[: _top()]]
        return _answer({"@odata.context": f"{self._context}('{person.oid}')/messages", "value": value})

    def users(self) -> Response:
        self._caller(READ_ALL)
        _check_options("$select", "$top")
        everybody = [_selected(person.profile) for person in list(self._tenant.people.values())[: _top()]]
        return _answer({"@odata.context": self._context, "value": everybody})

    def check_member_groups(self) -> Response:
        """Those of the groups asked about in which the person is.

        https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups
        """
        person = self._caller(READ_ME)
        body = request.get_json(silent=True)
        asked = body.get("groupIds") if isinstance(body, dict) else None
        if not isinstance(asked, list) or not asked:
            raise GraphError(400, "BadRequest", "The groupIds parameter is missing or is not a collection.")
        if len(asked) > GROUPS_AT_ONCE:
            raise GraphError(400, "Request_BadRequest", f"The maximum number of groupIds is {GROUPS_AT_ONCE}.")
        for each in asked:
            try:
                uuid.UUID(str(each))
            except ValueError:
                raise GraphError(400, "Request_BadRequest", f"Invalid GUID:{each}") from None
        context = f"{self._tenant.addresses.back_url}/v1.0/$metadata#Collection(Edm.String)"
        return _answer({"@odata.context": context, "value": [each for each in asked if each.lower() in person.groups]})

    def application(self, app_id: str) -> Response:
        """The app registration, as far as it says who may do what. For the app itself, with a permission of its own.

        https://learn.microsoft.com/graph/api/application-get
        """
        claims, registration = self._claims(), self._tenant.registration
        if claims.get("idtyp") != "app" or not registration.may_read_applications:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        if app_id != registration.client_id:
            message = (
                f"Resource '{app_id}' does not exist or one of its queried reference-property objects are not present."
            )
            raise GraphError(404, "Request_ResourceNotFound", message)
        whole = {
            "appId": app_id,
            "appRoles": [{"value": value, "isEnabled": True} for value in sorted(registration.app_roles)],
            "groupMembershipClaims": "SecurityGroup" if registration.group_claims else None,
        }
        context = f"{self._tenant.addresses.back_url}/v1.0/$metadata#applications/$entity"
        return _answer({"@odata.context": context, **_selected(whole)})

    def nothing(self, anything: str) -> Response:
        if anything in KNOWN:  # by another method than those that it has
            raise GraphError(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
        message = f"Resource not found for the segment '{anything.split('/')[0]}'."
        raise GraphError(400, "BadRequest", message)

    @property
    def _context(self) -> str:
        return f"{self._tenant.addresses.back_url}/v1.0/$metadata#users"

    def _caller(self, allowed: set[str]) -> Person:
        """The person whom the request's access token is about.

        :param allowed: the scopes of which the token must have one.
        :return: the person.
        :raises GraphError: there is no valid token, or nobody whom it is about.
        """
        claims = self._claims()
        if claims.get("idtyp") == "app":
            message = "/me request is only valid with delegated authentication flow."
            raise GraphError(400, "BadRequest", message)
        if not allowed & set(str(claims.get("scp", "")).split()):
            message = "Insufficient privileges to complete the operation."
            raise GraphError(403, "Authorization_RequestDenied", message)
        person = next((each for each in list(self._tenant.people.values()) if each.oid == claims.get("oid")), None)
        if person is None:
            message = f"Resource '{claims.get('oid')}' does not exist or one of its queried reference-property "
            raise GraphError(404, "Request_ResourceNotFound", f"{message}objects are not present.")
        if person.throttled is not None:
            message = "Too many requests. Please try again later."
            raise GraphError(429, "TooManyRequests", message, {"Retry-After": str(person.throttled)})
        return person

    def _claims(self) -> dict[str, Any]:
        """The claims of the request's access token.

        :raises GraphError: there is no token, or it is not valid here and now.
        """
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise GraphError(401, "InvalidAuthenticationToken", "Access token is empty.")
        try:
            claims = self._tenant.keys.verify(token.strip())
        except ValueError as error:
            message = "Invalid JWT access token."
            if token.count(".") != 2:
                message = "IDX14100: JWT is not well formed, there are no dots (.)."
            raise GraphError(401, "InvalidAuthenticationToken", message) from error
        if claims.get("aud") not in (GRAPH_ID, "https://graph.microsoft.com"):
            raise GraphError(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
        if not claims.get("nbf", 0) <= time.time() < claims.get("exp", 0):
            message = "Lifetime validation failed, the token is expired."
            raise GraphError(401, "InvalidAuthenticationToken", message)
        return claims

    def _refuse(self, error: GraphError) -> Response:
        """Answer an error."""
        own, theirs = _request_ids()
        date = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}"
        inner = {"date": date, "request-id": own, "client-request-id": theirs}
        response = _answer({"error": {"code": error.code, "message": str(error), "innerError": inner}}, error.status)
        response.headers["request-id"], response.headers["client-request-id"] = own, theirs
        response.headers.update(error.headers)
        if error.status == 401:
            url = self._tenant.addresses.authorize_url
            response.headers["WWW-Authenticate"] = f'Bearer realm="", authorization_uri="{url}", client_id="{GRAPH_ID}"'
        return response


def _answer(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, content_type=JSON)


def _selected(profile: dict[str, Any]) -> dict[str, Any]:
    """The fields that `$select` names, or all of them."""
    names = [name.strip() for name in request.args.get("$select", "").split(",") if name.strip()]
    return {name: profile.get(name) for name in names} if names else profile


def _check_options(*known: str) -> None:
    """Refuse a query option that the sandbox does not have, which Graph may have.

    :raises GraphError: there is one.
    """
    for name in request.args:
        if name.startswith("$") and name not in known:
            raise GraphError(400, "BadRequest", f"The sandbox does not have the query option '{name}' here.")


def _top() -> int | None:
    """How many entries `$top` asks for.

    :raises GraphError: it is not a number that there is.
    """
    asked = request.args.get("$top")
    if asked is None:
        return None
    if not asked.isdecimal() or not 0 < int(asked) < 1000:
        raise GraphError(400, "BadRequest", f"Invalid value '{asked}' for $top query option found.")
    return int(asked)


def _request_ids() -> tuple[str, str]:
    """The `request-id`, and the `client-request-id`, which echoes the client's own."""
    own = str(uuid.uuid4())
    return own, request.headers.get("client-request-id") or own


def _headers(response: Response) -> Response:
    """Add the headers that every answer of Graph has."""
    own, theirs = _request_ids()
    response.headers.setdefault("request-id", own)
    response.headers.setdefault("client-request-id", theirs)
    response.headers["x-ms-ags-diagnostic"] = json.dumps(
        {"ServerInfo": {"DataCenter": "Sandbox", "Slice": "E", "Ring": "0", "ScaleUnit": "000"}}
    )
    response.headers.setdefault("Cache-Control", "no-cache")
    return response

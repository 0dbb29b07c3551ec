"""Microsoft Graph v1.0, as far as an app that shows who signed in needs it.

https://learn.microsoft.com/graph/api/user-get and https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

import datetime
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, request

from .people import Person
from .scopes import GRAPH_ID

if TYPE_CHECKING:
    from .server import Sandbox

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
#: Any of these lets an app read the person who signed in.
READ_ME = {"User.Read", "User.ReadWrite"}
#: And this lets it read the others.
READ_ALL = {"User.ReadBasic.All"}
#: And this their mail.
READ_MAIL = {"Mail.Read"}
#: The subjects of everybody's mail.
MAILS = ("Quarterly figures", "Lunch on Friday?")


class GraphError(Exception):
    """An error that Graph answers.

    Args:
        status: the HTTP status.
        code: Graph's error code.
        message: its message.
        headers: further headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def _request_ids() -> tuple[str, str]:
    """The ``request-id`` and the ``client-request-id``, which echoes the client's own."""
    own = str(uuid.uuid4())
    return own, request.headers.get("client-request-id") or own


def make_graph(box: Sandbox) -> Blueprint:
    """Graph's endpoints.

    Args:
        box: the sandbox.
    """
    pages = Blueprint("graph", __name__, url_prefix="/v1.0")

    @pages.before_request
    def only_over_tls() -> None:
        if request.scheme != "https":
            abort(404)

    def answer(body: Any, status: int = 200) -> Response:
        return Response(json.dumps(body, ensure_ascii=False), status, content_type=JSON)

    @pages.errorhandler(GraphError)
    def refuse(error: GraphError) -> Response:
        own, theirs = _request_ids()
        date = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}"
        inner = {"date": date, "request-id": own, "client-request-id": theirs}
        response = answer({"error": {"code": error.code, "message": str(error), "innerError": inner}}, error.status)
        response.headers["request-id"], response.headers["client-request-id"] = own, theirs
        response.headers.update(error.headers)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = (
                f'Bearer realm="", authorization_uri="{box.front_url}/common/oauth2/v2.0/authorize", '
                f'client_id="{GRAPH_ID}"'
            )
        return response

    @pages.after_request
    def headers(response: Response) -> Response:
        own, theirs = _request_ids()
        response.headers.setdefault("request-id", own)
        response.headers.setdefault("client-request-id", theirs)
        response.headers["x-ms-ags-diagnostic"] = json.dumps(
            {"ServerInfo": {"DataCenter": "Sandbox", "Slice": "E", "Ring": "0", "ScaleUnit": "000"}}
        )
        response.headers.setdefault("Cache-Control", "no-cache")
        return response

    def caller(allowed: set[str]) -> Person:
        """Whoever the access token is about.

        Args:
            allowed: the scopes of which the token must have one.

        Raises:
            GraphError: there is no token, or it does not do.
        """
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise GraphError(401, "InvalidAuthenticationToken", "Access token is empty.")
        try:
            claims = box.tenant.verify(token.strip())
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
        if claims.get("idtyp") == "app":
            message = "/me request is only valid with delegated authentication flow."
            raise GraphError(400, "BadRequest", message)
        if not allowed & set(str(claims.get("scp", "")).split()):
            message = "Insufficient privileges to complete the operation."
            raise GraphError(403, "Authorization_RequestDenied", message)
        person = next((each for each in list(box.people.values()) if each.oid == claims.get("oid")), None)
        if person is None:
            message = f"Resource '{claims.get('oid')}' does not exist or one of its queried reference-property "
            raise GraphError(404, "Request_ResourceNotFound", f"{message}objects are not present.")
        if person.throttled is not None:
            message = "Too many requests. Please try again later."
            raise GraphError(429, "TooManyRequests", message, {"Retry-After": str(person.throttled)})
        return person

    def selected(profile: dict[str, Any]) -> dict[str, Any]:
        """The fields that ``$select`` names, or all of them."""
        names = [name.strip() for name in request.args.get("$select", "").split(",") if name.strip()]
        return {name: profile.get(name) for name in names} if names else profile

    @pages.get("/me")
    def me() -> Response:
        person = caller(READ_ME)
        chosen = request.args.get("$select")
        context = f"{box.back_url}/v1.0/$metadata#users{f'({chosen})' if chosen else ''}/$entity"
        return answer({"@odata.context": context, **selected(person.profile)})

    @pages.get("/me/photo/$value")
    @pages.get("/me/photos/<size>/$value")
    def photo(size: str = "") -> Response:
        person = caller(READ_ME)
        if person.photo is None:
            message = "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown."
            raise GraphError(404, "ImageNotFound", message)
        return Response(person.photo, content_type=person.photo_type)

    @pages.get("/me/messages")
    def messages() -> Response:
        person = caller(READ_MAIL)
        mails = [{"id": str(number), "subject": subject} for number, subject in enumerate(MAILS, 1)]
        return answer(
            {"@odata.context": f"{box.back_url}/v1.0/$metadata#users('{person.oid}')/messages", "value": mails}
        )

    @pages.get("/users")
    def users() -> Response:
        caller(READ_ALL)
        everybody = [selected(person.profile) for person in list(box.people.values())]
        return answer({"@odata.context": f"{box.back_url}/v1.0/$metadata#users", "value": everybody})

    @pages.route("/<path:anything>")
    def nothing(anything: str) -> Response:
        message = f"Resource not found for the segment '{anything.split('/')[0]}'."
        raise GraphError(400, "BadRequest", message)

    return pages

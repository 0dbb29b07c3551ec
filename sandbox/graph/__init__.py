"""Microsoft Graph v1.0 and beta, as far as an app needs it that acts for the person who signed in.

https://learn.microsoft.com/graph/api/overview

There is a file for each subject: `users`, `mail`, `calendar`, `drive`, `uploads` and `batch`. What somebody has is at `Person`.
"""

from __future__ import annotations

from typing import TypeVar

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule

from ..entra.addresses import only_over
from ..entra.tenant import Tenant
from .access import Access, Route
from .answers import VERSIONS, GraphError, add_headers, error_answer
from .batch import METHODS, Batch
from .calendar import Calendar
from .drive import DOWNLOAD_PATH, UPLOAD_PATH, Drive
from .mail import Mail
from .uploads import Uploads
from .users import Users

__all__ = ["Graph", "GraphError"]
E = TypeVar("E", bound=HTTPException)


class _Rest(BaseConverter):
    """The rest of a path, which may be empty, and may begin with a slash."""

    regex = "(?s:.*)"
    part_isolating = False


class Graph:
    """Graph's endpoints.

    :param tenant: the tenant whose people it knows and whose access tokens it takes.
    """

    def __init__(self, tenant: Tenant) -> None:
        access = Access(tenant)
        self._drive = Drive(access)
        self._uploads = Uploads(access, self._drive)
        parts = (Users(access), Mail(access), Calendar(access), self._drive, Batch(access))
        self._routes = [route for part in parts for route in part.routes()]
        rules = [Rule(route.path, endpoint=route.path) for route in self._routes]
        self._known = Map(rules, merge_slashes=False).bind("graph")  # by whichever method

    def blueprint(self) -> Blueprint:
        """The routes, for Flask."""
        routes = Blueprint("graph", __name__)
        routes.before_request(only_over("https"))
        routes.after_request(add_headers)
        routes.register_error_handler(GraphError, error_answer)
        routes.register_error_handler(HTTPException, self._unknown)
        for status in (404, 405):  # of paths that have no route, which no blueprint has
            routes.app_errorhandler(status)(self._unknown)
        routes.record(_add_converter)
        for prefix in VERSIONS:
            for number, route in enumerate(self._routes):
                _add(routes, route, f"/{prefix}{route.path}", f"{prefix[0]}{number}")
            rest = Route("/<rest:anything>", self.nothing, METHODS)
            _add(routes, rest, f"/{prefix}{rest.path}", f"{prefix[0]}_rest")
            _add(routes, rest, f"/{prefix}", f"{prefix[0]}_root")
        routes.add_url_rule(f"{DOWNLOAD_PATH}/<secret>", view_func=self._drive.download)
        routes.add_url_rule(f"{UPLOAD_PATH}/<secret>", view_func=self._uploads.status)
        routes.add_url_rule(f"{UPLOAD_PATH}/<secret>", view_func=self._uploads.put, methods=["PUT"])
        routes.add_url_rule(f"{UPLOAD_PATH}/<secret>", view_func=self._uploads.cancel, methods=["DELETE"])
        return routes

    def nothing(self, anything: str = "") -> Response:
        """Refuse what the sandbox does not have. Graph would find no resource for a segment that it does not know."""
        path = f"/{anything}"
        if not anything.startswith("/") and self._known.test(path):  # by another method than those that it has
            message = f"The sandbox has no {request.method} of '{path}'. Microsoft Graph may have it."
            raise GraphError(405, "Request_BadRequest", message)
        raise GraphError(400, "BadRequest", f"The sandbox has no resource '{path}'. Microsoft Graph may have it.")

    def _unknown(self, error: E) -> Response | E:
        """The JSON for an error of Flask's, such as one of a method that HTTP does not know.

        :param error: the error, which is returned as it is when the request was not one for Graph.
        """
        first = request.path.split("/")[1]
        if request.scheme != "https" or first not in (*VERSIONS, UPLOAD_PATH.split("/")[1]):
            return error
        code = {404: "itemNotFound", 405: "Request_BadRequest"}.get(error.code or 500, "BadRequest")
        return add_headers(error_answer(GraphError(error.code or 500, code, error.description or error.name)))


def _add(routes: Blueprint, route: Route, path: str, name: str) -> None:
    routes.add_url_rule(path, endpoint=name, view_func=route.view, methods=list(route.methods))


def _add_converter(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["rest"] = _Rest

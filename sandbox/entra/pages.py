"""The pages that a browser visits over plain http: sign-in, sign-out, errors, and the sandbox's own page.

RP-Initiated Logout 1.0, as Entra has it: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

from __future__ import annotations

import uuid

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug import Response as BaseResponse

from .addresses import only_over
from .errors import EntraError
from .oauth import Server
from .own_page import OwnPage
from .signin import SignIn
from .sso import SingleSignOn
from .tenant import Tenant
from .urls import origin, with_query


class Pages:
    """The pages.

    :param tenant: the tenant.
    :param server: its OAuth 2.0 server.
    """

    def __init__(self, tenant: Tenant, server: Server) -> None:
        self._tenant = tenant
        self._sso = SingleSignOn(tenant)
        self._sign_in = SignIn(tenant, server, self._sso)
        self._own_page = OwnPage(tenant)

    def blueprint(self) -> Blueprint:
        """The routes, for Flask."""
        routes = Blueprint("pages", __name__)
        routes.before_request(only_over("http"))
        routes.after_request(self._headers)
        routes.register_error_handler(EntraError, _error_page)
        methods = ["GET", "POST"]
        routes.add_url_rule("/<name>/oauth2/v2.0/authorize", view_func=self._sign_in.authorize, methods=methods)
        routes.add_url_rule("/<name>/oauth2/v2.0/logout", view_func=self.logout, methods=methods)
        routes.add_url_rule("/", view_func=self._own_page.start)
        routes.add_url_rule("/consents", view_func=self._own_page.forget_consents, methods=["POST"])
        routes.add_url_rule("/token", view_func=self._own_page.token, methods=["POST"])
        routes.add_url_rule("/favicon.ico", view_func=self.icon)
        return routes

    def logout(self, name: str) -> BaseResponse:
        """Sign out, and go back to the app if the request names a page of it."""
        self._tenant.addresses.id_of(name)
        ended = self._sso.end()
        goal = request.values.get("post_logout_redirect_uri", "")
        # Any other page would make this an open redirect.
        if origin(goal) not in self._tenant.registration.origins():
            goal = ""
        elif "state" in request.values:
            goal = with_query(goal, {"state": request.values["state"]})
        urls = sorted(self._tenant.registration.front_channel_logout_urls)
        # As Entra does it: with the session, and without the issuer.
        frames = [with_query(url, {"sid": ended.state}) for url in urls] if ended else []
        if goal and not frames:
            response = redirect(goal, 302)
        else:
            g.frame_sources = [origin(url) for url in frames]
            g.script_source = "'self'" if goal else "'none'"
            response = make_response(render_template("signed_out.html", frames=frames, goal=goal))
        self._sso.forget(response)
        return response

    def icon(self) -> tuple[str, int]:
        """Nothing: browsers ask for an icon, and there is none."""
        return "", 204

    def _headers(self, response: Response) -> Response:
        """Add the headers that every page has."""
        # Chromium applies form-action to the redirects that follow a form as well, so the app's origins are in it.
        goals = " ".join(sorted({"'self'", *self._tenant.registration.origins()}))
        scripts, frames = g.get("script_source", "'none'"), " ".join(g.get("frame_sources", [])) or "'none'"
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'self'; img-src 'self'; script-src {scripts}; "
            f"frame-src {frames}; base-uri 'none'; frame-ancestors 'none'; form-action {goals}"
        )
        response.headers["Cache-Control"] = "no-store, no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        return response


def _error_page(error: EntraError) -> tuple[str, int]:
    return render_template("error.html", error=error), error.status_code

"""The authorization endpoint: it asks for the person and for consent, and goes back to the app with a code.

RFC 6749 section 4.1.1 and OpenID Connect Core 1.0 section 3.1.2, as Entra has them:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import g, make_response, redirect, render_template, request
from werkzeug import Response

from . import authorization_request
from .errors import EntraError, no_consent
from .oauth import Server
from .scopes import sentences
from .sso import Session, SingleSignOn
from .tenant import Tenant
from .urls import with_query

ACCOUNT_PROMPTS = ("login", "select_account", "create")  # show the sign-in page even to somebody who is signed in


class SignIn:
    """The authorization endpoint and its two pages, sign-in and consent.

    :param tenant: the tenant.
    :param server: its OAuth 2.0 server.
    :param sso: the browsers' single sign-on sessions.
    """

    def __init__(self, tenant: Tenant, server: Server, sso: SingleSignOn) -> None:
        self._tenant = tenant
        self._server = server
        self._sso = sso

    def authorize(self, name: str) -> Response:
        """The view of the endpoint.

        :param name: the tenant's name in the URL.
        :return: a page, or the way back to the app.
        :raises EntraError: the error must not be sent to the app, and is for a page.
        """
        try:
            return self._next_step(authorization_request.check(self._tenant, self._server, name))
        except EntraError as error:
            if error.redirect_uri is None:
                raise
            return deliver(error.redirect_uri, error.parameters(request.args.get("state")))

    def _next_step(self, grant: Any) -> Response:
        """Ask who it is, ask for consent, or go back to the app.

        :param grant: Authlib's grant for the request; all steps below take it on.
        """
        session = self._sso.session()
        prompt = request.args.get("prompt", "")
        written = request.args.get("login_hint", "")
        hinted = self._tenant.hinted(written) or self._tenant.hinted(written.lower())
        hint = hinted.username.lower() if hinted else written.lower()
        if request.method == "POST" and "cancel" in request.form:
            raise _declined(grant)
        if request.method == "POST" and "person" in request.form:
            return self._picked(grant, hint)
        if request.method == "POST" and session and "consent" in request.form:
            return self._answered(grant, session)
        if prompt == "none":
            return self._silently(grant, session, hint)
        again = prompt in ACCOUNT_PROMPTS or (session is not None and self._is_too_old(session))
        if session is None or again or (hint and hint != session.person.username.lower()):
            return self._sign_in_page(hint)
        return self._after_sign_in(grant, session)

    def _sign_in_page(self, hint: str) -> Response:
        """The sign-in page: a tile for each person. The person whom the app hinted at comes first."""
        people = sorted(self._tenant.people.values(), key=lambda person: person.username.lower() != hint)
        return make_response(render_template("sign_in.html", people=people, hint=hint))

    def _picked(self, grant: Any, hint: str) -> Response:
        """Sign in the person whose tile was pressed."""
        person = self._tenant.people.get(request.form["person"])
        if person is None:
            return self._sign_in_page(hint)
        session = self._sso.start(person)
        response = self._after_sign_in(grant, session)
        self._sso.remember(session, response)
        return response

    def _after_sign_in(self, grant: Any, session: Session) -> Response:
        """Go back to the app, or ask for consent if it is missing or the app wants it asked again."""
        person, wanted = session.person, self._wanted()
        if self._tenant.consented(person, wanted) and request.args.get("prompt") != "consent":
            return self._finish(grant, session)
        if not person.needs_admin:
            lines = sentences(wanted)
            return make_response(render_template("consent.html", person=person, sentences=lines))
        message = (
            f"'{grant.client.client_id}' needs permission to access resources in your organization that only "
            "an admin can grant. Please ask an admin to grant permission to this app before you can use it."
        )
        error = EntraError("access_denied", 90094, message, redirect_uri=grant.redirect_uri)
        link = error.link(request.args.get("state"))
        return make_response(render_template("admin.html", person=person, link=link, error=error))

    def _answered(self, grant: Any, session: Session) -> Response:
        """Take the answer of the consent page."""
        if request.form["consent"] != "accept" or session.person.needs_admin:
            raise _declined(grant)
        self._tenant.memory.consent(session.person.key, self._wanted())
        return self._finish(grant, session)

    @staticmethod
    def _is_too_old(session: Session) -> bool:
        """Whether the person has signed in longer ago than the app wants (`max_age`)."""
        max_age = request.args.get("max_age")
        return max_age is not None and time.time() - session.signed_in_at > int(max_age)

    def _silently(self, grant: Any, session: Session | None, hint: str) -> Response:
        """Answer `prompt=none` without a page (OpenID Connect Core 1.0 section 3.1.2.6).

        Somebody else than the app hints at is nobody to Entra either.
        """
        if session is None or self._is_too_old(session) or hint not in ("", session.person.username.lower()):
            message = "A silent sign-in request was sent but no user is signed in."
            raise EntraError("login_required", 50058, message, redirect_uri=grant.redirect_uri)
        if not self._tenant.consented(session.person, self._wanted()):
            client_id = self._tenant.registration.client_id
            raise no_consent("consent_required", client_id, redirect_uri=grant.redirect_uri)
        return self._finish(grant, session)

    def _finish(self, grant: Any, session: Session) -> Response:
        """Go back to the app with a code."""
        # Authlib makes the code and has it stored. Its redirect knows no `response_mode`, so only the code is taken.
        made = self._server.create_authorization_response(grant=grant, grant_user=session.person)
        parameters = dict(parse_qsl(urlsplit(made.headers["Location"]).query, keep_blank_values=True))
        answer = {"code": parameters["code"]}
        code = self._tenant.memory.codes[answer["code"]]
        code.signed_in_at, code.sid = session.signed_in_at, session.state
        if request.args.get("client_info") == "1":
            answer["client_info"] = self._tenant.client_info(session.person)
        if "state" in request.args:
            answer["state"] = request.args["state"]
        answer["session_state"] = session.state
        return deliver(grant.redirect_uri, answer)

    def _wanted(self) -> set[str]:
        """The short names of the scopes that the request asks for."""
        return self._tenant.short_names(request.args["scope"].split())


def _declined(grant: Any) -> EntraError:
    """AADSTS65004: the person has pressed *Cancel*."""
    message = "User declined to consent to access the app."
    return EntraError("access_denied", 65004, message, suberror="cancel", redirect_uri=grant.redirect_uri)


def deliver(redirect_uri: str, parameters: dict[str, str]) -> Response:
    """Send an authorization response back to the app, in the `response_mode` that the request asks for.

    :param redirect_uri: a registered redirect URI.
    :param parameters: the parameters of the response.
    :return: a redirect, or a page with a form that a script sends.
    """
    mode = request.args.get("response_mode") or "query"
    if mode == "form_post":
        g.script_source = "'self'"  # the other pages need no script, and their policy forbids it (pages.py)
        return make_response(render_template("form_post.html", action=redirect_uri, parameters=parameters))
    if mode == "fragment":
        return redirect(f"{redirect_uri}#{urlencode(parameters)}", 302)
    return redirect(with_query(redirect_uri, parameters), 302)

"""The pages that a browser visits: sign-in, consent, sign-out.

OAuth 2.0's authorization endpoint (RFC 6749 section 4.1.1, OpenID Connect Core 1.0 section 3.1.2)
and RP-Initiated Logout 1.0, as Entra has them:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request

from .errors import EntraError, translate
from .oauth import unknown_client
from .people import Person
from .scopes import canonical, sentences
from .tenant import parse_claims

if TYPE_CHECKING:
    from .server import Sandbox

PROMPTS = ("", "login", "none", "consent", "select_account", "create", "admin_consent")
#: The prompts that show the sign-in page to somebody who is signed in already.
ASK_WHO = ("login", "select_account", "create")
#: What the Content-Security-Policy says of scripts, but on the page that needs one.
NO_SCRIPTS = "'none'"
RESPONSE_MODES = ("query", "fragment", "form_post")


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _missing(parameter: str) -> EntraError:
    message = f"The request body must contain the following parameter: '{parameter}'."
    return EntraError("invalid_request", 900144, message)


def make_pages(box: Sandbox, server: AuthorizationServer) -> Blueprint:
    """The pages.

    Args:
        box: the sandbox.
        server: its OAuth 2.0 server.
    """
    pages = Blueprint("pages", __name__)
    tenant = box.tenant

    @pages.before_request
    def only_over_plain_http() -> None:
        # A browser would warn about the certificate of the other channel.
        if request.scheme != "http":
            abort(404)

    @pages.after_request
    def headers(response: Response) -> Response:
        # Chromium holds form-action against the redirects that follow a form as well, so the
        # places where an answer may go have to be in it.
        places = " ".join(sorted({"'self'", *(origin(uri) for uri in box.redirect_uris)}))
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; img-src 'self'; script-src "
            f"{g.get('scripts', NO_SCRIPTS)}; "
            f"base-uri 'none'; frame-ancestors 'none'; form-action {places}"
        )
        response.headers["Cache-Control"] = "no-store, no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        return response

    @pages.errorhandler(EntraError)
    def error_page(error: EntraError) -> tuple[str, int]:
        return render_template("error.html", error=error), error.status_code

    def cookie_name() -> str:
        # Cookies do not know ports: two sandboxes, and the app, share those of localhost.
        return f"sandbox_sso_{urlsplit(box.front_url).port}"

    def session() -> tuple[str, Person | None]:
        """The single sign-on session of this browser and who it belongs to."""
        value = request.cookies.get(cookie_name(), "")
        return value, box.people.get(tenant.sessions.get(value, ""))

    def deliver(redirect_uri: str, parameters: dict[str, str]) -> Response:
        """Send an authorization response back to the app.

        Args:
            redirect_uri: a registered one.
            parameters: what to send.
        """
        mode = request.args.get("response_mode") or "query"
        if mode == "form_post":
            g.scripts = "'self'"
            page = render_template("form_post.html", action=redirect_uri, parameters=parameters)
            return make_response(page)
        if mode == "fragment":
            return redirect(f"{redirect_uri}#{urlencode(parameters)}")
        mark = "&" if "?" in redirect_uri else "?"
        return redirect(f"{redirect_uri}{mark}{urlencode(parameters)}")

    def checked(name: str) -> Any:
        """Check an authorize request.

        Args:
            name: the tenant's name in the URL.

        Returns:
            Authlib's grant.

        Raises:
            EntraError: it goes to the app if ``redirect_uri`` is set, else onto a page: what came
                from nobody known must not be sent anywhere (RFC 6749 section 4.1.2.1).
        """
        tenant.id_of(name)
        client_id, redirect_uri = request.args.get("client_id"), request.args.get("redirect_uri")
        if not client_id:
            raise _missing("client_id")
        if client_id != box.client_id:
            raise unknown_client(client_id)
        if not redirect_uri:
            raise _missing("redirect_uri")
        if redirect_uri not in box.redirect_uris:
            message = (
                f"The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs "
                f"configured for the application '{client_id}'. Make sure the redirect URI sent in the request "
                "matches one added to your application in the Azure portal. Navigate to "
                "https://aka.ms/redirectUriMismatchError to learn more about how to fix this."
            )
            raise EntraError("invalid_request", 50011, message)
        if request.args.get("response_mode", "query") not in RESPONSE_MODES:
            message = "The value of the parameter 'response_mode' is not supported."
            raise EntraError("invalid_request", 70007, message)
        try:
            _check_rest(client_id)
            # Authlib's own look at it: repeated parameters, response_type, PKCE's form.
            return server.get_consent_grant()
        except OAuth2Error as error:
            entra = translate(error)
            if error.error == "unsupported_response_type":
                kind = request.args.get("response_type")
                message = f"response_type '{kind}' is not enabled for the application."
                number = 700054 if "id_token" in kind else 700051
                entra = EntraError("unsupported_response_type", number, message)
            entra.redirect_uri = redirect_uri
            raise entra from error

    def _check_rest(client_id: str) -> None:
        if not request.args.get("response_type"):
            raise _missing("response_type")
        scopes = request.args.get("scope", "").split()
        if not scopes:
            raise _missing("scope")
        try:
            for scope in scopes:
                canonical(scope, box.back_url)
        except ValueError as error:
            message = (
                f"The application '{client_id}' asked for scope '{error}' that doesn't exist on the resource "
                "'00000003-0000-0000-c000-000000000000'. Contact the app vendor."
            )
            raise EntraError("invalid_client", 650053, message) from error
        if request.args.get("prompt", "") not in PROMPTS:
            raise EntraError("invalid_request", 90023, "The value of the parameter 'prompt' is not supported.")
        parse_claims(request.args.get("claims"))

    @pages.route("/<name>/oauth2/v2.0/authorize", methods=["GET", "POST"])
    def authorize(name: str) -> Response:
        state = request.args.get("state")
        try:
            grant = checked(name)
            return step(grant)
        except EntraError as error:
            if error.redirect_uri is None:
                raise
            return deliver(error.redirect_uri, error.parameters(state))

    def step(grant: Any) -> Response:
        """Do what is next: ask who it is, ask for consent, or go back with a code."""
        value, person = session()
        prompt = request.args.get("prompt", "")
        hint = request.args.get("login_hint", "").lower()
        if request.method == "POST" and "person" in request.form:
            person = box.people.get(request.form["person"])
            if person is None:
                return who(hint)
            # A new value at every sign-in, so that nobody can plant one beforehand.
            with tenant.lock:
                tenant.sessions.pop(value, None)
                value = secrets.token_urlsafe(24)
                tenant.sessions[value] = person.key
            response = after_sign_in(grant, person, value, prompt == "consent")
            response.set_cookie(cookie_name(), value, httponly=True, samesite="Lax")
            return response
        if request.method == "POST" and person is not None and "consent" in request.form:
            return consent_given(grant, person, value)
        if prompt == "none":
            return silently(grant, person, value)
        if person is None or prompt in ASK_WHO or (hint and hint != person.username.lower()):
            return who(hint)
        return after_sign_in(grant, person, value, prompt == "consent")

    def who(hint: str) -> Response:
        """The sign-in page: one tile a person, the one that the app hinted at first."""
        everybody = sorted(box.people.values(), key=lambda person: person.username.lower() != hint)
        return make_response(render_template("sign_in.html", people=everybody, hint=hint))

    def wanted() -> set[str]:
        return {canonical(scope, box.back_url) for scope in request.args["scope"].split()}

    def after_sign_in(grant: Any, person: Person, value: str, ask: bool) -> Response:
        """Ask for consent if it is missing (or to be asked in any case), else go back with a code."""
        if tenant.consented(person, wanted()) and not ask:
            return finish(grant, person, value)
        if person.needs_admin:
            message = (
                f"'{grant.client.client_id}' needs permission to access resources in your organization that only "
                "an admin can grant. Please ask an admin to grant permission to this app before you can use it."
            )
            error = EntraError("access_denied", 90094, message, redirect_uri=grant.redirect_uri)
            link = error.link(request.args.get("state"))
            return make_response(render_template("admin.html", person=person, link=link, error=error))
        lines = sentences(wanted())
        return make_response(render_template("consent.html", person=person, sentences=lines))

    def consent_given(grant: Any, person: Person, value: str) -> Response:
        if request.form["consent"] != "accept" or person.needs_admin:
            message = "User declined to consent to access the app."
            raise EntraError("access_denied", 65004, message, suberror="cancel", redirect_uri=grant.redirect_uri)
        with tenant.lock:
            tenant.consents.setdefault(person.key, set()).update(wanted())
        return finish(grant, person, value)

    def silently(grant: Any, person: Person | None, value: str) -> Response:
        """Answer ``prompt=none`` (OpenID Connect Core 1.0 section 3.1.2.6): nothing may be shown."""
        if person is None:
            message = "A silent sign-in request was sent but no user is signed in."
            raise EntraError("login_required", 50058, message, redirect_uri=grant.redirect_uri)
        if not tenant.consented(person, wanted()):
            message = (
                f"The user or administrator has not consented to use the application with ID '{box.client_id}' "
                "named 'Sandbox app'. Send an interactive authorization request for this user and resource."
            )
            raise EntraError("consent_required", 65001, message, redirect_uri=grant.redirect_uri)
        return finish(grant, person, value)

    def finish(grant: Any, person: Person, value: str) -> Response:
        """Go back to the app with a code."""
        # Authlib makes and stores the code; its redirect knows no response_mode, so only its
        # parameters are taken.
        made = server.create_authorization_response(grant=grant, grant_user=person)
        parameters = dict(parse_qsl(urlsplit(made.headers["Location"]).query, keep_blank_values=True))
        answer = {"code": parameters["code"]}
        if request.args.get("client_info") == "1":
            answer["client_info"] = tenant.client_info(person)
        if "state" in request.args:
            answer["state"] = request.args["state"]
        # A stable GUID of the session that tells nothing about its cookie.
        answer["session_state"] = str(uuid.uuid5(uuid.NAMESPACE_OID, value))
        return deliver(grant.redirect_uri, answer)

    @pages.route("/<name>/oauth2/v2.0/logout", methods=["GET", "POST"])
    def logout(name: str) -> Response:
        tenant.id_of(name)
        value, person = session()
        with tenant.lock:
            tenant.sessions.pop(value, None)
        goal = request.values.get("post_logout_redirect_uri", "")
        # Where nobody registered anything, a link would lead anybody anywhere.
        if goal and origin(goal) in {origin(uri) for uri in box.redirect_uris}:
            if "state" in request.values:
                goal += ("&" if "?" in goal else "?") + urlencode({"state": request.values["state"]})
            response = redirect(goal)
        else:
            response = make_response(render_template("signed_out.html", person=person))
        response.delete_cookie(cookie_name(), httponly=True, samesite="Lax")
        return response

    @pages.get("/")
    def start() -> str:
        return render_template("start.html", apps=sorted({origin(uri) for uri in box.redirect_uris}))

    @pages.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    return pages

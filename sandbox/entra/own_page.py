"""The sandbox's own page, which no tenant has: it takes consents back, and makes bearer tokens to try an API with."""

from __future__ import annotations

import shlex

from flask import Response, abort, make_response, redirect, render_template, request
from werkzeug import Response as BaseResponse

from . import own_api
from .scopes import OIDC
from .tenant import Tenant


class OwnPage:
    """The page, and the two forms on it.

    :param tenant: the tenant.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def start(self) -> str:
        """The page for a person who opens the tenant's own address."""
        people, given = self._tenant.people, self._tenant.memory.consents
        consents = [(people[key], sorted(scopes.difference(OIDC))) for key, scopes in given.items() if key in people]
        return render_template(
            "start.html", apps=self._tenant.registration.origins(), people=people.values(), consents=consents
        )

    def forget_consents(self) -> BaseResponse:
        """Take all consents back."""
        self._tenant.memory.forget_consents()
        return redirect("/", 303)

    def token(self) -> Response:
        """A token for the app's own API: a page with it for a browser, and the token alone for curl.

        The form has `person` (a key; empty for the other app by itself), `scopes` and `roles` (between spaces).
        """
        key, scopes, roles = (request.form.get(name, "").strip() for name in ("person", "scopes", "roles"))
        person = self._tenant.people.get(key)
        if key and person is None:
            known = ", ".join(self._tenant.people)
            abort(Response(f"The sandbox has no person {key!r}, but these: {known}.\n", 400, mimetype="text/plain"))
        token = own_api.access_token(self._tenant, person, scopes=scopes.split(), roles=roles.split())
        if request.accept_mimetypes.best_match(("text/plain", "text/html")) != "text/html":
            return Response(token, mimetype="text/plain")
        fields = {"person": key, "scopes": scopes, "roles": roles}
        data = " ".join(
            f"-d {shlex.quote(f'{name}={value}')}" for name, value in fields.items() if value or name == "person"
        )
        own = f"curl -s {data} {self._tenant.addresses.front_url}/token"
        page = render_template(
            "token.html",
            token=token,
            minutes=int(self._tenant.registration.access_token_lifetime // 60),
            command=f'curl -H "Authorization: Bearer $({own})" {self._tenant.registration.origins()[0]}/',
        )
        return make_response(page)

"""The roles and groups that views name, compared with the app registration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask

from flask_entra.api_client import ApiClient
from flask_entra.clouds import graph_of
from flask_entra.doctor.findings import GROUPS, ROLES, Finding
from flask_entra.doctor.parts import Parts
from flask_entra.graph_error import GraphError
from flask_entra.pages.languages import Text as _
from flask_entra.signin.authorization import Requirement
from flask_entra.signin.errors import AuthorityUnavailable, SignInError
from flask_entra.signin.guards import guard_of
from flask_entra.urls import origin

_ADD_ROLES = _("Add them under App roles, and assign people under Enterprise applications › Users and groups.")
_ADD_GROUPS = _("Add them under Token configuration › Add groups claim: no ID token has groups before that.")


def ask_about_permissions(app: Flask, parts: Parts) -> Iterator[Finding]:
    """Whether an ID token can have the roles and groups that the app's views name; nothing when they name none.

    The app registration is read, which takes the permission `Application.Read.All` for the app itself. Without that, there is
    only what to look at.
    """
    guards = [guard_of(app, endpoint) for endpoint in app.view_functions]
    needs = [guard for guard in guards if isinstance(guard, Requirement)]
    roles = {role for need in needs for role in need.roles}
    groups = {group for need in needs for group in need.groups}
    if not roles and not groups:
        return
    try:
        registration = _registration(parts)
    except (GraphError, SignInError, AuthorityUnavailable) as error:
        reason = getattr(error, "code", "") or type(error).__name__
        found = _("are named by views, and the app registration could not be read (%(reason)s)", reason=reason)
        if roles:
            yield Finding(
                ROLES, "odd", found, _("See that App roles has each of these: %(roles)s.", roles=_listed(roles))
            )
        if groups:
            yield Finding(GROUPS, "odd", found, _("See that Token configuration has a groups claim."))
        return
    if roles:
        yield _about_roles(roles, registration)
    if groups:
        if registration.get("groupMembershipClaims") in (None, "None"):
            yield Finding(GROUPS, "odd", _("are named by views, and no ID token has any"), _ADD_GROUPS)
        else:
            yield Finding(GROUPS, "right", _("are in the ID tokens"))


def _about_roles(roles: set[str], registration: dict[str, Any]) -> Finding:
    entries = registration.get("appRoles")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    missing = roles - {str(entry.get("value")) for entry in entries if entry.get("isEnabled")}
    if not missing:
        return Finding(ROLES, "right", _("are in the app registration"))
    found = _("are named by views, and no ID token ever has these: %(roles)s", roles=_listed(missing))
    return Finding(ROLES, "odd", found, _ADD_ROLES)


def _registration(parts: Parts) -> dict[str, Any]:
    """The app registration, as Graph shows it to the app itself.

    :raises GraphError: Graph does not show it, or there is none.
    :raises SignInError: the tenant gives the app no token.
    :raises AuthorityUnavailable: the tenant does not answer.
    """
    config = parts.config
    graph = graph_of(config.authority, config.endpoint)
    if not graph or graph != origin(config.endpoint):
        raise GraphError("no_endpoint")
    answer = parts.client.check_credential()
    if "error" in answer:
        raise SignInError(answer["error"], answer.get("error_description", ""))
    url = f"{graph}/v1.0/applications(appId='{config.client_id}')?$select=appRoles,groupMembershipClaims"
    return ApiClient(parts.http, graph).get(url, answer["access_token"])


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))

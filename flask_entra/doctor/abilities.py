"""What a provider other than Entra can do for this app, by its discovery document: one function for each ability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_entra.config import Config
from flask_entra.doctor.findings import Finding, credential_name
from flask_entra.pages.languages import Text as _
from flask_entra.scopes import comparable_scopes
from flask_entra.signin.provider import ALGORITHMS, Provider

_NAME = "OIDC_AUTHORITY"


def check_abilities(provider: Provider, config: Config) -> Iterator[Finding]:
    """What will not work, and what works otherwise than at Entra.

    :param provider: as its document says.
    :param config: the app's.
    """
    for check in (_check_flow, _check_algorithms, _check_client_authentication, _check_scopes, _check_sign_out):
        yield from check(provider, config)


def _check_flow(provider: Provider, config: Config) -> Iterator[Finding]:
    if "code" not in (provider.listed("response_types_supported") or ["code"]):
        found = _("does not offer the authorization code flow (response_types_supported)")
        yield Finding(_NAME, "wrong", found, _("Allow it there: this app signs people in by no other."))
    if "S256" not in (provider.listed("code_challenge_methods_supported") or ["S256"]):
        found = _("does not offer PKCE by S256 (code_challenge_methods_supported)")
        yield Finding(_NAME, "odd", found, _("Allow it there: it binds the code to the browser that asked for it."))


def _check_algorithms(provider: Provider, config: Config) -> Iterator[Finding]:
    if provider.algorithms:
        yield Finding(
            _NAME, "right", _("signs in a way that is accepted: %(names)s", names=_names(provider.algorithms))
        )
    else:
        announced = provider.listed("id_token_signing_alg_values_supported") or []
        found = _("signs ID tokens in no way that this app accepts (%(names)s)", names=_names(announced))
        yield Finding(_NAME, "wrong", found, _("Let it sign with one of %(names)s.", names=_names(ALGORITHMS)))


def _check_client_authentication(provider: Provider, config: Config) -> Iterator[Finding]:
    name, methods = credential_name(config.settings), provider.auth_methods
    wanted = provider.secret_methods if name == "CLIENT_SECRET" else ("private_key_jwt",)
    if not config.client_credential:
        wanted = ("none",)
    if not set(wanted) & set(methods):
        found = _("is not how this provider lets an app authenticate: it takes %(names)s", names=_names(methods))
        yield Finding(name, "wrong", found, _("Use a client secret, a certificate, or none, as it wants it."))
    elif wanted == ("private_key_jwt",) and "PS256" not in (
        provider.listed("token_endpoint_auth_signing_alg_values_supported") or ["PS256"]
    ):
        found = _("signs with PS256, which this provider does not take from an app")
        yield Finding(name, "wrong", found, _("Use a client secret."))


def _check_scopes(provider: Provider, config: Config) -> Iterator[Finding]:
    known = provider.listed("scopes_supported")
    if known is not None:
        unknown = comparable_scopes(config.scope) - comparable_scopes(known)
        if unknown:
            found = _(
                "has what the provider does not list (scopes_supported): %(names)s", names=_names(sorted(unknown))
            )
            yield Finding("SCOPE", "odd", found, _("If a sign-in ends with invalid_scope, remove it."))
    if "offline_access" in provider.unknown_scopes:
        found = _("does not list offline_access, so it is not asked for")
        mend = _("Unless it gives refresh tokens all the same, people are sent to sign in when their token expires.")
        yield Finding(_NAME, "odd", found, mend)


def _check_sign_out(provider: Provider, config: Config) -> Iterator[Finding]:
    if provider.end_session_endpoint:
        yield Finding(_NAME, "right", _("can be told of a sign-out (end_session_endpoint)"))
    else:
        found = _("has no end_session_endpoint")
        yield Finding(_NAME, "odd", found, _("A sign-out ends the session of this app only."))


def _names(names: Any) -> str:
    return ", ".join(names) or "–"

"""What an authority can do, as its discovery document says (OpenID Connect Discovery 1.0, 3; RFC 8414, 2).

Where the document is silent, the specification's default holds. Entra is asked for what it has always been asked for,
whatever its document says. Everything that differs between authorities is asked here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_entra.urls import is_endpoint

# The signatures that are accepted where the authority announces them: never `none`, never a shared secret (HS256).
ALGORITHMS = (*("RS256", "RS384", "RS512"), *("PS256", "PS384", "PS512"), *("ES256", "ES384", "ES512"), "EdDSA")
# The ways to send a client secret, in the order in which they are tried. The first one is the default of both registration
# (OpenID Connect Dynamic Client Registration 1.0, 2) and discovery.
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
# Takes `select_account`, refuses `login`, and publishes neither.
# https://developers.google.com/identity/openid-connect/openid-connect#prompt
SELECTS_ACCOUNT = frozenset({"https://accounts.google.com"})


@dataclass(frozen=True)
class Provider:
    """One authority's abilities. There is one object for each document that has been fetched; it looks at it once.

    :ivar metadata: the discovery document, whose issuer and addresses have been checked.
    :ivar entra: whether it is Microsoft's (`clouds.is_entra`).
    """

    metadata: Mapping[str, Any]
    entra: bool

    @functools.cached_property
    def issuer(self) -> str:
        """Its name. At Entra, `{tenantid}` in it stands for the person's tenant."""
        return str(self.metadata["issuer"])

    @functools.cached_property
    def end_session_endpoint(self) -> str | None:
        """Where the browser signs out (OpenID Connect RP-Initiated Logout 1.0)."""
        return self._url("end_session_endpoint")

    @functools.cached_property
    def userinfo_endpoint(self) -> str | None:
        """What tells a person's claims (OpenID Connect Core, 5.3). None for Entra, where Microsoft Graph tells them."""
        return None if self.entra else self._url("userinfo_endpoint")

    @functools.cached_property
    def algorithms(self) -> tuple[str, ...]:
        """The signatures of its ID tokens that are accepted."""
        announced = self.listed("id_token_signing_alg_values_supported") or ["RS256"]
        return tuple(name for name in ALGORITHMS if name in announced)

    @functools.cached_property
    def names_itself(self) -> bool:
        """Whether each of its answers at the redirect URI says whose it is (`iss`, RFC 9207)."""
        return self.metadata.get("authorization_response_iss_parameter_supported") is True

    @functools.cached_property
    def unknown_scopes(self) -> list[str]:
        """Those of the scopes that MSAL always asks for that this authority would refuse."""
        known = self.listed("scopes_supported")
        if self.entra:
            return []
        unknown = [] if known is None or "profile" in known else ["profile"]
        return unknown if "offline_access" in (known or ()) else [*unknown, "offline_access"]

    @functools.cached_property
    def auth_methods(self) -> list[str]:
        """How a client may authenticate at the token endpoint."""
        return self.listed("token_endpoint_auth_methods_supported") or [SECRET_METHODS[0]]

    @functools.cached_property
    def secret_methods(self) -> tuple[str, ...]:
        """The ways to send it a client secret: one of them is what this app is registered with."""
        if self.entra:
            return ("client_secret_post",)
        return tuple(name for name in SECRET_METHODS if name in self.auth_methods) or SECRET_METHODS[:1]

    def prompt(self, wanted: str | None) -> str | None:
        """The `prompt` to send; `login` in the place of a choice of accounts that it does not offer."""
        if wanted != "select_account" or self.entra or self.issuer in SELECTS_ACCOUNT:
            return wanted
        return wanted if wanted in (self.listed("prompt_values_supported") or ()) else "login"

    def listed(self, name: str) -> list[str] | None:
        """A list in the discovery document; None where the document does not have it."""
        values = self.metadata.get(name)
        return [value for value in values if isinstance(value, str)] if isinstance(values, list) else None

    def _url(self, name: str) -> str | None:
        value = self.metadata.get(name)
        return str(value) if is_endpoint(value) else None

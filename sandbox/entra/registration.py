"""The app registration: the app's credentials and redirect URIs, and the rules for its tokens."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from .keys import SigningKey, b64url
from .urls import origin

# Gets the claims and the header of an ID token. Returns a whole token, a pair of claims and header to sign, or None to
# sign the two that it got and may have changed.
Forge: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], str | tuple[dict[str, Any], dict[str, Any]] | None]


@dataclass(frozen=True)
class Federation:
    """A federated credential: a token of another issuer by which the app may authenticate.

    :ivar issuer: the token's `iss`.
    :ivar subject: the token's `sub`.
    :ivar audience: the token's `aud`.
    :ivar public_key_pem: the issuer's RSA public key as PEM text.
    """

    issuer: str
    subject: str
    audience: str
    public_key_pem: str


class Registration:
    """The app registration. Every attribute but the client id may be changed at will; `reset` goes back to the start.

    :param redirect_uris: the redirect URIs, or a single one.
    :ivar client_id: the app's GUID.
    :ivar client_secret: its secret.
    :ivar client_secret_state: "valid", "expired" or "revoked".
    :ivar second_client_secret: another one, which is as good while one takes the place of the other; None without one.
    :ivar redirect_uris: a set.
    :ivar public_client: the app is a public client, which has no credential.
    :ivar certificates: the registered certificates as PEM text, by each of their thumbprints.
    :ivar federations: the federated credentials.
    :ivar single_tenant: the app is for people of its own tenant only, so `common` and `organizations` do not take it.
    :ivar service_principal: the tenant has a service principal of the app. `az ad app create` makes none.
    :ivar require_consent: False means that nobody is asked for consent.
    :ivar access_token_lifetime: seconds; likewise `id_token_lifetime`, `code_lifetime` and `refresh_token_lifetime`.
    :ivar single_use_refresh_tokens: a refresh token works once. Entra's refresh tokens work again.
    :ivar app_roles: the values of its app roles.
    :ivar group_claims: ID tokens carry the person's groups (*Token configuration*, *Add groups claim*).
    :ivar auth_time_claim: ID tokens carry `auth_time` (*Token configuration*, *Add optional claim*).
    :ivar login_hint_claim: ID tokens carry `login_hint`, likewise.
    :ivar sid_claim: ID tokens carry `sid`, the single sign-on session that they come from, likewise.
    :ivar front_channel_logout_urls: what the sign-out page asks for in frames (*Authentication*, *Front-channel logout URL*): one
        for each app.
    :ivar may_read_applications: the app has the permission `Application.Read.All`, consented by an administrator.
    :ivar own_signing_key: a key with which the app's ID tokens are signed instead of the tenant's, as it is where an app maps
        claims. It is published only to who asks for it (`?appid=`).
    :ivar forge: None, or a function that forges ID tokens (`Forge`).
    :raises ValueError: there is no redirect URI.
    """

    def __init__(self, redirect_uris: Iterable[str]) -> None:
        self._first_redirect_uris = (redirect_uris,) if isinstance(redirect_uris, str) else tuple(redirect_uris)
        if not self._first_redirect_uris:
            raise ValueError("The sandbox needs the app's redirect URI.")
        self.client_id = str(uuid.uuid4())
        self._first_client_secret = secrets.token_urlsafe(30)
        self.redirect_uris: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Go back to the values at the start."""
        self.client_secret = self._first_client_secret
        self.redirect_uris.clear()
        self.redirect_uris.update(self._first_redirect_uris)
        self.client_secret_state = "valid"
        self.second_client_secret: str | None = None
        self.public_client = False
        self.single_tenant = False
        self.service_principal = True
        self.certificates: dict[str, str] = {}
        self.federations: list[Federation] = []
        self.require_consent = True
        self.access_token_lifetime: float = 4000
        self.id_token_lifetime: float = 3600
        self.code_lifetime: float = 600
        self.refresh_token_lifetime: float = 24 * 3600
        self.single_use_refresh_tokens = False
        self.app_roles = {"Orders.Approve"}
        self.group_claims = True
        self.auth_time_claim = False
        self.login_hint_claim = False
        self.sid_claim = False
        self.front_channel_logout_urls: set[str] = set()
        self.may_read_applications = False
        self.own_signing_key: SigningKey | None = None
        self.forge: Forge | None = None

    def origins(self) -> list[str]:
        """The origins of the app, by its redirect URIs."""
        return sorted({origin(uri) for uri in self.redirect_uris})

    def add_certificate(self, pem: str) -> None:
        """Add a certificate with which the app may authenticate.

        :param pem: the certificate as PEM text; a private key next to it is ignored.
        :raises ValueError: there is no certificate in it.
        """
        certificate = x509.load_pem_x509_certificate(pem.encode())
        text = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        self.certificates.update(dict.fromkeys(_thumbprints(certificate), text))

    def remove_certificate(self, pem: str) -> None:
        """Remove a certificate, as an administrator does once another one is in use.

        :param pem: as for `add_certificate`.
        :raises KeyError: it is not registered.
        """
        for thumbprint in _thumbprints(x509.load_pem_x509_certificate(pem.encode())):
            del self.certificates[thumbprint]


def _thumbprints(certificate: x509.Certificate) -> list[str]:
    # x5t#S256 and x5t (RFC 7515 sections 4.1.8 and 4.1.7).
    return [b64url(certificate.fingerprint(algorithm)) for algorithm in (hashes.SHA256(), hashes.SHA1())]

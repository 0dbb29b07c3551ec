"""The tenant: what it knows, the tokens it makes, and its endpoints that no browser visits.

OpenID Connect Core 1.0 and Discovery 1.0, as Entra speaks them:
https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from flask import Blueprint, Response, abort, jsonify, request

from . import keys
from .errors import EntraError
from .people import DOMAIN, Person
from .scopes import GRAPH_ID, OIDC, canonical

if TYPE_CHECKING:
    from authlib.integrations.flask_oauth2 import AuthorizationServer

    from .server import Sandbox

#: The tenant of personal accounts, whose GUID is the same for everybody.
CONSUMERS_ID = "9188040d-6c67-4c5b-b112-36a304b66dad"
#: Tenant names of a sign-in for people of several tenants.
SHARED = ("common", "organizations", "consumers")
#: Seconds that a client assertion may live.
ASSERTION_LIFETIME = 15 * 60
#: Seconds that two clocks may differ.
CLOCK_SKEW = 300


@dataclass
class Code:
    """An authorization code, with what the authorize request said."""

    value: str
    client_id: str
    person: str
    redirect_uri: str
    scopes: list[str]
    nonce: str
    claims: dict[str, Any]
    code_challenge: str | None
    code_challenge_method: str | None
    issued_at: float
    used: bool = False

    # The two methods that Authlib asks of a code (rfc6749 AuthorizationCodeMixin).
    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self.scopes)


@dataclass
class RefreshToken:
    """A refresh token. It descends from a code: ``code`` is what ends all of a code's descendants."""

    value: str
    client_id: str
    person: str
    scopes: list[str]
    claims: dict[str, Any]
    code: str
    issued_at: float
    revoked_at: float | None = None
    used: bool = False
    demand: dict[str, Any] = field(default_factory=dict)

    # The two methods that Authlib asks of a token (rfc6749 TokenMixin).
    def check_client(self, client: Any) -> bool:
        return client.get_client_id() == self.client_id

    def get_scope(self) -> str:
        return " ".join(self.scopes)


class Tenant:
    """The tenant's memory.

    Args:
        box: the sandbox it belongs to.

    Attributes:
        key: the key that signs.
        sessions: single sign-on sessions: the cookie's value and the person's key.
        consents: short names of the scopes each person consented to, by person's key.
        certificates: registered certificates as PEM text, by each of their thumbprints.
        federations: registered federated credentials: issuer, subject, audience, public key.
    """

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.lock = threading.RLock()
        self.key = keys.SigningKey()
        self._published = [self.key]
        self._every_key = {self.key.kid: self.key}
        self.forget()

    def forget(self) -> None:
        """Forget everything but the keys."""
        with self.lock:
            self.sessions: dict[str, str] = {}
            self.consents: dict[str, set[str]] = {}
            self.codes: dict[str, Code] = {}
            self.refresh_tokens: dict[str, RefreshToken] = {}
            self.certificates: dict[str, str] = {}
            self.federations: list[tuple[str, str, str, str]] = []
            self._claims_met: dict[str, dict[str, Any]] = {}

    # Keys

    def rotate_keys(self, keep_old: bool) -> None:
        """Sign with a new key; see :meth:`Sandbox.rotate_keys`."""
        with self.lock:
            self.key = keys.SigningKey()
            self._published = [self.key, *(self._published if keep_old else [])]
            self._every_key[self.key.kid] = self.key

    def verify(self, token: str) -> dict[str, Any]:
        """Verify the signature of one of the tenant's own tokens, by any key that it ever had.

        Raises:
            ValueError: it is not one.
        """
        header, _ = keys.peek(token)
        key = self._every_key.get(str(header.get("kid")))
        if key is None:
            raise ValueError("unknown kid")
        return keys.verify(token, key.public_pem())

    def register_certificate(self, pem: str) -> None:
        """See :meth:`Sandbox.register_certificate`."""
        certificate = x509.load_pem_x509_certificate(pem.encode())
        text = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        # x5t#S256 and x5t (RFC 7515 sections 4.1.8 and 4.1.7).
        for algorithm in (hashes.SHA256(), hashes.SHA1()):
            self.certificates[keys.b64url(certificate.fingerprint(algorithm))] = text

    # Names

    def id_of(self, name: str, person: Person | None = None) -> str:
        """The GUID behind a tenant's name in a URL.

        Args:
            name: the name.
            person: who signed in; a shared name means that person's home tenant.

        Raises:
            EntraError: AADSTS90002, no such tenant.
        """
        lowered = name.lower()
        if lowered in SHARED:
            if person is not None:
                return person.tenant_id or self.box.tenant_id
            return CONSUMERS_ID if lowered == "consumers" else "{tenantid}"
        if lowered in (self.box.tenant_id, DOMAIN):
            return self.box.tenant_id
        message = (
            f"Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into "
            "the correct cloud. Check with your subscription administrator, this may happen if there are no "
            "active subscriptions for the tenant."
        )
        raise EntraError("invalid_tenant", 90002, message)

    def name_in_urls(self, name: str) -> str:
        """How discovery calls the tenant in the URLs it gives: shared names stay, others are the GUID."""
        return name.lower() if name.lower() in SHARED else self.id_of(name)

    def issuer(self, tenant_id: str) -> str:
        """The issuer of a tenant's tokens."""
        return f"{self.box.back_url}/{tenant_id}/v2.0"

    # People

    def consented(self, person: Person, wanted: set[str]) -> bool:
        """Whether nothing is left to ask this person.

        Args:
            person: who signed in.
            wanted: short names of scopes.
        """
        return not self.box.require_consent or wanted <= self.consents.get(person.key, set())

    def revoke(self, person: Person) -> None:
        """See :meth:`Sandbox.revoke`."""
        with self.lock:
            for token in self.refresh_tokens.values():
                if token.person == person.key and token.revoked_at is None:
                    token.revoked_at = time.time()
            self.sessions = {value: key for value, key in self.sessions.items() if key != person.key}

    def demand_sign_in(self, person: Person) -> None:
        """See :meth:`Sandbox.demand_sign_in`."""
        demand = {"access_token": {"capolids": {"essential": True, "values": [str(uuid.uuid4())]}}}
        with self.lock:
            for token in self.refresh_tokens.values():
                if token.person == person.key:
                    token.demand = demand

    # Tokens

    def issue(
        self,
        person: Person,
        scopes: list[str],
        claims: dict[str, Any],
        code: str,
        tenant_name: str,
        nonce: str = "",
        client_info: bool = False,
    ) -> dict[str, Any]:
        """Make the token endpoint's answer for a person (OpenID Connect Core 1.0 section 3.1.3.3).

        Args:
            person: whom the tokens are about.
            scopes: granted scopes, as the client wrote them.
            claims: claims requests that this person's sign-in satisfied.
            code: the authorization code that it all began with.
            tenant_name: the tenant's name in the URL.
            nonce: the authorize request's nonce; empty for none.
            client_info: the client asked for ``client_info``.
        """
        box, now = self.box, int(time.time())
        tenant_id = self.id_of(tenant_name, person)
        uti = secrets.token_urlsafe(16)
        short = {canonical(scope, box.back_url) for scope in scopes}
        resource = [scope for scope in scopes if scope not in OIDC]
        # What Entra answers: never offline_access, and openid comes with the other two.
        granted = [*(("openid", "profile", "email") if "openid" in short else ()), *resource]
        self._claims_met[uti] = claims
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "scope": " ".join(granted),
            "expires_in": int(box.access_token_lifetime),
            "ext_expires_in": int(box.access_token_lifetime),
            "access_token": keys.sign(
                {
                    "aud": GRAPH_ID,
                    "iss": self.issuer(tenant_id),
                    "iat": now,
                    "nbf": now,
                    "exp": int(now + box.access_token_lifetime),
                    "app_displayname": "Sandbox app",
                    "appid": box.client_id,
                    "idtyp": "user",
                    "name": person.name,
                    "oid": person.oid,
                    "scp": " ".join(sorted(short - {"offline_access"})),
                    "sub": self._pairwise(person, GRAPH_ID),
                    "tid": tenant_id,
                    "upn": person.username,
                    "uti": uti,
                    "ver": "1.0",
                },
                self.key,
            ),
        }
        if "offline_access" in short:
            refresh = RefreshToken(
                f"1.A{secrets.token_urlsafe(96)}",
                box.client_id,
                person.key,
                scopes,
                claims,
                code,
                time.time(),
            )
            self.refresh_tokens[refresh.value] = refresh
            answer["refresh_token"] = refresh.value
        if "openid" in short:
            answer["id_token"] = self._id_token(person, tenant_id, nonce, uti, now)
        if client_info:
            answer["client_info"] = self.client_info(person)
        return answer

    def client_info(self, person: Person) -> str:
        """Entra's ``client_info``: who signed in, by object id and home tenant."""
        info = {"uid": person.oid, "utid": person.tenant_id or self.box.tenant_id}
        return keys.b64url(json.dumps(info).encode())

    def _id_token(self, person: Person, tenant_id: str, nonce: str, uti: str, now: int) -> str:
        """An ID token with the claims of Entra's v2.0 tokens, or what ``forge`` makes of it.

        https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
        """
        claims = {
            "aud": self.box.client_id,
            "iss": self.issuer(tenant_id),
            "iat": now,
            "nbf": now,
            "exp": int(now + self.box.id_token_lifetime),
            "name": person.name,
            "oid": person.oid,
            "preferred_username": person.username,
            "rh": f"1.A{secrets.token_urlsafe(30)}.",
            "sub": self._pairwise(person, self.box.client_id),
            "tid": tenant_id,
            "uti": uti,
            "ver": "2.0",
            **person.id_claims,
        }
        if nonce:
            claims["nonce"] = nonce
        header: dict[str, Any] = {"typ": "JWT", "alg": "RS256", "kid": self.key.kid}
        if self.box.forge is not None:
            forged = self.box.forge(claims, header)
            if isinstance(forged, str):
                return forged
            claims, header = forged or (claims, header)
        return keys.sign(claims, self.key, header)

    def app_token(self, tenant_name: str) -> dict[str, Any]:
        """The answer to the client credentials grant (RFC 6749 section 4.4.3)."""
        box, now = self.box, int(time.time())
        tenant_id = box.tenant_id if tenant_name.lower() in SHARED else self.id_of(tenant_name)
        claims = {
            "aud": GRAPH_ID,
            "iss": self.issuer(tenant_id),
            "iat": now,
            "nbf": now,
            "exp": int(now + box.access_token_lifetime),
            "appid": box.client_id,
            "idtyp": "app",
            "oid": box.client_id,
            "sub": box.client_id,
            "tid": tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        lifetime = int(box.access_token_lifetime)
        return {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": keys.sign(claims, self.key),
        }

    def claims_met_by(self, access_token: str) -> dict[str, Any]:
        """The claims requests that were satisfied when this access token was got; none if it is not ours."""
        try:
            _, claims = keys.peek(access_token)
        except ValueError:
            return {}
        return self._claims_met.get(str(claims.get("uti")), {})

    @staticmethod
    def _pairwise(person: Person, audience: str) -> str:
        """A subject that differs from app to app (OpenID Connect Core 1.0 section 8.1)."""
        return keys.b64url(hashlib.sha256(f"{person.oid} {audience}".encode()).digest())

    # Documents

    def discovery(self, name: str) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0 section 3), with Entra's additions.

        Raises:
            EntraError: AADSTS90002, no such tenant.
        """
        box, tenant_id, path = self.box, self.id_of(name), self.name_in_urls(name)
        back, front = f"{box.back_url}/{path}", f"{box.front_url}/{path}"
        return {
            "token_endpoint": f"{back}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": [
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic",
            ],
            "jwks_uri": f"{back}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": list(OIDC),
            "issuer": self.issuer(tenant_id),
            "request_uri_parameter_supported": False,
            "authorization_endpoint": f"{front}/oauth2/v2.0/authorize",
            "end_session_endpoint": f"{front}/oauth2/v2.0/logout",
            "claims_supported": [
                "sub",
                "iss",
                "aud",
                "exp",
                "iat",
                "nonce",
                "preferred_username",
                "name",
                "tid",
                "ver",
            ],
            "tenant_region_scope": None if path in SHARED else "EU",
            "cloud_instance_name": "localhost",
            "cloud_graph_host_name": "localhost",
            "msgraph_host": box.back_url.removeprefix("https://"),
        }

    def jwks(self, name: str) -> dict[str, Any]:
        """The published keys (RFC 7517 section 5).

        Raises:
            EntraError: AADSTS90002, no such tenant.
        """
        issuer = self.issuer(self.id_of(name))
        return {"keys": [key.jwk(issuer) for key in self._published]}


def parse_claims(text: str | None) -> dict[str, Any]:
    """Read a ``claims`` parameter (OpenID Connect Core 1.0 section 5.5).

    Returns:
        The object; empty when there is no parameter.

    Raises:
        EntraError: AADSTS9002313, it is not a JSON object.
    """
    if not text:
        return {}
    try:
        claims = json.loads(text)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise EntraError("invalid_request", 9002313, "Invalid request. The parameter 'claims' is not valid JSON.")
    return claims


def make_tenant(box: Sandbox, server: AuthorizationServer) -> Blueprint:
    """The endpoints that clients call over TLS: discovery, keys, token.

    Args:
        box: the sandbox.
        server: its OAuth 2.0 server.
    """
    pages = Blueprint("tenant", __name__)
    tenant = box.tenant

    @pages.before_request
    def only_over_tls() -> None:
        if request.scheme != "https":
            abort(404)

    @pages.errorhandler(EntraError)
    def refuse(error: EntraError) -> tuple[Response, int]:
        return jsonify(error.body()), error.status_code

    @pages.get("/<name>/v2.0/.well-known/openid-configuration")
    @pages.get("/<name>/.well-known/openid-configuration")
    def discovery(name: str) -> Response:
        answer = jsonify(tenant.discovery(name))
        answer.headers["Cache-Control"] = "max-age=86400, private"
        return answer

    @pages.get("/<name>/discovery/v2.0/keys")
    def jwks(name: str) -> Response:
        answer = jsonify(tenant.jwks(name))
        answer.headers["Cache-Control"] = "max-age=86400, private"
        return answer

    @pages.route("/<name>/oauth2/v2.0/token", methods=["GET", "POST"])
    def token(name: str) -> Response:
        tenant.id_of(name)
        if request.method == "GET":
            message = "The endpoint only accepts POST requests. Received a GET request."
            raise EntraError("invalid_request", 900561, message)
        # One at a time: a code that is sent twice at once must not be redeemed twice.
        with tenant.lock:
            return server.create_token_response()

    @pages.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        response.headers["x-ms-ests-server"] = "2.1.0 - sandbox"
        response.headers.setdefault("Cache-Control", "no-store, no-cache")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return pages

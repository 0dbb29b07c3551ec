"""The tenant: its people, keys and memory, and the tokens that it issues.

OpenID Connect Core 1.0 as Entra speaks it: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

from ..people import Person, sample_people
from .addresses import SHARED, Addresses
from .keys import KeyRing, SigningKey, b64url, peek, sign
from .memory import Memory, RefreshToken
from .registration import Registration
from .scopes import GRAPH_ID, OIDC, resources_of, short_names

GROUPS_IN_A_TOKEN = 200


class Tenant:
    """A tenant with one app registration.

    :param addresses: its names and URLs.
    :param registration: the app registration.
    :ivar people: the people who can sign in, by key.
    :ivar keys: its signing keys.
    :ivar memory: its single sign-on sessions, consents, codes and refresh tokens.
    """

    def __init__(self, addresses: Addresses, registration: Registration) -> None:
        self.addresses = addresses
        self.registration = registration
        self.people: dict[str, Person] = {}
        self.keys = KeyRing()
        self.memory = Memory()
        self.reset()

    def reset(self) -> None:
        """Go back to the sample people and forget the rest. The keys stay."""
        self.people.clear()
        self.people.update(sample_people())
        self.memory.forget()

    def short_names(self, scopes: list[str]) -> set[str]:
        """The short names of scopes that a client wrote; see `scopes.short_names`."""
        return short_names(scopes, self.addresses.back_url)

    def published_keys(self, app_id: str | None) -> list[SigningKey]:
        """The keys that are published: the tenant's, or those of an app that has its own.

        :param app_id: the app whose keys are asked for; None for the tenant's.
        """
        if app_id == self.registration.client_id and self.registration.own_signing_key:
            return [self.registration.own_signing_key]
        return self.keys.published

    def consented(self, person: Person, wanted: set[str]) -> bool:
        """Whether a person has consented to every scope, or need not be asked.

        :param person: the person who signed in.
        :param wanted: short names of scopes.
        :return: False if consent is missing.
        """
        return not self.registration.require_consent or wanted <= self.memory.consents.get(person.key, set())

    def claims_met_by(self, access_token: str) -> dict[str, Any]:
        """The claims requests that the sign-in behind an access token satisfied; empty for a token of somebody else."""
        try:
            _, claims = peek(access_token)
        except ValueError:
            return {}
        return self.memory.claims_met.get(str(claims.get("uti")), {})

    def login_hint(self, person: Person) -> str:
        """Entra's claim `login_hint`, which says who is meant, but not in a way that an app could read."""
        return f"O.{b64url(hashlib.sha256(person.oid.encode()).digest())}"

    def hinted(self, hint: str) -> Person | None:
        """The person whom a `login_hint` means: the claim of that name, or the name to sign in with."""
        people = self.people.values()
        found = (each for each in people if hint and hint in (self.login_hint(each), each.username.lower()))
        return next(found, None)

    def client_info(self, person: Person) -> str:
        """Entra's `client_info`: the person who signed in, by object id and home tenant."""
        info = {"uid": person.oid, "utid": person.tenant_id or self.addresses.tenant_id}
        return b64url(json.dumps(info).encode())

    def issue(
        self,
        person: Person,
        scopes: list[str],
        claims: dict[str, Any],
        code: str,
        tenant_name: str,
        nonce: str = "",
        client_info: bool = False,
        more: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make the token endpoint's answer for a person (OpenID Connect Core 1.0 section 3.1.3.3).

        :param person: the person whom the tokens are about.
        :param scopes: the granted scopes, as the client wrote them.
        :param claims: the claims requests that this person's sign-in satisfied.
        :param code: the authorization code that the tokens descend from.
        :param tenant_name: the tenant's name in the URL.
        :param nonce: the authorization request's nonce; empty for none.
        :param client_info: whether the client asked for `client_info`.
        :param more: further claims of the ID token.
        :return: the answer's JSON object.
        """
        now = int(time.time())
        tenant_id = self.addresses.id_of(tenant_name, person)
        uti = secrets.token_urlsafe(16)
        short = self.short_names(scopes)
        self.memory.claims_met[uti] = claims
        access_token = self._access_token(person, short, tenant_id, uti, now)
        answer = self._bearer(access_token, scope=_granted(scopes, short))
        if "offline_access" in short:
            answer["refresh_token"] = self._refresh_token(person, scopes, claims, code)
        if "openid" in short:
            more = dict(more or {})
            if "email" in short and person.profile.get("mail"):
                more["email"] = person.profile["mail"]
            answer["id_token"] = self._id_token(person, tenant_id, nonce, uti, now, more)
        if client_info:
            answer["client_info"] = self.client_info(person)
        return answer

    def issue_to_app(self, tenant_name: str, audience: str) -> dict[str, Any]:
        """Make the answer to the client credentials grant (RFC 6749 section 4.4.3).

        :param tenant_name: the tenant's name in the URL.
        :param audience: the API that the token is for.
        :return: the answer's JSON object.
        """
        now, client_id = int(time.time()), self.registration.client_id
        shared = tenant_name.lower() in SHARED
        tenant_id = self.addresses.tenant_id if shared else self.addresses.id_of(tenant_name)
        claims = {
            **self._for_api(audience, tenant_id, now),
            **(
                {"roles": ["Application.Read.All"]}
                if audience == GRAPH_ID and self.registration.may_read_applications
                else {}
            ),
            "appid": client_id,
            "idtyp": "app",
            "oid": client_id,
            "sub": client_id,
            "tid": tenant_id,
            "uti": secrets.token_urlsafe(16),
            "ver": "1.0",
        }
        return self._bearer(sign(claims, self.keys.current))

    def _bearer(self, access_token: str, **more: Any) -> dict[str, Any]:
        """An answer with an access token (RFC 6749 section 5.1)."""
        lifetime = int(self.registration.access_token_lifetime)
        return {
            "token_type": "Bearer",
            **more,
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": access_token,
        }

    def _for_api(self, audience: str, tenant_id: str, now: int) -> dict[str, Any]:
        """The claims that every access token for an API begins with: of version 1.0, whose issuer has another name."""
        return {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": int(now + self.registration.access_token_lifetime),
        }

    def _access_token(self, person: Person, short: set[str], tenant_id: str, uti: str, now: int) -> str:
        """An access token for the API whose scopes were asked for, with the claims of Entra's v1.0 tokens.

        https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
        """
        audience = next(iter(resources_of(short)), GRAPH_ID)
        scopes = {name.rpartition("/")[2] for name in short if audience == GRAPH_ID or name not in OIDC}
        claims = {
            **self._for_api(audience, tenant_id, now),
            "app_displayname": "Sandbox app",
            "appid": self.registration.client_id,
            "idtyp": "user",
            "name": person.name,
            "oid": person.oid,
            "scp": " ".join(sorted(scopes - {"offline_access"})),
            "sub": pairwise(person, audience),
            "tid": tenant_id,
            "upn": person.username,
            "uti": uti,
            "ver": "1.0",
        }
        return sign(claims, self.keys.current)

    def _refresh_token(self, person: Person, scopes: list[str], claims: dict[str, Any], code: str) -> str:
        """A new refresh token, remembered."""
        value = f"1.A{secrets.token_urlsafe(96)}"
        token = RefreshToken(value, self.registration.client_id, person.key, scopes, claims, code, time.time())
        self.memory.refresh_tokens[value] = token
        return value

    def _id_token(self, person: Person, tenant_id: str, nonce: str, uti: str, now: int, more: dict[str, Any]) -> str:
        """An ID token with the claims of Entra's v2.0 tokens and some more, or the result of the registration's `forge`.

        https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
        """
        client_id = self.registration.client_id
        claims = {
            "aud": client_id,
            "iss": self.addresses.issuer(tenant_id),
            "iat": now,
            "nbf": now,
            "exp": int(now + self.registration.id_token_lifetime),
            "name": person.name,
            "oid": person.oid,
            "preferred_username": person.username,
            "rh": f"1.A{secrets.token_urlsafe(30)}.",
            "sub": pairwise(person, client_id),
            "tid": tenant_id,
            "uti": uti,
            "ver": "2.0",
            **({"login_hint": self.login_hint(person)} if self.registration.login_hint_claim else {}),
            **more,
            **self._authorization_claims(person),
            **person.id_claims,
        }
        if nonce:
            claims["nonce"] = nonce
        key = self.registration.own_signing_key or self.keys.current
        header: dict[str, Any] = {"typ": "JWT", "alg": "RS256", "kid": key.kid}
        if self.registration.forge is not None:
            forged = self.registration.forge(claims, header)
            if isinstance(forged, str):
                return forged
            claims, header = forged or (claims, header)
        return sign(claims, key, header)

    def _authorization_claims(self, person: Person) -> dict[str, Any]:
        """The app roles and the groups of a person. Of more groups than a token names, it says only that there are such.

        https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim
        """
        claims: dict[str, Any] = {"roles": list(person.roles)} if person.roles else {}
        if not self.registration.group_claims or not person.groups:
            return claims
        if len(person.groups) <= GROUPS_IN_A_TOKEN:
            return {**claims, "groups": list(person.groups)}
        # Entra still names the retired Azure AD Graph here.
        endpoint = f"https://graph.windows.net/{self.addresses.tenant_id}/users/{person.oid}/getMemberObjects"
        return {**claims, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": endpoint}}}


def _granted(scopes: list[str], short: set[str]) -> str:
    """The `scope` of an answer: `openid` brings `profile` and `email` along, and `offline_access` is never named."""
    openid = ("openid", "profile", "email") if "openid" in short else ()
    return " ".join([*openid, *(scope for scope in scopes if scope not in OIDC)])


def pairwise(person: Person, audience: str) -> str:
    """A subject that differs from app to app (OpenID Connect Core 1.0 section 8.1)."""
    return b64url(hashlib.sha256(f"{person.oid} {audience}".encode()).digest())

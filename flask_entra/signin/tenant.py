"""The authority: its discovery document, its keys, and every request to it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import jwt
import requests

from flask_entra.bulkhead import Busy
from flask_entra.clouds import GUID
from flask_entra.http_client import BoundedSession, json_object, retry_after
from flask_entra.signin import id_token
from flask_entra.signin.document import Document
from flask_entra.signin.errors import IdTokenRefused, TenantUnavailable
from flask_entra.urls import split_url

UNKNOWN_KEY_SECONDS = 60
SHORTEST_KEY_BITS = 2048

log = logging.getLogger(__name__)


class Tenant:
    """One authority, as OpenID Connect Discovery 1.0 describes it. Safe to share among threads.

    :param http: the process's one HTTP client.
    :param config: Flask's; `AUTHORITY` or `OIDC_AUTHORITY`, `CLIENT_ID` and `ALLOWED_TENANTS` of it.
    :ivar clock_offset: by how many seconds this machine's clock is ahead, as of the last discovery; None if unknown.
    """

    def __init__(self, http: BoundedSession, config: Mapping[str, Any]):
        self._http = http
        # Entra has the documents of version 2.0, which this app speaks, under a path of their own.
        issuer = config["OIDC_AUTHORITY"] or f"{config['AUTHORITY']}/v2.0"
        self._discovery_url = f"{issuer}/.well-known/openid-configuration"
        tenant_id = split_url(config["AUTHORITY"]).path.strip("/")
        self._expected = id_token.Expected(
            config["CLIENT_ID"], tenant_id if GUID.fullmatch(tenant_id) else None, config["ALLOWED_TENANTS"]
        )
        self._metadata = Document(self._fetch_metadata, self.waiting)
        self._keys = Document(self._fetch_keys, self.waiting)
        self._unknown_keys: dict[str, float] = {}
        self.clock_offset: float | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The discovery document.

        :raises TenantUnavailable: it is not known yet, and cannot be fetched.
        """
        return self._metadata.get()

    @contextlib.contextmanager
    def waiting(self, person: str | None = None) -> Iterator[None]:
        """Hold one of the places that there are for requests that wait for the authority.

        :param person: on whose behalf, by any name that tells people apart.
        :raises TenantUnavailable: too many wait already.
        """
        with _too_many(), self._http.waiting(self._discovery_url, person):
            yield

    def validate(self, token: object) -> dict[str, Any]:
        """Validate an ID token; see `id_token.validate`.

        :return: its claims.
        :raises IdTokenRefused: it fails a check.
        :raises TenantUnavailable: the keys are not known yet, and cannot be fetched.
        """
        key = self._key(id_token.key_id(token))
        return id_token.validate(token, key, self.metadata["issuer"], self._expected)

    def fetch(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send a request to the authority.

        :param kwargs: as `BoundedSession.fetch` takes them.
        :raises TenantUnavailable: there is no answer in time, or one that says to come back later.
        """
        try:
            with _too_many():
                response = self._http.fetch(method, url, **kwargs)
        except requests.Timeout as error:
            raise TenantUnavailable("no answer in time", timeout=True) from error
        except requests.RequestException as error:
            raise TenantUnavailable(f"no answer ({type(error).__name__})") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise TenantUnavailable(f"{url} answered {response.status_code}", retry_after=retry_after(response))
        return response

    @staticmethod
    def json_object(response: requests.Response) -> dict[str, Any]:
        """The JSON object that the authority answered.

        :raises TenantUnavailable: there is none, or one with a lone surrogate in it.
        """
        try:
            return json_object(response)
        except ValueError as error:
            raise TenantUnavailable(str(error)) from error

    # --- Documents --------------------------------------------------------------------------------------------------

    def _fetch_metadata(self) -> dict[str, Any]:
        response = self.fetch("GET", self._discovery_url)
        metadata = self.json_object(response)
        if response.status_code != 200:
            description = str(metadata.get("error_description", ""))
            raise TenantUnavailable(f"discovery answered {response.status_code}", description=description)
        with contextlib.suppress(KeyError, ValueError, TypeError):
            self.clock_offset = time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(metadata.get(name), str):
                raise TenantUnavailable(f"the discovery document has no {name}")
            if name in ("token_endpoint", "jwks_uri") and split_url(metadata[name]).scheme != "https":
                raise TenantUnavailable(f"the {name} in the discovery document is not https")
        return metadata

    def _fetch_keys(self) -> dict[str | None, id_token.Key]:
        response = self.fetch("GET", self.metadata["jwks_uri"])
        if response.status_code != 200:
            raise TenantUnavailable(f"the keys' endpoint answered {response.status_code}")
        keys = {}
        published = self.json_object(response).get("keys")
        for entry in published if isinstance(published, list) else ():
            try:
                if entry["kty"] == "RSA" and entry.get("use", "sig") == "sig":
                    key = jwt.PyJWK(entry, algorithm="RS256").key
                    if key.key_size < SHORTEST_KEY_BITS:  # RFC 7518, 3.3
                        raise ValueError("too short")
                    keys[entry.get("kid")] = id_token.Key(key, entry.get("issuer"))
            except (jwt.PyJWTError, TypeError, KeyError, AttributeError, ValueError):
                log.warning("The authority publishes a key that cannot be used")
        if not keys:
            raise TenantUnavailable("the authority publishes no key that can be used")
        return keys

    def _key(self, kid: str | None) -> id_token.Key:
        keys = self._keys.get()
        if kid is None and len(keys) == 1:  # OpenID Connect Core 10.1: the kid may be left out when there is one key
            return next(iter(keys.values()))
        now = time.monotonic()
        if kid not in keys and now - self._unknown_keys.get(str(kid), -UNKNOWN_KEY_SECONDS) >= UNKNOWN_KEY_SECONDS:
            # The authority signs with a new key before our copy is due. A key that is not there even now is asked for
            # again a minute later, so that forged tokens do not become a flood of requests.
            self._unknown_keys = {k: at for k, at in self._unknown_keys.items() if now - at < UNKNOWN_KEY_SECONDS}
            self._unknown_keys[str(kid)] = now
            keys = self._keys.get(renew=True)
        if kid not in keys:
            raise IdTokenRefused("it is signed with a key that the authority does not publish (kid)")
        self._unknown_keys.pop(str(kid), None)
        return keys[kid]


@contextlib.contextmanager
def _too_many() -> Iterator[None]:
    try:
        yield
    except Busy as error:
        raise TenantUnavailable(str(error), retry_after=error.retry_after) from error

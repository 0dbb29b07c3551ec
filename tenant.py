"""What the authority publishes and signs: discovery document, keys, and the ID tokens that MSAL does not validate.

MSAL (1.38 and newer) says that validating an ID token is the application's responsibility. `Tenant` is the HTTP client that
MSAL is given, so every ID token passes here before MSAL, or anybody, sees it: at sign-in and at every refresh.

OpenID Connect Core 1.0, 3.1.3.7; RFC 8725 (JWT best current practices);
https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-tokens (the same rules for `tid` and issuer).
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import jwt
import msgspec
import requests

from app_config import GUID, split_url
from bulkhead import Busy
from http_client import BoundedSession, retry_after

FRESH_SECONDS = 12 * 3600  # after that, fetched again in the background
STALE_SECONDS = 24 * 3600  # after that, fetched again before it is used
UNKNOWN_KEY_SECONDS = 60
SLOW_SECONDS = 1  # a fetch that failed after as long is not tried again for a while:
FAIL_FAST_SECONDS = 3
LEEWAY_SECONDS = 120
ALGORITHMS = ("RS256", "RS384", "RS512")  # what Entra signs with; never `none`, never a shared secret

log = logging.getLogger(__name__)


class TenantUnavailable(Exception):
    """The authority cannot be reached, or answers what is no answer of an authority.

    :ivar timeout: whether it took too long.
    :ivar retry_after: how many seconds it asked to wait, or None.
    :ivar description: what it says is wrong with the request, when it says so.
    """

    def __init__(self, reason: str, *, timeout: bool = False, retry_after: int | None = None, description: str = ""):
        super().__init__(reason)
        self.timeout, self.retry_after, self.description = timeout, retry_after, description


class IdTokenRefused(Exception):
    """An ID token that must not sign anybody in. The text says which check it failed."""


class Tenant:
    """One authority: its discovery document and keys, kept fresh, and the validation of what it signs.

    Safe to share among threads.

    :param http: the client for every request to the authority.
    :param discovery_url: the URL of its OpenID Connect discovery document.
    :param client_id: this app's, which must be the audience.
    :param tenant_id: the tenant that the authority names, when it names one by GUID.
    :param allowed_tenants: when not empty, the only tenants whose people may sign in.
    """

    def __init__(
        self,
        http: BoundedSession,
        discovery_url: str,
        client_id: str,
        tenant_id: str | None,
        allowed_tenants: frozenset[str],
    ):
        self._http, self._client_id, self._tenant_id = http, client_id, tenant_id
        self._allowed_tenants = allowed_tenants
        self._discovery_url = discovery_url
        self._metadata = _Kept(lambda: self._fetch_metadata(discovery_url), self.waiting)
        self._keys = _Kept(lambda: self._fetch_keys(self.metadata["jwks_uri"]), self.waiting)
        self._unknown_keys: dict[str, float] = {}
        self.clock_offset: float | None = None  # seconds that this machine's clock is ahead, as of the last discovery

    @contextlib.contextmanager
    def waiting(self, person: str | None = None) -> Iterator[None]:
        """Hold one of the places that there are for requests that wait for the authority.

        :param person: on whose behalf, by any name that tells people apart.
        :raises TenantUnavailable: too many wait already.
        """
        try:
            with self._http.waiting(self._discovery_url, person):
                yield
        except Busy as error:
            raise TenantUnavailable(str(error), retry_after=error.retry_after) from error

    @property
    def metadata(self) -> dict:
        """The discovery document.

        :raises TenantUnavailable: it is not known yet, and cannot be fetched.
        """
        return self._metadata.get()

    def validate(self, id_token: str) -> dict:
        """Validate everything about an ID token that does not depend on the sign-in it answers.

        :param id_token: as the token endpoint sent it.
        :return: its claims.
        :raises IdTokenRefused: it fails a check.
        :raises TenantUnavailable: the keys are not known yet, and cannot be fetched.
        """
        try:
            header = jwt.get_unverified_header(id_token)
            key = self._key(header.get("kid"))
            claims = jwt.decode(
                id_token,
                key.key,
                algorithms=ALGORITHMS,
                audience=self._client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp", "iat", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise IdTokenRefused(str(error)) from error
        except (TypeError, ValueError, AttributeError) as error:  # not even the shape of a token
            raise IdTokenRefused("it is not a JWT") from error
        try:
            json.dumps(claims, ensure_ascii=False).encode()
            msgspec.msgpack.encode(claims)
        except (
            UnicodeEncodeError,
            OverflowError,
        ) as error:  # half a character, which JSON can spell and no page or store can hold
            raise IdTokenRefused("its claims are not text") from error

        if not all(isinstance(claims[name], (int, float)) for name in ("exp", "iat")):
            raise IdTokenRefused("its times (exp, iat) are not numbers")
        only_us = claims["aud"] in (self._client_id, [self._client_id])
        if claims.get("azp", self._client_id if only_us else None) != self._client_id:
            raise IdTokenRefused("it was issued to another app (azp)")
        tid = claims.get("tid")
        if tid is not None and not (isinstance(tid, str) and GUID.fullmatch(tid)):
            raise IdTokenRefused("its tenant (tid) is not a GUID")
        # `common` and `organizations` publish an issuer that holds {tenantid} for the tenant of the person; which keys may
        # speak for which tenant then stands with the keys.
        issuer = self.metadata["issuer"]
        for allowed in (issuer, key.issuer if "{tenantid}" in issuer else None):
            if allowed and claims["iss"] != allowed.replace("{tenantid}", tid or ""):
                raise IdTokenRefused("its issuer (iss) is not the authority's")
        if self._tenant_id and (tid or "").lower() != self._tenant_id.lower():
            raise IdTokenRefused("its tenant (tid) is not the authority's")
        if self._allowed_tenants and (tid or "").lower() not in self._allowed_tenants:
            raise IdTokenRefused("its tenant (tid) is not one of ALLOWED_TENANTS")
        return claims

    # --- What MSAL asks of its `http_client` -----------------------------------------------------------------------

    def get(self, url: str, **_kwargs):
        """MSAL gets nothing but the discovery document, whatever its address, at every app object that it makes."""
        return SimpleNamespace(status_code=200, text=json.dumps(self.metadata), headers={})

    def post(self, url: str, *, data=None, headers=None, **_kwargs):
        """A token request (RFC 6749, 4.1.3 and 6) whose answer is known to be one: a JSON object with a valid ID token.

        :raises TenantUnavailable: there is no such answer.
        :raises IdTokenRefused: the ID token fails a check.
        """
        response = self._fetch("POST", url, data=data, headers=headers)
        answer = _json_object(response)
        if response.status_code != 200 and "error" not in answer:
            raise TenantUnavailable(f"the token endpoint answered {response.status_code}")
        if not all(isinstance(answer.get(name, ""), str) for name in ("error", "error_description", "claims")):
            raise TenantUnavailable("the token endpoint sent an error that is no text")
        if "error" not in answer:
            if not isinstance(answer.get("access_token"), str):
                raise TenantUnavailable("the token endpoint sent no access token")
            if "id_token" in answer:
                self.validate(answer["id_token"])
        return response

    def close(self) -> None:
        """The shared client outlives MSAL's app objects."""

    # ---------------------------------------------------------------------------------------------------------------

    def _key(self, kid: str | None) -> SimpleNamespace:
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

    def _fetch_metadata(self, url: str) -> dict:
        response = self._fetch("GET", url)
        metadata = _json_object(response)
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

    def _fetch_keys(self, url: str) -> dict[str | None, SimpleNamespace]:
        response = self._fetch("GET", url)
        if response.status_code != 200:
            raise TenantUnavailable(f"the keys' endpoint answered {response.status_code}")
        keys = {}
        published = _json_object(response).get("keys")
        for published_key in published if isinstance(published, list) else ():
            try:
                if published_key["kty"] == "RSA" and published_key.get("use", "sig") == "sig":
                    key = jwt.PyJWK(published_key, algorithm="RS256").key
                    keys[published_key.get("kid")] = SimpleNamespace(key=key, issuer=published_key.get("issuer"))
            except (jwt.PyJWTError, TypeError, KeyError, AttributeError, ValueError):
                log.warning("The authority publishes a key that cannot be used")
        if not keys:
            raise TenantUnavailable("the authority publishes no key that can be used")
        return keys

    def _fetch(self, method: str, url: str, **kwargs) -> requests.Response:
        try:
            response = self._http.fetch(method, url, **kwargs)
        except Busy as error:
            raise TenantUnavailable(str(error), retry_after=error.retry_after) from error
        except requests.Timeout as error:
            raise TenantUnavailable("no answer in time", timeout=True) from error
        except requests.RequestException as error:
            raise TenantUnavailable(f"no answer ({type(error).__name__})") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise TenantUnavailable(f"{url} answered {response.status_code}", retry_after=retry_after(response))
        return response


class _Kept:
    """A value fetched over the network: kept a day, renewed in the background after half of it.

    :param fetch: fetches it.
    :param waiting: makes a block that holds a place for a request that waits for it.
    """

    def __init__(self, fetch: Callable, waiting: Callable[[], AbstractContextManager]):
        self._fetch, self._waiting, self._lock = fetch, waiting, threading.Lock()
        self._value, self._at = None, float("-inf")
        self._failure, self._failed_at, self._fails_until = None, float("-inf"), float("-inf")

    def get(self, *, renew: bool = False):
        """The value; fetched now if there is none, if it is stale, or if the caller knows that it has changed."""
        asked = time.monotonic()
        age = asked - self._at
        if age > STALE_SECONDS or renew:
            if asked < self._fails_until:
                raise copy(self._failure)
            with self._waiting(), self._lock:
                # A thread that waited for another's fetch shares what came of it. The next one to ask tries anew.
                if self._failed_at > asked:
                    raise copy(self._failure)
                if self._at < asked:
                    self._renew()
        elif age > FRESH_SECONDS and self._lock.acquire(blocking=False):
            try:
                threading.Thread(target=self._renew_in_background, daemon=True).start()
            except RuntimeError:  # no more threads
                self._lock.release()
        return self._value

    def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._value = self._fetch()
            self._at = time.monotonic()
        except TenantUnavailable as error:
            now = time.monotonic()
            if now - began > SLOW_SECONDS:
                error.retry_after = error.retry_after or FAIL_FAST_SECONDS
                self._fails_until = now + FAIL_FAST_SECONDS
            # A copy has no traceback, whose frames would be kept alive with it.
            self._failure, self._failed_at = copy(error), now
            raise

    def _renew_in_background(self) -> None:
        try:
            self._renew()
        except TenantUnavailable as error:
            # Nobody waits for this: the copy is good until it is stale, and the next one to use it tries again.
            log.warning("The authority's documents could not be renewed: %s", error)
        finally:
            self._lock.release()


def _json_object(response: requests.Response) -> dict:
    try:
        answer = response.json()
        json.dumps(answer, ensure_ascii=False).encode()  # not half a character either
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        content_type = response.headers.get("Content-Type", "no content type")
        raise TenantUnavailable(f"{response.url.partition('?')[0]} answered {response.status_code} with {content_type}")
    return answer

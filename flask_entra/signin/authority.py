"""The authority: its discovery document, its keys, and every request to it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import jwt
import requests

from flask_entra.bulkhead import RETRY_SECONDS, Refusal
from flask_entra.clouds import GUID
from flask_entra.config import Config
from flask_entra.http_client import BoundedSession, JsonObject, is_untrusted, json_object, retry_after
from flask_entra.pauses import Pauses
from flask_entra.same_error import same
from flask_entra.signin import id_token
from flask_entra.signin.cached_document import CachedDocument
from flask_entra.signin.errors import AnotherIssuer, AuthorityUnavailable, IdTokenRefused, TenantNotAllowed
from flask_entra.signin.issuer import is_expected
from flask_entra.signin.provider import Provider
from flask_entra.urls import is_endpoint, split_url

UNKNOWN_KEY_SECONDS = 60
_ANYBODYS = object()  # in the place of a `kid` that anybody may have made up

T = TypeVar("T")
log = logging.getLogger(__name__)


class Authority:
    """An authority that issues tokens, as OpenID Connect Discovery 1.0 describes it. Safe to share among threads.

    :param http: the app's one HTTP client.
    :param config: the app's.
    :ivar client_id: the id that this app has there.
    :ivar expected: what its tokens are held against.
    :ivar clock_offset: by how many seconds this machine's clock is ahead, as of the last discovery; None if unknown.
    :ivar secret_method: how the client secret has been accepted (`Provider.secret_methods`), once it has.
    """

    def __init__(self, http: BoundedSession, config: Config):
        self._http, self._entra, self.client_id = http, config.entra, config.client_id
        self._address = config.issuer_address
        # Entra has the documents of version 2.0, which this app speaks, under a path of their own.
        version = "" if config.oidc_authority else "/v2.0"
        self._discovery_url = f"{self._address}{version}/.well-known/openid-configuration"
        tenant_id = split_url(config.authority).path.strip("/")
        self.expected = id_token.Expected(
            self.client_id, tenant_id if GUID.fullmatch(tenant_id) else None, config.allowed_tenants
        )
        self._provider = CachedDocument(self._fetch_provider, self.waiting)
        self._keys = CachedDocument(self._fetch_keys, self.waiting)
        self._own_keys = CachedDocument(self._fetch_own_keys, self.waiting)
        self._pauses = Pauses()
        self._looked_again: dict[object, float] = {}
        # Until when (`time.monotonic()`) nothing is fetched for tokens that anybody may have made up, and why.
        self._not_again: tuple[float, AuthorityUnavailable | None] = 0.0, None
        self.clock_offset: float | None = None
        self.secret_method: str | None = None

    @property
    def provider(self) -> Provider:
        """What it can do, by its discovery document.

        :raises AuthorityUnavailable: that is not known yet, and cannot be fetched.
        """
        return self._provider.get()

    def asked_now(self) -> Provider:
        """What it can do, by its discovery document as it is at this moment.

        :raises AuthorityUnavailable: that cannot be fetched.
        """
        return self._provider.get(since=time.monotonic())

    @contextlib.contextmanager
    def waiting(self, person: str | None = None, *, stranger: bool = False) -> Iterator[None]:
        """Hold one of the places that there are for requests that wait for the authority: for a token, or for its documents.

        :param person: on whose behalf, by any name that tells people apart.
        :param stranger: whether nobody knows yet who that is.
        :raises AuthorityUnavailable: too many wait already.
        """
        known = self._provider.peek()
        url = known.metadata["token_endpoint"] if known and person else self._discovery_url
        with _refused_here(), self._http.waiting(url, person, stranger=stranger):
            yield

    def validate(self, token: object, provider: Provider) -> dict[str, Any]:
        """Validate an ID token; see `id_token.validate`.

        :param provider: the authority's abilities.
        :return: its claims.
        :raises IdTokenRefused: it fails a check.
        :raises AuthorityUnavailable: the keys are not known yet, and cannot be fetched.
        """
        try:
            return self.with_keys(
                token,
                lambda keys: id_token.validate(token, keys, provider.algorithms, provider.issuer, self.expected),
            )
        except TenantNotAllowed:
            raise
        except IdTokenRefused as error:
            if clock := self.wrong_clock:
                raise type(error)(f"{error}; {clock}") from error
            raise

    @property
    def wrong_clock(self) -> str:
        """What is wrong with this machine's clock, in words for a log; empty if nothing is."""
        offset = self.clock_offset or 0
        if abs(offset) <= id_token.LEEWAY_SECONDS:
            return ""
        return f"this machine's clock is {abs(offset):.0f} seconds {'ahead of' if offset > 0 else 'behind'} the authority's"

    def with_keys(self, token: object, check: Callable[[Sequence[id_token.Key]], T], *, stranger: bool = False) -> T:
        """Check a token with the authority's keys; when none of them fits, with the keys as they are now.

        Authorities sign with a new key before the copy here is due, some under the same `kid`. Entra signs with a key of the
        app's own where the app maps claims. The keys are fetched again once a minute for each `kid`, so that forged tokens do
        not become a flood of requests.

        :param stranger: whether anybody may have sent the token, and made up its `kid`. The keys are then fetched again once
            a minute for all such tokens together, in a block of `spared`.
        :raises NoKeyFits: none of the keys has signed it.
        :raises AuthorityUnavailable: the keys cannot be fetched.
        """
        try:
            return check([*self._keys.get(), *(self._own_keys.peek() or ())])
        except id_token.NoKeyFits:
            kid, now = _ANYBODYS if stranger else id_token.key_id(token), time.monotonic()
        if stranger:
            self._spare()
        recent = {other: at for other, at in list(self._looked_again.items()) if now - at < UNKNOWN_KEY_SECONDS}
        since = recent.setdefault(kid, now)
        self._looked_again = recent
        try:
            with self.waiting("tokens of callers", stranger=True) if stranger else contextlib.nullcontext():
                checked = self._checked_anew(check, since)
        except AuthorityUnavailable:
            self._looked_again.pop(kid, None)  # nobody has looked
            raise
        self._looked_again.pop(kid, None)
        return checked

    @contextlib.contextmanager
    def spared(self) -> Iterator[None]:
        """Let the block validate what anybody may have sent: while the authority fails, not each of it is a request to it.

        :raises AuthorityUnavailable: its documents are not known yet, and could not be fetched a moment ago.
        """
        if not (self._provider.peek() and self._keys.peek()):
            self._spare()
        try:
            yield
        except AuthorityUnavailable as error:
            self._not_again = time.monotonic() + RETRY_SECONDS, same(error)
            raise

    def _spare(self) -> None:
        until, failure = self._not_again
        if failure and time.monotonic() < until:
            raise same(failure)

    def _checked_anew(self, check: Callable[[Sequence[id_token.Key]], T], since: float) -> T:
        try:
            return check(self._keys.get(since=since))
        except id_token.NoKeyFits:
            if not self._entra:
                raise
        return check(self._own_keys.get(since=since))

    def fetch(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send a request to the authority, unless it has asked for a pause.

        :param kwargs: as `BoundedSession.fetch` takes them.
        :raises AuthorityUnavailable: there is no answer in time, or one that says to come back later.
        """
        where = url.partition("?")[0]
        try:
            with _refused_here():
                self._pauses.check(where)
                response = self._http.fetch(method, url, **kwargs)
        except requests.Timeout as error:
            raise AuthorityUnavailable(f"no answer in time from {where}", timeout=True) from error
        except requests.exceptions.SSLError as error:
            why = (
                "its certificate is not trusted: REQUESTS_CA_BUNDLE names those that are"
                if is_untrusted(error)
                else "TLS"
            )
            raise AuthorityUnavailable(f"no answer from {where} (SSLError; {why})") from error
        except requests.RequestException as error:
            raise AuthorityUnavailable(f"no answer from {where} ({type(error).__name__})") from error
        if response.status_code >= 500 or response.status_code == 429:
            wait = retry_after(response)
            if wait and response.status_code in (429, 503):
                self._pauses.note(where, wait)
            raise AuthorityUnavailable(f"{where} answered {response.status_code}", retry_after=wait)
        if 300 <= response.status_code < 400:
            where = response.headers.get("Location", "nowhere")[:200]
            raise AuthorityUnavailable(f"{where} redirects to {where}, which is not followed")
        return response

    @staticmethod
    def json_object(response: requests.Response) -> JsonObject:
        """The JSON object that the authority answered.

        :raises AuthorityUnavailable: there is none, or one with a lone surrogate in it.
        """
        try:
            return json_object(response)
        except ValueError as error:
            raise AuthorityUnavailable(str(error)) from error

    def trust(self, metadata: dict[str, Any], key: id_token.Key) -> None:
        """Take a key beside those that it publishes, and a discovery document if none is known: for tests without a tenant."""
        if not self._provider.peek():
            self._provider.put(Provider(metadata, self._entra))
        self._keys.put([*(each for each in self._keys.peek() or () if each.kid != key.kid), key])

    # --- Documents --------------------------------------------------------------------------------------------------

    def _fetch_provider(self) -> Provider:
        return Provider(self._checked_metadata(self.fetch("GET", self._discovery_url)), self._entra)

    def _checked_metadata(self, response: requests.Response) -> dict[str, Any]:
        metadata = self.json_object(response)
        if response.status_code != 200:
            description = str(metadata.get("error_description", ""))
            raise AuthorityUnavailable(f"discovery answered {response.status_code}", description=description)
        with contextlib.suppress(KeyError, ValueError, TypeError):
            self.clock_offset = time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
        for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(metadata.get(name), str):
                raise AuthorityUnavailable(f"the discovery document has no {name}")
            if name == "authorization_endpoint" and not is_endpoint(metadata[name]):
                raise AuthorityUnavailable(f"the {name} in the discovery document is no https address")
            if name in ("token_endpoint", "jwks_uri") and split_url(metadata[name]).scheme != "https":
                raise AuthorityUnavailable(f"the {name} in the discovery document is not https")
        if not is_expected(metadata["issuer"], self._address, self._entra):
            reason = f"the discovery document of {self._address} is another issuer's: {metadata['issuer'][:200]}"
            raise AnotherIssuer(reason, issuer=metadata["issuer"])
        return metadata

    def _fetch_keys(self) -> list[id_token.Key]:
        return self._fetch_key_set(self.provider.metadata["jwks_uri"])

    def _fetch_own_keys(self) -> list[id_token.Key]:
        """The keys that Entra has made for this app alone.

        https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-signature
        """
        response = self.fetch("GET", f"{self._discovery_url}?{urlencode({'appid': self.client_id})}")
        if response.status_code >= 400:
            return []
        return self._fetch_key_set(self._checked_metadata(response)["jwks_uri"])

    def _fetch_key_set(self, url: str) -> list[id_token.Key]:
        response = self.fetch("GET", url)
        if response.status_code != 200:
            raise AuthorityUnavailable(f"the keys' endpoint answered {response.status_code}")
        keys = []
        published = self.json_object(response).get("keys")
        for entry in published if isinstance(published, list) else ():
            try:
                keys.append(id_token.Key.read(entry))
            except (jwt.PyJWTError, TypeError, KeyError, AttributeError, ValueError):
                log.warning("The authority publishes a key that cannot be used")
        usable = [key for key in keys if key]
        if not usable:
            raise AuthorityUnavailable("the authority publishes no key that can be used")
        return usable


@contextlib.contextmanager
def _refused_here() -> Iterator[None]:
    try:
        yield
    except Refusal as error:
        raise AuthorityUnavailable(str(error), retry_after=error.retry_after) from error

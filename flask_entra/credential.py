"""What the app proves itself with, and what signs the cookies of sign-ins, as the files that hold them are now."""

from __future__ import annotations

import contextlib
import hmac
import os
import threading
import time
from pathlib import Path
from typing import Any

from flask_entra.certificates import ClientCertificate, read_certificate
from flask_entra.clouds import exchange_audience
from flask_entra.managed_identity import ManagedIdentity
from flask_entra.settings import Settings
from flask_entra.watched_file import read_lines, read_text, watched

FORMER_SECONDS = 3600  # a sign-in that has begun with a key that a file held until now can be finished for so long


class Credential:
    """The credential of an app. Safe to share among threads.

    :param settings: of the app.
    :param given: MSAL's `client_credential`, if the app gave one that is not a secret's text.
    """

    def __init__(self, settings: Settings, given: Any):
        self._settings = settings
        self._assertion = given or _assertion(settings)
        password = settings["CLIENT_CERTIFICATE_PASSWORD"]
        path = "" if given else settings["CLIENT_CERTIFICATE_PATH"]
        self._certificate = watched("CLIENT_CERTIFICATE_PATH", path, lambda path: read_certificate(path, password))
        self._secret = watched("CLIENT_SECRET_FILE", settings.file_of("CLIENT_SECRET"), read_text)
        self._key_lines = watched("SECRET_KEY_FILE", settings.file_of("SECRET_KEY"), read_lines)
        self._fallbacks = _fallbacks(settings)
        self._lock = threading.Lock()
        # Noted at once: another process may begin a sign-in with this key, and this one see a new key first.
        self._signing = self._present_keys[0]
        self._former: dict[bytes, float] = {}  # until when each is accepted (`time.monotonic()`)

    @property
    def msal(self) -> Any:
        """MSAL's `client_credential`; None without one."""
        if self._assertion is not None:
            return self._assertion
        if self._settings["CLIENT_CERTIFICATE_PATH"]:
            return self._certificate.get().msal_credential if self._certificate else None
        return self._client_secret or None

    @property
    def certificate(self) -> ClientCertificate | None:
        """The certificate, if there is one."""
        return self._certificate.get() if self._certificate else None

    @property
    def signing_keys(self) -> list[bytes]:
        """The keys of what a browser keeps signed; the last one signs. Empty while there is none."""
        key, *others = self._present_keys
        with self._lock:
            if key != self._signing:
                if self._signing:
                    self._former[self._signing] = time.monotonic() + FORMER_SECONDS
                self._signing = key
            former = [each for each, until in self._former.items() if until > time.monotonic()]
        return [*self._fallbacks, *others, *former, *([key] if key else [])]

    def look_again(self) -> None:
        """Read what has changed now: something is refused that was right a moment ago."""
        for file in (self._secret, self._certificate, self._key_lines):
            if file:
                file.look_again()

    @property
    def _client_secret(self) -> str:
        return self._secret.get() if self._secret else self._settings["CLIENT_SECRET"]

    @property
    def _present_keys(self) -> list[bytes]:
        """The key that signs, empty if there is none, and those that are accepted besides."""
        key, *others = self._key_lines.get() if self._key_lines else [self._settings["SECRET_KEY"]]
        shared = "" if key else self._shared_secret
        return [_derived(shared) if shared else key.encode(), *(each.encode() for each in others)]

    @property
    def _shared_secret(self) -> str:
        """The secret in the credential that all machines share; empty if there is none."""
        if self._assertion is not None:
            return ""
        if self._settings["CLIENT_CERTIFICATE_PATH"]:
            return self._certificate.get().private_key if self._certificate else ""
        return self._client_secret


def _assertion(settings: Settings) -> Any:
    """MSAL's `client_credential` where a token of somebody else's stands in the place of a secret; None elsewhere."""
    if settings["CLIENT_CERTIFICATE_PATH"]:
        return None
    if settings["MANAGED_IDENTITY_CLIENT_ID"]:
        identity = ManagedIdentity(settings["MANAGED_IDENTITY_CLIENT_ID"], exchange_audience(settings["AUTHORITY"]))
        return {"client_assertion": identity.token}
    # Last, because a platform sets it for all that runs there, also for an app that has a credential of its own.
    if settings["AZURE_FEDERATED_TOKEN_FILE"] and not settings["CLIENT_SECRET"]:
        token_file = Path(settings["AZURE_FEDERATED_TOKEN_FILE"])
        # Kubernetes replaces the token every hour or so: MSAL calls this for each token request.
        return {"client_assertion": lambda: token_file.read_text().strip()}
    return None


def _derived(secret: str) -> bytes:
    """The key that signs sign-ins where no `SECRET_KEY` is set."""
    return hmac.digest(secret.encode(), b"sign-in", "sha256")


def _fallbacks(settings: Settings) -> list[bytes]:
    """The keys that a sign-in which is in progress may be signed with, besides the present one."""
    found = [each.encode() for each in settings["SECRET_KEY_FALLBACKS"].split()]
    for each in settings["CLIENT_CREDENTIAL_FALLBACKS"].split():
        secret, path = each, settings.dotenv.path.parent / each
        if os.path.isfile(path):  # a certificate with its key; anything else is a client secret
            with contextlib.suppress(ValueError):
                secret = read_certificate(str(path), settings["CLIENT_CERTIFICATE_PASSWORD"]).private_key
        found.append(_derived(secret))
    return found

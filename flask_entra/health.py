"""What load balancers and orchestrators ask: is the process alive, and is it ready?"""

from __future__ import annotations

import logging
import time
from typing import Any

from flask import Flask, abort

from flask_entra.certificates import CertificateError, read_certificate
from flask_entra.config import Config
from flask_entra.managed_identity import IdentityUnavailable
from flask_entra.sessions.store import Store
from flask_entra.signin import guards
from flask_entra.signin.authority import Authority

PATHS = ("/healthz", "/readyz")
log = logging.getLogger(__name__)
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def init_app(app: Flask, config: Config, store: Store, authority: Authority) -> None:
    """Add `/healthz` and `/readyz`. They tell no secret, read no session, and answer whatever host is asked for."""

    @app.get("/healthz")
    @guards.public
    def healthz() -> tuple[str, dict[str, str]]:
        """Alive: for a supervisor that restarts a process that is not."""
        return "ok\n", _TEXT

    @app.get("/readyz")
    @guards.public
    def readyz() -> tuple[str, dict[str, str]]:
        """Ready: a sign-in that began now could end. For a balancer that sends requests here.

        :raises StoreUnavailable: the session store does not work.
        :raises AuthorityUnavailable: the authority is not known yet, and does not answer.
        :raises ServiceUnavailable: the app's credential cannot be used, or this machine's clock is wrong.
        """
        store.ping()
        issuer = authority.provider.issuer
        if reason := wrong_credential(config) or authority.wrong_clock:
            log.error("Not ready: %s", reason)
            abort(503, reason)
        return f"ok {issuer}\n", _TEXT


def wrong_credential(config: Config) -> str:
    """Why the app cannot prove who it is, in words for a log; empty if it can, as far as is known here."""
    credential, settings = config.client_credential, config.settings
    if settings["CLIENT_CERTIFICATE_PATH"]:
        try:
            certificate = read_certificate(settings["CLIENT_CERTIFICATE_PATH"], settings["CLIENT_CERTIFICATE_PASSWORD"])
        except CertificateError as error:
            return f"CLIENT_CERTIFICATE_PATH cannot be used: {error.trouble}"
        if certificate.x509.not_valid_after_utc.timestamp() < time.time():
            return f"the certificate of CLIENT_CERTIFICATE_PATH has expired on {certificate.x509.not_valid_after_utc:%Y-%m-%d}"
    elif isinstance(credential, dict) and callable(assertion := credential.get("client_assertion")):
        try:
            if not assertion():
                return "AZURE_FEDERATED_TOKEN_FILE is empty"
        except OSError as error:
            return f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}"
        except IdentityUnavailable as error:
            return str(error)
    return ""


def take_any_host(environ: dict[str, Any]) -> None:
    """Let a probe ask by the address of a machine or a container, which is not in `TRUSTED_HOSTS`.

    :param environ: of WSGI.
    """
    environ["HTTP_HOST"] = "localhost"
    environ.pop("HTTP_X_FORWARDED_HOST", None)

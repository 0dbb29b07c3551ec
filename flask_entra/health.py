"""What load balancers and orchestrators ask: is the process alive, and is it ready?"""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_entra.sessions.store import Store
from flask_entra.signin import guards
from flask_entra.signin.authority import Authority

PATHS = ("/healthz", "/readyz")
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def init_app(app: Flask, store: Store, authority: Authority) -> None:
    """Add `/healthz` and `/readyz`. They tell no secret, read no session, and answer whatever host is asked for."""

    @app.get("/healthz")
    @guards.public
    def healthz() -> tuple[str, dict[str, str]]:
        """Alive: for a supervisor that restarts a process that is not."""
        return "ok\n", _TEXT

    @app.get("/readyz")
    @guards.public
    def readyz() -> tuple[str, dict[str, str]]:
        """Ready: a session can be stored, and the authority's documents are at hand. For a balancer that sends requests here.

        :raises StoreUnavailable: the session store does not work.
        :raises AuthorityUnavailable: the authority is not known yet, and does not answer.
        """
        store.ping()
        return f"ok {authority.provider.issuer}\n", _TEXT


def take_any_host(environ: dict[str, Any]) -> None:
    """Let a probe ask by the address of a machine or a container, which is not in `TRUSTED_HOSTS`.

    :param environ: of WSGI.
    """
    if environ.get("PATH_INFO") in PATHS:
        environ["HTTP_HOST"] = "localhost"
        environ.pop("HTTP_X_FORWARDED_HOST", None)

"""What load balancers and orchestrators ask: is the process alive, and is it ready?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from flask_entra.signin.auth import Auth

PATHS = ("/healthz", "/readyz")
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def init_app(app: Flask, auth: Auth) -> None:
    """Add `/healthz` and `/readyz`. They tell no secret, read no session, and answer whatever host is asked for."""

    @app.get("/healthz")
    @auth.public
    def healthz() -> tuple[str, dict[str, str]]:
        """Alive: for a supervisor that restarts a process that is not."""
        return "ok\n", _TEXT

    @app.get("/readyz")
    @auth.public
    def readyz() -> tuple[str, dict[str, str]]:
        """Ready: a session can be stored, and the authority's documents are at hand. For a balancer that sends requests here.

        :raises StoreUnavailable: the session store does not work.
        :raises TenantUnavailable: the authority is not known yet, and does not answer.
        """
        app.extensions["session_store"].ping()
        return f"ok {auth.tenant.provider.issuer}\n", _TEXT

    app.wsgi_app = _any_host(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation has it


def _any_host(wsgi_app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    # A probe asks by the address of a machine or a container, which is not in TRUSTED_HOSTS.
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in PATHS:
            environ["HTTP_HOST"] = "localhost"
            environ.pop("HTTP_X_FORWARDED_HOST", None)
        return wsgi_app(environ, start_response)

    return answer

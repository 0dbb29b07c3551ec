"""What load balancers and orchestrators ask: is the process alive, and is it ready?"""

from __future__ import annotations

from flask import Flask

from auth import Auth

PATHS = ("/healthz", "/readyz")
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def init_app(app: Flask, auth: Auth) -> None:
    """Add `/healthz` and `/readyz`. They tell no secret, read no session, and answer whatever host is asked for."""

    @app.get("/healthz")
    def healthz():
        """Alive: for whoever restarts a process that is not."""
        return "ok\n", _TEXT

    @app.get("/readyz")
    def readyz():
        """Ready: the session store and the authority can be reached. For whoever sends requests here, or not yet."""
        app.session_interface.store.ping()
        return f"ok {auth.tenant.metadata['issuer']}\n", _TEXT

    app.wsgi_app = _any_host(app.wsgi_app)


def _any_host(wsgi_app):
    # A probe asks for the address of a machine or a container, which is no host of ours (TRUSTED_HOSTS).
    def answer(environ, start_response):
        if environ.get("PATH_INFO") in PATHS:
            environ["HTTP_HOST"] = "localhost"
            environ.pop("HTTP_X_FORWARDED_HOST", None)
        return wsgi_app(environ, start_response)

    return answer

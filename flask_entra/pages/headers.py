"""The headers that keep a browser safe, on every answer.

https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask

from flask_entra.urls import origin

YEAR_SECONDS = 365 * 24 * 3600


def init_app(app: Flask, script: str) -> None:
    """Add the headers, also to answers that no view gave.

    :param script: the hash of the only script that browsers may run, as `assets.integrity` gives it; empty for none.
    """
    wsgi_app, headers = app.wsgi_app, _security_headers(app.config, script)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return wsgi_app(environ, lambda status, own, *rest: start_response(status, own + headers, *rest))

    app.wsgi_app = answer  # type: ignore[method-assign]  # as Flask's documentation has it


def _security_headers(config: Mapping[str, Any], script: str) -> list[tuple[str, str]]:
    # Browsers apply form-action to the redirects after a form too, and those lead to the authority.
    form_action = " ".join(filter(None, ("'self'", origin(config["AUTHORITY"] or config["OIDC_AUTHORITY"]))))
    policy = (
        f"default-src 'none'; script-src '{script or 'none'}'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action {form_action}"
    )
    headers = [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if config["HTTPS"]:
        headers.append(("Strict-Transport-Security", f"max-age={YEAR_SECONDS}"))
    return headers

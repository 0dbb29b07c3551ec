"""What every page has: a language, links to its assets, and the headers that keep a browser safe."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from flask import Flask, Response, current_app, has_request_context, request
from flask_babel import Babel, get_locale

from app_config import split_url

LANGUAGES = {"en": "English", "fr": "Français"}
YEAR_SECONDS = 365 * 24 * 3600


def init_app(app: Flask) -> None:
    """Translate the app's pages, version its assets, and set the security headers of every answer."""
    Babel(app, locale_selector=_language)
    app.jinja_env.globals.update(asset=_asset, languages=LANGUAGES, language=lambda: str(get_locale()))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # An address with a content hash never changes what it stands for.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = YEAR_SECONDS
    headers = _security_headers(app)

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in headers:
            response.headers[name] = value
        if response.mimetype == "text/html":
            response.vary.add("Accept-Language")
        if request.args.get("lang") in LANGUAGES:
            response.set_cookie("lang", request.args["lang"], YEAR_SECONDS, secure=app.config["HTTPS"], samesite="Lax")
        return response


def _language() -> str:
    if not has_request_context():  # a command
        return "en"
    for chosen in (request.args.get("lang"), request.cookies.get("lang")):
        if chosen in LANGUAGES:
            return chosen
    return request.accept_languages.best_match(LANGUAGES, "en")


@functools.cache
def _asset(name: str) -> str:
    """The address of a file in `static/`, with a hash of its content."""
    digest = hashlib.sha256(Path(current_app.static_folder, name).read_bytes()).hexdigest()
    return f"{current_app.static_url_path}/{name}?v={digest[:12]}"


def _security_headers(app: Flask) -> list[tuple[str, str]]:
    # https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
    authority = split_url(app.config["AUTHORITY"] or app.config["OIDC_AUTHORITY"] or "")
    origin = f" {authority.scheme}://{authority.netloc}" if authority.netloc else ""
    headers = [
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self'{origin}",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if app.config["HTTPS"]:
        headers.append(("Strict-Transport-Security", f"max-age={YEAR_SECONDS}"))
    return headers

"""What every page has: a language, links to its assets, and the headers that keep a browser safe."""

from __future__ import annotations

import functools
import hashlib
from contextvars import ContextVar
from pathlib import Path

from babel.support import Translations
from flask import Flask, Response, current_app, request
from flask_babel import Babel
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from app_config import ROOT, split_url

LANGUAGES = {"en": "English", "fr": "Français"}
YEAR_SECONDS = 365 * 24 * 3600

_language: ContextVar[str] = ContextVar("language", default="en")


def init_app(app: Flask) -> None:
    """Translate the app's pages, version its assets, and set the security headers of every answer."""
    Babel(app, locale_selector=language)
    # Flask-Babel looks for the catalogue anew at each text, 14 times a page; here it is known once the language is.
    app.jinja_env.install_gettext_callables(gettext, _ngettext, newstyle=True)
    app.jinja_env.globals.update(asset=_asset, languages=LANGUAGES, language=language)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.get_send_file_max_age = _max_age
    app.wsgi_app = _with_headers(app.wsgi_app, _security_headers(app))

    @app.before_request
    def choose_language() -> None:
        chosen = request.args.get("lang") or request.cookies.get("lang")
        _language.set(chosen if chosen in LANGUAGES else _best(request.headers.get("Accept-Language", "")))

    @app.after_request
    def finish(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers["Vary"] = "Accept-Language, Cookie"
            if (chosen := request.args.get("lang")) in LANGUAGES:
                response.set_cookie("lang", chosen, YEAR_SECONDS, secure=app.config["HTTPS"], samesite="Lax")
        return response


def language() -> str:
    """The language of the answer: the one that was chosen, or the first of the browser's that there is."""
    return _language.get()


def gettext(text: str) -> str:
    """A text of the app in the language of the answer."""
    return _catalogue(language()).gettext(text)


def _ngettext(singular: str, plural: str, number: int) -> str:
    return _catalogue(language()).ngettext(singular, plural, number)


def _max_age(name: str) -> int | None:
    """A year for an address with the hash of this very content, which never changes what it stands for."""
    # `name` is as the visitor wrote it, and nobody has looked yet whether it leads out of the folder.
    current = name in _files() and _asset(name)
    return YEAR_SECONDS if current and current.endswith(f"?v={request.args.get('v')}") else None


def _with_headers(wsgi_app, headers: list[tuple[str, str]]):
    """Add headers to every answer, also to those that no view gave."""

    def answer(environ, start_response):
        return wsgi_app(environ, lambda status, own, *rest: start_response(status, own + headers, *rest))

    return answer


@functools.lru_cache(maxsize=1024)
def _best(accepted: str) -> str:
    return parse_accept_header(accepted, LanguageAccept).best_match(LANGUAGES, "en")


@functools.cache
def _catalogue(code: str) -> Translations:
    return Translations.load(ROOT / "translations", code)


@functools.cache
def _files() -> frozenset[str]:
    folder = Path(current_app.static_folder)
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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

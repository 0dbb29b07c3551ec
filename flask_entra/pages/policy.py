"""The headers that keep a browser safe, and the Content-Security-Policy among them, which an app or a view may widen.

https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html; https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from flask import request

from flask_entra.config import Config
from flask_entra.urls import origin

YEAR_SECONDS = 365 * 24 * 3600
WIDENED_AT_MOST = 1000  # policies that are kept
# What a request notes in its environment: what is added to its answer's policy, its nonce, and that its answer is a page of ours.
_ADDED, _NONCE, _OWN_PAGE = "flask_entra.csp", "flask_entra.csp_nonce", "flask_entra.own_page"
_DIRECTIVE, _SOURCE = re.compile("[a-z]+(-[a-z]+)*"), re.compile(r"[^\s;,]+")

V = TypeVar("V", bound=Callable[..., Any])


def csp(**directives: Iterable[str]) -> Callable[[V], V]:
    """Decorate a view whose page needs more than the policy allows, as in `@auth.csp(script_src=["https://cdn.example"])`.

    :param directives: of the Content-Security-Policy, with underscores for hyphens, and the sources to add to each.
    :raises ValueError: a directive or a source cannot stand in a policy.
    """
    added = sources({name.replace("_", "-"): values for name, values in directives.items()})

    def decorate(view: V) -> V:
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def widened(*args: Any, **kwargs: Any) -> Any:
                _allow(added)
                return await view(*args, **kwargs)

        else:

            @functools.wraps(view)
            def widened(*args: Any, **kwargs: Any) -> Any:
                _allow(added)
                return view(*args, **kwargs)

        return widened  # type: ignore[return-value]  # it has the view's own signature

    return decorate


def csp_nonce() -> str:
    """For templates: a nonce by which the answer's policy allows scripts and styles, as in `<script nonce="…">`."""
    if _NONCE not in request.environ:
        nonce = request.environ[_NONCE] = secrets.token_urlsafe(16)
        _allow({"script-src": (f"'nonce-{nonce}'",), "style-src": (f"'nonce-{nonce}'",)})
    return str(request.environ[_NONCE])


def allow_script(integrity: str) -> str:
    """Let the answer's page run a script of this hash, which is returned."""
    _allow({"script-src": (f"'{integrity}'",)})
    return integrity


def mark_own_page() -> None:
    """Note that the answer is a page of this package alone, which has these headers in every app."""
    request.environ[_OWN_PAGE] = True


def _allow(added: Mapping[str, tuple[str, ...]]) -> None:
    request.environ.setdefault(_ADDED, []).append(added)


def sources(directives: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The sources of each directive, as they can stand in a policy.

    :raises ValueError: one of them cannot.
    """
    found = {}
    for name, values in directives.items():
        texts = tuple(values.split()) if isinstance(values, str) else tuple(map(str, values))
        if not _DIRECTIVE.fullmatch(name):
            raise ValueError(f"Content-Security-Policy: {name!r} is no directive. One is, for example, script-src.")
        if wrong := next((text for text in texts if not _SOURCE.fullmatch(text)), None):
            raise ValueError(
                f"Content-Security-Policy: {wrong!r} is no source of {name}. Write each as a text of its own."
            )
        found[name] = texts
    return found


class Policy:
    """The headers of an app's answers.

    :param config: the app's.
    :raises ValueError: what it adds to the policy cannot stand there.
    """

    def __init__(self, config: Config):
        # Browsers apply form-action to the redirects after a form too, and those lead to the authority.
        self._directives: dict[str, tuple[str, ...]] = {
            "default-src": (),
            "script-src": (),
            "style-src": ("'self'",),
            "img-src": ("'self'",),
            "connect-src": ("'self'",),
            "base-uri": (),
            "frame-ancestors": (),
            "form-action": tuple(filter(None, ("'self'", origin(config.issuer_address)))),
        }
        self._directives = self._with([sources(config.csp)])
        self._headers = [
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        if config.https:
            self._headers.append(("Strict-Transport-Security", f"max-age={YEAR_SECONDS}"))
        self._everywhere = "ENTRA_SECURITY_HEADERS" in config.on
        self._widened: dict[tuple[Any, ...], str] = {}  # what pages add, to the policy with that
        self._usual = [("Content-Security-Policy", _written(self._directives)), *self._headers]

    def headers(self, environ: Mapping[str, Any], own: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers of the answer to a request.

        :param environ: of WSGI.
        :param own: those that the answer has already, which stay as they are.
        """
        if not (self._everywhere or _OWN_PAGE in environ):
            return []
        added, names = environ.get(_ADDED), {name.lower() for name, _ in own}
        headers = self._usual
        if added:
            key = tuple((name, values) for each in added for name, values in each.items())
            policy = self._widened.get(key) or _written(self._with(added))
            if _NONCE not in environ and len(self._widened) < WIDENED_AT_MOST:
                self._widened[key] = policy
            headers = [("Content-Security-Policy", policy), *self._headers]
        return [header for header in headers if header[0].lower() not in names]

    def _with(self, added: Iterable[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
        directives = dict(self._directives)
        for each in added:
            for name, values in each.items():
                directives[name] = tuple(dict.fromkeys([*directives.get(name, ()), *values]))
        return directives


def _written(directives: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name} {' '.join(values) or _NONE}" for name, values in directives.items())


_NONE = "'none'"

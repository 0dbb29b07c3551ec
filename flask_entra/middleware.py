"""What stands between the server and Flask, in the order in which a request meets it: one WSGI application for all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_entra import access_log, health, logs
from flask_entra.config import Config
from flask_entra.pages.policy import Policy
from flask_entra.signin import callback_query
from flask_entra.signin.paths import route_of


def init_app(app: Flask, config: Config) -> None:
    """Put it in front of the app, and werkzeug's `ProxyFix` before it where proxies are trusted."""
    app.wsgi_app = _Middleware(app, config)  # type: ignore[method-assign]  # as Flask's documentation has it
    if count := config.proxies:
        fixed = _Proxies(app.wsgi_app, x_for=count, x_proto=count, x_host=count, x_prefix=count)
        app.wsgi_app = fixed  # type: ignore[method-assign]


class _Proxies(ProxyFix):
    """Of several proxies in a row, one alone may say by which host and scheme people came: the others pass that on."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        for name in ("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PREFIX"):
            values = environ.get(name, "").split(",")
            if values[0] and len(values) < self.x_host:
                environ[name] = ",".join([values[0]] * (self.x_host - len(values)) + values)
        return super().__call__(environ, start_response)


class _Middleware:
    """:raises ValueError: what the app adds to the Content-Security-Policy cannot stand there."""

    def __init__(self, app: Flask, config: Config):
        self._wsgi_app, self._policy = app.wsgi_app, Policy(config)
        self._root = str(app.config["APPLICATION_ROOT"]).rstrip("/")
        self._redirect_path = route_of(config.redirect_uri).encode().decode("latin-1")  # as WSGI spells it (PEP 3333)
        self._front_channel_path = config.front_channel_path.encode().decode("latin-1")
        self._trusts_proxies = config.proxies > 0
        self._has_health = "ENTRA_HEALTH" in config.on
        self._exporters = logs.exporters()
        self._logs_access, self._as_json = "ENTRA_ACCESS_LOG" in config.on, config.settings["LOG_FORMAT"] == "json"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began, asked = time.perf_counter(), environ.get("PATH_INFO", "")
        request_id = logs.give_id(environ, self._trusts_proxies)
        if self._root:
            _mount(environ, self._root)
        if self._has_health and environ.get("PATH_INFO") in health.PATHS:
            health.take_any_host(environ)
        callback_query.take(environ, self._redirect_path, self._front_channel_path)

        def start(status: str, headers: Sequence[tuple[str, str]], *rest: Any) -> Any:
            headers = [*headers, *self._policy.headers(environ, headers), ("X-Request-ID", request_id)]
            if self._logs_access:
                seconds = time.perf_counter() - began
                access_log.write(environ, asked, status, headers, seconds, self._as_json, self._exporters)
            return start_response(status, headers, *rest)

        return self._wsgi_app(environ, start)


def _mount(environ: dict[str, Any], root: str) -> None:
    """Mount the app at Flask's `APPLICATION_ROOT`, if neither the server nor a proxy has done so.

    :param environ: of WSGI. A proxy may have left the prefix in the path, or have taken it out.
    """
    if environ.get("SCRIPT_NAME"):
        return
    environ["SCRIPT_NAME"] = root
    path = environ.get("PATH_INFO", "")
    if path == root or path.startswith(f"{root}/"):
        environ["PATH_INFO"] = path[len(root) :]

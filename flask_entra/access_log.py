"""The access log: one line for each answer, as text or JSON, with the id of the request and without the query.

It is the app's own, so that it is the same under each server. What gunicorn or granian write themselves has no request id, and
gunicorn's way through `logging` collects eighty values for a line, which takes a tenth of the time of a page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from flask import Flask

from flask_entra.logs import printable, request_id_of

_NAME = "flask_entra.access_log"


def init_app(app: Flask) -> None:
    """Write a line when an answer begins."""
    wsgi_app, line = app.wsgi_app, _as_json if app.config["LOG_FORMAT"] == "json" else _as_text

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # The development server has coloured lines of its own.
        if environ.get("SERVER_SOFTWARE", "").startswith("Werkzeug/"):
            return wsgi_app(environ, start_response)
        began = time.perf_counter()

        def start(status: str, headers: Sequence[tuple[str, str]], *rest: Any) -> Any:
            now = time.time()
            at = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now % 1 * 1000):03}"
            # One call writes the whole line, so that the lines of many threads and processes do not mix.
            sys.stderr.write(line(at, environ, int(status[:3]), _length(headers), time.perf_counter() - began))
            return start_response(status, headers, *rest)

        return wsgi_app(environ, start)

    app.wsgi_app = answer  # type: ignore[method-assign]  # as Flask's documentation has it


def _length(headers: Sequence[tuple[str, str]]) -> int:
    return next((int(value) for name, value in headers if name == "Content-Length" and value.isdecimal()), 0)


def _as_text(at: str, environ: dict[str, Any], status: int, length: int, seconds: float) -> str:
    # The path is unvalidated. A control character in it must not look like a line of ours, nor command a terminal.
    asked = printable(f'{environ.get("REMOTE_ADDR")} "{environ["REQUEST_METHOD"]} {environ["PATH_INFO"]}"')
    return f"{at} INFO {_NAME} {request_id_of(environ)} {asked} {status} {length} bytes {seconds:.6f} s\n"


def _as_json(at: str, environ: dict[str, Any], status: int, length: int, seconds: float) -> str:
    # With the fields of the app's other lines.
    event = {
        "asctime": at,
        "levelname": "INFO",
        "name": _NAME,
        "request_id": request_id_of(environ),
        "message": f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {status}",
        "address": environ.get("REMOTE_ADDR"),
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "status": status,
        "bytes": length,
        "seconds": seconds,
    }
    return msgspec.json.encode(event).decode() + "\n"

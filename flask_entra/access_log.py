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


def _asked(environ: dict[str, Any]) -> tuple[str, str, str]:
    """The address, the method and the path of a request. A path has come as Latin-1 (PEP 3333), and is UTF-8."""
    # All are unvalidated. A control character in them must not look like a line of ours, nor command a terminal.
    path = environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")
    return printable(environ.get("REMOTE_ADDR", "-")), printable(environ["REQUEST_METHOD"]), printable(path)


def _as_text(at: str, environ: dict[str, Any], status: int, length: int, seconds: float) -> str:
    address, method, path = _asked(environ)
    asked = f'{request_id_of(environ)} {address} "{method} {path}"'
    return f"{at} INFO {_NAME} {asked} {status} {length} bytes {seconds:.6f} s\n"


def _as_json(at: str, environ: dict[str, Any], status: int, length: int, seconds: float) -> str:
    address, method, path = _asked(environ)
    # With the fields of the app's other lines.
    event = {
        "asctime": at,
        "levelname": "INFO",
        "name": _NAME,
        "request_id": request_id_of(environ),
        "message": f"{method} {path} {status}",
        "address": address,
        "method": method,
        "path": path,
        "status": status,
        "bytes": length,
        "seconds": seconds,
    }
    return msgspec.json.encode(event).decode() + "\n"

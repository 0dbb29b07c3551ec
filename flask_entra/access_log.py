"""The access log: one line for each answer, as text or JSON, with the id of the request and without the query.

It is this package's own, so that it is the same under each server. What gunicorn or granian write themselves has no request id,
and gunicorn's way through `logging` collects eighty values for a line, which takes a tenth of the time of a page.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flask_entra.logs import REQUEST_ID, address_of, moment, printable, trace_id

_NAME = "flask_entra.access_log"


def write(
    environ: Mapping[str, Any],
    path: str,
    status: str,
    headers: Sequence[tuple[str, str]],
    seconds: float,
    as_json: bool,
    exporters: Sequence[logging.Handler] = (),
) -> None:
    """Write the line of an answer that begins.

    :param environ: of WSGI.
    :param path: as it came, in WSGI's spelling (PEP 3333).
    :param status: of the answer, likewise.
    :param headers: of the answer.
    :param seconds: since the request came.
    :param exporters: where the line goes besides, with its fields.
    """
    # The development server has coloured lines of its own.
    if environ.get("SERVER_SOFTWARE", "").startswith("Werkzeug/"):
        return
    line = _as_json if as_json else _as_text
    now = time.time()
    at = moment(now)
    length = next((int(value) for name, value in headers if name == "Content-Length" and value.isdecimal()), 0)
    # A path comes as Latin-1 and is UTF-8. All of these are unvalidated: a control character in them must not look like a line
    # of ours, nor command a terminal.
    path = path.encode("latin-1", "replace").decode("utf-8", "replace")
    told = (address_of(environ.get("REMOTE_ADDR")), environ["REQUEST_METHOD"], path)
    asked = tuple(each if each.isprintable() else printable(each) for each in told)
    # One call writes the whole line, so that the lines of many threads and processes do not mix.
    sys.stderr.write(line(at, environ[REQUEST_ID], asked, int(status[:3]), length, seconds))
    if exporters:
        address, method, path = asked
        fields = {"request_id": environ[REQUEST_ID], "address": address, "method": method, "path": path}
        fields |= {"status": int(status[:3]), "bytes": length, "seconds": seconds}
        message = f"{method} {path} {status[:3]}"
        record = logging.makeLogRecord(
            {"name": _NAME, "levelno": logging.INFO, "levelname": "INFO", "msg": message, **fields}
        )
        for each in exporters:
            each.handle(record)


def _as_text(at: str, request_id: str, asked: tuple[str, ...], status: int, length: int, seconds: float) -> str:
    address, method, path = asked
    traced = f" trace_id={found}" if (found := trace_id()) else ""
    begins = f"{at} INFO {os.getpid()} {_NAME} {request_id} {address}"
    return f'{begins} "{method} {path}" {status} {length} bytes {seconds:.6f} s{traced}\n'


def _as_json(at: str, request_id: str, asked: tuple[str, ...], status: int, length: int, seconds: float) -> str:
    address, method, path = asked
    # With the fields of the app's other lines.
    event = {
        "asctime": at,
        "levelname": "INFO",
        "process": os.getpid(),
        "name": _NAME,
        "request_id": request_id,
        "message": f"{method} {path} {status}",
        "address": address,
        "method": method,
        "path": path,
        "status": status,
        "bytes": length,
        "seconds": seconds,
    }
    if found := trace_id():
        event["trace_id"] = found
    return msgspec.json.encode(event).decode() + "\n"

"""gunicorn's access log: one line for each answer, as text or JSON, with the id of the request and without the query.

gunicorn's own way through `logging` collects eighty values for a line, and takes a tenth of the time of a page.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import msgspec
from gunicorn.glogging import Logger as GunicornLogger

from flask_entra.logs import printable, request_id_of

_NAME = "gunicorn.access"


class TextLogger(GunicornLogger):  # type: ignore[misc]  # it has no types
    """gunicorn's logger, with an access log of its own."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line of one answer."""
        now = time.time()
        at = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now % 1 * 1000):03}"
        # One call writes the whole line, so that the lines of many threads and processes do not mix.
        sys.stderr.write(self.line(at, environ, str(resp.status)[:3], resp.sent or 0, request_time.total_seconds()))

    def line(self, at: str, environ: dict[str, Any], status: str, sent: int, seconds: float) -> str:
        """The line.

        :param at: the present time.
        :param status: of the answer.
        :param sent: the bytes of its body.
        :param seconds: how long it took.
        """
        # The path is unvalidated. A control character in it must not look like a line of ours, nor command a terminal.
        asked = printable(f'{environ.get("REMOTE_ADDR")} "{environ["REQUEST_METHOD"]} {environ["PATH_INFO"]}"')
        return f"{at} INFO {_NAME} {request_id_of(environ)} {asked} {status} {sent} bytes {seconds:.6f} s\n"


class JsonLogger(TextLogger):
    """The same as JSON objects, with the fields of the app's other lines."""

    def line(self, at: str, environ: dict[str, Any], status: str, sent: int, seconds: float) -> str:
        """The line; see `TextLogger`."""
        event = {
            "asctime": at,
            "levelname": "INFO",
            "name": _NAME,
            "request_id": request_id_of(environ),
            "message": f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {status}",
            "address": environ.get("REMOTE_ADDR"),
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "status": int(status),
            "bytes": sent,
            "seconds": seconds,
        }
        return msgspec.json.encode(event).decode() + "\n"

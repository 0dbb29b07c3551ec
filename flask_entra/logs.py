"""One line for each event, as text or JSON, with the id of the request it belongs to. No secret reaches a line."""

from __future__ import annotations

import datetime
import logging
import logging.config
import random
import re
import sys
import threading
import time
from typing import Any

from flask import has_request_context, request

# python-json-logger: the maintained JSON formatter for the standard library's logging.
from pythonjsonlogger.json import JsonFormatter

REQUEST_ID = "flask_entra.request_id"  # its name in the environment of WSGI
_PORT = re.compile(r"^(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{1,5}$")
_ID = re.compile(r"[\w.:/+=-]{1,100}", re.ASCII)
_QUERY = re.compile(r"\?[^\x1b]+?(?= HTTP/|\x1b|$)", re.DOTALL)  # up to the version, or to where a colour ends
_FIELDS = "%(asctime)s %(levelname)s %(process)d %(name)s %(request_id)s %(message)s"
WHILE_SECONDS = 10


def give_id(environ: dict[str, Any], trusted: bool) -> str:
    """Give a request an id, or keep the one that a trusted proxy has given it.

    :param environ: of WSGI.
    :param trusted: whether a proxy in front is trusted.
    :return: the id.
    """
    given = environ.get("HTTP_X_REQUEST_ID", "")
    # Nothing rests on the id being hard to guess, and the system's random numbers cost a thread its turn.
    made = given if trusted and _ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    environ[REQUEST_ID] = made
    return made


def config(log_format: str) -> dict[str, Any]:
    """The configuration of the standard library's logging, for the app and for gunicorn (`gunicorn.conf.py`).

    :param log_format: `text` or `json`.
    """
    as_json = log_format == "json"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": lambda: _add_request_id}, "no_query": {"()": lambda: _hide_queries}},
        "formatters": {
            "event": {"()": _Json if as_json else _OneLine, "fmt": _FIELDS},
            "plain": {"format": "%(message)s"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "event"},
            "server": {
                "class": "logging.StreamHandler",
                "filters": ["request_id"],
                "formatter": "event" if as_json else "plain",
            },
        },
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {
            # The query of the redirect URI holds the code. The development server's lines have a time of their own.
            "gunicorn.error": {"filters": ["no_query"], "handlers": [], "propagate": True},
            "werkzeug": {"filters": ["no_query"], "handlers": ["server"], "propagate": False},
        },
    }


def set_up(log_format: str) -> None:
    """Configure the standard library's logging; what exports lines to OpenTelemetry stays.

    :param log_format: `text` or `json`.
    """
    root, kept = logging.getLogger(), exporters()
    logging.config.dictConfig(config(log_format))
    for each in kept:
        if each not in root.handlers:
            root.addHandler(each)  # behind our own, which gives a line the ID of its request


def exporters() -> list[logging.Handler]:
    """The handlers that export the lines of all loggers to OpenTelemetry; none if it does not run."""
    return [each for each in logging.getLogger().handlers if type(each).__module__.startswith("opentelemetry.")]


class OnceInAWhile:
    """Which of many lines that say the same are written. Safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, tuple[float, int]] = {}  # when it was written last, and how often it was not since

    def count(self, line: str) -> int | None:
        """Whether to write a line.

        :return: how often it has not been written since the last time; None if it is not to be written now either.
        """
        now = time.monotonic()
        with self._lock:
            at, more = self._since.get(line, (float("-inf"), 0))
            if now - at < WHILE_SECONDS:
                self._since[line] = at, more + 1
                return None
            self._since = {each: kept for each, kept in self._since.items() if now - kept[0] < 10 * WHILE_SECONDS}
            self._since[line] = now, 0
            return more


def request_id() -> str:
    """The id of the request that is being answered: what an error page shows, and what finds its log lines."""
    return str(request.environ.get(REQUEST_ID, "-"))


def printable(line: str) -> str:
    """A text that a visitor may have written, on one line and without a control character."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def address_of(remote_addr: str | None) -> str:
    """The address that a request came from. Some proxies (Azure's) pass on the port of the visitor's connection too.

    :param remote_addr: as WSGI has it, or the last trusted proxy: unvalidated.
    """
    return _PORT.sub(r"\1", remote_addr or "-")


def moment(at: float) -> str:
    """A time as a line begins with it: local, with its offset from UTC (ISO 8601).

    :param at: Unix seconds.
    """
    return datetime.datetime.fromtimestamp(at).astimezone().isoformat(" ", "milliseconds")


class _Json(JsonFormatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return moment(record.created)


def telemetry_runs() -> bool:
    """Whether somebody has begun OpenTelemetry in this process. (redis-py imports it wherever it is installed.)"""
    found = [sys.modules.get(f"opentelemetry.{name}") for name in ("trace", "metrics")]
    if not all(found):
        return False
    providers = found[0].get_tracer_provider(), found[1].get_meter_provider()  # type: ignore[union-attr]
    return any("Proxy" not in type(each).__name__ for each in providers)  # those that stand in until there is one


def trace_id() -> str:
    """The id of the trace that OpenTelemetry keeps of the present request; empty if it is not running."""
    trace = sys.modules.get("opentelemetry.trace")
    context = trace.get_current_span().get_span_context() if trace else None
    return f"{context.trace_id:032x}" if context and context.is_valid else ""


class _OneLine(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return moment(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A text that a visitor wrote into a parameter must not look like a line of ours, nor command a terminal.
        traced = f" trace_id={found}" if (found := getattr(record, "trace_id", "")) else ""
        return printable(super().formatMessage(record) + traced)

    def formatException(self, ei: Any) -> str:
        return "\n".join("  " + printable(line) for line in super().formatException(ei).split("\n"))


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id() if has_request_context() else "-"
    if found := trace_id():
        record.trace_id = found
    return True


def _hide_queries(record: logging.LogRecord) -> bool:
    record.msg = _without_query(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(_without_query(arg) for arg in record.args)
    return True


def _without_query(text: Any) -> Any:
    return _QUERY.sub("?…", text) if isinstance(text, str) else text

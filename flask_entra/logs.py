"""One line for each event, as text or JSON, with the id of the request it belongs to. No secret reaches a line."""

from __future__ import annotations

import logging
import logging.config
import random
import re
from collections.abc import Mapping
from typing import Any

from flask import has_request_context, request

_ENVIRON = "flask_entra.request_id"
_ID = re.compile(r"[\w.:/+=-]{1,100}", re.ASCII)
_QUERY = re.compile(r"\?[^\x1b]+?(?= HTTP/|\x1b|$)", re.DOTALL)  # up to the version, or to where a colour ends
_FIELDS = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"


def give_id(environ: dict[str, Any], trusted: bool) -> str:
    """Give a request an id, or keep the one that a trusted proxy has given it.

    :param environ: of WSGI.
    :param trusted: whether a proxy in front is trusted.
    :return: the id.
    """
    given = environ.get("HTTP_X_REQUEST_ID", "")
    # Nothing rests on the id being hard to guess, and the system's random numbers cost a thread its turn.
    made = given if trusted and _ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    environ[_ENVIRON] = made
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
            # python-json-logger: the maintained JSON formatter for the standard library's logging.
            "event": {"()": "pythonjsonlogger.json.JsonFormatter" if as_json else _OneLine, "fmt": _FIELDS},
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


def request_id() -> str:
    """The id of the request that is being answered: what an error page shows, and what finds its log lines."""
    return request_id_of(request.environ)


def request_id_of(environ: Mapping[str, Any]) -> str:
    """The id of a request, by its WSGI environment."""
    return str(environ.get(_ENVIRON, "-"))


def printable(line: str) -> str:
    """A text that a visitor may have written, on one line and without a control character."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        # A text that a visitor wrote into a parameter must not look like a line of ours, nor command a terminal.
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join("  " + printable(line) for line in super().formatException(ei).split("\n"))


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id() if has_request_context() else "-"
    return True


def _hide_queries(record: logging.LogRecord) -> bool:
    record.msg = _without_query(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(_without_query(arg) for arg in record.args)
    return True


def _without_query(text: Any) -> Any:
    return _QUERY.sub("?…", text) if isinstance(text, str) else text

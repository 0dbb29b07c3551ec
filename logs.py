"""One line an event, as text or JSON, each with the id of the request it belongs to. No secret reaches a line."""

from __future__ import annotations

import logging
import re
import secrets

from flask import Flask, g, has_request_context
from pythonjsonlogger.json import JsonFormatter  # the maintained JSON formatter for the standard library's logging

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"


def init_app(app: Flask) -> None:
    """Send what the app and its libraries log to standard error, as `LOG_FORMAT` says."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_request_id)
    handler.setFormatter(JsonFormatter(_FIELDS) if app.config["LOG_FORMAT"] == "json" else _OneLine(_FIELDS))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The development server logs whole request lines, and the redirect URI's has the authorization code in it.
    logging.getLogger("werkzeug").addFilter(_hide_queries)


def request_id() -> str:
    """The id of the request that is being answered: what an error page shows, and what finds its log lines."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(8)
    return g.request_id


class _OneLine(logging.Formatter):
    def formatMessage(self, record):
        # What a visitor wrote into a parameter must not look like a line of ours.
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id() if has_request_context() else "-"
    return True


def _hide_queries(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?\S*", "?…", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True

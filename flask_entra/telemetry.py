"""What OpenTelemetry is told of this package's own subjects: spans and metrics. Imported only where OpenTelemetry is already.

The parts know nothing of it: each class here is one of theirs that also counts and times. The trace of a request is that of
Flask's own instrumentation; requests to others and to the store are spans of this module. Each attribute has one of a few values,
and none is a visitor's: no text of an exception, no URL, no ID.

    flask_entra.sign_ins.begun          sign-ins that have begun
    flask_entra.sign_ins                their answers: `outcome`, and `error.code` where the authority names one
    flask_entra.refreshes               access tokens that were to be renewed: likewise
    flask_entra.id_tokens.refused       ID tokens that failed a check
    flask_entra.access.denied           pages that were refused: `error.type`, see `signals.access_denied`
    flask_entra.sign_outs               people who have signed out
    flask_entra.sessions.begun, .ended  sessions stored and deleted; those that expire are not counted
    flask_entra.failures                pages of failures: `error.type`, and `error.code` likewise
    flask_entra.upstream.duration       requests to the authority, Graph and other APIs, in seconds: `server.address`,
                                        `http.request.method`, and `http.response.status_code` or `error.type`
    flask_entra.upstream.refused        requests that the app did not send, because too many wait: `server.address`
    flask_entra.store.duration          operations of the session store, in seconds: `operation`, and `error.type` if it failed
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import requests
from flask import Flask, Response
from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.datastructures import MultiDict

from flask_entra import signals
from flask_entra.bulkhead import Busy
from flask_entra.http_client import BoundedSession
from flask_entra.pages import Answers
from flask_entra.pages.entra_errors import ENTRA_ERRORS
from flask_entra.pages.entra_kinds import is_published
from flask_entra.sessions.store import Store
from flask_entra.signin.errors import IdTokenRefused, SignInError
from flask_entra.signin.tokens import Tokens
from flask_entra.urls import split_url

# The instrumentation of requests, urllib3 and redis is held back while these wait, where somebody has it: it notes whole URLs,
# those of files and uploads with a token in them, and exceptions, those of Sentinel with its password.
try:
    from opentelemetry.instrumentation.utils import suppress_instrumentation
except ImportError:
    suppress_instrumentation = contextlib.nullcontext  # type: ignore[assignment]  # nobody has any

OTHER = "other"
MOST_HOSTS = 20  # that have a name of their own: files come from addresses of many
# RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core, 3.1.2.6; and this package's own.
OAUTH_ERRORS = frozenset(
    [
        "access_denied",
        "consent_required",
        "interaction_required",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "no_sign_in_begun",
        "server_error",
        "temporarily_unavailable",
        "too_many_sign_ins",
        "unauthorized_client",
    ]
)

_tracer, _meter = trace.get_tracer("flask_entra"), metrics.get_meter("flask_entra")
_begun = _meter.create_counter("flask_entra.sign_ins.begun")
_sign_ins = _meter.create_counter("flask_entra.sign_ins")
_refreshes = _meter.create_counter("flask_entra.refreshes")
_id_tokens_refused = _meter.create_counter("flask_entra.id_tokens.refused")
_denied = _meter.create_counter("flask_entra.access.denied")
_sign_outs = _meter.create_counter("flask_entra.sign_outs")
_sessions_begun = _meter.create_counter("flask_entra.sessions.begun")
_sessions_ended = _meter.create_counter("flask_entra.sessions.ended")
_failures = _meter.create_counter("flask_entra.failures")
_upstream = _meter.create_histogram("flask_entra.upstream.duration", "s")
_upstream_refused = _meter.create_counter("flask_entra.upstream.refused")
_store = _meter.create_histogram("flask_entra.store.duration", "s")
_hosts: dict[str, str] = {}


def watch(app: Flask) -> None:
    """Count what an app's signals tell."""
    signals.signed_out.connect(_signed_out, app)
    signals.access_denied.connect(_access_denied, app)


def _signed_out(_app: Flask, **_told: Any) -> None:
    _sign_outs.add(1)


def _access_denied(_app: Flask, error: Exception, **_told: Any) -> None:
    _denied.add(1, {"error.type": type(error).__name__})


class WatchedTokens(Tokens):
    """Sign-ins and refreshes, each a span."""

    def begin(self, *args: Any, **more: Any) -> dict[str, Any]:
        flow = super().begin(*args, **more)
        _begun.add(1)
        return flow

    def finish(self, flow: dict[str, Any], answer: MultiDict[str, str]) -> dict[str, Any]:
        with _attempt("sign-in", _sign_ins):
            return super().finish(flow, answer)

    def renew(self, scopes: list[str] | None = None, claims: str | None = None) -> dict[str, Any]:
        with _attempt("token refresh", _refreshes):
            return super().renew(scopes, claims)


class WatchedAnswers(Answers):
    """Failures, as the pages that they are."""

    def respond(self, error: Exception) -> Response:
        _failures.add(1, _told_of(error))
        return super().respond(error)


class WatchedSession(BoundedSession):
    """Requests to others, each a span, whose id goes along (https://www.w3.org/TR/trace-context/)."""

    def fetch(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        return _asked(super().fetch, method, url, kwargs)

    def open(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        return _asked(super().open, method, url, kwargs)

    @contextlib.contextmanager
    def waiting(self, url: str, person: str | None = None, *, stranger: bool = False) -> Iterator[None]:
        with contextlib.ExitStack() as place:
            try:
                place.enter_context(super().waiting(url, person, stranger=stranger))
            except Busy:
                _upstream_refused.add(1, {"server.address": _host(url)})
                raise
            yield


class _WatchedStore:
    """A store, whose other methods are as they were."""

    def __init__(self, store: Store):
        self._watched = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watched, name)

    def ping(self) -> None:
        with _timed("ping"):
            self._watched.ping()

    def get(self, key: str) -> bytes | None:
        with _timed("get"):
            return self._watched.get(key)

    def add(self, key: str, value: bytes, seconds: int) -> None:
        with _timed("add"):
            self._watched.add(key, value, seconds)
        _sessions_begun.add(1)

    def update(self, key: str, change: Callable[[bytes], bytes | None], seconds: int) -> None:
        with _timed("update"):
            self._watched.update(key, change, seconds)

    def delete(self, key: str) -> bool:
        with _timed("delete"):
            was_there = self._watched.delete(key)
        if was_there:
            _sessions_ended.add(1)
        return was_there

    def note(self, label: str, entry: bytes, seconds: int) -> None:
        with _timed("note"):
            self._watched.note(label, entry, seconds)

    def notes(self, label: str) -> list[bytes]:
        with _timed("notes"):
            return self._watched.notes(label)

    def drop_note(self, label: str, entry: bytes) -> None:
        with _timed("drop note"):
            self._watched.drop_note(label, entry)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            with _timed("lock"):
                held.enter_context(self._watched.lock(key))
            try:
                yield
            finally:
                with suppress_instrumentation():
                    held.close()


def watched_store(store: Store) -> Store:
    """The store, with its operations timed and its sessions counted."""
    return cast(Store, _WatchedStore(store))


@contextlib.contextmanager
def _span(name: str, **kwargs: Any) -> Iterator[trace.Span]:
    # An exception's text may hold anything: a URL, what a visitor wrote, a person's name.
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **kwargs) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR)
            span.set_attributes(_told_of(error))
            raise


@contextlib.contextmanager
def _attempt(name: str, counter: metrics.Counter) -> Iterator[None]:
    try:
        with _span(name):
            yield
    except Exception as error:
        if isinstance(error, IdTokenRefused):
            _id_tokens_refused.add(1)
        told = _told_of(error)
        counter.add(1, {"outcome": told.pop("error.type"), **told})
        raise
    counter.add(1, {"outcome": "ok"})


def _asked(send: Callable[..., requests.Response], method: str, url: str, kwargs: dict[str, Any]) -> requests.Response:
    told: dict[str, Any] = {"server.address": _host(url), "http.request.method": method}
    began = time.perf_counter()
    try:
        with _span(method, kind=trace.SpanKind.CLIENT, attributes=told) as span, suppress_instrumentation():
            headers = dict(kwargs.pop("headers", None) or {})
            TraceContextTextMapPropagator().inject(headers)
            response = send(method, url, headers=headers, **kwargs)
            told["http.response.status_code"] = response.status_code
            span.set_attribute("http.response.status_code", response.status_code)
            return response
    except Exception as error:
        told |= _told_of(error)
        if isinstance(error, Busy):
            _upstream_refused.add(1, {"server.address": told["server.address"]})
        raise
    finally:
        _upstream.record(time.perf_counter() - began, told)


@contextlib.contextmanager
def _timed(operation: str) -> Iterator[None]:
    told, began = {"operation": operation}, time.perf_counter()
    try:
        with _span(f"store {operation}"), suppress_instrumentation():
            yield
    except Exception as error:
        told |= _told_of(error)
        raise
    finally:
        _store.record(time.perf_counter() - began, told)


def _told_of(error: Exception) -> dict[str, str]:
    told = {"error.type": type(error).__name__}
    if isinstance(error, SignInError):
        # It may come from anybody, by the query of the redirect URI: only codes that are known are told.
        found = re.search(r"\bAADSTS\d{4,8}\b", error.description)
        known = found and (found[0] in ENTRA_ERRORS or is_published(found[0]))
        code = found[0] if found and known else error.error
        told["error.code"] = code if known or code in OAUTH_ERRORS else OTHER
    return told


def _host(url: str) -> str:
    host = split_url(url).hostname or OTHER
    return _hosts.get(host) or (_hosts.setdefault(host, host) if len(_hosts) < MOST_HOSTS else OTHER)

"""The requests that arrive: the endpoint that each is for, the log of them, and the faults that they meet."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from .faults import Challenge, Fault, Surroundings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

_VERSION = r"/(v1\.0|beta)"  # of Graph
# The names that `misbehave` and `seen` take, each with the paths of its requests.
ENDPOINTS = {
    "discovery": re.compile(r"/[^/]+(/v2\.0)?/\.well-known/openid-configuration"),
    "keys": re.compile(r"/[^/]+/discovery/v2\.0/keys"),
    "token": re.compile(r"/[^/]+/oauth2/v2\.0/token"),
    "authorize": re.compile(r"/[^/]+/oauth2/v2\.0/authorize"),
    "logout": re.compile(r"/[^/]+/oauth2/v2\.0/logout"),
    "photo": re.compile(rf"{_VERSION}/me/photo(s/[^/]+)?(/\$value)?"),
    "messages": re.compile(rf"{_VERSION}/me/messages(/[^/]+)?"),
    "send_mail": re.compile(rf"{_VERSION}/me/sendMail"),
    "events": re.compile(rf"{_VERSION}/me/events(/[^/]+)?"),
    "people": re.compile(rf"{_VERSION}/me/people"),
    "drive": re.compile(rf"{_VERSION}/me/drive/.+"),
    "download": re.compile(r"/onedrive/download/.+"),
    "upload": re.compile(r"/onedrive/up/.+"),
    "batch": re.compile(rf"{_VERSION}/\$batch"),
    "me": re.compile(rf"{_VERSION}/me"),
    "groups": re.compile(rf"{_VERSION}/me/checkMemberGroups"),
    "users": re.compile(rf"{_VERSION}/users"),
    "applications": re.compile(rf"{_VERSION}/applications\(appId='[^']*'\)"),
    "orders": re.compile(r"/orders/v1/mine"),
}

# A fault, or a function that gets the WSGI environment and returns a fault, a response, or None for the proper answer.
Behaviour: TypeAlias = Fault | Callable[[dict[str, Any]], Fault | Response | None]


def endpoint_of(path: str) -> str:
    """The name of the endpoint that a path belongs to; "other" for none of `ENDPOINTS`."""
    return next((name for name, pattern in ENDPOINTS.items() if pattern.fullmatch(path)), "other")


@dataclass(frozen=True)
class Seen:
    """A request that the sandbox received.

    :ivar endpoint: a name of `ENDPOINTS`, or "other".
    :ivar method: the HTTP method.
    :ivar path: the path, decoded, without the query.
    :ivar headers: the headers; names in any case.
    :ivar query: the query's parameters, the first value of each.
    :ivar form: the form's fields, the first value of each.
    :ivar connection: a number of the TCP connection; the requests on one connection have the same.
    """

    endpoint: str
    method: str
    path: str
    headers: Headers
    query: dict[str, str]
    form: dict[str, str]
    connection: int


@dataclass
class _Waiting:
    """A behaviour, and for how many more requests; None for all of them."""

    behaviour: Behaviour
    times: int | None


class Faults:
    """The faults that wait for requests, by endpoint. Safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Waiting]] = {}

    def add(self, endpoint: str, behaviour: Behaviour, times: int | None) -> None:
        """Let the next requests of an endpoint meet a fault, once the earlier faults of this endpoint are used up.

        :param endpoint: a name of `ENDPOINTS`.
        :param behaviour: the fault.
        :param times: for how many requests; None for every request until `clear`.
        :raises ValueError: there is no such endpoint.
        """
        if endpoint not in ENDPOINTS:
            raise ValueError(f"endpoint {endpoint!r} is none of {', '.join(ENDPOINTS)}")
        lasting = isinstance(behaviour, Fault) and behaviour.lasting
        with self._lock:
            self._waiting.setdefault(endpoint, []).append(_Waiting(behaviour, None if lasting else times))

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._waiting.clear()

    def next(self, endpoint: str) -> Behaviour | None:
        """The fault that the next request of an endpoint meets, now used up once; None if there is none."""
        with self._lock:
            waiting = self._waiting.get(endpoint, [])
            while waiting:
                first = waiting[0]
                if first.times is None:
                    return first.behaviour
                if first.times > 0:
                    first.times -= 1
                    return first.behaviour
                waiting.pop(0)
            return None

    def challenges(self) -> list[Challenge]:
        """The claims challenges that last at present."""
        with self._lock:
            every = [entry.behaviour for waiting in self._waiting.values() for entry in waiting]
        return [behaviour for behaviour in every if isinstance(behaviour, Challenge)]


class Gate:
    """The WSGI application through which every request passes: it is logged, meets its fault, and then is answered.

    :param application: the application behind it.
    :param faults: the faults that wait.
    :param around: the part of the sandbox that a fault may know.
    :ivar log: every request, oldest first.
    """

    def __init__(self, application: WSGIApplication, faults: Faults, around: Surroundings) -> None:
        self._application = application
        self._faults = faults
        self._around = around
        self.log: list[Seen] = []

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        seen = _read(environ)
        self.log.append(seen)
        met: Behaviour | Response | None = self._faults.next(seen.endpoint)
        while met is not None:
            if isinstance(met, Response):
                return met(environ, start_response)
            met = met.act(environ, self._around) if isinstance(met, Fault) else met(environ)
        return self._application(environ, start_response)


def _read(environ: dict[str, Any]) -> Seen:
    """Read a request, and leave its body for the application to read again."""
    request = Request(environ, populate_request=False)
    seen = Seen(
        endpoint_of(request.path),
        request.method,
        request.path,
        Headers(list(request.headers.items())),
        request.args.to_dict(),
        request.form.to_dict(),
        environ["sandbox.connection"],
    )
    environ["wsgi.input"].seek(0)
    return seen

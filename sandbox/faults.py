"""Misbehaviour on demand, for testing what a client does when the other side fails it.

Give one of these to ``Sandbox.misbehave``. A fault acts before the request reaches the tenant or
Graph. Every wait ends when the sandbox closes, so that no test can hang on one.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flask import Response

if TYPE_CHECKING:
    from .server import Sandbox

#: Bytes of a flood sent at once.
CHUNK = 64 * 1024


class Hangup(Exception):
    """Raised by a fault that dealt with the connection itself: the server sends nothing and closes it."""


class Fault:
    """The base of all faults."""

    #: A lasting fault is not used up by the requests that it meets: only ``behave()`` ends it.
    lasting = False

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        """Misbehave.

        Args:
            environ: the request's WSGI environment; the connection is at ``werkzeug.socket``.
            box: the sandbox; waits must end when its ``closing`` event is set.

        Returns:
            What to answer instead of the proper answer, or None for the proper one.

        Raises:
            Hangup: the connection is to be closed with nothing (more) sent.
        """
        raise NotImplementedError


def _send(environ: dict[str, Any], data: bytes) -> None:
    """Send raw bytes on the request's connection; a client that left ends the fault."""
    try:
        environ["werkzeug.socket"].sendall(data)
    except OSError as error:
        raise Hangup from error


def _head(length: int, content_type: str = "application/json") -> bytes:
    """The head of an ordinary answer of so many bytes."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n".encode()


class Answer(Fault):
    """Answers this instead.

    Args:
        status: HTTP status.
        body: bytes, text, or an object to send as JSON.
        headers: further headers, such as ``{"Retry-After": "3"}``.
    """

    def __init__(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        if isinstance(self.body, (bytes, str)):
            return Response(self.body, self.status, self.headers)
        return Response(json.dumps(self.body), self.status, self.headers, content_type="application/json")


class Delay(Fault):
    """Waits so many seconds, then lets the proper answer through."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        box.closing.wait(self.seconds)
        return None


class Close(Fault):
    """Closes the connection without an answer, as a keep-alive connection that died while idle does."""

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        raise Hangup


class Reset(Fault):
    """Resets the connection: the client meets a TCP RST.

    Over TLS, some versions of Python tell a reset as a mere end of file
    (https://github.com/python/cpython/issues/115627).
    """

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        connection = environ["werkzeug.socket"]
        # Lingering for zero seconds makes close() send RST instead of FIN. Windows' struct linger
        # has two shorts where others have two ints. The descriptor is closed itself, because
        # closing the socket object would wait for the files made from it, and shut down first.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(connection.detach())
        raise Hangup


class Silence(Fault):
    """Accepts the request and never answers; the connection closes after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        box.closing.wait(self.seconds)
        raise Hangup


class Drip(Fault):
    """Sends the headers at once and then the body a byte at a time.

    Args:
        seconds_between: pause before each byte.
        total: bytes in the body.
    """

    def __init__(self, seconds_between: float, total: int) -> None:
        self.seconds_between = seconds_between
        self.total = total

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        _send(environ, _head(self.total))
        drip(environ, b" " * self.total, self.seconds_between, box.closing)
        raise Hangup


class DripHeaders(Fault):
    """Sends the head of the answer itself a byte at a time, then an empty JSON object.

    A client's timeout between two bytes never sees it; only one for the whole answer does.

    Args:
        seconds_between: pause before each byte.
        total: bytes of the head, at least some 80.
    """

    def __init__(self, seconds_between: float, total: int) -> None:
        self.seconds_between = seconds_between
        self.total = total

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nX-Drip: "
        head = start.ljust(self.total - 4, b".") + b"\r\n\r\n"
        drip(environ, head, self.seconds_between, box.closing)
        _send(environ, b"{}")
        raise Hangup


def drip(environ: dict[str, Any], data: bytes, seconds_between: float, closing: threading.Event) -> None:
    """Send data one byte at a time.

    Args:
        environ: the request's WSGI environment.
        data: what to send.
        seconds_between: pause before each byte.
        closing: ends the drip when it is set.

    Raises:
        Hangup: the sandbox is closing, or the client left.
    """
    for byte in data:
        if closing.wait(seconds_between):
            raise Hangup
        _send(environ, bytes([byte]))


class Flood(Fault):
    """Answers a huge body, streamed.

    Args:
        size: bytes of the body.
        content_type: its media type.
        announced: say the size in ``Content-Length``; False sends it in chunks of unknown total.
    """

    def __init__(self, size: int, content_type: str = "application/json", announced: bool = True) -> None:
        self.size = size
        self.content_type = content_type
        self.announced = announced

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        if self.announced:
            _send(environ, _head(self.size, self.content_type))
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
            _send(environ, head.encode())
        for chunk in self._chunks():
            if box.closing.is_set():
                raise Hangup
            _send(environ, chunk if self.announced else b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if not self.announced:
            _send(environ, b"0\r\n\r\n")
        raise Hangup

    def _chunks(self) -> Iterator[bytes]:
        left = self.size
        while left > 0:
            yield b" " * min(CHUNK, left)
            left -= CHUNK


class Truncated(Fault):
    """Announces more bytes than it sends, then closes.

    Args:
        sent: the bytes that are sent.
        missing: how many more the ``Content-Length`` announces.
    """

    def __init__(self, sent: bytes = b'{"displayName": "Ad', missing: int = 100) -> None:
        self.sent = sent
        self.missing = missing

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        _send(environ, _head(len(self.sent) + self.missing) + self.sent)
        raise Hangup


class Challenge(Fault):
    """A claims challenge of Graph: 401 until the access token was got with these claims.

    https://learn.microsoft.com/entra/identity-platform/claims-challenge

    It lasts until ``behave()``, whatever ``times`` says.

    Args:
        claims: the claims request, such as
            ``{"access_token": {"acrs": {"essential": True, "value": "c1"}}}``.
        refresh: "satisfies" when a refresh with the same ``claims`` gets such a token;
            "interaction" when the token endpoint then answers ``interaction_required``, and only a
            sign-in with the same ``claims`` gets it.
    """

    lasting = True

    def __init__(self, claims: dict[str, Any], refresh: str = "satisfies") -> None:
        if refresh not in ("satisfies", "interaction"):
            raise ValueError(f"refresh must be 'satisfies' or 'interaction', not {refresh!r}")
        self.claims = claims
        self.refresh = refresh

    def met_by(self, given: Mapping[str, Any]) -> bool:
        """Whether a token that was got with these claims satisfies the challenge.

        A client may have added to them, as MSAL does with its client capabilities (``xms_cc``).
        """
        asked = self.claims.get("access_token", {})
        got = given.get("access_token") or {}
        return all(got.get(name) == value for name, value in asked.items())

    def act(self, environ: dict[str, Any], box: Sandbox) -> Response | None:
        token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2]
        if not token or self.met_by(box.tenant.claims_met_by(token)):
            return None
        encoded = base64.b64encode(json.dumps(self.claims, separators=(",", ":")).encode()).decode()
        code = "InvalidAuthenticationToken"
        message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
        response = Response(
            json.dumps({"error": {"code": code, "message": message}}), 401, content_type="application/json"
        )
        response.headers["WWW-Authenticate"] = (
            f'Bearer realm="", authorization_uri="{box.front_url}/common/oauth2/v2.0/authorize", '
            f'client_id="{box.client_id}", error="insufficient_claims", claims="{encoded}"'
        )
        return response


class Faults:
    """The faults that are waiting, by endpoint; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[list[Any]]] = {}

    def add(self, endpoint: str, fault: Fault | Callable[..., Any], times: int | None) -> None:
        """Let the next requests of an endpoint meet a fault, after those it has already been given.

        Args:
            endpoint: the endpoint's name.
            fault: a fault, or a callable that gets the WSGI environment and returns a fault, a
                response, or None for the proper answer.
            times: how many requests; None for every request until they are cleared.
        """
        with self._lock:
            lasts = times is None or getattr(fault, "lasting", False)
            self._waiting.setdefault(endpoint, []).append([fault, None if lasts else times])

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._waiting.clear()

    def next(self, endpoint: str) -> Fault | Callable[..., Any] | None:
        """The fault that the next request of this endpoint meets, now used up once; or None."""
        with self._lock:
            waiting = self._waiting.get(endpoint, [])
            while waiting and waiting[0][1] is not None and waiting[0][1] <= 0:
                waiting.pop(0)
            if not waiting:
                return None
            if waiting[0][1] is not None:
                waiting[0][1] -= 1
            return waiting[0][0]

    def challenges(self) -> list[Challenge]:
        """The claims challenges that last at present."""
        with self._lock:
            every = [entry[0] for waiting in self._waiting.values() for entry in waiting]
        return [fault for fault in every if isinstance(fault, Challenge)]

"""Misbehaviour on demand, for tests of what a client does when the other side fails.

A fault goes to `Sandbox.misbehave`. It acts before the request reaches the tenant or Graph. Every wait ends when the
sandbox closes, so a fault cannot hang a test.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response

CHUNK = 64 * 1024  # bytes of a flood that are sent at once


class Hangup(Exception):
    """Raised by a fault that dealt with the connection itself: the server sends nothing more and closes it."""


@dataclass(frozen=True)
class Surroundings:
    """The part of the sandbox that a fault may know.

    :ivar closing: an event that is set when the sandbox closes; every wait must end then.
    :ivar client_id: the id of the app registration.
    :ivar authorize_url: the URL of the authorization endpoint.
    :ivar claims_met_by: a function that returns the claims requests that an access token satisfies.
    """

    closing: threading.Event
    client_id: str
    authorize_url: str
    claims_met_by: Callable[[str], Mapping[str, Any]]


class Fault:
    """The base of all faults.

    :cvar lasting: the requests that meet a lasting fault do not use it up; it lasts until `behave()`.
    """

    lasting = False

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        """Misbehave.

        :param environ: the request's WSGI environment; the connection is at `werkzeug.socket`.
        :param around: the part of the sandbox that the fault may know.
        :return: the answer to give instead of the proper one, or None for the proper one.
        :raises Hangup: the connection must be closed, and nothing more sent.
        """
        raise NotImplementedError


def _send(environ: dict[str, Any], data: bytes) -> None:
    """Send raw bytes on the request's connection. A client that has left ends the fault."""
    try:
        environ["werkzeug.socket"].sendall(data)
    except OSError as error:
        raise Hangup from error


def _drip(environ: dict[str, Any], data: bytes, seconds_between: float, closing: threading.Event) -> None:
    """Send data one byte at a time, with a pause before each.

    :raises Hangup: the sandbox is closing, or the client has left.
    """
    for byte in data:
        if closing.wait(seconds_between):
            raise Hangup
        _send(environ, bytes([byte]))


def _head(length: int, content_type: str = "application/json") -> bytes:
    """The head of an ordinary answer with a body of that length."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n".encode()


class Answer(Fault):
    """Gives another answer.

    :param status: the HTTP status.
    :param body: bytes, text, or an object to send as JSON.
    :param headers: further headers, such as `{"Retry-After": "3"}`.
    """

    def __init__(self, status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        if isinstance(self.body, (bytes, str)):
            return Response(self.body, self.status, self.headers)
        return Response(json.dumps(self.body), self.status, self.headers, content_type="application/json")


class Delay(Fault):
    """Waits for some seconds, then lets the proper answer through."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        around.closing.wait(self.seconds)
        return None


class Hold(Fault):
    """Holds requests until they are let go; then the proper answers go through.

    A test can so put events into an order, where a delay would leave it to luck.

    :param first: bytes to send on the connection of a request before it is held, such as an interim answer.
    """

    def __init__(self, first: bytes = b"") -> None:
        self._first, self._arrived, self._released = first, threading.Semaphore(0), threading.Event()

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        if self._first:
            _send(environ, self._first)
        self._arrived.release()
        while not (self._released.wait(0.02) or around.closing.is_set()):
            pass
        return None

    def wait(self, requests: int = 1) -> None:
        """Wait until requests are held.

        :param requests: how many more than at the last call.
        :raises TimeoutError: they have not come within 20 seconds.
        """
        for _ in range(requests):
            if not self._arrived.acquire(timeout=20):
                raise TimeoutError("the request that a test waits for does not come")

    def release(self) -> None:
        """Let all of them go, and hold none any more."""
        self._released.set()


class Close(Fault):
    """Closes the connection without an answer, like a keep-alive connection that died while it was idle."""

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        raise Hangup


class Reset(Fault):
    """Resets the connection: the client receives a TCP RST.

    Over TLS, some versions of Python report a reset as a mere end of file
    (https://github.com/python/cpython/issues/115627).
    """

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        connection = environ["werkzeug.socket"]
        # With a linger time of zero, close() sends RST instead of FIN. The linger structure has two shorts on Windows
        # and two ints elsewhere. The descriptor is closed and not the socket object, which would shut the connection
        # down first and wait for the files made from it.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(connection.detach())
        raise Hangup


class Silence(Fault):
    """Accepts the request and never answers. The connection closes after some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        around.closing.wait(self.seconds)
        raise Hangup


class Drip(Fault):
    """Sends the headers at once and then the body one byte at a time.

    :param seconds_between: the pause before each byte.
    :param total: the bytes in the body.
    """

    def __init__(self, seconds_between: float, total: int) -> None:
        self.seconds_between = seconds_between
        self.total = total

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        _send(environ, _head(self.total))
        _drip(environ, b" " * self.total, self.seconds_between, around.closing)
        raise Hangup


class DripHeaders(Fault):
    """Sends the head of the answer one byte at a time, then an empty JSON object.

    A client's timeout between two bytes never expires; only one for the whole answer does.

    :param seconds_between: the pause before each byte.
    :param total: the bytes of the head, at least some 80.
    """

    def __init__(self, seconds_between: float, total: int) -> None:
        self.seconds_between = seconds_between
        self.total = total

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nX-Drip: "
        head = start.ljust(self.total - 4, b".") + b"\r\n\r\n"
        _drip(environ, head, self.seconds_between, around.closing)
        _send(environ, b"{}")
        raise Hangup


class Flood(Fault):
    """Answers with a huge body.

    :param size: the bytes of the body.
    :param content_type: its media type.
    :param announced: whether `Content-Length` says the size; if not, the body is sent in chunks.
    """

    def __init__(self, size: int, content_type: str = "application/json", announced: bool = True) -> None:
        self.size = size
        self.content_type = content_type
        self.announced = announced

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        if self.announced:
            _send(environ, _head(self.size, self.content_type))
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
            _send(environ, head.encode())
        for chunk in self._chunks():
            if around.closing.is_set():
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
    """Announces more bytes than it sends, then closes the connection.

    :param sent: the bytes that are sent.
    :param missing: how many more the `Content-Length` announces.
    """

    def __init__(self, sent: bytes = b'{"displayName": "Ad', missing: int = 100) -> None:
        self.sent = sent
        self.missing = missing

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        _send(environ, _head(len(self.sent) + self.missing) + self.sent)
        raise Hangup


class Challenge(Fault):
    """A claims challenge of Graph: 401 until the access token was requested with these claims.

    https://learn.microsoft.com/entra/identity-platform/claims-challenge

    :param claims: the claims request, such as `{"access_token": {"acrs": {"essential": True, "value": "c1"}}}`.
    :param refresh: "satisfies" if a refresh with the same `claims` gets such a token; "interaction" if the token endpoint
        then answers `interaction_required`, and only a sign-in with the same `claims` gets it.
    """

    lasting = True

    def __init__(self, claims: dict[str, Any], refresh: str = "satisfies") -> None:
        if refresh not in ("satisfies", "interaction"):
            raise ValueError(f"refresh must be 'satisfies' or 'interaction', not {refresh!r}")
        self.claims = claims
        self.refresh = refresh

    def met_by(self, given: Mapping[str, Any]) -> bool:
        """Whether a token that was requested with these claims satisfies the challenge.

        A client may have added to them, as MSAL does with its client capabilities (`xms_cc`).
        """
        asked = self.claims.get("access_token", {})
        got = given.get("access_token") or {}
        if not isinstance(asked, dict):  # no request for claims, so no token can be what it asks for
            return False
        return all(got.get(name) == value for name, value in asked.items())

    def act(self, environ: dict[str, Any], around: Surroundings) -> Response | None:
        token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2]
        if not token or self.met_by(around.claims_met_by(token)):
            return None
        encoded = base64.b64encode(json.dumps(self.claims, separators=(",", ":")).encode()).decode()
        code = "InvalidAuthenticationToken"
        message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
        response = Response(
            json.dumps({"error": {"code": code, "message": message}}), 401, content_type="application/json"
        )
        response.headers["WWW-Authenticate"] = (
            f'Bearer realm="", authorization_uri="{around.authorize_url}", '
            f'client_id="{around.client_id}", error="insufficient_claims", claims="{encoded}"'
        )
        return response

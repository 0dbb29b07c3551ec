"""The transport adapter of requests, with connections that bound every answer in time.

`requests` bounds each wait for bytes, not the whole answer: a server that sends one byte a second, in the headers or in
the body, holds a worker for as long as it likes. Here the whole answer has a deadline, and so has each connection.
"""

from __future__ import annotations

import http.client
import io
import logging
import math
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from flask_entra import deadlines

log = logging.getLogger(__name__)
SENT_AT_ONCE = 320 * 1024  # bytes that are sent within `deadlines.ANSWER_SECONDS`
# Balancers and firewalls forget a silent connection after some minutes, and tell neither end.
_SOCKET_OPTIONS = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
]
if hasattr(socket, "TCP_KEEPIDLE"):
    _SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60))


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket's file, and gives every single read no more time than the whole answer has left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, seconds: float):
        super().__init__()
        self._raw, self._sock, self._deadline = raw, sock, time.monotonic() + seconds
        self._waits = math.inf  # how long is waited for the server until `_bytes` more have come
        self._bytes = math.inf

    def take_its_time(self) -> None:
        """From here on, only the waits for each `LEAST_BYTES` have a limit, not what whoever reads does between two reads."""
        self._deadline = math.inf
        self._waits, self._bytes = deadlines.ANSWER_SECONDS, deadlines.LEAST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = time.monotonic()
        if (left := min(self._waits, self._deadline - began)) <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self._waits -= time.monotonic() - began
        self._bytes -= count or 0
        if self._bytes <= 0:
            self.take_its_time()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """The deadline counts from when the request has been sent, so it covers the status line and the headers too."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self.bounded = _UntilDeadline(self.fp.detach(), sock, deadlines.ANSWER_SECONDS)
        self.fp = io.BufferedReader(self.bounded, 65536)

    def begin(self) -> None:
        super().begin()
        # urllib3 would warn of headers that cannot be read with the whole address, which may be a secret, and a traceback.
        if self.headers.defects:
            log.warning("An answer has a header that cannot be read: %s", self.headers.defects)
            self.headers.defects.clear()
            self.headers.set_payload("")

    def _read_status(self) -> tuple[str, int, str]:
        # http.client takes every interim answer but 100 for the final one (RFC 9110, 15.2). The final one would then wait
        # on the pooled connection, for whoever uses that next: one person's answer for another.
        version, status, reason = super()._read_status()  # type: ignore[misc]  # the standard library's, not in its stubs
        while 100 < status < 200:
            http.client.parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]  # the standard library's, not in its stubs
        return version, status, reason


def let_the_body_take_its_time(response: requests.Response) -> None:
    """From here on, an answer may take any time, as long as `deadlines.LEAST_BYTES` come in each `deadlines.ANSWER_SECONDS`."""
    answer: Any = response.raw._original_response
    answer.bounded.take_its_time()


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        # urllib3 gives each of a host's addresses the full time, and the resolver as long as it likes.
        try:
            sock = _connect(self._dns_host, self.port, self.socket_options or ())
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            reason = f"no connection within {deadlines.CONNECT_SECONDS} seconds"
            raise urllib3.exceptions.ConnectTimeoutError(self, reason) from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, f"no connection: {error}") from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def send(self, data: Any) -> None:
        # The time of a send is one for all of it (socket.sendall), and a part of an upload takes longer than a handshake.
        pieces = memoryview(data) if isinstance(data, bytes) else None
        for start in range(0, len(data), SENT_AT_ONCE) if pieces else (0,):
            if self.sock:
                self.sock.settimeout(deadlines.ANSWER_SECONDS)
            super().send(pieces[start : start + SENT_AT_ONCE] if pieces else data)


class _HTTPSConnection(_HTTPConnection, urllib3.connection.HTTPSConnection):
    pass


def _connect(host: str, port: int, options: Iterable[tuple[Any, ...]]) -> socket.socket:
    """Connect to one of a host's addresses.

    :raises TimeoutError: none of them answered within `deadlines.CONNECT_SECONDS`, name resolution included.
    :raises OSError: all of them refused, or there is none.
    """
    deadline = time.monotonic() + deadlines.CONNECT_SECONDS
    addresses = _resolve(host, port)
    failure: OSError = TimeoutError()
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            # An address that is silent leaves the others their share of the time.
            sock.settimeout(max(0.01, (deadline - time.monotonic()) / (len(addresses) - number)))
            sock.connect(address)
            sock.settimeout(deadlines.HANDSHAKE_SECONDS)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _resolve(host: str, port: int) -> list[Any]:
    # The resolver takes no deadline, so it runs on a thread, which is waited for `CONNECT_SECONDS` at most.
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)
        except UnicodeError as error:  # a name with an empty part, or one that is too long
            found.put(socket.gaierror(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = found.get(timeout=deadlines.CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Connects within `deadlines.CONNECT_SECONDS`, and has a whole answer within `deadlines.ANSWER_SECONDS`, or fails."""

    def _bound(self, manager: urllib3.PoolManager) -> urllib3.PoolManager:
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_SOCKET_OPTIONS, **kwargs)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> urllib3.PoolManager:
        return self._bound(super().proxy_manager_for(*args, **kwargs))

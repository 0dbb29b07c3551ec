"""Graph, for load: one profile over TLS 1.3, three times: at hand, taking its time, and far away.

A process of its own, `python -m bench.upstream CERTIFICATE PROFILE`, that prints its ports as JSON and ends when its
standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
import threading
from pathlib import Path

from bench import relay

SLOW_SECONDS = 0.100
FAR_SECONDS = 0.015  # each way

REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


class Graph(asyncio.Protocol):
    """One connection: an answer to every GET that carries a bearer token.

    :param answer: the whole answer, headers and body.
    :param delay: seconds until it is sent.
    """

    def __init__(self, answer: bytes, delay: float):
        self._answer, self._delay = answer, delay
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            answer = self._answer if b"\r\nAuthorization: Bearer ey" in request else REFUSED
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(certificate: str, profile: bytes) -> None:
    """Listen until cancelled."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json;odata.metadata=minimal;charset=utf-8\r\n"
        b"Cache-Control: no-cache\r\nrequest-id: 00000000-0000-0000-0000-000000000000\r\nContent-Length: %d\r\n\r\n%b"
    ) % (len(profile), profile)
    loop = asyncio.get_running_loop()
    ports = {}
    async with contextlib.AsyncExitStack() as stack:
        for name, delay in (("at_hand", 0), ("slow", SLOW_SECONDS)):
            server = await loop.create_server(
                lambda delay=delay: Graph(answer, delay), "127.0.0.1", 0, ssl=tls, backlog=1024
            )
            await stack.enter_async_context(server)
            ports[name] = server.sockets[0].getsockname()[1]
        far = await stack.enter_async_context(await relay.start(ports["at_hand"], FAR_SECONDS))
        ports["far"] = far.sockets[0].getsockname()[1]
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).read_bytes()))

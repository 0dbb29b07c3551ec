"""Distance: a TCP relay that delays what passes, in both directions."""

from __future__ import annotations

import asyncio
import contextlib


async def start(port: int, delay: float) -> asyncio.Server:
    """Listen on a free port of loopback and pass everything on to another, later.

    A connection on loopback is there at once, while a distant one costs a round trip before the first byte may be sent
    (TCP's handshake). So what a client sends first is kept back for that round trip too.

    :param port: where to pass everything on to.
    :param delay: seconds that each direction takes; a round trip is twice that.
    :return: the listening server.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        established = asyncio.get_running_loop().time() + 2 * delay
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            _carry(reader, there_writer, delay, established), _carry(there_reader, writer, delay, established=0)
        )

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, established: float) -> None:
    """One direction, until its sender ends it."""
    loop, under_way = asyncio.get_running_loop(), asyncio.Queue()

    async def arrive() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    arriving = asyncio.create_task(arrive())
    data = b"."
    while data:
        try:
            data = await reader.read(65536)
        except OSError:
            data = b""
        under_way.put_nowait((max(loop.time(), established) + delay, data))
    await arriving

"""Pools of connections to Redis that never hand on a connection on which somebody's answer is outstanding.

After a timeout, a cancelled thread or a KeyboardInterrupt, the answer may still come. The next user of the connection would take
it for the answer to their own question, and so would everybody after them. redis-py closes such a connection in most places,
but not behind Sentinel, and nowhere when it is interrupted between sending and reading.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
import redis.sentinel

MASTER_SECONDS = 1  # from one question to Sentinel to the next
ASKING_SECONDS = 0.1  # that others wait for the one who asks
# Raised when the whole answer has been read.
_ANSWERED = (redis.ResponseError, redis.WatchError)


class Pool(redis.ConnectionPool):
    """redis-py's pool. A connection that comes back because of an exception is closed first."""

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        connection: Any = super().get_connection(*args, **kwargs)
        connection.handled = sys.exc_info()[1]  # an exception of the caller's own, which has nothing to do with Redis
        return connection

    def release(self, connection: Any) -> None:
        error, handled = sys.exc_info()[1], connection.__dict__.pop("handled", None)
        if not (error is None or error is handled or isinstance(error, _ANSWERED)):
            connection.disconnect()
        super().release(connection)


class SentinelPool(Pool, redis.sentinel.SentinelConnectionPool):
    """The same, for the master that Sentinel names, which is asked again every second, and after a write.

    A master in whose place another one has come does not learn it for some ten seconds (after a hang, a network that was cut, a
    disk that was full, `SENTINEL FAILOVER`). It answers meanwhile, and what is written to it is lost. redis-py asks Sentinel only
    when it connects, and an open connection to such a master stays open.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._asking = threading.Lock()
        self._next_question = self._not_before = 0.0

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() >= self._next_question:
            self._ask(lambda: self._next_question)
        return super().get_connection(*args, **kwargs)

    def master_now(self) -> Any:
        """The address of the master, by Sentinel's word of this moment; the one known, while Sentinel does not answer."""
        self._ask(lambda: self._not_before)
        return self.master_address

    def _ask(self, when: Callable[[], float]) -> None:
        if not self._asking.acquire(timeout=ASKING_SECONDS):
            return
        try:
            began = time.monotonic()
            if began < when():
                return  # whoever held the lock has just asked
            silent = False
            try:
                self.proxy.get_master_address()  # closes the connections to another one; those in use, when they come back
            except redis.RedisError:
                silent = True
            now = time.monotonic()
            self._not_before = now + 10 * (now - began) if silent else now  # one that hangs holds few requests up
            self._next_question = max(now + MASTER_SECONDS, self._not_before)
        finally:
            self._asking.release()

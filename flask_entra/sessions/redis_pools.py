"""Pools of connections to Redis that never hand on a connection on which somebody's answer is outstanding.

After a timeout, a cancelled thread or a KeyboardInterrupt, the answer may still come. The next user of the connection would take
it for the answer to their own question, and so would everybody after them. redis-py closes such a connection in most places,
but not behind Sentinel, and nowhere when it is interrupted between sending and reading.
"""

from __future__ import annotations

import sys
from typing import Any

import redis
import redis.sentinel

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
    """The same, for the master that Sentinel names."""

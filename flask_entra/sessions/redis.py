"""The sessions in Redis, for many machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flask_entra.sessions.store import unavailable

LOCK_SECONDS = 30  # for which a lock is held at the most; longer than a token request may take (http_client.py)


class RedisStore:
    """A Redis key a session, which Redis itself expires.

    :param url: `redis://`, `rediss://` (TLS) or `unix://`.
    """

    def __init__(self, url: str):
        import redis.backoff  # here, because a worker without Redis has no use for its 6 MB
        import redis.retry

        self._errors = redis.RedisError
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=1,
            socket_timeout=1,
            health_check_interval=30,
            # One retry: those of the health check, of connecting and of the command multiply.
            retry=redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=0.4, base=0.05), 1),
        )

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise unavailable(error) from error

    def get(self, key: str) -> tuple[bytes, float] | None:
        with self._reaching(), self._redis.pipeline(transaction=False) as pipe:
            pipe.get("session:" + key)
            pipe.pttl("session:" + key)
            value, milliseconds = pipe.execute()
        return None if value is None else (value, milliseconds / 1000)

    def add(self, key: str, value: bytes, seconds: int) -> None:
        with self._reaching():
            self._redis.set("session:" + key, value, ex=seconds)

    def replace(self, key: str, value: bytes, seconds: int) -> None:
        with self._reaching():
            self._redis.set("session:" + key, value, ex=seconds, xx=True)

    def touch(self, key: str, seconds: int) -> None:
        with self._reaching():
            self._redis.expire("session:" + key, seconds)

    def delete(self, key: str) -> None:
        with self._reaching():
            self._redis.delete("session:" + key)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        lock = self._redis.lock("lock:" + key, timeout=LOCK_SECONDS, blocking_timeout=LOCK_SECONDS, sleep=0.02)
        with self._reaching(), lock:
            yield

    def ping(self) -> None:
        with self._reaching():
            self._redis.ping()

    def prune(self) -> int:
        return 0  # Redis has done it already

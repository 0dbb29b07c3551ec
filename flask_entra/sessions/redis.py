"""The sessions in Redis, for many machines."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from flask_entra import deadlines
from flask_entra.bulkhead import Bulkhead, Busy
from flask_entra.sessions.store import StoreUnavailable, probe, unavailable

if TYPE_CHECKING:
    import redis
    import redis.client
    import redis.lock

POLL_SECONDS = 0.02
LEASE_SECONDS = 4  # that a lock outlives a process that dies; it is renewed while it is held


class RedisStore:
    """A Redis key a session, which Redis itself expires.

    While Redis does not answer, one request at a time finds out whether it does again; the others are refused at once.

    :param url: `redis://`, `rediss://` (TLS) or `unix://`.
    :param threads: how many threads the process answers requests with; a share of them may wait for Redis.
    """

    def __init__(self, url: str, threads: int):
        import redis.backoff  # here, because a worker without Redis has no use for its 6 MB
        import redis.retry

        self._errors, self._unreachable = redis.RedisError, (redis.ConnectionError, redis.TimeoutError)
        self._bulkhead = Bulkhead(threads)
        self._failing, self._trying = False, threading.Lock()
        self._client: redis.Redis | None = None
        # redis-py's own words for an address that cannot be read may hold a part of the password.
        with contextlib.suppress(ValueError):
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=1,
                socket_timeout=1,
                health_check_interval=30,
                # One retry, because the retries of the health check, of connecting and of the command multiply.
                retry=redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=0.4, base=0.05), 1),
            )

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[redis.Redis]:
        if self._client is None:
            raise StoreUnavailable("REDIS_URL cannot be read as an address")
        with contextlib.ExitStack() as stack:
            if self._failing:
                if not self._trying.acquire(blocking=False):
                    raise StoreUnavailable("Redis did not answer just now")
                stack.callback(self._trying.release)
            try:
                stack.enter_context(self._bulkhead.place("Redis"))
                yield self._client
                self._failing = False
            except Busy as error:
                raise StoreUnavailable(str(error)) from error
            except self._errors as error:
                self._failing = isinstance(error, self._unreachable)
                raise unavailable(error) from error

    def get(self, key: str) -> tuple[bytes, float] | None:
        with self._reaching() as client, client.pipeline(transaction=False) as pipe:
            pipe.get("session:" + key)
            pipe.pttl("session:" + key)
            value, milliseconds = pipe.execute()
        return None if value is None else (value, milliseconds / 1000)

    def add(self, key: str, value: bytes, seconds: int) -> None:
        with self._reaching() as client:
            client.set("session:" + key, value, ex=seconds)

    def update(self, key: str, change: Callable[[bytes], bytes | None], seconds: int) -> None:
        name = "session:" + key

        def transaction(pipe: redis.client.Pipeline) -> None:
            found = cast("bytes | None", pipe.get(name))
            value = None if found is None else change(found)
            pipe.multi()
            if value is not None:
                pipe.set(name, value, ex=seconds, xx=True)

        with self._reaching() as client:
            client.transaction(transaction, name)  # again, whenever another has changed it in between

    def touch(self, key: str, seconds: int) -> None:
        with self._reaching() as client:
            client.expire("session:" + key, seconds)

    def delete(self, key: str) -> None:
        with self._reaching() as client:
            client.delete("session:" + key)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        lock = self._acquired("lock:" + key, time.monotonic() + deadlines.LOCK_SECONDS)
        released = threading.Event()
        with contextlib.suppress(RuntimeError):  # no more threads: the lease has to do
            threading.Thread(target=self._renew, args=(lock, released), daemon=True).start()
        try:
            yield
        finally:
            released.set()
            with contextlib.suppress(self._errors):  # a lease that has run out is not ours to give back
                lock.release()

    def _acquired(self, name: str, deadline: float) -> redis.lock.Lock:
        while True:
            with self._reaching() as client:  # not while it waits: that is not for Redis
                lock: redis.lock.Lock = client.lock(
                    name, timeout=LEASE_SECONDS, thread_local=False
                )  # another thread renews it
                if lock.acquire(blocking=False):
                    return lock
            if time.monotonic() > deadline:
                raise StoreUnavailable("another request holds this session for too long")
            time.sleep(POLL_SECONDS)

    def _renew(self, lock: redis.lock.Lock, released: threading.Event) -> None:
        while not released.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(self._errors):
                lock.extend(LEASE_SECONDS, replace_ttl=True)

    def ping(self) -> None:
        probe(self)

    def prune(self, spare: float) -> int:
        return 0  # Redis has done it already

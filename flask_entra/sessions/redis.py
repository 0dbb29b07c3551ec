"""The sessions in Redis, for many machines."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import redis
import redis.client
import redis.lock
import redis.sentinel

from flask_entra import deadlines
from flask_entra.bulkhead import Bulkhead, Refusal
from flask_entra.sessions.redis_address import RedisAddress, read_address
from flask_entra.sessions.redis_client import connect, master_of, server_of, servers
from flask_entra.sessions.store import StoreMisconfigured, StoreUnavailable, probe, unavailable
from flask_entra.watched_file import WatchedFile, read_text

POLL_SECONDS = 0.02
SCAN_COUNT = 100  # keys that Redis looks at in one step: it serves nobody else meanwhile
_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)
_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError)
# What redis-py raises beside its own errors: when a cluster changes, it closes connections that other threads use.
_BROKEN = (AttributeError, ValueError, OSError)
REFUSED_SECONDS = 1  # after a server has not answered
LEASE_SECONDS = 4  # that a lock outlives a process that dies; it is renewed while it is held

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Server:
    """One server: whether it answers, and when it is asked again (circuit breaker).

    https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker

    :param name: what the log calls it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock, self._trying = threading.Lock(), threading.Lock()
        self._silent_since: float | None = None  # None while it answers, as is the next one
        self._refused_until: float | None = None
        self._refused = 0

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Ask it, in the block.

        :raises StoreUnavailable: it did not answer a moment ago, or another request is finding out whether it does again.
        """
        refused_until = self._refused_until
        if refused_until is None:
            yield
        elif time.monotonic() < refused_until or not self._trying.acquire(blocking=False):
            with self._lock:
                self._refused += 1
            raise StoreUnavailable(f"{self._name} did not answer just now") from Refusal()
        else:
            try:
                yield
            finally:
                self._trying.release()

    def note_answer(self) -> None:
        """Note that it answers."""
        if self._refused_until is None:
            return
        with self._lock:
            since, refused = self._silent_since, self._refused
            self._silent_since, self._refused_until, self._refused = None, None, 0
        if since is not None:
            log.warning(
                "%s answers again after %.1f s; %s requests were refused", self._name, time.monotonic() - since, refused
            )

    def note_silence(self, reason: str) -> None:
        """Note that it does not answer. The log says so once, until it answers again."""
        with self._lock:
            began = self._silent_since is None
            self._silent_since = self._silent_since or time.monotonic()
            self._refused_until = time.monotonic() + REFUSED_SECONDS
        if began:
            # Not a sign of an attack: nobody gets an answer that comes late, because its connection is closed.
            log.warning("%s does not answer (%s). Its connections are closed", self._name, reason)


class _OfTheChange(Exception):
    """What the function that changes a value has raised: redis-py is not to blame for it."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error


class RedisStore:
    """A Redis key a session, which Redis itself expires.

    While a server does not answer, all requests for its keys are refused at once, but for one now and then that finds out
    whether it answers again.

    :param url: as `redis_address` says.
    :param threads: how many threads the process answers requests with; a share of them may wait for Redis.
    :param file: the path of the file that holds the address, and may hold another one later; empty if there is none.
    """

    def __init__(self, url: str, threads: int, file: str = ""):
        self._bulkhead, self._servers = Bulkhead(threads), {"": _Server("Redis")}
        self._client: redis.Redis | None = None
        self._address: RedisAddress | None = None
        self._file: WatchedFile[RedisAddress] | None = None
        with contextlib.suppress(OSError, ValueError):  # the doctor says so
            self._address = read_address(url)
            if file:
                self._file = WatchedFile("REDIS_URL_FILE", file, lambda path: read_address(read_text(path)))

    @contextlib.contextmanager
    def _reaching(self, name: str) -> Iterator[redis.Redis]:
        """Reach the server that has a key."""
        if self._address is None:
            raise StoreMisconfigured("REDIS_URL cannot be read as an address")
        if self._file and (changed := self._file.get()) != self._address:
            # What is under way goes on with the client that it has, whose connections are closed with the last use of it.
            self._address, self._client, self._servers = changed, None, {"": _Server("Redis")}
        client, address, server = self._client, self._address, self._servers[""]
        try:
            if client:
                server = self._server_of(client, name)
            with server.asked(), self._bulkhead.place("Redis"):
                if client is None:
                    client = connect(address)
                    if address == self._address:
                        self._client = client
                yield client
            server.note_answer()
        except Refusal as error:
            raise StoreUnavailable(str(error)) from error
        except redis.sentinel.MasterNotFoundError as error:  # redis-py's own words may hold the password of Sentinel
            server.note_silence("Sentinel names no master")
            raise StoreUnavailable("Sentinel does not answer, or knows no such master that does") from error
        except _ERRORS as error:
            if self._file and isinstance(error, redis.AuthenticationError):
                self._file.look_again()  # the next request may have another password
            # The client of a cluster says so when no node of it answers, in an exception of its own; before redis-py 7.4,
            # without its cause.
            reasons = [error, error.__cause__ or error.__context__]
            if unreachable := [each for each in reasons if isinstance(each, _UNREACHABLE)]:
                server.note_silence(str(unreachable[-1]))
            else:
                server.note_answer()
            raise unavailable(error) from error
        except _BROKEN as error:
            raise StoreUnavailable("a connection to Redis was closed") from error

    def _server_of(self, client: redis.Redis, name: str) -> _Server:
        # While one node of a cluster hangs, the keys of the others are served as ever.
        node = server_of(client, name)
        return self._servers.get(node) or self._servers.setdefault(node, _Server(f"Redis node {node}"))

    def _run(self, name: str, command: Callable[[redis.Redis], T], *, reads: bool = False) -> T:
        """Run a command for a key; once more if Sentinel then names another master, because a former one may have answered.

        :param reads: it changes nothing, so that an answer that is not None need not be asked for again.
        """
        with self._reaching(name) as client:
            before = master_of(client)
            answer = command(client)
            if not (reads and answer is not None) and master_of(client, now=True) != before:
                answer = command(client)
            return answer

    def get(self, key: str) -> bytes | None:
        name = "session:" + key
        return self._run(name, lambda client: cast("bytes | None", client.get(name)), reads=True)

    def add(self, key: str, value: bytes, seconds: int) -> None:
        name = "session:" + key
        self._run(name, lambda client: client.set(name, value, ex=seconds))

    def update(self, key: str, change: Callable[[bytes], bytes | None], seconds: int) -> None:
        name = "session:" + key

        def transaction(pipe: redis.client.Pipeline) -> None:
            found = cast("bytes | None", pipe.get(name))
            try:
                value = None if found is None else change(found)
            except Exception as error:
                raise _OfTheChange(error) from error
            pipe.multi()
            if value is not None:
                pipe.set(name, value, ex=seconds, xx=True)

        try:
            # The transaction is run again, whenever another has changed the value in between.
            self._run(name, lambda client: client.transaction(transaction, name))
        except _OfTheChange as raised:
            raise raised.error from None

    def delete(self, key: str) -> bool:
        name = "session:" + key
        return bool(self._run(name, lambda client: client.delete(name)))

    # --- The index: a sorted set a label, by when its entries end. Each command is for one key, as a cluster needs it. ----

    def note(self, label: str, entry: bytes, seconds: int) -> None:
        name, now = "index:" + label, time.time()

        def add(client: redis.Redis) -> None:
            with client.pipeline(transaction=True) as pipe:
                pipe.zremrangebyscore(name, "-inf", now)
                pipe.zadd(name, {entry: now + seconds})
                pipe.expire(name, seconds)
                pipe.execute()

        self._run(name, add)

    def notes(self, label: str) -> list[bytes]:
        name = "index:" + label
        with self._reaching(name) as client:
            return cast("list[bytes]", client.zrangebyscore(name, time.time(), "+inf"))

    def drop_note(self, label: str, entry: bytes) -> None:
        name = "index:" + label
        self._run(name, lambda client: client.zrem(name, entry))

    def all_notes(self) -> Iterator[bytes]:
        for node, names in self._steps("index:"):
            with self._reaching(""), node.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.zrangebyscore(name, time.time(), "+inf")
                found = cast("list[list[bytes]]", pipe.execute())
            for notes in found:
                yield from notes

    def keys(self) -> Iterator[str]:
        for _, names in self._steps("session:"):
            yield from (str(name, "ascii").removeprefix("session:") for name in names)

    def _steps(self, prefix: str) -> Iterator[tuple[redis.Redis, list[bytes]]]:
        """Each server, with some of its keys that begin with a prefix; each server again and again, until that was all."""
        with self._reaching("") as client:
            nodes = servers(client)
        for node in nodes:
            cursor = None
            while cursor != 0:
                with self._reaching(""):
                    cursor, names = node.scan(cursor or 0, f"{prefix}*", SCAN_COUNT)
                yield node, cast("list[bytes]", names)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        name = "lock:" + key
        lock = self._acquired(name, time.monotonic() + deadlines.LOCK_SECONDS)
        released = threading.Event()
        with contextlib.suppress(RuntimeError):  # no more threads: the lease is not renewed
            # In this context, where a tracer may be held back.
            renew = contextvars.copy_context().run
            threading.Thread(target=renew, args=(self._renew, lock, released), daemon=True).start()
        try:
            yield
        finally:
            released.set()
            # A lease that has run out is not ours to give back, and one that cannot be given back runs out.
            with contextlib.suppress(StoreUnavailable), self._reaching(name):
                lock.release()

    def _acquired(self, name: str, deadline: float) -> redis.lock.Lock:
        while True:
            with self._reaching(name) as client:  # not while it waits: that is not for Redis
                # Not `thread_local`: another thread renews it.
                lock: redis.lock.Lock = client.lock(name, timeout=LEASE_SECONDS, thread_local=False)
                if lock.acquire(blocking=False):
                    return lock
            if time.monotonic() > deadline:
                raise StoreUnavailable("another request holds this session for too long")
            time.sleep(POLL_SECONDS)

    def _renew(self, lock: redis.lock.Lock, released: threading.Event) -> None:
        while not released.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(*_ERRORS, *_BROKEN):
                lock.extend(LEASE_SECONDS, replace_ttl=True)

    def ping(self) -> None:
        probe(self)

    def evicts(self) -> str | None:
        with self._reaching("") as client:
            answers = [node.info("memory") for node in servers(client)]
        policies = {each["maxmemory_policy"] for each in answers if each.get("maxmemory")}
        return min(policies - {"noeviction"}, default=None)

    def prune(self, spare: float) -> int:
        return 0  # Redis has done it already

"""A wait for Redis that ends early: nobody gets the answer that comes late, whatever ended it and whatever Redis it is."""

import contextlib
import ctypes
import re
import signal
import threading
import time

import pytest
import redis
from programs import needs, posix
from redis_servers import Relayed

from flask_entra.sessions.redis import RedisStore
from flask_entra.sessions.store import StoreUnavailable

KEYS = [f"{number:064x}" for number in range(8)]


class Cancelled(BaseException):
    """What a server or a test runner raises in a thread that it cancels."""


@pytest.fixture(params=["alone", "sentinel", "cluster"])
def relayed(request, tmp_path):
    needs("redis-server")
    server = Relayed(tmp_path / "servers", request.param)
    yield server
    server.stop()


def timeout(relay, ask, monkeypatch):
    """The answer comes after the time limit for it."""
    relay.hold()
    with pytest.raises(StoreUnavailable):
        ask()
    relay.release()


def keyboard_interrupt(relay, ask, monkeypatch):
    """Ctrl-C, while this thread waits for the answer."""
    relay.hold()

    def press():
        relay.held.acquire(timeout=20)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    # redis-py asks a node of a cluster to forget a transaction, and that it does not answer is what is raised then.
    with pytest.raises((KeyboardInterrupt, StoreUnavailable)):
        ask()
    pressing.join()
    relay.release()


def cancelled_thread(relay, ask, monkeypatch):
    """Another thread cancels the one that waits, which learns of it when the answer comes."""
    relay.hold()
    ended = []

    def run():
        try:
            ask()
        except Cancelled as error:
            ended.append(error)

    asking = threading.Thread(target=run)
    asking.start()
    assert relay.held.acquire(timeout=20)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(asking.ident), ctypes.py_object(Cancelled))
    relay.release()
    asking.join(20)
    assert ended


def before_reading(relay, ask, monkeypatch):
    """The worker is told to exit when the question has been sent, and not one byte of the answer has been read."""
    read, exits = redis.connection.AbstractConnection.read_response, [SystemExit()]

    def read_response(self, *args, **kwargs):
        if exits:
            raise exits.pop()
        return read(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(redis.connection.AbstractConnection, "read_response", read_response)
        with pytest.raises(SystemExit):
            ask()


def reads_and_writes(store):
    """Each way in which a request asks for a session."""
    yield "get", lambda: store.get(KEYS[0])
    yield "update", lambda: store.update(KEYS[0], lambda value: value, 100)
    yield "add", lambda: store.add(KEYS[0], KEYS[0].encode(), 100)

    def hold():
        with store.lock(KEYS[0]):
            pass

    yield "lock", hold


def answered(store, key):
    """What the store says, as soon as it is asked again."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreUnavailable):
            return store.get(key)
        time.sleep(0.05)
    raise AssertionError("Redis is asked no more")


@posix
@pytest.mark.parametrize("interrupted", [timeout, keyboard_interrupt, cancelled_thread, before_reading])
def test_nobody_gets_the_answer_to_another_question(relayed, interrupted, monkeypatch):
    monkeypatch.setattr("flask_entra.sessions.redis.REFUSED_SECONDS", 0.1)
    store = RedisStore(f"{relayed.url}?socket_timeout=0.3", threads=8)
    for key in KEYS:
        store.add(key, key.encode(), 100)
    for name, ask in reads_and_writes(store):
        interrupted(relayed.relay, ask, monkeypatch)
        assert [answered(store, key) for key in KEYS] == [key.encode() for key in KEYS], name


def test_a_refusal_of_redis_closes_no_connection(relayed):
    store = RedisStore(relayed.url, threads=8)
    store.add(KEYS[0], b"value", 100)
    relayed.server.client().execute_command("CONFIG", "RESETSTAT")
    relayed.server.client().execute_command("HSET", "session:" + KEYS[1], "a", "b")  # GET is refused: it is no string
    connections = relayed.server.client().info("stats")["total_connections_received"]
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            store.get(KEYS[1])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:  # an error page reads the session too
            assert store.get(KEYS[0]) == b"value"
    # (One more for the question itself.)
    assert relayed.server.client().info("stats")["total_connections_received"] <= connections + 1


def test_the_log_says_once_that_redis_does_not_answer_and_once_that_it_does_again(relayed, caplog):
    store = RedisStore(relayed.url, threads=8)
    store.add(KEYS[0], b"value", 100)
    relayed.relay.hold()
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            store.get(KEYS[0])
    relayed.relay.release()
    assert answered(store, KEYS[0]) == b"value"
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2, lines
    assert "does not answer" in lines[0]
    assert "Timeout reading" in lines[0]
    assert "answers again after" in lines[1]
    assert re.search(r"[1-9]\d* requests were refused", lines[1])

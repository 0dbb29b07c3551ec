"""A document of the authority, kept: with a clock and threads that the test sets going, in milliseconds."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from flask_entra.signin import cached_document
from flask_entra.signin.cached_document import CachedDocument
from flask_entra.signin.errors import AuthorityUnavailable

# What people and the authority notice of it: twelve hours, a day, a second, three seconds.
FRESH_SECONDS, STALE_SECONDS, SLOW_SECONDS, FAIL_FAST_SECONDS = 12 * 3600, 24 * 3600, 1, 3


class World:
    """The clock (`now`, which goes on a little whenever it is read), and the threads that have been started."""

    def __init__(self):
        self.now, self.started, self.threads_left = 1000.0, [], 9

    def monotonic(self):
        self.now += 1e-3
        return self.now

    def thread(self, target, daemon):
        def start():
            if not self.threads_left:
                raise RuntimeError("can't start new thread")
            self.started.append(target)

        return SimpleNamespace(start=start)

    def run_threads(self):
        while self.started:
            self.started.pop()()


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(cached_document, "time", SimpleNamespace(monotonic=world.monotonic))
    monkeypatch.setattr(cached_document, "threading", SimpleNamespace(Lock=threading.Lock, Thread=world.thread))
    return world


class Authority:
    """Publishes a document, another one each time, or raises what it is told to, after some seconds."""

    def __init__(self, world):
        self.world, self.asked, self.error, self.takes = world, 0, None, 0

    def fetch(self):
        self.asked += 1
        self.world.now += self.takes
        if self.error:
            raise self.error
        return self.asked


@pytest.fixture
def authority(world):
    return Authority(world)


@pytest.fixture
def kept(authority):
    return CachedDocument(authority.fetch, contextlib.nullcontext)


def test_it_is_fetched_once_as_long_as_it_is_fresh(world, kept):
    assert kept.get() == 1
    world.now += FRESH_SECONDS - 1
    assert kept.get() == 1
    assert world.started == []


def test_an_old_one_is_given_at_once_and_renewed_in_the_background_once(world, kept):
    kept.get()
    world.now += FRESH_SECONDS + 1
    assert [kept.get(), kept.get()] == [1, 1]
    assert len(world.started) == 1
    world.run_threads()
    assert kept.get() == 2
    assert world.started == []


def test_after_a_renewal_in_the_background_comes_another_when_it_is_due(world, kept):
    kept.get()
    for expected in (1, 2, 3):
        world.now += FRESH_SECONDS + 1
        assert kept.get() == expected
        world.run_threads()


def test_a_renewal_in_the_background_that_fails_is_tried_again_at_the_next_use(world, kept, authority, caplog):
    kept.get()
    world.now += FRESH_SECONDS + 1
    authority.error = AuthorityUnavailable("gone")
    for _ in range(2):
        assert kept.get() == 1
        world.run_threads()
    assert authority.asked == 3
    assert "could not be renewed: gone" in caplog.text
    authority.error = None
    assert kept.get() == 1
    world.run_threads()
    assert kept.get() == 4


def test_where_no_thread_can_be_started_the_old_one_is_given_and_a_later_use_renews_it(world, kept):
    kept.get()
    world.now += FRESH_SECONDS + 1
    world.threads_left = 0
    assert kept.get() == 1
    world.threads_left = 1
    assert kept.get() == 1
    world.run_threads()
    assert kept.get() == 2


def test_a_stale_document_is_never_used(world, kept, authority):
    kept.get()
    world.now += STALE_SECONDS + 1
    authority.error = AuthorityUnavailable("gone")
    for _ in range(2):
        with pytest.raises(AuthorityUnavailable, match="gone"):
            kept.get()
    authority.error = None
    assert kept.get() == 4
    assert world.started == []


def test_one_that_has_changed_meanwhile_is_fetched_once_however_many_say_so(world, kept, authority):
    kept.get()
    since = world.monotonic()
    assert [kept.get(since=since), kept.get(since=since)] == [2, 2]
    assert kept.get() == 2
    assert authority.asked == 2


def test_a_quick_failure_is_not_remembered(kept, authority):
    authority.error = AuthorityUnavailable("gone")
    with pytest.raises(AuthorityUnavailable) as failed:
        kept.get()
    assert failed.value.retry_after is None
    authority.error = None
    assert kept.get() == 2


@pytest.mark.parametrize(("said", "told"), [(None, FAIL_FAST_SECONDS), (60, 60)])
def test_a_slow_failure_is_told_to_everybody_for_a_moment_and_then_tried_again(world, kept, authority, said, told):
    authority.error, authority.takes = AuthorityUnavailable("slow", retry_after=said), SLOW_SECONDS + 1
    for _ in range(3):
        with pytest.raises(AuthorityUnavailable, match="slow") as failed:
            kept.get()
        assert failed.value.retry_after == told
    assert authority.asked == 1
    world.now += FAIL_FAST_SECONDS
    authority.error = None
    assert kept.get() == 2


def test_a_failure_as_quick_as_that_is_tried_again(kept, authority):
    authority.error, authority.takes = AuthorityUnavailable("gone"), SLOW_SECONDS / 2
    for _ in range(2):
        with pytest.raises(AuthorityUnavailable):
            kept.get()
    assert authority.asked == 2


@pytest.mark.parametrize("error", [None, AuthorityUnavailable("gone")], ids=["it comes", "it does not"])
def test_requests_that_wait_for_one_fetch_share_what_comes_of_it(world, error):
    begun, let_go, waiting = threading.Event(), threading.Event(), threading.Semaphore(0)
    asked = []

    @contextlib.contextmanager
    def place():
        waiting.release()
        yield

    def fetch():
        asked.append(1)
        begun.set()
        let_go.wait(20)
        if error:
            raise error
        return "document"

    kept = CachedDocument(fetch, place)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(kept.get)
        assert begun.wait(20)
        others = [pool.submit(kept.get) for _ in range(3)]
        for _ in range(4):
            assert waiting.acquire(timeout=20)
        let_go.set()
        outcomes = [each.exception(20) or each.result() for each in (first, *others)]
    assert len(asked) == 1
    assert {str(each) for each in outcomes} == {str(error) if error else "document"}
    assert len({id(each) for each in outcomes}) == (4 if error else 1)  # each has a failure of its own
    with contextlib.suppress(AuthorityUnavailable):
        kept.get()
    assert len(asked) == (2 if error else 1)

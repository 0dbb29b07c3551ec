"""A share of the threads for each upstream, so that one that hangs cannot take the whole process with it.

The bulkhead pattern (https://learn.microsoft.com/azure/architecture/patterns/bulkhead). A request that asks the tenant or Graph
holds a place until it has its answer. While answers come quickly, a request that finds no free place waits for one, on its
thread; so only a few wait on behalf of one person, and of strangers in all. All others are refused at once, and so is
everybody while answers are slow: pages that need no upstream are served as ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

SLOW_SECONDS = 0.5  # from when on an answer counts as slow
PATIENCE_SECONDS = 2.0  # how long a request waits for a place while answers come quickly
RETRY_SECONDS = 5  # when a refused request is told to try again: a guess


class Refusal(Exception):
    """The app itself does not ask an upstream: the log says so once for many.

    :ivar retry_after: after how many seconds it is worth another try.
    """

    retry_after: int = RETRY_SECONDS


class Busy(Refusal):
    """Too many requests wait for this upstream already."""

    def __init__(self, upstream: str):
        super().__init__(f"too many requests wait for {upstream} already")


class _Request:
    """A request that asks an upstream, or waits until it may.

    :ivar since: when it began to ask (`time.monotonic()`).
    :ivar admitted: set when it has a place.
    """

    def __init__(self, upstream: str, person: str | None, stranger: bool):
        self.upstream, self.person, self.stranger = upstream, person, stranger
        self.since, self.admitted = 0.0, threading.Event()


class Bulkhead:
    """The places of one process. Safe to share among threads.

    :param threads: how many threads the process answers requests with. Five eighths of them may ask one upstream, three
        quarters all upstreams together, and a quarter one upstream on behalf of one person. An eighth, two at least, may
        wait for a place on behalf of one person, and as many on behalf of strangers in all.
    """

    def __init__(self, threads: int):
        self._places_each = max(1, threads * 5 // 8)
        self._places_all = max(1, threads * 3 // 4)
        self._places_person = max(1, threads // 4)
        self._waiters_person = max(2, threads // 8)
        self._waiters_strangers = max(2, threads // 8)
        self._lock = threading.Lock()
        self._asking: list[_Request] = []
        self._waiting: list[_Request] = []  # oldest first
        self._held = threading.local()

    @contextlib.contextmanager
    def place(self, upstream: str, person: str | None = None, *, stranger: bool = False) -> Iterator[None]:
        """Hold a place while the block asks an upstream. Inside another place for the same upstream it takes none.

        :param upstream: names it; an origin, such as `https://graph.microsoft.com`.
        :param person: on whose behalf, by any name that tells people apart; None for nobody in particular.
        :param stranger: whether nobody knows yet who that is.
        :raises Busy: there is no place.
        """
        held = self._held.__dict__.setdefault("upstreams", set())
        if upstream in held:
            yield
            return
        request = _Request(upstream, person, stranger)
        try:
            self._enter(request)
            held.add(upstream)
            yield
        finally:
            held.discard(upstream)
            with self._lock:
                for requests in (self._asking, self._waiting):
                    if request in requests:
                        requests.remove(request)
                self._admit_waiters()

    def _enter(self, request: _Request) -> None:
        now = time.monotonic()
        deadline = now + PATIENCE_SECONDS
        with self._lock:
            crowd = self._in_the_way(request)
            if not crowd:
                self._admit(request)
                return
            if self._waits_enough(request):
                raise Busy(request.upstream)
            self._waiting.append(request)
        # Once the median request is slow, no place will be free soon.
        while (until := min(deadline, sorted(crowd)[len(crowd) // 2] + SLOW_SECONDS)) > now:
            if request.admitted.wait(until - now):
                return
            now = time.monotonic()
            with self._lock:
                crowd = self._in_the_way(request) or [now]  # empty: the request has just been admitted
        if not request.admitted.is_set():
            raise Busy(request.upstream)

    def _admit(self, request: _Request) -> None:
        request.since = time.monotonic()
        self._asking.append(request)
        request.admitted.set()

    def _admit_waiters(self) -> None:
        """Hand each free place to the one that has waited longest, of those who wait for such a place."""
        for request in [each for each in self._waiting if not self._in_the_way(each)]:
            if not self._in_the_way(request):  # still: this loop may just have given the last place away
                self._waiting.remove(request)
                self._admit(request)

    def _waits_enough(self, request: _Request) -> bool:
        theirs = sum(each.person == request.person is not None for each in self._waiting)
        strangers = sum(each.stranger for each in self._waiting)
        return theirs >= self._waiters_person or (request.stranger and strangers >= self._waiters_strangers)

    def _in_the_way(self, request: _Request) -> list[float]:
        """When the requests that fill the limit began; empty while there is room."""
        here = [each for each in self._asking if each.upstream == request.upstream]
        theirs = [each.since for each in here if each.person == request.person is not None]
        if len(theirs) >= self._places_person:
            return theirs
        if len(here) >= self._places_each:
            return [each.since for each in here]
        if len(self._asking) >= self._places_all:
            return [each.since for each in self._asking]
        return []

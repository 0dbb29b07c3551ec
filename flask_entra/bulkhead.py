"""A share of the threads for each upstream, so that one that hangs cannot take the whole process with it.

The bulkhead pattern (https://learn.microsoft.com/azure/architecture/patterns/bulkhead). A request that waits for the tenant
or for Graph holds a place for as long as it waits. While answers come quickly, a request that finds no free place waits for
one. While answers are slow, it is refused at once, so that pages that need no upstream are served as ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

SLOW_SECONDS = 0.3  # from when on an answer counts as slow
PATIENCE_SECONDS = 2.0  # how long a request waits for a place while answers come quickly
RETRY_SECONDS = 5  # when a refused request is told to try again: a guess


class Busy(Exception):
    """Too many requests wait for this upstream already.

    :ivar retry_after: after how many seconds it is worth another try.
    """

    def __init__(self, upstream: str):
        super().__init__(f"too many requests wait for {upstream} already")
        self.retry_after = RETRY_SECONDS


class _Waiting(NamedTuple):
    upstream: str
    person: str | None
    since: float


class Bulkhead:
    """The places of one process. Safe to share among threads.

    :param threads: how many threads the process answers requests with. Five eighths of them may wait for one upstream,
        three quarters for all upstreams together, and a quarter for one upstream on behalf of one person.
    """

    def __init__(self, threads: int):
        self._places_each = max(1, threads * 5 // 8)
        self._places_all = max(1, threads * 3 // 4)
        self._places_person = max(1, threads // 4)
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._held = threading.local()

    @contextlib.contextmanager
    def place(self, upstream: str, person: str | None = None) -> Iterator[None]:
        """Hold a place while the block waits for an upstream. Inside another place for the same upstream it takes none.

        :param upstream: names it; an origin, such as `https://graph.microsoft.com`.
        :param person: on whose behalf, by any name that tells people apart; None for nobody in particular.
        :raises Busy: there is no place.
        """
        held = self._held.__dict__.setdefault("upstreams", set())
        if upstream in held:
            yield
            return
        waiting = self._enter(upstream, person)
        held.add(upstream)
        try:
            yield
        finally:
            held.discard(upstream)
            with self._changed:
                self._waiting.remove(waiting)
                self._changed.notify()

    def _enter(self, upstream: str, person: str | None) -> _Waiting:
        now = time.monotonic()
        deadline = now + PATIENCE_SECONDS
        with self._changed:
            while crowd := self._in_the_way(upstream, person):
                # Once the median waiter is slow, no place will be free soon.
                until = min(deadline, sorted(crowd)[len(crowd) // 2] + SLOW_SECONDS)
                if until <= now:
                    # Pass on the notification that this thread may have consumed.
                    self._changed.notify()
                    raise Busy(upstream)
                self._changed.wait(until - now)
                now = time.monotonic()
            waiting = _Waiting(upstream, person, now)
            self._waiting.append(waiting)
        return waiting

    def _in_the_way(self, upstream: str, person: str | None) -> list[float]:
        """The start times of the waiting requests that leave no place; empty when there is one."""
        here = [each for each in self._waiting if each.upstream == upstream]
        theirs = [each.since for each in here if each.person == person is not None]
        if len(theirs) >= self._places_person:
            return theirs
        if len(here) >= self._places_each:
            return [each.since for each in here]
        if len(self._waiting) >= self._places_all:
            return [each.since for each in self._waiting]
        return []

"""Whom not to ask for a while: an upstream that says `Retry-After` is left alone until then (RFC 9110, 10.2.3; RFC 6585, 4)."""

from __future__ import annotations

import math
import threading
import time

from flask_entra.bulkhead import Refusal

LONGEST_SECONDS = 300  # an upstream that is wrong about the time keeps nobody out for longer
KEPT_AT_MOST = 10_000


class Paused(Refusal):
    """An upstream wants to be left alone for a while."""

    def __init__(self, upstream: str, left: int):
        super().__init__(f"{upstream} has asked for a pause")
        self.retry_after = left


class Pauses:
    """The pauses that upstreams have asked for. Safe to share among threads. (Each process counts by itself.)"""

    def __init__(self) -> None:
        self._lock, self._until = threading.Lock(), dict[str, float]()

    def check(self, upstream: str, person: str = "") -> None:
        """Go on, unless there is to be a pause.

        :param person: on whose behalf, by any name that tells people apart, where the upstream counts by person.
        :raises Paused: there is.
        """
        left = self._until.get(f"{upstream} {person}", 0) - time.monotonic()
        if left > 0:
            raise Paused(upstream, math.ceil(left))

    def note(self, upstream: str, seconds: int, person: str = "") -> None:
        """Note that there is to be a pause.

        :param seconds: as `Retry-After` says.
        """
        now = time.monotonic()
        with self._lock:
            if len(self._until) >= KEPT_AT_MOST:
                self._until = {each: until for each, until in self._until.items() if until > now}
            if len(self._until) < KEPT_AT_MOST:
                self._until[f"{upstream} {person}"] = now + min(seconds, LONGEST_SECONDS)

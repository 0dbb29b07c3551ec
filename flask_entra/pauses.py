"""Whom not to ask for a while: an upstream that says `Retry-After` is left alone until then (RFC 9110, 10.2.3; RFC 6585, 4)."""

from __future__ import annotations

import math
import threading
import time

LONGEST_SECONDS = 300  # an upstream that is wrong about the time keeps nobody out for longer
KEPT_AT_MOST = 10_000


class Pauses:
    """The pauses that upstreams have asked for. Safe to share among threads. (Each process counts by itself.)"""

    def __init__(self) -> None:
        self._lock, self._until = threading.Lock(), dict[str, float]()

    def left(self, whom: str) -> int | None:
        """How many seconds of a pause are left, at least 1; None when there is none.

        :param whom: any name that tells the upstream, or the upstream and the person, from others.
        """
        left = self._until.get(whom, 0) - time.monotonic()
        return math.ceil(left) if left > 0 else None

    def note(self, whom: str, seconds: int) -> None:
        """Note that there is to be a pause.

        :param seconds: as `Retry-After` says.
        """
        now = time.monotonic()
        with self._lock:
            if len(self._until) >= KEPT_AT_MOST:
                self._until = {each: until for each, until in self._until.items() if until > now}
            if len(self._until) < KEPT_AT_MOST:
                self._until[whom] = now + min(seconds, LONGEST_SECONDS)

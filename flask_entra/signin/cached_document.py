"""A document that the authority publishes, kept fresh: fetched once for all requests, renewed before it is too old."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from flask_entra.same_error import same
from flask_entra.signin.errors import AuthorityUnavailable

FRESH_SECONDS = 12 * 3600  # a document older than this is fetched again in the background
STALE_SECONDS = 24 * 3600  # a document older than this is fetched again before it is used
SLOW_SECONDS = 1  # a failed fetch that took longer than this is not repeated for FAIL_FAST_SECONDS
FAIL_FAST_SECONDS = 3

T = TypeVar("T")
log = logging.getLogger(__name__)


class CachedDocument(Generic[T]):
    """One document. Safe to share among threads.

    :param fetch: fetches it, or raises `AuthorityUnavailable`.
    :param waiting: makes a context that holds a place among the requests that wait for the authority.
    """

    def __init__(self, fetch: Callable[[], T], waiting: Callable[[], AbstractContextManager[None]]):
        self._fetch, self._waiting, self._lock = fetch, waiting, threading.Lock()
        self._value: T | None = None
        self._fetched_at = self._failed_at = self._fails_until = float("-inf")
        self._failure: AuthorityUnavailable | None = None

    def get(self, *, since: float = float("-inf")) -> T:
        """The document; fetched now if there is none, if it is stale, or if it was fetched too early.

        :param since: by `time.monotonic()`: the caller knows that it has changed before that.
        :raises AuthorityUnavailable: it had to be fetched, and could not be.
        """
        now = time.monotonic()
        age = now - self._fetched_at
        if age > STALE_SECONDS or self._fetched_at < since:
            self._fetch_now(now if age > STALE_SECONDS else since)
        elif age > FRESH_SECONDS and self._lock.acquire(blocking=False):
            try:
                threading.Thread(target=self._renew_in_background, daemon=True).start()
            except RuntimeError:  # no more threads
                self._lock.release()
        assert self._value is not None  # noqa: S101  a failed fetch has raised already
        return self._value

    def peek(self) -> T | None:
        """The document as it was fetched last; None if it never was, or is stale."""
        return self._value if time.monotonic() - self._fetched_at <= STALE_SECONDS else None

    def put(self, value: T) -> None:
        """Take a document that need not be fetched."""
        self._value, self._fetched_at = value, time.monotonic()

    def _fetch_now(self, asked: float) -> None:
        if asked < self._fails_until and self._failure:
            raise same(self._failure)
        with self._waiting(), self._lock:
            # A thread that has waited for another's fetch shares the outcome. The next one to ask tries anew.
            if self._failed_at > asked and self._failure:
                raise same(self._failure)
            if self._fetched_at < asked:
                self._renew()

    def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._value = self._fetch()
            self._fetched_at = time.monotonic()
        except AuthorityUnavailable as error:
            self._failed_at = time.monotonic()
            if self._failed_at - began > SLOW_SECONDS:
                error.retry_after = error.retry_after or FAIL_FAST_SECONDS
                self._fails_until = self._failed_at + FAIL_FAST_SECONDS
            # A copy has no traceback, whose frames would be kept alive with it.
            self._failure = same(error)
            raise

    def _renew_in_background(self) -> None:
        try:
            self._renew()
        except AuthorityUnavailable as error:
            # Nobody waits for this: the document is good until it is stale, and its next use tries again.
            log.warning("A document of the authority could not be renewed: %s", error)
        finally:
            self._lock.release()

"""What a session store does. To add one, write a class like this in a file of its own and choose it in `__init__`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

PROBE_SECONDS = 60


class StoreUnavailable(Exception):
    """The session store cannot be read or written. Nobody is signed out by that: it may be back in a moment."""


def unavailable(error: Exception) -> StoreUnavailable:
    """An error of a store's own, as one that the app knows."""
    return StoreUnavailable(f"the session store cannot be used: {getattr(error, 'strerror', None) or error}")


def probe(store: Store) -> None:
    """Write, read, lock and delete a value, as a session would be.

    :raises StoreUnavailable: one of them does not work.
    """
    key, value = secrets.token_hex(32), b"probe"
    with store.lock(key):
        store.add(key, value, PROBE_SECONDS)
        found = store.get(key)
        store.delete(key)
    if found != value:
        raise StoreUnavailable("the session store does not keep what it is given")


class StoreMisconfigured(StoreUnavailable):
    """The store cannot be used as it is set up, so another try does not help."""


class Store(Protocol):
    """A store, shared among threads. Keys are hexadecimal, values opaque, times in seconds.

    A value may stay longer than its time. The sealed record carries its own expiry.

    All methods but `prune` raise `StoreUnavailable` when the store cannot be read or written.
    """

    def get(self, key: str) -> bytes | None:
        """The value, or None."""

    def add(self, key: str, value: bytes, seconds: int) -> None:
        """Store a new value."""

    def update(self, key: str, change: Callable[[bytes], bytes | None], seconds: int) -> None:
        """Store what `change` makes of a value that is there, while nobody else changes it; None leaves it as it is.

        The new value lives for so many seconds from now.

        A value that has been deleted stays deleted. `change` may be called more than once, and does not wait for anything.
        """

    def delete(self, key: str) -> bool:
        """Remove a value. Of several that do so at once, one is told that it was there."""

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Keep others, on all machines, from holding the same lock. One that waits gives up after `deadlines.LOCK_SECONDS`."""

    def note(self, label: str, entry: bytes, seconds: int) -> None:
        """Add an entry to those of a label, for so many seconds; those of one label are always as many."""

    def notes(self, label: str) -> list[bytes]:
        """The entries of a label."""

    def drop_note(self, label: str, entry: bytes) -> None:
        """Remove an entry of a label, if it is there."""

    def all_notes(self) -> Iterator[bytes]:
        """The entries of all labels, read in small steps; each may come several times."""

    def keys(self) -> Iterator[str]:
        """The keys of all values, read in small steps; each may come several times."""

    def ping(self) -> None:
        """Find out whether the store can be used: write, read, lock and delete a probe."""

    def evicts(self) -> str | None:
        """The policy by which the store may delete live sessions to make room for others; None when it never does."""

    def prune(self, spare: float) -> int:
        """Remove the values that expired at least `spare` seconds ago.

        :return: how many they were.
        """

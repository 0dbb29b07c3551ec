"""A file that may change while the app runs: a secret that Docker or Kubernetes has mounted, a certificate that is renewed."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

LOOK_SECONDS = 1.0  # a file is looked at no more often
SETTLED_SECONDS = 1.0  # a file that has been changed so recently may not be complete

T = TypeVar("T")
log = logging.getLogger(__name__)


class WatchedFile(Generic[T]):
    """What a file holds, read again when it has changed. Safe to share among threads.

    A new content that cannot be used, such as one that is half written, is not: the one from before stays, and the log says so.

    :param setting: the name of the setting that says where the file is, for the log.
    :param path: the file, or a symbolic link to it.
    :param read: makes the value of the file at a path.
    :raises OSError, ValueError: as `read` does, at once.
    """

    def __init__(self, setting: str, path: str, read: Callable[[str], T]):
        self._setting, self._path, self._read = setting, path, read
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._seen, self._value = self._mark(), read(path)

    def get(self) -> T:
        """The value."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._value

    def look_again(self) -> None:
        """Look at the file now, however recently it has been changed: there is a sign that it must have been."""
        with self._lock:
            self._look(anew=True)

    def _look(self, *, anew: bool = False) -> None:
        self._looked_at = time.monotonic()
        try:
            mark = self._mark()
            # A clock that differs from the one of a share makes a change old, or far ahead.
            if mark == self._seen or (not anew and abs(time.time() - mark[0] / 1e9) < SETTLED_SECONDS):
                return
            value = self._read(self._path)
            if mark != self._mark():
                return  # it is being written
        except (OSError, ValueError) as error:
            mark, reason = self._mark_or_none(), getattr(error, "strerror", None) or error
            if mark != self._seen:
                log.warning("%s: the file cannot be used (%s). Its former content stays in use", self._setting, reason)
            self._seen = mark
            return
        self._seen = mark
        if value != self._value:
            self._value = value
            log.info("%s: the file has changed, and is used from now on", self._setting)

    def _mark(self) -> tuple[int, ...]:
        """What differs after each change, of the file or of a link to it: first of all when it was changed (ns)."""
        found = os.stat(self._path)
        return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size, found.st_ctime_ns

    def _mark_or_none(self) -> tuple[int, ...]:
        try:
            return self._mark()
        except (OSError, ValueError):
            return ()


def watched(setting: str, path: str, read: Callable[[str], T]) -> WatchedFile[T] | None:
    """A file that is watched, as `WatchedFile` takes it; None if there is no path, or it cannot be used. The doctor says why."""
    with contextlib.suppress(OSError, ValueError):
        return WatchedFile(setting, path, read) if path else None
    return None


def read_lines(path: str) -> list[str]:
    """The lines of a text, without empty ones and without spaces around them: editors and `echo` end a secret by a line break.

    :param path: of the file, in UTF-8.
    :raises OSError: it cannot be read.
    :raises ValueError: it has no text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:  # whose text has a byte of the secret
        raise ValueError("it is no text in UTF-8") from None
    lines = [line.strip() for line in text.splitlines()]
    if not any(lines):
        raise ValueError("it is empty")
    return [line for line in lines if line]


def read_text(path: str) -> str:
    """The one line of a text; see `read_lines`.

    :raises ValueError: there are more lines too.
    """
    line, *more = read_lines(path)
    if more:
        raise ValueError("it has more than one line")
    return line

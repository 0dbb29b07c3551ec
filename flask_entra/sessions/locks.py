"""Locks among the processes of one machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.02

# The operating system holds these locks, so a process that dies lets go of them. (The filelock package does the same, and
# costs each worker 4 MiB and 30 ms at start.)
try:
    import fcntl

    def try_lock(file: IO[bytes]) -> None:
        """Lock a file.

        :raises OSError: another process, or another open file of this one, holds it.
        """
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

except ImportError:  # Windows
    import msvcrt

    def try_lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # there on Windows only


@contextlib.contextmanager
def hold(path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock while the block runs. Locks of different paths are independent of each other.

    :param path: a file that is there only while the lock is held.
    :param seconds: how long to wait for another holder.
    :raises TimeoutError: another held it for as long.
    :raises OSError: the file cannot be made or locked.
    """
    file = _locked(path, time.monotonic() + seconds)
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # on Windows an open file cannot be removed, and stays
                path.unlink()


def _locked(path: Path, deadline: float) -> IO[bytes]:
    while True:
        file = open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")  # noqa: SIM115  the caller closes it
        try:
            try_lock(file)
            if _is_at(path, file):
                return file
        except (BlockingIOError, PermissionError):  # another holds it; Windows says permission denied
            pass
        except BaseException:
            file.close()
            raise
        file.close()
        if time.monotonic() > deadline:
            raise TimeoutError("another request holds this session for too long")
        time.sleep(POLL_SECONDS)


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether this is still the file at the path: the holder before has removed the one that others waited for."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False

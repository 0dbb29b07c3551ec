"""The sessions in files, for one machine."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from flask_entra import deadlines
from flask_entra.sessions import locks
from flask_entra.sessions.store import StoreMisconfigured, StoreUnavailable, probe, unavailable

FOLDER, MARKER = "sealed-sessions", "MADE-BY-THE-APP"
WRITE_SECONDS = 2  # that a write waits for another write of the same session
CHUNK_BYTES = 32 * 1024  # read at a time; a session is seldom larger
TEMPORARY_SECONDS = 60  # a file being written is older than this only if its writer has died

_KEY = re.compile("[0-9a-f]{64}")
_RECORD = re.compile(rf"{_KEY.pattern}(\.[0-9a-f]{{16}}\.tmp)?")
_NOTES = msgspec.msgpack.Decoder(dict[bytes, float])  # the entries of a label, each with when it ends (Unix seconds)

log = logging.getLogger(__name__)


class FileStore:
    """A file a session, its time of modification set to when it may be removed.

    Files are written whole and then renamed into place, so neither a crash nor a reader ever meets half of one. They lie in a
    folder that the store makes and marks, and nothing else is ever deleted. A folder that belongs to somebody else, or that
    others may write to, is refused. A share that keeps no permissions (Azure Files, App Service's `/home`, WSL's `/mnt/c`) could
    not be closed to others, who might delete sessions: then the store lies in the folder for temporary files.

    :param folder: where the store makes its own folder; made, for its owner only, if it is not there.
    """

    def __init__(self, folder: Path):
        self._choose(folder)
        try:
            if _keeps_no_permissions(folder):
                private = (
                    Path(tempfile.gettempdir()) / f"{FOLDER}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
                )
                log.warning(
                    "SESSION_FILE_DIR %s is on a share that keeps no permissions, so others could delete sessions there. They "
                    "are kept in %s instead, on this machine alone: set SESSION_FILE_DIR to a folder of it, or REDIS_URL.",
                    folder,
                    private,
                )
                self._choose(private)
            self._make_folder()
        except (OSError, StoreUnavailable) as error:
            reason = error if isinstance(error, StoreUnavailable) else error.strerror
            log.error("SESSION_FILE_DIR %s cannot be used (%s): nobody can sign in.", folder, reason)

    def _choose(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._locks, self._marker = self._folder / "locks", self._folder / MARKER
        self._index = self._folder / "index"  # a file a label; made with the first one
        self._sound = False  # whether the folder has been made, or looked at, and may be used

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(self._folder.parent, mounted=True)
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        if self._folder.is_symlink():
            raise StoreMisconfigured(f"{self._folder} is a link: choose another SESSION_FILE_DIR")
        _check_owner(self._folder)
        if not self._marker.exists():
            if {path.name for path in self._folder.iterdir()} - {MARKER}:  # another process may just be making it
                raise StoreMisconfigured(f"{self._folder} was not made by this app: choose another SESSION_FILE_DIR")
            self._marker.write_text("Sealed sessions. What has expired in this folder is deleted.\n")
        self._locks.mkdir(mode=0o700, exist_ok=True)
        self._sound = True

    def _keep_folder(self) -> None:
        if not (self._sound and self._locks.exists()):  # a cleaner of temporary files may have been here
            self._make_folder()

    def get(self, key: str) -> bytes | None:
        try:
            if not self._sound:
                self._make_folder()
            return _read(f"{self._folder}/{key}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(error) from error

    def add(self, key: str, value: bytes, seconds: int) -> None:
        self._write(self._folder / key, value, time.time() + seconds)

    def _write(self, path: Path, value: bytes, end: float) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            self._keep_folder()
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(value)
            os.utime(temporary, (time.time(), end))
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise unavailable(error) from error

    def update(self, key: str, change: Callable[[bytes], bytes | None], seconds: int) -> None:
        with self._hold(f"{key}.write", WRITE_SECONDS):
            found = self.get(key)
            value = None if found is None else change(found)
            if value is not None:
                self.add(key, value, seconds)

    def delete(self, key: str) -> bool:
        with contextlib.ExitStack() as stack:
            # Without the lock (a full disk has no room for it), a write that is just going on may bring the value back. Skipping
            # the deletion would be worse.
            with contextlib.suppress(StoreUnavailable):
                stack.enter_context(self._hold(f"{key}.write", WRITE_SECONDS))
            try:
                if not self._sound:
                    self._make_folder()
                (self._folder / key).unlink()
            except FileNotFoundError:
                return False
            except OSError as error:
                raise unavailable(error) from error
        return True

    def note(self, label: str, entry: bytes, seconds: int) -> None:
        with self._changing(label) as notes:
            notes[entry] = time.time() + seconds

    def notes(self, label: str) -> list[bytes]:
        return list(self._read_notes(label))

    def drop_note(self, label: str, entry: bytes) -> None:
        if entry in self._read_notes(label):
            with self._changing(label) as notes:
                notes.pop(entry, None)

    def all_notes(self) -> Iterator[bytes]:
        for label in self._names(self._index):
            yield from self._read_notes(label)

    def keys(self) -> Iterator[str]:
        return self._names(self._folder)

    def _names(self, folder: Path) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                yield from (entry.name for entry in entries if _KEY.fullmatch(entry.name))
        except FileNotFoundError:  # nothing has been stored yet
            return
        except OSError as error:
            raise unavailable(error) from error

    @contextlib.contextmanager
    def _changing(self, label: str) -> Iterator[dict[bytes, float]]:
        with self._hold(f"{label}.write", WRITE_SECONDS):
            notes = self._read_notes(label)
            yield notes
            try:
                self._index.mkdir(mode=0o700, exist_ok=True)
                if not notes:
                    (self._index / label).unlink(missing_ok=True)
                    return
            except OSError as error:
                raise unavailable(error) from error
            self._write(self._index / label, msgspec.msgpack.encode(notes), max(notes.values()))

    def _read_notes(self, label: str) -> dict[bytes, float]:
        """The entries of a label that have not ended; none, if what the file has is something else."""
        try:
            notes, now = _NOTES.decode(_read(f"{self._index}/{label}")), time.time()
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            log.warning("The index of the sessions has a file that cannot be read: %s", label[:8])
            return {}
        except OSError as error:
            raise unavailable(error) from error
        return {entry: end for entry, end in notes.items() if end > now}

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:
        return self._hold(key, deadlines.LOCK_SECONDS)

    @contextlib.contextmanager
    def _hold(self, name: str, seconds: float) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                self._keep_folder()
                stack.enter_context(locks.hold(self._locks / name, seconds))
            except OSError as error:
                raise unavailable(error) from error
            yield

    def ping(self) -> None:
        probe(self)

    def evicts(self) -> str | None:
        return None

    def prune(self, spare: float) -> int:
        removed = 0
        with contextlib.suppress(OSError, StoreUnavailable):
            self._keep_folder()
            removed = _remove_expired(self._folder, time.time() - spare)
            _remove_expired(self._index, time.time() - spare)
        log.info("%s expired sessions removed", removed)
        return removed


def _read(path: str) -> bytes:
    # Three calls of the system's, where a file object makes eight: at each, a thread may lose its turn to another.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        content = os.read(file, CHUNK_BYTES)
        while len(content) % CHUNK_BYTES == 0 and (more := os.read(file, CHUNK_BYTES)):
            content += more
        return content
    finally:
        os.close(file)


def _remove_expired(folder: Path, when: float) -> int:
    removed = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _expired_before(entry, when):
                    os.unlink(entry)
                    removed += 1
    return removed


def _expired_before(entry: os.DirEntry[str], when: float) -> bool:
    # Only files with names that this store makes are removed.
    if not (_RECORD.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)):
        return False
    if entry.name.endswith(".tmp"):
        when -= TEMPORARY_SECONDS
    return entry.stat(follow_symlinks=False).st_mtime < when


def _check_owner(folder: Path, *, mounted: bool = False) -> None:
    """Refuse a folder in which somebody else could put, replace or remove a file.

    :param mounted: whether it may be a volume's mount point, which belongs to root and to a group of this process's own, as
        Kubernetes makes it for `fsGroup`.
    :raises StoreMisconfigured: somebody else could.
    """
    if os.name == "nt":  # its permissions are of another kind
        return
    status = folder.stat()
    is_volume = (
        mounted and status.st_uid == 0 and status.st_gid in (os.getegid(), *os.getgroups()) and folder.is_mount()
    )
    if is_volume and not status.st_mode & stat.S_IWOTH:
        return
    if status.st_uid != os.geteuid():
        raise StoreMisconfigured(f"{folder} belongs to another user: choose another SESSION_FILE_DIR")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreMisconfigured(f"others may write to {folder}: chmod go-w, or choose another SESSION_FILE_DIR")


def _keeps_no_permissions(folder: Path) -> bool:
    """Whether a folder that is made there, for its owner alone, is open to everybody all the same."""
    if os.name == "nt":
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.stat().st_mode & stat.S_IWOTH:
        return False
    probe = folder / f".{secrets.token_hex(8)}"
    with contextlib.suppress(OSError):
        probe.mkdir(mode=0o700)
        try:
            return bool(probe.stat().st_mode & stat.S_IWOTH)
        finally:
            probe.rmdir()
    return False

"""The server-side session store, sealed: files by default, Redis for many machines.

Flask-Session keeps the cookie and the session object; this is what it keeps them in. The cookie holds a random session id
and nothing else. The store knows neither that id nor what is in a session: a record is found by one key derived from the
id, and encrypted and authenticated (AES-256-GCM) with another. Who copies the whole store can read no token and sign in as
nobody; a record that was altered, or moved to another key, does not open, and counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import click
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask, Request, Response
from flask.cli import AppGroup
from flask_session.base import ServerSideSession, ServerSideSessionInterface

LOCK_SECONDS = 30  # a lock in Redis, at the most; longer than a token request may take (http_client.py)
PRUNE_SECONDS = 3600
TOUCH_SECONDS = 3600  # an idle time is counted no finer than this, so that looking at a page writes nothing

log = logging.getLogger(__name__)


class StoreUnavailable(Exception):
    """The session store cannot be read or written. Nobody is signed out by that: it may be back in a moment."""


class Store(Protocol):
    """What a session store does. Keys are hexadecimal, values opaque. All but `prune` raise `StoreUnavailable`."""

    def get(self, key: str) -> tuple[bytes, float] | None:
        """The value and the seconds it has left to live, or None."""

    def add(self, key: str, value: bytes, seconds: int) -> None:
        """Store a new value."""

    def replace(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value in place of one that is there. One that has been deleted stays deleted."""

    def touch(self, key: str, seconds: int) -> None:
        """Let a value live for so many seconds from now."""

    def delete(self, key: str) -> None: ...

    def lock(self, key: str) -> contextlib.AbstractContextManager:
        """Keep others, on all machines, from holding the same lock."""

    def ping(self) -> None: ...

    def prune(self) -> int:
        """Remove what has expired, and say how much that was."""


def init_app(app: Flask) -> None:
    """Give the app its session store: Redis when `REDIS_URL` is set, files otherwise."""
    url, folder = app.config["REDIS_URL"], Path(app.config["SESSION_FILE_DIR"])
    store = RedisStore(url) if url else FileStore(folder)
    app.session_interface = SealedSessionInterface(app, store)
    commands = AppGroup("sessions", help="The stored sessions.")
    app.cli.add_command(commands)

    @commands.command("prune")
    def prune() -> None:
        """Remove the sessions that have expired."""
        click.echo(f"{store.prune()} expired sessions removed.")


class SealedSession(ServerSideSession):
    """A Flask session that is read from the store when it is first looked at: pages that don't look don't wait.

    `new`: not in the store yet. `touched`: read, and due to live on. `replaced`: the id it had before.
    """

    touched = False
    replaced: str | None = None
    _read: dict = {}  # what was in it when it was read, to tell what the view has changed

    def __init__(self, interface: SealedSessionInterface, sid: str | None):
        self._stored = False  # nothing to read while the base class sets itself up
        super().__init__(sid=sid or interface.new_id())
        self.interface, self.new, self._stored = interface, not sid, bool(sid)

    def load(self) -> None:
        """Read the session from the store, if there is one and it has not been read yet.

        :raises StoreUnavailable: the store cannot be read.
        """
        if self._stored:
            data = self.interface.read(self)
            self._stored = False
            self._read = dict(data)
            dict.update(self, data)

    def regenerate(self) -> None:
        """Take a new id; what is stored under the old one is deleted when the new one is stored. At every sign-in (OWASP)."""
        self.load()
        self.replaced = None if self.new else self.sid
        self.sid, self.new, self.modified = self.interface.new_id(), True, True

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the session alone, among all workers on all machines, as it is stored by now; store it at the end.

        :raises StoreUnavailable: the store cannot be reached, or another holds the session for too long.
        """
        with self.interface.lock(self):
            # What this request has changed so far is kept; the rest is as others have stored it meanwhile.
            own = dict(dict.items(self)) if self.modified else self._read
            read = self._read
            changed = {name: value for name, value in own.items() if name not in read or value is not read[name]}
            gone = read.keys() - own.keys()
            data = self.interface.read(self)
            dict.clear(self)
            if data:  # else somebody has signed out
                dict.update(self, {name: value for name, value in {**data, **changed}.items() if name not in gone})
            self.modified = bool(data and (changed or gone))
            yield
            if self.modified:
                self.interface.write(self)
                # Not modified, or the end of the request would store it again, over what others stored since. But the
                # store has begun to count anew, so the cookie must too.
                self.modified, self.touched, self._read = False, True, dict(dict.items(self))


def _loading(name):
    method = getattr(ServerSideSession, name)

    def load_first(self, *args, **kwargs):
        self.load()
        self.accessed = True
        return method(self, *args, **kwargs)

    return load_first


_LOOKS = """__bool__ __contains__ __delitem__ __eq__ __getitem__ __iter__ __len__ __repr__ __setitem__
    clear copy get items keys pop popitem setdefault update values"""
for _name in _LOOKS.split():
    setattr(SealedSession, _name, _loading(_name))


class SealedSessionInterface(ServerSideSessionInterface):
    """Flask-Session's interface over a `Store`."""

    def __init__(self, app: Flask, store: Store):
        super().__init__(app, key_prefix="")
        self.store = store
        self._seconds = int(app.permanent_session_lifetime.total_seconds())

    def new_id(self) -> str:
        """A session id nobody can guess: 256 random bits."""
        return self._generate_sid(32)

    def open_session(self, app: Flask, request: Request) -> SealedSession:
        """The session that the cookie names, not read yet; an empty one with a new id when there is no cookie."""
        return SealedSession(self, request.cookies.get(self.get_cookie_name(app)))

    def save_session(self, app: Flask, session: SealedSession, response: Response) -> None:
        """Store a changed session, delete an emptied one, and set the cookie accordingly. A look writes nothing."""
        try:
            if session.modified:
                self.write(session)
            # Who signed in or out meanwhile has another cookie by now, which this one must not replace.
            alive = (session.modified or session.touched) and self.store.get(_keys(session.sid)[0])
        except StoreUnavailable as error:
            # The view has answered already, so there is nobody to raise to: the error's page takes the answer's place.
            page = app.make_response(app.handle_user_exception(error))
            response.status, response.headers = page.status, page.headers
            response.headers["Cache-Control"] = "no-store"
            response.set_data(page.get_data())
            return
        if session.accessed and "Cookie" not in response.headers.get("Vary", ""):
            response.vary.add("Cookie")
        # What belongs to somebody is kept by no cache; the rest is asked for again. (Not `bool(session)`: that would load.)
        response.headers.setdefault("Cache-Control", "no-store" if dict.__len__(session) else "no-cache")
        cookie = {
            "key": self.get_cookie_name(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
        }
        if session.modified and session.new:
            response.delete_cookie(**cookie)
        elif alive:
            response.set_cookie(value=session.sid, max_age=self._seconds, **cookie)

    def read(self, session: SealedSession) -> dict:
        """What is stored of a session. One that the store does not know gets a new id: its own may be known to others."""
        data, seconds = self._retrieve_session_data(session.sid) or ({}, 0)
        if not data:
            session.sid, session.new = self.new_id(), True
        elif seconds < self._seconds - TOUCH_SECONDS:
            self.store.touch(_keys(session.sid)[0], self._seconds)
            session.touched = True
        return data

    def write(self, session: SealedSession) -> None:
        """Store a session, or delete what is stored of an empty one."""
        if session:
            self._upsert_session(self.app.permanent_session_lifetime, session, session.sid)
            session.new = False
            if session.replaced:
                self._delete_session(session.replaced)
                session.replaced = None
        elif not session.new:
            self.delete(session)

    def delete(self, session: SealedSession) -> None:
        """Delete what is stored of a session."""
        self._delete_session(session.sid)
        session.new = True

    def lock(self, session: SealedSession) -> contextlib.AbstractContextManager:
        """Keep others from holding the same session."""
        return self.store.lock(_keys(session.sid)[0])

    def _retrieve_session_data(self, store_id: str) -> tuple[dict, float] | None:
        key, seal = _keys(store_id)
        record = self.store.get(key)
        data = record and _unseal(key, seal, record[0])
        return (data, record[1]) if data else None

    def _delete_session(self, store_id: str) -> None:
        self.store.delete(_keys(store_id)[0])

    def _upsert_session(self, session_lifetime: timedelta, session: SealedSession, store_id: str) -> None:
        key, seal = _keys(store_id)
        put = self.store.add if session.new else self.store.replace
        put(key, _seal(key, seal, dict(session)), int(session_lifetime.total_seconds()))


# --- The seal -------------------------------------------------------------------------------------------------------


def _keys(sid: str) -> tuple[str, bytes]:
    """The key of the record, and the key that encrypts it: halves of one hash, which tell nothing of each other or the id."""
    digest = hashlib.blake2b(sid.encode("utf-8", "surrogateescape"), person=b"session").digest()
    return digest[:32].hex(), digest[32:]


def _seal(key: str, seal: bytes, data: dict) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(seal).encrypt(nonce, msgspec.msgpack.encode(data), key.encode())


def _unseal(key: str, seal: bytes, value: bytes) -> dict | None:
    try:
        return msgspec.msgpack.decode(AESGCM(seal).decrypt(value[:12], value[12:], key.encode()), type=dict)
    except (InvalidTag, ValueError, msgspec.DecodeError):  # too short to hold a nonce is a ValueError
        log.warning("A stored session does not open: it was damaged or altered. It counts as absent.")
        return None


# --- The stores -----------------------------------------------------------------------------------------------------


# Whoever holds a lock does one token request at the most, and a process that dies lets go: no need of a time limit.
# (The filelock package does the same, and costs each worker 4 MiB and 30 ms at start.)
try:
    import fcntl

    def _lock(file) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

except ImportError:  # Windows
    import msvcrt

    def _lock(file) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)


class FileStore:
    """A file a session, its time of modification set to when it expires.

    Files are written whole and then renamed into place, so neither a crash nor a reader ever meets half of one. They lie in a
    folder that the store makes and marks, and nothing else is ever deleted. A folder that belongs to somebody else, or that
    others may write to, is refused.

    :param folder: where the store makes its own folder; made, for its owner only, if it is not there.
    """

    def __init__(self, folder: Path):
        self._folder = folder / "sealed-sessions"
        self._locks, self._marker = self._folder / "locks", self._folder / "MADE-BY-THE-APP"
        self._sound = False  # whether the folder has been made, or looked at, and may be used
        self._prunes_at = float("-inf")
        try:
            self._make_folder()
        except (OSError, StoreUnavailable) as error:
            reason = error if isinstance(error, StoreUnavailable) else error.strerror
            log.error("SESSION_FILE_DIR %s cannot be used (%s): nobody can sign in.", folder, reason)

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(self._folder.parent)
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        if self._folder.is_symlink():
            raise StoreUnavailable(f"{self._folder} is a link: choose another SESSION_FILE_DIR")
        _check_owner(self._folder)
        if not self._marker.exists():
            if any(self._folder.iterdir()):
                raise StoreUnavailable(f"{self._folder} was not made by this app: choose another SESSION_FILE_DIR")
            self._marker.write_text("Sealed sessions. What has expired in this folder is deleted.\n")
        self._locks.mkdir(mode=0o700, exist_ok=True)
        self._sound = True

    def _keep_folder(self) -> None:
        if not (self._sound and self._locks.exists()):  # a cleaner of temporary files may have been here
            self._make_folder()

    def get(self, key: str) -> tuple[bytes, float] | None:
        try:
            if not self._sound:
                self._make_folder()
            with open(f"{self._folder}/{key}", "rb", buffering=0) as file:
                seconds = os.fstat(file.fileno()).st_mtime - time.time()
                return (file.read(), seconds) if seconds > 0 else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def add(self, key: str, value: bytes, seconds: int) -> None:
        temporary = self._folder / f"{key}.{secrets.token_hex(8)}.tmp"
        try:
            self._keep_folder()
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(value)
            os.utime(temporary, (time.time(), time.time() + seconds))
            os.replace(temporary, self._folder / key)
            self._prune_now_and_then()
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise _unavailable(error) from error

    def replace(self, key: str, value: bytes, seconds: int) -> None:
        with self._file_lock(key, "write"):
            if (self._folder / key).exists():
                self.add(key, value, seconds)

    def touch(self, key: str, seconds: int) -> None:
        try:
            os.utime(self._folder / key, (time.time(), time.time() + seconds))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unavailable(error) from error

    def delete(self, key: str) -> None:
        with self._file_lock(key, "write"):
            try:
                (self._folder / key).unlink(missing_ok=True)
            except OSError as error:
                raise _unavailable(error) from error

    def lock(self, key: str):
        return self._file_lock(key, "lock")

    @contextlib.contextmanager
    def _file_lock(self, key: str, purpose: str) -> Iterator[None]:
        # 256 files for all sessions together: a lock file cannot be removed without somebody just waiting for it.
        try:
            self._keep_folder()
            file = open(f"{self._locks}/{key[:2]}.{purpose}", "ab")  # noqa: SIM115  closed below, which lets go
            _lock(file)
        except OSError as error:
            raise _unavailable(error) from error
        with file:
            yield

    def ping(self) -> None:
        try:
            self._keep_folder()
        except OSError as error:
            raise _unavailable(error) from error
        if not os.access(self._locks, os.R_OK | os.W_OK | os.X_OK):
            raise StoreUnavailable(f"{self._folder} cannot be read and written")

    def _prune_now_and_then(self) -> None:
        # Where sessions are added, others expire. A command of flask's adds none, so it removes none.
        if time.monotonic() >= self._prunes_at:
            self._prunes_at = time.monotonic() + PRUNE_SECONDS
            with contextlib.suppress(RuntimeError):  # no more threads: at another time
                threading.Thread(target=self.prune, daemon=True).start()

    def prune(self) -> int:
        """Remove the sessions that have expired, and nothing that is not named as this store names its files.

        :return: how many were removed.
        """
        removed, now = 0, time.time()
        with contextlib.suppress(OSError, StoreUnavailable):
            self._keep_folder()
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        spare = 60 if entry.name.endswith(".tmp") else 0
                        if (
                            _RECORD.fullmatch(entry.name)
                            and entry.is_file(follow_symlinks=False)
                            and entry.stat(follow_symlinks=False).st_mtime < now - spare
                        ):
                            os.unlink(entry)
                            removed += 1
        return removed


_RECORD = re.compile(r"[0-9a-f]{64}(\.[0-9a-f]{16}\.tmp)?")


def _check_owner(folder: Path) -> None:
    """Refuse a folder in which somebody else could put, replace or remove a file."""
    if os.name == "nt":  # its permissions are of another kind
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise StoreUnavailable(f"{folder} belongs to another user: choose another SESSION_FILE_DIR")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreUnavailable(f"others may write to {folder}: chmod go-w, or choose another SESSION_FILE_DIR")


class RedisStore:
    """A Redis key a session, which Redis itself expires.

    :param url: `redis://`, `rediss://` (TLS) or `unix://`.
    """

    def __init__(self, url: str):
        import redis.backoff  # here, because a worker without Redis has no use for its 6 MB
        import redis.retry

        self._errors = redis.RedisError
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=1,
            socket_timeout=1,
            health_check_interval=30,
            # One retry: those of the health check, of connecting and of the command multiply.
            retry=redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=0.4, base=0.05), 1),
        )

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise _unavailable(error) from error

    def get(self, key: str) -> tuple[bytes, float] | None:
        with self._reaching(), self._redis.pipeline(transaction=False) as pipe:
            value, milliseconds = pipe.get("session:" + key).pttl("session:" + key).execute()
        return None if value is None else (value, milliseconds / 1000)

    def add(self, key: str, value: bytes, seconds: int) -> None:
        with self._reaching():
            self._redis.set("session:" + key, value, ex=seconds)

    def replace(self, key: str, value: bytes, seconds: int) -> None:
        with self._reaching():
            self._redis.set("session:" + key, value, ex=seconds, xx=True)

    def touch(self, key: str, seconds: int) -> None:
        with self._reaching():
            self._redis.expire("session:" + key, seconds)

    def delete(self, key: str) -> None:
        with self._reaching():
            self._redis.delete("session:" + key)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        lock = self._redis.lock("lock:" + key, timeout=LOCK_SECONDS, blocking_timeout=LOCK_SECONDS, sleep=0.02)
        with self._reaching(), lock:
            yield

    def ping(self) -> None:
        with self._reaching():
            self._redis.ping()

    def prune(self) -> int:
        return 0  # Redis has done it already


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the session store cannot be used: {getattr(error, 'strerror', None) or error}")

"""The session that a view sees: a mapping, read from the store when it is first looked at."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from flask.sessions import SessionMixin

from flask_entra.sessions.index import Index
from flask_entra.sessions.seal import Seal, made_at, new_id
from flask_entra.sessions.store import Store

# The end of a session moves once so much of its idle time is over, so that most page views write nothing.
EXTEND_SECONDS, EXTEND_SHARE = 3600, 1 / 12
_EMPTY = msgspec.msgpack.encode({})

log = logging.getLogger(__name__)


class _Opened(NamedTuple):
    """A record that has been opened: its content, encoded and decoded, and when it ends (Unix seconds)."""

    content: bytes
    data: dict[str, Any]
    end: float


class Session(SessionMixin):
    """One person's session. Pages that don't look at it don't wait for the store.

    :param store: where it is kept.
    :param lifetime: how many seconds after its last use it ends.
    :param sid: its id, as the cookie says; None for a new one.
    :param longest: how many seconds after it got its id it ends, in use or not. A sign-in gives it a new one.
    :param owner: the app whose session it is (`Seal`).
    :param index: where it is noted; None for one that need not be found without its cookie.
    :ivar key: its record's, in the store.
    :ivar new: whether the store does not have it yet.
    :ivar modified: whether it has to be stored; set it yourself after a change inside a value.
    :ivar accessed: whether anybody has looked at it.
    :ivar personal: whether anything of somebody's has been in it.
    :ivar extended: whether the store has begun to count its lifetime anew, so that the cookie must too.
    """

    def __init__(
        self,
        store: Store,
        lifetime: int,
        sid: str | None,
        longest: float = math.inf,
        owner: str = "",
        index: Index | None = None,
    ):
        self._store, self._lifetime, self._longest, self._owner, self._index = store, lifetime, longest, owner, index
        self._take_id(sid or new_id())
        self.new = not sid
        self.modified = self.accessed = self.extended = self.personal = False
        self._data: dict[str, Any] | None = None if sid else {}
        self._stored = _EMPTY  # the content as it was read, to tell what the view has changed
        self._replaced: tuple[str, bytes] | None = None  # key and content of the record before, which is to be deleted
        self._cleared = self._held = self._vanished = False

    def _take_id(self, sid: str) -> None:
        self.sid, self._seal = sid, Seal(sid, self._owner)
        self.key = self._seal.key

    # --- The mapping --------------------------------------------------------------------------------------------------

    def _looked_at(self) -> dict[str, Any]:
        self.accessed = True
        if self._data is None:
            self._stored, self._data, _ = self._read()
            self.personal = bool(self._data)
        return self._data

    def __getitem__(self, name: str) -> Any:
        return self._looked_at()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._looked_at()[name] = value
        self.modified = self.personal = True

    def __delitem__(self, name: str) -> None:
        del self._looked_at()[name]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._looked_at())

    def __len__(self) -> int:
        return len(self._looked_at())

    def clear(self) -> None:
        """Empty the session, which deletes what is stored of it."""
        self._looked_at().clear()
        self.modified = self._cleared = True

    @property
    def was_emptied(self) -> bool:
        """Whether this request has emptied it, and not another one that has deleted it meanwhile."""
        return not self._vanished and not self._looked_at()

    # --- Where it is kept ---------------------------------------------------------------------------------------------

    def regenerate(self) -> None:
        """Take a new id; what is stored under the old one is deleted when the new one is stored. At every sign-in (OWASP)."""
        self._looked_at()
        if not self.new:
            self._replaced = self.key, self._stored
        self._take_id(new_id())
        self.new = self.modified = True

    def begin(self, data: dict[str, Any]) -> None:
        """Be a new session, with a new id and this data alone. At every sign-in (OWASP Session Management Cheat Sheet)."""
        self.clear()
        self.regenerate()
        self._looked_at().update(data)
        self.personal = True

    def save(self) -> None:
        """Store what the request has changed; delete what is stored of a session that is empty now.

        What others have stored meanwhile stays. A session that has been deleted meanwhile stays deleted.

        :raises StoreUnavailable: the store cannot be read or written.
        """
        if self._vanished:
            pass  # the person has another session by now, or none
        elif not self._looked_at():
            self.delete()
        elif self.new:
            self._add()
        else:
            before = self._stored
            self._store.update(self.key, self._merged, self._lifetime)
            self._stored = msgspec.msgpack.encode(self._data)
            if self._index:
                self._index.note_change(self.key, _decode(before), self._looked_at())
            self.extended = True
        self.modified = False

    def _add(self) -> None:
        # An old record that is gone has been deleted by a sign-out: what was in it must not come back under a new id.
        carried_on = None if self._cleared else self._replaced
        if carried_on and self._store.get(carried_on[0]) is None:
            self._replaced = None
            return
        self._stored, key = msgspec.msgpack.encode(self._data), self.key
        if self._index:
            self._index.note(key, self._looked_at())
        self._store.add(key, self._sealed(self._stored), self._lifetime)
        self.new, self.extended = False, True
        was_there = self._delete_replaced()
        # Ended while it was being stored: by the end of the old one, or of all sessions of the person.
        if (carried_on and not was_there) or (self._index and not self._index.has(key, self._looked_at())):
            self.delete()
            self._vanished = True

    def _merged(self, record: bytes) -> bytes | None:
        opened = self._opened(record)
        if opened is None:
            return None
        self._take_over(opened)
        return self._sealed(msgspec.msgpack.encode(self._data), opened.end)

    def _with_new_end(self, record: bytes) -> bytes | None:
        opened = self._opened(record)
        return opened and self._sealed(opened.content, opened.end)

    def _sealed(self, content: bytes, end: float = 0) -> bytes:
        # A machine whose clock is behind must not end a session that another machine has stored.
        return self._seal.close(content, max(end, time.time() + self._lifetime))

    def _take_over(self, stored: _Opened) -> None:
        """Take over what others have stored since, and keep what this request has changed."""
        own, before, now = self._looked_at(), _decode(self._stored), stored.data
        for name in before.keys() | now.keys() | own.keys():
            if not _same(name, own, before):  # this request has changed it
                continue
            if name not in now:
                own.pop(name, None)
            elif not _same(name, now, own):
                own[name] = now[name]
        self._stored = stored.content

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the session alone, among all workers on all machines, as it is stored by now; store it at the end.

        Others may read and save it meanwhile, but only one holds it. What this request has changed so far is kept. A session
        that has been deleted meanwhile (somebody has signed out) is empty, and stays deleted.

        :raises StoreUnavailable: the store cannot be reached, or another holds the session for too long.
        """
        self._looked_at()
        if self.new or self._held:  # nobody else has it
            yield
            return
        with self._store.lock(self.key):
            opened = self._read()
            if self.new:
                self._data, self._vanished = {}, True
                yield
                return
            self._take_over(opened)
            self._held = True
            try:
                yield
            finally:
                self._held = False
            if self.modified:
                self.save()

    def delete(self) -> None:
        """Delete what is stored of the session, also under a new id that another request has given it meanwhile.

        :raises StoreUnavailable: the store cannot be reached.
        """
        if not self.new and not self._delete_stored(self.key, self._stored) and self._index:
            self._index.end_renewed(_decode(self._stored))
        self._delete_replaced()
        self.new = True

    def is_stored(self) -> bool:
        """Whether the store has the session.

        :raises StoreUnavailable: the store cannot be reached.
        """
        return self._store.get(self.key) is not None

    def _delete_replaced(self) -> bool:
        was_there = bool(self._replaced and self._delete_stored(*self._replaced))
        self._replaced = None
        return was_there

    def _delete_stored(self, key: str, content: bytes) -> bool:
        was_there = self._store.delete(key)
        if self._index:
            self._index.forget(key, _decode(content))
        return was_there

    def _read(self) -> _Opened:
        """What is stored.

        A session that the store does not know gets a new id: its own may be known to others.
        """
        key = self.key
        record = self._store.get(key)
        if record is None:
            log.warning(
                "Session %s is not in the store: it has ended, the store has lost it, or it is of another app "
                "(another CLIENT_ID or AUTHORITY)",
                key[:8],
            )
        opened = None if record is None else self._opened(record)
        if opened is None:
            self._take_id(new_id())
            self.new = True
            return _Opened(_EMPTY, {}, 0)
        idle = self._lifetime - (opened.end - time.time())
        if idle > min(EXTEND_SECONDS, self._lifetime * EXTEND_SHARE) and opened.end < self._last_end:
            self._store.update(key, self._with_new_end, self._lifetime)
            self.extended = True
            if self._index:  # one that an older version has stored is not noted yet
                self._index.note_change(key, {}, opened.data)
        return opened

    @property
    def _last_end(self) -> float:
        return made_at(self.sid) + self._longest

    def _opened(self, record: bytes) -> _Opened | None:
        try:
            content, end = self._seal.open(record)
            opened = _Opened(content, _decode(content), min(end, self._last_end))
        except (ValueError, msgspec.DecodeError):
            log.warning("Session %s does not open: what the store has is not its record", self.key[:8])
            return None
        if opened.end <= time.time():
            log.warning("Session %s has ended, and is still in the store", self.key[:8])
            return None
        return opened


def _decode(content: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.msgpack.decode(content, type=dict)
    return decoded


def _same(name: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sessions agree on a value. It is compared as it would be stored: to Python, 1 and True are equal."""
    if name not in one or name not in other:
        return name not in one and name not in other
    return msgspec.msgpack.encode(one[name]) == msgspec.msgpack.encode(other[name])

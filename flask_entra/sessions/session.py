"""The session that a view sees: a mapping, read from the store when it is first looked at."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
from flask.sessions import SessionMixin

from flask_entra.sessions.seal import Seal, new_id
from flask_entra.sessions.store import Store

TOUCH_SECONDS = 3600  # an idle time is counted no finer than this, so that looking at a page writes nothing
_EMPTY = msgspec.msgpack.encode({})

log = logging.getLogger(__name__)


class Session(SessionMixin):
    """One person's session. Pages that don't look at it don't wait for the store.

    :param store: where it is kept.
    :param lifetime: how many seconds after its last use it ends.
    :param sid: its id, as the cookie says; None for a new one.
    :ivar new: whether the store does not have it yet.
    :ivar modified: whether it has to be stored; set it yourself after a change inside a value.
    :ivar accessed: whether anybody has looked at it.
    :ivar extended: whether the store has begun to count its lifetime anew, so that the cookie must too.
    """

    def __init__(self, store: Store, lifetime: int, sid: str | None):
        self._store, self._lifetime = store, lifetime
        self._take_id(sid or new_id())
        self.new = not sid
        self.modified = self.accessed = self.extended = False
        self._data: dict[str, Any] | None = None if sid else {}
        self._stored = _EMPTY  # the content as it was read, to tell what the view has changed
        self._replaced: str | None = None  # the id that it had before

    def _take_id(self, sid: str) -> None:
        self.sid, self._seal = sid, Seal(sid)

    # --- The mapping --------------------------------------------------------------------------------------------------

    def _looked_at(self) -> dict[str, Any]:
        self.accessed = True
        if self._data is None:
            self._stored = self._read()
            self._data = msgspec.msgpack.decode(self._stored)
        return self._data

    def __getitem__(self, name: str) -> Any:
        return self._looked_at()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._looked_at()[name] = value
        self.modified = True

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
        self.modified = True

    @property
    def holds_something(self) -> bool:
        """Whether there is anything in it, as far as it has been read: this does not ask the store."""
        return bool(self._data)

    # --- Where it is kept ---------------------------------------------------------------------------------------------

    def regenerate(self) -> None:
        """Take a new id; what is stored under the old one is deleted when the new one is stored. At every sign-in (OWASP)."""
        self._looked_at()
        self._replaced = None if self.new else self.sid
        self._take_id(new_id())
        self.new = self.modified = True

    def save(self) -> None:
        """Store what the request has changed; delete what is stored of a session that is empty now.

        :raises StoreUnavailable: the store cannot be read or written.
        """
        if self.new or not self:
            self._write()
        else:
            # Others may have stored something meanwhile, such as a new refresh token: that stays.
            with self.exclusive():
                pass

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the session alone, among all workers on all machines, as it is stored by now; store it at the end.

        What this request has changed so far is kept; the rest is as others have stored it meanwhile. A session that has been
        deleted meanwhile (somebody has signed out) is empty, and stays deleted.

        :raises StoreUnavailable: the store cannot be reached, or another holds the session for too long.
        """
        own = self._looked_at()
        if self.new:  # nobody else has it
            yield
            return
        with self._store.lock(self._seal.key):
            before = msgspec.msgpack.decode(self._stored)
            changed = {name: value for name, value in own.items() if name not in before or value != before[name]}
            gone = before.keys() - own.keys()
            self._stored = self._read()
            now = msgspec.msgpack.decode(self._stored)
            alive = bool(now)
            own.clear()
            if alive:
                own.update({name: value for name, value in {**now, **changed}.items() if name not in gone})
            self.modified = alive and bool(changed or gone)
            yield
            if self.modified and alive:
                self._write()
            # Else the end of the request would store it again, over what others have stored since.
            self.modified = False

    def delete(self) -> None:
        """Delete what is stored of the session.

        :raises StoreUnavailable: the store cannot be reached.
        """
        self._store.delete(self._seal.key)
        self.new = True

    def is_stored(self) -> bool:
        """Whether the store has the session.

        :raises StoreUnavailable: the store cannot be reached.
        """
        return self._store.get(self._seal.key) is not None

    def _read(self) -> bytes:
        """The content that is stored. A session that the store does not know gets a new id: its own may be known to others."""
        key = self._seal.key
        found = self._store.get(key)
        content = self._opened(found[0]) if found else None
        if content is None or found is None:
            self._take_id(new_id())
            self.new = True
            return _EMPTY
        if found[1] < self._lifetime - TOUCH_SECONDS:
            self._store.touch(key, self._lifetime)
            self.extended = True
        return content

    def _opened(self, record: bytes) -> bytes | None:
        try:
            content = self._seal.open(record)
            msgspec.msgpack.decode(content, type=dict)
        except (ValueError, msgspec.DecodeError):
            log.warning("A stored session does not open: it was damaged or altered. It counts as absent.")
            return None
        return content

    def _write(self) -> None:
        if not self._data:
            if not self.new:
                self.delete()
            return
        self._stored = msgspec.msgpack.encode(self._data)
        put = self._store.add if self.new else self._store.replace
        put(self._seal.key, self._seal.close(self._stored), self._lifetime)
        self.new, self.extended = False, True
        if self._replaced:
            self._store.delete(Seal(self._replaced).key)
            self._replaced = None

"""The index of the sessions: finds those of a person, or of a sign-in at the authority, without their cookies.

It lies in the store and does not undo the seal. An entry is found by a keyed digest, and what it says of a session is encrypted
(AES-SIV, RFC 5297), both with keys derived from the app's own secret. A copy of the store tells how many sessions belong
together, and not to whom. With the secret, it tells whose they are, and still has no token.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from flask_entra.sealed import derived_key
from flask_entra.sessions.store import Store, StoreUnavailable

KEY_BYTES, DIGEST_KEY_BYTES, CIPHER_KEY_BYTES = 32, 32, 64

Label = tuple[str, ...]  # what sessions are found by, such as ("sid", "…")
About = dict[str, Any]  # what an entry says of a session


class Entry(NamedTuple):
    """One session of the index.

    :ivar key: its record's, in the store.
    :ivar about: what is known of it.
    """

    key: str
    about: About


class Index:
    """The sessions of one app.

    :param store: where they are.
    :param secrets: gives those of the app, which may change while it runs (`SECRET_KEY_FILE`); the last one is the present one,
        and with the others older entries are still found. Without any, nothing is noted.
    :param owner: the app (`Config.owner`).
    :param seconds: how long a session lives at most.
    :param about: what an entry says of a session, by its content; None for one that is nobody's.
    :param labels: what a session is found by, by what its entry says; the first one is never missing.
    """

    def __init__(
        self,
        store: Store,
        secrets: Callable[[], Sequence[bytes]],
        owner: str,
        seconds: int,
        about: Callable[[Mapping[str, Any]], About | None],
        labels: Callable[[About], list[Label]],
    ):
        self._store, self._seconds, self._about, self._labels = store, seconds, about, labels
        self._secrets, self._owner = secrets, owner
        self._derived: dict[bytes, _Keys] = {}  # of each secret since this process began

    def note(self, key: str, content: Mapping[str, Any]) -> None:
        """Note a session. To note it again changes nothing.

        A new session is noted before it is stored, so that there is none that cannot be found.

        :param key: its record's.
        :raises StoreUnavailable: the store cannot be written.
        """
        about = self._about(content)
        for keys in self._keys[:1] if about else ():
            for label in self._labels(about or {}):
                self._store.note(keys.digest(label), keys.close(key, about), self._seconds)

    def note_change(self, key: str, before: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """Note a session whose content has changed, if its entry says something else by now.

        Nobody waits for a store that fails then: the session is still found by what it was noted under.
        """
        about = self._about(before)
        with contextlib.suppress(StoreUnavailable):
            if about != self._about(content):
                self.note(key, content)  # first, so that it can be found all the time
                if about:
                    self._drop(key, about)

    def has(self, key: str, content: Mapping[str, Any]) -> bool:
        """Whether a session that was noted a moment ago still is, or need not be: nobody has ended it since.

        :raises StoreUnavailable: the store cannot be read.
        """
        about, known = self._about(content), self._keys
        if not about or not known:
            return True
        label = self._labels(about)[0]
        return any(keys.close(key, about) in self._store.notes(keys.digest(label)) for keys in known)

    def forget(self, key: str, content: Mapping[str, Any]) -> None:
        """Forget a session that has been deleted. An entry that stays, because the store fails, finds nothing."""
        if about := self._about(content):
            with contextlib.suppress(StoreUnavailable):
                self._drop(key, about)

    def find(self, label: Label) -> list[Entry]:
        """The sessions that have a label, also one that is just being stored, and one that has ended meanwhile (`is_alive`).

        :raises StoreUnavailable: the store cannot be read.
        """
        notes = (note for keys in self._keys for note in self._store.notes(keys.digest(label)))
        return list(self._entries(notes))

    def all(self) -> Iterator[Entry]:
        """All sessions of the app as `find` has them, read in small steps.

        :raises StoreUnavailable: the store cannot be read.
        """
        return self._entries(self._store.all_notes())

    def is_alive(self, entry: Entry) -> bool:
        """Whether a session is stored. (An entry without a record is not dropped: its session may be stored in a moment.)

        :raises StoreUnavailable: the store cannot be read.
        """
        return self._store.get(entry.key) is not None

    def end(self, entry: Entry) -> bool:
        """End a session.

        One that is just being stored sees by its entry, which is gone, that it has ended, or else is deleted after that. One that
        has got a new id since it was found is ended under that.

        :return: whether it had not ended already.
        :raises StoreUnavailable: the store cannot be written. The session can still be found, for another try.
        """
        was_there = self._store.delete(entry.key)
        self._drop(*entry)
        return self._store.delete(entry.key) or was_there or self._end_renewed(entry.about)

    def end_renewed(self, content: Mapping[str, Any]) -> None:
        """End what goes on from a session that is gone already: another request may have given it a new id.

        :param content: of the session that is gone.
        :raises StoreUnavailable: the store cannot be used.
        """
        if about := self._about(content):
            self._end_renewed(about)

    def _end_renewed(self, about: About) -> bool:
        # A new id is noted before the old one is deleted, and its entry says the same: who, where, and since when.
        ended = [self.end(entry) for entry in self.find(self._labels(about)[0]) if entry.about == about]
        return any(ended)

    @contextlib.contextmanager
    def once(self, label: Label, seconds: float) -> Iterator[bool]:
        """Do something once: whether it has not been done before. It has, when the block ends without an exception.

        :param label: what it is; of several that begin it at once, the others wait.
        :param seconds: how long it is remembered.
        :raises StoreUnavailable: the store cannot be used.
        """
        digests = [keys.digest(label) for keys in self._keys]
        if not digests:  # no session is noted either, so that nothing can be done
            yield True
            return
        with self._store.lock(digests[0]):
            is_first = not any(map(self._store.notes, digests))
            yield is_first
            if is_first:
                self._store.note(digests[0], b"done", max(1, math.ceil(seconds)))

    def _entries(self, notes: Iterator[bytes]) -> Iterator[Entry]:
        seen, known = set(), self._keys
        for note in notes:
            entry = next(filter(None, (keys.open(note) for keys in known)), None)
            if entry and entry.key not in seen:
                seen.add(entry.key)
                yield entry

    @property
    def _keys(self) -> list[_Keys]:
        """Those of the present secret first, and then of every other one that entries may have been made with."""
        secrets = [*reversed(self._secrets())]
        for secret in secrets:
            if secret not in self._derived:
                self._derived[secret] = _Keys(secret, self._owner)
        return [self._derived[secret] for secret in dict.fromkeys([*secrets, *self._derived])]

    def _drop(self, key: str, about: About) -> None:
        for keys in self._keys:
            for label in self._labels(about):
                self._store.drop_note(keys.digest(label), keys.close(key, about))


class _Keys:
    """What is derived from one secret of the app."""

    def __init__(self, secret: bytes, owner: str):
        derived = derived_key(secret, "index", owner, DIGEST_KEY_BYTES + CIPHER_KEY_BYTES)
        self._digest_key, self._cipher = derived[:DIGEST_KEY_BYTES], AESSIV(derived[DIGEST_KEY_BYTES:])

    def digest(self, label: Label) -> str:
        """What a label is called in the store (hexadecimal)."""
        digest = HMAC(self._digest_key, SHA256())
        digest.update(msgspec.msgpack.encode(label))
        return digest.finalize().hex()

    def close(self, key: str, about: Mapping[str, Any] | None) -> bytes:
        """An entry, as it is stored; always the same one, so that a session is in the index once."""
        return bytes.fromhex(key) + self._cipher.encrypt(msgspec.msgpack.encode(about), [key.encode()])

    def open(self, note: bytes) -> Entry | None:
        """An entry that was stored; None if it is another app's, or nobody's."""
        key = note[:KEY_BYTES].hex()
        try:
            return Entry(key, msgspec.msgpack.decode(self._cipher.decrypt(note[KEY_BYTES:], [key.encode()]), type=dict))
        except (InvalidTag, ValueError, msgspec.DecodeError):
            return None

"""The seal of a stored session: a copy of the whole store reveals no token and lets nobody sign in.

A record is found by one key that is derived from the session id, and encrypted and authenticated (AES-256-GCM) with another.
Only the cookie holds the id. A record that was altered, or moved to another key, does not open. The time when the session ends
is sealed with it: somebody who may write to the store cannot make an old record last longer.

Both keys are derived from the app too. Several apps may share a store, and the cookie of one is of no use at another.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
_END = struct.Struct(">d")


def new_id() -> str:
    """A session id that nobody can guess: 256 random bits, in 43 characters, then a point and the present time (Unix seconds)."""
    return f"{secrets.token_urlsafe(32)}.{int(time.time())}"


def made_at(sid: str) -> float:
    """When a session id was made (Unix seconds); infinity for one that does not say so, as they were before 2026-12.

    Only for an id whose record has opened: a record is found by the whole id, so nobody can change the time in it.
    """
    made = sid.partition(".")[2]
    return int(made) if made.isdecimal() else math.inf


class Seal:
    """The seal of one session.

    :param sid: the session's id.
    :param owner: the app whose session it is, in any words that tell it from others; no other app finds or opens it.
    :ivar key: the record's key in the store (hexadecimal), which tells nothing about the id or the encryption.
    """

    def __init__(self, sid: str, owner: str = ""):
        app = hashlib.blake2b(owner.encode("utf-8", "surrogateescape"), person=b"owner").digest() if owner else b""
        # Each half of the hash is independent of the other one, and of the id.
        digest = hashlib.blake2b(sid.encode("utf-8", "surrogateescape"), key=app, person=b"session 2").digest()
        self.key, self._encryption_key = digest[:32].hex(), digest[32:]

    def close(self, content: bytes, end: float) -> bytes:
        """Encrypt a session's content.

        :param end: when the session ends (Unix seconds).
        :return: the record.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._encryption_key).encrypt(nonce, _END.pack(end) + content, self.key.encode())

    def open(self, record: bytes) -> tuple[bytes, float]:
        """Decrypt a record.

        :return: the session's content, and when it ends (Unix seconds).
        :raises ValueError: it is not a record of this session, or was altered.
        """
        nonce, encrypted = record[:NONCE_BYTES], record[NONCE_BYTES:]
        try:
            opened = AESGCM(self._encryption_key).decrypt(nonce, encrypted, self.key.encode())
        except InvalidTag as error:
            raise ValueError("the record does not open") from error
        return opened[_END.size :], _END.unpack(opened[: _END.size])[0]

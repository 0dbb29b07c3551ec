"""Texts that leave the app encrypted, and that only it opens again: in a queue, or in a cookie.

They are encrypted and authenticated (AES-256-GCM) with a key that is derived from the app's own, for one purpose and for the app
as its authority knows it: of two apps with the same `SECRET_KEY`, neither opens what is the other's.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flask_entra.config import Config

NONCE_BYTES = 12


def sealed(config: Config, purpose: str, content: str) -> str:
    """A text, encrypted: in letters that need no quotes in a URL or a cookie.

    :param config: of the app. It has a key (`signing_keys`).
    :param purpose: tells what is sealed: what is sealed for another one does not open.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    encrypted = _cipher(config, purpose, config.signing_keys[-1]).encrypt(nonce, content.encode(), None)
    return base64.urlsafe_b64encode(nonce + encrypted).decode()


def opened(config: Config, purpose: str, value: object) -> str | None:
    """The text that was sealed; None for anything else, and for what was sealed with a key that is not used any more.

    :param value: as `sealed` gave it, or anything that came in its place.
    """
    try:
        whole = base64.b64decode(str(value).encode("ascii"), b"-_", validate=True)
    except ValueError:
        return None
    for key in reversed(config.signing_keys):  # the present one, and those from before a rotation
        try:
            return _cipher(config, purpose, key).decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], None).decode()
        except (InvalidTag, ValueError):  # ValueError: it is too short
            continue
    return None


def derived_key(secret: bytes, purpose: str, owner: str, length: int) -> bytes:
    """A key for one purpose of one app (HKDF, RFC 5869).

    :param secret: of the app.
    :param owner: the app (`Config.owner`).
    :param length: in bytes.
    """
    label = f"flask_entra {purpose} for {owner}".encode("utf-8", "surrogateescape")
    return HKDF(SHA256(), length, None, label).derive(secret)


def _cipher(config: Config, purpose: str, key: bytes) -> AESGCM:
    return AESGCM(derived_key(key, purpose, config.owner, 32))

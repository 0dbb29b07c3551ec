"""The session store, asked: whether it works, keeps what it is given, and is nobody else's to change."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from flask_entra.commands import relative
from flask_entra.doctor import store_errors
from flask_entra.doctor.findings import Finding, odd, unreachable, wrong
from flask_entra.doctor.parts import Parts
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.store import Store, StoreUnavailable


def ask_store(parts: Parts) -> list[Finding]:
    """What there is to say of the store of an app, whose address has been checked as it is written."""
    url = parts.config.settings["REDIS_URL"]
    name = "REDIS_URL" if url else "SESSION_FILE_DIR"
    try:
        parts.store.ping()
    except StoreUnavailable as error:
        reason, mend = store_errors.explained(error, url)
        found = _("cannot be used: %(reason)s", reason=reason)
        return [(unreachable if reason in store_errors.UNREACHABLE else wrong)(name, found, mend)]
    doubts = (
        [*_ask_redis(parts.store, url)] if url else [*_check_folders(Path(parts.config.settings["SESSION_FILE_DIR"]))]
    )
    return doubts or [Finding(name, "right", _("can be used"))]


def _ask_redis(store: Store, url: str) -> Iterator[Finding]:
    name = "REDIS_URL"
    try:
        policy = store.evicts()
    except StoreUnavailable as error:
        reason, _mend = store_errors.explained(error, url)
        found = _("can be used, and could not be asked for its maxmemory-policy: %(reason)s", reason=reason)
        yield odd(name, found, _("See that the policy is noeviction, or allow the Redis user the command INFO."))
        return
    if policy:
        found = _("may delete live sessions when its memory is full (maxmemory-policy %(policy)s)", policy=policy)
        yield odd(name, found, _("Set maxmemory-policy to noeviction: a deleted session is a person signed out."))


def _check_folders(folder: Path) -> Iterator[Finding]:
    """Whether everybody on this machine may put another folder in the place of one that leads to the sessions."""
    if os.name == "nt":  # its permissions are of another kind
        return
    for parent in dict.fromkeys([*folder.parents, *folder.resolve().parents]):
        mode = parent.stat().st_mode if parent.exists() else 0
        # In a sticky folder, only its owner may rename it (POSIX, rename).
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            found = _("is in %(folder)s, where everybody may put another folder in its place", folder=relative(parent))
            mend = _("Run chmod o-w %(folder)s, or choose another folder.", folder=shlex.quote(relative(parent)))
            yield odd("SESSION_FILE_DIR", found, mend)
            return

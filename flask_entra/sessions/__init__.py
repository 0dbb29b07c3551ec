"""The server-side session, sealed: files by default, Redis for many machines.

The cookie holds a random session id and nothing else. The store knows neither that id nor what is in a session. `session` is
what a view sees; `seal` encrypts it; `store` says what a store does, and each store has a file; `index` finds sessions without
their cookies; `interface` makes sessions for Flask and sets the cookie. Nothing here knows what is in a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response

from flask_entra.config import Config
from flask_entra.sessions.index import About, Index, Label
from flask_entra.sessions.interface import SealedSessionInterface
from flask_entra.sessions.store import Store

__all__ = ["init_app"]


def init_app(
    app: Flask,
    config: Config,
    respond: Callable[[Exception], Response],
    about: Callable[[Mapping[str, Any]], About | None],
    labels: Callable[[About], list[Label]],
    watched: Callable[[Store], Store],
) -> tuple[Store, Index]:
    """Give the app its session store: Redis when `REDIS_URL` is set, files otherwise.

    :param respond: makes the answer that tells a person of a failure.
    :param about: see `Index`; likewise `labels`.
    :param watched: makes of a store one that is watched, if anybody watches.
    :return: the store, and the index of the sessions in it.
    :raises ModuleNotFoundError: it is Redis, and its client is not installed.
    """
    store = watched(_store(config))
    index = Index(store, lambda: config.signing_keys, config.owner, config.longest_seconds, about, labels)
    app.session_interface = SealedSessionInterface(app, config, store, respond, index)
    return store, index


def _store(config: Config) -> Store:
    # Each store is imported where it is used: a worker with files has no use for the 6 MB of Redis.
    if config.settings["REDIS_URL"]:
        try:
            from flask_entra.sessions.redis import RedisStore
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'REDIS_URL needs the package {error.name}: pip install "flask-entra[redis]"', name=error.name
            ) from None

        return RedisStore(config.settings["REDIS_URL"], config.threads, config.settings.file_of("REDIS_URL"))
    from flask_entra.sessions.files import FileStore

    return FileStore(Path(config.settings["SESSION_FILE_DIR"]))

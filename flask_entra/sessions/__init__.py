"""The server-side session, sealed: files by default, Redis for many machines.

The cookie holds a random session id and nothing else. The store knows neither that id nor what is in a session. `session` is
what a view sees; `seal` encrypts it; `store` says what a store does, and each store has a file; `interface` makes sessions
for Flask and sets the cookie. Nothing here knows what is in a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from flask import Flask, Response
from flask.cli import AppGroup

from flask_entra.sessions.interface import SPARE_SECONDS, SealedSessionInterface
from flask_entra.sessions.store import Store

__all__ = ["init_app"]


def init_app(app: Flask, respond: Callable[[Exception], Response]) -> None:
    """Give the app its session store: Redis when `REDIS_URL` is set, files otherwise.

    :param respond: makes the answer that tells a person of a failure.
    """
    store = _store(app)
    app.session_interface = SealedSessionInterface(app, store, respond, owner_of(app.config))
    app.extensions["session_store"] = store
    commands = AppGroup("sessions", help="The stored sessions.")
    app.cli.add_command(commands)

    @commands.command("prune")
    def prune() -> None:
        """Remove the sessions that expired two days ago or earlier."""
        click.echo(f"{store.prune(SPARE_SECONDS)} expired sessions removed.")


def owner_of(config: Mapping[str, Any]) -> str:
    """The app as its authority knows it, which is what its sessions are sealed for.

    After a change of `CLIENT_ID`, `AUTHORITY` or `OIDC_AUTHORITY`, it is another app: everybody signs in anew, and no token of
    the old authority goes anywhere.

    :param config: Flask's.
    """
    owner = f"{config['CLIENT_ID']} {config['OIDC_AUTHORITY'] or config['AUTHORITY']}"
    return owner.lower() if config["ENTRA"] else owner  # to Entra, letter case makes no difference


def _store(app: Flask) -> Store:
    # Each store is imported where it is used: a worker with files has no use for the 6 MB of Redis.
    if app.config["REDIS_URL"]:
        from flask_entra.sessions.redis import RedisStore

        return RedisStore(app.config["REDIS_URL"], app.config["THREADS"])
    from flask_entra.sessions.files import FileStore

    return FileStore(Path(app.config["SESSION_FILE_DIR"]))

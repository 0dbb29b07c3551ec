"""Flask's way in: a session for each request, its cookie, and what caches may keep of the answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import SessionMixin
from flask_session.base import ServerSideSessionInterface

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.sessions.index import Index
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import Store, StoreUnavailable

PRUNE_SECONDS = 3600
SESSION = "session"  # the cookie that has a session's id
# A session is removed only so long after it has expired: the clock of another machine that shares the store may be a day off.
SPARE_SECONDS = 2 * 24 * 3600


class SealedSessionInterface(ServerSideSessionInterface):  # type: ignore[misc]  # it has no types
    """Flask-Session's interface, over a `Store`.

    :param config: the app's.
    :param store: where sessions are kept.
    :param respond: makes the answer that tells a person of a failure.
    :param index: where they are noted.
    """

    session_class = Session

    def __init__(
        self,
        app: Flask,
        config: Config,
        store: Store,
        respond: Callable[[Exception], Response],
        index: Index | None = None,
    ):
        super().__init__(app, key_prefix="")
        self._config, self._store, self._respond, self._index = config, store, respond, index
        self._owner, self._lifetime = config.owner, config.idle_seconds
        self._prunes_at = float("-inf")

    def open_session(self, app: Flask, request: Request) -> Session:
        """The session that the cookie names, not read yet; an empty one when there is no cookie."""
        return self._session(request.cookies.get(self.cookie()["key"]))

    def new_session(self) -> Session:
        """An empty session, which is stored when it is saved."""
        return self._session(None)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store a changed session, delete an emptied one, and set the cookie accordingly. A look writes nothing."""
        assert isinstance(session, Session)  # noqa: S101  as `open_session` made it
        changed = session.modified
        emptied = changed and session.was_emptied
        try:
            if changed:
                session.save()
                self._prune_now_and_then()
            # Somebody who has signed in or out meanwhile has another cookie by now, which this one must not replace.
            alive = (changed or session.extended) and session.is_stored()
        except StoreUnavailable as error:
            # The view has answered already, so there is nobody to raise to: the error's page takes the answer's place.
            page = self._respond(error)
            response.status, response.headers = page.status, page.headers
            response.set_data(page.get_data())
        else:
            if emptied:
                response.delete_cookie(**self.cookie())
            elif alive:
                max_age = self._lifetime if self._config.cookie_persistent else None
                response.set_cookie(value=session.sid, max_age=max_age, **self.cookie())
        _tell_caches(response, session)

    def _prune_now_and_then(self) -> None:
        # Not when the app starts, because the commands of `flask` start it too, and must not remove sessions.
        if time.monotonic() >= self._prunes_at:
            self._prunes_at = time.monotonic() + PRUNE_SECONDS
            with contextlib.suppress(RuntimeError):  # no more threads: at another time
                threading.Thread(target=self._store.prune, args=[SPARE_SECONDS], daemon=True).start()

    # Flask-Session's own names for what a session does by itself.

    def regenerate(self, session: Any) -> None:
        session.regenerate()

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        return dict(self._session(store_id)) or None

    def _delete_session(self, store_id: str) -> None:
        self._session(store_id).delete()

    def _upsert_session(self, session_lifetime: Any, session: Any, store_id: str) -> None:
        session.save()

    def _session(self, sid: str | None) -> Session:
        return Session(self._store, self._lifetime, sid, self._config.longest_seconds, self._owner, self._index)

    def cookie(self) -> dict[str, Any]:
        """The name, path and flags of the cookie that has a session's id; see `cookies.attributes`."""
        return cookies.attributes(self._config, SESSION)


def _tell_caches(response: Response, session: Session) -> None:
    """An answer that belongs to somebody is kept by no cache, nor is a failure; any other is asked for again."""
    if session.accessed and "Cookie" not in response.headers.get("Vary", ""):
        response.vary.add("Cookie")
    personal = session.personal or "Set-Cookie" in response.headers or response.status_code >= 500
    response.headers.setdefault("Cache-Control", "no-store" if personal else "no-cache")

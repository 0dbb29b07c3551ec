"""Work outside of a request, in a thread or by a queue, for a person who has asked for it: by a handle, which is no token.

A handle names the person's session and is encrypted with the app's own key, so that who reads the queue can do nothing with it.
The tokens stay in the session, are renewed there, and are gone when the person signs out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import flask
from flask import Flask

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.sealed import opened, sealed
from flask_entra.sessions.interface import SESSION
from flask_entra.sessions.session import Session
from flask_entra.signin.current_user import get_user
from flask_entra.signin.errors import SignInRequired
from flask_entra.urls import origin

_PURPOSE = "handle"
session = cast(Session, flask.session)


def handle(config: Config) -> str:
    """The handle of the person who makes the present request.

    :raises SignInRequired: nobody is signed in.
    :raises ValueError: the app has no key.
    """
    if not get_user():
        raise SignInRequired()
    if not config.signing_keys:
        raise ValueError("A handle is encrypted with the app's own key: set SECRET_KEY, or CLIENT_SECRET.")
    return sealed(config, _PURPOSE, session.sid)


@contextlib.contextmanager
def acting_for(app: Flask, config: Config, handle: str) -> Iterator[None]:
    """Let the block act for a person, as a view of theirs would: with `auth.user`, `auth.context()`, `auth.graph`, `auth.call`.

    What the block changes in the session, such as a renewed token, is stored at its end.

    :param handle: as `handle` made it, by this app on any machine.
    :raises ValueError: it is none of this app's.
    :raises SignInRequired: the person has signed out, or the session has ended.
    """
    sid = opened(config, _PURPOSE, handle)
    if sid is None:
        raise ValueError(
            "This is no handle of auth.handle(), or one of another app, or its key has changed (SECRET_KEY_FALLBACKS)."
        )
    with request_of(app, config, sid):
        yield


@contextlib.contextmanager
def request_of(app: Flask, config: Config, sid: str) -> Iterator[None]:
    """Let the block run in a request of the person whose session it is, and store what it changes in the session.

    :param sid: the session's secret, as the cookie has it.
    :raises SignInRequired: nobody is signed in by it.
    """
    cookie = f"{cookies.name_of(config, SESSION)}={sid}"
    # The app context of its own keeps `g` apart: in a request of somebody else, Flask would share theirs.
    with app.app_context(), app.test_request_context(base_url=origin(config.redirect_uri), headers={"Cookie": cookie}):
        if not get_user():
            raise SignInRequired()
        try:
            yield
        finally:
            if session.modified:
                session.save()

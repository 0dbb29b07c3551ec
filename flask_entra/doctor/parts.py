"""The parts of an app that the doctor asks."""

from __future__ import annotations

from typing import Protocol

from flask_entra.config import Config
from flask_entra.http_client import BoundedSession
from flask_entra.sessions.index import Index
from flask_entra.sessions.store import Store
from flask_entra.signin.authority import Authority
from flask_entra.signin.client import Client


class Parts(Protocol):
    """The app's configuration, its HTTP client, its authority, itself as a client of that, its store and its sessions' index."""

    config: Config
    http: BoundedSession
    authority: Authority
    client: Client
    store: Store
    index: Index

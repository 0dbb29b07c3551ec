"""The tenant's memory: single sign-on sessions, consents, authorization codes and refresh tokens."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Code:
    """An authorization code, with the parameters of the authorization request."""

    value: str
    client_id: str
    person: str
    redirect_uri: str
    scopes: list[str]
    nonce: str
    claims: dict[str, Any]
    code_challenge: str | None
    code_challenge_method: str | None
    issued_at: float
    signed_in_at: float = 0
    tells_auth_time: bool = False
    sid: str = ""
    used: bool = False

    # The two methods that Authlib calls on a code (rfc6749 AuthorizationCodeMixin).
    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self.scopes)


@dataclass
class RefreshToken:
    """A refresh token.

    :ivar code: the authorization code that it descends from.
    :ivar demand: the claims that the next sign-in must carry before this token works again; empty for none.
    """

    value: str
    client_id: str
    person: str
    scopes: list[str]
    claims: dict[str, Any]
    code: str
    issued_at: float
    revoked_at: float | None = None
    used: bool = False
    demand: dict[str, Any] = field(default_factory=dict)

    # The two methods that Authlib calls on a token (rfc6749 TokenMixin).
    def check_client(self, client: Any) -> bool:
        return bool(client.get_client_id() == self.client_id)

    def get_scope(self) -> str:
        return " ".join(self.scopes)


class Memory:
    """The tenant's memory. People are known here by their keys.

    :ivar lock: held by every change that takes more than one step.
    :ivar sessions: the person of each single sign-on session, by the value of its cookie.
    :ivar signed_in_at: when the person of each of them signed in, by the same value.
    :ivar consents: the short names of the scopes that each person consented to.
    :ivar codes: the authorization codes, by value.
    :ivar refresh_tokens: the refresh tokens, by value.
    :ivar claims_met: the claims requests that the sign-in behind an access token satisfied, by the token's `uti`.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        with self.lock:
            self.sessions: dict[str, str] = {}
            self.signed_in_at: dict[str, float] = {}
            self.consents: dict[str, set[str]] = {}
            self.codes: dict[str, Code] = {}
            self.refresh_tokens: dict[str, RefreshToken] = {}
            self.claims_met: dict[str, dict[str, Any]] = {}

    def start_session(self, person: str, before: str) -> str:
        """Start a single sign-on session. It gets a new value, so that nobody can plant a known one beforehand.

        :param person: the person who signed in.
        :param before: the value of the browser's earlier session, which ends.
        :return: the new session's value.
        """
        with self.lock:
            self.sessions.pop(before, None)
            value = secrets.token_urlsafe(24)
            self.sessions[value], self.signed_in_at[value] = person, time.time()
            return value

    def end_session(self, value: str) -> None:
        """End a single sign-on session, if there is one of that value."""
        with self.lock:
            self.sessions.pop(value, None)

    def consent(self, person: str, scopes: set[str]) -> None:
        """Remember that a person consented to some scopes, given by their short names."""
        with self.lock:
            self.consents.setdefault(person, set()).update(scopes)

    def forget_consents(self) -> None:
        """Take all consents back."""
        with self.lock:
            self.consents.clear()

    def revoke(self, person: str) -> None:
        """Revoke a person's refresh tokens, and end the single sign-on sessions."""
        with self.lock:
            for token in self.refresh_tokens.values():
                if token.person == person and token.revoked_at is None:
                    token.revoked_at = time.time()
            self.sessions = {value: key for value, key in self.sessions.items() if key != person}

    def revoke_descendants(self, code: str) -> None:
        """Revoke the refresh tokens that descend from an authorization code."""
        with self.lock:
            for token in self.refresh_tokens.values():
                if token.code == code and token.revoked_at is None:
                    token.revoked_at = time.time()

    def demand_sign_in(self, person: str) -> None:
        """Let a person's refresh tokens answer that a sign-in is needed, with claims that it has to carry."""
        demand = {"access_token": {"capolids": {"essential": True, "values": [str(uuid.uuid4())]}}}
        with self.lock:
            for token in self.refresh_tokens.values():
                if token.person == person:
                    token.demand = demand

"""Whether a person is in a group when their ID token has no room to say so (groups overage): Microsoft Graph is asked.

https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference#groups-overage-claim
https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups, for which `User.Read` is enough
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import flask
import msgspec

from flask_entra.graph import GraphClient
from flask_entra.graph_error import GraphError
from flask_entra.http_client import BoundedSession
from flask_entra.scopes import qualified_scopes
from flask_entra.sessions.session import Session
from flask_entra.signin.errors import MembershipUnknown

KNOWN = "_memberships"  # where the session keeps the answers
KNOWN_SECONDS = 300

T = TypeVar("T")
session = cast(Session, flask.session)


class CallsApis(Protocol):
    """The part of `Auth` that gets a token for Graph and calls it."""

    def context(self, scopes: list[str] | None = None) -> dict[str, Any]: ...

    def call(self, api: Callable[[str], T], context: dict[str, Any]) -> T: ...


class Memberships:
    """Answers which of some groups the person who makes the present request is in.

    :param auth: gets the token for Graph.
    :param http: the app's one HTTP client.
    :param graph: Graph's origin; empty when there is none to ask.
    """

    def __init__(self, auth: CallsApis, http: BoundedSession, graph: str):
        self._auth = auth
        self._graph = GraphClient(http, f"{graph}/v1.0/me") if graph else None
        self._scopes = qualified_scopes("User.Read", graph)

    def __call__(self, user: dict[str, Any], groups: tuple[str, ...]) -> set[str]:
        """The groups of which the person is a member, directly or through another group.

        An answer holds for `KNOWN_SECONDS`, and for the ID token that it was asked for: a new sign-in or a refresh asks anew.

        :param user: the claims of their ID token.
        :param groups: ids, in lower case.
        :raises MembershipUnknown: Graph did not answer all of it, or there is none.
        :raises SignInRequired: the app may not ask Graph before the person has consented to that.
        """
        of, now = _digest(user), int(time.time())
        kept = session.get(KNOWN) or {}
        # Each group's id, to whether the person is in it and when that was found out (Unix seconds).
        known = {
            group: answer
            for group, answer in (kept.get("known", {}) if kept.get("of") == of else {}).items()
            if 0 <= now - answer[1] < KNOWN_SECONDS
        }
        if unknown := [group for group in groups if group not in known]:
            found = self._ask(user, groups, unknown)
            known |= {group: [group in found, now] for group in unknown}
            session[KNOWN] = {"of": of, "known": known}
        return {group for group in groups if known[group][0]}

    def _ask(self, user: dict[str, Any], groups: tuple[str, ...], unknown: list[str]) -> set[str]:
        if self._graph is None:
            reason = "the token has no room for the groups, and there is no Microsoft Graph to ask"
            raise MembershipUnknown(groups, user, reason, lasting=True)
        graph = self._graph
        try:
            return self._auth.call(
                lambda token: graph.check_member_groups(token, unknown), self._auth.context(self._scopes)
            )
        except GraphError as error:
            raise MembershipUnknown(groups, user, f"Graph: {error}", retry_after=error.retry_after) from error


def _digest(user: dict[str, Any]) -> str:
    """An ID token in a few characters: each has an identifier and times of its own."""
    return hashlib.sha256(msgspec.msgpack.encode(user, order="sorted")).hexdigest()[:16]

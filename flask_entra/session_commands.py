"""`flask sessions`: list and end people's sessions from outside, and remove what has expired."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from flask import Flask
from flask.cli import AppGroup

from flask_entra.doctor.report import spelled
from flask_entra.sessions.index import Entry, Index
from flask_entra.sessions.interface import SPARE_SECONDS
from flask_entra.sessions.store import Store, StoreUnavailable
from flask_entra.signin.errors import person

SHOWN = 8  # characters of a record's key, as in the log

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger(__name__)


def _whose(function: F) -> F:
    user = click.option(
        "--user", metavar="OID|UPN", help="The person: object ID, user name, or `sub` of another provider."
    )
    everybody = click.option("--all", "everybody", is_flag=True, help="Everybody's.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    return user(everybody(as_json(function)))


def init_app(app: Flask, store: Store, index: Index) -> None:
    """Add the commands.

    :param store: the app's sessions.
    :param index: finds them.
    """
    group = AppGroup("sessions", help="The stored sessions.")
    app.cli.add_command(group)

    @group.command("prune")
    def prune() -> None:
        """Remove the sessions that expired two days ago or earlier."""
        click.echo(f"{store.prune(SPARE_SECONDS)} expired sessions removed.")

    @group.command("list")
    @_whose
    def list_(user: str | None, everybody: bool, as_json: bool) -> None:
        """List a person's sessions, or everybody's: since when, who, and what the browser calls itself."""
        _check(user, everybody)
        known = set[str]()
        with _Failures():
            found = [_told(entry) for entry in _of(index, user, known) if index.is_alive(entry)]
            unknown = len(set(store.keys()) - known)
        if as_json:
            click.echo(json.dumps({"sessions": found, "not_in_the_index": unknown}))
            return
        for each in sorted(found, key=lambda each: str(each["began"])):
            _say("  ".join(str(value or "-") for value in each.values()))
        _say(f"{_sessions(len(found))}.")
        _say_unknown(unknown)

    @group.command("revoke")
    @_whose
    def revoke(user: str | None, everybody: bool, as_json: bool) -> None:
        """End a person's sessions, or everybody's, at once. Each has to sign in again, and gets the roles that they have then."""
        _check(user, everybody)
        ended, known = 0, set[str]()
        with _Failures():
            for entry in _of(index, user, known):
                if index.end(entry):
                    ended += 1
                    log.info("Signed out: %s (flask sessions revoke)", person(entry.about))
            unknown = len(set(store.keys()) - known)
        if as_json:
            click.echo(json.dumps({"ended": ended, "not_in_the_index": unknown}))
            return
        _say(f"{_sessions(ended)} ended.")
        _say_unknown(unknown)


def _check(user: str | None, everybody: bool) -> None:
    if (user is not None) == everybody:
        raise click.UsageError("Say whose sessions: --user OID, --user UPN, or --all.")
    if user is not None and not user.strip():
        raise click.UsageError("--user is empty: give an object ID or a user name.")


def _of(index: Index, user: str | None, known: set[str]) -> Iterator[Entry]:
    """The sessions of a person, or of everybody. The keys of all are added to `known`."""
    wanted = (user or "").strip().lower()
    for entry in index.all():
        known.add(entry.key)
        names = (entry.about.get(claim, "") for claim in ("oid", "preferred_username", "sub"))
        if not wanted or wanted in (name.lower() for name in names):
            yield entry


def _told(entry: Entry) -> dict[str, object]:
    about = entry.about
    began = about.get("at")
    return {
        "began": datetime.datetime.fromtimestamp(began, datetime.timezone.utc).isoformat() if began else None,
        "session": entry.key[:SHOWN],
        "user": about.get("preferred_username"),
        "oid": about.get("oid") or about["sub"],
        "tid": about.get("tid"),
        "browser": about.get("browser"),
    }


def _sessions(number: int) -> str:
    return f"{number} session{'' if number == 1 else 's'}"


def _say_unknown(number: int) -> None:
    if number:
        _say(
            f"{_sessions(number)} more in the store, whose owner is not known: of another app, of an older version and not "
            "used since, or noted with a key that is gone (SECRET_KEY_FALLBACKS). An expired one stays for two days."
        )


def _say(text: str) -> None:
    printable = "".join(each if each.isprintable() else "?" for each in text)  # names come from elsewhere
    click.echo(spelled(printable, getattr(sys.stdout, "encoding", None) or "utf-8"))


class _Failures:
    """A store that cannot be used, as one line of the command's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, StoreUnavailable):
            raise click.ClickException(f"{error}. What was done so far is done; run it again.") from error

"""The audit trail: one event each time that somebody signs in or out, is refused or gives up, with fields for programs.

`docs/operate.md` is the contract: the events and the fields there stay. Neither holds a token, a code or a secret.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Literal

from flask import request

from flask_entra.logs import address_of, printable
from flask_entra.signin.errors import IdTokenRefused, SignInError, TenantNotAllowed, person, sign_in_details

Event = Literal["signed_in", "signed_out", "sign_in_refused", "sign_in_given_up", "access_denied"]
# A logger of its own, so that an app can send these events elsewhere.
log = logging.getLogger("flask_entra.audit")
# What is refused is worth a warning.
_LEVELS_AND_WORDS: dict[Event, tuple[int, str]] = {
    "signed_in": (logging.INFO, "Signed in"),
    "signed_out": (logging.INFO, "Signed out"),
    "sign_in_refused": (logging.WARNING, "Sign-in refused"),
    "sign_in_given_up": (logging.INFO, "Sign-in given up"),
    "access_denied": (logging.WARNING, "Access denied"),
}
_LONGEST = 200  # characters of a field, of which some are anybody's to write
_MOST = 20  # entries of a list
# Entra's codes for a person who has pressed Cancel or has declined, and Azure AD B2C's. Other providers send the error alone.
_GIVEN_UP = ("", "AADSTS65004", "AADB2C90091")


def write(event: Event, user: dict[str, Any] | None, reason: str = "") -> None:
    """Write an event of the present request.

    :param event: what has happened.
    :param user: the validated claims of the person, or of the app that calls; None if nobody is known.
    :param reason: why, if that is not plain.
    """
    claims = user or {}
    fields = {
        "event": event,
        **{name: _text(claims.get(name)) for name in ("oid", "sub", "tid", "iss")},
        "address": _text(address_of(request.remote_addr)),
        **{name: _list(claims.get(name)) for name in ("amr", "acr", "acrs")},
        "path": _text(request.script_root + request.path),
        "reason": _text(reason),
    }
    means = f" by {' '.join(fields['amr'])}" if fields["amr"] else ""
    why = f": {fields['reason']}" if reason else ""
    level, words = _LEVELS_AND_WORDS[event]
    log.log(level, "%s", printable(f"{words}: {person(user)} from {fields['address']}{means}{why}"), extra=fields)


def sign_in_failed(error: SignInError | IdTokenRefused, user: dict[str, Any] | None) -> None:
    """Write that a sign-in has ended without one.

    :param error: why.
    :param user: the claims of the person who is signed in all the same, or None.
    """
    if isinstance(error, IdTokenRefused):
        write("sign_in_refused", error.user if isinstance(error, TenantNotAllowed) else user, str(error))
        return
    code = sign_in_details(error.description).get("code", "")
    given_up = error.error == "access_denied" and code in _GIVEN_UP
    # The description may come from anybody, by the query of the redirect URI; so may the error.
    shown = " ".join(filter(None, (re.sub(r"[^\w.-]+", "?", error.error, flags=re.ASCII), code)))
    write("sign_in_given_up" if given_up else "sign_in_refused", user, shown)


def _text(value: object) -> str | None:
    return None if value in (None, "") else printable(str(value)[:_LONGEST])[:_LONGEST]


def _list(value: object) -> list[str]:
    """A claim that has one value, or several."""
    values = value if isinstance(value, list) else [] if value in (None, "") else [value]
    return [text for each in values[:_MOST] if (text := _text(each))]

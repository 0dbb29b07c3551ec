"""Sign-ins that are begun again for the same page: a limit, so that an API that refuses every token makes no endless round."""

from __future__ import annotations

import hashlib
import time
from typing import cast

import flask

from flask_entra.scopes import comparable_scopes
from flask_entra.sessions.session import Session
from flask_entra.signin.errors import SignInError, SignInRequired

# Within JUST_NOW_SECONDS: once for the same scopes and claims, AGAIN_AT_MOST in all, CHALLENGES for the same scopes.
JUST_NOW_SECONDS, AGAIN_AT_MOST, CHALLENGES = 60, 8, 3
AGAIN = "signed_in_again"

session = cast(Session, flask.session)


def noted(required: SignInRequired, usual_scopes: list[str]) -> dict[str, int]:
    """The digest of each recent repeated sign-in and its time (Unix seconds), with the present one last.

    :param usual_scopes: those of the setting `SCOPE`.
    :raises SignInError: that has just been done and did not help.
    """
    now = int(time.time())
    recent = {what: at for what, at in session.get(AGAIN, {}).items() if 0 <= now - at < JUST_NOW_SECONDS}
    asked = f"{required.claims or ''}{'' if required.max_age is None else f' {required.max_age}'}"
    scopes, wanted = _digests(usual_scopes if required.scopes is None else required.scopes, asked)
    challenges = sum(what.startswith(scopes) for what in recent)
    if wanted in recent or challenges >= CHALLENGES or len(recent) >= AGAIN_AT_MOST:
        raise SignInError("sign_in_did_not_help")
    return {**recent, wanted: now}


def finish(again: object) -> None:
    """Note in the session that a repeated sign-in has been finished just now.

    :param again: as `noted` gave it, after its way through a cookie; empty for a first sign-in.
    """
    if isinstance(again, dict) and again:
        session[AGAIN] = {**again, [*again][-1]: int(time.time())}


def _digests(scopes: list[str], asked: str) -> tuple[str, str]:
    """What a sign-in is for, in a few characters: its scopes, and these with whatever else it asks for."""
    parts = (" ".join(sorted(comparable_scopes(scopes))), asked)
    first, second = (hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:8] for part in parts)
    return first, first + second

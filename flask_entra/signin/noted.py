"""What the index of the sessions says of one, and what it is found by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flask import request

from flask_entra.sessions.index import About, Label
from flask_entra.signin.current_user import USER

BEGAN = "_began"  # in a session: when (Unix seconds) and with which browser it began
LONGEST = 200  # characters of what a browser calls itself
# The claims that tell who and where somebody is signed in: at the authority (`sid`), and as what an administrator calls them.
CLAIMS = ("iss", "sub", "sid", "tid", "oid", "preferred_username")


def began() -> dict[str, object]:
    """What a session that begins with the present request keeps of it."""
    browser = "".join(filter(str.isprintable, request.headers.get("User-Agent", "")))
    return {"at": int(time.time()), "browser": browser[:LONGEST]}


def about(content: Mapping[str, Any]) -> About | None:
    """What the index says of a session: who is signed in, since when and with which browser.

    :param content: of the session.
    :return: None for a session in which nobody is signed in.
    """
    user = content.get(USER)
    if not (user and isinstance(user.get("iss"), str) and isinstance(user.get("sub"), str)):
        return None
    return {**{claim: user[claim] for claim in CLAIMS if isinstance(user.get(claim), str)}, **content.get(BEGAN, {})}


def labels(about: About) -> list[Label]:
    """What a session is found by: the session at the authority that it comes from, if it is known, and the person.

    `sub` is a person for this app, at Entra as elsewhere, and the one claim that a logout token has of them.
    """
    of_person = by_person(about["iss"], about["sub"])
    return [by_sid(about["sid"]), of_person] if about.get("sid") else [of_person]


def claims(about: About) -> dict[str, Any]:
    """What the index says of a session that are claims of its ID token."""
    return {claim: about[claim] for claim in CLAIMS if claim in about}


def by_sid(sid: str) -> Label:
    """The label of a session at the authority. The index is for one authority alone, so that its name need not be in it."""
    return "sid", sid


def by_person(issuer: str, subject: str) -> Label:
    """The label of a person."""
    return "person", issuer, subject

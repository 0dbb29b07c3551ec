"""How a profile is shown. Everything in it is text that somebody else wrote, of whatever type they liked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import escape

from flask_entra.http_client import JsonObject
from flask_entra.pages.languages import Moment
from flask_entra.pages.names import name_of
from flask_entra.scopes import missing_scopes
from pages import json_lines

LONG = 1000  # characters of a text that are shown
MANY = 20  # texts of a list that are shown

_MAIL = re.compile(r"[^\s@:/?#&<>\"]+@[^\s@:/?#&<>\"]+")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{2,30}")


def show(profile: JsonObject, scopes: Sequence[str], granted: Sequence[tuple[list[str], int]]) -> dict[str, object]:
    """What `profile.html` needs.

    :param profile: the JSON object that came: Graph's user, or the claims of OpenID Connect Core, 5.1.
    :param scopes: those that its token was asked for.
    :param granted: as `Auth.granted` gives it.
    :return: `name`; `fields` (its name in the profile, values and link of each; no values for one that is empty); `json`, in
        lines; `has_photo`; `asked` (`url`, `status`, `milliseconds`, and `scopes` and `ends` where they are known).
    """
    milliseconds = max(1, round(profile.seconds * 1000))
    asked: dict[str, object] = {"url": profile.url, "status": profile.status, "milliseconds": milliseconds}
    for theirs, ends in sorted(granted, key=lambda each: each[1]):  # the one that lives longest is the one in use
        if not missing_scopes(scopes, theirs):
            asked |= {"scopes": " ".join(theirs), "ends": Moment(ends)}
    return {
        "name": next(iter(_texts(profile.get("displayName")) or _texts(profile.get("name"))), ""),
        "fields": [
            (name, [(text, link(text)) for text in _texts(profile[name])])
            for name, link in _FIELDS.items()
            if name in profile
        ],
        "json": json_lines.of(profile),
        "has_photo": profile.url.rstrip("/").endswith("/me"),
        "asked": asked,
    }


def letters(user: dict[str, Any]) -> str:
    """The first letters of the first and the last word of a person's name.

    :param user: the ID token's claims.
    """
    words = re.findall(r"[^\W_]+", name_of(user).partition("@")[0])
    return "".join(word[0] for word in dict.fromkeys(words[:1] + words[-1:])).upper() or "?"


def initials(user: dict[str, Any]) -> tuple[str, str]:
    """A picture for somebody without a photo.

    :param user: the ID token's claims.
    :return: an SVG with the letters of the person's name, and its content type.
    """
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><rect width="96" height="96" fill="#4b5563"/>'
        '<text x="48" y="48" dy=".35em" text-anchor="middle" font-family="system-ui,sans-serif" font-size="36" '
        f'fill="#fff">{escape(letters(user))}</text></svg>'
    )
    return svg, "image/svg+xml"


def _texts(value: object) -> list[str]:
    values = value[:MANY] if isinstance(value, list) else [value]
    texts = (each.strip() for each in values if isinstance(each, str))
    return [text if len(text) <= LONG else text[:LONG] + "…" for text in texts if text]


def _no_link(text: str) -> None:
    return None


def _mail_link(text: str) -> str | None:
    return f"mailto:{text}" if _MAIL.fullmatch(text) else None


def _phone_link(text: str) -> str | None:
    # "+44 (0)20 …": the zero is for callers inside the country, the plus for those outside.
    digits = re.sub(r"[^0-9+]", "", text.replace("(0)", ""))
    return f"tel:{digits}" if _PHONE.fullmatch(text) else None


_FIELDS = {
    "jobTitle": _no_link,
    "mail": _mail_link,
    "userPrincipalName": _no_link,
    "mobilePhone": _phone_link,
    "businessPhones": _phone_link,
    "officeLocation": _no_link,
    "preferredLanguage": _no_link,
    "preferred_username": _no_link,
    "email": _mail_link,
    "phone_number": _phone_link,
    "locale": _no_link,
}

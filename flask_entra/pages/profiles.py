"""How a profile is shown. Everything in it is text that somebody else wrote, of whatever type they liked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from markupsafe import escape

LONG = 1000  # characters of a text that are shown
MANY = 20  # texts of a list that are shown
HUGE = 100_000  # characters of JSON that are shown

_MAIL = re.compile(r"[^\s@:/?#&<>\"]+@[^\s@:/?#&<>\"]+")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{2,30}")


def show(profile: dict[str, Any], url: str, scopes: Iterable[str]) -> dict[str, object]:
    """What `profile.html` needs.

    :param profile: the JSON object that came: Graph's user, or the claims of OpenID Connect Core, 5.1.
    :param url: of the request that was made.
    :param scopes: those of its token.
    :return: `name`, `fields` (its name in the profile, value and link of each that has a value), `body` (the JSON, as
        written), `has_photo` and `asked`.
    """
    fields = [(name, text, link(text)) for name, link in _FIELDS.items() for text in _texts(profile.get(name))]
    return {
        "name": next(iter(_texts(profile.get("displayName")) or _texts(profile.get("name"))), ""),
        "fields": fields,
        "body": _readable(profile),
        "has_photo": url.rstrip("/").endswith("/me"),
        "asked": {"url": url, "scopes": " ".join(scopes)},
    }


def initials(user: dict[str, Any]) -> tuple[str, str]:
    """A picture for somebody without a photo.

    :param user: the ID token's claims.
    :return: an SVG with the first letters of the first and the last word of the name, and its content type.
    """
    words = re.findall(r"[^\W_]+", str(user.get("name") or user.get("preferred_username") or "?").partition("@")[0])
    letters = "".join(word[0] for word in dict.fromkeys(words[:1] + words[-1:])).upper() or "?"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><rect width="96" height="96" fill="#4b5563"/>'
        '<text x="48" y="48" dy=".35em" text-anchor="middle" font-family="system-ui,sans-serif" font-size="36" '
        f'fill="#fff">{escape(letters)}</text></svg>'
    )
    return svg, "image/svg+xml"


def _texts(value: object) -> list[str]:
    values = value[:MANY] if isinstance(value, list) else [value]
    texts = (each.strip() for each in values if isinstance(each, str))
    return [text if len(text) <= LONG else text[:LONG] + "…" for text in texts if text]


def _readable(profile: dict[str, Any]) -> str:
    body = json.dumps(profile, ensure_ascii=False)
    # Indentation can make a page a hundred times as large as the JSON, and escaping six times.
    return json.dumps(profile, ensure_ascii=False, indent=2) if len(body) < HUGE else body[:HUGE] + "…"


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

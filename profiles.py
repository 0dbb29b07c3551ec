"""How a profile is shown. Everything in it is text that somebody else wrote, of whatever type they liked."""

from __future__ import annotations

import json
import re

from markupsafe import escape

from pages import gettext

_MAIL = re.compile(r"[^\s@:/?#&<>\"]+@[^\s@:/?#&<>\"]+")
_PHONE = re.compile(r"\+?[0-9 ().-]{3,30}")


def show(profile: dict, config) -> dict[str, object]:
    """What `templates/profile.html` needs.

    :param profile: the JSON object that the endpoint answered.
    :param config: the app's configuration, for the request that was made.
    :return: `name`, `fields` (label, value and link of each that has a value), `body` (the JSON, as written) and `asked`.
    """
    fields = [
        (label, text, _link(text))
        for label, key in (
            (gettext("Job title"), "jobTitle"),
            (gettext("Mail"), "mail"),
            (gettext("User name"), "userPrincipalName"),
            (gettext("Mobile phone"), "mobilePhone"),
            (gettext("Business phones"), "businessPhones"),
            (gettext("Office"), "officeLocation"),
            (gettext("Language"), "preferredLanguage"),
        )
        for text in _texts(profile.get(key))
    ]
    return {
        "name": next(iter(_texts(profile.get("displayName"))), ""),
        "fields": fields,
        "body": json.dumps(profile, indent=2, ensure_ascii=False),
        "has_photo": config["ENDPOINT"].rstrip("/").endswith("/me"),
        "asked": {"url": config["ENDPOINT"], "scopes": " ".join(config["SCOPE"])},
    }


def initials(user: dict) -> tuple[str, str]:
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


def _texts(value) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each.strip() for each in values if isinstance(each, str) and each.strip()]


def _link(text: str) -> str | None:
    """`mailto:` or `tel:`, for what is nothing but a mail address or a phone number."""
    if _MAIL.fullmatch(text):
        return f"mailto:{text}"
    return f"tel:{re.sub(r'[^0-9+]', '', text)}" if _PHONE.fullmatch(text) else None

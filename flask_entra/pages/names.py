"""What a page calls a person."""

from __future__ import annotations

from typing import Any


def name_of(user: dict[str, Any]) -> str:
    """What to call a person; empty for one without any name.

    :param user: the ID token's claims.
    """
    texts = (str(user.get(claim) or "").strip() for claim in ("name", "preferred_username", "email"))
    return next(filter(None, texts), "")

"""Hints for a sign-in, out of a link or a setting: passed on to the authority if they can be one, else left out.

OpenID Connect Core 1.0, 3.1.2.1 (`login_hint`, `max_age`, `acr_values`)
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#request-an-authorization-code (`domain_hint`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 400  # characters of a hint; Entra's claim login_hint has some 150
# A domain name (RFC 1123, 2.1), of two labels at least.
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+{_LABEL}", re.IGNORECASE | re.ASCII)
_KINDS = ("organizations", "consumers")  # Entra's names for work accounts and for personal ones
_ACR_VALUES = re.compile("[!-~]+(?: [!-~]+)*")
_SECONDS = re.compile("[0-9]{1,9}", re.ASCII)


def read(asked: Mapping[str, str]) -> dict[str, str]:
    """The hints in the query of a link; one that cannot be a hint is left out.

    :param asked: what was asked for, unvalidated.
    """
    value = {
        name: asked.get(name, "").strip(" ")[: LONGEST + 1] for name in ("login_hint", "domain_hint", "acr_values")
    }
    good = {
        "login_hint": is_login_hint(value["login_hint"]),
        "domain_hint": is_domain_hint(value["domain_hint"]),
        "acr_values": len(value["acr_values"]) <= LONGEST and _ACR_VALUES.fullmatch(value["acr_values"]),
    }
    return {name: value[name] for name, is_good in good.items() if is_good}


def is_login_hint(value: str) -> bool:
    """Whether a text may say who is to sign in: one line without anything that cannot be seen."""
    return 0 < len(value) <= LONGEST and value.isprintable()


def is_domain_hint(value: str) -> bool:
    """Whether a text is the domain of an organization, or one of Entra's names for all of a kind."""
    return value in _KINDS or bool(_DOMAIN.fullmatch(value))


def seconds(value: str | None) -> int | None:
    """A `max_age`; None for a text that is not a number of seconds."""
    return int(value) if value and _SECONDS.fullmatch(value) else None

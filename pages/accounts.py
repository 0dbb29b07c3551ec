"""What an app sees of the person who is signed in, for a page that answers "why may I not?". No token is in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flask_entra.clouds import GUID
from flask_entra.config import current
from flask_entra.group_names import shown
from flask_entra.pages.languages import Moment
from flask_entra.signin.authorization import claimed, is_overage
from flask_entra.signin.errors import NotAllowed

LONG = 1000  # characters of a claim that are shown
MANY = 200  # claims, roles and groups that are shown: as many groups as a token can name
TIMES = ("auth_time", "iat", "nbf", "exp", "xms_pl")  # the claims that are Unix seconds


def show(
    user: dict[str, Any], granted: Sequence[tuple[list[str], int]], sessions: Sequence[dict[str, Any]]
) -> dict[str, object]:
    """What `account.html` needs.

    :param user: the claims of the ID token.
    :param granted: as `Auth.granted` gives it.
    :param sessions: as `Auth.sessions` gives them.
    :return: `claims` (name and text or time of each), `roles` and `groups` (with
        their names in the setting `GROUPS`; None for a claim that is not believed), `overage`
        (whether there are too many groups for the token), `tokens` (scopes and end of each access token), `issued` and `ends`
        (times of the ID token), `sessions` (of each when it began, the browser, and whether it is this one), `home` (of a guest,
        what is known of their own organization; see `home_of`).
    """
    groups = _believed(user, "groups")
    claims = [(name, _moment(value) if name in TIMES else _text(value)) for name, value in sorted(user.items())[:MANY]]
    return {
        "claims": claims,
        "roles": _believed(user, "roles"),
        "groups": None if groups is None else [shown(current().groups, each) for each in groups],
        "overage": is_overage(user),
        "tokens": [(" ".join(sorted(scopes)), _moment(at)) for scopes, at in granted],
        "issued": _moment(user["iat"]),
        "ends": _moment(user["exp"]),
        "sessions": [
            (each["began"] and Moment(each["began"]), each["browser"], each["here"]) for each in sessions[:MANY]
        ],
        "home": home_of(user),
    }


def home_of(user: dict[str, Any]) -> dict[str, str] | None:
    """The organization that a guest comes from, as far as the ID token tells.

    https://learn.microsoft.com/entra/identity-platform/optional-claims-reference (`acct`), and `idp` of the usual claims

    :param user: the claims of the ID token.
    :return: `domain`, `tenant` (its ID) and `provider` (who has checked the password, if that is no tenant), each of them empty
        where it is not known; None for a person who is no guest.
    """
    idp, name = (str(user.get(claim) or "") for claim in ("idp", "preferred_username"))
    tenant = found[0].lower() if (found := GUID.search(idp)) else ""
    invited, is_external, _domain = name.partition("#EXT#")
    is_at_home = not idp or idp == user.get("iss") or tenant == str(user.get("tid")).lower()
    if user.get("acct") not in (1, "1") and is_at_home and not is_external:
        return None
    # A guest's name is made of the address, with a _ for the @: noor_fabrikam.example#EXT#@contoso.onmicrosoft.com
    address = str(user.get("email") or ("@".join(invited.rsplit("_", 1)) if is_external else name))
    return {
        "domain": _text(address.rpartition("@")[2] if "@" in address else ""),
        "tenant": "" if is_at_home else tenant,
        "provider": "" if is_at_home or tenant else _text(idp),
    }


def _believed(user: dict[str, Any], claim: str) -> list[str] | None:
    try:
        return claimed(user, claim)[:MANY]
    except NotAllowed:
        return None


def _moment(value: object) -> Moment | str:
    try:
        return Moment(value)  # type: ignore[arg-type]  # anything may stand in a claim
    except (TypeError, ValueError, OverflowError):
        return _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG else text[:LONG] + "…"

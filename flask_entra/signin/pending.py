"""A sign-in that has begun: it lives in the browser, in a signed cookie of its own, until the authority's answer comes back.

The cookie is named after the sign-in's state, so tabs do not disturb each other. It is signed, so it can be believed, and it
is not in the session, so a flood of visitors fills no store. Beside it stands a marker for the whole site, by which old ones
are found and given up when there are too many. On https the marker is a `__Host-` cookie: a neighbouring site
(evil.example.com to app.example.com) can plant a sign-in of its own, but not the marker.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

import itsdangerous
from flask import Response, current_app, request

from flask_entra import cookies
from flask_entra.settings import number
from flask_entra.urls import route_of

SIGN_IN_SECONDS = 3600  # to pick an account, find the phone, and let an administrator look at the consent
FINISHED, FINISHED_SECONDS, FINISHED_AT_MOST = "signed-in", 60, 3
# Browsers keep no cookie with more bytes of name and value (RFC 6265bis, 5.7). Servers take 8 KB of cookies as a header, in which
# the app's other cookies need room too.
COOKIE_BYTES, ALL_COOKIES_BYTES = 4096, 6000
MARKER_BYTES = 50  # of the name and the value of a marker
GIVEN_UP_AT_MOST = 20  # sign-ins that the browser still marks as given up
CHANGED_AT_ONCE = 15  # of the sign-ins before: the head of an answer has 8 KB too
_MARK = re.compile(r"([0-9]{1,15})\.([0-9]{1,4})")
# The members of a flow of MSAL's that every flow has, which are stored without their names.
_MEMBERS = ("state", "code_verifier", "nonce", "scope", "next", "again")


def remember(response: Response, flow: dict[str, Any]) -> None:
    """Keep a sign-in in the browser, and give up the oldest ones when there are too many.

    :param response: the redirect to the authority.
    :param flow: what the answer will be held against, `state` among it. If it is too large for a cookie, it is kept without
        `next`, where to return to.
    """
    tab = _tab(flow["state"])
    cookie, value = _cookie(tab), serializer().dumps(_packed(flow))
    if len(cookie["key"]) + len(value) > COOKIE_BYTES:
        value = serializer().dumps(_packed({**flow, "next": None}))
    size = len(cookie["key"]) + len(value)
    _make_room(response, size)
    response.set_cookie(value=value, max_age=SIGN_IN_SECONDS, **cookie)
    _mark(response, tab, int(time.time() * 1000), size)


def _make_room(response: Response, size: int) -> None:
    """Give up the oldest of the sign-ins before, as many as leave no room for one more. Their markers stay, and say so."""
    used, given_up, changed = size + MARKER_BYTES, 0, 0
    for at, theirs, tab in sorted(_marked(), reverse=True):
        if theirs and used + theirs + MARKER_BYTES <= ALL_COOKIES_BYTES:
            used += theirs + MARKER_BYTES
            continue
        given_up += 1
        stays = given_up <= GIVEN_UP_AT_MOST
        used += stays * MARKER_BYTES
        if (theirs or not stays) and changed < CHANGED_AT_ONCE:
            changed += 1
            _delete(response, tab)
            if stays:
                _mark(response, tab, at, 0)


def recall(states: list[str]) -> dict[str, Any] | None:
    """The sign-in that an answer of the authority belongs to.

    :param states: each `state` of the answer; there must be one.
    :return: as `remember` was given it; None if this browser has begun no such sign-in.
    """
    if len(states) != 1:
        return None
    tab = _tab(states[0])
    try:
        packed, at = serializer().loads(request.cookies.get(_cookie(tab)["key"], ""), return_timestamp=True)
    except itsdangerous.BadData:
        return None
    flow = _unpacked(packed)
    # Not by itsdangerous's max_age: that refuses what was signed by a machine whose clock is a second ahead.
    fresh = time.time() - at.timestamp() < SIGN_IN_SECONDS
    return flow if fresh and flow.get("state") == states[0] and _is_marked(tab) else None


def was_given_up(states: list[str]) -> bool:
    """Whether this browser has begun a sign-in, and did not keep it, because there were too many.

    :param states: each `state` of the authority's answer.
    """
    return len(states) == 1 and _is_marked(_tab(states[0])) and _cookie(_tab(states[0]))["key"] not in request.cookies


def _packed(flow: dict[str, Any]) -> list[Any]:
    more = {name: value for name, value in flow.items() if name not in _MEMBERS and value is not None}
    if more.get("redirect_uri") == current_app.config["REDIRECT_URI"]:
        del more["redirect_uri"]
    return [*(flow[name] for name in _MEMBERS), *([more] if more else [])]


def _unpacked(packed: Any) -> dict[str, Any]:
    if not isinstance(packed, list) or len(packed) < len(_MEMBERS):  # of another version of this app
        return {}
    more = packed[len(_MEMBERS)] if len(packed) > len(_MEMBERS) else {}
    return {"redirect_uri": current_app.config["REDIRECT_URI"], **dict(zip(_MEMBERS, packed, strict=False)), **more}


def forget(response: Response, flow: dict[str, Any]) -> Response:
    """Remove a sign-in from the browser: it has been used up."""
    return _delete(response, _tab(flow["state"]))


def count_finished(response: Response) -> Response:
    """Note that a sign-in has been finished: in a cookie, because the session may be what gets lost."""
    count = str(_finished() + 1)
    response.set_cookie(value=count, max_age=FINISHED_SECONDS, **_counter())
    return response


def finished_too_often() -> bool:
    """Whether so many sign-ins have just been finished that one more would not help either."""
    return _finished() >= FINISHED_AT_MOST


def forget_finished(response: Response) -> Response:
    """Begin to count anew: the person has signed out."""
    response.delete_cookie(**_counter())
    return response


def _finished() -> int:
    return number(request.cookies.get(_counter()["key"], "")[:3]) or 0


def _delete(response: Response, tab: str) -> Response:
    response.delete_cookie(**_cookie(tab))
    response.delete_cookie(**_marker(tab))
    return response


def _marked() -> Iterator[tuple[int, int, str]]:
    """The marked sign-ins of this browser: when each began (milliseconds), the bytes of its cookie (0: given up), its tab."""
    prefix = _marker("")["key"]
    for key, value in request.cookies.items():
        found = _MARK.fullmatch(value)
        if re.fullmatch(prefix + "[0-9a-f]{12}", key):
            at, size = (int(found[1]), int(found[2])) if found else (0, 0)
            yield at, size, key.removeprefix(prefix)


def _mark(response: Response, tab: str, at: int, size: int) -> None:
    response.set_cookie(value=f"{at}.{size}", max_age=SIGN_IN_SECONDS, **_marker(tab))


def _is_marked(tab: str) -> bool:
    return _marker(tab)["key"] in request.cookies


def _tab(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _cookie(tab: str) -> dict[str, Any]:
    return cookies.attributes(current_app.config, f"sign-in-{tab}", route_of(current_app.config["REDIRECT_URI"]))


def _marker(tab: str) -> dict[str, Any]:
    return cookies.attributes(current_app.config, f"begun-{tab}")


def _counter() -> dict[str, Any]:
    return cookies.attributes(current_app.config, FINISHED)


def serializer(salt: str = "sign-in") -> itsdangerous.URLSafeTimedSerializer:
    """What signs, and dates, a value that a browser keeps for this app; `salt` says which kind of value."""
    assert current_app.secret_key  # noqa: S101  the configuration page is shown while there is none
    return itsdangerous.URLSafeTimedSerializer(
        # The last one signs; the others are former ones, by which a sign-in may have begun.
        [*current_app.config["SECRET_KEY_FALLBACKS"], current_app.secret_key],
        salt,
        signer_kwargs={"digest_method": hashlib.sha256},
    )

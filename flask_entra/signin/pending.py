"""A sign-in that has begun: it lives in the browser, in a signed cookie of its own, until the authority's answer comes back.

The cookie is named after the sign-in's state, so tabs do not disturb each other. It is signed, so it can be believed, and it
is not in the session, so a flood of visitors fills no store. Beside it stands a marker for the whole site, by which old ones
are found and dropped. On https the marker is a `__Host-` cookie: a neighbouring site (evil.example.com to app.example.com)
can plant a sign-in of its own, but not the marker.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import itsdangerous
from flask import Response, current_app, request

from flask_entra import cookies
from flask_entra.settings import number
from flask_entra.urls import route_of

SIGN_IN_SECONDS = 3600  # to pick an account, find the phone, and let an administrator look at the consent
FINISHED, FINISHED_SECONDS, FINISHED_AT_MOST = "signed-in", 60, 3
SIGN_INS_AT_ONCE = 4  # begun in one browser; with more, their cookies outgrow the 8 KB that servers take as a header


def remember(response: Response, flow: dict[str, Any]) -> None:
    """Keep a sign-in in the browser, and drop the oldest when there are too many.

    :param response: the redirect to the authority.
    :param flow: what the answer will be held against, `state` among it.
    """
    prefix = _marker("")["key"]
    begun = sorted((at, key) for key, at in request.cookies.items() if re.fullmatch(prefix + "[0-9a-f]{12}", key))
    for _at, old in begun[: -SIGN_INS_AT_ONCE + 1][:20]:
        _delete(response, old.removeprefix(prefix))
    tab = _tab(flow["state"])
    response.set_cookie(value=serializer().dumps(flow), max_age=SIGN_IN_SECONDS, **_cookie(tab))
    response.set_cookie(value=str(int(time.time() * 1000)), max_age=SIGN_IN_SECONDS, **_marker(tab))


def recall(states: list[str]) -> dict[str, Any] | None:
    """The sign-in that an answer of the authority belongs to.

    :param states: each `state` of the answer; there must be one.
    :return: as `remember` was given it; None if this browser has begun no such sign-in.
    """
    if len(states) != 1:
        return None
    tab = _tab(states[0])
    try:
        flow, at = serializer().loads(request.cookies.get(_cookie(tab)["key"], ""), return_timestamp=True)
    except itsdangerous.BadData:
        return None
    # Not by itsdangerous's max_age: that refuses what was signed by a machine whose clock is a second ahead.
    fresh = time.time() - at.timestamp() < SIGN_IN_SECONDS
    return flow if fresh and flow["state"] == states[0] and _marker(tab)["key"] in request.cookies else None


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

"""A sign-in that has begun: it lives in the browser, in a signed cookie of its own, until the authority's answer comes back.

The cookie is named after the sign-in's state, so tabs do not disturb each other. It is signed, so it can be believed, and it
is not in the session, so a flood of visitors fills no store. Beside it stands a marker for the whole site, by which old ones
are found and given up when there are too many. On https the marker is a `__Host-` cookie: a neighbouring site
(evil.example.com to app.example.com) can plant a sign-in of its own, but not the marker.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import itsdangerous
from flask import Response, request

from flask_entra import cookies
from flask_entra.config import Config
from flask_entra.settings import number
from flask_entra.signin.paths import route_of

SIGN_IN_SECONDS = 3600  # to pick an account, find the phone, and let an administrator look at the consent
FINISHED, FINISHED_SECONDS, FINISHED_AT_MOST = "signed-in", 60, 3
# Browsers keep no cookie with more bytes of name and value (RFC 6265bis, 5.7). Servers take 8 KB of cookies as a header, in which
# the app's other cookies need room too.
COOKIE_BYTES, ALL_COOKIES_BYTES = 4096, 6000
MARKER_BYTES = 50  # of the name and the value of a marker
GIVEN_UP_AT_MOST = 20  # sign-ins that the browser still marks as given up
CHANGED_AT_ONCE = 15  # older sign-ins that one answer gives up: its headers have 8 KB too
log = logging.getLogger(__name__)
_MARK = re.compile(r"([0-9]{1,15})\.([0-9]{1,4})")
# The members of a flow of MSAL's that every flow has, which are stored without their names.
_MEMBERS = ("state", "code_verifier", "nonce", "scope", "next", "again")


class SignIns:
    """The sign-ins that have begun in the browser that makes the present request.

    :param config: the app's.
    """

    def __init__(self, config: Config):
        self._config, self._path = config, route_of(config.redirect_uri)

    def remember(self, response: Response, flow: dict[str, Any]) -> None:
        """Keep a sign-in in the browser, and give up the oldest ones when there are too many.

        :param response: the redirect to the authority.
        :param flow: what the answer will be held against, `state` among it. If it is too large for a cookie, it is kept
            without `next`, where to return to.
        """
        tab = _tab(flow["state"])
        cookie, value = self._cookie(tab), serializer(self._config).dumps(self._packed(flow))
        if len(cookie["key"]) + len(value) > COOKIE_BYTES:
            value = serializer(self._config).dumps(self._packed({**flow, "next": None}))
        size = len(cookie["key"]) + len(value)
        self._make_room(response, size)
        response.set_cookie(value=value, max_age=SIGN_IN_SECONDS, **cookie)
        self._mark(response, tab, int(time.time() * 1000), size)

    def _make_room(self, response: Response, size: int) -> None:
        """Give up the oldest of the sign-ins before, as many as leave no room for one more. Their markers stay, and say so."""
        used, given_up, changed = size + MARKER_BYTES, 0, 0
        for at, theirs, tab in sorted(self._marked(), reverse=True):
            if theirs and used + theirs + MARKER_BYTES <= ALL_COOKIES_BYTES:
                used += theirs + MARKER_BYTES
                continue
            given_up += 1
            stays = given_up <= GIVEN_UP_AT_MOST
            used += stays * MARKER_BYTES
            if (theirs or not stays) and changed < CHANGED_AT_ONCE:
                changed += 1
                self._delete(response, tab)
                if stays:
                    self._mark(response, tab, at, 0)

    def recall(self, states: list[str]) -> dict[str, Any] | None:
        """The sign-in that an answer of the authority belongs to.

        :param states: each `state` of the answer; there must be one.
        :return: as `remember` was given it; None if this browser has begun no such sign-in.
        """
        if len(states) != 1:
            return None
        tab = _tab(states[0])
        cookie = request.cookies.get(self._cookie(tab)["key"], "")
        try:
            packed, at = self._loaded(cookie)
        except itsdangerous.BadData:
            if cookie:
                log.warning(
                    "A sign-in in progress is signed with a key that this process does not have: SECRET_KEY, or the credential "
                    "that it is made of, has changed (SECRET_KEY_FALLBACKS, CLIENT_CREDENTIAL_FALLBACKS), or it is forged"
                )
            return None
        flow = self._unpacked(packed)
        # Not by itsdangerous's max_age: that refuses what was signed by a machine whose clock is a second ahead.
        fresh = time.time() - at.timestamp() < SIGN_IN_SECONDS
        return flow if fresh and flow.get("state") == states[0] and self._is_marked(tab) else None

    def _loaded(self, cookie: str) -> tuple[Any, datetime.datetime]:
        """What a cookie holds, and when it was signed.

        :raises itsdangerous.BadData: by nobody who has one of the keys.
        """
        try:
            return serializer(self._config).loads(cookie, return_timestamp=True)  # type: ignore[no-any-return]
        except itsdangerous.BadData:
            if not cookie:
                raise
            # Another process may have seen a new key, or certificate, a moment before this one.
            self._config.credential.look_again()
            return serializer(self._config).loads(cookie, return_timestamp=True)  # type: ignore[no-any-return]

    def was_given_up(self, states: list[str]) -> bool:
        """Whether this browser has begun a sign-in, and did not keep it, because there were too many.

        :param states: each `state` of the authority's answer.
        """
        if len(states) != 1:
            return False
        tab = _tab(states[0])
        return self._is_marked(tab) and self._cookie(tab)["key"] not in request.cookies

    def forget(self, response: Response, flow: dict[str, Any]) -> Response:
        """Remove a sign-in from the browser: it has been used up."""
        self._delete(response, _tab(flow["state"]))
        return response

    def count_finished(self, response: Response) -> Response:
        """Note that a sign-in has been finished: in a cookie, because the session may be what gets lost."""
        counter = self._counter()
        response.set_cookie(value=str(_count(counter) + 1), max_age=FINISHED_SECONDS, **counter)
        return response

    def finished_too_often(self) -> bool:
        """Whether so many sign-ins have just been finished that one more would not help either."""
        return _count(self._counter()) >= FINISHED_AT_MOST

    def forget_finished(self, response: Response) -> Response:
        """Begin to count anew: the person has signed out."""
        response.delete_cookie(**self._counter())
        return response

    # What this app knows by itself, or says of every sign-in, is left out of the cookie.

    def _packed(self, flow: dict[str, Any]) -> list[Any]:
        more = {name: value for name, value in flow.items() if name not in _MEMBERS and value is not None}
        if more.get("redirect_uri") == self._config.redirect_uri:
            del more["redirect_uri"]
        return [*(flow[name] for name in _MEMBERS), *([more] if more else [])]

    def _unpacked(self, packed: Any) -> dict[str, Any]:
        if not isinstance(packed, list) or len(packed) < len(_MEMBERS):  # of another version of this app
            return {}
        more = packed[len(_MEMBERS)] if len(packed) > len(_MEMBERS) else {}
        return {"redirect_uri": self._config.redirect_uri, **dict(zip(_MEMBERS, packed, strict=False)), **more}

    def _marked(self) -> Iterator[tuple[int, int, str]]:
        """The marked sign-ins: when each began (milliseconds), the bytes of its cookie (0: given up), its tab."""
        prefix = self._marker("")["key"]
        for key, value in request.cookies.items():
            found = _MARK.fullmatch(value)
            if re.fullmatch(prefix + "[0-9a-f]{12}", key):
                at, size = (int(found[1]), int(found[2])) if found else (0, 0)
                yield at, size, key.removeprefix(prefix)

    def _mark(self, response: Response, tab: str, at: int, size: int) -> None:
        response.set_cookie(value=f"{at}.{size}", max_age=SIGN_IN_SECONDS, **self._marker(tab))

    def _is_marked(self, tab: str) -> bool:
        return self._marker(tab)["key"] in request.cookies

    def _delete(self, response: Response, tab: str) -> None:
        response.delete_cookie(**self._cookie(tab))
        response.delete_cookie(**self._marker(tab))

    def _cookie(self, tab: str) -> dict[str, Any]:
        return cookies.attributes(self._config, "sign-in", self._path, tab)

    def _marker(self, tab: str) -> dict[str, Any]:
        return cookies.attributes(self._config, "begun", tab=tab)

    def _counter(self) -> dict[str, Any]:
        return cookies.attributes(self._config, FINISHED)


def _count(counter: dict[str, Any]) -> int:
    return number(request.cookies.get(counter["key"], "")[:3]) or 0


def _tab(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def serializer(config: Config, salt: str = "sign-in") -> itsdangerous.URLSafeTimedSerializer:
    """What signs, and dates, a value that a browser keeps for this app.

    :param salt: says which kind of value it is.
    """
    # The last key signs; the others are former ones, by which a sign-in may have begun.
    return itsdangerous.URLSafeTimedSerializer(
        config.signing_keys, salt, signer_kwargs={"digest_method": hashlib.sha256}
    )

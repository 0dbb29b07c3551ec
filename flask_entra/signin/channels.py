"""Sign-outs that the authority tells this app of, because somebody has signed out there or in another app.

Front-channel: the person's browser asks, in a frame of the authority's page (OpenID Connect Front-Channel Logout 1.0). Entra
sends `sid` without `iss`, and today's browsers send no cookie. So the session is found by `sid`, as hard to guess as a cookie.
Back-channel: the authority itself asks, with a logout token (OpenID Connect Back-Channel Logout 1.0).
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, cast

import flask
from flask import Response, jsonify, request

from flask_entra.config import Config, present_app
from flask_entra.cross_site import csrf_exempt
from flask_entra.sessions.index import Entry, Index
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signals import signed_out
from flask_entra.signin import callback_query, guards, logout_token, noted
from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import AuthorityUnavailable, IdTokenRefused, person
from flask_entra.signin.id_token import LEEWAY_SECONDS
from flask_entra.urls import origin

LONGEST = 256  # characters of a `sid`: Entra's is a GUID
_FORM_BYTES = 2 * logout_token.LONGEST
_UNCACHED = "no-cache, no-store"
_EVERYWHERE = "Everywhere"  # beside the two channels: what the person has asked for at this app

log = logging.getLogger(__name__)
session = cast(Session, flask.session)


class Channels:
    """Where an app hears of sign-outs elsewhere.

    :param config: the app's.
    :param authority: what tells of them.
    :param index: finds the sessions.
    """

    def __init__(self, config: Config, authority: Authority, index: Index):
        self._config, self._authority, self._index = config, authority, index

    @guards.public
    def front(self) -> Response:
        """GET, in a frame of the authority's: end the sessions of a session at the authority. Nobody need be signed in.

        :raises StoreUnavailable: they cannot be ended.
        """
        told = callback_query.parameters()
        sids, issuers = told.getlist("sid"), told.getlist("iss")
        if len(sids) != 1 or not 0 < len(sids[0]) <= LONGEST or len(issuers) > 1:
            log.warning("Front-channel sign-out refused: there is not one sid, or more than one iss")
            return self._framed(400)
        found = self._index.find(noted.by_sid(sids[0]))
        if issuers and any(entry.about["iss"] != issuers[0] for entry in found):
            log.warning("Front-channel sign-out refused: the issuer (iss) is another one")
            return self._framed(400)
        if request.method == "GET":
            self._end(found, "Front-channel")
        return self._framed(200)

    @csrf_exempt
    @guards.public
    def back(self) -> Response:
        """POST of a logout token: end the sessions that it names. Whatever is wrong is 400, as the specification wants it."""
        try:
            self._sign_out_by_token()
        except (IdTokenRefused, AuthorityUnavailable, StoreUnavailable) as error:
            log.warning("Back-channel sign-out refused: %s", error)
            response = jsonify(error="invalid_request")
            response.status_code = 400
        else:
            response = Response(status=200)
        response.headers["Cache-Control"] = _UNCACHED
        return response

    def _sign_out_by_token(self) -> None:
        if (request.content_length or 0) > _FORM_BYTES:
            raise IdTokenRefused("it is too long")
        tokens = request.form.getlist("logout_token")
        if len(tokens) != 1:
            raise IdTokenRefused("there is not one logout token")
        claims = logout_token.validate(tokens[0], self._authority)
        until = min(claims["exp"], claims["iat"] + logout_token.OLDEST_SECONDS) + LEEWAY_SECONDS
        with self._index.once(("jti", claims["iss"], claims["jti"]), until - time.time()) as is_first:
            if not is_first:
                raise IdTokenRefused("it has come before (jti)")
            self._end(self._named_by(claims), "Back-channel")

    def end_others(self, user: dict[str, Any]) -> None:
        """End all sessions of a person but that of the present request, which they sign out of by themselves.

        :param user: the claims of the ID token.
        :raises StoreUnavailable: they cannot be ended.
        """
        found = self._index.find(noted.by_person(user["iss"], user["sub"]))
        self._end([entry for entry in found if entry.key != session.key], _EVERYWHERE)

    def _named_by(self, claims: dict[str, Any]) -> list[Entry]:
        subject = claims.get("sub")
        label = noted.by_sid(claims["sid"]) if "sid" in claims else noted.by_person(claims["iss"], claims["sub"])
        return [
            entry
            for entry in self._index.find(label)
            if entry.about["iss"] == claims["iss"] and subject in (None, entry.about["sub"])
        ]

    def _end(self, entries: list[Entry], channel: str) -> None:
        ended = [entry for entry in entries if self._index.end(entry)]
        for entry in ended:
            log.info("Signed out: %s (%s sign-out)", person(entry.about), channel.lower())
            signed_out.send(present_app(), user=noted.claims(entry.about))
        if not (ended or channel == _EVERYWHERE):
            log.info("%s sign-out: no session here has that sid, or is that person's", channel)

    def _framed(self, status: int) -> Response:
        # A browser that shows nothing, because the frame is in a page of another host, has asked all the same.
        ancestors = [origin(self._config.issuer_address)]
        with contextlib.suppress(AuthorityUnavailable):
            ancestors.append(origin(self._authority.provider.end_session_endpoint))
        allowed = " ".join(dict.fromkeys(filter(None, ancestors))) or "'none'"
        response = Response(status=status, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = f"default-src 'none'; frame-ancestors {allowed}"
        response.headers["Cache-Control"] = _UNCACHED
        return response

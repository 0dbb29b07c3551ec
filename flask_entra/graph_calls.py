"""`auth.graph`: Microsoft Graph as a view calls it, for the person who is signed in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import session

from flask_entra.graph import GraphClient, GraphError
from flask_entra.http_client import JsonObject
from flask_entra.signin import userinfo
from flask_entra.signin.authority import Authority
from flask_entra.signin.current_user import USER, USERINFO

# Where the session keeps until when (Unix seconds) Graph is not asked for the photo again.
NO_PHOTO, NO_PHOTO_SECONDS = "_no_photo_until", 600

T = TypeVar("T")
log = logging.getLogger(__name__)


class GraphCalls:
    """Calls Graph with a view's `context`. A token that Graph refuses is renewed, and the call made once more.

    :param call: `Auth.call`.
    :param client: for Graph, or for another API that takes the same kind of token.
    :param authority: what signs the app's people in.
    """

    def __init__(
        self,
        call: Callable[[Callable[[str], Any], dict[str, Any]], Any],
        client: GraphClient,
        authority: Authority,
    ):
        self._call, self._client, self._authority = call, client, authority

    def get(self, path: str, context: dict[str, Any]) -> JsonObject:
        """GET a JSON object.

        :param path: below the version, such as `/me/messages?$top=10`, or a whole URL of the same host.
        :param context: the view's, with a token for Graph.
        :return: the object that came.
        :raises ValueError: the URL is of another host, where the token must not go.
        :raises GraphError: no object came.
        :raises SignInRequired: Graph wants to see the person.
        """
        url = self._client.url(path)
        return cast(JsonObject, self._call(lambda token: self._client.get(url, token), context))

    def me(self, context: dict[str, Any]) -> JsonObject:
        """GET the person's profile; where there is no API (`ENDPOINT`), as the provider of the sign-in tells it.

        :param context: the view's, with a token.
        :return: the profile. `url` is where it came from.
        :raises GraphError, SignInRequired: as `get` does; `no_endpoint` if the provider does not tell it either.
        :raises IdTokenRefused, AuthorityUnavailable: the provider's answer is none; see `userinfo.ask`.
        """
        url = session.get(USERINFO, "")
        if self._client.endpoint or not url:
            return cast(JsonObject, self._call(self._client.me, context))
        subject = session[USER]["sub"]
        return cast(JsonObject, self._call(lambda token: userinfo.ask(self._authority, url, token, subject), context))

    def photo(self, context: dict[str, Any]) -> tuple[bytes, str] | None:
        """GET the person's photo: the image and its content type; None if there is none, or none that Graph gives now.

        A photo is decoration: a failure is no page and costs no new token, and is remembered for `NO_PHOTO_SECONDS`.

        :param context: the view's, with a token for Graph.
        """
        if session.get(NO_PHOTO, 0) > time.time():
            return None
        try:
            found = self._client.photo(context["access_token"])
        except GraphError as error:
            log.info("No photo: %s", error)
            found = None
        if not found:
            session[NO_PHOTO] = time.time() + NO_PHOTO_SECONDS
        return found

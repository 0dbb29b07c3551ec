"""`auth.graph`: Microsoft Graph as a view calls it, for the person who is signed in."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, cast

from flask import session

from flask_entra import graph_batch
from flask_entra.api_calls import ApiCalls
from flask_entra.graph import GraphClient
from flask_entra.graph_error import GraphError
from flask_entra.http_client import JsonObject
from flask_entra.signin import callers_tokens, userinfo
from flask_entra.signin.authority import Authority
from flask_entra.signin.current_user import USER, USERINFO
from flask_entra.transfers import Upload

# Where the session keeps until when (Unix seconds) Graph is not asked for the photo again.
NO_PHOTO, NO_PHOTO_SECONDS = "_no_photo_until", 600

log = logging.getLogger(__name__)


class GraphCalls(ApiCalls):
    """Calls Graph, or the API of `ENDPOINT`.

    :param call: `Auth.call`.
    :param context: `Auth.context`.
    :param client: for the API.
    :param scopes: those of the setting `SCOPE`, for a call without a context.
    :param authority: what signs the app's people in.
    """

    def __init__(
        self,
        call: Callable[[Callable[[str], Any], dict[str, Any]], Any],
        context: Callable[[list[str]], dict[str, Any]],
        client: GraphClient,
        scopes: list[str],
        authority: Authority,
    ):
        super().__init__(call, context, lambda: client, None, scopes)
        self._graph, self._authority = client, authority

    def me(self, context: dict[str, Any]) -> JsonObject:
        """GET the person's profile; where there is no API (`ENDPOINT`), as the provider of the sign-in tells it.

        :param context: the view's, with a token.
        :return: the profile. `url` is where it came from.
        :raises GraphError, SignInRequired: as `get` does; `no_endpoint` if the provider does not tell it either.
        :raises IdTokenRefused, AuthorityUnavailable: the provider's answer is none; see `userinfo.ask`.
        """
        url = session.get(USERINFO, "")
        if self._graph.endpoint or not url:
            return cast(JsonObject, self._call(self._graph.me, context))
        subject = session[USER]["sub"]
        return cast(JsonObject, self._call(lambda token: userinfo.ask(self._authority, url, token, subject), context))

    def photo(self, context: dict[str, Any]) -> tuple[bytes, str] | None:
        """GET the person's photo: the image and its content type; None if there is none, or none that Graph gives now.

        A photo is decoration: a failure is no page and costs no new token, and is remembered for `NO_PHOTO_SECONDS`.

        :param context: the view's, with a token for Graph.
        """
        has_session = not callers_tokens.by_token()
        if has_session and session.get(NO_PHOTO, 0) > time.time():
            return None
        try:
            found = self._graph.photo(context["access_token"])
        except GraphError as error:
            log.info("No photo: %s", error)
            found = None
        if not found and has_session:
            session[NO_PHOTO] = time.time() + NO_PHOTO_SECONDS
        return found

    def batch(
        self,
        requests: Sequence[str | Mapping[str, Any]],
        context: dict[str, Any] | None = None,
        *,
        version: str = "v1.0",
    ) -> list[Any]:
        """Make several requests in one; more than 20 in as many as it takes.

        https://learn.microsoft.com/graph/json-batching

        :param requests: each a path below the version, for GET, or a mapping with `url` and perhaps `method`, `headers`, `body`,
            `id` and `dependsOn`, as Graph has them.
        :param context: as for `get`.
        :param version: of Graph: `v1.0` or `beta`.
        :return: the answers in the order of the requests: the JSON that came, None if nothing did, or a `GraphError`, which is
            not raised. Of one that was throttled, `retry_after` says when to try again.
        :raises ValueError, TypeError: a request is none.
        :raises GraphError: the whole batch has failed, if it is the first of several. What has failed later is an answer.
        :raises SignInRequired: as `get` does.
        """
        batches, found = graph_batch.parts_of(requests), list[Any]()
        context = self._with_a_token(context) if batches else context
        failure: GraphError | None = None
        for parts in batches:
            if failure:  # what comes after it is not sent
                found += graph_batch.failed(failure, parts)
                continue
            try:
                answer = self.post(f"/{version}/$batch", context, json={"requests": parts})
                found += graph_batch.answers_of(parts, answer)
            except GraphError as error:
                failures = graph_batch.failed(error, parts)
                error.may_have_happened = any(each.may_have_happened for each in failures)
                if not found:
                    raise
                found += failures
                failure = error
                failure.may_have_happened = False
        return found

    def upload(
        self,
        path: str,
        context: dict[str, Any] | None,
        file: IO[bytes] | bytes,
        *,
        json: Mapping[str, Any] | None = None,
        upload_url: str = "",
    ) -> Any:
        """Send a file of any size, in parts (an upload session). Each part is tried three times.

        https://learn.microsoft.com/graph/api/driveitem-createuploadsession

        :param path: where the session is made, such as `/me/drive/root:/report.pdf:/createUploadSession`.
        :param context: as for `get`.
        :param file: the file, which can be sought in, or its bytes; not empty.
        :param json: what the session is made with, as Graph has it.
        :param upload_url: of a session that was cut off (`GraphError.upload_url`): its upload is continued.
        :return: what Graph says of the file that it has now.
        :raises ValueError: the file is empty.
        :raises GraphError: it could not be sent. With `upload_url`, a part of it is there.
        :raises SignInRequired: as `get` does.
        """
        whole = io.BytesIO(file) if isinstance(file, bytes) else file
        size = whole.seek(0, io.SEEK_END)
        if not size:
            raise ValueError("an upload session takes no empty file: put it (auth.graph.put) instead")
        context = self._with_a_token(context)
        made = {"uploadUrl": upload_url} if upload_url else self.post(path, context, json=json or {})
        url = made.get("uploadUrl") if isinstance(made, dict) else None
        upload = Upload(self._graph.http, url, self._graph.endpoint, person=context["access_token"])
        return upload.send(whole, size, began=bool(upload_url))

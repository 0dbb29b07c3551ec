"""`auth.api(…)`: an API as a view calls it, for the person who is signed in. `graph_calls` has what only Graph has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask_entra.api_client import ApiClient
from flask_entra.config import current
from flask_entra.graph_error import GraphError
from flask_entra.scopes import resources_of
from flask_entra.transfers import Download
from flask_entra.urls import origin

ITEMS_AT_MOST = 100_000
EMPTY_PAGES_AT_MOST = 100  # in a row: Graph gives some where it filters (https://learn.microsoft.com/graph/paging)


class ApiCalls:
    """Calls an API. A token that it refuses is renewed, and the call made once more, whatever its method.

    A call that is to change something is never sent again after a failure: `GraphError.may_have_happened` says whether it may
    have been done all the same. What `Retry-After` asks for is kept to: until then, a call fails at once (`throttled`).

    :param call: `Auth.call`.
    :param context: `Auth.context`.
    :param client: of the present app, for this API.
    :param scopes: those of the access tokens that the API takes; None for those of the view.
    :param usual: the scopes for a call without a view's token.
    """

    def __init__(
        self,
        call: Callable[[Callable[[str], Any], dict[str, Any]], Any],
        context: Callable[[list[str]], dict[str, Any]],
        client: Callable[[], ApiClient],
        scopes: list[str] | None,
        usual: list[str] | None = None,
    ):
        self._call, self._own_context, self._find_client = call, context, client
        self._scopes, self._usual = scopes, usual

    @property
    def _client(self) -> ApiClient:
        return self._find_client()

    def get(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """GET what is there.

        :param path: below the API's address, such as `/me/messages`, or a whole URL of the same host. For Graph, one that begins
            with `/beta/` or `/v1.0/` is of that version.
        :param context: the view's, with a token for this API. Without one, or with one for other scopes than the API has been
            given, a token for those is got.
        :param params: the query, such as `{"$top": 10}`.
        :param headers: further ones, such as `{"ConsistencyLevel": "eventual"}`.
        :return: the JSON that came; an object is a `JsonObject`, which knows its `url`. None for 202 and 204.
        :raises ValueError: the URL is of another host, where the token must not go.
        :raises GraphError: it has failed.
        :raises SignInRequired: the API, or the authority, wants to see the person.
        """
        return self._request("GET", path, context, params=params, headers=headers)

    def post(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        json: Any = None,
        data: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """POST: make something new, or have something done; the rest is as for `get`.

        :param json: the body, as JSON.
        :param data: the body as bytes instead; `headers` says of what type.
        :return: the JSON that came, or None if nothing did (202, 204).
        """
        return self._request("POST", path, context, json=json, data=data, params=params, headers=headers)

    def patch(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        json: Any = None,
        data: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """PATCH: change a part of something; as `post`. `{"If-Match": etag}` changes only what has not been changed meanwhile."""
        return self._request("PATCH", path, context, json=json, data=data, params=params, headers=headers)

    def put(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        json: Any = None,
        data: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """PUT: replace something; as `post`."""
        return self._request("PUT", path, context, json=json, data=data, params=params, headers=headers)

    def delete(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """DELETE: remove something; as `get`."""
        return self._request("DELETE", path, context, params=params, headers=headers)

    def pages(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = ITEMS_AT_MOST,
    ) -> Iterator[Any]:
        """GET each item of a collection, page after page (`@odata.nextLink`), as each is asked for.

        https://learn.microsoft.com/graph/paging. The other arguments are those of `get`.

        :param limit: how many items there may be.
        :raises GraphError: as `get` does; `not_understood` also for a collection that has more items, goes round in a circle,
            goes on at another host, or has nothing but empty pages.
        """
        seen, count, empty, client = set[str](), 0, 0, self._client
        url = client.url(path)
        while True:
            page = self._request("GET", url, context, params=params, headers=headers)
            items = page.get("value") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise GraphError("not_understood", f"{url.partition('?')[0]} has no list named value")
            if (empty := 0 if items else empty + 1) > EMPTY_PAGES_AT_MOST:
                raise GraphError("not_understood", f"{path.partition('?')[0]} has {empty} empty pages in a row")
            for item in items:
                if (count := count + 1) > limit:
                    raise GraphError("not_understood", f"{path.partition('?')[0]} has more than {limit} items")
                yield item
            seen.add(url)
            url, params = page.get("@odata.nextLink"), None
            if url in (None, ""):
                return
            if not isinstance(url, str) or url in seen or origin(url) != origin(client.endpoint):
                raise GraphError(
                    "not_understood", f"{path.partition('?')[0]} goes on where it must not (@odata.nextLink)"
                )

    def download(
        self,
        path: str,
        context: dict[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Download:
        """GET something that is no JSON, such as a file, and read it bit by bit; the arguments are those of `get`.

        Graph often answers with the address of another host, which has the file and wants no token. It is gone to once, without
        the token.

        :raises GraphError: as `get` does; so may each bit.
        """
        client = self._client
        url = client.url(path)

        def begin(token: str) -> Download:
            return Download.begin(client, url, token, params=params, headers=headers)

        return self._called(begin, context)  # type: ignore[no-any-return]

    def _request(self, method: str, path: str, context: dict[str, Any] | None, **kwargs: Any) -> Any:
        client = self._client
        url = client.url(path)
        wanted = {name: value for name, value in kwargs.items() if value is not None}
        return self._called(lambda token: client.request(method, url, token, **wanted), context)

    def _called(self, api: Callable[[str], Any], context: dict[str, Any] | None) -> Any:
        return self._call(api, self._with_a_token(context))

    def _with_a_token(self, context: dict[str, Any] | None) -> dict[str, Any]:
        """The context, or another one if it has no token for this API.

        :raises ValueError: it has none, or one that is for Microsoft Graph.
        """
        if context is not None and "access_token" in context and self._scopes in (None, context["scopes"]):
            if (
                self._scopes is None
                and self._usual is None
                and current().entra
                and "" in resources_of(context["scopes"])
            ):
                raise ValueError(
                    f"The token of this context is for Microsoft Graph ({' '.join(context['scopes'])}), and is not sent to "
                    f"{origin(self._client.endpoint)}: give auth.api its scopes."
                )
            return context
        scopes = self._usual if self._scopes is None else self._scopes
        if scopes is None:
            raise ValueError(
                "There is no token for this API: give auth.api its scopes, or call it with a view's context."
            )
        return self._own_context(scopes)

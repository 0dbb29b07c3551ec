"""`GraphClient`: what Microsoft Graph has beyond other APIs. Knows nothing of Flask, sessions or sign-in.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling
"""

from __future__ import annotations

from collections.abc import Sequence

from flask_entra.api_client import ApiClient, json_object_of
from flask_entra.graph_error import GraphError, not_understood
from flask_entra.http_client import BoundedSession, JsonObject

PHOTO_BYTES = 4 * 1024 * 1024
GROUPS_AT_ONCE = 20  # the most group ids that one request may ask about
VERSIONS = ("/v1.0", "/beta")
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}


class GraphClient(ApiClient):
    """Calls Microsoft Graph, or the API of `ENDPOINT` in its place.

    :param http: the app's one HTTP client.
    :param endpoint: the absolute URL of the profile, such as `https://graph.microsoft.com/v1.0/me`.
    """

    def __init__(self, http: BoundedSession, endpoint: str):
        super().__init__(http, endpoint)
        self._base = endpoint.rstrip("/").removesuffix("/me")

    def _below(self, path: str) -> str:
        """A path that begins with `/beta/` or `/v1.0/` is of that version of Graph; another, of the endpoint's."""
        version = next((each for each in VERSIONS if path.startswith(f"{each}/") and self._base.endswith(VERSIONS)), "")
        return (self._base.rpartition("/")[0] if version else self._base) + path

    def me(self, access_token: str) -> JsonObject:
        """GET the profile; see `get`."""
        return self.get(self.endpoint, access_token)

    def check_member_groups(self, access_token: str, groups: Sequence[str]) -> set[str]:
        """POST: which of some groups is the person a member of, directly or through another group?

        https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups

        :param access_token: the bearer token.
        :param groups: their ids, in lower case.
        :return: the ids of those groups. Graph has answered for every one.
        :raises GraphError: as `get` does; `not_understood` also for an answer that is not whole, or about other groups.
        """
        members: set[str] = set()
        url = f"{self.endpoint}/checkMemberGroups"
        for start in range(0, len(groups), GROUPS_AT_ONCE):
            asked = groups[start : start + GROUPS_AT_ONCE]
            # It changes nothing, so that it can be sent again as a GET can.
            response = self._ask("POST", url, access_token, json={"groupIds": list(asked)}, repeatable=True)
            answer = json_object_of(response)
            found = answer.get("value")
            if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
                raise not_understood(response)
            theirs = {each.lower() for each in found}
            if not theirs <= set(asked) or "@odata.nextLink" in answer:
                raise not_understood(response)
            members |= theirs
        return members

    def photo(self, access_token: str) -> tuple[bytes, str] | None:
        """GET the person's photo.

        :param access_token: the bearer token.
        :return: the image and its content type; None if there is none, or what came is not an image.
        :raises GraphError: as `get` does.
        """
        try:
            url = f"{self.endpoint}/photo/$value"
            response = self._ask("GET", url, access_token, "image/*", limit=PHOTO_BYTES)
        except GraphError as error:
            if error.kind in ("not_found", "not_understood", "no_endpoint"):
                return None
            raise
        kind = next((kind for magic, kind in IMAGE_TYPES.items() if response.content.startswith(magic)), None)
        return (response.content, kind) if kind else None

"""Files that are too large to be held in one piece: read from Graph, and written to it, bit by bit."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import requests

from flask_entra.api_client import ApiClient, failure_of
from flask_entra.bulkhead import Refusal
from flask_entra.graph_error import GraphError, not_understood, of_answer
from flask_entra.http_client import BoundedSession, chunks, json_value
from flask_entra.urls import is_endpoint, origin, split_url

# Parts of an upload: Graph wants multiples of 320 KiB, and recommends 5 to 10 MiB.
PART_BYTES = 16 * 320 * 1024
TRIES = 3  # in a row, for one part
_RANGE = re.compile(r"([0-9]{1,15})-[0-9]*")


class Download:
    """A file on its way: an iterator of its bytes, which Flask's `Response` takes as a body. Closed at its end.

    :ivar content_type: as the API says.
    :ivar size: in bytes; None if the API does not say.
    :ivar status: 200, or 206 for the part that a `Range` header has asked for.
    """

    def __init__(self, response: requests.Response):
        self._response = response
        self.status = response.status_code
        self.content_type = response.headers.get("Content-Type", "application/octet-stream")
        # With a compressed body, the length is that of the compressed one.
        length = response.headers.get("Content-Length", "") if "Content-Encoding" not in response.headers else ""
        self.size = int(length) if length.isascii() and length.isdecimal() else None
        self._bits = self._read()

    @classmethod
    def begin(
        cls,
        client: ApiClient,
        url: str,
        token: str,
        *,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> Download:
        """Ask for a file; see `ApiCalls.download`."""
        response = client.stream(url, token, params=params, headers=headers)
        if response.status_code < 300:
            return cls(response)
        with response:
            there = response.headers.get("Location", "")
        if not _is_allowed(there, url):
            raise not_understood(response)
        with _failures(there):
            moved = client.http.open("GET", there, person=token, headers=dict(headers or {}))
        if moved.status_code not in (200, 206):
            with moved:
                raise of_answer(moved)
        return cls(moved)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._bits)

    def _read(self) -> Iterator[bytes]:
        with self._response, _failures(self._response.url):
            yield from chunks(self._response)

    def read(self, limit: int = 64 * 1024 * 1024) -> bytes:
        """All that is left of it.

        :param limit: the most bytes that are taken into memory.
        :raises GraphError: it ends too early, or (`not_understood`) has more bytes.
        """
        body = io.BytesIO()
        for bit in self:
            body.write(bit)
            if body.tell() > limit:
                self.close()
                raise GraphError("not_understood", f"the file has more than {limit} bytes", status=self.status)
        return body.getvalue()

    def close(self) -> None:
        """Read no more of it."""
        self._response.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upload:
    """An upload session: a file that is sent part by part, to an address that needs no token.

    https://learn.microsoft.com/graph/sdks/large-file-upload

    :param http: the app's one HTTP client.
    :param url: the session's address, which is a secret for as long as it lives.
    :param api: the API that has made it.
    """

    def __init__(self, http: BoundedSession, url: object, api: str):
        if not isinstance(url, str) or not _is_allowed(url, api):
            raise GraphError("not_understood", "the upload session has no address (uploadUrl)")
        self._http, self.url = http, url

    def send(self, file: IO[bytes], size: int, *, began: bool) -> Any:
        """Send the file, from where the last attempt ended.

        :param file: can be sought in.
        :param size: of the whole file, in bytes.
        :param began: whether some of it may be there already.
        :return: what the API says of the file that it has now.
        :raises GraphError: it was cut off. `upload_url` is where it can be continued.
        """
        at, failed = self._next(size) if began else 0, 0
        while True:
            try:
                answer = self._put(file, at, size)
            except GraphError as error:
                failed += 1
                # 416: a part that has come already, whose answer was lost.
                again = error.kind in ("timeout", "unavailable") or error.status == 416
                if not again or failed == TRIES:
                    raise self._cut_off(error) from error
                at = self._next(size)
                continue
            if answer.status_code != 202:
                return json_value(answer, replace=True) if answer.content else None
            at, failed = self._expected(answer, size), 0

    def cancel(self) -> None:
        """Let the API forget what was sent."""
        with contextlib.suppress(GraphError):
            self._ask("DELETE")

    def _put(self, file: IO[bytes], at: int, size: int) -> requests.Response:
        file.seek(at)
        part = file.read(min(PART_BYTES, size - at))
        if not part:
            raise GraphError("refused", f"the file has ended after {at} of {size} bytes")
        return self._ask("PUT", data=part, headers={"Content-Range": f"bytes {at}-{at + len(part) - 1}/{size}"})

    def _next(self, size: int) -> int:
        """From which byte on the API wants the file."""
        try:
            return self._expected(self._ask("GET"), size)
        except GraphError as error:
            raise self._cut_off(error) from error

    def _expected(self, answer: requests.Response, size: int) -> int:
        try:
            found = _RANGE.fullmatch(json.loads(answer.content)["nextExpectedRanges"][0])
        except (ValueError, KeyError, TypeError, IndexError):
            found = None
        if not found or int(found[1]) >= size:
            raise not_understood(answer)
        return int(found[1])

    def _ask(self, method: str, **kwargs: Any) -> requests.Response:
        with _failures(origin(self.url)):  # the rest of the address is a secret
            answer = self._http.fetch(method, self.url, **kwargs)
        if answer.status_code >= 400:
            raise of_answer(answer)
        return answer

    def _cut_off(self, error: GraphError) -> GraphError:
        error.upload_url = self.url
        return error


@contextlib.contextmanager
def _failures(where: str) -> Iterator[None]:
    try:
        yield
    except (Refusal, requests.RequestException) as error:
        raise failure_of(error, where.partition("?")[0]) from error


def _is_allowed(url: str, api: str) -> bool:
    """Whether an API may send this app to an address: https, as the API itself, or the API's own origin."""
    return is_endpoint(url) and (split_url(url).scheme == "https" or origin(url) == origin(api))

"""Files that are too large to be held in one piece: read from Graph, and written to it, bit by bit."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import requests

from flask_entra.api_client import ApiClient, failure_of, json_of
from flask_entra.bulkhead import Refusal
from flask_entra.graph_error import GraphError, not_understood, of_answer, was_sent
from flask_entra.http_client import BoundedSession, chunks
from flask_entra.urls import is_endpoint, origin, split_url

# Parts of an upload: Graph wants multiples of 320 KiB, and recommends 5 to 10 MiB.
PART_BYTES = 16 * 320 * 1024
TRIES = 3  # in a row, for one part
# What a request for a file says to whoever has it; a header of the API's own stays there.
_OF_ANY_HOST = re.compile("range|accept(-.+)?|if-.+", re.IGNORECASE)
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
        self.size = int(length) if re.fullmatch("[0-9]{1,15}", length) else None
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
        meant = {name: value for name, value in (headers or {}).items() if _OF_ANY_HOST.fullmatch(name)}
        with _failures(origin(there)):
            moved = client.http.open("GET", there, person=token, headers=meant)
        moved.url = origin(there)  # what errors tell: the rest of the address is a secret
        if moved.status_code not in (200, 206):
            with moved:
                raise of_answer(moved)
        return cls(moved)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._bits)

    def _read(self) -> Iterator[bytes]:
        with self._response, _failures(self._response.url.partition("?")[0]):
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
    :param person: on whose behalf, as `BoundedSession.fetch` takes it.
    """

    def __init__(self, http: BoundedSession, url: object, api: str, person: str):
        if not isinstance(url, str) or not _is_allowed(url, api):
            raise GraphError("not_understood", "the upload session has no address (uploadUrl)")
        self._http, self.url, self._person = http, url, person
        self._is_whole = False  # whether all of it may be there

    def send(self, file: IO[bytes], size: int, *, began: bool) -> Any:
        """Send the file, from where the last attempt ended.

        :param file: can be sought in.
        :param size: of the whole file, in bytes.
        :param began: whether some of it may be there already.
        :return: what the API says of the file that it has now.
        :raises GraphError: it was cut off. `upload_url` is where it can be continued; with `may_have_happened`, all of it may be
            there.
        """
        try:
            return self._send(file, size, self._next(size) if began else 0)
        except GraphError as error:
            error.upload_url, error.may_have_happened = self.url, self._is_whole
            raise

    def _send(self, file: IO[bytes], size: int, at: int) -> Any:
        furthest, failed = at, 0
        while True:
            try:
                answer = self._put(file, at, size)
            except GraphError as error:
                failure = error
                # 416: a part that has come already, whose answer was lost.
                again = error.kind in ("timeout", "unavailable") or error.status == 416
                if not again or failed + 1 == TRIES:
                    raise
                at = self._next(size)
            else:
                if answer.status_code != 202:
                    return json_of(answer) if answer.content else None
                at = self._expected(answer, size)
                failure = GraphError(
                    "not_understood", f"the upload stands still: byte {at} is asked for again and again"
                )
            furthest, failed = (at, 0) if at > furthest else (furthest, failed + 1)
            if failed == TRIES:
                raise failure

    def _put(self, file: IO[bytes], at: int, size: int) -> requests.Response:
        file.seek(at)
        part = file.read(min(PART_BYTES, size - at))
        if not part:
            raise GraphError("refused", f"the file has ended after {at} of {size} bytes")
        try:
            answer = self._ask("PUT", data=part, headers={"Content-Range": f"bytes {at}-{at + len(part) - 1}/{size}"})
        except GraphError as error:
            self._is_whole |= at + len(part) == size and error.may_have_happened
            raise
        self._is_whole |= answer.status_code != 202
        return answer

    def _next(self, size: int) -> int:
        """From which byte on the API wants the file."""
        return self._expected(self._ask("GET"), size)

    def _expected(self, answer: requests.Response, size: int) -> int:
        try:
            found = _RANGE.fullmatch(json_of(answer)["nextExpectedRanges"][0])
        except (KeyError, TypeError, IndexError):
            found = None
        if not found or int(found[1]) >= size:
            raise not_understood(answer)
        return int(found[1])

    def _ask(self, method: str, **kwargs: Any) -> requests.Response:
        where = origin(self.url)  # the rest of the address is a secret
        with _failures(where, writes=method == "PUT"):
            answer = self._http.fetch(method, self.url, person=self._person, **kwargs)
        answer.url = where
        if answer.status_code >= 400:
            failure = of_answer(answer)
            failure.may_have_happened = method == "PUT" and answer.status_code >= 500
            raise failure
        return answer


@contextlib.contextmanager
def _failures(where: str, *, writes: bool = False) -> Iterator[None]:
    try:
        yield
    except Refusal as error:
        raise failure_of(error, where) from error
    except requests.RequestException as error:
        failure = failure_of(error, where)
        failure.may_have_happened = writes and was_sent(error)
        raise failure from None  # requests' own exception tells the whole address, which may be a secret


def _is_allowed(url: str, api: str) -> bool:
    """Whether an API may send this app to an address: https, as the API itself, or the API's own origin."""
    return is_endpoint(url) and (split_url(url).scheme == "https" or origin(url) == origin(api))

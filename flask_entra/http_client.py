"""The one HTTP client of the process: pooled, and every answer bounded in time and size."""

from __future__ import annotations

import contextlib
import functools
import http.cookiejar
import io
import json
import math
import os
import re
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import requests.utils
import urllib3.exceptions

from flask_entra import deadlines
from flask_entra.bulkhead import Bulkhead
from flask_entra.http_adapter import BoundedAdapter, let_the_body_take_its_time
from flask_entra.urls import origin

BODY_BYTES = 1024 * 1024  # the most that is read of an answer, unless the caller says otherwise
RETRY_WITHIN_SECONDS = 1.0  # a connection that broke while it was idle fails within this time

_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?(\s*,\s*[0-9]+(\.[0-9]+)?)*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class TooLarge(requests.RequestException):
    """The answer is larger than the caller takes.

    :ivar status: the answer's HTTP status.
    """

    def __init__(self, limit: int, status: int):
        super().__init__(f"the answer has more than {limit} bytes")
        self.status = status


class BoundedSession(requests.Session):
    """A `requests.Session` for many threads whose every answer is bounded.

    `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and `REQUESTS_CA_BUNDLE` (or `CURL_CA_BUNDLE`) are honoured, and read once:
    with `trust_env` requests reads them, and `~/.netrc`, which can replace the bearer token, at every single call.

    :param threads: how many threads use it: as many connections are kept, and a share of them may wait for one upstream.
    """

    def __init__(self, threads: int):
        super().__init__()
        self._bulkhead = Bulkhead(threads)
        self._proxies_for = functools.lru_cache(maxsize=64)(requests.utils.get_environ_proxies)
        self.trust_env = False
        # One session for all people: a cookie that is set for one of them must not be sent for another.
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self.mount("https://", BoundedAdapter(pool_connections=8, pool_maxsize=threads))
        self.mount("http://", BoundedAdapter(pool_connections=8, pool_maxsize=threads))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Always None: requests reads a redirect's whole body without a limit."""

    def waiting(
        self, url: str, person: str | None = None, *, stranger: bool = False
    ) -> contextlib.AbstractContextManager[None]:
        """Hold a place for whatever the block waits for: a request to this address, or another thread's.

        :param person: on whose behalf, by any name that tells people apart.
        :param stranger: whether nobody knows yet who that is.
        :raises Busy: too many wait for this upstream already.
        """
        return self._bulkhead.place(origin(url), person, stranger=stranger)

    def fetch(
        self,
        method: str,
        url: str,
        *,
        limit: int = BODY_BYTES,
        person: str | None = None,
        repeatable: bool = False,
        **kwargs: Any,
    ) -> requests.Response:
        """Send one request and read its whole answer. Redirects are not followed: they could carry a token away.

        :param method: of HTTP, such as `GET`.
        :param url: absolute URL.
        :param limit: the most bytes that the (decompressed) body may have.
        :param person: on whose behalf, by any name that tells people apart: nobody takes all places.
        :param repeatable: whether another method than GET changes nothing, so that it may be sent again as a GET may.
        :param kwargs: `headers`, `params`, `data` and `json`, as `requests` takes them.
        :return: the response, its body read.
        :raises Busy: too many wait for this upstream already.
        :raises requests.RequestException: no connection or no whole answer within the times of `deadlines`, or `TooLarge`.
        """
        upstream = origin(url)
        with self._bulkhead.place(upstream, person):
            return self._fetch(
                method, url, limit, repeatable or method == "GET", proxies=self._proxies_for(upstream), **kwargs
            )

    def open(self, method: str, url: str, *, person: str | None = None, **kwargs: Any) -> requests.Response:
        """Send one request, and leave the body of its answer to be read bit by bit, as long as it goes on coming.

        :param kwargs: as `fetch` takes them.
        :return: the response, to be closed by the caller. The body of a failure has been read.
        :raises Busy, requests.RequestException: as `fetch` does; so may a read.
        """
        upstream = origin(url)
        with self._bulkhead.place(upstream, person):
            response = self._begin(method, url, method == "GET", proxies=self._proxies_for(upstream), **kwargs)
            if response.status_code >= 400:
                return _read(response, BODY_BYTES)
        let_the_body_take_its_time(response)
        return response

    def _fetch(self, method: str, url: str, limit: int, repeatable: bool, **kwargs: Any) -> requests.Response:
        return _read(self._begin(method, url, repeatable, **kwargs), limit)

    def _begin(self, method: str, url: str, repeatable: bool, **kwargs: Any) -> requests.Response:
        """Send one request, and have the head of its answer."""
        kwargs |= {
            "timeout": (deadlines.CONNECT_SECONDS, deadlines.ANSWER_SECONDS),
            "allow_redirects": False,
            "stream": True,
        }
        began = time.monotonic()
        try:
            return self._send(method, url, **kwargs)
        except requests.ConnectionError as error:
            # RFC 9110, 9.2.2: a GET is safe to send again. That the server has closed an idle connection may show
            # only when the connection is used, so a first break says nothing about the server.
            soon = time.monotonic() - began < RETRY_WITHIN_SECONDS
            if not repeatable or not soon or not isinstance(error.args[0], urllib3.exceptions.ProtocolError):
                raise
            return self._send(method, url, **kwargs)

    def _send(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        try:
            response = self.request(method, url, **kwargs)
        except requests.RequestException:
            raise
        except OSError as error:  # what requests says of a REQUESTS_CA_BUNDLE that is not there
            raise requests.exceptions.SSLError(str(error)) from error
        except ValueError as error:  # a header, or a chunk's size, that is not valid
            raise requests.exceptions.InvalidHeader(str(error)) from error
        # An upstream, or a proxy, that answers one request twice leaves the second answer on the pooled connection: it must
        # not pass for the answer to somebody else's request.
        own = (kwargs.get("headers") or {}).get("client-request-id")
        if own and response.headers.get("client-request-id", own) != own:
            response.close()
            raise requests.ConnectionError(urllib3.exceptions.ProtocolError("the answer is to another request"))
        return response


def _read(response: requests.Response, limit: int) -> requests.Response:
    with response:
        body = io.BytesIO()
        for chunk in chunks(response):
            body.write(chunk)
            if body.tell() > limit:
                raise TooLarge(limit, response.status_code)
    response._content = body.getvalue()  # where requests itself keeps a body that it has read
    return response


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The body of an answer, bit by bit.

    :raises requests.RequestException: it ends too early, or takes too long.
    """
    try:
        yield from response.iter_content(65536)
    except ValueError as error:  # a chunk with a size that is no number; requests' own errors are OSErrors
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except requests.ConnectionError as error:
        # requests says ConnectionError when a body stalls, and Timeout when the headers do.
        if isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):
            raise requests.ReadTimeout(error.args[0]) from error
        raise


class JsonObject(dict[str, Any]):
    """A JSON object that came as an answer.

    :ivar url: where it came from.
    :ivar status: the HTTP status of the answer.
    :ivar seconds: how long it took to begin.
    """

    def __init__(self, members: dict[str, Any], response: requests.Response):
        super().__init__(members)
        self.url, self.status, self.seconds = response.url, response.status_code, response.elapsed.total_seconds()


def json_object(response: requests.Response, *, replace: bool = False) -> JsonObject:
    """The JSON object in the body of an answer.

    :param replace: put a question mark in the place of each lone surrogate, which JSON can spell and no page can hold.
    :raises ValueError: there is no JSON object, or one with a lone surrogate in it. The text says what there is, for a log.
    """
    answer = json_value(response, replace=replace)
    if not isinstance(answer, JsonObject):
        raise _no_json(response)
    return answer


def json_value(response: requests.Response, *, replace: bool = False) -> Any:
    """The JSON in the body of an answer: a `JsonObject`, or a list, a text, a number, True, False or None.

    :param replace: as for `json_object`.
    :raises ValueError: there is none, or it has a lone surrogate in it.
    """
    try:
        answer = json.loads(response.content)  # UTF-8 (RFC 8259, 8.1), whatever the Content-Type says
        text = json.dumps(answer, ensure_ascii=False)
        if _LONE_SURROGATE.search(text):
            if not replace:
                raise ValueError
            answer = json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise _no_json(response) from None
    return JsonObject(answer, response) if isinstance(answer, dict) else answer


def _no_json(response: requests.Response) -> ValueError:
    content_type = response.headers.get("Content-Type", "no content type")
    return ValueError(f"{response.url.partition('?')[0]} answered {response.status_code} with {content_type}")


def is_untrusted(error: BaseException | None) -> bool:
    """Whether TLS has failed because the other side's certificate is not trusted here."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def retry_after(response: requests.Response) -> int | None:
    """How many seconds the `Retry-After` of an answer asks to wait: at least 1, at most a day (RFC 9110, 10.2.3).

    :return: None when there is none, or none that can be read.
    """
    return seconds_of(response.headers.get("Retry-After", ""))


def seconds_of(value: str) -> int | None:
    """How many seconds a `Retry-After` asks to wait; see `retry_after`."""
    value = value.strip()[:100]
    try:
        if _NUMBERS.fullmatch(value):  # two that came, of which the longer counts; some services send fractions
            seconds = max(map(float, value.split(",")))
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(1, min(math.ceil(seconds), 86400))

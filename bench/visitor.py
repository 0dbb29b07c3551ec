"""A person with a browser, as far as a sign-in needs one: pages, forms, redirects and cookies."""

from __future__ import annotations

import html.parser
import re
from urllib.parse import urljoin

import requests

from bench.machine import CannotMeasure


class _Page(html.parser.HTMLParser):
    """The first form of a page that has the button, and where the page goes by itself."""

    def __init__(self, text: str, button: str):
        super().__init__()
        self.refresh = self.action = None
        self.fields: dict[str, str] = {}
        self._button, self._found = button, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            self.refresh = re.sub(r"^\s*\d+\s*;\s*url=", "", attributes["content"], flags=re.IGNORECASE)
        elif self._found:
            return
        elif tag == "form":
            self.action, self.fields = attributes.get("action", ""), {}
        elif tag == "input" and attributes.get("name"):
            self.fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "button" and attributes.get("value") == self._button:
            self.fields[attributes["name"]] = self._button
            self._found = True

    @property
    def form(self) -> tuple[str, dict[str, str]] | None:
        return (self.action, self.fields) if self._found else None


def sign_in(url: str, person: str, shows: str) -> str:
    """Sign in at the sandbox, beginning with a page that wants it.

    :param person: a key of the sandbox's people.
    :param shows: what the page has in it in the end.
    :return: the session cookie, as `name=value`.
    :raises CannotMeasure: the way does not end at that page.
    """
    with requests.Session() as browser:
        browser.trust_env = False  # no proxy on the way to loopback
        try:
            response = browser.get(url, timeout=30)
            for _ in range(5):
                if shows in response.text and response.url.partition("?")[0] == url:
                    break
                page = _Page(response.text, person)
                if page.form:
                    response = browser.post(urljoin(response.url, page.form[0]), data=page.form[1], timeout=30)
                elif page.refresh:
                    response = browser.get(page.refresh, timeout=30)
                else:
                    raise CannotMeasure(f"The sign-in at {url} ends at {response.url.partition('?')[0]}.")
        except requests.RequestException as error:
            raise CannotMeasure(f"The sign-in at {url} breaks: {type(error).__name__}.") from error
        for cookie in browser.cookies:
            if re.fullmatch(r"(__Host-)?session(-[0-9a-f]{6})?", cookie.name):
                return f"{cookie.name}={cookie.value}"
    raise CannotMeasure(f"The sign-in at {url} leaves no session cookie.")

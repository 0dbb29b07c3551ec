"""A person with a browser, as far as HTTP goes: `Visitor` keeps cookies, follows redirects and presses buttons."""

import html.parser
import re
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from configs import config_of

from flask_entra.config import of
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.session import Session
from flask_entra.signin.current_user import USER, VOUCHED_UNTIL

REDIRECTS = (302, 303)  # what Flask's redirect() answers: the first up to 3.1, the second from 3.2 on


class Page(html.parser.HTMLParser):
    """What a person finds on a page: its text, heading, list items and links, and its forms (action, fields, buttons)."""

    def __init__(self, html):
        super().__init__()
        self.text, self.heading, self.items, self.links, self.forms = "", "", [], [], []
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self._open.append(tag)
        if tag == "form":
            self.forms.append((attrs.get("action", ""), {}, []))
        elif tag == "input" and "name" in attrs and self.forms:
            self.forms[-1][1][attrs["name"]] = attrs.get("value", "")
        elif tag == "button" and "name" in attrs and self.forms:
            self.forms[-1][2].append((attrs["name"], attrs.get("value", "")))
        elif tag == "a":
            self.links.append(attrs.get("href"))
        elif tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        if "h1" in self._open:
            self.heading += data
        elif "li" in self._open:
            self.items[-1] = f"{self.items[-1]} {data.strip()}".strip()


class Visitor(requests.Session):
    """Asks `url`, which may have a path, for its pages."""

    def __init__(self, url):
        super().__init__()
        self.url, self.trust_env = url, False

    def get(self, path, **kwargs):
        """GET a path of the app, or any URL; without following redirects if `follow` is False."""
        kwargs["allow_redirects"] = kwargs.pop("follow", True)
        kwargs.setdefault("timeout", 30)
        return super().get(self.url + path if path.startswith("/") else urljoin(self.url, path), **kwargs)

    def press(self, response, value, **kwargs):
        """Press the button with a value on a page of the tenant."""
        for action, fields, buttons in Page(response.text).forms:
            for name, each in buttons:
                if each == value:
                    url = urljoin(response.url, action)
                    return self.post(url, data={**fields, name: value}, timeout=30, **kwargs)
        raise AssertionError(f"there is no button {value!r} on {response.url}: {Page(response.text).text}")

    def sign_in(self, who="adele", path="/login"):
        """From a page of the app through the tenant's pages back to the app's answer."""
        return self.go_on(self.get(path), who)

    def go_on(self, response, who="adele"):
        """Press what the tenant's pages ask for, until the app answers."""
        while not response.url.startswith(self.url):
            values = [button[1] for form in Page(response.text).forms for button in form[2]]
            response = self.press(response, who if who in values else "accept")
        return response

    def answer(self, who="adele", path="/login"):
        """Sign in at the tenant, but only return the URL at which the app would finish it."""
        response = self.get(path, follow=False)
        while not response.headers.get("Location", "").startswith(f"{self.url}/getAToken?"):
            if response.is_redirect:
                response = self.get(urljoin(response.url, response.headers["Location"]), follow=False)
            else:
                values = [button[1] for form in Page(response.text).forms for button in form[2]]
                response = self.press(response, who if who in values else "accept", allow_redirects=False)
        return response.headers["Location"]

    def press_sign_out(self):
        """Press the app's own button: a form."""
        origin = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
        return self.post(f"{self.url}/logout", headers=origin, timeout=30, allow_redirects=False)

    def sign_out(self, **kwargs):
        """Press it, and go where the page that it answers leads."""
        return self.go_where(self.press_sign_out(), **kwargs)

    def go_where(self, page, **kwargs):
        """Go where a page leads by itself, as a browser does at once."""
        return self.get(page.headers["Refresh"].removeprefix("0; url="), **kwargs)

    @property
    def signed_in(self):
        """Whether the app greets somebody."""
        return f'action="{urlsplit(self.url).path}/logout"' in self.get("/").text


def let_the_id_token_expire(app, person):
    """As if hours had passed since a person has signed in: their session, in a store of files, says so from now on."""
    store = FileStore(Path(app.settings["SESSION_FILE_DIR"]))
    (sid,) = cookies_of(person).values()
    session = Session(store, 12 * 3600, sid, owner=config_of(**app.settings).owner)
    session[VOUCHED_UNTIL] = session[USER]["exp"] = time.time() - 3600
    session.save()


def cookie_of(cookies, name="session"):
    """The one cookie of a kind in a jar."""
    (found,) = [each for each in cookies if re.fullmatch(rf"(__Host-|__Secure-)?{name}-[0-9a-f]{{6}}", each.name)]
    return found


def cookie_name(app, name="session"):
    """What an app calls a cookie that is for it alone.

    :param app: as `serve` started it, or Flask's own.
    """
    config = config_of(**app.settings) if hasattr(app, "settings") else of(app)
    prefix = "__Host-" if config.https else ""
    return f"{prefix}{name}-{config.cookie_mark}"


def cookies_of(person):
    """The session cookie of somebody who is signed in, for requests beside their browser's own."""
    cookie = cookie_of(person.cookies)
    return {cookie.name: cookie.value}

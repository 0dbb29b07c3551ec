"""People under load: some are signed in and look at their pages, in two tabs each, others sign in and out. All is counted."""

import collections
import threading
import time

import requests
from visitor import Visitor

PEOPLE = ("adele", "alex", "patti", "noor")
TABS = ("/account", "/call_graph")  # the store alone, and the store, the tenant and Graph
PAUSE_SECONDS = 0.03  # between two looks: the machine's two processors serve the crowd too
AGAIN_SECONDS = 0.5  # in which nobody presses a button for the second time
WELL = ("right", "in and out")
# A connection was cut over which nginx had just sent something that must not be done twice: a code, or a form.
AT_SECOND_TRY = "502 of nginx, well at the second try"
AT_THE_TENANT = "ended at the tenant"  # which the app has no part in
NOBODY_ELSES, SIGNED_OUT = "of another person", "signed out"


class Crowd:
    """Load, in a `with` block.

    :param url: the app's.
    :param vouches: the certificates to trust, for the app's site.
    :param names: each of `PEOPLE`, with the name that pages show.
    :ivar counted: how many requests have ended in which way, by what was happening (`phase`) and how it ended: "right",
        "in and out", a status (behind the word "sign-in" or "sign-out"), or one of the words that are constants here.
    :ivar slowest: of the looks that ended well, by what was happening and the path, in seconds.
    :ivar unexpected: a page of each such way, for whoever looks for its reason.
    """

    def __init__(self, url, vouches, names):
        self._url, self._vouches, self._names = url, vouches, names
        self.phase, self.counted, self.unexpected = "", collections.Counter(), {}
        self.slowest = {}
        self._stop, self._threads, self._last, self._unwell = threading.Event(), [], {}, {}

    def __enter__(self):
        for who in PEOPLE:
            person = self._visitor()
            assert person.sign_in(who, "/call_graph").status_code == 200
            for path in TABS:
                tab = self._visitor()
                tab.cookies.update(person.cookies)
                self._begin(f"{who} at {path}", self._look, tab, who, path)
        for who in PEOPLE[:2]:
            self._begin(f"sign-ins of {who}", self._sign_in_and_out, who)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def settle(self, seconds=20):
        """Wait until everybody has begun and ended a request, and it was a good one."""
        seen = {name: number for name, (number, *_) in list(self._last.items())}

        def unwell():
            last = {thread.name: self._last.get(thread.name, (0, "", "")) for thread in self._threads}
            return {
                name: (how, text[-1000:])
                for name, (number, how, text) in last.items()
                if number < seen.get(name, 0) + 2 or how not in WELL
            }

        deadline = time.monotonic() + seconds
        while found := unwell():
            assert time.monotonic() < deadline, f"{self.phase}: {seconds} s later, not all is well: {found}"
            time.sleep(0.05)

    def ends(self):
        """How many requests have ended in which way in the present phase, and for how many seconds some have failed."""
        ends = {how: number for (phase, how), number in list(self.counted.items()) if phase == self.phase}
        first, last = self._unwell.get(self.phase, (0, 0))
        return ends, round(last - first, 1)

    def _visitor(self):
        person = Visitor(self._url)
        person.verify = self._vouches
        return person

    def _begin(self, name, act, *arguments):
        thread = threading.Thread(target=self._again_and_again, args=(name, act, *arguments), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _again_and_again(self, name, act, *arguments):
        number = 0
        while not self._stop.is_set():
            how, text = act(*arguments)
            number += 1
            self._last[name] = number, how, text
            self.counted[self.phase, how] += 1
            if how not in (*WELL, AT_SECOND_TRY):
                first, _ = self._unwell.setdefault(self.phase, (time.monotonic(), None))
                self._unwell[self.phase] = first, time.monotonic()
            if how not in WELL:
                self.unexpected.setdefault((self.phase, how), text)
            time.sleep(PAUSE_SECONDS)

    def _look(self, tab, who, path):
        phase, began = self.phase, time.monotonic()
        try:
            page = tab.get(path, follow=False)
        except requests.RequestException as error:
            return "cut", repr(error)
        if (how := self._how(page, who, "right")) in WELL:
            self.slowest[phase, path] = max(time.monotonic() - began, self.slowest.get((phase, path), 0))
        return how, page.text

    def _sign_in_and_out(self, who):
        person = self._visitor()
        try:
            page = person.get("/account")
            if page.url.startswith(self._url):  # no tenant's page: the sign-in could not even begin
                return "sign-in " + self._how(page, who, "right"), page.text
            page = person.go_on(page, who)
            how = self._how(page, who, "signed in")
            if how == "502 of nginx":
                return self._sign_in_again(person, page, who)
            if how != "signed in":
                return how if how == NOBODY_ELSES else f"sign-in {how}", page.text
            if self._how(person.get("/account", follow=False), who, "") == SIGNED_OUT:
                return "signed in, and then not", page.text
            page = person.press_sign_out()
            if how_out := self._how_out(page):
                if how_out == "502 of nginx":
                    time.sleep(AGAIN_SECONDS)
                    how_out = self._how_out(person.press_sign_out())
                return f"sign-out {how_out}" if how_out else AT_SECOND_TRY, page.text
        except requests.TooManyRedirects as error:
            return "sign-in in a circle", repr(error)
        except requests.RequestException as error:
            at = getattr(error.request, "url", self._url)
            return "sign-in cut" if at.startswith(self._url) else AT_THE_TENANT, repr(error)
        return "in and out", page.text

    def _sign_in_again(self, person, page, who):
        time.sleep(AGAIN_SECONDS)
        again = person.get(page.url)  # a reload, which finds the code redeemed, or not
        if again.status_code == 400:
            again = person.sign_in(who, "/account")
        how = self._how(again, who, "")
        return f"sign-in 502 of nginx, then {how}" if how else AT_SECOND_TRY, again.text

    def _how_out(self, page):
        """How the form of the sign-out has ended; nothing if it has led away."""
        return "" if "Refresh" in page.headers else self._status(page)

    def _how(self, page, who, well):
        if any(name in page.text for other, name in self._names.items() if other != who):
            return NOBODY_ELSES
        if page.status_code == 200 and self._names[who] in page.text:
            return well
        if page.status_code in (200, 302, 303, 401):
            return SIGNED_OUT
        return self._status(page)

    @staticmethod
    def _status(page):
        if page.status_code == 503 and "Retry-After" not in page.headers:
            return "503 that does not say when to come back"
        return f"{page.status_code} of nginx" if "X-Request-ID" not in page.headers else str(page.status_code)

"""People who are signed in, and people who sign in, while what the app stands on fails.

Two processes of the app behind the project's nginx.conf, their sessions behind a Sentinel. Nobody gets another person's answer,
nobody is signed out, and no sign-in fails but one whose connection was cut. `pytest tests/chaos.py -n 0` begins it, as
`.ci/run all` does; it takes about a minute.
"""

import collections
import threading
import time

import pytest
import requests
from programs import needs, posix, until
from redis_servers import Watched
from test_deploy import behind_nginx as behind_nginx  # fixtures
from test_deploy import gunicorn as gunicorn
from test_deploy import nginx as nginx
from test_deploy import visitor

pytestmark = [posix, pytest.mark.timeout(180)]
PEOPLE = {"adele": "Adèle Vance", "alex": "Alex Wilber", "patti": "Patti Fernandez", "noor": None}
HANGS, HANG_SECONDS, BETWEEN_SECONDS = 6, 2.2, 2


class Load:
    """What everybody gets, counted: each answer of a person's own page, and each sign-in."""

    def __init__(self, url, vouches, box):
        self.url, self.vouches, self.box = url, vouches, box
        self.answers, self.odd, self._stop, self._threads = collections.Counter(), [], threading.Event(), []

    def look(self, person, name):
        session = requests.Session()
        session.verify, session.trust_env = self.vouches, False
        session.cookies.update(person.cookies)
        while not self._stop.is_set():
            try:
                page = session.get(f"{self.url}/account", timeout=20, allow_redirects=False)
            except requests.RequestException as error:
                self.note("cut", type(error).__name__)
                continue
            others = [other for other in self.names.values() if other != name and other in page.text]
            if others:
                self.note("of another person", page.text)
            elif page.status_code == 200 and name in page.text:
                self.answers["right"] += 1
            elif page.status_code in (302, 303, 401):
                self.note("signed out", page.headers.get("Location", ""))
            elif page.status_code == 503 and "seconds" in page.text:
                self.answers["503, come back"] += 1
            else:
                self.note(f"{page.status_code}", page.text)

    def sign_in(self, who):
        while not self._stop.is_set():
            person = visitor(self.url, self.vouches)
            try:
                page = person.sign_in(who, "/account")
                # A process that stops may close a connection over which nginx has just sent the code. nginx cannot know whether
                # it was redeemed, and does not send it again; the person can.
                if page.status_code == 502 and "nginx" in page.text:
                    self.answers["sign-in cut"] += 1
                    page = person.get(page.url)
            except requests.RequestException as error:
                self.note("sign-in cut", type(error).__name__)
                continue
            if page.status_code == 200 and self.names[who] in page.text:
                self.answers["sign-in"] += 1
            else:
                self.note(f"sign-in {page.status_code}", page.text)

    def note(self, what, text):
        self.answers[what] += 1
        self.odd.append((what, text[-1500:]))

    def __enter__(self):
        self.names = {who: self.box.person(who).name for who in PEOPLE}
        return self

    def begin(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self._threads.append(thread)

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def watched(tmp_path):
    needs("redis-server")
    servers = Watched(tmp_path / "redis", down_after=20_000)  # a hang is no death
    yield servers
    servers.stop()


@pytest.fixture
def apps(nginx, gunicorn, watched, box):
    url, ports, vouches = nginx
    settings = {"REDIRECT_URI": f"{url}/getAToken", "TRUSTED_PROXY_COUNT": "1", "REDIS_URL": watched.url}
    return url, [gunicorn(port=port, **settings) for port in ports], vouches


def with_settings(app, **settings):
    """Restart a process with other settings, as a reload with a changed environment does."""
    app.stop()
    app.settings.update(settings)
    app.settings = {name: value for name, value in app.settings.items() if value is not None}
    app.start()


def test_nobody_is_signed_out_and_nobody_gets_anothers_answer(apps, watched, box):
    url, processes, vouches = apps
    box.access_token_lifetime = 5  # so that tokens are refreshed all the time
    with Load(url, vouches, box) as load:
        for who, name in load.names.items():
            for _ in range(4):
                person = visitor(url, vouches)
                assert person.sign_in(who).status_code == 200
                load.begin(load.look, person, name)
        for _ in range(HANGS):  # the master of the Sentinel hangs
            time.sleep(BETWEEN_SECONDS)
            watched.master.pause()
            time.sleep(HANG_SECONDS)
            watched.master.go_on()
        time.sleep(BETWEEN_SECONDS)
        until(lambda: visitor(url, vouches).get("/").status_code == 200)
        for who in ("adele", "alex"):  # and from here on, people sign in too
            load.begin(load.sign_in, who)
        processes[0].stop()  # one of two processes is down
        time.sleep(4)
        processes[0].start()
        old, new = box.client_secret, "the-new-secret-of-the-chaos-test"  # the documented steps for a new secret
        box.second_client_secret = new
        for step in (
            {"CLIENT_CREDENTIAL_FALLBACKS": new},
            {"CLIENT_SECRET": new, "CLIENT_CREDENTIAL_FALLBACKS": old},
            {"CLIENT_CREDENTIAL_FALLBACKS": None},
        ):
            for process in processes:
                with_settings(process, **step)
            time.sleep(1)
    print(dict(load.answers))
    assert load.answers["right"] > 500
    assert load.answers["sign-in"] > 20
    assert load.answers["503, come back"] > 0  # while Redis hangs
    expected = {"right", "sign-in", "503, come back", "cut", "sign-in cut"}
    assert {what: text for what, text in load.odd if what not in expected} == {}

"""Whatever fails under people who are signed in and people who sign in: nobody gets another person's answer or is signed out.

Two servers of the app behind the project's nginx.conf, their sessions in a Redis that Sentinel watches. What fails has the names
of the table in docs/operate.md, *When something fails*: a request that ends in a way which is not there fails the test.
`pytest tests/chaos.py -n 0` begins it, as `.ci/run all` does; it takes at most three minutes. It needs the project's git
repository, for the version before: in the folder of this project, or where REPOSITORY says. OLD_VERSION names another revision.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from certificates import as_pem, make_certificate
from conftest import ROOT
from crowd import AT_SECOND_TRY, AT_THE_TENANT, PEOPLE, Crowd
from cryptography.hazmat.primitives.serialization import Encoding
from jwt import get_unverified_header
from programs import gunicorn_command, needs, posix, until
from redis_servers import HOST, Watched
from test_deploy import answer_of, children
from test_deploy import nginx as nginx  # a fixture

from flask_entra.sessions.redis_pools import MASTER_SECONDS
from sandbox.faults import Answer, Close, Delay, Hold

SECONDS = 180
OLD_VERSION = "99e593c"  # the first with the present name of the session cookie; with the first release, its tag
pytestmark = [posix, pytest.mark.timeout(SECONDS + 120)]
OLD_KEY, NEW_KEY = "the-first-key-of-the-chaos-test", "the-second-key-of-the-chaos-test"
WAITING_SECONDS = 1.5  # that pages wait for Graph while servers are replaced, so that some are always under way
MOMENTS = {"": 1, "a moment": 1, "under 1 s": 2, "3 s": 8}  # what a slow machine may make of a documented time
ENDPOINTS = ("discovery", "keys", "token", "authorize")


def documented():
    """The table of docs/operate.md: by what happens, how requests may end besides well, and for how many seconds they do.

    The requests are for pages, and of people who sign in and out. The time is None if it is as long as what happens.
    """
    page = (ROOT / "docs" / "operate.md").read_text()
    section = page.split("\n## When something fails\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]*?) ?\|.*\|$", section, re.MULTILINE)[1:]
    found = {}
    for what, pages, ins_and_outs, seconds in rows:
        kinds = [("", pages), ("sign-in ", ins_and_outs), ("sign-out ", ins_and_outs)]
        seen = [(kind, *each) for kind, cell in kinds for each in re.findall(r"`(\d{3})`( of nginx)?", cell)]
        found[what] = {AT_SECOND_TRY if nginx else kind + status for kind, status, nginx in seen}, MOMENTS.get(seconds)
    return found


@pytest.fixture
def old(tmp_path):
    """The app as it was in another version."""
    git = ["git", "-C", os.environ.get("REPOSITORY", str(ROOT))]
    archive = subprocess.check_output([*git, "archive", os.environ.get("OLD_VERSION") or OLD_VERSION])
    (tmp_path / "old").mkdir()
    subprocess.run(["tar", "-x", "-C", str(tmp_path / "old")], input=archive, check=True)
    return tmp_path / "old"


@pytest.fixture
def redis(tmp_path):
    needs("redis-server")
    servers = Watched(tmp_path / "redis", "--appendonly", "yes", down_after=2000)
    yield servers
    servers.stop()


class Operator:
    """What somebody does who runs the app: each method is a way in which something fails, or is replaced by the documents."""

    def __init__(self, servers, redis, box, crowd, folder):
        self.servers, self.redis, self.box, self.crowd, self.folder = servers, redis, box, crowd, folder
        self.master, self.replica = redis.master, redis.replica

    # --- The app ------------------------------------------------------------------------------------------------------

    def a_reload(self):
        with self._pages_under_way():
            for server in self.servers:
                before = children(server.process.pid)
                server.process.send_signal(signal.SIGHUP)
                until(lambda server=server, before=before: not before & children(server.process.pid))
                self._await_ready(server)

    def a_killed_process(self):
        first, second = self.servers
        os.kill(min(children(first.process.pid)), signal.SIGKILL)  # one that serves: gunicorn begins another
        time.sleep(2)
        assert len(children(first.process.pid)) == 2
        second.end()  # all of the second server
        time.sleep(2)
        second.start()

    def an_upgrade(self, folder, **settings):
        for server in self.servers:
            with self._pages_under_way():
                server.stop()
                server.cwd = folder
                server.settings = {k: v for k, v in {**server.settings, **settings}.items() if v is not None}
                server.start()
                self._await_ready(server)
            self.crowd.settle()  # both versions serve everybody

    @contextlib.contextmanager
    def _pages_under_way(self):
        self.box.misbehave("me", Delay(WAITING_SECONDS), times=None)
        yield
        self.box.behave()

    @staticmethod
    def _await_ready(server):
        until(lambda: answer_of(server, "/readyz").status_code == 200)

    # --- Redis --------------------------------------------------------------------------------------------------------

    def redis_restarts(self):
        self.master.stop()
        self.master.start()
        until(lambda: self.replica.role == "slave")
        assert self.master.role == "master"

    def redis_dies(self):
        self.master.await_replica()
        self.master.stop(signal.SIGKILL)
        dead, other = self.master, self.replica

        def come_back():
            dead.start()
            dead.client().replicaof(HOST, other.port)  # as Sentinel tells it too, some ten seconds later

        self._fail_over(come_back)

    def redis_hangs(self):
        self.master.pause()
        self._fail_over(self.master.go_on)

    def _fail_over(self, come_back):
        until(lambda: self.redis.names(self.replica))
        time.sleep(MASTER_SECONDS)  # until then, somebody may write to the former one, as the documents say
        self.crowd.settle()
        come_back()
        self.master, self.replica = self.replica, self.master
        until(lambda: self.replica.role == "slave")

    def a_full_disk(self):
        self.master.fill_disk()
        full = self.master
        self._fail_over(lambda: full.fill_disk(False))

    # --- What the app asks ----------------------------------------------------------------------------------------------

    def graph_hangs(self):
        held = Hold()
        self.box.misbehave("me", held, times=None)
        held.wait(len(PEOPLE))
        time.sleep(8)
        self.box.behave()
        held.release()

    def the_tenant_answers_429(self):
        self._tenant(["token"], Answer(429, {"error": "temporarily_unavailable"}, {"Retry-After": "2"}))

    def the_tenant_is_down(self):
        self._tenant(ENDPOINTS, Close())

    def _tenant(self, endpoints, fault):
        for endpoint in endpoints:
            self.box.misbehave(endpoint, fault, times=None)
        time.sleep(4)
        self.box.behave()

    # --- What is replaced ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _all_have_seen(self, setting):
        """Wait until each process has read a file again that is replaced in the block."""
        line = f"{setting}: the file has changed, and is used from now on"
        before = [server.log().count(line) for server in self.servers]
        yield
        for server, number in zip(self.servers, before, strict=True):
            until(lambda server=server, number=number: server.log().count(line) == number + 2)

    def write(self, name, text):
        """Put a file in the place of another one, as the documents say."""
        path = self.folder / name
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)
        return str(path)

    def a_secret_in_a_file(self):
        box, new = self.box, "the-new-secret-of-the-chaos-test"
        box.second_client_secret = new
        with self._all_have_seen("CLIENT_SECRET_FILE"):
            self.write("secret", new)
        box.client_secret, box.second_client_secret = new, None

    def a_key_in_a_file(self):
        for lines in ((OLD_KEY, NEW_KEY), (NEW_KEY, OLD_KEY), (NEW_KEY,)):
            with self._all_have_seen("SECRET_KEY_FILE"):
                self.write("key", "\n".join(lines))

    def a_secret_by_a_certificate(self):
        self.certificate = self._certificate("first")
        (self.folder / "new" / ".env").write_text(f"CLIENT_CERTIFICATE_PATH={self.certificate}\n")
        self.a_reload()
        self.box.client_secret = "no longer valid"

    def a_certificate_in_a_file(self):
        first = Path(self.certificate).read_text()
        with self._all_have_seen("CLIENT_CERTIFICATE_PATH"):
            self._certificate("second")
        _, _, second, _ = self.box.registration.certificates  # by SHA-256 and by SHA-1 of each
        until(lambda: self._certificates_used() == {second})
        self.box.remove_certificate(first)

    def _certificates_used(self):
        signed = [each.form["client_assertion"] for each in self.box.seen("token")[-8:]]
        return {get_unverified_header(assertion)["x5t#S256"].rstrip("=") for assertion in signed}

    def _certificate(self, owner):
        key, certificate = make_certificate(owner=owner)
        self.box.register_certificate(certificate.public_bytes(Encoding.PEM).decode())
        return self.write("app.pem", as_pem(key, certificate).decode())


def test_nobody_is_signed_out_and_nobody_gets_anothers_answer(nginx, serve, redis, box, old, copy, tmp_path):
    began = time.monotonic()
    url, ports, vouches = nginx
    new = tmp_path / "new"
    shutil.move(copy, new)
    settings = {
        "REDIRECT_URI": f"{url}/getAToken",
        "TRUSTED_PROXY_COUNT": "1",
        "REDIS_URL": redis.url,
        "SECRET_KEY": OLD_KEY,
        "FLASK_SKIP_DOTENV": "",
    }
    servers = [serve(command=gunicorn_command(port), port=port, cwd=old, **settings) for port in ports]
    box.access_token_lifetime = 3  # so that tokens are renewed all the time
    with Crowd(url, vouches, {who: box.person(who).name for who in PEOPLE}) as crowd:
        operator = Operator(servers, redis, box, crowd, tmp_path)
        (new / ".env").write_text(f"CLIENT_SECRET_FILE={operator.write('secret', box.client_secret)}\n")
        files = {"SECRET_KEY": None, "SECRET_KEY_FILE": operator.write("key", OLD_KEY), "CLIENT_SECRET": None}
        happens = {
            "nothing": lambda: time.sleep(3),
            "an upgrade": lambda: operator.an_upgrade(new, **files),
            "a reload (`HUP`)": operator.a_reload,
            "a process is killed": operator.a_killed_process,
            "Redis restarts": operator.redis_restarts,
            "Redis dies": operator.redis_dies,
            "Redis hangs": operator.redis_hangs,
            "Redis cannot write": operator.a_full_disk,
            "Graph hangs": operator.graph_hangs,
            "Entra answers 429": operator.the_tenant_answers_429,
            "Entra is down": operator.the_tenant_is_down,
            "a secret is replaced": operator.a_secret_in_a_file,
            "a key is replaced": operator.a_key_in_a_file,
            "a certificate takes the place of a secret": operator.a_secret_by_a_certificate,
            "a certificate is replaced": operator.a_certificate_in_a_file,
            "a roll-back": lambda: operator.an_upgrade(
                old, SECRET_KEY=NEW_KEY, SECRET_KEY_FILE=None, CLIENT_CERTIFICATE_PATH=operator.certificate
            ),
        }
        lasted = {}
        for what, it_happens in happens.items():
            crowd.phase = what
            it_happens()
            crowd.settle()
            ends, lasted[what] = crowd.ends()
            print(
                f"{time.monotonic() - began:4.0f} s {what:45} {ends}, {lasted[what]} s", flush=True
            )  # for docs/operate.md
    expected = documented()
    assert expected.keys() == happens.keys() - {"nothing"}
    known = {(what, how) for what, (ways, _) in expected.items() for how in ways} | {("Entra is down", AT_THE_TENANT)}
    odd = {each: text for each, text in crowd.unexpected.items() if each not in known}
    assert not odd
    for what in (
        "Redis dies",
        "Redis hangs",
        "Redis cannot write",
        "Graph hangs",
        "Entra answers 429",
        "Entra is down",
    ):
        ways, _ = expected[what]
        assert any(phase == what and how in ways for phase, how in crowd.counted), f"{what}: nobody has noticed"
    at_second_try = {what: crowd.counted[what, AT_SECOND_TRY] for what in happens}
    # Two people sign in; two servers of the old version are stopped in the first, two are killed in the second.
    most = {"an upgrade": 4, "a process is killed": 4}
    assert {what: number for what, number in at_second_try.items() if number > most.get(what, 1)} == {}
    for what, (_, seconds) in expected.items():
        assert seconds is None or lasted[what] <= seconds, what
    assert crowd.slowest["Graph hangs", "/account"] < 3  # of the seven seconds that the others wait for Graph
    assert time.monotonic() - began < SECONDS

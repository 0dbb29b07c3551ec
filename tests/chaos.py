"""Whatever fails under people who are signed in and people who sign in: nobody gets another person's answer or is signed out.

Two servers of the app behind the project's nginx.conf, their sessions in a Redis that Sentinel watches. What fails has the names
of the table in docs/operate.md, *When something fails*: a request that ends in a way which is not there fails the test.
`pytest tests/chaos.py -n 0` begins it, as `.ci/run all` does; it takes at most three minutes. It needs the project's git
repository, for the version before: in the folder of this project, or where REPOSITORY says. OLD_VERSION names another revision.
"""

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
from redis_servers import Watched
from test_deploy import answer_of, children
from test_deploy import nginx as nginx  # a fixture

from sandbox.faults import Answer, Close, Hold

SECONDS = 180
OLD_VERSION = "99e593c"  # the first with the present name of the session cookie; with the first release, its tag
pytestmark = [posix, pytest.mark.timeout(SECONDS + 120)]
OLD_KEY, NEW_KEY = "the-first-key-of-the-chaos-test", "the-second-key-of-the-chaos-test"
SEEN_SECONDS = 4  # until a file that has changed is used: it is looked at each second, and not used while it is new
ENDPOINTS = ("discovery", "keys", "token", "authorize")


def documented():
    """The table of docs/operate.md: by what happens, how requests of pages and sign-ins may end besides well."""
    page = (ROOT / "docs" / "operate.md").read_text()
    section = page.split("\n## When something fails\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|.*\|$", section, re.MULTILINE)[1:]
    found = {}
    for what, *cells in rows:
        seen = [
            (before, *each)
            for before, cell in zip(("", "sign-in "), cells, strict=True)
            for each in re.findall(r"`(\d{3})`( of nginx)?", cell)
        ]
        found[what] = {AT_SECOND_TRY if nginx else before + status for before, status, nginx in seen}
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
        self.servers, self.box, self.crowd, self.folder = servers, box, crowd, folder
        self.master, self.replica = redis.master, redis.replica

    # --- The app ------------------------------------------------------------------------------------------------------

    def a_reload(self):
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
            server.stop()
            server.cwd = folder
            server.settings = {k: v for k, v in {**server.settings, **settings}.items() if v is not None}
            server.start()
            self._await_ready(server)
            self.crowd.settle()  # both versions serve everybody

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
        self._fail_over(self.master.start)

    def redis_hangs(self):
        self.master.pause()
        self._fail_over(self.master.go_on)

    def _fail_over(self, come_back):
        until(lambda: self.replica.role == "master")
        self.crowd.settle()
        come_back()
        self.master, self.replica = self.replica, self.master
        until(lambda: self.replica.role == "slave")

    def a_full_disk(self):
        self.master.fill_disk()
        until(lambda: self.master.client().info("persistence")["aof_last_write_status"] == "err")
        time.sleep(5)
        self.master.fill_disk(False)

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
        time.sleep(6)
        self.box.behave()

    # --- What is replaced ---------------------------------------------------------------------------------------------

    def write(self, name, text):
        """Put a file in the place of another one, as the documents say."""
        path = self.folder / name
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)
        return str(path)

    def a_secret_in_a_file(self):
        box, new = self.box, "the-new-secret-of-the-chaos-test"
        box.second_client_secret = new
        self.write("secret", new)
        time.sleep(SEEN_SECONDS)
        box.client_secret, box.second_client_secret = new, None

    def a_key_in_a_file(self):
        for lines in ((OLD_KEY, NEW_KEY), (NEW_KEY, OLD_KEY), (NEW_KEY,)):
            self.write("key", "\n".join(lines))
            time.sleep(SEEN_SECONDS)

    def a_secret_by_a_certificate(self):
        self.certificate = self._certificate("first")
        (self.folder / "new" / ".env").write_text(f"CLIENT_CERTIFICATE_PATH={self.certificate}\n")
        self.a_reload()
        self.box.client_secret = "no longer valid"

    def a_certificate_in_a_file(self):
        first = Path(self.certificate).read_text()
        self._certificate("second")
        time.sleep(SEEN_SECONDS)
        _, _, second, _ = self.box.registration.certificates  # by SHA-256 and by SHA-1 of each
        (used,) = {
            get_unverified_header(each.form["client_assertion"])["x5t#S256"] for each in self.box.seen("token")[-3:]
        }
        assert used.rstrip("=") == second
        self.box.remove_certificate(first)

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
    box.access_token_lifetime = 5  # so that tokens are renewed all the time
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
        for what, it_happens in happens.items():
            crowd.phase = what
            it_happens()
            crowd.settle()
            print(f"{time.monotonic() - began:4.0f} s {what:45} {crowd.ends()}", flush=True)  # for docs/operate.md
    expected = documented()
    assert expected.keys() == happens.keys() - {"nothing"}
    known = {(what, how) for what in expected for how in expected[what]} | {("Entra is down", AT_THE_TENANT)}
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
        assert any(phase == what and how in expected[what] for phase, how in crowd.counted), (
            f"{what}: nobody has noticed"
        )
    assert max((number for (_, how), number in crowd.counted.items() if how == AT_SECOND_TRY), default=0) <= 2
    assert time.monotonic() - began < SECONDS

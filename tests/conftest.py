"""The tests' fixtures: `box` (a tenant and a Graph), `serve` (the app, as a process) and `person` (who visits it).

`fake_provider.py` has two more: `provider`, and `visit` (the app in this process).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from programs import free_port, needs
from redis_servers import Redis
from visitor import Visitor

from app_config import SETTINGS
from sandbox import Sandbox

pytest_plugins = ["fake_provider"]
ROOT = Path(__file__).parent.parent
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def bare_environment():
    """This process's environment without anything that the app reads."""
    left_out = {*SETTINGS, *NETWORK, "FLASK_APP", "FLASK_DEBUG"}
    return {name: value for name, value in os.environ.items() if name.upper() not in left_out} | {
        "FLASK_SKIP_DOTENV": "1",
        "LC_ALL": "C.UTF-8",  # the doctor speaks the terminal's language
    }


def records(folder):
    """The files of stored sessions in a folder of the store's."""
    return [path for path in folder.iterdir() if path.is_file() and path.name != "MADE-BY-THE-APP"]


class Served:
    """The app, running as a process of its own. `url` is where; `log()` what it has logged; `settings` what it was told."""

    def __init__(self, settings, folder, command=None, port=None, cwd=ROOT, flask_app=None):
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.folder, self.cwd = folder, cwd
        self.settings = {
            "REDIRECT_URI": f"{self.url}/getAToken",
            "SESSION_FILE_DIR": str(folder / "sessions"),
            **settings,
        }
        self._command = command or [
            sys.executable,
            "-m",
            "flask",
            *(["--app", str(flask_app)] if flask_app else []),
            "run",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self._log = folder / f"log-{self.port}.txt"
        self.start()

    def start(self):
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.cwd, env=bare_environment() | self.settings, stdout=log, stderr=log
            )
        for _ in range(300):
            try:
                requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5)
                assert self.process.poll() is None, f"another process listens at {self.port}\n{self.log()}"
                return
            except requests.ConnectionError:
                assert self.process.poll() is None, self.log()
                time.sleep(0.05)
        raise AssertionError(self.log())

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(40)

    def log(self):
        return self._log.read_text(errors="replace")

    @property
    def session_folder(self):
        """The folder that the store made for the stored sessions."""
        return self.folder / "sessions" / "sealed-sessions"

    def break_store(self):
        """Make the store of files unusable."""
        shutil.rmtree(self.session_folder)
        self.session_folder.write_text("in the way")

    @property
    def sessions(self):
        """The stored sessions' files."""
        return records(self.session_folder)


@pytest.fixture(scope="session")
def shared_box():
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def shared_app(shared_box, tmp_path_factory):
    app = Served(shared_box.settings, tmp_path_factory.mktemp("app"))
    yield app
    app.stop()


@pytest.fixture
def box(shared_box, shared_app):
    """A tenant and a Graph, as they are at start."""
    shared_box.reset()
    shared_box.redirect_uris.add(shared_app.settings["REDIRECT_URI"])
    yield shared_box
    shared_box.reset()


@pytest.fixture
def app(shared_app, box):
    """The app as most people run it: on the sandbox, with files for its sessions."""
    return shared_app


@pytest.fixture
def serve(box, tmp_path):
    """Start another app, with other settings."""
    started = []

    def start(**settings):
        options = {name: settings.pop(name) for name in ("command", "port", "cwd", "flask_app") if name in settings}
        settings = {name: value for name, value in {**box.settings, **settings}.items() if value is not None}
        started.append(Served(settings, tmp_path, **options))
        box.redirect_uris.add(started[-1].settings["REDIRECT_URI"])
        return started[-1]

    yield start
    for each in started:  # all at once: gunicorn takes two seconds to stop
        each.process.send_signal(signal.SIGINT)
    for each in started:
        each.stop()


@pytest.fixture
def redis_server(tmp_path):
    """A real Redis."""
    needs("redis-server")
    server = Redis(tmp_path / "redis", "--appendonly", "yes")
    yield server
    server.stop()


@pytest.fixture
def person(app):
    """Somebody with a browser, who has not been here before."""
    return Visitor(app.url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the app logged beside a failure. In CI, what could not be tried has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    if report.failed:
        for app in {value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Served)}:
            report.sections.append(("what the app logged", app.log()[-4000:]))
    return report

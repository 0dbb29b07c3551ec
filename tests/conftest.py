"""The tests' fixtures: `box` (a tenant and a Graph), `serve` (the app, as a process) and `person` (who visits it).

`fake_provider.py` has two more: `provider`, and `visit` (the app in this process). `run_doctor.py` has `run_doctor`.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from forked import POSSIBLE, Forked
from programs import free_port, needs
from programs import pytest_report_header as pytest_report_header  # a hook
from reached import pytest_configure as pytest_configure  # a hook
from redis_servers import Redis
from visitor import Visitor

from flask_entra.settings import SETTINGS
from sandbox import Sandbox

pytest_plugins = ["fake_provider", "run_doctor"]
ROOT = Path(__file__).parent.parent
AT_LEAST = 4400  # tests: raise it when there are more
# What Python warns of in a process of the app ends it, or is a 500. gunicorn's workers end with sockets that are open.
WARNINGS = "error,ignore::ResourceWarning"
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


if sys.platform != "win32":
    # A shell starts what runs in the background with these ignored, and tests send them to apps, which inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


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
    """The app, running as a process of its own. `url` is where; `log()` what it has logged; `settings` what it was told.

    A traceback in the log fails the test that is running; `expected` stands in those that are made on purpose.
    """

    running = []

    def __init__(self, settings, folder, command=None, port=None, cwd=ROOT, flask_app=None, expected=None):
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.folder, self.cwd = folder, cwd
        self.settings = {
            "REDIRECT_URI": f"{self.url}/getAToken",
            "SESSION_FILE_DIR": str(folder / "sessions"),
            **settings,
        }
        flask = [*(["--app", str(flask_app)] if flask_app else []), "run", "--host", "127.0.0.1"]
        self._command = command or [sys.executable, "-m", "flask", *flask, "--port", str(self.port)]
        self._log, self._read, self._expected = folder / f"log-{self.port}.txt", 0, expected
        self.running.append(self)
        self.start()

    def start(self):
        environment = bare_environment() | {"PYTHONWARNINGS": WARNINGS} | self.settings
        # What Python itself reads from the environment, it reads when it starts.
        forked = (
            POSSIBLE
            and self._command[:2] == [sys.executable, "-m"]
            and not any(name.startswith("PYTHON") for name in self.settings)
        )
        with self._log.open("ab") as log:
            if forked:
                self.process = Forked(self._command[2:], self.cwd, environment, self._log)
            else:
                self.process = subprocess.Popen(
                    self._command, cwd=self.cwd, env=environment, stdout=log, stderr=log, start_new_session=True
                )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5)
                assert self.process.poll() is None, f"another process listens at {self.port}\n{self.log()}"
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self.process.poll() is None, self.log()
                time.sleep(0.02)
        raise AssertionError(self.log())

    def stop(self, how=signal.SIGTERM):
        """Stop it, as whoever runs it would. It may be started again."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(40)

    def end(self):
        """Be done with it, and with its workers. (gunicorn lets browsers go on for two seconds when it is stopped.)"""
        if sys.platform == "win32":
            self.stop()
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(40)

    def tracebacks(self):
        """The unexpected ones in what has been logged since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
            self._read += len(new)
        found = new.decode(errors="replace").split("Traceback (most recent call last)")[1:]
        return [each for each in found if not (self._expected and self._expected in each)]

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
    app.end()


def hurried(box, folder):
    """The app, with a fraction of its deadlines for the tenant and for Graph."""
    port = free_port()
    command = [sys.executable, "-m", "tests.hurried", "flask", "run", "--port", str(port)]
    app = Served(box.settings, folder, command, port)
    box.redirect_uris.add(app.settings["REDIRECT_URI"])
    return app


@pytest.fixture(autouse=True)
def no_traceback():
    """A traceback in the log of any app fails the test during which it was written."""
    yield
    found = [each for app in Served.running for each in app.tracebacks()]
    Served.running[:] = [app for app in Served.running if app.process.poll() is None]
    assert not found, "\n".join(found)


@pytest.fixture(scope="module", autouse=True)
def own_logging():
    """An app in this process may configure logging; the next file of tests begins as the first."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


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
        names = ("command", "port", "cwd", "flask_app", "expected")
        options = {name: settings.pop(name) for name in names if name in settings}
        settings = {name: value for name, value in {**box.settings, **settings}.items() if value is not None}
        started.append(Served(settings, tmp_path, **options))
        box.redirect_uris.add(started[-1].settings["REDIRECT_URI"])
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def copy(tmp_path):
    """A copy of the app in a folder of its own, for a `.env` beside it."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "tests", "sandbox", "bench", "docs", "flask_session", ".env", "__pycache__"
    )
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="session")
def launch():
    """Start the machine's own Chromium, as Playwright has it, with options."""
    from playwright.sync_api import sync_playwright  # here, because most processes of tests have no use for it

    path = needs("chromium")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    # Without a graphics card, Chromium would compute one; and a process for each context is half of what a test costs.
    quiet += ["--disable-gpu", "--disable-gpu-rasterization", "--renderer-process-limit=1"]
    with sync_playwright() as playwright:  # once in a process: there cannot be two
        yield lambda *options: playwright.chromium.launch(
            executable_path=path, args=[*quiet, *options], chromium_sandbox=False
        )


@pytest.fixture(scope="session")
def browser(launch):
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def shared_staff(shared_box, tmp_path_factory):
    settings = {**shared_box.settings, "ORDERS_URL": shared_box.orders_url, "ORDERS_SCOPE": shared_box.orders_scope}
    app = Served(settings, tmp_path_factory.mktemp("staff"), flask_app=ROOT / "tests" / "own_app")
    yield app
    app.end()


@pytest.fixture
def staff(shared_staff, box):
    """tests/own_app, for tests that leave it as it is."""
    box.redirect_uris.add(shared_staff.settings["REDIRECT_URI"])
    return shared_staff


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


@pytest.hookimpl(wrapper=True)  # around pytest-xdist, which reads the groups
def pytest_collection_modifyitems(config, items):
    """Let one process of tests open a page in browsers for all that is tried with it, and begin with the longest tests."""
    for item in items:
        if "shown" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(item.callspec.params["shown"].__name__))
    yield
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """In CI, a whole file that could not be tried has failed."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """In CI, a run of all tests in which fewer than there are have passed is a failure, whatever the reason."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    everything = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if os.environ.get("CI") and everything and reporter and not hasattr(config, "workerinput"):
        passed = len(reporter.stats.get("passed", ()))
        if passed < AT_LEAST:
            reporter.write_line(f"only {passed} tests have passed, and not {AT_LEAST}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the app logged beside a failure. In CI, what could not be tried has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    if report.passed and "Traceback (most recent call last)" in report.capstderr:
        report.outcome = "failed"
        report.longrepr = "a thread, or the app in this process, left a traceback"
    if report.failed:
        for app in {value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Served)}:
            report.sections.append(("what the app logged", app.log()[-4000:]))
    return report

"""What tests ask of the machine: free ports, and programs that are installed."""

import itertools
import os
import random
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


# Below the ports that systems give to outgoing connections, and a range for each of pytest-xdist's workers in each run: between
# the moment when a port is found free and the moment when a server listens there, or while a server is stopped, nobody else
# takes its port.
_run = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(13)  # the same for the workers of a run
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_first = 10_000 + 500 * ((3 * _run + _worker) % 40)
_ports = itertools.cycle(range(_first, _first + 500))


def free_port():
    """A port of 127.0.0.1 at which nobody listens, and which nobody else in this test run is given."""
    for port in _ports:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port):
    """Whether a program of this machine takes connections at a port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def gunicorn_command(port, *options):
    """Serve the app on a port, with the settings that gunicorn finds by itself."""
    return [sys.executable, "-m", "gunicorn", "app:app", "--bind", f"127.0.0.1:{port}", *options]


def granian_command(port, *options):
    """Serve the app on a port, as docs/operate.md has it."""
    command = [str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--no-ws"]
    command += ["--respawn-failed-workers", "--workers-kill-timeout", "30"]
    return [*command, "--port", str(port), *options, "app:app"]


def until(condition, seconds=30):
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds} s"
        time.sleep(0.01)


# What tests use besides Python, by its Debian package: the names of its program. (Chromium without its windows takes half the
# time.)
PROGRAMS = {
    "chromium": ("chromium-headless-shell", "chromium", "google-chrome", "chrome"),
    "redis-server": ("redis-server",),
    "nginx": ("nginx",),
    "nodejs": ("node",),
    "npm": ("npm",),
    "openssl": ("openssl",),
}


def path_of(package):
    """Where a program is, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS[package])), None)


def needs(package):
    """Skip a test on a machine without a program; in CI that fails it.

    :return: where the program is.
    """
    path = path_of(package)
    if path is None:
        pytest.skip(f"{package} is not installed (Debian: apt-get install {package})")
    return path


def pytest_report_header():
    """Say first which tests will be skipped, and why: the summary comes minutes later."""
    missing = [package for package in PROGRAMS if path_of(package) is None]
    lines = []
    if missing:
        lines = [f"skipped: the tests that need {' or '.join(missing)} (Debian: apt-get install {' '.join(missing)})"]
    if taken := [str(port) for port in (5000, 8000) if listens(port)]:
        lines.append(f"skipped: the tests that need port {' and '.join(taken)}, which another program uses")
    return lines

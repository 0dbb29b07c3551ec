"""What tests ask of the machine: free ports, and programs that are installed."""

import shutil
import socket
import sys

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def gunicorn_command(port, *options):
    """Serve the app on a port, with the settings that gunicorn finds by itself."""
    return [sys.executable, "-m", "gunicorn", "app:app", "--bind", f"127.0.0.1:{port}", *options]


def needs(program):
    """Skip a test on a machine without a program; in CI that fails it."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: apt-get install {program})")

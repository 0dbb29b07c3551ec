"""What tests ask of the machine: free ports, and programs that are installed."""

import shutil
import socket

import pytest


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def needs(program):
    """Skip a test on a machine without a program; in CI that fails it."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: apt-get install {program})")

"""What all apps of a process of tests compile once: their own files, and templates, half of the time of a short test."""

import atexit
import functools
import shutil
import tempfile


@functools.cache
def folder():
    """Where this process and the apps that it starts keep what they have compiled."""
    path = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path

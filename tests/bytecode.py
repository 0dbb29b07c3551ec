"""What all apps of a process of tests compile once: their own files, and templates, half of the time of a short test."""

import atexit
import functools
import shutil
import tempfile

from jinja2 import FileSystemBytecodeCache


@functools.cache
def folder():
    """Where this process and the apps that it starts keep what they have compiled."""
    path = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Templates(FileSystemBytecodeCache):
    """The templates in a folder, by language."""

    def get_cache_key(self, name, filename=None):
        from flask_entra.pages.languages import language  # of the app of this process, which may be a copy

        return super().get_cache_key(f"{language()} {name}", filename)

"""Templates compiled once for all apps of a process of tests: compiling was half of the time of a short test."""

import atexit
import functools
import shutil
import tempfile

from jinja2 import FileSystemBytecodeCache


@functools.cache
def folder():
    """Where this process and the apps that it starts keep them."""
    path = tempfile.mkdtemp(prefix="templates-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Compiled(FileSystemBytecodeCache):
    """The templates in a folder, by language."""

    def get_cache_key(self, name, filename=None):
        from flask_entra.pages.languages import language  # of the app of this process, which may be a copy

        return super().get_cache_key(f"{language()} {name}", filename)

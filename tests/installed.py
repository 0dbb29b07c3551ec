"""What tests try that does not belong into their own environment: packages of PyPI and of npm, kept for the next run.

What is in a folder is told by its name, so a new version has a new folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from programs import needs

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-entra-tests"


def python_packages(*requirements):
    """A folder with Python packages, for this version of Python."""

    def install(folder):
        _run(sys.executable, "-m", "pip", "install", "-q", "--target", folder, *requirements)

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _folder(f"{'-'.join(requirements)}-python{version}-packages", install)


def node_packages(folder):
    """A folder with what stands in the `package-lock.json` of another one. No script of a package is run."""
    needs("nodejs")
    needs("npm")
    files = [folder / "package.json", folder / "package-lock.json"]

    def install(folder):
        for file in files:
            shutil.copy(file, folder)
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)

    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return _folder(f"node-{digest}", install)


def _folder(name, install):
    """The folder, in which something has been installed, now or by an earlier run."""
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=CACHE))
        install(new)
        try:
            new.rename(folder)
        except OSError:  # another run was faster
            shutil.rmtree(new)
    return folder


def _run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr

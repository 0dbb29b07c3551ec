"""The addresses of the files in `static/`, each with a hash of its content, so that a browser may keep it for a year.

In debug mode a file may change at any time, so its hash is computed at each use, and its address says nothing of a year.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from urllib.parse import quote

from flask import Flask, Response, current_app, request

from flask_entra.pages.links import link_root
from flask_entra.pages.policy import YEAR_SECONDS, allow_script


def init_app(app: Flask) -> None:
    """Give the app's templates `asset(name)`, and say how long browsers may keep what has such an address."""
    app.jinja_env.globals.update(asset=asset)
    folder = Path(app.static_folder or app.root_path)

    @functools.cache
    def files() -> frozenset[str]:
        return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @app.after_request
    def keep(response: Response) -> Response:
        # The name is an unvalidated path, as the visitor wrote it: only one that is in the folder is read.
        if request.endpoint == "static" and response.status_code in (200, 206, 304) and not app.debug:
            name = str((request.view_args or {}).get("filename"))
            if name in files() and request.args.get("v") == _version(name):
                response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}"
        return response


def asset(name: str) -> str:
    """For templates: the address of a file in `static/`."""
    return f"{link_root() or ''}{path_of(name)}"


def path_of(name: str) -> str:
    """The same, below the root of the app."""
    return f"{current_app.static_url_path}/{quote(name)}?v={_version(name)}"


def integrity(name: str) -> str:
    """For templates: the hash of a file in `static/`, for `<script integrity="…">`, which the page may then run."""
    value = hash_of(name)
    return allow_script(value) if name.endswith(".js") else value


def hash_of(name: str) -> str:
    """The hash by itself."""
    digest = _digest(_folder(), name, _changed(name) if current_app.debug else 0)
    return f"sha256-{base64.b64encode(digest).decode()}"


def _version(name: str) -> str:
    return _digest(_folder(), name, _changed(name) if current_app.debug else 0).hex()[:12]


def _folder() -> str:
    return current_app.static_folder or current_app.root_path


def _changed(name: str) -> int:
    return Path(_folder(), name).stat().st_mtime_ns


@functools.cache
def _digest(folder: str, name: str, changed: int) -> bytes:
    return hashlib.sha256(Path(folder, name).read_bytes()).digest()

"""The addresses of the files in `static/`, each with a hash of its content, so that a browser may keep it for a year.

Of scripts, browsers run only those whose hash the Content-Security-Policy names (`integrity`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

from flask import Flask, request

from flask_entra.pages.headers import YEAR_SECONDS

SCRIPT = "page.js"


def integrity(app: Flask, name: str) -> str:
    """The hash of a file in `static/`, as Subresource Integrity and the Content-Security-Policy write it."""
    return f"sha256-{base64.b64encode(_digest(_folder(app) / name)).decode()}"


def script_of(app: Flask) -> str:
    """The hash of the app's own script; empty if it has none."""
    return integrity(app, SCRIPT) if (_folder(app) / SCRIPT).is_file() else ""


def _folder(app: Flask) -> Path:
    return Path(app.static_folder or app.root_path)


@functools.cache
def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def init_app(app: Flask) -> None:
    """Give templates `asset(name)` and `integrity(name)`, and say how long browsers may keep what has such an address."""
    folder = _folder(app)

    @functools.cache
    def files() -> frozenset[str]:
        return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @functools.cache
    def asset(name: str) -> str:
        return f"{app.static_url_path}/{name}?v={_digest(folder / name).hex()[:12]}"

    def max_age(name: str | None) -> int | None:
        # The name is an unvalidated path, as the visitor wrote it: only one that is in the folder is read.
        current = asset(name) if name in files() else None
        return YEAR_SECONDS if current and current.endswith(f"?v={request.args.get('v')}") else None

    app.jinja_env.globals.update(asset=asset, integrity=functools.partial(integrity, app))
    app.get_send_file_max_age = max_age  # type: ignore[method-assign,assignment]  # as Flask's documentation has it

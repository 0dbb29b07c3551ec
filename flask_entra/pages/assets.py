"""The addresses of the files in `static/`, each with a hash of its content, so that a browser may keep it for a year."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from flask import Flask, request

from flask_entra.pages.headers import YEAR_SECONDS


def init_app(app: Flask) -> None:
    """Give templates `asset(name)`, and say how long browsers may keep what has such an address."""
    folder = Path(app.static_folder or app.root_path)

    @functools.cache
    def files() -> frozenset[str]:
        return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @functools.cache
    def asset(name: str) -> str:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        return f"{app.static_url_path}/{name}?v={digest[:12]}"

    def max_age(name: str | None) -> int | None:
        # The name is an unvalidated path, as the visitor wrote it: only one that is in the folder is read.
        current = asset(name) if name in files() else None
        return YEAR_SECONDS if current and current.endswith(f"?v={request.args.get('v')}") else None

    app.jinja_env.globals["asset"] = asset
    app.get_send_file_max_age = max_age  # type: ignore[method-assign,assignment]  # as Flask's documentation has it

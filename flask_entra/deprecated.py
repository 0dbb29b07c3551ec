"""What an app of before version 0.1 wrote, which warns and still works until 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from flask import Flask


def init_app(app: Flask, auth: Any, *, protected: bool = False) -> None:
    """`auth.init_app(app, protected=protected)`."""
    warn("init_app(app, auth)", "auth.init_app(app)", stacklevel=3)
    auth.init_app(app, protected=protected)


def warn(before: str, now: str, *, stacklevel: int) -> None:
    """Warn the developer of an app, who sees their own line.

    :param before: what they wrote.
    :param now: what they write instead.
    :param stacklevel: as `warnings.warn` counts it, from here.
    """
    warnings.warn(f"{before} goes with flask-entra 0.3: write {now}.", DeprecationWarning, stacklevel=stacklevel)

"""The app's pages without the app: what its templates need besides Flask, at no cost worth naming."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from flask import Flask

ROOT = Path(__file__).parents[2]

# The app's file by itself: its package would bring the app's libraries, which these contestants do without.
_found = importlib.util.spec_from_file_location("profiles", ROOT / "flask_entra" / "pages" / "profiles.py")
profiles = importlib.util.module_from_spec(_found)
_found.loader.exec_module(profiles)


def make_app(name: str) -> Flask:
    """A Flask app with the templates and the static files of the app in the folder above. Everything is in English."""
    app = Flask(name, template_folder=ROOT / "templates", static_folder=ROOT / "static")
    app.config.update(SANDBOX=True, ENDPOINT=os.environ.get("ENDPOINT", ""), SCOPE=["User.Read"])
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_null_translations(newstyle=True)
    version = "?v=0123456789ab"  # as long as the app's
    app.jinja_env.globals.update(
        asset=lambda name: f"/static/{name}{version}",
        languages={"en": "English", "fr": "Français"},
        language=lambda: "en",
    )
    return app

"""The app's pages without the app: what its templates need besides Flask, at no cost worth naming."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask

from flask_entra import access_log

ROOT = Path(__file__).parents[2]

# The app's file by itself: its package would bring the app's libraries, which these contestants do without.
_found = importlib.util.spec_from_file_location("json_lines", ROOT / "flask_entra" / "pages" / "json_lines.py")
json_lines = importlib.util.module_from_spec(_found)
_found.loader.exec_module(json_lines)

FIELDS = (
    "jobTitle",
    "mail",
    "userPrincipalName",
    "mobilePhone",
    "businessPhones",
    "officeLocation",
    "preferredLanguage",
)


class Moment(str):
    """A time that is written out already."""

    iso = "2026-01-01T00:00:00+00:00"


def show(profile: dict[str, Any], url: str, scopes: list[str]) -> dict[str, object]:
    """What `profile.html` needs, as the app's `profiles.show` gives it."""
    return {
        "name": profile["displayName"],
        "fields": [
            (name, [(each, None) for each in (value if isinstance(value, list) else [value]) if each])
            for name in FIELDS
            if (value := profile.get(name, profile)) is not profile
        ],
        "json": json_lines.of(profile),
        "has_photo": True,
        "asked": {
            "url": url,
            "status": 200,
            "milliseconds": 1,
            "scopes": " ".join(scopes),
            "ends": Moment("1 January 2026 00:00:00 UTC"),
        },
    }


def make_app(name: str) -> Flask:
    """A Flask app with the templates, the static files and the access log of the app; and a page of five lines.

    Everything is in English.
    """
    app = Flask(name, template_folder=ROOT / "templates", static_folder=ROOT / "static")
    app.register_blueprint(Blueprint("bench", __name__, template_folder="templates"))
    app.config.update(
        APP_NAME="Flask starter",
        SANDBOX=True,
        ENDPOINT=os.environ.get("ENDPOINT", ""),
        SCOPE=["User.Read"],
        LOG_FORMAT="text",
    )
    access_log.init_app(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_null_translations(newstyle=True)
    version = "?v=0123456789ab"  # as long as the app's
    app.jinja_env.globals.update(
        asset=lambda name: f"/static/{name}{version}",
        integrity=lambda name: f"sha256-{'0' * 44}",
        signed_out_just_now=lambda: False,
        languages={"en": "English", "fr": "Français"},
        language=lambda: "en",
    )
    app.jinja_env.filters.update(
        name_of=lambda user: user["name"], letters=lambda user: "".join(word[0] for word in user["name"].split())
    )
    return app

"""The app's pages without the app: what its templates need besides Flask, at no cost worth naming."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flask import Blueprint, Flask

from flask_entra import access_log, logs

ROOT = Path(__file__).parents[2]

# The app's file by itself: its package would bring the app's libraries, which these contestants do without.
_found = importlib.util.spec_from_file_location("json_lines", ROOT / "pages" / "json_lines.py")
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


LINKS = {
    "home": "/",
    "call_graph": "/call_graph",
    "photo": "/photo",
    "account": "/account",
    "identity.login": "/login?prompt=select_account",
    "identity.logout": "/logout",
}


class Face:
    """What the app's templates see of `flask_entra`."""

    config = SimpleNamespace(provider="", app_name="Flask starter", sandbox=True, settings=SimpleNamespace())
    api = "https://graph.microsoft.com/v1.0/me"

    def __init__(self, user: dict[str, Any] | None = None):
        self.user = user

    @staticmethod
    def name_of(user: dict[str, Any]) -> str:
        return str(user["name"])

    def signed_out_just_now(self) -> bool:
        return False


def _with_access_log(wsgi_app: Any) -> Any:
    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        began = time.perf_counter()
        logs.give_id(environ, trusted=False)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            access_log.write(environ, environ["PATH_INFO"], status, headers, time.perf_counter() - began, False)
            return start_response(status, headers, *rest)

        return wsgi_app(environ, start)

    return answer


def make_app(name: str) -> Flask:
    """A Flask app with the templates, the static files and the access log of the app; and a page of five lines.

    Everything is in English.
    """
    app = Flask(name, template_folder=ROOT / "templates", static_folder=ROOT / "static")
    app.register_blueprint(Blueprint("bench", __name__, template_folder="templates"))
    app.config.update(ENDPOINT=os.environ.get("ENDPOINT", ""), SCOPE=["User.Read"])
    app.wsgi_app = _with_access_log(app.wsgi_app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_null_translations(newstyle=True)
    version = "?v=0123456789ab"  # as long as the app's
    app.jinja_env.globals.update(
        asset=lambda name: f"/static/{name}{version}",
        integrity=lambda name: f"sha256-{'0' * 44}",
        languages={"en": "English", "fr": "Français"},
        language=lambda: "en",
        url_for=lambda name, **values: LINKS[name],  # the app's links are constants too
        entra=Face(),
    )
    app.jinja_env.filters.update(letters=lambda user: "".join(word[0] for word in user["name"].split()))
    return app

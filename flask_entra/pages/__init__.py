"""What every page has: a language, links to its assets, headers that keep a browser safe, and a page for each failure.

`languages` chooses and translates, `compiled` does it once for constant texts; `assets` versions the files in `static/`;
`headers` adds the security headers; `explanations` has the words for failures, and `problems` answers with them; `profiles`
shows a profile (`json_lines` its JSON), and `accounts` what the app sees of the person. Nothing here asks anybody anything:
what a page shows, the caller brings.
"""

from __future__ import annotations

from flask import Blueprint, Flask

from flask_entra.pages import accounts, assets, headers, languages, problems, profiles
from flask_entra.pages.compiled import Environment
from flask_entra.pages.problems import respond

__all__ = ["accounts", "init_app", "profiles", "respond"]


def init_app(app: Flask) -> None:
    """Translate the app's pages, version its assets, set the security headers, and show each failure as a page."""
    app.jinja_environment = Environment
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # An app's own template of the same name goes first: it may have a `problem.html` of its own.
    app.register_blueprint(Blueprint("pages", __name__, template_folder="templates"))
    app.jinja_env.filters.update(letters=profiles.letters, name_of=profiles.name_of)
    languages.init_app(app)
    assets.init_app(app)
    headers.init_app(app, assets.script_of(app))
    problems.init_app(app)

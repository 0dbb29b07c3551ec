"""What every page has: a language, links to its assets, headers that keep a browser safe, and a page for each failure.

`languages` chooses and translates, `compiled` does it once for constant texts and `links`; `assets` versions the static files;
`policy` has the security headers; `own_pages` renders this package's templates; `face` is what the app's templates see of it.
`problems` and `refusals` tell what an exception is to a person, with the words of `explanations` and `entra_errors`; `answers`
answers with that. Nothing here asks anybody anything: what a page shows, the caller brings.
"""

from __future__ import annotations

from flask import Flask

from flask_entra.config import Config
from flask_entra.pages import assets, languages
from flask_entra.pages.answers import Answers
from flask_entra.pages.compiled import Environment
from flask_entra.pages.face import Face
from flask_entra.pages.own_pages import OwnPages
from flask_entra.pages.policy import csp_nonce


def init_app(app: Flask, config: Config, face: Face) -> None:
    """Give the app's templates what they may use: `entra`, `csp_nonce()` and `integrity()`, and more by switches.

    A name that the app has taken already stays the app's.
    """
    if "ENTRA_COMPILED_TEMPLATES" in config.on:
        app.jinja_environment = Environment  # type: ignore[assignment]  # a subclass of its own
    for name, value in {"entra": face, "csp_nonce": csp_nonce, "integrity": assets.integrity}.items():
        app.jinja_env.globals.setdefault(name, value)
    if "ENTRA_LANGUAGES" in config.on:
        languages.init_app(app)
    if "ENTRA_ASSETS" in config.on:
        assets.init_app(app)


__all__ = ["Answers", "Face", "OwnPages", "init_app"]

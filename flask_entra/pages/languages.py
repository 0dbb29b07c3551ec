"""The languages of the pages, and `Text`: a text of the app, translated when it is shown."""

from __future__ import annotations

import datetime
import functools
from contextvars import ContextVar
from gettext import NullTranslations, translation
from pathlib import Path

from flask import Flask, Response, current_app, has_app_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from flask_entra import cookies
from flask_entra.pages.headers import YEAR_SECONDS

LANGUAGES = {"en": "English", "fr": "Français"}
OWN_FOLDER = Path(__file__).parents[2] / "translations"  # of this package's texts, for an app that has others
ACCEPTED_LENGTH = 200  # of Accept-Language; parsing eight kilobytes of it takes 19 ms

_language: ContextVar[str] = ContextVar("language", default="en")


def init_app(app: Flask) -> None:
    """Show each page in the language that was chosen by `?lang=`, or the first of the browser's that there is."""
    cookie = cookies.attributes(app.config, "lang")
    app.jinja_env.add_extension("jinja2.ext.i18n")
    install = app.jinja_env.install_gettext_callables  # type: ignore[attr-defined]  # the extension has put it there
    install(gettext, _ngettext, newstyle=True)
    app.jinja_env.globals.update(languages=LANGUAGES, language=language)

    @app.before_request
    def choose_language() -> None:
        chosen = request.args.get("lang") or request.cookies.get(cookie["key"], "")
        accepted = request.headers.get("Accept-Language", "")[:ACCEPTED_LENGTH]
        _language.set(chosen if chosen in LANGUAGES else _first_of(accepted))

    @app.after_request
    def finish(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.vary.update(("Accept-Language", "Cookie"))
            if (chosen := request.args.get("lang")) in LANGUAGES:
                response.set_cookie(value=chosen, max_age=YEAR_SECONDS, **cookie)
        return response


class Text:
    """A text of the app, in the language of whoever reads it.

    Imported as `_`, so that Babel finds the texts. `str()` and templates translate it.

    :param message: in English, with `%(name)s` for each of the values.
    """

    def __init__(self, message: str, **values: object):
        self._message, self._values = message, values

    def __str__(self) -> str:
        translated = gettext(self._message)
        return translated % self._values if self._values else translated


class Day(Text):
    """A date, written out in the language of whoever reads it."""

    def __init__(self, day: datetime.date):
        super().__init__("")
        self._day = day

    def __str__(self) -> str:
        from babel.dates import format_date  # here, because a page without a date has no use for these 11 ms at start

        return str(format_date(self._day, "long", language()))


class Moment(Text):
    """A time, written out in UTC, in the language of whoever reads it.

    :param at: Unix seconds.
    :ivar iso: the same by ISO 8601, for `<time datetime>`.
    :raises ValueError, OverflowError: there is no such time.
    """

    def __init__(self, at: float):
        super().__init__("")
        try:
            self._at = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        except OSError as error:  # what Windows says of one before 1970
            raise ValueError(str(error)) from error
        self.iso = self._at.isoformat(timespec="seconds")

    def __str__(self) -> str:
        from babel.dates import format_datetime  # here, as in Day

        return f"{format_datetime(self._at, 'd MMMM y HH:mm:ss', locale=language())} UTC"


def speak(code: str) -> None:
    """Choose the language of a command's output; that of an answer is chosen for each request.

    :param code: of `LANGUAGES`.
    """
    _language.set(code)


def language() -> str:
    """The code of the language of the answer."""
    return _language.get()


def gettext(message: str) -> str:
    """A text of the app in the language of the answer."""
    return _catalogue().gettext(message)


def _ngettext(singular: str, plural: str, number: int) -> str:
    return _catalogue().ngettext(singular, plural, number)


def _catalogue() -> NullTranslations:
    root = current_app.root_path if has_app_context() else "."
    return _load(f"{root}/translations", language())


@functools.cache
def _load(folder: str, code: str) -> NullTranslations:
    # The standard library's and not Babel's, which brings 9 ms more at start; Babel makes the files that it reads.
    catalogue = translation("messages", folder, [code], fallback=True)
    if Path(folder) != OWN_FOLDER:
        catalogue.add_fallback(translation("messages", OWN_FOLDER, [code], fallback=True))
    return catalogue


@functools.lru_cache(maxsize=1024)
def _first_of(accepted: str) -> str:
    return parse_accept_header(accepted, LanguageAccept).best_match(LANGUAGES, "en")

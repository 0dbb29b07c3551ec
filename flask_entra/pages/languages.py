"""The languages of the pages, and `Text`: a text of this package or of the app, translated when it is shown."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from gettext import NullTranslations, translation
from pathlib import Path

from flask import Flask, Response, current_app, has_app_context, has_request_context, request
from werkzeug.datastructures import LanguageAccept

from flask_entra import cookies
from flask_entra.callers import read_accepted
from flask_entra.config import current, of
from flask_entra.pages.policy import YEAR_SECONDS

LANGUAGES = {"en": "English", "fr": "Français"}
OWN_FOLDER = Path(__file__).parents[1] / "translations"
ACCEPTED_LENGTH = 200  # of Accept-Language; parsing eight kilobytes of it takes 19 ms
_ENVIRON = "flask_entra.language"  # where a request notes its language

_spoken: ContextVar[str | None] = ContextVar("language", default=None)


def init_app(app: Flask) -> None:
    """Translate the app's templates, and let people choose the language by `?lang=`, which a cookie remembers."""
    add_gettext(app.jinja_env)
    app.jinja_env.globals.update(languages=LANGUAGES, language=language)

    @app.after_request
    def finish(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.vary.update(("Accept-Language", "Cookie"))
            if (chosen := request.args.get("lang")) in LANGUAGES:
                response.set_cookie(value=chosen, max_age=YEAR_SECONDS, **cookies.attributes(of(app), "lang"))
        return response


def add_gettext(environment: object) -> None:
    """Give the templates of a Jinja environment `_()`."""
    environment.add_extension("jinja2.ext.i18n")  # type: ignore[attr-defined]
    environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]


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


class Span(Text):
    """A length of time, in the largest unit of which it has a whole number, in the language of whoever reads it.

    :param seconds: how long it is; a whole number.
    """

    def __init__(self, seconds: int):
        super().__init__("")
        self._seconds = seconds

    def __str__(self) -> str:
        from babel.units import format_unit  # here, as in Day

        unit, of_seconds = next(
            each for each in (("hour", 3600), ("minute", 60), ("second", 1)) if not self._seconds % each[1]
        )
        return str(format_unit(self._seconds // of_seconds, f"duration-{unit}", "long", locale=language()))


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Use one language for a command's output, or for the log. That of an answer is chosen for each request.

    :param code: of `LANGUAGES`.
    """
    token = _spoken.set(code)
    try:
        yield
    finally:
        _spoken.reset(token)


def language() -> str:
    """The code of the language of the answer: that which the person has chosen, or the first of the browser's that there is."""
    if code := _spoken.get():
        return code
    if not has_request_context():
        return "en"
    code = request.environ.get(_ENVIRON)
    if code is None:
        code = request.environ[_ENVIRON] = _of_the_request()
    return code


def _of_the_request() -> str:
    config, chosen = current(), ""
    if "ENTRA_LANGUAGES" in config.on:
        chosen = request.args.get("lang") or request.cookies.get(cookies.name_of(config, "lang"), "")
    accepted = request.headers.get("Accept-Language", "")[:ACCEPTED_LENGTH]
    return chosen if chosen in LANGUAGES else _first_of(accepted)


def gettext(message: str) -> str:
    """A text in the language of the answer."""
    return _catalogue().gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """A text about a number of things, likewise."""
    return _catalogue().ngettext(singular, plural, number)


def _catalogue() -> NullTranslations:
    root = current_app.root_path if has_app_context() else "."
    return _load(f"{root}/translations", language())


@functools.cache
def _load(folder: str, code: str) -> NullTranslations:
    # The standard library's and not Babel's, which brings 9 ms more at start; Babel makes the files that it reads.
    catalogue = translation("messages", folder, [code], fallback=True)
    catalogue.add_fallback(translation("messages", OWN_FOLDER, [code], fallback=True))
    return catalogue


@functools.lru_cache(maxsize=1024)
def _first_of(accepted: str) -> str:
    return read_accepted(accepted, LanguageAccept).best_match(LANGUAGES, "en")

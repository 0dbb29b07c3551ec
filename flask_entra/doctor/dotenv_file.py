"""The file `.env`: whether it is read, as which text, and which of its lines count."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from flask_entra.clouds import is_entra
from flask_entra.commands import relative
from flask_entra.doctor.findings import AUTHORITIES, CREDENTIALS, PLACEHOLDER, REQUIRED, Finding, odd, unreadable, wrong
from flask_entra.environment import Dotenv, Line, is_skipped
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings

# What other samples and tools call these.
_ELSEWHERE_CALLED = {
    "TENANT_ID": "AUTHORITY",
    "AZURE_TENANT_ID": "AUTHORITY",
    "TENANT": "AUTHORITY",
    "AZURE_AUTHORITY": "AUTHORITY",
    "APP_ID": "CLIENT_ID",
    "APPLICATION_ID": "CLIENT_ID",
    "AZURE_CLIENT_ID": "CLIENT_ID",
    "AZURE_CLIENT_SECRET": "CLIENT_SECRET",
    "CLIENT_CREDENTIAL": "CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH": "CLIENT_CERTIFICATE_PATH",
    "REDIRECT_PATH": "REDIRECT_URI",
    "GRAPH_ENDPOINT": "ENDPOINT",
    "FLASK_SECRET_KEY": "SECRET_KEY",
}
# A name that may be shown. Any other may have a part of a secret in it: `CLIENT_SECRET:abc=`.
_NAME = re.compile(r"(\W?env:)?[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*", re.IGNORECASE)
_ENCODINGS = {"utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32": "UTF-32"}


def check_file(settings: Settings) -> Iterator[Finding]:
    """Whether the file can be read, and understood line by line."""
    dotenv = settings.dotenv
    name, save = relative(dotenv.path), _("Save it as UTF-8 text.")
    if dotenv.error:
        yield wrong(name, _("cannot be used: %(reason)s", reason=unreadable(dotenv.error)), save)
    if dotenv.encoding in _ENCODINGS:
        encoding = _ENCODINGS[dotenv.encoding]
        yield odd(name, _("is written in %(encoding)s, which other tools do not read", encoding=encoding), save)
    elif dotenv.encoding == "cp1252":
        yield odd(name, _("is not UTF-8, so letters with accents may have been read wrong"), save)
    mend = _("Write each setting on a line of its own as NAME=value.")
    for line in dotenv.lines:
        unclear = not _NAME.fullmatch(line.name) and any(line.name.upper().startswith(each) for each in settings)
        if line.broken or unclear:
            # The setting that the line was to be is not missing besides.
            subject = line.name if line.name in settings and not settings.environ.get(line.name) else name
            yield wrong(subject, _("cannot be read: line %(line)s cannot be understood", line=line.number), mend)
        elif line.value is None and (meant := _meant(line.name, settings)):
            yield wrong(meant, _("cannot be read: line %(line)s has no equals sign", line=line.number), mend)


def check_required(settings: Settings) -> Iterator[Finding]:
    """The three settings that every app needs, and where else they may have been written."""
    missing = _missing(settings)
    strays = list(_strays(settings.dotenv.path)) if missing and not settings.dotenv.values else []
    if strays:
        own = relative(settings.dotenv.path)
        yield wrong(
            strays[0],
            _("has been filled in, but only %(own)s is read", own=own),
            _("Rename it to %(own)s, or copy its lines there.", own=own),
        )
        return
    for name in missing:
        near = _near(name, settings)
        found = _("is missing")
        mend = _("Set it to %(what)s.", what=REQUIRED[name])
        if near and near.name not in _ELSEWHERE_CALLED:
            mend = _("Write %(meant)s.", meant=name)
        if near:
            found = _("is missing: line %(line)s of .env says %(name)s", line=near.number, name=near.name)
        yield wrong(name, found, mend)


def check_names(settings: Settings) -> Iterator[Finding]:
    """Names that are nearly a setting's, and settings that stand in the file more than once."""
    lines: dict[str, list[int]] = {}
    for line in settings.dotenv.lines:
        if line.value is not None:
            lines.setdefault(line.name, []).append(line.number)
    for name, numbers in lines.items():
        if name in settings and len(numbers) > 1:
            yield odd(
                name,
                _("stands in .env %(count)s times", count=len(numbers)),
                _("The last one counts, line %(line)s: remove the others.", line=numbers[-1]),
            )
    required = _missing(settings)
    written = {**dict.fromkeys(lines), **dict.fromkeys(each for each in settings.environ if each.upper() in settings)}
    for name in written:
        meant = None if name in settings else _meant(name, settings)
        if meant and meant not in required:  # of those it is said already
            if name.upper() == meant:
                yield odd(name, _("is not read: settings are written in capitals"), _("Write %(meant)s.", meant=meant))
            else:
                yield odd(name, _("is no setting of this app"), _("Is %(meant)s meant?", meant=meant))


def check_reading(settings: Settings) -> Iterator[Finding]:
    """Whether the file is read at all, and what counts instead of it."""
    own = relative(settings.dotenv.path)
    if is_skipped(settings.environ) and settings.dotenv.path.exists():
        yield odd(own, _("is there, but FLASK_SKIP_DOTENV keeps it from being read"), _("Unset that."))
    if settings.elsewhere:
        found = _("was read, because it is the nearest to the folder where the command runs; gunicorn does not read it")
        yield odd(relative(settings.elsewhere.path), found, _("Write the settings into %(own)s.", own=own))
    for name in settings:
        source = settings.source(name)
        if source and source.instead_of and source.instead_of.file:
            found = _("has another value in the environment than in .env, and the environment's counts")
            yield odd(
                name,
                found,
                _("Unset the variable in your shell, or start the app again if you have just edited the file."),
            )


def _missing(settings: Settings) -> list[str]:
    """Those of the settings that every app needs that are missing, and have nothing in their place."""
    # A provider other than Entra may want a public client: then SECRET_KEY is what the app cannot do without.
    public = () if is_entra(settings["OIDC_AUTHORITY"]) else ("SECRET_KEY",)
    ways = {
        "CLIENT_ID": ("CLIENT_ID",),
        "CLIENT_SECRET": (*CREDENTIALS, "CLIENT_SECRET_FILE", *public),
        "AUTHORITY": AUTHORITIES,
    }
    return [name for name, others in ways.items() if not any(settings[each] for each in others)]


def _near(name: str, settings: Settings) -> Line | None:
    """A line that is nearly the one that is missing."""
    return next(
        (
            line
            for line in settings.dotenv.lines
            if line.name != name and not line.broken and _meant(line.name, settings) == name
        ),
        None,
    )


def _meant(written: str, settings: Settings) -> str | None:
    """The setting that a name stands for, if it is one that somebody may have misspelled."""
    if not _NAME.fullmatch(written):
        return None
    name = re.sub(r"^\W*(ENV|EXPORT|SET)\W+", "", written.upper()).replace("-", "_").strip("\ufeff\u200b:\"' ")
    if name in settings:
        return name
    close = difflib.get_close_matches(name, settings, 1, 0.7)
    return _ELSEWHERE_CALLED.get(name) or (close[0] if close else None)


def _strays(path: Path) -> Iterator[str]:
    """Files beside `.env` that somebody has filled in instead."""
    with contextlib.suppress(OSError):
        for other in sorted(path.parent.iterdir()):
            if other != path and re.match(r"\.?env\b|.*\.env$", other.name, re.IGNORECASE) and other.is_file():
                values = Dotenv.read(other).values
                if any(values.get(name) and not PLACEHOLDER.search(values[name]) for name in REQUIRED):
                    yield relative(other)

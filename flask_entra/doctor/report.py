"""The findings in a terminal, in its language and its characters, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from flask_entra.doctor.findings import CLOCK, GROUPS, ROLES, VIEWS, Finding
from flask_entra.environment import Source
from flask_entra.pages.languages import LANGUAGES

VERSION = 1  # of the JSON document; a field that is added does not change it
SIGNS = {"right": "✓", "unchecked": "?", "odd": "!", "wrong": "✗"}
_NO_SETTINGS = {CLOCK: "clock", ROLES: "roles", GROUPS: "groups", VIEWS: "views"}  # their names in JSON
# For a file or a console whose encoding lacks a sign.
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "›": ">", "…": "...", "’": "'", "“": '"', "”": '"', "œ": "oe", "\u00a0": " ", "\u202f": " "}
)
_ACCENTS = "àâçéèêëîïôùûüÉÀ«»"


def terminal_language(environ: Mapping[str, str], encoding: str) -> str:
    """The language of the terminal, as POSIX (8.2) and GNU gettext (2.3.2) find it.

    :param environ: the environment.
    :param encoding: of standard output; English is written when it lacks a language's letters.
    :return: a code of `LANGUAGES`.
    """
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return "en"
    for wanted in [*environ.get("LANGUAGE", "").split(":"), locale]:
        code = wanted.replace("-", "_").partition("_")[0].partition(".")[0].lower()
        if code in LANGUAGES:
            return code if spelled(_ACCENTS, encoding) == _ACCENTS else "en"
    return "en"


def spelled(text: str, encoding: str) -> str:
    """A text without what an encoding cannot write; all in plain signs, where it lacks those of the levels.

    :param text: any.
    :param encoding: such as `cp1252`.
    """
    try:
        (text + "✓✗").encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    return text


def line(finding: Finding) -> str:
    """A finding as one line of text."""
    place = f" ({finding.place})" if finding.place else ""
    mend = str(finding.mend)
    end = "" if not mend or mend[-1] in ".?" else "."
    return f"{SIGNS[finding.level]} {finding.subject} {finding.found}{place}. {mend}{end}".rstrip()


def exit_status(findings: Sequence[Finding]) -> int:
    """What the command ends with: 1 if something is wrong; 3 if nothing is but what does not answer here; else 0."""
    wrong = [finding for finding in findings if finding.level == "wrong"]
    return 0 if not wrong else 3 if all(finding.unreachable for finding in wrong) else 1


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as one JSON document, in characters that any encoding has.

    `version` is a number, `ok` says that nothing is wrong, and each of `findings` has `setting`, `level` (`right`,
    `unchecked`, `odd` or `wrong`), `found`, `mend`, `source` and `unreachable`.
    """
    document = {
        "version": VERSION,
        "ok": not any(finding.level == "wrong" for finding in findings),
        "findings": [
            {
                "setting": finding.setting if isinstance(finding.setting, str) else _NO_SETTINGS[finding.setting],
                "level": finding.level,
                "found": str(finding.found),
                "mend": str(finding.mend),
                "source": _source(finding.source),
                "unreachable": finding.unreachable,
            }
            for finding in findings
        ],
    }
    return json.dumps(document, indent=2)


def _source(source: Source | None) -> dict[str, object] | None:
    """Where a value came from.

    :return: `from` is `environment`, `file`, `configuration` or `default`; `file` and `line` are null but for a file.
    """
    if source is None:
        return None
    return {"from": source.kind, "file": str(source.file) if source.file else None, "line": source.line or None}

"""The characters of a value: what was copied along with it, or put in its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from flask_entra.clouds import GUID
from flask_entra.doctor.findings import PLACEHOLDER, REQUIRED, Finding, wrong
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings

_SMART_QUOTES = "“”„‟‘’‚‛«»‹›"
_ALIKE = ("CYRILLIC ", "GREEK ", "ARMENIAN ", "FULLWIDTH ", "MATHEMATICAL ")  # they have letters that look Latin
_UNRESOLVED = re.compile(r"\$\{[^}]*\}?|\$\([^)]*\)|\{\{.*\}\}|%[A-Z_]{3,}%|^\$[A-Z_a-z]+$|^#\{.*\}#$")


def check_spelling(settings: Settings) -> Iterator[Finding]:
    """One finding at most for each setting, which the first that fits gives."""
    for name in settings.table:
        value = settings.environ.get(name, "").strip()  # as it was written: a path has been made absolute
        if value and (finding := _stands_for_another(settings, name, value) or _spelled(settings, name, value)):
            yield finding


def _stands_for_another(settings: Settings, name: str, value: str) -> Finding | None:
    """What was to be replaced by the value, and was not."""
    what = REQUIRED.get(name)
    if unset := _unset_variable(settings, name):
        return wrong(
            name,
            _("refers to %(variable)s by ${…}, and no such variable is set", variable=unset),
            _("Set that variable, or write the value itself."),
        )
    if value.startswith("@Microsoft.KeyVault("):
        return wrong(
            name,
            _("is a Key Vault reference that App Service has not resolved"),
            _("Look at its status under Environment variables: the app's identity may lack access to the vault."),
        )
    if settings.table[name].kind == "secret" and not what:  # any other text may be meant
        return None
    if value.startswith(f"{name}="):
        return wrong(name, _("has its own name in its value"), _("Write NAME=value once."))
    looked_for = _UNRESOLVED.fullmatch if name == "CLIENT_SECRET" else _UNRESOLVED.search
    if looked_for(value):
        return wrong(
            name, _("holds the name of a variable that nothing has replaced"), _("Write the value itself, or set it.")
        )
    if _bracketed(value, "<", ">"):
        return wrong(name, _("has < and > around its value"), _("Remove them."))
    if _bracketed(value, "{", "}"):
        return wrong(name, _("has { and } around its value"), _("Remove them."))
    if what and PLACEHOLDER.search(value):
        return wrong(name, _("still holds a placeholder"), _("Set it to %(what)s.", what=what))
    if name != "CLIENT_SECRET" and re.search(r"<[^<>]+>|\{[^{}]+\}", value):
        mend = _("Set it to %(what)s.", what=what) if what else _("Put the real value in its place.")
        return wrong(name, _("still holds a placeholder"), mend)
    return None


def _bracketed(value: str, left: str, right: str) -> bool:
    return bool(re.search(rf"\{left}{GUID.pattern}\{right}|^\{left}\S*~\S*\{right}$", value, re.IGNORECASE))


def _spelled(settings: Settings, name: str, value: str) -> Finding | None:
    """What does not belong to the value."""
    kind = settings.table[name].kind
    is_client_secret = name == "CLIENT_SECRET"
    if kind == "secret" and not is_client_secret:  # these may hold anything
        return None
    if kind == "path" and "-----BEGIN" in value:
        return wrong(name, _("holds the certificate itself"), _("Save it in a file, and write the file's path here."))
    plain = value.rpartition("@")[2] if kind == "url" else value  # before that, a password may have any character
    if quotes := _quotes(value, plain, kind):
        return wrong(name, quotes, _("Remove the quotes."))
    if re.search(r"[\r\n]", value):
        return wrong(name, _("has a line break in its value"), _("Write it on one line."))
    if kind != "path" and (stranger := _stranger(plain, kind)):
        return wrong(name, _described(stranger, is_client_secret), _("Type the value anew instead of copying it."))
    several = re.search(r"[\s,;]+\S+://", value)  # the check of the addresses has words for them
    if _is_one_word(settings, name) and not several:
        if re.search(r"\s", value):
            return Finding(
                name, "odd" if is_client_secret else "wrong", _("has a space in its value"), _("Remove the space.")
            )
        if kind in ("id", "url") and value[-1] in ",;":
            return wrong(name, _("ends with a comma or a semicolon"), _("Remove it."))
    return None


def _is_one_word(settings: Settings, name: str) -> bool:
    """Whether a space cannot be a part of the value. (No secret that Entra makes has one.)"""
    kind = settings.table[name].kind
    return (kind in ("id", "url") and name != "REDIS_URL") or (name == "CLIENT_SECRET" and bool(settings["AUTHORITY"]))


def _quotes(value: str, plain: str, kind: str) -> Text | None:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        return _("has quotes around its value")
    if {value[0], value[-1]} & set(_SMART_QUOTES) or (kind != "path" and set(plain) & set(_SMART_QUOTES)):
        return _("has typographic quotes in its value")
    if kind in ("id", "url") and set(plain) & set("\"'`"):
        return _("has a quote in its value")
    return None


def _stranger(value: str, kind: str) -> str:
    """The first character that cannot be seen, or that the value cannot have; empty if there is none."""
    for word in re.split(r"(\W)", value):
        for character in word:
            category, looks_alike = unicodedata.category(character), unicodedata.name(character, "").startswith(_ALIKE)
            # The host and the path of an address may be in any language, but not one word in two.
            allowed = category[0] in "LMN" and kind == "url" and not (looks_alike and re.search("[A-Za-z]", word))
            if category == "Cc" or not (allowed or character.isascii()):
                return character
    return ""


def _described(character: str, is_client_secret: bool) -> Text:
    if is_client_secret:  # not a part of it is shown
        return _("has a character in its value that no client secret has; perhaps one that cannot be seen")
    code = f"U+{ord(character):04X}"
    if unicodedata.category(character)[0] in "CZM":
        return _("has a character in its value that cannot be seen (%(code)s)", code=code)
    return _("has a character in its value that only looks right: %(sign)s (%(code)s)", sign=character, code=code)


def _unset_variable(settings: Settings, name: str) -> str | None:
    """A `${NAME}` in the `.env` that stands for nothing: python-dotenv and Flask have put nothing in its place."""
    source = settings.source(name)
    line = settings.dotenv.last(name)
    if not (line and line.value and source and source.kind == "file" and source.file == settings.dotenv.path):
        return None
    known = {**settings.environ, **settings.dotenv.values}
    return next((each for each in re.findall(r"\$\{([^}:]*)\}", line.value) if each not in known), None)

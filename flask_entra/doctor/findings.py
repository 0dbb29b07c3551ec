"""What the doctor finds, and the words that several checks share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from flask_entra.commands import relative
from flask_entra.environment import Source
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.settings import SETTINGS, key_of

Level = Literal["right", "unchecked", "odd", "wrong"]
_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")


@dataclass(frozen=True)
class Finding:
    """What was found about one setting, or about several that do not go together.

    :ivar setting: its name; several names have ` + ` between them.
    :ivar level: `wrong` keeps everybody from signing in, `odd` is worth a look, `unchecked` cannot be asked.
    :ivar found: what was found, to be read after the setting's name.
    :ivar mend: what to do about it.
    :ivar source: where the setting's value came from, if it has one.
    :ivar unreachable: whether it is wrong only by what does not answer here and now, so that the setting may be right.
    """

    setting: str | Text
    level: Level
    found: str | Text
    mend: str | Text = ""
    source: Source | None = None
    unreachable: bool = False

    @property
    def subject(self) -> str:
        """The setting as a sentence begins with it."""
        *others, last = str(self.setting).split(" + ")
        return str(_("%(some)s and %(last)s", some=", ".join(others), last=last)) if others else last

    @property
    def place(self) -> str:
        """Where the value came from, in words; empty if it has no value."""
        return str(_place(self.source)) if self.source else ""

    def names(self, *, mentioned: bool = False) -> set[str]:
        """The settings that it blames.

        :param mentioned: those too that it only speaks of.
        """
        text = f"{self.setting} {self.found} {self.mend}" if mentioned else str(self.setting)
        return set(_NAME.findall(text))


class _Keyed(Text):
    """A text that calls each setting by its key in Flask's configuration."""

    def __init__(self, text: str | Text):
        super().__init__("")
        self._text = text

    def __str__(self) -> str:
        return _NAME.sub(lambda name: key_of(name[0]) if name[0] in SETTINGS else name[0], str(self._text))


def keyed(finding: Finding) -> Finding:
    """The same finding, for a developer who knows the settings by their keys in Flask's configuration."""
    setting = finding.setting if isinstance(finding.setting, Text) else str(_Keyed(finding.setting))
    return replace(finding, setting=setting, found=_Keyed(finding.found), mend=_Keyed(finding.mend))


def wrong(setting: str | Text, found: str | Text, mend: str | Text) -> Finding:
    """A finding that keeps everybody from signing in."""
    return Finding(setting, "wrong", found, mend)


def unreachable(setting: str | Text, found: str | Text, mend: str | Text) -> Finding:
    """A finding that is wrong where the doctor runs, and may be right where the app does."""
    return Finding(setting, "wrong", found, mend, unreachable=True)


def odd(setting: str | Text, found: str | Text, mend: str | Text) -> Finding:
    """A finding that is worth a look."""
    return Finding(setting, "odd", found, mend)


def shown(url: str) -> str:
    """A URL without what may be secret in it: a user name, a password, a query, a fragment, the value of `name=`.

    :param url: as it is written, which may be no URL at all.
    """
    if not set(url) & set("@?#="):
        return url
    scheme, mark, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    visible = re.split(r"(?<=[?#=])", after)[0]
    if not mark:
        return "…"
    # The beginning of a query with an @ in it, or a password that is not percent-encoded: nobody can tell.
    if re.search(r"[?#]|[,;]\s*\w+=", before):
        return f"{scheme}://…"
    return f"{scheme}://{'…@' if at else ''}{visible}{'' if visible == after else '…'}"


def all_shown(text: str) -> str:
    """A text without what may be secret in the URLs in it."""
    return re.sub(r"[A-Za-z][\w+.-]*://\S+", lambda url: shown(url[0]), text)


def _place(source: Source) -> Text:
    if source.kind == "default":
        return _("default")
    if source.kind == "configuration":
        return _("Flask's configuration")
    if source.kind == "file" and source.file:
        return _("%(file)s line %(line)s", file=relative(source.file), line=source.line)
    if source.instead_of:
        return _("environment, instead of %(place)s", place=_place(source.instead_of))
    return _("environment")


def credential_name(settings: Mapping[str, str]) -> str:
    """The setting that the app authenticates with; `CLIENT_SECRET` if there is none."""
    return next((each for each in CREDENTIALS if settings[each]), "CLIENT_SECRET")


def unreadable(error: BaseException | None) -> Text:
    """Why a file cannot be read, to be read after `cannot be used:`.

    :param error: the exception; an operating system's own words are in a language of its own choice.
    """
    return next((text for kind, text in _FILE_ERRORS.items() if isinstance(error, kind)), _OTHER_FILE_ERROR)


_FILE_ERRORS: dict[type[Exception], Text] = {
    FileNotFoundError: _("there is no such file"),
    NotADirectoryError: _("a part of the path is a file, not a folder"),
    IsADirectoryError: _("it is a folder"),
    PermissionError: _("the app has no permission to use it"),
    FileExistsError: _("there is a file where the folder should be"),
}
_OTHER_FILE_ERROR = _("the path or the disk does not allow it")

# What to set each of the three settings to that every app needs.
REQUIRED = {
    "CLIENT_ID": _("the Application (client) ID of your app registration"),
    "CLIENT_SECRET": _("the value of a client secret (not its ID)"),
    "AUTHORITY": _("https://login.microsoftonline.com/ and your Directory (tenant) ID"),
}
SECRET_KEY_MEND = _("Set it to 32 or more random characters, the same on every machine.")
# Findings that are about no setting.
CLOCK, ROLES, GROUPS, VIEWS, SIGN_OUTS = _("The clock"), _("Roles"), _("Groups"), _("Views"), _("Sign-outs elsewhere")
AUTHORITIES = ("AUTHORITY", "OIDC_AUTHORITY", "B2C_TENANT_NAME")
# In the order in which they count.
CREDENTIALS = (
    "CLIENT_CERTIFICATE_PATH",
    "MANAGED_IDENTITY_CLIENT_ID",
    "CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
)
WITHOUT_A_SECRET = ("MANAGED_IDENTITY_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
PLACEHOLDER = re.compile(
    r"<[^>]*>|\b(enter|your|paste|insert)[ _-]|_here\b|tenant_guid|tenant_id|client_id|client_secret"
    r"|change_?me|^x+$|^[.…]+$|^\W*(todo|tbd)\W*$|0{8}-(0{4}-){3}0{12}",
    re.IGNORECASE,
)

"""The permissions to ask for, and the audiences of the tokens that are accepted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from flask_entra.clouds import GRAPH_AUDIENCES, GRAPH_CLOUDS, is_entra
from flask_entra.doctor.findings import Finding, odd, wrong
from flask_entra.pages.languages import Text as _
from flask_entra.scopes import resources_of
from flask_entra.settings import Settings
from flask_entra.urls import split_url

_OPENID = {"openid", "profile", "email", "offline_access"}
# The delegated permissions of Microsoft Graph that are asked for most; only a name that is nearly one of them is doubted.
# https://learn.microsoft.com/graph/permissions-reference
_KINDS = ("Read", "ReadWrite", "Read.All", "ReadWrite.All")
_RESOURCES = (
    "User Files Mail Calendars Contacts Notes Tasks Group Directory Sites Application Device Chat GroupMember Presence "
    "MailboxSettings People Organization OnlineMeetings AuditLog"
)
_OTHERS = (
    "User.ReadBasic.All Mail.Send Mail.Send.Shared Mail.ReadBasic Mail.Read.Shared Mail.ReadWrite.Shared "
    "Calendars.ReadBasic Calendars.Read.Shared Calendars.ReadWrite.Shared Team.ReadBasic.All Channel.ReadBasic.All "
    "ChatMessage.Send Notes.Create Files.Read.Selected"
)
_GRAPH = {*(f"{name}.{kind}" for name in _RESOURCES.split() for kind in _KINDS), *_OTHERS.split()}


def check_scope(settings: Settings) -> Iterator[Finding]:
    names = settings["SCOPE"].split()
    asked = [name for name in names if name not in _OPENID]
    api = split_url(settings["ENDPOINT"]).hostname
    calls_graph = api in GRAPH_CLOUDS and not settings["OIDC_AUTHORITY"]
    resources, hosts = resources_of(asked), {split_url(name).hostname for name in asked} - {None}
    spaces = _("Separate the permissions by spaces.")
    if not is_entra(settings["OIDC_AUTHORITY"]):  # another provider's scopes are of any form
        return
    if re.search(r"[,;|]", settings["SCOPE"]):
        yield wrong("SCOPE", _("has commas or semicolons between the permissions"), spaces)
    elif re.search(r"[\[\]()]", settings["SCOPE"]):
        yield wrong("SCOPE", _("has brackets in it"), spaces)
    elif not asked:
        found = _("asks for no permission of an API") if names else _("is empty")
        yield odd("SCOPE", found, _("Remove it to ask for User.Read, which Call Graph needs."))
    elif len(asked) > 1 and any(name.endswith("/.default") or name == ".default" for name in asked):
        yield wrong(
            "SCOPE",
            _("mixes .default with other scopes"),
            _("Use .default alone, or list the permissions by name."),
        )
    elif "graph.windows.net" in hosts:
        mend = _("Use the permissions of Microsoft Graph, such as User.Read.")
        yield wrong("SCOPE", _("names the Azure AD Graph, which has been retired"), mend)
    elif len(resources) > 1:
        mend = _("Keep those of one API, and name the others where they are used, by login_required or auth.context.")
        yield wrong("SCOPE", _("has scopes of several APIs"), mend)
    elif calls_graph and (resources != {""} or hosts - {api}):  # another cloud's Graph is another API
        mend = _("Set ENDPOINT to an address of that API, or ask for a permission of Graph, such as User.Read.")
        yield odd("SCOPE", _("is for another API than the one that ENDPOINT calls"), mend)
    elif calls_graph and (meant := _misspelled(asked)):
        mend = _("Is %(meant)s meant?", meant=meant[1])
        yield odd("SCOPE", _("asks for %(name)s, which may be misspelled", name=meant[0]), mend)


def check_audience(settings: Settings) -> Iterator[Finding]:
    name, mend = "API_AUDIENCE", _("Write Application ID URIs of this app, separated by spaces.")
    if re.search(r"[,;|]", settings[name]):
        yield wrong(name, _("has commas or semicolons between the audiences"), mend)
    elif any(each.rstrip("/").lower() in GRAPH_AUDIENCES for each in settings[name].split()):
        yield wrong(name, _("names Microsoft Graph, whose tokens are for Graph alone"), mend)
    elif wrong_end := next((each for each in settings[name].split() if each.endswith("/.default")), None):
        audience = wrong_end.removesuffix("/.default")
        yield wrong(name, _("names a scope, not an audience"), _("Write %(meant)s.", meant=audience))


def _misspelled(names: list[str]) -> tuple[str, str] | None:
    known = {each.lower(): each for each in _GRAPH}
    for name in names:
        short = name.rpartition("/")[2]
        close = difflib.get_close_matches(short.lower(), known, 1, 0.8)
        if close and short.lower() not in known and not short.startswith("."):
            return short, known[close[0]]
    return None

"""The app around the settings: keys that nothing reads, pages that hide one of this package's, the layout of its pages."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from flask import Flask
from jinja2 import Environment, TemplateError, nodes
from werkzeug.exceptions import HTTPException

from flask_entra.config import OPTIONS, SWITCHES, Config
from flask_entra.doctor.findings import VIEWS, Finding, odd, wrong
from flask_entra.health import PATHS
from flask_entra.pages.languages import Text as _
from flask_entra.settings import PREFIX, SETTINGS, WHERE_FROM, key_of
from flask_entra.signin.guards import unguarded
from flask_entra.signin.known_groups import unknown_groups

_KEYS = {*SWITCHES, *OPTIONS, *map(key_of, SETTINGS), WHERE_FROM}


def check_app(app: Flask, config: Config) -> list[Finding]:
    """What is odd about an app, apart from its settings.

    :param app: with all of its pages.
    """
    return [
        *_check_keys(app),
        *_check_pages(app, config),
        *_check_layout(app, config),
        *_check_order(app),
        *_check_groups(app, config),
    ]


def _check_order(app: Flask) -> Iterator[Finding]:
    if found := unguarded(app):
        decorators, views = ", ".join(sorted(set(found.values()))), "; ".join(found)
        told = _("are open to everybody, although they have %(name)s: %(views)s", name=decorators, views=views)
        yield wrong(VIEWS, told, _("Put %(name)s below the route.", name=decorators))


def _check_groups(app: Flask, config: Config) -> Iterator[Finding]:
    if found := unknown_groups(app, config.groups):
        told = _("name a group that the setting GROUPS does not have: %(views)s", views=", ".join(found))
        yield wrong(VIEWS, told, _("Add the name to GROUPS, as name=id, or write the group's Object ID."))


def _check_keys(app: Flask) -> Iterator[Finding]:
    for key in sorted(each for each in app.config if each.startswith(PREFIX) and each not in _KEYS):
        names = {each.removeprefix(PREFIX): each for each in _KEYS}
        close = difflib.get_close_matches(key.removeprefix(PREFIX), names, 1, 0.7)
        mend = _("Is %(meant)s meant?", meant=names[close[0]]) if close else _("Remove it.")
        yield odd(key, _("is no setting of flask_entra, so nothing reads it"), mend)


def _check_pages(app: Flask, config: Config) -> Iterator[Finding]:
    """Two pages at one address: Flask shows the one that was added first, and says nothing."""
    own = {
        config.login_path: (f"{config.blueprint}.login", "ENTRA_LOGIN_PATH"),
        config.logout_path: (f"{config.blueprint}.logout", "ENTRA_LOGOUT_PATH"),
    }
    if "ENTRA_HEALTH" in config.on:
        own |= {path: (path.strip("/"), "ENTRA_HEALTH") for path in PATHS}
    for path, (endpoint, key) in own.items():
        shown = _shown_at(app, path)
        others = {
            rule.endpoint
            for rule in app.url_map.iter_rules()
            if rule.rule == path and rule.endpoint != endpoint and "GET" in (rule.methods or {"GET"})
        }
        if shown != endpoint:
            found = _("gives way: %(path)s shows the app's page %(page)s", path=path, page=shown)
        elif others:
            found = _("hides the app's page %(page)s, which is at %(path)s too", path=path, page=min(others))
        else:
            continue
        mend = _("Give one of the two another path.")
        yield odd(key, found, _("Set it to False, or give your page another path.") if path in PATHS else mend)


def _shown_at(app: Flask, path: str) -> str | None:
    try:
        return str(app.url_map.bind("localhost").match(path, "GET")[0])
    except HTTPException:
        return None


def _check_layout(app: Flask, config: Config) -> Iterator[Finding]:
    if not config.layout:
        return
    try:
        blocks = _blocks(app.jinja_env, config.layout)
    except TemplateError as error:
        cause = f"{type(error).__name__}: {error}"
        found = _("cannot be shown: %(error)s", error=cause)
        yield odd("ENTRA_LAYOUT", found, _("Name a template of the app, or leave it out."))
        return
    wanted = {"ENTRA_LAYOUT_BLOCK": config.layout_block, "ENTRA_LAYOUT_TITLE_BLOCK": config.layout_title_block}
    for key, block in wanted.items():
        if blocks is not None and block not in blocks:
            found = _("is %(block)s, and %(layout)s has no such block", block=block, layout=config.layout)
            yield odd(key, found, _("Name one of its blocks: %(names)s.", names=", ".join(sorted(blocks)) or "–"))


def _blocks(environment: Environment, name: str) -> set[str] | None:
    """The names of a template's blocks, and of those that it inherits; None if only a request tells what it inherits from."""
    source = environment.loader.get_source(environment, name)[0] if environment.loader else ""
    tree = environment.parse(source, name)
    blocks = {block.name for block in tree.find_all(nodes.Block)}
    for extends in tree.find_all(nodes.Extends):
        inherited = _blocks(environment, extends.template.value) if isinstance(extends.template, nodes.Const) else None
        if inherited is None:
            return None
        blocks |= inherited
    return blocks

"""All that the doctor does, in its order: the checks of the settings, then what has to be asked."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace

from flask import Flask

from flask_entra.commands import Command, relative
from flask_entra.config import of
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.findings import AUTHORITIES, Finding, Level, keyed, odd, shown, wrong
from flask_entra.doctor.inquiries import ask_authority, ask_endpoint, ask_tenants
from flask_entra.doctor.own_app import check_app
from flask_entra.doctor.parts import Parts
from flask_entra.doctor.permissions import ask_about_permissions
from flask_entra.doctor.sign_outs import ask_about_sign_outs
from flask_entra.doctor.stores import ask_store
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings, number
from flask_entra.urls import is_loopback, split_url


def taken_paths(app: Flask) -> frozenset[str]:
    """The paths of all pages but the redirect URI."""
    endpoint = f"{of(app).blueprint}.auth_response"
    return frozenset(rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != endpoint)


def examine(app: Flask, parts: Parts, port: int, *, offline: bool = False) -> list[Finding]:
    """All that can be told, the authority and the session store having been asked.

    :param port: where the app is, or will be, served.
    :param offline: whether only settings and files are looked at, and no request is sent.
    :return: first what is wrong or odd, then what is right, then what cannot be asked. The authority and the API are asked
        only when nothing is wrong with the settings as they are written. No setting is right that another finding doubts.
    """
    settings = parts.config.settings
    findings = [*check_settings(settings, taken_paths(app)), *check_app(app, parts.config)]
    findings += [*_check_git(settings), *_check_port(settings, port), *_check_proxy(settings)]
    wrongly_set = {name for finding in findings if finding.level == "wrong" for name in finding.names()}
    not_asked = {*AUTHORITIES, "ENDPOINT", "REDIS_URL"} if offline else set[str]()
    asked = [] if "REDIS_URL" in wrongly_set or (offline and settings["REDIS_URL"]) else ask_store(parts)
    if not offline and not any(finding.level == "wrong" for finding in findings):
        asked += [*ask_authority(parts), *ask_tenants(parts), ask_endpoint(parts)]
        asked += [*ask_about_permissions(app, parts), *ask_about_sign_outs(parts)]
    asked = [*{(str(each.setting), str(each.found)): each for each in asked}.values()]  # two may fail by one cause
    blamed = {name for finding in asked if finding.level == "wrong" for name in finding.names()}
    findings = [each for each in findings if each.level == "wrong" or not each.names() & blamed]
    doubted = _mentioned(findings + asked, "wrong")
    left_out = {*doubted, *_mentioned(findings + asked, "odd"), "REDIRECT_URI"}
    # Microsoft's, and not meant here.
    left_out |= {name for name in ("SCOPE", "ENDPOINT") if not getattr(parts.config, name.lower())}
    shown_as_they_are = [name for name, value in settings.items() if value and name not in left_out]
    sound = [Finding(name, "right", _shape(settings, name)) for name in shown_as_they_are if name not in not_asked]
    asked_right = [finding for finding in asked if finding.level == "right" and not finding.names() & doubted]
    unchecked = [
        Finding(name, "unchecked", _shape(settings, name), _("Not asked: this is without a request (--offline)"))
        for name in shown_as_they_are
        if name in not_asked
    ]
    unchecked += [] if "REDIRECT_URI" in wrongly_set else [_unchecked(settings)]
    told = [*findings, *(each for each in asked if each.level != "right"), *sound, *asked_right, *unchecked]
    told = [
        each if each.source or each in asked_right else replace(each, source=settings.source(str(each.setting)))
        for each in told
    ]
    return list(map(keyed, told)) if settings.keyed else told


def _mentioned(findings: list[Finding], level: Level) -> set[str]:
    """The settings that findings of a level blame, or speak of."""
    return {name for each in findings if each.level == level for name in each.names(mentioned=True)}


def _unchecked(settings: Settings) -> Finding:
    """What only the person who registers the app can compare."""
    match = (
        _("Not checked: must match what is registered at the provider, character for character")
        if settings["OIDC_AUTHORITY"]
        else _("Not checked: must match Authentication › Web character for character")
    )
    return Finding("REDIRECT_URI", "unchecked", _shape(settings, "REDIRECT_URI"), match)


def _shape(settings: Settings, name: str) -> str | _:
    value, kind = settings[name], settings.table[name].kind
    if kind == "secret":
        return _("is set (%(count)s characters)", count=len(value))
    return f"= {shown(value) if kind == 'url' else value}"


def _check_port(settings: Settings, port: int) -> Iterator[Finding]:
    redirect_uri = split_url(settings["REDIRECT_URI"])
    if is_loopback(redirect_uri.hostname) and redirect_uri.port != port:
        yield Finding(
            "REDIRECT_URI",
            "odd",
            _("has another port than the one served, %(port)s", port=port),
            _(
                "Run the app on that port (%(command)s), or correct it here and in the registration.",
                command=Command("flask", "run", "--port", str(redirect_uri.port or 80)),
            ),
        )


def _check_proxy(settings: Settings) -> Iterator[Finding]:
    if is_loopback(split_url(settings["REDIRECT_URI"]).hostname) or number(settings["TRUSTED_PROXY_COUNT"]) != 0:
        return
    mend = _(
        "Put a buffering proxy such as nginx in front, and count it here: "
        "half-sent requests can take all threads of an app that is reached directly."
    )
    yield odd("TRUSTED_PROXY_COUNT", _("is 0, so nothing seems to stand between this app and the internet"), mend)


def _check_git(settings: Settings) -> Iterator[Finding]:
    dotenv = settings.dotenv.path
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no git, no history
        tracked = ["git", "ls-files", "--error-unmatch", dotenv.name]
        git = dotenv.exists() and subprocess.run(tracked, cwd=dotenv.parent, capture_output=True, timeout=10)  # noqa: S603
        if git and git.returncode == 0:
            mend = _(
                "Run git rm --cached %(file)s, and make a new secret: the old one stays in the history.",
                file=relative(dotenv),
            )
            yield wrong(".env", _("is tracked by git, with the secret in it"), mend)

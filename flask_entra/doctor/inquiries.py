"""The checks that ask somebody: the authority, the API, the session store, git."""

from __future__ import annotations

import contextlib
import difflib
import os
import subprocess
from collections.abc import Iterator

import requests
from dotenv.parser import parse_stream
from flask import Flask

from flask_entra.bulkhead import Busy
from flask_entra.doctor.abilities import check_abilities, credential_name
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.findings import Finding
from flask_entra.doctor.permissions import ask_about_permissions
from flask_entra.http_client import BoundedSession
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import explain, sign_in_details
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.settings import Settings, number
from flask_entra.signin.auth import Auth
from flask_entra.signin.errors import AnotherIssuer, SignInError, TenantUnavailable
from flask_entra.signin.id_token import LEEWAY_SECONDS
from flask_entra.urls import is_loopback, split_url


def taken_paths(app: Flask) -> frozenset[str]:
    """The paths of all pages but the redirect URI."""
    return frozenset(rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "auth.answer")


def examine(app: Flask, auth: Auth, port: int) -> list[Finding]:
    """All that can be told, the authority and the session store having been asked.

    :param port: where the app is, or will be, served.
    :return: first what is wrong or odd with the settings as they are written, then what is right, then what was asked;
        the authority and the API are asked only when nothing is wrong so far.
    """
    settings: Settings = app.config["SETTINGS"]
    findings = check_settings(settings, taken_paths(app))
    findings += [*_check_git(settings), *_check_names(settings), *_check_port(settings, port), *_check_proxy(settings)]
    found = {name for finding in findings for name in str(finding.setting).split(" + ")}
    sound = not any(finding.level == "wrong" for finding in findings)
    unused = {name for name in ("SCOPE", "ENDPOINT") if not app.config[name]}  # Microsoft's, and not meant here
    findings += [
        Finding(name, "right", _shape(settings, name))
        for name, value in settings.items()
        if value and name not in found and name not in unused
    ]
    findings += _ask_store(app)
    if sound:
        findings += [*_ask_authority(app, auth), _ask_endpoint(app, auth.http), *ask_about_permissions(app, auth)]
    return findings


def _shape(settings: Settings, name: str) -> str | _:
    value, kind = settings[name], settings.table[name].kind
    if kind == "secret":
        return _("is set (%(count)s characters)", count=len(value))
    if kind == "url" and set(value) & set("@?#"):  # it may hold a password
        return f"= {value.partition('://')[0]}://…@{split_url(value).hostname or '…'}"
    return f"= {value}"


def _check_port(settings: Settings, port: int) -> Iterator[Finding]:
    redirect_uri = split_url(settings["REDIRECT_URI"])
    if is_loopback(redirect_uri.hostname) and redirect_uri.port != port:
        yield Finding(
            "REDIRECT_URI",
            "odd",
            _("has another port than the one served, %(port)s", port=port),
            _(
                "Run the app on that port (flask run --port %(wanted)s), or correct it here and in the registration.",
                wanted=redirect_uri.port or 80,
            ),
        )


def _check_proxy(settings: Settings) -> Iterator[Finding]:
    if is_loopback(split_url(settings["REDIRECT_URI"]).hostname) or number(settings["TRUSTED_PROXY_COUNT"]) != 0:
        return
    yield Finding(
        "TRUSTED_PROXY_COUNT",
        "odd",
        _("is 0, so nothing seems to stand between this app and the internet"),
        _(
            "Put a buffering proxy such as nginx in front, and count it here: "
            "half-sent requests can take all threads of an app that is reached directly."
        ),
    )


def _check_git(settings: Settings) -> Iterator[Finding]:
    dotenv = settings.dotenv
    if not dotenv.exists():
        return
    if os.environ.get("FLASK_SKIP_DOTENV"):
        found = _("is there, but FLASK_SKIP_DOTENV keeps it from being read")
        yield Finding(".env", "odd", found, _("Unset that."))
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no git, no history
        tracked = ["git", "ls-files", "--error-unmatch", dotenv.name]
        if subprocess.run(tracked, cwd=dotenv.parent, capture_output=True, timeout=10).returncode == 0:  # noqa: S603
            mend = _("Run git rm --cached .env, and make a new secret: the old one stays in the history.")
            yield Finding(".env", "wrong", _("is tracked by git, with the secret in it"), mend)


def _check_names(settings: Settings) -> Iterator[Finding]:
    with contextlib.suppress(OSError, UnicodeDecodeError), settings.dotenv.open(encoding="utf-8") as file:
        for name in [binding.key for binding in parse_stream(file) if binding.key]:
            meant = difflib.get_close_matches(name, settings, 1, 0.7)
            if name not in settings and meant:
                yield Finding(name, "odd", _("is no setting of this app"), _("Is %(meant)s meant?", meant=meant[0]))


def _ask_store(app: Flask) -> list[Finding]:
    name = "REDIS_URL" if app.config["REDIS_URL"] else "SESSION_FILE_DIR"
    try:
        app.extensions["session_store"].ping()
    except StoreUnavailable as error:
        mend = (
            _("Check the address, and that Redis runs.")
            if app.config["REDIS_URL"]
            else _("Check the path and its owner.")
        )
        return [Finding(name, "wrong", _("cannot be used: %(error)s", error=error), mend)]
    if policy := app.extensions["session_store"].evicts():
        found = _("may delete live sessions when its memory is full (maxmemory-policy %(policy)s)", policy=policy)
        return [
            Finding(
                name, "odd", found, _("Set maxmemory-policy to noeviction: a deleted session is a person signed out.")
            )
        ]
    return [Finding(name, "right", _("can be used"))]


def _ask_authority(app: Flask, auth: Auth) -> Iterator[Finding]:
    authorities = ("AUTHORITY", "OIDC_AUTHORITY", "B2C_TENANT_NAME")
    name = next(name for name in authorities if app.config["SETTINGS"][name])
    try:
        provider = auth.tenant.provider
    except AnotherIssuer as error:
        found = _("publishes another issuer: %(issuer)s", issuer=error.issuer[:200])
        yield Finding(
            name, "wrong", found, _("If that is the provider that you mean, write it here exactly like that.")
        )
        return
    except TenantUnavailable as error:
        yield _unreachable(name, error)
        return
    yield Finding(name, "right", _("answers, as %(issuer)s", issuer=provider.issuer))
    yield from _check_clock(auth.tenant.clock_offset)
    credential = credential_name(app.config["SETTINGS"])
    if not provider.entra:
        abilities = [*check_abilities(provider, app.config)]
        yield from abilities
        if not app.config["CLIENT_CREDENTIAL"] or any(each.setting == credential for each in abilities):
            return
    elif "{tenantid}" in provider.issuer or name != "AUTHORITY":
        return  # a token that needs no person is given by one Entra tenant only
    try:
        answer = auth.check_credential()
    except SignInError as error:
        answer = {"error": error.error, "error_description": error.description}
    except TenantUnavailable as error:
        yield _unreachable(name, error)
        return
    if "error" not in answer:
        yield Finding(credential, "right", _("is accepted by the tenant"))
    else:
        problem = explain(SignInError(answer["error"], answer.get("error_description", "")))
        code = sign_in_details(answer.get("error_description", "")).get("code", answer["error"])
        blamed = {"AADSTS700016": "CLIENT_ID", "AADSTS90002": name, "AADSTS900023": name}.get(code, credential)
        found = _("is not accepted by the tenant (%(code)s)", code=code)
        yield Finding(blamed, "wrong", found, f"{problem.explanation.text} {problem.advice}")


def _ask_endpoint(app: Flask, http: BoundedSession) -> Finding:
    if not app.config["ENDPOINT"]:
        found = _("is not set, so there is no API to call: the sign-in's token is not for Microsoft Graph")
        return Finding("ENDPOINT", "odd", found, _("Set it to the address of the API that the token is for."))
    try:
        http.fetch("GET", app.config["ENDPOINT"])  # whatever it answers to somebody without a token
    except (requests.RequestException, Busy) as error:
        found = _("cannot be reached: %(error)s", error=type(error).__name__)
        mend = _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy.")
        return Finding("ENDPOINT", "wrong", found, mend)
    return Finding("ENDPOINT", "right", _("answers"))


def _unreachable(name: str, error: TenantUnavailable) -> Finding:
    kind = type(error.__cause__).__name__
    mend = {
        "ProxyError": _("The proxy refuses: check HTTPS_PROXY and NO_PROXY."),
        "SSLError": _("Its certificate is not trusted: set REQUESTS_CA_BUNDLE to your organization's certificates."),
    }.get(kind, _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy."))
    if "redirects to" in str(error):
        mend = _("Write the address that it redirects to, without /.well-known/openid-configuration.")
    elif "discovery answered 4" in str(error) and name != "OIDC_AUTHORITY":
        found = _("is no tenant that exists there (%(error)s)", error=error)
        mend = _(
            "Copy the Directory (tenant) ID from the Overview of the app registration. Is CLIENT_ID the other one?"
        )
        return Finding(name, "wrong", found, mend)
    return Finding(name, "wrong", _("cannot be reached: %(error)s", error=error), mend)


def _check_clock(offset: float | None) -> Iterator[Finding]:
    if offset is None:
        return
    seconds = round(abs(offset))
    if seconds < 60:
        yield Finding(_("The clock"), "right", _("agrees with the authority's"))
    else:
        yield Finding(
            _("The clock"),
            "wrong" if seconds > LEEWAY_SECONDS else "odd",
            _("is off by %(seconds)s seconds", seconds=seconds),
            _("Set this machine's clock by NTP: tokens are valid by the minute."),
        )

"""The checks that ask somebody: the authority, the API, the session store, git."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import requests
from flask import Flask

from flask_entra.bulkhead import Busy
from flask_entra.clouds import GUID
from flask_entra.commands import Command, relative
from flask_entra.config import Config, of
from flask_entra.doctor.abilities import check_abilities, credential_name
from flask_entra.doctor.addresses import without_own_tenant
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.findings import AUTHORITIES, CLOCK, Finding, Level, all_shown, keyed, odd, shown, wrong
from flask_entra.doctor.own_app import check_app
from flask_entra.doctor.parts import Parts
from flask_entra.doctor.permissions import ask_about_permissions
from flask_entra.doctor.sign_outs import ask_about_sign_outs
from flask_entra.doctor.stores import ask_store
from flask_entra.pages.entra_errors import ENTRA_ERRORS
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import explain, sign_in_details
from flask_entra.settings import Settings, number
from flask_entra.signin.errors import AnotherIssuer, AuthorityUnavailable, SignInError
from flask_entra.signin.id_token import LEEWAY_SECONDS
from flask_entra.urls import is_loopback, origin, split_url

# The setting that an error code of Entra is about, if it is not the credential.
_BLAMED = {
    "AADSTS700016": "CLIENT_ID",
    "AADSTS7000112": "CLIENT_ID",
    "AADSTS7000229": "CLIENT_ID",
    "AADSTS90002": "AUTHORITY",
    "AADSTS900023": "AUTHORITY",
    "AADSTS50194": "AUTHORITY",
    "AADSTS9002331": "AUTHORITY",
}
# What is true of an app whichever tenant is asked: it is for one tenant, or its secret is wrong or has expired.
_SAID_OF_ANY_TENANT = ("AADSTS50194", "AADSTS7000215", "AADSTS7000222")
_NETWORK = _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy.")


def taken_paths(app: Flask) -> frozenset[str]:
    """The paths of all pages but the redirect URI."""
    endpoint = f"{of(app).blueprint}.auth_response"
    return frozenset(rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != endpoint)


def examine(app: Flask, parts: Parts, port: int) -> list[Finding]:
    """All that can be told, the authority and the session store having been asked.

    :param port: where the app is, or will be, served.
    :return: first what is wrong or odd, then what is right, then what cannot be asked. The authority and the API are asked
        only when nothing is wrong with the settings as they are written. No setting is right that another finding doubts.
    """
    settings = parts.config.settings
    findings = [*check_settings(settings, taken_paths(app)), *check_app(app, parts.config)]
    findings += [*_check_git(settings), *_check_port(settings, port), *_check_proxy(settings)]
    wrongly_set = {name for finding in findings if finding.level == "wrong" for name in finding.names()}
    asked = [] if "REDIS_URL" in wrongly_set else ask_store(parts)
    if not any(finding.level == "wrong" for finding in findings):
        asked += [*_ask_authority(parts), *_ask_tenants(parts), _ask_endpoint(parts)]
        asked += [*ask_about_permissions(app, parts), *ask_about_sign_outs(parts)]
    asked = [*{(str(each.setting), str(each.found)): each for each in asked}.values()]  # two may fail by one cause
    blamed = {name for finding in asked if finding.level == "wrong" for name in finding.names()}
    findings = [each for each in findings if each.level == "wrong" or not each.names() & blamed]
    doubted = _mentioned(findings + asked, "wrong")
    left_out = {*doubted, *_mentioned(findings + asked, "odd"), "REDIRECT_URI"}
    # Microsoft's, and not meant here.
    left_out |= {name for name in ("SCOPE", "ENDPOINT") if not getattr(parts.config, name.lower())}
    sound = [
        Finding(name, "right", _shape(settings, name))
        for name, value in settings.items()
        if value and name not in left_out
    ]
    asked_right = [finding for finding in asked if finding.level == "right" and not finding.names() & doubted]
    unchecked = [] if "REDIRECT_URI" in wrongly_set else [_unchecked(settings)]
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


def _ask_authority(parts: Parts) -> Iterator[Finding]:
    name = next(name for name in AUTHORITIES if parts.config.settings[name])
    try:
        provider = parts.authority.provider
    except AnotherIssuer as error:
        found = _("publishes another issuer: %(issuer)s", issuer=error.issuer[:200])
        yield wrong(name, found, _("If that is the provider that you mean, write it here exactly like that."))
        return
    except AuthorityUnavailable as error:
        yield _unreachable(parts, name, error)
        return
    yield Finding(name, "right", _("answers, as %(issuer)s", issuer=provider.issuer))
    yield from _check_clock(parts.authority.clock_offset)
    credential = credential_name(parts.config.settings)
    if not provider.entra:
        abilities = [*check_abilities(provider, parts.config)]
        yield from abilities
        if not parts.config.client_credential or any(each.setting == credential for each in abilities):
            return
    elif name != "AUTHORITY":
        return  # a token that needs no person is given by one tenant of Entra ID only
    try:
        answer = parts.client.check_credential()
    except SignInError as error:
        answer = {"error": error.error, "error_description": error.description}
    except AuthorityUnavailable as error:
        yield _unreachable(parts, name, error)
        return
    if "error" not in answer:
        yield Finding(credential, "right", _("is accepted by the tenant"))
        return
    code = sign_in_details(answer.get("error_description", "")).get("code", answer["error"])
    if "{tenantid}" in provider.issuer and code not in _SAID_OF_ANY_TENANT:
        return  # `common` and `organizations` are not tenants, so they issue no app-only token
    found = _("is not accepted by the tenant (%(code)s)", code=code)
    yield wrong(_BLAMED.get(code, credential), found, _refused(parts.config, code, answer))


def _refused(config: Config, code: str, answer: dict[str, str]) -> str | _:
    """What to do about an app that the authority does not take."""
    description = answer.get("error_description", "")
    if code == "AADSTS7000229":
        return _("Make a service principal: az ad sp create --id %(client_id)s", client_id=config.client_id)
    if code in ENTRA_ERRORS:
        problem = explain(SignInError(answer["error"], description))
        return f"{problem.explanation.text} {problem.advice}"
    # The words for other errors would send people to this command.
    said = "".join(filter(str.isprintable, description.partition(" Trace ID")[0]))[:300]
    return _("Compare CLIENT_ID and the credential with the registration. The answer was: %(said)s", said=said or "–")


def _ask_tenants(parts: Parts) -> Iterator[Finding]:
    """Whether `ALLOWED_TENANTS` has the tenant that the authority's domain name stands for."""
    with contextlib.suppress(AuthorityUnavailable):
        tenant = GUID.search(split_url(parts.authority.provider.issuer).path)
        allowed = parts.config.allowed_tenants
        if parts.config.settings["AUTHORITY"] and allowed and tenant and tenant[0].lower() not in allowed:
            yield without_own_tenant(tenant[0])


def _ask_endpoint(parts: Parts) -> Finding:
    name, url = "ENDPOINT", parts.config.endpoint
    if not url:
        found = _("is not set, so there is no API to call: the sign-in's token is not for Microsoft Graph")
        return odd(name, found, _("Set it to the address of the API that the token is for."))
    try:
        status = parts.http.fetch("GET", url).status_code  # without a token, which an API asks for by 401 (RFC 6750, 3)
    except (requests.RequestException, Busy) as error:
        return _unanswered(parts.config.settings, name, error)
    if status in (401, 403):
        return Finding(name, "right", _("answers, and asks for a token (%(status)s)", status=status))
    if status in (404, 410):
        found = _("answers %(status)s: there is nothing at this address", status=status)
        return wrong(name, found, _("Compare it with the documentation of the API."))
    if 300 <= status < 400:
        found = _("answers %(status)s, which leads to another address", status=status)
        return odd(name, found, _("Set it to the address of the API itself, not of a page."))
    if status < 300:
        found = _("answers %(status)s without asking for a token", status=status)
        return odd(name, found, _("See whether it is the API that SCOPE is for."))
    found = _("answers %(status)s, where an API asks for a token (401)", status=status)
    return odd(name, found, _("Try again later, or compare it with the documentation of the API."))


def _unanswered(settings: Settings, name: str, error: Exception) -> Finding:
    """Why there is no answer from the address in a setting, in our words: the library's are English."""
    if isinstance(error, requests.exceptions.ProxyError):
        given = (each for proxy in ("HTTPS_PROXY", "ALL_PROXY") for each in (proxy.lower(), proxy))
        proxy = next((each for each in given if settings.environ.get(each)), "HTTPS_PROXY")
        found = _("names a proxy that cannot be reached, or refuses")
        return wrong(proxy, found, _("Correct it, or name the hosts that need no proxy in NO_PROXY."))
    if isinstance(error, requests.exceptions.SSLError):
        mend = _("Set REQUESTS_CA_BUNDLE to the certificates of your organization (PEM).")
        return wrong(name, _("has a certificate that is not trusted here"), mend)
    if isinstance(error, requests.Timeout):
        return wrong(name, _("cannot be reached: there is no answer in time"), _NETWORK)
    return wrong(name, _("cannot be reached: nothing answers there"), _NETWORK)


def _unreachable(parts: Parts, name: str, error: AuthorityUnavailable) -> Finding:
    if isinstance(error.__cause__, (requests.RequestException, Busy)):
        return _unanswered(parts.config.settings, name, error.__cause__)
    if redirected := re.search(r"redirects to (\S*),", str(error)):
        mend = _("Write the address that it redirects to, without /.well-known/openid-configuration.")
        return wrong(name, _("redirects to %(where)s", where=shown(redirected[1])), mend)
    if "discovery answered 4" in str(error) and name != "OIDC_AUTHORITY":
        if name == "AUTHORITY" and _is_a_tenant(parts):
            mend = _(
                "CLIENT_ID is the ID of a tenant, and AUTHORITY ends with another: write each in the other's place."
            )
            return wrong("CLIENT_ID + AUTHORITY", _("may be swapped"), mend)
        mend = _(
            "Copy the Directory (tenant) ID from the Overview of the app registration. Is CLIENT_ID the other one?"
        )
        return wrong(name, _("is no tenant that exists there"), mend)
    found = _("does not answer as an authority does (%(error)s)", error=all_shown(str(error)))
    return wrong(name, found, _("Compare the address with what your provider publishes, or try again later."))


def _is_a_tenant(parts: Parts) -> bool:
    """Whether the authority has a tenant whose id is the one in `CLIENT_ID`."""
    client_id = parts.config.client_id
    url = f"{origin(parts.config.authority)}/{client_id}/v2.0/.well-known/openid-configuration"
    try:
        return bool(GUID.fullmatch(client_id)) and parts.authority.fetch("GET", url).status_code == 200
    except AuthorityUnavailable:
        return False


def _check_clock(offset: float | None) -> Iterator[Finding]:
    if offset is None:
        return
    seconds = round(abs(offset))
    if seconds < 60:
        yield Finding(CLOCK, "right", _("agrees with the authority's"))
    else:
        yield Finding(
            CLOCK,
            "wrong" if seconds > LEEWAY_SECONDS else "odd",
            _("is off by %(seconds)s seconds", seconds=seconds),
            _("Set this machine's clock by NTP: tokens are valid by the minute."),
        )

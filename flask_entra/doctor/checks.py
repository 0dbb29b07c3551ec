"""The checks of the settings as they are written, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flask_entra import group_names
from flask_entra.doctor import addresses, credentials, dotenv_file, own_addresses, redis_url, scopes, spelling
from flask_entra.doctor.findings import AUTHORITIES, CREDENTIALS, Finding, odd, wrong
from flask_entra.hints import is_domain_hint
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings, duration, number
from flask_entra.urls import split_url

_SWITCHED = ("on", "off", "true", "false", "yes", "no", "1", "0")
_ENOUGH_THREADS = 500  # in one process they take turns, and each takes memory


def check_settings(settings: Settings, taken: frozenset[str] = frozenset()) -> list[Finding]:
    """What can be told of the settings without asking anybody.

    A setting has one finding, the first that is wrong or else the first that is odd: what else would be said of it is said of
    a value that has to change anyway.

    :param settings: as they were written.
    :param taken: the paths of the app's own pages, which the redirect URI must not have.
    """
    findings = [finding for check in _CHECKS for finding in check(settings)]
    if split_url(settings["REDIRECT_URI"]).path in taken - {"", "/"}:
        findings.append(own_addresses.no_path_of_its_own())
    findings.sort(key=lambda finding: finding.level != "wrong")  # those that are wrong first
    told, blamed = [], set[str]()
    for finding in findings:
        names = finding.names()
        if not names or names - blamed:
            told.append(replace(finding, source=settings.source(str(finding.setting))))
        blamed |= names
    return told


def _check_alternatives(settings: Settings) -> Iterator[Finding]:
    one = _("Keep one of them and remove the others.")
    *own, by_platform = CREDENTIALS
    given = [name for name in own if settings[name]]
    if given and settings[by_platform]:
        found = _("is not used, because %(name)s is set", name=given[0])
        yield odd(by_platform, found, _("Remove %(name)s to have no secret to keep.", name=given[0]))
    if len(given) > 1:
        yield wrong(" + ".join(given), _("exclude each other: more than one credential is set"), one)
    if len(given := [name for name in AUTHORITIES if settings[name]]) > 1:
        yield wrong(" + ".join(given), _("exclude each other: more than one authority is set"), one)


def _check_rest(settings: Settings) -> Iterator[Finding]:
    if number(settings["TRUSTED_PROXY_COUNT"]) is None:
        yield wrong("TRUSTED_PROXY_COUNT", _("is not a number"), _("Count the proxies in front, or remove it."))
    threads = number(settings["THREADS"])
    if not threads:
        yield wrong("THREADS", _("is not a number above 0"), _("Correct it, or remove it."))
    elif threads > _ENOUGH_THREADS:
        found = _("is more than one process can use")
        yield odd("THREADS", found, _("Write 64, and set WEB_CONCURRENCY to more processes if they are too few."))
    for name in ("SESSION_IDLE_MINUTES", "SESSION_MAX_HOURS"):
        if not duration(settings[name]):
            yield wrong(name, _("is not a number above 0"), _("Correct it, or remove it."))
    if malformed := group_names.read(settings["GROUPS"])[1]:
        found = _("has an entry that is no group, or names one twice: %(entry)s", entry=malformed[0][:100])
        yield wrong("GROUPS", found, _("Write name=id, with the group's Object ID, and a comma between two groups."))
    if settings["DOMAIN_HINT"] and not is_domain_hint(settings["DOMAIN_HINT"]):
        found = _("is no domain, so no sign-in is given it as a hint")
        yield odd("DOMAIN_HINT", found, _("Write your organization's domain, such as contoso.com, or remove it."))
    for name in ("REMEMBER_ACCOUNT", "SESSION_COOKIE_PERSISTENT"):
        if settings[name].lower() not in _SWITCHED:
            yield wrong(name, _("is neither on nor off"), _("Use one of the two, or remove it."))
    if settings["LOG_FORMAT"] not in ("text", "json"):
        yield wrong("LOG_FORMAT", _("is neither text nor json"), _("Use one of the two, or remove it."))


_CHECKS = (
    dotenv_file.check_file,
    dotenv_file.check_required,
    dotenv_file.check_reading,
    spelling.check_spelling,
    addresses.check_any_address,
    credentials.check_client_id,
    credentials.check_credential,
    credentials.check_managed_identity,
    credentials.check_federated_token,
    credentials.check_certificate,
    addresses.check_authority,
    addresses.check_b2c,
    addresses.check_tenants,
    own_addresses.check_redirect_uri,
    own_addresses.check_hosts,
    own_addresses.check_origins,
    own_addresses.check_root,
    scopes.check_scope,
    scopes.check_audience,
    addresses.check_endpoint,
    redis_url.check_redis,
    addresses.check_network,
    _check_alternatives,
    _check_rest,
    dotenv_file.check_names,
)

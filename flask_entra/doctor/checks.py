"""The checks of the settings as they are written: one function for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from dotenv.parser import parse_stream
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS

from flask_entra.certificates import read_certificate
from flask_entra.clouds import GRAPH_CLOUDS, GUID, is_entra, is_microsoft
from flask_entra.doctor.findings import Finding, Level
from flask_entra.doctor.permissions import check_one_api
from flask_entra.pages.languages import Day
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.redis_address import SCHEMES, read_address
from flask_entra.settings import Settings, number
from flask_entra.urls import is_loopback, split_url


def check_settings(settings: Settings, taken: frozenset[str] = frozenset()) -> list[Finding]:
    """What can be told of the settings without asking anybody.

    :param settings: as they were written.
    :param taken: the paths of the app's own pages, which the redirect URI must not have.
    """
    findings = [*_check_dotenv(settings.dotenv), *(finding for check in _CHECKS for finding in check(settings))]
    path = split_url(settings["REDIRECT_URI"]).path
    return [*findings, *(_no_path_of_its_own() if path in taken - {"", "/"} else ())]


_PLACEHOLDER = re.compile(
    r"<[^>]*>|\b(enter|your)[ _-]|_here\b|tenant_guid|tenant_id|client_id|client_secret|changeme|^x+$|0{8}-(0{4}-){3}0{12}",
    re.IGNORECASE,
)
_REQUIRED = {
    "CLIENT_ID": _("the Application (client) ID of your app registration"),
    "CLIENT_SECRET": _("the value of a client secret (not its ID)"),
    "AUTHORITY": _("https://login.microsoftonline.com/ and your Directory (tenant) ID"),
}


def _check_dotenv(path: Path) -> list[Finding]:
    try:
        with path.open(encoding="utf-8") as file:
            broken = [binding.original for binding in parse_stream(file) if binding.error]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        return [Finding(".env", "wrong", _("cannot be read: %(error)s", error=error), _("Save it as UTF-8 text."))]
    return [
        Finding(
            ".env",
            "wrong",
            _("line %(line)s cannot be understood", line=original.line),
            _("Write each setting on a line of its own as NAME=value."),
        )
        for original in broken
    ]


def _check_required(settings: Settings) -> Iterator[Finding]:
    # A provider other than Entra may want a public client: then SECRET_KEY is what the app cannot do without.
    public = () if is_entra(settings["OIDC_AUTHORITY"]) else ("SECRET_KEY",)
    others = {
        "CLIENT_SECRET": ("CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", *public),
        "AUTHORITY": ("OIDC_AUTHORITY", "B2C_TENANT_NAME"),
    }
    for name, what in _REQUIRED.items():
        if not any(settings[each] for each in (name, *others.get(name, ()))):
            yield Finding(name, "wrong", _("is missing"), _("Set it to %(what)s.", what=what))


def _check_shape(settings: Settings) -> Iterator[Finding]:
    for name, value in settings.items():
        kind = settings.table[name].kind
        if kind == "path" or (kind == "secret" and name != "CLIENT_SECRET"):  # these may hold anything
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            yield Finding(name, "wrong", _("has quotes around its value"), _("Remove the quotes."))
        elif re.fullmatch(rf"<({GUID.pattern}|\S*~\S*)>", value, re.IGNORECASE):
            yield Finding(name, "wrong", _("has < and > around its value"), _("Remove them."))
        elif name in _REQUIRED and _PLACEHOLDER.search(value):
            yield Finding(name, "wrong", _("still holds a placeholder"), _("Set it to %(what)s.", what=_REQUIRED[name]))
        elif re.search(r"[\r\n]", value):
            yield Finding(name, "wrong", _("has a line break in its value"), _("Write it on one line."))
        elif kind in ("id", "url") and name != "REDIS_URL" and re.search(r"\s", value):
            yield Finding(name, "wrong", _("has a space in its value"), _("Remove the space."))


def _check_client_id(settings: Settings) -> Iterator[Finding]:
    client_id, tenant = settings["CLIENT_ID"], split_url(settings["AUTHORITY"]).path.strip("/").split("/")[0]
    if not client_id or not settings["AUTHORITY"] or _PLACEHOLDER.search(client_id):
        return
    if client_id.lower() == tenant.lower():
        yield Finding(
            "CLIENT_ID",
            "wrong",
            _("is the directory (tenant) ID that AUTHORITY has"),
            _("Set it to the Application (client) ID, which stands above it in the registration's Overview."),
        )
    elif not GUID.fullmatch(client_id):
        level: Level = "wrong" if is_microsoft(split_url(settings["AUTHORITY"]).hostname) else "odd"
        yield Finding("CLIENT_ID", level, _("is not a GUID"), _("Copy the Application (client) ID from the Overview."))


def _check_credential(settings: Settings) -> Iterator[Finding]:
    names = [
        name for name in ("CLIENT_SECRET", "CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE") if settings[name]
    ]
    if len(names) > 1:
        yield Finding(
            " + ".join(names),
            "wrong",
            _("exclude each other: more than one credential is set"),
            _("Keep one of them and remove the others."),
        )
    if GUID.fullmatch(settings["CLIENT_SECRET"]):
        yield Finding(
            "CLIENT_SECRET",
            "odd",
            _("is a GUID, which is what a secret's ID looks like"),
            _("Copy the secret's Value. It is shown only once: if it is gone, add a new secret."),
        )
    if settings["AZURE_FEDERATED_TOKEN_FILE"]:
        if not settings["SECRET_KEY"]:
            yield Finding(
                "SECRET_KEY",
                "wrong",
                _("is missing, and there is no secret or certificate to derive it from"),
                _("Set it to 32 or more random characters, the same on every machine."),
            )
        try:
            Path(settings["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
        except (OSError, ValueError) as error:
            yield Finding(
                "AZURE_FEDERATED_TOKEN_FILE",
                "wrong",
                _("cannot be read: %(error)s", error=getattr(error, "strerror", None) or error),
                _("Check the path, and that the app may read the file."),
            )
    if settings["SECRET_KEY"] and len(settings["SECRET_KEY"]) < 16:
        yield Finding("SECRET_KEY", "wrong", _("is short enough to be guessed"), _("Use 32 or more random characters."))


def _check_certificate(settings: Settings) -> Iterator[Finding]:
    if not settings["CLIENT_CERTIFICATE_PATH"]:
        return
    try:
        certificate = read_certificate(
            settings["CLIENT_CERTIFICATE_PATH"], settings["CLIENT_CERTIFICATE_PASSWORD"]
        ).x509
    except ValueError as error:
        yield Finding(
            "CLIENT_CERTIFICATE_PATH",
            "wrong",
            _("cannot be used: %(error)s", error=error),
            _("Give a PEM file with the private key and the certificate, or a PFX file, and its password."),
        )
        return
    now, end = datetime.now(timezone.utc), certificate.not_valid_after_utc
    mend = _("Make a new certificate, register it beside the old one, then replace the file.")
    if end < now:
        yield Finding("CLIENT_CERTIFICATE_PATH", "wrong", _("expired on %(date)s", date=Day(end)), mend)
    elif certificate.not_valid_before_utc > now:
        yield Finding(
            "CLIENT_CERTIFICATE_PATH",
            "wrong",
            _("is not valid before %(date)s", date=Day(certificate.not_valid_before_utc)),
            _("Check this machine's clock, or wait."),
        )
    elif end - now < timedelta(days=30):
        yield Finding("CLIENT_CERTIFICATE_PATH", "odd", _("expires on %(date)s", date=Day(end)), mend)


def _check_authority(settings: Settings) -> Iterator[Finding]:
    given = [name for name in ("AUTHORITY", "OIDC_AUTHORITY", "B2C_TENANT_NAME") if settings[name]]
    if len(given) > 1:
        yield Finding(
            " + ".join(given),
            "wrong",
            _("exclude each other: more than one authority is set"),
            _("Keep one of them and remove the others."),
        )
    if settings["B2C_TENANT_NAME"] and not settings["SIGNUPSIGNIN_USER_FLOW"]:
        yield Finding(
            "SIGNUPSIGNIN_USER_FLOW",
            "wrong",
            _("is missing"),
            _("Set it to the name of your sign-up and sign-in flow."),
        )
    for name in ("AUTHORITY", "OIDC_AUTHORITY"):
        value = settings[name]
        parts = split_url(value)
        mend = _("Set it to %(what)s.", what=_REQUIRED["AUTHORITY"])
        if not value or _PLACEHOLDER.search(value):
            continue
        if parts.scheme == "http":
            yield Finding(name, "wrong", _("uses http"), _("Use https: tokens are asked for there."))
        elif parts.scheme != "https" or not parts.hostname:
            yield Finding(name, "wrong", _("is not a URL that begins with https://"), mend)
        elif name == "AUTHORITY" and not parts.path.strip("/") and not parts.hostname.endswith(".ciamlogin.com"):
            yield Finding(name, "wrong", _("has no tenant after the host name"), mend)
        elif name == "OIDC_AUTHORITY" and "/.well-known/" in parts.path:
            mend = _("Leave out /.well-known/openid-configuration.")
            yield Finding(name, "wrong", _("is the URL of one endpoint, not of the provider"), mend)
        elif name == "AUTHORITY" and re.search(r"/(v2\.0|oauth2(/.*)?|\.well-known/.*)/?$", parts.path):
            yield Finding(name, "wrong", _("is the URL of one endpoint, not of the tenant"), mend)


def _check_tenants(settings: Settings) -> Iterator[Finding]:
    allowed = re.split(r"[\s,]+", settings["ALLOWED_TENANTS"])
    if settings["ALLOWED_TENANTS"] and not all(GUID.fullmatch(each) for each in allowed if each):
        yield Finding(
            "ALLOWED_TENANTS",
            "wrong",
            _("holds something that is no tenant ID"),
            _("List tenant IDs (GUIDs), comma separated."),
        )
    elif (
        split_url(settings["AUTHORITY"]).path.strip("/") in ("common", "organizations")
        and not settings["ALLOWED_TENANTS"]
    ):
        yield Finding(
            "AUTHORITY",
            "odd",
            _("lets people of every organization sign in"),
            _("If the app is for your organization only, use your Directory (tenant) ID, or set ALLOWED_TENANTS."),
        )


def _check_redirect_uri(settings: Settings) -> Iterator[Finding]:
    parts = split_url(settings["REDIRECT_URI"])
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or set(parts.path) & set("<>")
    ):
        yield Finding(
            "REDIRECT_URI",
            "wrong",
            _("is not a URL with a path"),
            _(
                "Write it as it stands in the app registration, for example %(uri)s.",
                uri=settings.table["REDIRECT_URI"].default,
            ),
        )
    elif parts.path in ("", "/"):
        yield from _no_path_of_its_own()
    elif parts.scheme == "http" and parts.hostname != "localhost":
        yield Finding(
            "REDIRECT_URI",
            "odd" if is_loopback(parts.hostname) else "wrong",
            _("uses http on a host other than localhost"),
            _("Entra accepts http for localhost only: write localhost, or use https, in the registration too."),
        )


def _no_path_of_its_own() -> Iterator[Finding]:
    mend = _("Register a path such as /getAToken, and use the same here.")
    yield Finding("REDIRECT_URI", "wrong", _("has no path of its own"), mend)


def _check_scope(settings: Settings) -> Iterator[Finding]:
    names = settings["SCOPE"].split()
    defaults = [name for name in names if name.endswith("/.default") or name == ".default"]
    if not names and is_entra(settings["OIDC_AUTHORITY"]):
        yield Finding("SCOPE", "odd", _("is empty"), _("Remove it to ask for User.Read, which Call Graph needs."))
    elif defaults and len(names) > 1:
        yield Finding(
            "SCOPE",
            "wrong",
            _("mixes .default with other scopes"),
            _("Use .default alone, or list the permissions by name."),
        )


def _check_endpoint(settings: Settings) -> Iterator[Finding]:
    endpoint, authority = split_url(settings["ENDPOINT"]), split_url(settings["AUTHORITY"]).hostname
    if endpoint.scheme != "https" or not endpoint.hostname:
        yield Finding(
            "ENDPOINT", "wrong", _("is not a URL that begins with https://"), _("The token may travel by https only.")
        )
        return
    home = GRAPH_CLOUDS.get(endpoint.hostname)
    if home and authority in WELL_KNOWN_AUTHORITY_HOSTS and authority in GRAPH_CLOUDS.values() and authority != home:
        graph = next(host for host, login in GRAPH_CLOUDS.items() if login == authority)
        yield Finding(
            "ENDPOINT",
            "wrong",
            _("is the Graph of another cloud than AUTHORITY"),
            _("For this authority the host is %(host)s.", host=graph),
        )


def _check_rest(settings: Settings) -> Iterator[Finding]:
    if number(settings["TRUSTED_PROXY_COUNT"]) is None:
        yield Finding(
            "TRUSTED_PROXY_COUNT", "wrong", _("is not a number"), _("Count the proxies in front, or remove it.")
        )
    if not number(settings["THREADS"]):
        yield Finding("THREADS", "wrong", _("is not a number above 0"), _("Correct it, or remove it."))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name) and not Path(os.environ[name]).exists():
            yield Finding(name, "wrong", _("names a file that is not there"), _("Correct it, or unset it."))
    if settings["LOG_FORMAT"] not in ("text", "json"):
        yield Finding("LOG_FORMAT", "wrong", _("is neither text nor json"), _("Use one of the two, or remove it."))


def _check_redis(settings: Settings) -> Iterator[Finding]:
    if not settings["REDIS_URL"]:
        return
    schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    wrong = {
        "scheme": (_("does not begin with redis://"), _("Begin it with one of these: %(schemes)s.", schemes=schemes)),
        "host": (
            _("cannot be read as an address"),
            _("Percent-encode the special characters of its password, such as a slash or an at sign."),
        ),
        "master": (
            _("does not name Sentinel's master"),
            _("Write its name after the hosts: %(example)s.", example="redis+sentinel://host:26379/mymaster"),
        ),
        "database": (_("has a database that is not a number"), _("Correct it, or leave it out.")),
    }
    try:
        read_address(settings["REDIS_URL"])
    except ValueError as error:
        yield Finding("REDIS_URL", "wrong", *wrong[str(error)])
        return
    if not settings["SECRET_KEY"] and not settings["AZURE_FEDERATED_TOKEN_FILE"]:
        yield Finding(
            "SECRET_KEY",
            "odd",
            _("is missing, so it changes with the client secret, and sign-ins that are under way then fail"),
            _("Set it to 32 or more random characters, the same on every machine."),
        )


_CHECKS = (
    _check_required,
    _check_shape,
    _check_client_id,
    _check_credential,
    _check_certificate,
    _check_authority,
    _check_tenants,
    _check_redirect_uri,
    _check_scope,
    check_one_api,
    _check_endpoint,
    _check_redis,
    _check_rest,
)

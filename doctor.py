"""What is wrong with the settings, and how to mend it: `flask doctor`, and the configuration page."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click
import requests
from dotenv.parser import parse_stream
from flask import Flask, render_template, request
from flask_babel import format_date, gettext
from flask_babel import lazy_gettext as _
from flask_babel.speaklater import LazyString
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS, WELL_KNOWN_B2C_HOSTS

from app_config import DEFAULTS, DOTENV, GRAPH_CLOUDS, GUID, SETTINGS, is_loopback, number, read_certificate, split_url
from auth import Auth, SignInError
from http_client import BoundedSession
from problems import sign_in_details, sign_in_problem
from sessions import StoreUnavailable
from tenant import LEEWAY_SECONDS, TenantUnavailable


@dataclass(frozen=True)
class Finding:
    """What a check found about one setting: `wrong` keeps everybody from signing in, `odd` is worth a look."""

    setting: str
    level: str  # "right", "odd" or "wrong"
    found: str
    mend: str = ""


def init_app(app: Flask, auth: Auth) -> None:
    """Show the configuration page instead of a sign-in that cannot work, and add the command `flask doctor`."""
    findings = check_settings(app.config["SETTINGS"])
    if any(finding.level == "wrong" for finding in findings):

        @app.before_request
        def show_configuration():
            if request.endpoint not in ("static", "healthz", None):  # None: there is no such page
                return render_template("configuration.html", findings=findings), 200 if request.path == "/" else 503
            return None

    @app.cli.command("doctor")
    @click.option("--port", type=int, default=int(os.environ.get("FLASK_RUN_PORT", "5000")), help="The port served.")
    def doctor(port: int) -> None:
        """Check the settings, and ask the authority about them."""
        found = examine(app, auth, port)
        signs = {"right": "✓", "odd": "!", "wrong": "✗"}
        try:
            "✓✗".encode(sys.stdout.encoding)
        except UnicodeEncodeError:  # a file or an old console on Windows
            signs = {"right": "+", "odd": "!", "wrong": "x"}
        for finding in found:
            sign = signs[finding.level]
            click.echo(f"{sign} {finding.setting} {finding.found}." + (f" {finding.mend}" if finding.mend else ""))
        raise SystemExit(any(finding.level == "wrong" for finding in found))


def check_settings(settings: Mapping[str, str]) -> list[Finding]:
    """What can be told of the settings without asking anybody."""
    return [*_check_dotenv(DOTENV), *(finding for check in _CHECKS for finding in check(settings))]


def examine(app: Flask, auth: Auth, port: int) -> list[Finding]:
    """All that can be told, the authority and the session store having been asked.

    :param port: where the app is, or will be, served.
    :return: first what is wrong or odd with the settings as they are written, then what is right, then what was asked;
        the authority and the API are asked only when nothing is wrong so far.
    """
    settings = app.config["SETTINGS"]
    findings = check_settings(settings)
    findings += [*_check_git(), *_check_names(), *_check_port(settings, port)]
    found = {name for finding in findings for name in str(finding.setting).split(" + ")}
    sound = not any(finding.level == "wrong" for finding in findings)
    findings += [
        Finding(name, "right", _shape(name, value)) for name, value in settings.items() if value and name not in found
    ]
    findings += _ask_store(app)
    if sound:
        findings += [*_ask_authority(app, auth), _ask_endpoint(app, auth.http)]
    return findings


# --- What has to be asked -------------------------------------------------------------------------------------------


def _shape(name: str, value: str) -> str:
    if name in ("CLIENT_SECRET", "SECRET_KEY", "CLIENT_CERTIFICATE_PASSWORD"):
        return gettext("is set (%(count)s characters)", count=len(value))
    if name == "REDIS_URL":  # may hold a password
        parts = split_url(value)
        return f"= {parts.scheme}://{'…@' if parts.username or parts.password else ''}{parts.hostname or parts.path}"
    return f"= {value}"


def _check_port(settings, port):
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


def _check_git() -> Iterator[Finding]:
    if not DOTENV.exists():
        return
    if os.environ.get("FLASK_SKIP_DOTENV"):
        found = _("is there, but FLASK_SKIP_DOTENV keeps it from being read")
        yield Finding(".env", "odd", found, _("Unset that."))
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no git, no history
        tracked = ["git", "ls-files", "--error-unmatch", DOTENV.name]
        if subprocess.run(tracked, cwd=DOTENV.parent, capture_output=True, timeout=10).returncode == 0:  # noqa: S603
            mend = _("Run git rm --cached .env, and make a new secret: the old one stays in the history.")
            yield Finding(".env", "wrong", _("is tracked by git, with the secret in it"), mend)


def _check_names() -> Iterator[Finding]:
    with contextlib.suppress(OSError, UnicodeDecodeError), DOTENV.open(encoding="utf-8") as file:
        for name in [binding.key for binding in parse_stream(file) if binding.key]:
            meant = difflib.get_close_matches(name, SETTINGS, 1, 0.7)
            if name not in SETTINGS and meant:
                yield Finding(name, "odd", _("is no setting of this app"), _("Is %(meant)s meant?", meant=meant[0]))


def _ask_store(app: Flask) -> list[Finding]:
    name = "REDIS_URL" if app.config["REDIS_URL"] else "SESSION_FILE_DIR"
    try:
        app.session_interface.store.ping()
    except StoreUnavailable as error:
        mend = (
            _("Check the address, and that Redis runs.")
            if app.config["REDIS_URL"]
            else _("Check the path and its owner.")
        )
        return [Finding(name, "wrong", _("cannot be used: %(error)s", error=error), mend)]
    return [Finding(name, "right", gettext("can be used"))]


def _ask_authority(app: Flask, auth: Auth) -> Iterator[Finding]:
    authorities = ("AUTHORITY", "OIDC_AUTHORITY", "B2C_TENANT_NAME")
    name = next(name for name in authorities if app.config["SETTINGS"][name])
    try:
        metadata = auth.tenant.metadata
    except TenantUnavailable as error:
        yield _unreachable(name, error)
        return
    yield Finding(name, "right", gettext("answers, as %(issuer)s", issuer=metadata["issuer"]))
    yield from _check_clock(auth.tenant.clock_offset)
    if "{tenantid}" in metadata["issuer"] or name != "AUTHORITY":
        return  # a token that needs no person is given by one Entra tenant only
    credential = next(
        (each for each in ("CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE") if app.config["SETTINGS"][each]),
        "CLIENT_SECRET",
    )
    try:
        answer = auth.check_credential()
    except SignInError as error:
        answer = {"error": error.error, "error_description": error.description}
    except TenantUnavailable as error:
        yield _unreachable(name, error)
        return
    if "error" not in answer:
        yield Finding(credential, "right", gettext("is accepted by the tenant"))
    else:
        problem = sign_in_problem(SignInError(answer["error"], answer.get("error_description", "")))
        code = sign_in_details(answer.get("error_description", "")).get("code", answer["error"])
        blamed = {"AADSTS700016": "CLIENT_ID", "AADSTS90002": name, "AADSTS900023": name}.get(code, credential)
        found = gettext("is not accepted by the tenant (%(code)s)", code=code)
        yield Finding(blamed, "wrong", found, f"{problem.text} {problem.advice}")


def _ask_endpoint(app: Flask, http: BoundedSession) -> Finding:
    try:
        http.fetch("GET", app.config["ENDPOINT"])  # whatever it answers to somebody without a token
    except requests.RequestException as error:
        found = _("cannot be reached: %(error)s", error=type(error).__name__)
        mend = _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy.")
        return Finding("ENDPOINT", "wrong", found, mend)
    return Finding("ENDPOINT", "right", gettext("answers"))


def _unreachable(name: str, error: TenantUnavailable) -> Finding:
    kind = type(error.__cause__).__name__
    mend = {
        "ProxyError": _("The proxy refuses: check HTTPS_PROXY and NO_PROXY."),
        "SSLError": _("Its certificate is not trusted: set REQUESTS_CA_BUNDLE to your organization's certificates."),
    }.get(kind, _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy."))
    if "discovery answered 4" in str(error):
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
        yield Finding(_("The clock"), "right", gettext("agrees with the authority's"))
    else:
        yield Finding(
            _("The clock"),
            "wrong" if seconds > LEEWAY_SECONDS else "odd",
            _("is off by %(seconds)s seconds", seconds=seconds),
            _("Set this machine's clock by NTP: tokens are valid by the minute."),
        )


# --- What can be told of the settings without asking anybody --------------------------------------------------------

_PLACEHOLDER = re.compile(
    r"<[^>]*>|\b(enter|your)[ _-]|_here\b|tenant_guid|tenant_id|client_id|client_secret|changeme|^x+$|0{8}-(0{4}-){3}0{12}",
    re.IGNORECASE,
)
_WITHOUT_SPACE = ("CLIENT_ID", "AUTHORITY", "OIDC_AUTHORITY", "REDIRECT_URI", "ENDPOINT")
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


def _check_required(settings):
    others = {
        "CLIENT_SECRET": ("CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"),
        "AUTHORITY": ("OIDC_AUTHORITY", "B2C_TENANT_NAME"),
    }
    for name, what in _REQUIRED.items():
        if not any(settings[each] for each in (name, *others.get(name, ()))):
            yield Finding(name, "wrong", _("is missing"), _("Set it to %(what)s.", what=what))


def _check_shape(settings):
    for name, value in settings.items():
        if name.endswith(("_PASSWORD", "_PATH", "_DIR", "_FILE")) or name == "SECRET_KEY":
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            yield Finding(name, "wrong", _("has quotes around its value"), _("Remove the quotes."))
        elif re.fullmatch(rf"<({GUID.pattern}|\S*~\S*)>", value, re.IGNORECASE):
            yield Finding(name, "wrong", _("has < and > around its value"), _("Remove them."))
        elif name in _REQUIRED and _PLACEHOLDER.search(value):
            yield Finding(name, "wrong", _("still holds a placeholder"), _("Set it to %(what)s.", what=_REQUIRED[name]))
        elif re.search(r"[\r\n]", value):
            yield Finding(name, "wrong", _("has a line break in its value"), _("Write it on one line."))
        elif name in _WITHOUT_SPACE and re.search(r"\s", value):
            yield Finding(name, "wrong", _("has a space in its value"), _("Remove the space."))


def _check_client_id(settings):
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
        level = "wrong" if _is_microsoft(split_url(settings["AUTHORITY"]).hostname) else "odd"
        yield Finding("CLIENT_ID", level, _("is not a GUID"), _("Copy the Application (client) ID from the Overview."))


def _check_credential(settings):
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


def _check_certificate(settings):
    if not settings["CLIENT_CERTIFICATE_PATH"]:
        return
    try:
        certificate = read_certificate(settings)[2]
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
        yield Finding("CLIENT_CERTIFICATE_PATH", "wrong", _("expired on %(date)s", date=_date(end)), mend)
    elif certificate.not_valid_before_utc > now:
        yield Finding(
            "CLIENT_CERTIFICATE_PATH",
            "wrong",
            _("is not valid before %(date)s", date=_date(certificate.not_valid_before_utc)),
            _("Check this machine's clock, or wait."),
        )
    elif end - now < timedelta(days=30):
        yield Finding("CLIENT_CERTIFICATE_PATH", "odd", _("expires on %(date)s", date=_date(end)), mend)


def _check_authority(settings):
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
        elif name == "AUTHORITY" and re.search(r"/(v2\.0|oauth2(/.*)?|\.well-known/.*)/?$", parts.path):
            yield Finding(name, "wrong", _("is the URL of one endpoint, not of the tenant"), mend)


def _check_tenants(settings):
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


def _check_redirect_uri(settings):
    parts = split_url(settings["REDIRECT_URI"])
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        yield Finding(
            "REDIRECT_URI",
            "wrong",
            _("is not a URL with a path"),
            _("Write it as it stands in the app registration, for example %(uri)s.", uri=DEFAULTS["REDIRECT_URI"]),
        )
    elif parts.path in ("", "/", "/login", "/logout", "/call_graph", "/photo", "/healthz", "/readyz"):
        yield Finding(
            "REDIRECT_URI",
            "wrong",
            _("has no path of its own"),
            _("Register a path such as /getAToken, and use the same here."),
        )
    elif parts.scheme == "http" and parts.hostname != "localhost":
        yield Finding(
            "REDIRECT_URI",
            "odd" if is_loopback(parts.hostname) else "wrong",
            _("uses http on a host other than localhost"),
            _("Entra accepts http for localhost only: write localhost, or use https, in the registration too."),
        )


def _check_scope(settings):
    names = settings["SCOPE"].split()
    defaults = [name for name in names if name.endswith("/.default") or name == ".default"]
    if not names:
        yield Finding("SCOPE", "odd", _("is empty"), _("Remove it to ask for User.Read, which Call Graph needs."))
    elif defaults and len(names) > 1:
        yield Finding(
            "SCOPE",
            "wrong",
            _("mixes .default with other scopes"),
            _("Use .default alone, or list the permissions by name."),
        )


def _check_endpoint(settings):
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


def _check_rest(settings):
    if number(settings["TRUSTED_PROXY_COUNT"]) is None:
        yield Finding(
            "TRUSTED_PROXY_COUNT", "wrong", _("is not a number"), _("Count the proxies in front, or remove it.")
        )
    if not number(settings["THREADS"]):
        yield Finding("THREADS", "wrong", _("is not a number above 0"), _("Correct it, or remove it."))
    if settings["REDIS_URL"] and split_url(settings["REDIS_URL"]).scheme not in ("redis", "rediss", "unix"):
        yield Finding("REDIS_URL", "wrong", _("does not begin with redis://, rediss:// or unix://"), _("Correct it."))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name) and not Path(os.environ[name]).exists():
            yield Finding(name, "wrong", _("names a file that is not there"), _("Correct it, or unset it."))
    if settings["LOG_FORMAT"] not in ("text", "json"):
        yield Finding("LOG_FORMAT", "wrong", _("is neither text nor json"), _("Use one of the two, or remove it."))


def _date(when: datetime) -> LazyString:
    """A date, in the language of whoever reads it."""
    return LazyString(format_date, when.date(), "long")


def _is_microsoft(host: str | None) -> bool:
    return host in WELL_KNOWN_AUTHORITY_HOSTS or bool(
        host and host.endswith(tuple(f".{h}" for h in WELL_KNOWN_B2C_HOSTS))
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
    _check_endpoint,
    _check_rest,
)

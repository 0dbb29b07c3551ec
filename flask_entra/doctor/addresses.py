"""The addresses of others: of the authority, of the API and of a proxy. (`redis_url` has that of Redis.)"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS

from flask_entra.clouds import GRAPH_CLOUDS, GUID
from flask_entra.doctor.findings import REQUIRED, Finding, odd, wrong
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings
from flask_entra.urls import split_url

_PORTALS = (
    "portal.azure.com",
    "portal.azure.us",
    "portal.azure.cn",
    "entra.microsoft.com",
    "aad.portal.azure.com",
    "developer.microsoft.com",
    "learn.microsoft.com",
    "myapps.microsoft.com",
    "admin.microsoft.com",
)
_SHARED = ("common", "organizations", "consumers")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_TENANT = _("Set it to %(what)s.", what=REQUIRED["AUTHORITY"])
_ONE_ENDPOINT = {
    "AUTHORITY": (_("is the URL of one endpoint, not of the tenant"), _TENANT),
    "OIDC_AUTHORITY": (
        _("is the URL of one endpoint, not of the provider"),
        _("Leave out /.well-known/openid-configuration."),
    ),
}


def check_any_address(settings: Settings) -> Iterator[Finding]:
    """What no address may be, whatever it is for."""
    for name, setting in settings.table.items():
        value = settings[name]
        parts = split_url(value)
        host = parts.hostname or ""
        if setting.kind != "url" or not value or name == "REDIS_URL":
            continue
        if re.search(r"[\s,;]+\S+://", value):
            yield wrong(name, _("holds more than one address"), _("Keep the one that this app is to use."))
        elif host in ("http", "https"):
            yield wrong(name, _("has https:// twice"), _("Remove one of them."))
        elif "\\" in value:
            yield wrong(name, _("has a backslash in it"), _("Write slashes: /."))
        elif host in _PORTALS or host.endswith(".portal.azure.com"):
            yield wrong(name, _("is a page of the portal or of the documentation"), _right_address(name))
        elif host.endswith((".microsoftonline.de", "graph.microsoft.de")):
            yield wrong(
                name, _("is in the German cloud, which was closed in 2021"), _("Register the app in another cloud.")
            )
        elif host == "graph.windows.net":
            mend = _("Use Microsoft Graph: https://graph.microsoft.com/v1.0/me.")
            yield wrong(name, _("is the Azure AD Graph, which has been retired"), mend)


def _right_address(name: str) -> Text:
    return {
        "AUTHORITY": _TENANT,
        "ENDPOINT": _("Set it to the address of the API, such as https://graph.microsoft.com/v1.0/me."),
        "REDIRECT_URI": _("Set it to this app's own address, as it stands under Authentication › Web."),
    }.get(name, _("Set it to the address that your provider names."))


# --- The authority ------------------------------------------------------------------------------------------------------


def check_authority(settings: Settings) -> Iterator[Finding]:
    for name in ("AUTHORITY", "OIDC_AUTHORITY"):
        if value := settings[name]:
            parts = split_url(value)
            if parts.scheme == "http" and parts.hostname:
                yield wrong(name, _("uses http"), _("Use https: tokens are asked for there."))
            elif parts.scheme != "https" or not parts.hostname:
                yield wrong(name, _("is not a URL that begins with https://"), _TENANT)
            elif parts.query or parts.fragment:
                yield wrong(name, _("has a ? or a # in it"), _("Leave out what begins there."))
            elif re.search(r"/\.well-known(/.*)?$", parts.path):
                yield wrong(name, *_ONE_ENDPOINT[name])
            elif name == "AUTHORITY":
                yield from _check_entra_authority(value)


def _check_entra_authority(value: str) -> Iterator[Finding]:
    parts = split_url(value)
    host, segments = parts.hostname or "", [each for each in parts.path.split("/") if each]
    tenant = segments[0] if segments else ""
    own_host = host.endswith((".ciamlogin.com", ".b2clogin.com"))
    close = difflib.get_close_matches(host, WELL_KNOWN_AUTHORITY_HOSTS, 1, 0.85)
    shared = difflib.get_close_matches(tenant.lower(), _SHARED, 1, 0.7)
    if host in GRAPH_CLOUDS:
        yield wrong("AUTHORITY", _("is the address of Microsoft Graph, which belongs in ENDPOINT"), _TENANT)
    elif host in ("sts.windows.net", "login.live.com", "account.microsoft.com"):
        yield wrong("AUTHORITY", _("is not where Entra signs people in"), _TENANT)
    elif close and host not in WELL_KNOWN_AUTHORITY_HOSTS:
        yield wrong("AUTHORITY", _("has a host name that is nearly right"), _("Is %(host)s meant?", host=close[0]))
    elif not segments and not host.endswith(".ciamlogin.com"):
        yield wrong("AUTHORITY", _("has no tenant after the host name"), _TENANT)
    elif {"v2.0", "oauth2", "v1.0", "saml2", "wsfed"} & set(segments):
        yield wrong("AUTHORITY", *_ONE_ENDPOINT["AUTHORITY"])
    elif host in WELL_KNOWN_AUTHORITY_HOSTS and len(segments) > 1:
        yield wrong("AUTHORITY", _("has more after the host name than the tenant"), _TENANT)
    elif segments and not own_host and tenant.lower() not in _SHARED and not _names_a_tenant(tenant):
        found = _("has a tenant that is neither an ID nor a domain name")
        yield wrong("AUTHORITY", found, _("Is %(host)s meant?", host=shared[0]) if shared else _TENANT)


def _names_a_tenant(name: str) -> bool:
    return bool(GUID.fullmatch(name) or re.fullmatch(r"[\w-]+(\.[\w-]+)+", name))


def check_b2c(settings: Settings) -> Iterator[Finding]:
    name, flow = "B2C_TENANT_NAME", "SIGNUPSIGNIN_USER_FLOW"
    value = settings[name]
    if "." in value or "/" in value:
        short = re.sub(r"^https?://", "", value).split(".")[0].strip("/")
        yield wrong(name, _("is a domain, not the tenant's name alone"), _("Write %(meant)s.", meant=short))
    if value and not settings[flow]:
        yield wrong(flow, _("is missing"), _("Set it to the name of your sign-up and sign-in flow."))
    for each in (flow, "EDITPROFILE_USER_FLOW", "RESETPASSWORD_USER_FLOW"):
        if settings[each] and not value:
            mend = _("Set B2C_TENANT_NAME, or remove it.")
            yield odd(each, _("has no effect without B2C_TENANT_NAME"), mend)
        elif settings[each] and not re.fullmatch(r"B2C_1A?_[\w-]+", settings[each], re.IGNORECASE):
            mend = _("Copy its name from the list of user flows: it begins with B2C_1_.")
            yield wrong(each, _("is not the name of a user flow"), mend)


def check_tenants(settings: Settings) -> Iterator[Finding]:
    allowed = {each for each in re.split(r"[\s,;]+", settings["ALLOWED_TENANTS"].lower()) if each}
    tenant = split_url(settings["AUTHORITY"]).path.strip("/").lower()
    if not all(GUID.fullmatch(each) for each in allowed):
        mend = _("List tenant IDs (GUIDs), comma separated.")
        yield wrong("ALLOWED_TENANTS", _("holds something that is no tenant ID"), mend)
    elif ";" in settings["ALLOWED_TENANTS"]:
        yield wrong("ALLOWED_TENANTS", _("has a semicolon"), _("List tenant IDs (GUIDs), comma separated."))
    elif allowed and settings["CLIENT_ID"].lower() in allowed:
        mend = _("List tenant IDs (GUIDs), comma separated.")
        yield wrong("ALLOWED_TENANTS", _("holds the Application (client) ID, which is no tenant's"), mend)
    elif allowed and GUID.fullmatch(tenant) and tenant not in allowed:
        yield without_own_tenant(tenant)
    elif tenant in ("common", "organizations") and not allowed:
        yield odd(
            "AUTHORITY",
            _("lets people of every organization sign in"),
            _("If the app is for your organization only, use your Directory (tenant) ID, or set ALLOWED_TENANTS."),
        )


def without_own_tenant(tenant: str) -> Finding:
    """`ALLOWED_TENANTS` lacks the one tenant whose people can come.

    :param tenant: its id.
    """
    found = _("does not have the tenant of AUTHORITY, so nobody can sign in")
    return wrong("ALLOWED_TENANTS", found, _("Add %(tenant)s, or remove the setting.", tenant=tenant))


# --- The API ------------------------------------------------------------------------------------------------------------


def check_endpoint(settings: Settings) -> Iterator[Finding]:
    name = "ENDPOINT"
    parts, authority = split_url(settings[name]), split_url(settings["AUTHORITY"]).hostname
    host = parts.hostname or ""
    close = difflib.get_close_matches(host, GRAPH_CLOUDS, 1, 0.9)
    if parts.scheme != "https" or not host:
        yield wrong(name, _("is not a URL that begins with https://"), _("The token may travel by https only."))
    elif host in WELL_KNOWN_AUTHORITY_HOSTS:
        yield wrong(name, _("is where people sign in, which belongs in AUTHORITY"), _right_address(name))
    elif close and host not in GRAPH_CLOUDS:
        yield wrong(name, _("has a host name that is nearly right"), _("Is %(host)s meant?", host=close[0]))
    elif host in GRAPH_CLOUDS and _differ(GRAPH_CLOUDS[host], authority):
        graph = next(each for each, login in GRAPH_CLOUDS.items() if login == authority)
        yield wrong(
            name,
            _("is the Graph of another cloud than AUTHORITY"),
            _("For this authority, set ENDPOINT=https://%(host)s/v1.0/me.", host=graph),
        )
    elif host in GRAPH_CLOUDS and not re.match(r"/(v1\.0|beta)/\S", parts.path):
        mend = _("Write, for example, https://%(host)s/v1.0/me.", host=host)
        yield wrong(name, _("has no version and resource after Graph's host name"), mend)


def _differ(home: str, authority: str | None) -> bool:
    known = authority in WELL_KNOWN_AUTHORITY_HOSTS and authority in GRAPH_CLOUDS.values()
    return known and authority != home


# --- The network -------------------------------------------------------------------------------------------------------


def check_network(settings: Settings) -> Iterator[Finding]:
    """The variables that are not settings of this app, but of its HTTP client."""
    for name in (each for proxy in _PROXIES for each in (proxy, proxy.lower())):
        if value := settings.environ.get(name, "").strip():
            parts = split_url(value)
            mend = _("Write it as http://host:port.")
            if parts.scheme not in ("http", "https", "socks4", "socks5", "socks5h") or not parts.hostname:
                yield wrong(name, _("is not the address of a proxy"), mend)
            elif parts.scheme.startswith("socks"):
                yield wrong(name, _("names a SOCKS proxy, which this app cannot use"), mend)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if value := settings.environ.get(name, ""):
            path = Path(value)
            if not path.exists():
                yield wrong(name, _("names a file that is not there"), _("Correct it, or unset it."))
            elif path.is_file() and os.access(path, os.R_OK) and b"-----BEGIN" not in path.read_bytes():
                yield wrong(name, _("names a file that holds no certificates"), _("Give a PEM file, or unset it."))

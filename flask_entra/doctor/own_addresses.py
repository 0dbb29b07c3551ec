"""The addresses of this app itself: its redirect URI and root, its hosts, and the sites that may send requests to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask_entra.doctor.findings import Finding, odd, wrong
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings, words
from flask_entra.urls import is_loopback, origin_pattern, split_url

# Werkzeug percent-encodes these in the path of a cookie, browsers do not in the path of a request.
_ROOT = re.compile(r"/|(/[\w\-.~]+)+/?", re.ASCII)
_STRANGE_IN_PATHS = re.compile(r"(?=[\x00-\x7f])[^\w\-.~!$&'()*+,/:=@]")
_HOST = re.compile(r"\.?[^\s./:@*?#\\]+(\.[^\s./:@*?#\\]+)*(:[0-9]{1,5})?")


def check_redirect_uri(settings: Settings) -> Iterator[Finding]:
    name, default = "REDIRECT_URI", settings.table["REDIRECT_URI"].default
    parts = split_url(settings[name])
    match = _("It must match Authentication › Web character for character.")
    root = settings["APPLICATION_ROOT"].rstrip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or set(settings[name]) & set("<>*"):
        mend = _("Write it as it stands in the app registration, for example %(uri)s.", uri=default)
        yield wrong(name, _("is not a URL with a path"), mend)
    elif parts.query or parts.fragment:
        yield wrong(name, _("has a ? or a # in it"), _("Leave out what begins there, in the registration too."))
    elif parts.username or parts.password:
        yield wrong(name, _("has a user name or a password in it"), _("Leave it out, in the registration too."))
    elif parts.path in ("", "/"):
        yield no_path_of_its_own()
    elif "//" in parts.path:
        yield wrong(name, _("has two slashes in a row in its path"), _("Write one, in the registration too."))
    elif "%" in parts.path:
        found = _("has a percent sign in its path, which servers decode, so that no request ever fits")
        yield wrong(name, found, _("Use letters, digits and hyphens in its path, in the registration too."))
    elif strange := _STRANGE_IN_PATHS.search(parts.path):
        found = _("has %(sign)s in its path, which the path of a cookie cannot have", sign=strange[0])
        yield wrong(name, found, _("Use letters, digits and hyphens in its path, in the registration too."))
    elif parts.scheme == "http" and parts.hostname != "localhost":
        yield Finding(
            name,
            "odd" if is_loopback(parts.hostname) else "wrong",
            _("uses http on a host other than localhost"),
            _("Entra accepts http for localhost only: write localhost, or use https, in the registration too."),
        )
    elif parts.scheme == "https" and is_loopback(parts.hostname):
        mend = _(
            "The development server has no TLS: write http://localhost, in the registration too, unless a proxy has it."
        )
        yield odd(name, _("uses https on this machine"), mend)
    elif parts.path.endswith("/"):
        yield odd(name, _("ends with a slash"), match)
    elif _ROOT.fullmatch(root) and not parts.path.startswith(f"{root}/"):
        mend = _("Begin its path with %(root)s/, in the registration too, or correct APPLICATION_ROOT.", root=root)
        yield wrong(name, _("is not below APPLICATION_ROOT"), mend)
    elif parts.path.lower() == "/getatoken" and parts.path != "/getAToken":
        yield odd(name, _("is not /getAToken, with two capitals, as Microsoft's samples register it"), match)


def check_root(settings: Settings) -> Iterator[Finding]:
    root = settings["APPLICATION_ROOT"]
    if not _ROOT.fullmatch(root):
        mend = _("Write the path below which the app is served, such as /portal, or remove it.")
        yield wrong("APPLICATION_ROOT", _("is not a path"), mend)


def no_path_of_its_own() -> Finding:
    """The redirect URI has no path, or that of another page."""
    mend = _("Register a path such as /getAToken, and use the same here.")
    return wrong("REDIRECT_URI", _("has no path of its own"), mend)


def check_hosts(settings: Settings) -> Iterator[Finding]:
    for each in words(settings["ALLOWED_HOSTS"]):
        if not _HOST.fullmatch(each):
            mend = _("Write host names, such as staging.example.com, or .example.com for all below it.")
            yield odd("ALLOWED_HOSTS", _("holds something that is no host name: %(host)s", host=each[:100]), mend)


def check_origins(settings: Settings) -> Iterator[Finding]:
    for each in words(settings["TRUSTED_ORIGINS"]):
        pattern = origin_pattern(each)
        host = (split_url(pattern).hostname or "").removeprefix("*.")
        if not pattern:
            mend = _(
                "Write scheme and host, such as https://www.example.com, or https://*.example.com for all below it."
            )
            yield wrong("TRUSTED_ORIGINS", _("holds something that is no origin: %(origin)s", origin=each[:100]), mend)
        elif "*" in pattern and "." not in host and host != "localhost":
            found = _("trusts every site below .%(host)s", host=host)
            yield odd("TRUSTED_ORIGINS", found, _("Name your own domain, as in https://*.example.com."))
        elif split_url(pattern).scheme == "http" and not is_loopback(host):
            found = _("trusts a site without https: %(origin)s", origin=each[:100])
            yield odd("TRUSTED_ORIGINS", found, _("Whoever is in its network can write its pages: use https there."))

"""Every setting of the app: environment and `.env` in, Flask configuration out.

The names are those of Microsoft's own Flask sample, so a `.env` that was written for it works here. Nothing is refused
here: `doctor.py` says what is wrong with a setting, and the configuration page shows it.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from dotenv import load_dotenv

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ROOT = Path(__file__).parent
DOTENV = ROOT / ".env"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

# Where Microsoft Graph answers, and where its cloud signs people in.
# https://learn.microsoft.com/graph/deployments
GRAPH_CLOUDS = {
    "graph.microsoft.com": "login.microsoftonline.com",
    "graph.microsoft.us": "login.microsoftonline.us",
    "dod-graph.microsoft.us": "login.microsoftonline.us",
    "microsoftgraph.chinacloudapi.cn": "login.partner.microsoftonline.cn",
}

SETTINGS = (
    "CLIENT_ID",
    "CLIENT_SECRET",
    "CLIENT_CERTIFICATE_PATH",
    "CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AUTHORITY",
    "OIDC_AUTHORITY",
    "B2C_TENANT_NAME",
    "SIGNUPSIGNIN_USER_FLOW",
    "EDITPROFILE_USER_FLOW",
    "RESETPASSWORD_USER_FLOW",
    "ALLOWED_TENANTS",
    "REDIRECT_URI",
    "SCOPE",
    "ENDPOINT",
    "REDIS_URL",
    "SESSION_FILE_DIR",
    "SECRET_KEY",
    "TRUSTED_PROXY_COUNT",
    "LOG_FORMAT",
    "THREADS",
)
DEFAULTS = {
    "REDIRECT_URI": "http://localhost:5000/getAToken",
    "SCOPE": "User.Read",
    "ENDPOINT": "https://graph.microsoft.com/v1.0/me",
    "SESSION_FILE_DIR": "flask_session",
    "TRUSTED_PROXY_COUNT": "0",
    "LOG_FORMAT": "text",
    "THREADS": "64",
}


def load(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Flask's configuration, from the environment and from a `.env` beside this file.

    :param environ: the settings, instead of the process's environment and `.env`.
    :return: a mapping for `app.config.from_mapping`; `SETTINGS` in it has each setting as it was written.
    """
    if environ is None:
        # `flask run` reads .env by itself, gunicorn does not. What the environment says goes before what the file says.
        if not os.environ.get("FLASK_SKIP_DOTENV"):
            with contextlib.suppress(OSError, UnicodeDecodeError):  # the doctor says so
                load_dotenv(DOTENV)
        environ = os.environ

    # A setting that is there but empty counts as left out, except SCOPE: empty says that no scope is wanted.
    given = {name: environ[name].strip() for name in SETTINGS if name in environ}
    settings = {**dict.fromkeys(SETTINGS, ""), **DEFAULTS}
    settings |= {name: value for name, value in given.items() if value or name == "SCOPE"}
    for name in ("CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "SESSION_FILE_DIR"):
        if settings[name]:  # not from wherever the app happens to be started
            settings[name] = str(ROOT / settings[name])
    credential, secret = None, settings["CLIENT_SECRET"]
    if settings["CLIENT_CERTIFICATE_PATH"]:
        try:
            credential, secret = read_certificate(settings)[:2]
        except ValueError:  # the doctor finds it too, and says so
            secret = ""
    elif settings["AZURE_FEDERATED_TOKEN_FILE"]:
        token_file = Path(settings["AZURE_FEDERATED_TOKEN_FILE"])
        # Kubernetes replaces the token every hour or so: MSAL calls this for each token request.
        credential = {"client_assertion": lambda: token_file.read_text().strip()}

    redirect_uri = split_url(settings["REDIRECT_URI"])
    https = redirect_uri.scheme == "https"
    return {
        **settings,
        "SETTINGS": settings,
        "CLIENT_CREDENTIAL": credential or settings["CLIENT_SECRET"] or None,
        "AUTHORITY": _authority(settings),
        "OIDC_AUTHORITY": settings["OIDC_AUTHORITY"].rstrip("/") or None,
        "ALLOWED_TENANTS": frozenset(re.split(r"[\s,]+", settings["ALLOWED_TENANTS"].lower())) - {""},
        "SCOPE": scopes(settings["SCOPE"], settings["ENDPOINT"]),
        "SANDBOX": is_loopback(split_url(settings["AUTHORITY"]).hostname),
        "APP_ORIGIN": f"{redirect_uri.scheme}://{redirect_uri.netloc}",
        # The machine itself may always ask (a health probe, or a person who typed 127.0.0.1); nobody else's name may.
        "TRUSTED_HOSTS": [redirect_uri.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"],
        "TRUSTED_PROXY_COUNT": number(settings["TRUSTED_PROXY_COUNT"]) or 0,
        "THREADS": number(settings["THREADS"]) or int(DEFAULTS["THREADS"]),
        # Signs the cookie of a sign-in begun. All workers, on all machines, must agree on it.
        "SECRET_KEY": settings["SECRET_KEY"] or (secret and hmac.digest(secret.encode(), b"sign-in", "sha256")) or None,
        "HTTPS": https,
        "SESSION_COOKIE_NAME": "__Host-session" if https else "session",
        "SESSION_COOKIE_SECURE": https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "MAX_CONTENT_LENGTH": 64 * 1024,
    }


def scopes(scope: str, endpoint: str) -> list[str]:
    """The scopes to ask for.

    A scope without a host means Microsoft Graph in the world-wide cloud; for a Graph of another cloud it needs the host.
    `openid`, `profile` and `offline_access` are left out: MSAL asks for them always, and refuses them here.

    :param scope: space separated, as in the setting `SCOPE`.
    :param endpoint: the URL that will be called.
    :return: the scopes, in the given order.
    """
    host = split_url(endpoint).hostname
    prefix = f"https://{host}/" if host in GRAPH_CLOUDS and host != "graph.microsoft.com" else ""
    names = [name for name in scope.split() if name not in ("openid", "profile", "offline_access")]
    return [name if "://" in name or name == "email" else prefix + name for name in names]


def split_url(url: str) -> SplitResult:
    """`urlsplit`, with an empty result for what is no URL at all (`https://[`, a port that is no number)."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  checked only when it is asked for
    except ValueError:
        return urlsplit("")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def read_certificate(settings: Mapping[str, str]) -> tuple[dict[str, str], str, Certificate]:
    """The certificate that proves who the app is, from PEM (key and certificate in one file) or PFX.

    :return: MSAL's `client_credential`, the private key as PEM, and the certificate.
    :raises ValueError: the file cannot be read or opened, or lacks the key or the certificate.
    """
    # Here, because who signs in with a secret has no use for these 30 ms at start.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    password = settings["CLIENT_CERTIFICATE_PASSWORD"].encode() or None
    try:
        data = Path(settings["CLIENT_CERTIFICATE_PATH"]).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    try:
        if b"-----BEGIN" in data:
            if b"PRIVATE KEY-----" not in data:
                raise ValueError("the file has a certificate but no private key")
            key = serialization.load_pem_private_key(data, password)
            certificate = x509.load_pem_x509_certificate(data)
        else:
            key, certificate, _others = pkcs12.load_key_and_certificates(data, password)
        if key is None or certificate is None:
            raise ValueError("the file lacks the private key or the certificate")
    except TypeError as error:  # a password is missing, or given for a key that has none
        raise ValueError(str(error)) from None
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return {"private_key": private, "public_certificate": public}, private, certificate


def _authority(settings: Mapping[str, str]) -> str | None:
    authority = settings["AUTHORITY"].rstrip("/")
    parts = split_url(authority)
    if parts.hostname and parts.hostname.endswith(".ciamlogin.com") and not parts.path:
        # External ID's short form: the tenant is in the host name.
        return f"{authority}/{parts.hostname.removesuffix('.ciamlogin.com')}.onmicrosoft.com"
    return authority or None


def number(value: str) -> int | None:
    """A count, or None for what is no such thing."""
    return int(value) if value.isdecimal() and value.isascii() else None

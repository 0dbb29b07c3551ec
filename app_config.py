"""Every setting of the app: environment and `.env` in, Flask configuration out.

The first names are those of Microsoft's own Flask sample, so a `.env` that was written for it works here. Nothing is refused:
`flask doctor` says what is wrong with a setting, and the configuration page shows it.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dotenv import find_dotenv

from flask_entra.certificates import read_certificate
from flask_entra.clouds import comparable_scopes, is_entra, qualified_scopes
from flask_entra.environment import Dotenv, is_skipped
from flask_entra.settings import Setting, Settings, number
from flask_entra.urls import is_loopback, origin, split_url

ROOT = Path(__file__).parent

# `.env.sample` explains each, in the same order.
SETTINGS = {
    "CLIENT_ID": Setting(kind="id"),
    "CLIENT_SECRET": Setting(kind="secret"),
    "AUTHORITY": Setting(kind="url"),
    "REDIRECT_URI": Setting("http://localhost:5000/getAToken", "url"),
    "SCOPE": Setting("User.Read"),
    "ENDPOINT": Setting("https://graph.microsoft.com/v1.0/me", "url"),
    "CLIENT_CERTIFICATE_PATH": Setting(kind="path"),
    "CLIENT_CERTIFICATE_PASSWORD": Setting(kind="secret"),
    "AZURE_FEDERATED_TOKEN_FILE": Setting(kind="path"),
    "OIDC_AUTHORITY": Setting(kind="url"),
    "B2C_TENANT_NAME": Setting(),
    "SIGNUPSIGNIN_USER_FLOW": Setting(),
    "EDITPROFILE_USER_FLOW": Setting(),
    "RESETPASSWORD_USER_FLOW": Setting(),
    "ALLOWED_TENANTS": Setting(),
    "REDIS_URL": Setting(kind="url"),
    "SESSION_FILE_DIR": Setting("flask_session", "path"),
    "SECRET_KEY": Setting(kind="secret"),
    "SECRET_KEY_FALLBACKS": Setting(kind="secret"),
    "TRUSTED_PROXY_COUNT": Setting("0", "count"),
    "LOG_FORMAT": Setting("text"),
    "APP_NAME": Setting("Flask starter"),
    "THREADS": Setting("64", "count"),
}


def load(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Flask's configuration, from the environment and from a `.env` beside this file.

    :param environ: the settings, instead of the process's environment and `.env`.
    :return: a mapping for `app.config.from_mapping`; `SETTINGS` in it has each setting as it was written.
    """
    settings = _from_this_process() if environ is None else Settings(SETTINGS, environ, Dotenv(ROOT / ".env"))
    credential, secret = _credential(settings)
    redirect_uri = split_url(settings["REDIRECT_URI"])
    entra = is_entra(settings["OIDC_AUTHORITY"])
    # `User.Read` is Microsoft's, so another provider is asked for it only by name.
    scope = settings["SCOPE"] if entra or "SCOPE" in settings.environ else ""
    endpoint = settings["ENDPOINT"]
    own_endpoint = settings.environ.get("ENDPOINT", "").strip()
    if not own_endpoint and (settings["OIDC_AUTHORITY"] or not comparable_scopes(scope.split())):
        endpoint = ""  # the token of another provider is not Microsoft's to see, and one without a scope is for no API
    return {
        **settings,
        "SETTINGS": settings,
        "CLIENT_CREDENTIAL": credential,
        "AUTHORITY": _authority(settings),
        "OIDC_AUTHORITY": settings["OIDC_AUTHORITY"].rstrip("/") or None,
        "ALLOWED_TENANTS": frozenset(re.split(r"[\s,]+", settings["ALLOWED_TENANTS"].lower())) - {""},
        "ENTRA": entra,
        "PROVIDER": "" if entra else split_url(settings["OIDC_AUTHORITY"]).hostname or "",  # as pages call it
        "SCOPE": qualified_scopes(scope, endpoint),
        "ENDPOINT": endpoint,
        "SANDBOX": is_loopback(split_url(settings["AUTHORITY"]).hostname),
        # This machine's own names are always answered (a health probe, a person who typed 127.0.0.1); all others are refused.
        "TRUSTED_HOSTS": [redirect_uri.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"],
        "TRUSTED_PROXY_COUNT": number(settings["TRUSTED_PROXY_COUNT"]) or 0,
        "THREADS": number(settings["THREADS"]) or int(SETTINGS["THREADS"].default),
        # Signs the cookie of a sign-in that has begun. All workers, on all machines, must agree on it.
        "SECRET_KEY": settings["SECRET_KEY"] or (secret and hmac.digest(secret.encode(), b"sign-in", "sha256")) or None,
        "SECRET_KEY_FALLBACKS": settings["SECRET_KEY_FALLBACKS"].split(),
        "HTTPS": redirect_uri.scheme == "https",
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),  # after its last use
        "SESSION_ABSOLUTE_LIFETIME": timedelta(hours=24),  # after the sign-in, in use or not
        "MAX_CONTENT_LENGTH": 64 * 1024,
    }


def _from_this_process() -> Settings:
    """The settings of this process: of its environment, and of `.env`. A variable of the environment wins."""
    dotenv, elsewhere = Dotenv.read(ROOT / ".env"), None
    if is_skipped(os.environ):
        dotenv = replace(dotenv, values={})
    elif "FLASK_RUN_FROM_CLI" in os.environ:  # the command `flask` has read the nearest .env, seen from where it runs
        nearest = Path(find_dotenv(usecwd=True) or dotenv.path)
        elsewhere = None if nearest == dotenv.path else Dotenv.read(nearest)
    environ = {**dotenv.values, **os.environ}
    for name, value in dotenv.values.items():  # the HTTP client reads its proxies and certificates there
        with contextlib.suppress(ValueError):  # a character that this machine's encoding does not have
            os.environ.setdefault(name, value)
    return Settings(SETTINGS, environ, dotenv, elsewhere)


def _credential(settings: Settings) -> tuple[object, str]:
    """MSAL's `client_credential`, and the secret in it that all machines share."""
    if settings["CLIENT_CERTIFICATE_PATH"]:
        try:
            certificate = read_certificate(settings["CLIENT_CERTIFICATE_PATH"], settings["CLIENT_CERTIFICATE_PASSWORD"])
        except ValueError:  # the doctor finds it too, and says so
            return None, ""
        return certificate.msal_credential, certificate.private_key
    if settings["AZURE_FEDERATED_TOKEN_FILE"]:
        token_file = Path(settings["AZURE_FEDERATED_TOKEN_FILE"])
        # Kubernetes replaces the token every hour or so: MSAL calls this for each token request.
        return {"client_assertion": lambda: token_file.read_text().strip()}, settings["CLIENT_SECRET"]
    return settings["CLIENT_SECRET"] or None, settings["CLIENT_SECRET"]


def _authority(settings: Settings) -> str | None:
    if settings["B2C_TENANT_NAME"] and settings["SIGNUPSIGNIN_USER_FLOW"]:
        tenant = settings["B2C_TENANT_NAME"]
        return f"https://{tenant}.b2clogin.com/{tenant}.onmicrosoft.com/{settings['SIGNUPSIGNIN_USER_FLOW']}"
    authority = settings["AUTHORITY"].rstrip("/")
    parts = split_url(authority)
    if parts.hostname and parts.hostname.endswith(".ciamlogin.com") and not parts.path:
        # External ID's short form: the tenant is in the host name.
        return f"{origin(authority)}/{parts.hostname.removesuffix('.ciamlogin.com')}.onmicrosoft.com"
    return authority or None

"""The configuration of one app: what follows from its settings. Nothing is refused: `doctor` says what is wrong with them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app

from flask_entra import group_names
from flask_entra.clouds import is_entra
from flask_entra.credential import Credential
from flask_entra.hints import is_domain_hint
from flask_entra.scopes import comparable_scopes, qualified_scopes
from flask_entra.settings import SETTINGS, Settings, duration, is_on, number, words
from flask_entra.urls import is_loopback, origin, origin_pattern, split_url

KEY = "flask_entra"  # of this package's one entry in `app.extensions`
# The parts that touch more of an app than this package's own pages, each with its key in Flask's configuration and whether it is
# on unless that says otherwise. An app that begins with them wants all; one that has been there before may have its own.
SWITCHES = {
    "ENTRA_PROBLEM_PAGES": True,  # a page for HTTP errors too (404, 500), where the app has no handler of its own
    "ENTRA_HEALTH": True,  # /healthz and /readyz
    "ENTRA_CROSS_SITE_PROTECTION": True,  # what another site sends is refused where it could change something
    "ENTRA_ASK_BEFORE_SIGN_IN": True,  # a page asks first where another site has led to a sign-in without a click
    "ENTRA_SECURITY_HEADERS": False,  # headers and a Content-Security-Policy on every answer
    "ENTRA_ACCESS_LOG": False,  # a line for each answer
    "ENTRA_LOGGING": False,  # the configuration of the standard library's logging
    "ENTRA_LANGUAGES": False,  # translated texts in the app's templates, `?lang=` and its cookie
    "ENTRA_ASSETS": False,  # addresses of static files that browsers may keep for a year
    "ENTRA_COMPILED_TEMPLATES": False,  # the app's templates compiled for each language
    "ENTRA_CONFIGURATION_EVERYWHERE": False,  # while settings are missing, every page says so
}
# Where this package's pages are in an app, and how they look there, each with its key and what it usually is.
OPTIONS: dict[str, Any] = {
    "ENTRA_BLUEPRINT": "identity",  # the name of the blueprint; its endpoints are `login`, `auth_response` and `logout`
    "ENTRA_URL_PREFIX": "",  # of the two paths below
    "ENTRA_LOGIN_PATH": "/login",
    "ENTRA_LOGOUT_PATH": "/logout",
    "ENTRA_LAYOUT": "",  # the app's template that this package's pages are shown in
    "ENTRA_LAYOUT_BLOCK": "content",  # its block for the page
    "ENTRA_LAYOUT_TITLE_BLOCK": "title",  # its block for the title
    "ENTRA_CSP": {},  # what the app adds to the Content-Security-Policy, by directive
}


@dataclass(frozen=True)
class Config:
    """What follows from the settings of an app. `.env.sample` explains the settings.

    :ivar settings: each as it was written.
    :ivar credential: what the app proves itself with, and what signs its cookies.
    :ivar authority: with the user flow of Azure AD B2C and the tenant of External ID; None without one.
    :ivar oidc_authority: without a slash at its end; None without one.
    :ivar entra: whether people sign in with Microsoft.
    :ivar scope: the scopes of the setting `SCOPE`, qualified for the cloud of the endpoint.
    :ivar endpoint: the URL of the profile; empty if the sign-in's token is for no such API.
    :ivar api_audiences: those that access tokens for this app may have besides the usual ones.
    :ivar groups: the ids of the groups that have a name (the setting `GROUPS`), by name; in lower case.
    :ivar domain_hint: the organization at which people usually sign in; empty for none.
    :ivar remember_account: whether a browser remembers the account that signed in last.
    :ivar https: whether people reach the app by https.
    :ivar idle_seconds: how long a session lives after its last use.
    :ivar longest_seconds: how long a session lives after the sign-in, in use or not.
    :ivar cookie_persistent: whether the browser keeps the session's cookie when it is closed.
    :ivar cookie_mark: what tells this app's cookies from those of another app on the same host.
    :ivar on: the switches that are on.
    :ivar blueprint: see `OPTIONS`, as for all below.
    :ivar login_path: the path of the sign-in below the app's own root; likewise `logout_path`.
    """

    settings: Settings
    client_id: str
    credential: Credential
    authority: str | None
    oidc_authority: str | None
    entra: bool
    scope: list[str]
    endpoint: str
    redirect_uri: str
    allowed_hosts: list[str]
    allowed_tenants: frozenset[str]
    trusted_origins: list[str]
    api_audiences: list[str]
    groups: Mapping[str, str]
    domain_hint: str
    remember_account: bool
    https: bool
    threads: int
    proxies: int
    idle_seconds: int
    longest_seconds: int
    cookie_persistent: bool
    cookie_mark: str
    on: frozenset[str]
    blueprint: str
    login_path: str
    logout_path: str
    layout: str
    layout_block: str
    layout_title_block: str
    csp: Mapping[str, Any]

    @classmethod
    def of_app(cls, app: Flask, given: Mapping[str, str], client_credential: Any = None) -> Config:
        """The configuration of an app.

        :param given: the settings that the app gave in its code; they win over those of Flask's configuration.
        :param client_credential: MSAL's, if the app gave one that is not a secret's text.
        """
        settings, config = Settings.of_app(app.config, given, Path(app.instance_path)), app.config
        redirect_uri = settings["REDIRECT_URI"]
        entra = is_entra(settings["OIDC_AUTHORITY"])
        # `User.Read` is Microsoft's, so another provider is asked for it only by name.
        scope = settings["SCOPE"] if entra or "SCOPE" in settings.environ else ""
        endpoint = settings["ENDPOINT"]
        own_endpoint = settings.environ.get("ENDPOINT", "").strip()
        if not own_endpoint and (settings["OIDC_AUTHORITY"] or not comparable_scopes(scope.split())):
            # The token of another provider is not Microsoft's to see, and one without a scope is for no API.
            endpoint = ""
        option = {key: config.get(key) or usual for key, usual in OPTIONS.items()}
        prefix = str(option["ENTRA_URL_PREFIX"]).rstrip("/")
        return cls(
            settings=settings,
            client_id=settings["CLIENT_ID"],
            credential=Credential(settings, client_credential),
            authority=_authority(settings),
            oidc_authority=settings["OIDC_AUTHORITY"].rstrip("/") or None,
            entra=entra,
            scope=qualified_scopes(scope, endpoint),
            endpoint=endpoint,
            redirect_uri=redirect_uri,
            allowed_hosts=words(settings["ALLOWED_HOSTS"]),
            allowed_tenants=frozenset(words(settings["ALLOWED_TENANTS"].lower())),
            trusted_origins=[each for each in map(origin_pattern, words(settings["TRUSTED_ORIGINS"])) if each],
            api_audiences=settings["API_AUDIENCE"].split(),
            groups=group_names.read(settings["GROUPS"])[0],
            domain_hint=settings["DOMAIN_HINT"] if is_domain_hint(settings["DOMAIN_HINT"]) else "",
            remember_account=is_on(settings["REMEMBER_ACCOUNT"]),
            https=split_url(redirect_uri).scheme == "https",
            threads=number(settings["THREADS"]) or int(SETTINGS["THREADS"].default),
            proxies=number(settings["TRUSTED_PROXY_COUNT"]) or 0,
            idle_seconds=_seconds(settings, "SESSION_IDLE_MINUTES", 60),
            longest_seconds=_seconds(settings, "SESSION_MAX_HOURS", 3600),
            cookie_persistent=is_on(settings["SESSION_COOKIE_PERSISTENT"]),
            cookie_mark=hashlib.sha256(f"{settings['CLIENT_ID'].lower()} {redirect_uri}".encode()).hexdigest()[:6],
            on=frozenset(name for name, usual in SWITCHES.items() if is_on(config.get(name, usual))),
            blueprint=option["ENTRA_BLUEPRINT"],
            login_path=prefix + option["ENTRA_LOGIN_PATH"],
            logout_path=prefix + option["ENTRA_LOGOUT_PATH"],
            layout=option["ENTRA_LAYOUT"],
            layout_block=option["ENTRA_LAYOUT_BLOCK"],
            layout_title_block=option["ENTRA_LAYOUT_TITLE_BLOCK"],
            csp=option["ENTRA_CSP"],
        )

    @property
    def client_credential(self) -> Any:
        """MSAL's, as it is now; None without one."""
        return self.credential.msal

    @property
    def signing_keys(self) -> list[bytes]:
        """The keys of what a browser keeps signed; the last one signs. All workers, on all machines, must agree on it."""
        return self.credential.signing_keys

    @property
    def issuer_address(self) -> str:
        """The address of the authority: `OIDC_AUTHORITY`, or else `AUTHORITY`."""
        return self.oidc_authority or self.authority or ""

    @functools.cached_property
    def owner(self) -> str:
        """The app as its authority knows it, which is what its sessions, and all that it seals, are sealed for.

        After a change of `CLIENT_ID`, `AUTHORITY` or `OIDC_AUTHORITY`, it is another app: everybody signs in anew, and no token
        of the old authority goes anywhere.
        """
        owner = f"{self.client_id} {self.issuer_address}"
        return owner.lower() if self.entra else owner  # to Entra, letter case makes no difference

    @property
    def front_channel_path(self) -> str:
        """Where the authority tells of sign-outs elsewhere (OpenID Connect Front-Channel Logout 1.0), a path."""
        return f"{self.logout_path}/front-channel"

    @functools.cached_property
    def provider(self) -> str:
        """What pages call an authority that is not Microsoft's; empty for Microsoft."""
        return "" if self.entra else split_url(self.oidc_authority).hostname or ""

    @functools.cached_property
    def sandbox(self) -> bool:
        """Whether the authority is on this machine."""
        return is_loopback(split_url(self.settings["AUTHORITY"]).hostname)

    @property
    def app_name(self) -> str:
        """What the pages call the app."""
        return self.settings["APP_NAME"]


def of(app: Flask) -> Config:
    """The configuration of an app that `Auth.init_app` was called for."""
    return cast(Config, app.extensions[KEY].config)


def current() -> Config:
    """The configuration of the present app."""
    return cast(Config, current_app.extensions[KEY].config)


def present_app() -> Flask:
    """The present app itself and not Flask's proxy, as the sender of a signal, or for another thread."""
    return cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]  # as Flask's documentation has it


def _seconds(settings: Settings, name: str, unit: int) -> int:
    written = duration(settings[name]) or float(SETTINGS[name].default)
    return max(1, round(written * unit))


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

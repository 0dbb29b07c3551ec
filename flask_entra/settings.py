"""The settings: the one table of them, and each as it was written, with where it came from.

In `app.config` their names begin with `ENTRA_`; only Flask's own, such as `SECRET_KEY`, do not. `.env.sample` explains each.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dotenv import find_dotenv

from flask_entra import group_names
from flask_entra.environment import Dotenv, Source, is_skipped
from flask_entra.urls import split_url

PREFIX = "ENTRA_"
FLASKS_OWN = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "APPLICATION_ROOT")
_TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105  the name of a variable
_FROM_DOTENV = "_FLASK_ENTRA_FROM_DOTENV"  # a variable that names those that a `.env` has set
WHERE_FROM = "ENTRA_SETTINGS"  # the key of Flask's configuration that says where the values came from


@dataclass(frozen=True)
class Setting:
    """One setting.

    :ivar default: its value when it is left out.
    :ivar kind: what it holds. A `secret` is never shown, a `path` is relative to the app's folder, an `id` and a `url` hold
        no space, a `count` is a whole number, a `duration` a number that may have a fraction.
    """

    default: str = ""
    kind: Literal["text", "secret", "path", "id", "url", "count", "duration"] = "text"


# The first names are those of Microsoft's own Flask sample, so that a `.env` that was written for it works here.
SETTINGS = {
    "CLIENT_ID": Setting(kind="id"),
    "CLIENT_SECRET": Setting(kind="secret"),
    "AUTHORITY": Setting(kind="url"),
    "REDIRECT_URI": Setting("http://localhost:5000/getAToken", "url"),
    "ALLOWED_HOSTS": Setting(),
    "SCOPE": Setting("User.Read"),
    "ENDPOINT": Setting("https://graph.microsoft.com/v1.0/me", "url"),
    "CLIENT_CERTIFICATE_PATH": Setting(kind="path"),
    "CLIENT_CERTIFICATE_PASSWORD": Setting(kind="secret"),
    "MANAGED_IDENTITY_CLIENT_ID": Setting(kind="id"),
    "AZURE_FEDERATED_TOKEN_FILE": Setting(kind="path"),
    "OIDC_AUTHORITY": Setting(kind="url"),
    "B2C_TENANT_NAME": Setting(),
    "SIGNUPSIGNIN_USER_FLOW": Setting(),
    "EDITPROFILE_USER_FLOW": Setting(),
    "RESETPASSWORD_USER_FLOW": Setting(),
    "ALLOWED_TENANTS": Setting(),
    "TRUSTED_ORIGINS": Setting(),
    "API_AUDIENCE": Setting(),
    "GROUPS": Setting(),
    "DOMAIN_HINT": Setting(),
    "REMEMBER_ACCOUNT": Setting("off"),
    "REDIS_URL": Setting(kind="url"),
    "SESSION_FILE_DIR": Setting("flask_session", "path"),
    "SESSION_IDLE_MINUTES": Setting("720", "duration"),
    "SESSION_MAX_HOURS": Setting("24", "duration"),
    "SESSION_COOKIE_PERSISTENT": Setting("on"),
    "SECRET_KEY": Setting(kind="secret"),
    "SECRET_KEY_FALLBACKS": Setting(kind="secret"),
    "CLIENT_CREDENTIAL_FALLBACKS": Setting(kind="secret"),
    "TRUSTED_PROXY_COUNT": Setting("0", "count"),
    "APPLICATION_ROOT": Setting("/"),
    "LOG_FORMAT": Setting("text"),
    "APP_NAME": Setting("Flask starter"),
    "THREADS": Setting("64", "count"),
}


class Settings(dict[str, str]):
    """Each setting of the table as it was written, or its default.

    :param table: the settings that there are.
    :param environ: the names and values that were given; those of `.env` are among them.
    :param dotenv: the `.env` in the app's folder; also one that is not there says where the app's folder is.
    :param elsewhere: another `.env` that Flask has read, because it was started in another folder; None if there is none.
    :param keyed: whether the app's developer knows them by their keys in Flask's configuration, not by their names in `.env`.
    :ivar table: the same table; likewise `environ`, `dotenv`, `elsewhere` and `keyed`.
    """

    def __init__(
        self,
        table: Mapping[str, Setting],
        environ: Mapping[str, str],
        dotenv: Dotenv,
        elsewhere: Dotenv | None = None,
        *,
        keyed: bool = False,
    ):
        environ = {**_of_the_workload(environ), **environ}
        self.table, self.environ, self.dotenv, self.elsewhere, self.keyed = table, environ, dotenv, elsewhere, keyed
        for name, setting in table.items():
            value = environ.get(name, setting.default).strip()
            # A setting that is there but empty counts as left out, except SCOPE: empty says that no scope is wanted.
            if not value and name != "SCOPE":
                value = setting.default
            if value and setting.kind == "path":  # not relative to wherever the app happens to be started
                value = str(dotenv.path.parent / value)
            self[name] = value

    @classmethod
    def read(cls, dotenv_path: Path, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in the environment, and in a `.env`. A variable of the environment wins.

        :param dotenv_path: the file, in the app's folder.
        :param environ: the settings, instead of the process's environment and the file.
        """
        if environ is not None:
            return cls(SETTINGS, environ, Dotenv(dotenv_path))
        dotenv, elsewhere = Dotenv.read(dotenv_path), None
        if is_skipped(os.environ):
            dotenv = replace(dotenv, values={})
        elif "FLASK_RUN_FROM_CLI" in os.environ:
            # The command `flask` has read the nearest .env, seen from where it runs.
            nearest = Path(find_dotenv(usecwd=True) or dotenv.path)
            elsewhere = None if nearest == dotenv.path else Dotenv.read(nearest)
        # A process that Flask's reloader has started anew has the file's former values in its environment.
        former = set(os.environ.get(_FROM_DOTENV, "").split()) & dotenv.values.keys()
        given = {**dotenv.values, **{name: value for name, value in os.environ.items() if name not in former}}
        for name in dotenv.values:  # the HTTP client reads its proxies and certificates there
            with contextlib.suppress(ValueError):  # a character that this machine's encoding does not have
                os.environ[name] = given[name]
        if "FLASK_RUN_FROM_CLI" in os.environ:
            os.environ[_FROM_DOTENV] = " ".join(name for name, value in dotenv.values.items() if given[name] == value)
        return cls(SETTINGS, given, dotenv, elsewhere)

    def for_flask(self) -> dict[str, object]:
        """Flask's configuration: each setting under its key, and where they came from."""
        given: dict[str, object] = {
            key_of(name): value for name, value in self.items() if value or name in self.environ
        }
        given["SECRET_KEY_FALLBACKS"] = self["SECRET_KEY_FALLBACKS"].split()
        return {**given, "SECRET_KEY": self["SECRET_KEY"] or None, WHERE_FROM: self}

    def own_hosts(self) -> list[str]:
        """The host names that the app answers to, for Flask's `TRUSTED_HOSTS`: that of the redirect URI, `ALLOWED_HOSTS`, and
        this machine's own.

        This machine's are asked for by a health probe, and by a person who has typed 127.0.0.1.
        """
        own = split_url(self["REDIRECT_URI"]).hostname or "localhost"
        return [own, *words(self["ALLOWED_HOSTS"]), "localhost", "127.0.0.1", "[::1]"]

    @classmethod
    def of_app(cls, config: Mapping[str, Any], given: Mapping[str, str], folder: Path) -> Settings:
        """The settings of an app.

        :param config: Flask's, filled in any way.
        :param given: the settings that the app gave in its code; they win.
        :param folder: what relative paths begin at, if nothing says where the values came from.
        """
        read = config.get(WHERE_FROM)
        written = {name: _text(config[key_of(name)]) for name in SETTINGS if config.get(key_of(name)) is not None}
        written |= given
        if isinstance(read, Settings):
            changed = {name: value for name, value in written.items() if value != read[name]}
            return cls(SETTINGS, {**read.environ, **changed}, read.dotenv, read.elsewhere) if changed else read
        # The settings' bare names mean nothing in the environment of such an app; the network's variables do, and the platform's.
        environ = {name: value for name, value in os.environ.items() if name not in SETTINGS or name == _TOKEN_FILE}
        return cls(SETTINGS, {**environ, **written}, Dotenv(folder / ".env"), keyed=True)

    def source(self, name: str) -> Source | None:
        """Where a value came from, or None for a setting that has none.

        :param name: of a setting, or of any other variable.
        """
        given = self.environ.get(name)
        if given is None or (not given.strip() and name != "SCOPE"):
            return Source("default") if self.get(name) else None
        if self.keyed and name in self.table:
            return Source("configuration")
        places = []
        for dotenv in filter(None, (self.elsewhere, self.dotenv)):
            line = dotenv.last(name)
            if line and name in dotenv.values:
                place = Source("file", dotenv.path, line.number)
                # Flask has put the file's values into the environment already, where nothing tells them from others.
                if dotenv.values[name] == given:
                    return place
                places.append(place)
        return Source("environment", instead_of=places[0] if places else None)


def _of_the_workload(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that Kubernetes sets by names of its own, where the workload identity of AKS is switched on.

    https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    own = given.keys() & {"CLIENT_SECRET", "CLIENT_CERTIFICATE_PATH", "MANAGED_IDENTITY_CLIENT_ID", "OIDC_AUTHORITY"}
    if _TOKEN_FILE not in given or own:
        return {}
    found = {"CLIENT_ID": given.get("AZURE_CLIENT_ID", "")} if "CLIENT_ID" not in given else {}
    if "AZURE_TENANT_ID" in given and not given.keys() & {"AUTHORITY", "B2C_TENANT_NAME"}:
        host = given.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com")
        found["AUTHORITY"] = f"{host.rstrip('/')}/{given['AZURE_TENANT_ID']}"
    return found


def key_of(name: str) -> str:
    """The key of a setting in Flask's configuration."""
    return name if name in FLASKS_OWN else PREFIX + name


def words(value: str) -> list[str]:
    """The values in a setting of several, between spaces or commas."""
    return [each for each in re.split(r"[\s,]+", value) if each]


def number(value: str) -> int | None:
    """A count, or None for a text that is not one."""
    return int(value) if value.isdecimal() and value.isascii() else None


def duration(value: str) -> float | None:
    """A number above 0, with a fraction or without, or None for a text that is not one."""
    found = float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) else 0
    return found or None


def _text(value: object) -> str:
    """A value of Flask's configuration as a text: `from_prefixed_env` makes numbers of some, lists and dictionaries are there."""
    if isinstance(value, Mapping):
        return group_names.written(value)
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(map(str, value))
    return str(value)


def is_on(value: object) -> bool:
    """Whether a switch of Flask's configuration is on, also where it was written as a text."""
    return value if isinstance(value, bool) else not re.fullmatch(r"\s*(0|false|no|off|none|)\s*", str(value), re.I)

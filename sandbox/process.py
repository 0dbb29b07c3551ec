"""The app as a process of its own, which runs on the sandbox."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parent.parent  # the app's folder, in which its process runs
REDIRECT_PATH = "/getAToken"  # the path of the app's redirect URI
# The settings that have nothing to do with the tenant: they reach the app as they were given.
KEPT = (
    "TRUSTED_ORIGINS",
    "API_AUDIENCE",
    "GROUPS",
    "REMEMBER_ACCOUNT",
    "SESSION_IDLE_MINUTES",
    "SESSION_MAX_HOURS",
    "SESSION_COOKIE_PERSISTENT",
    "LOG_FORMAT",
    "APP_NAME",
    "THREADS",
)
FLASKS_COMMAND = ("FLASK_APP", "FLASK_DEBUG", "FLASK_ENV_FILE", "FLASK_SKIP_DOTENV")  # what its command line reads
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")  # a proxy cannot reach this machine's loopback
STOP_SECONDS = 5  # the app may take as long to stop by itself
# The lines that the app's server prints about itself and about each request, with or without the beginning of a log line.
# All other output is shown.
CHATTER = re.compile(
    r"^(\S+ \S+ (INFO|WARNING) werkzeug \S+ )?("
    r" \* (Serving Flask app|Debug mode|Running on|Restarting with|Debugger is active|Debugger PIN)"
    r"|WARNING: This is a development server"
    r"|Press CTRL\+C to quit"
    r'|\S+ - - \[[^]]*\] "[A-Z]+ .*" [1-4]\d\d )'
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # colours in a terminal (ECMA-48, select graphic rendition)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the settings that belong to a tenant, of a proxy, and of Flask's command line.

    A setting that is left over from a real tenant would mix the two tenants. `KEPT` stay, and so do variables of an app's own.

    :param environment: the environment to start from.
    :return: a copy without these variables.
    """
    # Not at the top: the app's settings need packages, and `python -m sandbox` must be able to say which one is missing.
    from flask_entra.settings import SETTINGS, key_of

    tenants = {name for name in SETTINGS if name not in KEPT}
    dropped = {*tenants, *(f"FLASK_{key_of(name)}" for name in tenants), *PROXIES, *FLASKS_COMMAND}
    return {
        name: value
        for name, value in environment.items()
        if name.upper() not in dropped and not name.upper().startswith(("FLASK_RUN_", "WERKZEUG_"))
    }


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine.

    :param port: the port.
    """
    # A server that listens on every address does not always keep one of them from being bound. AirPlay on port 5000 of
    # macOS is one.
    for family, kind, protocol, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(address) == 0:
                return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":
            # Connections that ended just now do not count. On Windows the option would mean more.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_app(
    settings: Mapping[str, str], folder: str, port: int, prefix: str, debug: bool, own: str = ""
) -> subprocess.Popen[str]:
    """Start the app as a process of its own, pointed at a sandbox.

    :param settings: the environment variables that point it there.
    :param folder: a folder for the sessions that it stores.
    :param port: the port that the app listens on.
    :param prefix: the path below which it is served; empty for none.
    :param debug: Flask's debug mode, which reloads the app when one of its files changes.
    :param own: an app instead of the starter, named as for Flask's `--app`; it runs in the present folder. A `.env` is read in
        the folder in which the app runs.
    :return: the process; its standard output has all that the app prints.
    """
    from flask_entra.environment import Dotenv  # here, as above
    from flask_entra.settings import SETTINGS, key_of

    sessions, cwd = Path(folder) / "sessions", Path.cwd() if own else PROJECT
    sessions.mkdir(mode=0o700)
    settings = {
        **settings,
        "REDIRECT_URI": f"http://localhost:{port}{prefix}{REDIRECT_PATH}",
        "APPLICATION_ROOT": prefix or "/",
        "SESSION_FILE_DIR": str(sessions),
    }
    # An app with `from_prefixed_env` reads them by these names.
    prefixed = {f"FLASK_{key_of(name)}": value for name, value in settings.items() if name in SETTINGS} if own else {}
    environment = {
        **clean_environment({**Dotenv.read(cwd / ".env").values, **os.environ}),
        **settings,
        **prefixed,
        "FLASK_SKIP_DOTENV": "1",  # what the app may have of the file is above; the rest may be a real tenant's
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-m", "flask", "--app", own or "app", "run", "--host", "localhost", "--port", str(port)]
    if debug:
        command.append("--debug")
    creationflags = 0
    if sys.platform == "win32":
        creationflags = subprocess.CREATE_NEW_PROCESS_GROUP
    # The app gets a process group of its own: Flask's reloader is a process with a child, and both have to end.
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=sys.platform != "win32",
        creationflags=creationflags,
    )


def stop_app(app: subprocess.Popen[str]) -> None:
    """End the app and the processes that it started.

    :param app: its process.
    """
    _end(app, by_force=False)
    with contextlib.suppress(subprocess.TimeoutExpired):
        app.wait(STOP_SECONDS)
    _end(app, by_force=True)
    app.wait()


def _end(app: subprocess.Popen[str], by_force: bool) -> None:
    """Ask the app's process group to end, or end it by force."""
    if sys.platform == "win32":
        if by_force:
            app.kill()
        elif app.poll() is None:
            app.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGKILL if by_force else signal.SIGTERM)


def relay(lines: IO[str], debug: bool) -> None:
    """Show the app's output on standard error, without its server's chatter.

    :param lines: the app's output.
    :param debug: show every line.
    """
    for line in lines:
        if debug or not CHATTER.match(COLOURS.sub("", line)):
            sys.stderr.write(line)
            sys.stderr.flush()


def answers(port: int) -> bool:
    """Whether the app answers `GET /`, with any answer.

    :param port: its port.
    """
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True

"""Run the app against the sandbox: ``python -m sandbox``."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Sandbox

#: Where the app is, and what the child process runs in.
PROJECT = Path(__file__).resolve().parent.parent
#: The path of the app's redirect URI.
REDIRECT_PATH = "/getAToken"
#: Everything that the app reads from its environment. One that is left over from a real tenant
#: would mix the two.
SETTINGS = {
    "ALLOWED_TENANTS",
    "AUTHORITY",
    "AZURE_FEDERATED_TOKEN_FILE",
    "B2C_TENANT_NAME",
    "CLIENT_CERTIFICATE_PASSWORD",
    "CLIENT_CERTIFICATE_PATH",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "EDITPROFILE_USER_FLOW",
    "ENDPOINT",
    "LOG_FORMAT",
    "OIDC_AUTHORITY",
    "REDIRECT_URI",
    "REDIS_URL",
    "RESETPASSWORD_USER_FLOW",
    "SCOPE",
    "SECRET_KEY",
    "SESSION_FILE_DIR",
    "SIGNUPSIGNIN_USER_FLOW",
    "THREADS",
    "TRUSTED_PROXY_COUNT",
    # A proxy cannot reach this machine's loopback.
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
}
#: Seconds that the app may take to answer its first request.
START_TIMEOUT = 60
#: Seconds that the app may take to stop by itself.
STOP_TIMEOUT = 5
#: What the app's server says about itself and about every request, with or without what a logging
#: format puts before it; all the rest is shown.
CHATTER = re.compile(
    r"^(\S+ \S+ (INFO|WARNING) werkzeug \S+ )?("
    r" \* (Serving Flask app|Debug mode|Running on|Restarting with|Debugger is active|Debugger PIN)"
    r"|WARNING: This is a development server"
    r"|Press CTRL\+C to quit"
    r'|\S+ - - \[[^]]*\] "[A-Z]+ .*" [1-4]\d\d )'
)
#: Colours in a terminal (ECMA-48, select graphic rendition).
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the settings of the app, of a proxy, and of Flask's own.

    Args:
        environment: the one to start from.
    """
    return {
        name: value
        for name, value in environment.items()
        if name.upper() not in SETTINGS and not name.upper().startswith(("FLASK_", "WERKZEUG_"))
    }


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine.

    Args:
        port: the port.
    """
    # Somebody may listen on every address, which does not always keep one of them from being
    # bound: on macOS that is AirPlay on port 5000.
    for family, kind, protocol, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(address) == 0:
                return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":
            # Connections that ended just now do not count. On Windows it would mean more.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_app(box: Sandbox, port: int, debug: bool) -> subprocess.Popen[str]:
    """Start the app as a process of its own, pointed at the sandbox.

    Args:
        box: the sandbox.
        port: the port the app listens on.
        debug: Flask's debug mode, which reloads the app when a file of it changes.
    """
    sessions = Path(box.folder) / "sessions"
    sessions.mkdir(mode=0o700)
    environment = {
        **clean_environment(os.environ),
        **box.settings,
        "REDIRECT_URI": f"http://localhost:{port}{REDIRECT_PATH}",
        "SESSION_FILE_DIR": str(sessions),
        # The project's .env may hold the settings of a real tenant.
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "app",
        "run",
        "--host",
        "localhost",
        "--port",
        str(port),
    ]
    if debug:
        command.append("--debug")
    # A group of its own, because Flask's reloader is a process with a child: both have to end.
    windows = os.name == "nt"
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=not windows,
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if windows else 0,
    )


def stop_app(app: subprocess.Popen[str]) -> None:
    """End the app and whatever it started.

    Args:
        app: its process.
    """
    if os.name == "nt":
        if app.poll() is None:
            app.send_signal(signal.CTRL_BREAK_EVENT)
        stronger = app.kill
    else:

        def signal_group(number: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(app.pid, number)

        signal_group(signal.SIGTERM)

        def stronger() -> None:
            signal_group(signal.SIGKILL)

    with contextlib.suppress(subprocess.TimeoutExpired):
        app.wait(STOP_TIMEOUT)
    stronger()
    app.wait()


def relay(lines: IO[str], debug: bool) -> None:
    """Show what the app says on standard error, without its server's chatter.

    Args:
        lines: the app's output.
        debug: show every line.
    """
    for line in lines:
        if debug or not CHATTER.match(COLOURS.sub("", line)):
            sys.stderr.write(line)
            sys.stderr.flush()


def answers(port: int) -> bool:
    """Whether the app answers ``GET /``, with whatever.

    Args:
        port: its port.
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


def fail(message: str) -> int:
    """Say in one line what is wrong.

    Args:
        message: the line.

    Returns:
        The exit code for it.
    """
    print(message, file=sys.stderr, flush=True)
    return 1


def run(box: Sandbox, port: int, debug: bool, stop: threading.Event) -> int:
    """Run the app until something ends it.

    Args:
        box: the sandbox.
        port: the app's port.
        debug: Flask's debug mode.
        stop: set by Ctrl-C and SIGTERM.

    Returns:
        The exit code.
    """
    app = start_app(box, port, debug)
    relaying = threading.Thread(target=relay, args=(app.stdout, debug), daemon=True)
    relaying.start()
    deadline = time.monotonic() + START_TIMEOUT
    ready = False
    try:
        while not stop.wait(0.1):
            if app.poll() is not None:
                # What it said last comes before what is said about it.
                relaying.join(2)
                return fail(f"The app stopped by itself with exit code {app.returncode}.")
            if ready:
                continue
            if answers(port):
                ready = True
                print(f"Sandbox ready: open http://localhost:{port} (Ctrl-C stops)", flush=True)
            elif time.monotonic() > deadline:
                return fail(f"The app did not answer on port {port} within {START_TIMEOUT} seconds.")
        return 0
    finally:
        stop_app(app)
        relaying.join(2)
        app.stdout.close()


def port_number(text: str) -> int:
    """A port as the command line gives it.

    Raises:
        argparse.ArgumentTypeError: it is not from 1 to 65535.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    Args:
        arguments: the command line's; None for this process's own.

    Returns:
        The exit code: 0 when it was stopped, 1 when something was wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Run the app against an embedded tenant on this machine. No Azure account is needed.",
    )
    parser.add_argument("--port", type=port_number, default=5000, help="the app's port (default: 5000)")
    parser.add_argument("--debug", action="store_true", help="reload the app when it changes, and show its log")
    options = parser.parse_args(arguments)

    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())

    try:
        from .server import Sandbox
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sandbox"):
            raise
        return fail(
            f"The package {error.name!r} is missing. Install what the sandbox needs: "
            "python -m pip install -r requirements.txt -r sandbox/requirements.txt"
        )
    if not is_free(options.port):
        other = options.port + 1 if options.port < 65535 else 5001
        return fail(f"Port {options.port} is in use. Try another one: python -m sandbox --port {other}")
    with Sandbox(redirect_uris=(f"http://localhost:{options.port}{REDIRECT_PATH}",)) as box:
        return run(box, options.port, options.debug, stop)


if __name__ == "__main__":
    sys.exit(main())

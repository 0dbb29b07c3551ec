"""The command `python -m sandbox`: run the app on the sandbox."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .process import REDIRECT_PATH, answers, is_free, relay, start_app, stop_app

if TYPE_CHECKING:
    from .box import Sandbox

PYTHON = shlex.quote(sys.executable)  # a command can be pasted, whether or not the environment is activated
START_SECONDS = 60  # the app may take as long to answer its first request


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    :param arguments: the arguments of the command line; None for this process's own.
    :return: the exit code: 0 when it was stopped, 1 when something was wrong.
    """
    options = _options(arguments)
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    try:
        return _run(options.port, options.prefix, options.debug, stop)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sandbox"):
            raise
        return _fail(
            f"The package {error.name!r} is missing. Install what the sandbox needs: "
            f"{PYTHON} -m pip install -r requirements.txt -r sandbox/requirements.txt"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line: `port`, `prefix` and `debug`."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Run the app against an embedded tenant on this machine. No Azure account is needed.",
    )
    parser.add_argument("--port", type=_port_number, default=5000, help="the app's port (default: 5000)")
    parser.add_argument(
        "--prefix", type=_path, default="", metavar="PATH", help="serve the app below a path, as /portal"
    )
    parser.add_argument("--debug", action="store_true", help="reload the app when it changes, and show its log")
    return parser.parse_args(arguments)


def _port_number(text: str) -> int:
    """A port of the command line.

    :raises argparse.ArgumentTypeError: it is not from 1 to 65535.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _path(text: str) -> str:
    """A path of the command line, without a slash at its end.

    :raises argparse.ArgumentTypeError: it does not begin with a slash, or has other characters than a path's plain ones.
    """
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path such as /portal")
    return text.rstrip("/")


def _run(port: int, prefix: str, debug: bool, stop: threading.Event) -> int:
    """Run the sandbox, and the app on it, until something ends them.

    :param port: the app's port.
    :param prefix: the path below which it is served.
    :param debug: Flask's debug mode.
    :param stop: set by Ctrl-C and SIGTERM.
    :return: the exit code.
    :raises ModuleNotFoundError: a package is missing.
    """
    from .box import Sandbox

    if not is_free(port):
        other = port + 1 if port < 65535 else 5001
        return _fail(f"Port {port} is in use. Try another one: {PYTHON} -m sandbox --port {other}")
    with Sandbox(redirect_uris=(f"http://localhost:{port}{prefix}{REDIRECT_PATH}",)) as box:
        return _run_app(box, port, prefix, debug, stop)


def _run_app(box: Sandbox, port: int, prefix: str, debug: bool, stop: threading.Event) -> int:
    """Run the app until something ends it; the parameters and the exit code are those of `_run`."""
    app = start_app(box.settings, box.folder, port, prefix, debug)
    assert app.stdout is not None  # start_app made a pipe of it
    relaying = threading.Thread(target=relay, args=(app.stdout, debug), daemon=True)
    relaying.start()
    deadline = time.monotonic() + START_SECONDS
    ready = False
    try:
        while not stop.wait(0.1):
            if app.poll() is not None:
                # The app's last words come before the message about its end.
                relaying.join(2)
                return _fail(f"The app stopped by itself with exit code {app.returncode}.")
            if ready:
                continue
            if answers(port):
                ready = True
                print(f"Sandbox ready: open http://localhost:{port}{prefix} (Ctrl-C stops)", flush=True)
            elif time.monotonic() > deadline:
                return _fail(f"The app did not answer on port {port} within {START_SECONDS} seconds.")
        return 0
    finally:
        stop_app(app)
        relaying.join(2)
        app.stdout.close()


def _fail(message: str) -> int:
    """Say in one line what is wrong.

    :param message: the line.
    :return: the exit code.
    """
    print(message, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())

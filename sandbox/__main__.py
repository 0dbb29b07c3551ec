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
from pathlib import Path
from typing import TYPE_CHECKING

from .ports import BLOCKED
from .process import PROJECT, REDIRECT_PATH, answers, is_free, relay, start_app, stop_app
from .words import in_terminal as _

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
        return _run(options, stop)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sandbox"):
            raise
        files = [Path("requirements.txt"), Path("sandbox", "requirements.txt")]
        # An app of one's own has what it needs, but for what the sandbox needs besides.
        if f"\n{error.name}>" in (PROJECT / files[1]).read_text(encoding="utf-8"):
            del files[0]
        paths = [shlex.quote(str(file if Path.cwd() == PROJECT else PROJECT / file)) for file in files]
        command = f"{PYTHON} -m pip install -r {' -r '.join(paths)}"
        text = _(
            "The package %(package)r is missing. Install what the sandbox needs: %(command)s",
            package=error.name,
            command=command,
        )
        return _fail(text)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line: `port`, `prefix`, `debug` and `app`."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=_("Run the app against an embedded tenant on this machine. No Azure account is needed."),
        add_help=False,  # it would be in English
    )
    parser.add_argument("-h", "--help", action="help", help=_("show this text"))
    parser.add_argument("--port", type=_port_number, default=5000, help=_("the app's port (default: 5000)"))
    prefix_help = _("serve the app below a path, such as /portal")
    parser.add_argument("--prefix", type=_path, default="", metavar="PATH", help=prefix_help)
    debug_help = _("reload the app when it changes, and show all of its log")
    parser.add_argument("--debug", action="store_true", help=debug_help)
    app_help = _("run an app of your own, named as for `flask --app`: shop, shop:create_app or ../shop/app.py")
    parser.add_argument("--app", default="", help=app_help)
    return parser.parse_args(arguments)


def _port_number(text: str) -> int:
    """A port of the command line.

    :raises argparse.ArgumentTypeError: it is not from 1 to 65535.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(_("%(text)r is not a port from 1 to 65535", text=text))
    return int(text)


def _path(text: str) -> str:
    """A path of the command line, without a slash at its end.

    :raises argparse.ArgumentTypeError: it does not begin with a slash, or has other characters than a path's plain ones.
    """
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text, re.ASCII):
        raise argparse.ArgumentTypeError(_("%(text)r is not a path such as /portal", text=text))
    return text.rstrip("/")


def _run(options: argparse.Namespace, stop: threading.Event) -> int:
    """Run the sandbox, and the app on it, until something ends them.

    :param options: as `_options` gives them.
    :param stop: set by Ctrl-C and SIGTERM.
    :return: the exit code.
    :raises ModuleNotFoundError: a package is missing.
    """
    from .box import Sandbox

    port = options.port
    other = next(each for each in (*range(port + 1, 65536), 5001) if each not in BLOCKED)
    command = f"{PYTHON} -m sandbox --port {other}"
    if port in BLOCKED:
        refused = _(
            "Browsers refuse to open port %(port)s, because it is that of another service (%(service)s). "
            "Choose another one: %(command)s",
            port=port,
            service=BLOCKED[port],
            command=command,
        )
        print(refused, file=sys.stderr, flush=True)  # no more than a warning, because scripts do open it
    if not is_free(port):
        return _fail(_("Port %(port)s is in use. Try another one: %(command)s", port=port, command=command))
    with Sandbox(redirect_uris=(f"http://localhost:{port}{options.prefix}{REDIRECT_PATH}",)) as box:
        return _run_app(box, options, stop)


def _run_app(box: Sandbox, options: argparse.Namespace, stop: threading.Event) -> int:
    """Run the app until something ends it; the parameters and the exit code are those of `_run`."""
    port = options.port
    orders = {
        "ORDERS_URL": box.orders_url,
        "ORDERS_SCOPE": box.orders_scope,
    }  # what docs/views.md calls as a second API
    app = start_app({**box.settings, **orders}, box.folder, port, options.prefix, options.debug, options.app)
    assert app.stdout is not None  # start_app made a pipe of it
    relaying = threading.Thread(target=relay, args=(app.stdout, options.debug), daemon=True)
    relaying.start()
    deadline = time.monotonic() + START_SECONDS
    ready = False
    try:
        while not stop.wait(0.1):
            if app.poll() is not None:
                # The app's last words come before the message about its end.
                relaying.join(2)
                return _fail(_("The app stopped by itself with exit code %(code)s.", code=app.returncode))
            if ready:
                continue
            if answers(port):
                ready = True
                url = f"http://localhost:{port}{options.prefix}"
                print(_("Sandbox ready: open %(url)s (Ctrl-C stops)", url=url), flush=True)
                own_page = _(
                    "Consents are remembered until then. %(url)s takes them back, and makes bearer tokens.",
                    url=box.front_url,
                )
                print(own_page, flush=True)
            elif time.monotonic() > deadline:
                text = _(
                    "The app did not answer on port %(port)s within %(seconds)s seconds.",
                    port=port,
                    seconds=START_SECONDS,
                )
                return _fail(text)
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

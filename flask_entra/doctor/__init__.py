"""What is wrong with the settings, and how to mend it: `flask doctor`, and the configuration page.

`checks` tells what can be told of the settings by themselves, with a file for each subject: `dotenv_file`, `spelling`,
`credentials`, `addresses`, `redis_url` and `scopes`. `own_app` tells what is odd about the app around them. `inquiries` asks
the authority (`abilities`, for another provider than Entra) and the API, `permissions` the app registration, `stores` (with
`store_errors`) the session store. `examination` has the order of it all, `report` prints what they find. None shows a secret.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Callable

import click
from flask import Flask, Response, current_app, request

from flask_entra.callers import expects_a_page
from flask_entra.commands import DOCTOR, SANDBOX
from flask_entra.config import Config
from flask_entra.doctor import report
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.examination import examine, taken_paths
from flask_entra.doctor.findings import VIEWS, Finding, keyed
from flask_entra.doctor.own_app import check_app
from flask_entra.doctor.parts import Parts
from flask_entra.pages import Answers, OwnPages, explanations, languages
from flask_entra.pages.problems import Problem

__all__ = ["Configuration", "Finding", "add_command", "check_settings", "examine"]

_PAUSE_SECONDS = 2  # between two rounds of questions
log = logging.getLogger(__name__)


class Configuration:
    """The page that is shown instead of a sign-in that cannot work.

    :param app: whose settings are checked, when they are first needed: its own pages are not known before.
    """

    def __init__(self, app: Flask, config: Config, pages: OwnPages, answers: Answers):
        self._app, self._config, self._pages, self._answers = app, config, pages, answers

    @functools.cached_property
    def _findings(self) -> list[Finding]:
        settings = self._config.settings
        found = [*check_settings(settings, taken_paths(self._app)), *check_app(self._app, self._config)]
        found = list(map(keyed, found)) if settings.keyed else found
        with languages.speaking("en"):
            for finding in found:
                log.log(logging.ERROR if finding.level == "wrong" else logging.WARNING, "%s", report.line(finding))
        return found

    def page(self) -> Response | None:
        """The page; None if nothing is wrong with the settings as they are written."""
        if not any(finding.level == "wrong" for finding in self._findings):
            return None
        if not expects_a_page():
            return self._answers.answer(Problem(explanations.NOT_SET_UP))
        is_starter = self._config.settings.dotenv.path.with_name("app_config.py").exists()
        page = self._pages.render(
            "configuration.html",
            findings=self._findings,
            only_views=all(finding.setting is VIEWS for finding in self._findings if finding.level == "wrong"),
            doctor=DOCTOR,
            sandbox=SANDBOX,
            is_starter=is_starter,
        )
        return current_app.make_response((page, 200 if request.path == "/" else 503))

    def show_everywhere(self) -> None:
        """Show it instead of each page of the app."""

        @self._app.before_request
        def show_configuration() -> Response | None:
            if request.endpoint in ("static", "healthz", None):  # None: there is no such page
                return None
            return self.page()


def add_command(app: Flask, parts: Parts) -> None:
    """Add the command `flask doctor`."""

    @app.cli.command("doctor")
    @click.option("--port", type=int, default=5000, envvar="FLASK_RUN_PORT", help="The port served.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for pipelines.")
    @click.option("--offline", is_flag=True, help="Look at settings and files only: no request is sent.")
    @click.option(
        "--wait", type=click.IntRange(min=0), default=0, help="Ask again for so many seconds, until all is well."
    )
    def doctor(port: int, as_json: bool, offline: bool, wait: int) -> None:
        """Check the settings, and ask the authority, the API and the session store about them.

        \b
        Exit status:
          0  nothing is wrong
          1  something is wrong
          2  the command was called with an option that it does not have
          3  nothing is wrong but what does not answer here: the authority, the API, Redis
        """
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        with languages.speaking(report.terminal_language(os.environ, encoding)):
            found = _examine_until_well(lambda: examine(app, parts, port, offline=offline), wait)
            if as_json:
                click.echo(report.as_json(found))
            else:
                for finding in found:
                    click.echo(report.spelled(report.line(finding), encoding))
        raise SystemExit(report.exit_status(found))


def _examine_until_well(ask: Callable[[], list[Finding]], seconds: float) -> list[Finding]:
    """Ask until nothing is wrong, or the time is over. Standard error tells what is waited for, once for each.

    :param ask: finds what there is to say now.
    """
    deadline, told = time.monotonic() + seconds, set[str]()
    while True:
        found = ask()
        left = deadline - time.monotonic()
        if report.exit_status(found) == 0 or left <= 0:
            return found
        for line in [report.line(each) for each in found if each.level == "wrong"]:
            if line not in told:
                told.add(line)
                click.echo(report.spelled(line, getattr(sys.stderr, "encoding", None) or "utf-8"), err=True)
        time.sleep(min(_PAUSE_SECONDS, left))

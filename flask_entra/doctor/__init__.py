"""What is wrong with the settings, and how to mend it: `flask doctor`, and the configuration page.

`checks` tells what can be told of the settings by themselves, with a file for each subject: `dotenv_file`, `spelling`,
`credentials`, `addresses`, `redis_url` and `scopes`. `inquiries` tells what has to be asked: the authority (`abilities`, for
another provider than Entra), the API, the app registration (`permissions`), the session store (`stores`, `store_errors`), git.
`report` prints what they find. None shows a secret.
"""

from __future__ import annotations

import functools
import os
import sys

import click
from flask import Flask, Response, render_template, request

from flask_entra.callers import expects_a_page
from flask_entra.commands import DOCTOR, SANDBOX
from flask_entra.doctor import report
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.findings import Finding
from flask_entra.doctor.inquiries import examine, taken_paths
from flask_entra.pages import explanations, languages, problems
from flask_entra.signin.auth import Auth

__all__ = ["Finding", "check_settings", "examine", "init_app"]


def init_app(app: Flask, auth: Auth) -> None:
    """Show the configuration page instead of a sign-in that cannot work, and add the command `flask doctor`."""

    @functools.cache
    def findings() -> list[Finding]:
        # Not at start: the app's own pages are not known yet then.
        return check_settings(app.config["SETTINGS"], taken_paths(app))

    @app.before_request
    def show_configuration() -> tuple[str, int] | Response | None:
        if request.endpoint in ("static", "healthz", None):  # None: there is no such page
            return None
        if not any(finding.level == "wrong" for finding in findings()):
            return None
        if not expects_a_page():
            return problems.answer(problems.Problem(explanations.NOT_SET_UP))
        page = render_template("configuration.html", findings=findings(), doctor=DOCTOR, sandbox=SANDBOX)
        return page, 200 if request.path == "/" else 503

    @app.cli.command("doctor")
    @click.option("--port", type=int, default=5000, envvar="FLASK_RUN_PORT", help="The port served.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for pipelines.")
    def doctor(port: int, as_json: bool) -> None:
        """Check the settings, and ask the authority, the API and the session store about them.

        \b
        Exit status:
          0  nothing is wrong
          1  something is wrong
          2  the command was called with an option that it does not have
        """
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        languages.speak(report.terminal_language(os.environ, encoding))
        found = examine(app, auth, port)
        if as_json:
            click.echo(report.as_json(found))
        else:
            for finding in found:
                click.echo(report.spelled(report.line(finding), encoding))
        raise SystemExit(any(finding.level == "wrong" for finding in found))

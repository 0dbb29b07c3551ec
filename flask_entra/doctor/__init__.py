"""What is wrong with the settings, and how to mend it: `flask doctor`, and the configuration page.

`checks` tells what can be told of the settings by themselves, and `inquiries` what has to be asked: the authority, the API,
the session store, git. Neither shows a secret.
"""

from __future__ import annotations

import functools
import os
import sys

import click
from flask import Flask, Response, render_template, request

from flask_entra.callers import expects_a_page
from flask_entra.doctor.checks import check_settings
from flask_entra.doctor.findings import Finding
from flask_entra.doctor.inquiries import examine, taken_paths
from flask_entra.pages import explanations, problems
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
        return render_template("configuration.html", findings=findings()), 200 if request.path == "/" else 503

    @app.cli.command("doctor")
    @click.option("--port", type=int, default=int(os.environ.get("FLASK_RUN_PORT", "5000")), help="The port served.")
    def doctor(port: int) -> None:
        """Check the settings, and ask the authority about them."""
        found = examine(app, auth, port)
        signs = {"right": "✓", "odd": "!", "wrong": "✗"}
        try:
            "✓✗".encode(sys.stdout.encoding)
        except UnicodeEncodeError:  # a file or an old console on Windows
            signs = {"right": "+", "odd": "!", "wrong": "x"}
        for finding in found:
            mend = f" {finding.mend}" if finding.mend else ""
            click.echo(f"{signs[finding.level]} {finding.setting} {finding.found}.{mend}")
        raise SystemExit(any(finding.level == "wrong" for finding in found))

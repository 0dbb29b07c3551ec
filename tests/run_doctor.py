"""The fixture `run_doctor`."""

import contextvars
import logging
import os

import forked
import pytest
from conftest import bare_environment
from fake_provider import load_app


@pytest.fixture
def run_doctor(box, tmp_path):
    """Run `flask doctor` on the sandbox with some settings changed; returns its exit status and what it printed.

    With a folder to run in, it is a process of its own; else it runs in this one, which takes a tenth of the time, and `aside`
    is what it wrote to standard error.
    """

    def run(*options, cwd=None, **settings):
        sound = {**box.settings, "SESSION_FILE_DIR": str(tmp_path / "sessions")}
        changed = {name: value for name, value in {**sound, **settings}.items() if value is not None}
        environment = bare_environment() | changed
        return process(cwd, environment, options) if cwd else here(environment, options)

    def process(cwd, environment, options):
        status, printed = forked.run(["flask", "doctor", *options], cwd, environment)
        assert "Traceback" not in printed, printed
        return status, printed

    def here(environment, options):
        root = logging.getLogger()
        before = root.handlers[:], root.level
        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ) - set(environment):
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            invoke = load_app().test_cli_runner().invoke
            # The language that it speaks is its own.
            done = contextvars.copy_context().run(invoke, args=["doctor", *options], catch_exceptions=False)
        root.handlers[:], root.level = before
        run.aside = done.stderr
        return done.exit_code, done.stdout

    return run

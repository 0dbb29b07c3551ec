"""Processes of the app that begin where the import of its libraries ends, so that no test waits for that half second.

The fork server of `multiprocessing` has imported `preloaded.py`. What it forks is given an environment of its own, imports all
of the app, and runs what `python -m …` would.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import bytecode
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from reached import watch

TESTS = Path(__file__).parent
POSSIBLE = "forkserver" in multiprocessing.get_all_start_methods()  # not on Windows

if POSSIBLE:
    _server = multiprocessing.get_context("forkserver")
    _server.set_forkserver_preload(["tests.preloaded"])


class Forked:
    """`python -m …` as a process, with the methods of `subprocess.Popen` that the tests use.

    :param arguments: the module, and what it is told.
    """

    def __init__(self, arguments, cwd, env, log):
        self._process = _server.Process(
            target=_run, args=(arguments, str(cwd), env, str(log), bytecode.folder()), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def send_signal(self, how):
        if self.poll() is None:
            os.kill(self.pid, how)

    def wait(self, timeout):
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)


def run(arguments, cwd, env):
    """Run `python -m …` to its end; its exit status and all that it has printed."""
    if not POSSIBLE or "PYTHONIOENCODING" in env:  # which Python reads when it starts
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        return done.returncode, done.stdout
    with tempfile.NamedTemporaryFile() as printed:
        process = Forked(arguments, cwd, env, printed.name)
        process.wait(60)
        return process.poll(), printed.read().decode()


def _run(arguments, cwd, env, log, kept):
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:] = [cwd, *(each for each in sys.path if each and Path(each) not in (TESTS, TESTS.parent))]
    sys.argv[1:] = arguments[1:]
    sys.warnoptions[:] = filter(None, env.get("PYTHONWARNINGS", "").split(","))
    warnings._processoptions(sys.warnoptions)
    Flask.jinja_options = {"bytecode_cache": FileSystemBytecodeCache(kept)}
    if sys.dont_write_bytecode:  # or each app would compile its own files
        sys.dont_write_bytecode, sys.pycache_prefix = False, kept
    watch()
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which no process of multiprocessing does

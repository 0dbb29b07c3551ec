"""Which lines of the app the tests reach, in their own processes and in the app's: for the floor in CI, and for `tests.mutate`.

A line is written down at the moment when it is first reached, because a test ends its apps by killing them. (coverage.py writes
when a process ends, and does not know which test another process works for.) It needs Python 3.12, for `sys.monitoring`.
"""

import collections
import json
import mmap
import os
import re
import shutil
import struct
import sys
import tempfile
import types
from pathlib import Path

import pytest

AT_LEAST = 97  # of a hundred lines
POSSIBLE = sys.version_info >= (3, 12)
PACKAGE = Path(__file__).parent.parent / "flask_entra"
# Of the environment: where to write, and whether to tell tests apart.
FOLDER, BY_TEST = "REACHED_FOLDER", "REACHED_BY_TEST"
MARK = f"{os.sep}{PACKAGE.name}{os.sep}"  # in the path of each file of the app, also of a copy of it


def watch():
    """Write down the lines that this process and its children reach, if the environment says so."""
    if FOLDER not in os.environ:
        return
    monitoring, by_test, seen, last = sys.monitoring, BY_TEST in os.environ, set(), None
    records = os.open(Path(os.environ[FOLDER]) / "lines", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with (Path(os.environ[FOLDER]) / "now").open("rb") as file:
        now = mmap.mmap(file.fileno(), 4, access=mmap.ACCESS_READ)

    def reached(code, line):
        nonlocal last
        _, mark, name = code.co_filename.rpartition(MARK)
        if not mark:
            return monitoring.DISABLE
        test = now[:4]
        if test != last:
            last = test
            seen.clear()
        if (code, line) not in seen:
            seen.add((code, line))
            os.write(records, f"{struct.unpack('I', test)[0]}\t{name}\t{line}\n".encode())
        return None if by_test else monitoring.DISABLE

    monitoring.use_tool_id(monitoring.COVERAGE_ID, "reached")
    monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, reached)
    monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)


def pytest_configure(config):
    """Watch if `tests.mutate` asks for it, and in CI when all tests are run."""
    everything = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if not POSSIBLE or FOLDER not in os.environ and not (os.environ.get("CI") and everything):
        return
    folder = Path(os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="reached-"))
    os.environ[FOLDER] = str(folder)  # the processes that xdist starts have it too
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker or not config.option.numprocesses:
        config.pluginmanager.register(Watch(folder / (worker or "all")))
    if not worker and BY_TEST not in os.environ:
        config.pluginmanager.register(Floor(folder))


class Watch:
    """The plugin of a process that runs tests: says which test it is, and how long each took."""

    def __init__(self, folder):
        self._folder, self._number = folder, 0
        folder.mkdir()
        (folder / "now").write_bytes(bytes(4))
        os.environ[FOLDER] = str(folder)
        with (folder / "now").open("r+b") as file:
            self._now = mmap.mmap(file.fileno(), 4)
        watch()

    def pytest_runtest_logstart(self, nodeid):
        self._number += 1
        self._now[:4] = struct.pack("I", self._number)
        self._seconds = 0.0

    def pytest_runtest_logreport(self, report):
        self._seconds += report.duration

    def pytest_runtest_logfinish(self, nodeid):
        name = re.sub(r"@[^@\]]*$", "", nodeid)  # without the group of xdist
        with (self._folder / "tests").open("a") as file:
            file.write(json.dumps([self._number, name, round(self._seconds, 3)]) + "\n")


class Floor:
    """The plugin of the process that reports: a run that reaches too few lines has failed."""

    def __init__(self, folder):
        self._folder = folder

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        share, never = never_reached(lines_of(self._folder)[0])
        shutil.rmtree(self._folder)
        reporter.write_line(f"the tests reach {share:.1f} % of the lines of {PACKAGE.name}")
        if share < AT_LEAST:
            reporter.write_line(f"{AT_LEAST} % is the floor. Never reached:", red=True)
            for name, lines in never.items():
                reporter.write_line(f"{name}: {', '.join(map(str, lines))}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def executable(path):
    """The lines of a file that can be reached."""
    found, codes = set(), [compile(path.read_text(), str(path), "exec")]
    while codes:
        code = codes.pop()
        found |= {line for _start, _end, line in code.co_lines() if line}
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return found


def lines_of(folder):
    """What was reached: for each file of the app, as in `signin/auth.py`, its lines and the tests that reached each.

    :return: this, and the seconds that each test took.
    """
    seconds, reached = {}, collections.defaultdict(lambda: collections.defaultdict(set))
    for process in folder.iterdir():
        names = {0: None}
        for number, name, took in map(json.loads, (process / "tests").read_text().splitlines()):
            names[number], seconds[name] = name, took
        with (process / "lines").open() as records:
            for record in records:
                number, file, line = record.split("\t")
                reached[file.replace(os.sep, "/")][int(line)].add(names.get(int(number)))
    return reached, seconds


def never_reached(reached):
    """How many of a hundred lines of the app were reached, and which were not, by file."""
    every = {path.relative_to(PACKAGE).as_posix(): executable(path) for path in sorted(PACKAGE.rglob("*.py"))}
    never = {name: sorted(lines - set(reached[name])) for name, lines in every.items() if lines - set(reached[name])}
    return 100 - 100 * sum(map(len, never.values())) / sum(map(len, every.values())), never

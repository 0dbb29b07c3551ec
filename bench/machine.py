"""What runs while the bench measures: gunicorn, Graph's stand-in, Redis; and wrk, which loads them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
CONFIGURATION = "gunicorn.conf.py"  # the app's, and one for those that it is measured against


class CannotMeasure(Exception):
    """Something without which there is no figure. The text is one line for the person at the terminal."""


def need(program: str, package: str) -> str:
    """Where a program is.

    :raises CannotMeasure: it is not installed.
    """
    path = shutil.which(program)
    if not path:
        raise CannotMeasure(f"{program} is missing: install it ({package}), for example with: apt install {package}")
    return path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- Processes ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], what: str, **kwargs):
    """A process with its children, for as long as the block lasts."""
    with subprocess.Popen(command, start_new_session=True, **kwargs) as process:
        process.what = what
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen) -> None:
    """End a process and its children: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(5)
    process.wait()


def wait_until(answers, process: subprocess.Popen, log: Path | None = None) -> None:
    """Wait for a process to do its work.

    :param answers: says whether it does.
    :raises CannotMeasure: it ended, or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-1:] if log else []
            raise CannotMeasure(" ".join([f"{process.what} does not start.", *said]))
        time.sleep(0.002)


@contextlib.contextmanager
def upstream(folder: Path, certificate: Path, profile: dict):
    """Graph's stand-in; its ports by name."""
    (folder / "profile.json").write_text(json.dumps(profile, ensure_ascii=False), encoding="utf-8")
    command = [sys.executable, "-m", "bench.upstream", str(certificate), str(folder / "profile.json")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(command, "Graph's stand-in", cwd=ROOT, text=True, **pipes) as process:
        line = process.stdout.readline()
        if not line:
            raise CannotMeasure("Graph's stand-in does not start.")
        yield json.loads(line)


@contextlib.contextmanager
def redis(folder: Path):
    """A Redis that keeps nothing on disk; its URL, without a database."""
    port = free_port()
    command = [need("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    with running(command, "Redis", stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: _listens(port), process)
        yield f"redis://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- gunicorn -------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A contestant at work."""

    process: subprocess.Popen
    port: int

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def memory(self) -> float:
        """The memory of a worker in MiB, the median of all. Of what processes share, each counts its part (Pss)."""
        return statistics.median(map(_proportional_set_size, self.workers()))


def _proportional_set_size(worker: int) -> float:
    (line,) = (
        line for line in Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    return int(line.split()[1]) / 1024


def gunicorn(module: str, folder: Path, port: int, *options: str) -> list[str]:
    """The command that serves a contestant with gunicorn.

    :param module: of the repository; its application is `app`.
    :param folder: to run in.
    :param options: gunicorn's, besides those of its `gunicorn.conf.py`.
    """
    configuration = (ROOT if module == "app" else ROOT / "bench" / "apps") / CONFIGURATION
    command = [sys.executable, "-m", "gunicorn", "--config", str(configuration), "--bind", f"127.0.0.1:{port}"]
    # A worker that is replaced in the middle of a load would be measured too.
    command += ["--max-requests", "0", "--max-requests-jitter", "0", "--chdir", str(folder), "--pythonpath", str(ROOT)]
    return [*command, *options, f"{module}:app"]


def granian(module: str, port: int, *options: str) -> list[str]:
    """The command that serves a contestant with granian, as docs/operate.md has it."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--blocking-threads", "64"]
    command += ["--respawn-failed-workers", "--workers-kill-timeout", "30"]
    return [*command, "--port", str(port), *options, f"{module}:app"]


@contextlib.contextmanager
def serving(command: list[str], module: str, folder: Path, environment: dict[str, str], port: int, ready: str):
    """A contestant at work, from its first 200 on.

    :param environment: all of it.
    :param ready: the path to wait for.
    """
    log = folder / f"server-{port}.log"
    with log.open("wb") as file:
        output = {"stdout": subprocess.DEVNULL, "stderr": file}
        with running(command, module, cwd=folder, env={"PYTHONPATH": str(ROOT), **environment}, **output) as process:
            wait_until(lambda: Visit(port, ready).get() == 200, process, log)
            yield Server(process, port)


@dataclass
class Visit:
    """One GET, to look at what comes."""

    port: int
    path: str
    cookie: str = ""
    text: str = field(default="", init=False)
    size: int = field(default=0, init=False)

    def get(self) -> int:
        """The status, or 0 when nobody is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", self.path, headers={"Cookie": self.cookie} if self.cookie else {})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        head = f"HTTP/1.1 {response.status} {response.reason}\r\n\r\n"
        self.text = body.decode()
        self.size = len(head) + sum(len(f"{name}: {value}\r\n") for name, value in response.getheaders()) + len(body)
        return response.status


# --- wrk ------------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """What wrk measured; times in seconds."""

    requests: int
    bytes: int
    seconds: float
    median: float
    p99: float
    not_2xx: int
    broken: int
    timeouts: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def load(server: Server, path: str, shows: str, *, seconds: float, connections: int, cookies: list[str]) -> Load:
    """Load a page with wrk, and make sure that it is that page that was measured.

    :param shows: what the page must have in it, before and after.
    :param cookies: sent in turn, as `name=value`; none sends none.
    :raises CannotMeasure: an answer was another one.
    """
    page = Visit(server.port, path, cookies[0] if cookies else "")
    _check(page, server, shows)
    command = [need("wrk", "wrk"), "--threads", "1", "--connections", str(connections)]
    command += [
        "--duration",
        f"{max(1, round(seconds))}s",
        "--timeout",
        "30s",
        "--script",
        str(ROOT / "bench" / "wrk.lua"),
    ]
    command += [f"http://127.0.0.1:{server.port}{path}", "--", *cookies]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    try:
        result = Load(**json.loads(said[-1]))
    except (IndexError, ValueError, TypeError):
        raise CannotMeasure(f"wrk measured nothing at {server.process.what} {path}.") from None
    what = f"{server.process.what} {path}"
    if not result.requests:
        raise CannotMeasure(f"{what} answered nothing under load.")
    if result.not_2xx or result.broken or result.timeouts:
        raise CannotMeasure(
            f"{what}: of {result.requests} answers under load {result.not_2xx} were errors; "
            f"{result.broken} connections broke, {result.timeouts} timed out."
        )
    # A redirect, or a page that asks to sign in, is no error to wrk. But it has another size.
    if abs(result.bytes / result.requests / page.size - 1) > 0.02 + 1 / result.requests:
        raise CannotMeasure(
            f"{what} answers something else under load: {result.bytes / result.requests:.0f} bytes, not {page.size}."
        )
    _check(page, server, shows)
    return result


def _check(page: Visit, server: Server, shows: str) -> None:
    status = page.get()
    if status != 200 or shows not in page.text:
        raise CannotMeasure(f"{server.process.what} {page.path} answers {status} without {shows!r}.")

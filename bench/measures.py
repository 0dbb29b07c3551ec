"""The measurements, by the names that `--only` takes. Each gives rows of the table."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from redis import Redis

from bench import machine, visitor
from bench.machine import CannotMeasure, Load, Server, Visit
from bench.table import APP, BARE, QUICKSTART, Goal, Row
from bench.upstream import FAR_SECONDS, SLOW_SECONDS
from flask_entra.sessions.files import FileStore
from sandbox import Sandbox
from sandbox.process import clean_environment

PERSON = "adele"
PEOPLE, CROWD = 64, 256
MODULES = {APP: "app", QUICKSTART: "bench.apps.quickstart", BARE: "bench.apps.bare_graph"}
HOME = {APP: "/", QUICKSTART: "/", BARE: "/signed-in"}
FIVE_LINES = {APP: "/", QUICKSTART: "/five_lines", BARE: "/five_lines"}
# One process, where requests a second are compared: two would share few connections unevenly, and leave the load no core.
ONE_WORKER = ("--workers", "1")
SAME_WORKERS = ("--workers", "2")  # of 64 threads
THREADS = 2 * 64
AS_THE_GUIDE_DOES = ("--workers", "2", "--worker-class", "sync", "--threads", "1")
GUNICORN, GRANIAN = "under gunicorn", "under granian"
FEW, MANY = "100 sessions stored", "100,000 sessions stored"
ABSENT, OFF, ON = "without OpenTelemetry", "OpenTelemetry off", "OpenTelemetry on"


@dataclass(frozen=True)
class Pace:
    """How long it all takes."""

    rounds: int
    seconds: float
    warm_up: bool = True
    people: int = 64
    many: int = 100_000
    connections: int = 8

    @property
    def numbers(self) -> range:
        """The numbers of the rounds; number 0 warms up and does not count."""
        return range(0 if self.warm_up else 1, self.rounds + 1)


class Bench:
    """Everything that the measurements share: a tenant, Graph's stand-in, people who are signed in."""

    def __init__(self, folder: Path, box: Sandbox, ports: dict[str, int], bundle: Path, pace: Pace):
        self.folder, self.box, self.pace = folder, box, pace
        self._ports, self._bundle = ports, bundle
        self._cookies: dict[str, list[str]] = {}
        # Where each has signed people in: the name of the app's cookie follows it.
        self._redirect_uris: dict[str, str] = {}
        person = box.person(PERSON)
        self.name = person.name
        token = box.tenant.issue(person, ["User.Read"], {}, "", box.tenant_id)["access_token"]
        user = {"name": person.name, "preferred_username": person.username, "tid": box.tenant_id}
        self._environment = {
            **clean_environment(os.environ),
            **box.settings,
            "REQUESTS_CA_BUNDLE": str(bundle),
            "FLASK_SKIP_DOTENV": "1",
            "BENCH_USER": json.dumps(user),
            "BENCH_TOKEN": token,
        }
        for name in ("GUNICORN_CMD_ARGS", "LOG_FORMAT", "PORT", "PYTHONPATH", "WEB_CONCURRENCY"):
            self._environment.pop(name, None)

    def place(self, who: str, kind: str = "shared") -> Path:
        """A folder for a contestant to run in, with what it stores."""
        place = self.folder / f"{kind}-{MODULES[who]}"
        place.mkdir(exist_ok=True)
        return place

    def environment(
        self, who: str, place: Path, port: int, graph: str, signs_in: bool = False, **more: str
    ) -> dict[str, str]:
        """What a contestant is told; see `serving`."""
        redirect_uri = f"http://localhost:{port}/getAToken"
        if not signs_in:
            redirect_uri = self._redirect_uris.get(who, redirect_uri)
        self.box.redirect_uris.add(redirect_uri)
        return {
            **self._environment,
            "ENDPOINT": f"https://localhost:{self._ports[graph]}/v1.0/me",
            "REDIRECT_URI": redirect_uri,
            "SESSION_FILE_DIR": str(place / "sessions"),
            **more,
        }

    @contextlib.contextmanager
    def serving(
        self,
        who: str,
        *options: str,
        graph="at_hand",
        place: Path | None = None,
        module="",
        ready="/",
        server=GUNICORN,
        signs_in=False,
        **more: str,
    ) -> Iterator[Server]:
        """A contestant, served.

        :param options: the server's.
        :param server: `GUNICORN` or `GRANIAN`.
        :param graph: which of Graph's stand-ins it calls: `at_hand`, `slow` or `far`.
        :param place: the folder; by default the one in which people are signed in.
        :param ready: the path whose first 200 is waited for.
        :param signs_in: whether people sign in at this server. Otherwise it knows those of `cookies`.
        :param more: further environment variables.
        """
        port, place, module = machine.free_port(), place or self.place(who), module or MODULES[who]
        environment = self.environment(who, place, port, graph, signs_in, **more)
        if server == GRANIAN:
            command = machine.granian(module, port, *options)
        else:
            command = machine.gunicorn(module, place, port, *options)
        with machine.serving(command, module, place, environment, port, ready) as running:
            yield running

    def cookies(self, who: str, count: int = 1) -> list[str]:
        """The cookies of people who are signed in; bare Flask gets the app's, and looks at none.

        :param count: of how many people, at most `Pace.people`.
        """
        who = APP if who == BARE else who
        if who not in self._cookies:
            with self.serving(who, *SAME_WORKERS, signs_in=True) as server:
                url = f"http://localhost:{server.port}"
                everyone = range(self.pace.people)
                self._cookies[who] = [visitor.sign_in(f"{url}/call_graph", PERSON, self.name) for _ in everyone]
                self._redirect_uris[who] = f"{url}/getAToken"
        return self._cookies[who][:count]

    def load(self, server: Server, path: str, cookies: list[str], shows: str = "", connections: int = 0) -> Load:
        return machine.load(
            server,
            path,
            shows or self.name,
            seconds=self.pace.seconds,
            connections=connections or self.pace.connections,
            cookies=cookies,
        )

    def in_turns(self, servers: dict[str, Server], paths: dict[str, str], **kwargs) -> dict[str, list[Load]]:
        """Load everybody, round after round.

        :param kwargs: `people`, how many different ones, or `signed_in`, the cookies for each server; others as for `load`.
        """
        people, signed_in = kwargs.pop("people", 1), kwargs.pop("signed_in", None)
        loads: dict[str, list[Load]] = {who: [] for who in servers}
        for number in self.pace.numbers:
            for who, server in servers.items():
                cookies = signed_in[who] if signed_in else self.cookies(who, people) if people else []
                result = self.load(server, paths[who], cookies, **kwargs)
                if number:
                    loads[who].append(result)
        return loads


@contextlib.contextmanager
def prepare(pace: Pace) -> Iterator[Bench]:
    """Start what the measurements share."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        box = stack.enter_context(Sandbox(redirect_uris=("http://localhost/getAToken",)))
        box.require_consent = False
        box.access_token_lifetime = box.id_token_lifetime = 24 * 3600
        authority = trustme.CA(organization_name="Bench")
        certificate, bundle = folder / "graph.pem", folder / "ca.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        bundle.write_bytes(Path(box.ca_file).read_bytes() + authority.cert_pem.bytes())
        profile = {"@odata.context": f"{box.back_url}/v1.0/$metadata#users/$entity", **box.person(PERSON).profile}
        ports = stack.enter_context(machine.upstream(folder, certificate, profile))
        yield Bench(folder, box, ports, bundle, pace)


@contextlib.contextmanager
def everybody(bench: Bench, *options: str, **kwargs) -> Iterator[dict[str, Server]]:
    """All contestants, with the same options."""
    for who in (APP, QUICKSTART):
        bench.cookies(who)
    with contextlib.ExitStack() as stack:
        yield {who: stack.enter_context(bench.serving(who, *options, **kwargs)) for who in MODULES}


def rates(loads: dict[str, list[Load]]) -> dict[str, list[float]]:
    return {who: [load.rate for load in results] for who, results in loads.items()}


# --- The rows -------------------------------------------------------------------------------------------------------


def home(bench: Bench) -> Iterator[Row]:
    """The start page of somebody who is signed in; for the others a page of five lines, and then the same page."""
    with everybody(bench, *ONE_WORKER) as servers:
        loads = bench.in_turns(servers, FIVE_LINES)
        same = bench.in_turns(servers, HOME)
    goals = [Goal(0.65, against=BARE), Goal(2, against=QUICKSTART)]
    yield Row("home", "signed-in home, the others with five lines", "requests/s", rates(loads), goals)
    goals = [Goal(0.75, against=BARE)]
    yield Row("home", "signed-in home, the same page", "requests/s", rates(same), goals)


def graph(bench: Bench) -> Iterator[Row]:
    """The profile page, with Graph at hand."""
    with everybody(bench, *ONE_WORKER) as servers:
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/call_graph"))
    goals = [Goal(1, against=BARE), Goal(2.1, against=QUICKSTART)]
    yield Row("graph", "Call Graph, Graph at hand", "requests/s", rates(loads), goals)


def distance(bench: Bench) -> Iterator[Row]:
    """The profile page, with Graph at a distance, asked by one person at a time."""
    # With two workers, every now and then a connection to Graph would still have to be made.
    with everybody(bench, *ONE_WORKER, graph="far") as servers:
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/call_graph"), connections=1)
    values = {who: [load.median * 1000 for load in results] for who, results in loads.items()}
    what = f"Call Graph, median latency, Graph {FAR_SECONDS * 2000:.0f} ms away"
    yield Row("distance", what, "ms", values, [Goal(1.05, most=True, against=BARE)])


def deployed(bench: Bench) -> Iterator[Row]:
    """The profile page as each is deployed, for many people at once, with a Graph that takes its time."""
    people = {who: bench.cookies(who, bench.pace.people) for who in MODULES}
    options = {APP: (), QUICKSTART: AS_THE_GUIDE_DOES, BARE: ()}
    with contextlib.ExitStack() as stack:
        servers = {who: stack.enter_context(bench.serving(who, *options[who], graph="slow")) for who in people}
        if not bench.pace.warm_up:
            for who in (APP, BARE):  # the third keeps nothing warm
                bench.load(servers[who], "/call_graph", people[who], connections=PEOPLE)
        kwargs = {"people": bench.pace.people, "connections": PEOPLE}
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/call_graph"), **kwargs)
    what = f"Call Graph as deployed, {PEOPLE} people, Graph takes {SLOW_SECONDS * 1000:.0f} ms"
    yield Row("deployed", what, "requests/s", rates(loads), [Goal(0.95, against=BARE), Goal(25, against=QUICKSTART)])
    values = {who: [load.p99 * 1000 for load in results] for who, results in loads.items()}
    yield Row("deployed", "the same, p99", "ms", values, [Goal(2 * SLOW_SECONDS * 1000, most=True)])


def crowd(bench: Bench) -> Iterator[Row]:
    """The same for more people than there are threads. The quickstart's way would need half a minute for a round of them."""
    people = {who: bench.cookies(who, bench.pace.people) for who in (APP, BARE)}
    with contextlib.ExitStack() as stack:
        servers = {who: stack.enter_context(bench.serving(who, *SAME_WORKERS, graph="slow")) for who in people}
        for who in people:  # connections to Graph, for each thread
            bench.load(servers[who], "/call_graph", people[who], connections=CROWD)
        kwargs = {"people": bench.pace.people, "connections": CROWD}
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/call_graph"), **kwargs)
    queue = CROWD / THREADS * SLOW_SECONDS * 1000
    what = f"Call Graph, {CROWD} people, Graph takes {SLOW_SECONDS * 1000:.0f} ms"
    yield Row("crowd", what, "requests/s", rates(loads), [Goal(0.95, against=BARE)])
    values = {who: [load.p99 * 1000 for load in results] for who, results in loads.items()}
    yield Row("crowd", "the same, p99; nobody fails", "ms", values, [Goal(1.2 * queue, most=True)])


def servers(bench: Bench) -> Iterator[Row]:
    """This app under granian, against gunicorn: two processes of 64 threads each."""
    if not importlib.util.find_spec("granian"):
        print("servers: not measured, because granian is not installed", file=sys.stderr)
        return
    people = bench.cookies(APP, bench.pace.people)
    with contextlib.ExitStack() as stack:
        both = {
            server: stack.enter_context(bench.serving(APP, *SAME_WORKERS, server=server, graph="slow"))
            for server in (GRANIAN, GUNICORN)
        }
        for path, connections, what in (("/", 32, "signed-in home"), ("/call_graph", PEOPLE, "Call Graph as deployed")):
            loads: dict[str, list[Load]] = {server: [] for server in both}
            for number in range(bench.pace.rounds + 1):  # the first makes the connections to Graph
                for server, running in both.items():
                    result = bench.load(running, path, people, connections=connections)
                    if number:
                        loads[server].append(result)
            for unit, figure in (("requests/s", lambda load: load.rate), ("ms, p99", lambda load: load.p99 * 1000)):
                values = {server: [figure(load) for load in results] for server, results in loads.items()}
                goal = Goal(1, most=unit != "requests/s", against=GUNICORN)
                row = Row(
                    "servers", f"{what} under granian", unit, {APP: values[GRANIAN], GUNICORN: values[GUNICORN]}, [goal]
                )
                yield row
        memory = {server: running.memory() for server, running in both.items()}
    values = {APP: [memory[GRANIAN]], GUNICORN: [memory[GUNICORN]]}
    yield Row("servers", "memory of a worker under granian", "MiB", values, [Goal(1, most=True, against=GUNICORN)])


def anonymous(bench: Bench) -> Iterator[Row]:
    """The start page of somebody who is not signed in. The quickstart's way begins a sign-in there."""
    with contextlib.ExitStack() as stack:
        places = {who: bench.place(who, "anonymous") for who in MODULES}
        servers = {who: stack.enter_context(bench.serving(who, *ONE_WORKER, place=places[who])) for who in MODULES}
        writes = {who: _writes_a_visit(servers[who], places[who]) for who in (APP, QUICKSTART)}
        before = _files(places[APP])
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/"), people=0, shows="<html lang=")
        writes[APP] += len(before.items() ^ _files(places[APP]).items())
    yield Row("anonymous", "anonymous home", "requests/s", rates(loads), [Goal(0.85, against=BARE)])
    values = {who: [float(count)] for who, count in writes.items()}
    yield Row("anonymous", "the same, files written to the store", "a visit", values, [Goal(0, most=True)])


def _files(place: Path) -> dict[Path, int]:
    """When each file of the session store was changed."""
    files = {}
    for path in place.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.suffix != ".log":
                files[path] = path.stat().st_mtime_ns
    return files


def _writes_a_visit(server: Server, place: Path) -> float:
    visits, written = 10, 0
    for _ in range(visits):
        before = _files(place)
        Visit(server.port, "/").get()
        written += len(dict(_files(place).items() - before.items()))
    return written / visits


def signin(bench: Bench) -> Iterator[Row]:
    """What a sign-in asks of the tenant, once the worker has done one before."""
    counted = ("token requests", "new TLS connections", "requests for discovery and keys")
    first: dict[str, float] = {}
    warm: dict[str, dict[str, list[float]]] = {what: {} for what in counted}
    for who in (APP, QUICKSTART):
        options = {"place": bench.place(who, "signin"), "ready": "/static/icon.svg", "signs_in": True}
        with bench.serving(who, *ONE_WORKER, **options) as server:
            known: set[int] = set()
            for number in range(bench.pace.rounds + 1):
                start = len(bench.box.log)
                visitor.sign_in(f"http://localhost:{server.port}/call_graph", PERSON, bench.name)
                asked = [seen for seen in bench.box.log[start:] if seen.endpoint in ("token", "discovery", "keys")]
                tokens = sum(seen.endpoint == "token" for seen in asked)
                connections = {seen.connection for seen in asked}
                figures = (tokens, len(connections - known), len(asked) - tokens)
                known |= connections
                if number:
                    for what, figure in zip(counted, figures, strict=True):
                        warm[what].setdefault(who, []).append(float(figure))
                else:
                    first[who] = figures[1]
    for what, most in zip(counted, (1, 0, 0), strict=True):
        yield Row("signin", f"a sign-in: {what}", "", warm[what], [Goal(most, most=True)])
    values = {who: [float(figure)] for who, figure in first.items()}
    yield Row("signin", "the first sign-in after a start: new TLS connections", "", values)


def sessions(bench: Bench) -> Iterator[Row]:
    """The signed-in home with a full store, against the same with few sessions in it: files, then Redis. Then, what a session
    takes there, and how long it takes to remove all files."""
    cookie = bench.cookies(APP)[0]
    with machine.redis(bench.folder) as redis:
        for store in ("files", "Redis"):
            with contextlib.ExitStack() as stack:
                servers, cookies = {}, {}
                for database, (what, count) in enumerate(((MANY, bench.pace.many), (FEW, 100))):
                    place = bench.place(APP, f"{store}-{count}")
                    more = {"REDIS_URL": f"{redis}/{database}"} if store == "Redis" else {}
                    cookies[what] = [_fill(bench, place, cookie, count, more)]
                    servers[what] = stack.enter_context(bench.serving(APP, *ONE_WORKER, place=place, **more))
                loads = bench.in_turns(servers, dict.fromkeys(servers, "/"), signed_in=cookies)
            values = {what: [1000 / load.rate for load in results] for what, results in loads.items()}
            row = Row(
                "sessions",
                f"signed-in home, {bench.pace.many:,} sessions in {store}, time a request",
                "ms",
                {APP: values[MANY], FEW: values[FEW]},
                [Goal(1.05, most=True, against=FEW)],
            )
            yield row
        in_redis = Redis.from_url(f"{redis}/0").info("memory")["used_memory"]  # the few are hardly any
    stored = bench.place(APP, f"files-{bench.pace.many}") / "sessions"
    in_files = sum(path.stat().st_size for path in stored.rglob("*") if path.is_file())
    for store, size in (("Redis", in_redis), ("files", in_files)):
        values = {APP: [size / bench.pace.many / 1000]}
        yield Row("sessions", f"a session in {store}, with its place in the index", "KB", values)
    seconds = _prune(stored)
    yield Row("sessions", f"to remove {bench.pace.many:,} expired sessions in files", "s", {APP: [seconds]})


def _fill(bench: Bench, place: Path, cookie: str, count: int, more: dict[str, str]) -> str:
    environment = bench.environment(APP, place, machine.free_port(), "at_hand", **more)
    command = [sys.executable, "-m", "bench.crowd", str(bench.place(APP) / "sessions"), cookie, str(count)]
    filled = subprocess.run(command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=False)
    if filled.returncode:
        raise CannotMeasure(f"The session store cannot be filled: {filled.stderr.strip().splitlines()[-1]}")
    return filled.stdout.strip()


def _prune(folder: Path) -> float:
    """How many seconds it takes to remove all sessions, when all have expired."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))
    store, began = FileStore(folder), time.perf_counter()
    store.prune(0)
    seconds = time.perf_counter() - began
    if left := len(list(store.keys())):
        raise CannotMeasure(f"{left} sessions have not been removed")
    return seconds


def telemetry(bench: Bench) -> Iterator[Row]:
    """The signed-in home where OpenTelemetry is installed and off, and where it is on, against an app that cannot import it."""
    if not importlib.util.find_spec("opentelemetry"):
        print("telemetry: not measured, because OpenTelemetry is not installed", file=sys.stderr)
        return
    cookies = bench.cookies(APP)
    hidden = bench.folder / "hidden"
    hidden.mkdir()
    (hidden / "opentelemetry.py").write_text("raise ImportError\n")
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console", "OTEL_LOGS_EXPORTER": "none"}
    settings = {ABSENT: {"PYTHONPATH": f"{hidden}{os.pathsep}{machine.ROOT}"}, OFF: {}, ON: exporters}
    with contextlib.ExitStack() as stack:
        servers = {
            what: stack.enter_context(bench.serving(APP, *ONE_WORKER, **more)) for what, more in settings.items()
        }
        loads = bench.in_turns(servers, dict.fromkeys(servers, "/"), signed_in=dict.fromkeys(servers, cookies))
    times = {what: [1000 / load.rate for load in results] for what, results in loads.items()}
    goals = {OFF: [Goal(1.03, most=True, against=ABSENT)], ON: []}
    for what, goal in goals.items():
        values = {APP: times[what], ABSENT: times[ABSENT]}
        yield Row("telemetry", f"signed-in home, {what}, time a request", "ms", values, goal)


def memory(bench: Bench) -> Iterator[Row]:
    """What a worker needs that has signed somebody in and shown both pages for a while."""
    values: dict[str, list[float]] = {}
    with everybody(bench, *SAME_WORKERS, signs_in=True) as servers:
        for who, server in servers.items():
            cookies = bench.cookies(who)
            for _ in range(8 if who != BARE else 0):  # whichever worker it is that does it
                cookies = [visitor.sign_in(f"http://localhost:{server.port}/call_graph", PERSON, bench.name)]
            for path in (HOME[who], "/call_graph"):
                bench.load(server, path, cookies)
            values[who] = [server.memory()]
    yield Row("memory", "memory of a worker, of two", "MiB", values)
    more = {who: [values[who][0] - values[BARE][0]] for who in (APP, QUICKSTART)}
    yield Row("memory", "the same, beyond bare Flask's", "MiB", more, [Goal(8, most=True)])


def start(bench: Bench) -> Iterator[Row]:
    """From the command to the first page. Bare is the one that calls Graph as well: it imports Flask and requests."""
    values: dict[str, list[float]] = {who: [] for who in MODULES}
    for number in bench.pace.numbers:
        for who in MODULES:
            module = "bench.apps.bare_graph" if who == BARE else ""
            began = time.monotonic()
            with bench.serving(who, *ONE_WORKER, place=bench.place(who, "start"), module=module):
                if number:
                    values[who].append(time.monotonic() - began)
    yield Row("start", "start to first page", "s", values, [Goal(1.25, most=True, against=BARE)])


MEASURES = {
    measure.__name__: measure
    for measure in (
        home,
        graph,
        distance,
        deployed,
        crowd,
        servers,
        anonymous,
        signin,
        sessions,
        telemetry,
        memory,
        start,
    )
}

"""The bench says what it measures. No figure is asserted here: that would be a test of the machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import relay, upstream
from bench.machine import CannotMeasure, Server, Visit, load, stop
from bench.measures import Pace, prepare
from bench.picture import draw
from bench.table import APP, BARE, QUICKSTART, Goal, Row, number, render
from bench.visitor import _Page

ROOT = Path(__file__).parents[1]
DELAY = 0.05


def test_a_missing_wrk_is_one_clear_line(tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "bench", "--quick"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("wrk is missing: install it")


@pytest.mark.parametrize("name", ["bare", "bare_graph", "quickstart"])
def test_each_contestant_can_be_started(name, tmp_path):
    environment = os.environ | {
        "BENCH_USER": "{}",
        "BENCH_TOKEN": "token",
        "CLIENT_ID": "id",
        "CLIENT_SECRET": "secret",
        "AUTHORITY": "https://localhost/tenant",
        "ENDPOINT": "https://localhost/me",
        "REDIRECT_URI": "http://localhost:5000/getAToken",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", f"import bench.apps.{name}"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_contestants_have_what_the_apps_templates_need(tmp_path):
    """Each page is rendered with what `bench.apps.page` gives it, which the app's own templates may outgrow."""
    code = """
from flask import render_template
from bench.apps.page import Face, make_app, show
user = {"name": "Adele Vance", "preferred_username": "adele@contoso.example"}
profile = {"displayName": "Adele Vance", "mail": "adele@contoso.example", "businessPhones": ["1"], "mobilePhone": None}
app = make_app("contestant")
with app.test_request_context():
    print(render_template("home.html"))
    print(render_template("home.html", entra=Face(user)))
    print(render_template("profile.html", entra=Face(user), **show(profile, "https://localhost/me", ["User.Read"])))
"""
    environment = os.environ | {"ENDPOINT": "https://localhost/me", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("</html>") == 3
    assert "Hello, " in done.stdout
    assert "adele@contoso.example" in done.stdout


def test_a_missing_redis_is_one_clear_line(tmp_path):
    wrk = tmp_path / "wrk"
    wrk.write_text("#!/bin/sh\n")
    wrk.chmod(0o755)
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "bench", "--only", "sessions"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("redis-server is missing: install it")


# --- The relay ------------------------------------------------------------------------------------------------------


async def through_relay(talk):
    """Let `talk` use a relay to a server that echoes, and on "bye" says "bye" and hangs up."""

    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
            if data == b"bye":
                break
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, await relay.start(server.sockets[0].getsockname()[1], DELAY) as far:
        reader, writer = await asyncio.open_connection("127.0.0.1", far.sockets[0].getsockname()[1])
        try:
            return await asyncio.wait_for(talk(reader, writer), 5)
        finally:
            writer.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not (await asyncio.wait(others, timeout=5))[1]  # the end arrives at both ends


def run(coroutine):
    """Run a coroutine on a thread of its own: in this one Playwright may have an event loop, by other tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def test_the_relay_delays_both_directions_and_the_handshake():
    before = time.monotonic()  # the handshake with the relay is over when `talk` begins, and its delay runs

    async def talk(reader, writer):
        times, began = [], before
        for _ in range(3):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            times.append(time.monotonic() - began)
            began = time.monotonic()
        return times

    first, *later = run(through_relay(talk))
    assert first >= 4 * DELAY - 0.01  # a round trip to connect, and one for the question and its answer
    assert min(later) >= 2 * DELAY - 0.01
    assert min(later) < 4 * DELAY


def test_the_relay_keeps_the_order_and_passes_the_end_on():
    sent = b"".join(b"%06d" % number for number in range(5000))

    async def talk(reader, writer):
        for start in range(0, len(sent), 999):
            writer.write(sent[start : start + 999])
            await asyncio.sleep(0)
        received = await reader.readexactly(len(sent))
        writer.write(b"bye")
        return received, await reader.read()

    assert run(through_relay(talk)) == (sent, b"bye")


def test_graphs_stand_in_answers_every_request_with_a_token():
    class Transport(list):
        def is_closing(self):
            return False

        write = list.append

    sent, graph = Transport(), upstream.Graph(b"profile", 0)
    graph.connection_made(sent)
    graph.data_received(b"GET /v1.0/me HTTP/1.1\r\nAuthorization: Bearer eyJ\r\n\r\nGET /v1.0/me HTTP/1.1\r\nAuth")
    graph.data_received(b"orization: Bearer eyJ\r\n\r\n")
    graph.data_received(b"GET /v1.0/me HTTP/1.1\r\n\r\n")
    assert sent == [b"profile", b"profile", upstream.REFUSED]


# --- Loads ----------------------------------------------------------------------------------------------------------

PAGE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Hello, nobody")
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_the_bench_refuses_a_page_that_is_not_the_expected_one():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", PAGE], **pipes) as process:
        process.what = "app"
        try:
            server = Server(process, int(process.stdout.readline()))
            with pytest.raises(CannotMeasure, match="app / answers 200 without 'Adele'"):
                load(server, "/", "Adele", seconds=1, connections=1, cookies=[])
        finally:
            stop(process)


def test_the_visitor_takes_the_form_with_the_button():
    page = _Page(
        '<form action="/no"><input name="a" value="1"><button name="b" value="x">X</button></form>'
        '<form action="/yes"><input name="c" value="&amp;"><button name="person" value="adele">A</button>'
        '<button name="person" value="alex">B</button></form><form action="/late"></form>',
        "adele",
    )
    assert page.form == ("/yes", {"c": "&", "person": "adele"})
    assert (
        _Page("<meta http-equiv='refresh' content='0; URL=http://x/?a=1&amp;b=2'>", "adele").refresh
        == "http://x/?a=1&b=2"
    )


# --- The table and the picture --------------------------------------------------------------------------------------

ROW = Row(
    "home",
    "signed-in home",
    "requests/s",
    {APP: [80.0, 90.0, 30.0], QUICKSTART: [40.0, 30.0, 10.0], BARE: [100.0, 100.0, 50.0]},
    [
        Goal(0.75, against=BARE),
        Goal(2.5, against=QUICKSTART),
        Goal(3, most=True, against=QUICKSTART),
        Goal(80, most=True),
    ],
)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    ratio = ROW.ratio(BARE)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((0.8, 0.6, 0.9))
    assert ROW.ratio(QUICKSTART).median == pytest.approx(3.0)  # 2, 3 and 3; the medians' would be 2.67
    assert ROW.ratio(BARE, QUICKSTART).median == pytest.approx(0.3)
    assert ROW.ratio().median == 80.0


def test_goals_are_reached_or_not():
    assert [ROW.reached(goal) for goal in ROW.goals] == [True, True, True, True]
    assert not ROW.reached(Goal(0.81, against=BARE))
    assert not ROW.reached(Goal(79, most=True))


def test_the_table_shows_the_missed_target_with_its_figure():
    row = Row("start", "start to first page", "s", {APP: [2.0], BARE: [1.0]}, [Goal(1.3, most=True, against=BARE)])
    head, _, *lines = render([ROW, row]).splitlines()
    assert head.split(" | ")[1].strip() == APP
    assert [line.count("|") for line in lines] == [7] * 5
    cells = [cell.strip() for cell in lines[-1].split("|")]
    assert cells == ["start to first page, s", "2", "–", "1", "2.00 × bare Flask", "2.00 – 2.00", "≤ 1.30", "✗"]


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.95, "100"), (12.345, "12.3"), (0.12345, "0.123"), (3.0, "3"), (0.0, "0")]
)
def test_numbers_have_three_digits_that_mean_something(value, text):
    assert number(value) == text


def test_the_picture_is_an_svg_with_a_text_alternative_and_both_modes():
    latency = Row("distance", "Call Graph, 30 ms & more", "ms", {APP: [33.0], QUICKSTART: [90.0], BARE: [30.0]})
    text = draw([ROW, latency, Row("memory", "memory", "MiB", {APP: [1.0], QUICKSTART: [1.0], BARE: [1.0]})])
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    assert "Call Graph, 30 ms & more: this app 0.91, the quickstart's way 0.33" in root.find("{*}desc").text
    assert "prefers-color-scheme: dark" in text
    bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("rx")]
    assert [bar.get("class") for bar in bars] == ["app", "quickstart"] * 2  # of speeds and latencies, not of memory
    assert float(bars[0].get("width")) / float(bars[1].get("width")) == pytest.approx(0.8 / 0.3, rel=0.01)


@pytest.mark.slow
def test_who_has_signed_in_for_the_bench_is_known_to_each_server_that_it_loads():
    """Each server has a port of its own, and the name of the app's cookie follows REDIRECT_URI."""
    with prepare(Pace(rounds=1, seconds=1, people=2)) as bench:
        people = bench.cookies(APP, 2)
        with bench.serving(APP, "--workers", "1") as server:
            for cookie in people:
                page = Visit(server.port, "/call_graph", cookie)
                assert page.get() == 200
                assert bench.name in page.text

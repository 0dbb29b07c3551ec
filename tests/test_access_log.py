"""The line that each answer leaves, in milliseconds: what is in it, and what never is."""

import json
import os
import re

import pytest

WHAT_SERVERS_ADD = {
    "RAW_URI": "/nowhere?code=s3cret",
    "REQUEST_URI": "/nowhere?code=s3cret",
    "QUERY_STRING": "code=s3cret",
}


@pytest.fixture
def lines(visit, capsys):
    """What the access log says of a request."""

    def ask(path, log_format, method="GET", **environ):
        client = visit(LOG_FORMAT=log_format).app.test_client()
        capsys.readouterr()
        answer = client.open(
            path, base_url="http://localhost:5000", method=method, environ_overrides=WHAT_SERVERS_ADD | environ
        )
        written = [line for line in capsys.readouterr().err.splitlines() if "flask_entra.access_log" in line]
        return answer, written

    return ask


def test_a_line_says_who_asked_for_what_and_how_it_went(lines):
    answer, (line,) = lines("/", "text", REMOTE_ADDR="192.0.2.7")
    at, rest = line.split(" INFO ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", at)
    length = answer.headers["Content-Length"]
    assert re.fullmatch(
        rf'{os.getpid()} flask_entra\.access_log [0-9a-f]{{16}} 192\.0\.2\.7 "GET /" 200 {length} bytes 0\.\d{{6}} s',
        rest,
    )


def test_a_line_for_machines_has_the_same_as_fields(lines):
    answer, (line,) = lines("/nowhere", "json", method="POST", REMOTE_ADDR="192.0.2.7")
    event = json.loads(line)
    assert re.fullmatch(r"[0-9a-f]{16}", event.pop("request_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", event.pop("asctime"))
    assert 0 < event.pop("seconds") < 5
    assert event == {
        "levelname": "INFO",
        "process": os.getpid(),
        "name": "flask_entra.access_log",
        "message": f"POST /nowhere {answer.status_code}",
        "address": "192.0.2.7",
        "method": "POST",
        "path": "/nowhere",
        "status": answer.status_code,
        "bytes": int(answer.headers["Content-Length"]),
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_path_is_as_its_visitor_wrote_it(lines, log_format):
    _, (line,) = lines("/r%C3%A9ponse/%E2%82%AC", log_format)
    assert "GET /réponse/€" in line
    _, (line,) = lines("/%FF", log_format)  # no UTF-8
    assert "GET /\ufffd" in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_line_has_a_query(lines, log_format):
    _, (line,) = lines("/getAToken", log_format)
    assert "s3cret" not in line
    assert "?" not in line


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x00", "\x85", "\u2028", "\x9b"])
def test_a_path_cannot_begin_a_line_of_its_own_or_command_a_terminal(lines, log_format, character):
    path = f"/a{character}2026-01-01 00:00:00,000 INFO flask_entra.signin.routes Signed in: adele"
    _, (line,) = lines("/", log_format, PATH_INFO=path.encode().decode("latin-1"))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028]", line)


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.9", "203.0.113.9"),
        ("a.b.c.d:1", "a.b.c.d:1"),
    ],
)
def test_the_port_of_a_visitors_connection_is_left_out(lines, came, told):
    _, (line,) = lines("/", "json", REMOTE_ADDR=came)
    assert json.loads(line)["address"] == told


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_with_opentelemetry_a_line_has_the_id_of_the_trace(lines, log_format):
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("a test")
    with tracer.start_as_current_span("a request") as span:
        _, (line,) = lines("/", log_format)
    trace = f"{span.get_span_context().trace_id:032x}"
    assert json.loads(line)["trace_id"] == trace if log_format == "json" else line.endswith(f" trace_id={trace}")
    _, (line,) = lines("/", log_format)
    assert "trace_id" not in line

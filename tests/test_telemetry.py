"""OpenTelemetry: what is exported of a whole journey, that no secret is in it, and that it costs nothing where it is off."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import ROOT, bare_environment
from programs import free_port, granian_command, gunicorn_command, posix, until
from test_deploy import gunicorn as gunicorn  # a fixture
from visitor import Visitor

from flask_entra import telemetry
from flask_entra.signin.errors import SignInError
from sandbox.faults import Answer

TO_THE_CONSOLE = {f"OTEL_{each}_EXPORTER": "console" for each in ("TRACES", "METRICS", "LOGS")}


def exported(text):
    """Everything that the console exporters have written: spans, metrics and lines of the log."""
    decoder, found = json.JSONDecoder(), []
    for start in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            found.append(decoder.raw_decode(text, start.start())[0])
        except ValueError:
            continue
    return found


def counted(events):
    """Each data point of the metrics: the name, its attributes, and how often."""
    points = {}
    metrics = [
        metric
        for event in events
        for resource in event.get("resource_metrics", ())
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    ]
    for metric in metrics:
        for point in metric["data"]["data_points"]:
            key = metric["name"], *sorted(point["attributes"].values(), key=str)
            points[key] = point.get("value", point.get("count"))
    return points


def secrets_of(box, people):
    """What nobody may find: codes, tokens, cookies, keys, and what a sign-in in progress is known by."""
    names = ("code", "code_verifier", "client_secret", "refresh_token", "state", "nonce", "code_challenge")
    for seen in box.log:
        yield from (each[name] for each in (seen.form, seen.query) for name in names if each.get(name))
        if authorization := seen.headers.get("Authorization"):
            yield authorization.partition(" ")[2]
    for person in people:
        yield from (cookie.value for cookie in person.cookies)


@posix
@pytest.mark.slow
def test_a_whole_journey_is_exported_and_no_secret_in_it(gunicorn, box, redis_server):
    box.access_token_lifetime = 1
    app = gunicorn(
        **TO_THE_CONSOLE,
        OTEL_METRIC_EXPORT_INTERVAL="3600000",  # at the end
        REDIS_URL=redis_server.url,
        WEB_CONCURRENCY="1",
        PYTHONWARNINGS="default",  # OpenTelemetry uses what Flask 3.2 deprecates
    )
    person, refused, declining = people = [Visitor(app.url) for _ in range(3)]
    page = person.sign_in(path="/call_graph")
    assert "Retail Manager" in page.text
    began = set(secrets_of(box, people))  # the cookies of a sign-in in progress, and of the session
    person.get("/call_graph")
    box.misbehave("me", Answer(500))
    failed = person.get("/call_graph")
    assert failed.status_code == 502
    box.forge = lambda claims, header: ({**claims, "aud": "another app"}, header)
    assert refused.sign_in().status_code == 502
    for description in ("AADSTS65004: declined by Adèle, s3cret", "AADSTS99999999: made up"):
        begun = declining.get("/login", follow=False).headers["Location"]
        state = parse_qs(urlsplit(begun).query)["state"][0]
        began |= {state, *(cookie.value for cookie in declining.cookies)}
        query = {"error": "access_denied", "error_description": description, "state": state}
        assert "Details for support" in declining.get("/getAToken", params=query).text
    elsewhere = Visitor(app.url).get("/logout/front-channel?sid=the-s3cret-sid-of-a-session")
    assert elsewhere.status_code == 200
    person.sign_out()
    app.stop()
    text = app.log()
    events = exported(text)
    found = {each for each in (*began, *secrets_of(box, people)) if len(each) >= 16}
    assert len(found) > 16
    for secret in {*found, "eyJ", "s3cret"}:
        assert secret not in text
    points = counted(events)
    assert points["flask_entra.sign_ins.begun",] == 4
    assert points["flask_entra.sign_ins", "ok"] == 1
    assert points["flask_entra.sign_ins", "IdTokenRefused"] == points["flask_entra.id_tokens.refused",] == 1
    assert points["flask_entra.sign_ins", "AADSTS65004", "SignInError"] == 1
    assert points["flask_entra.sign_ins", "SignInError", "access_denied"] == 1
    assert points["flask_entra.refreshes", "ok"] >= 1
    assert points["flask_entra.sessions.begun",] == points["flask_entra.sessions.ended",] == 1
    assert points["flask_entra.sign_outs",] == 1
    assert points["flask_entra.failures", "GraphError"] == 1
    graph = {key: count for key, count in points.items() if key[0] == "flask_entra.upstream.duration"}
    assert any(key[1:] == (500, "GET", "localhost") for key in graph)
    assert {key[1] for key in points if key[0] == "flask_entra.store.duration"} >= {"get", "add", "delete"}
    spans = {event["name"]: event for event in events if "context" in event and "kind" in event}
    assert {"GET /call_graph", "sign-in", "token refresh", "GET", "POST", "GET /getAToken"} <= spans.keys()
    assert {"store get", "store add", "store update", "store delete"} <= spans.keys()
    assert not re.search("http.url|db.statement|exception.message", text)  # the libraries' own spans
    assert not any(event["events"] for event in events if event.get("name") == "sign-in")  # no text of an exception
    # Each line of an answer has the ID of its trace, here and where it is exported to.
    (line,) = [each for each in text.splitlines() if failed.headers["X-Request-ID"] in each and "access_log" in each]
    trace_id = re.search(r" trace_id=([0-9a-f]{32})$", line)[1]
    (record,) = [
        event for event in events if event.get("attributes", {}).get("request_id") == failed.headers["X-Request-ID"]
        and event["attributes"].get("status")
    ]  # fmt: skip
    assert record["body"] == "GET /call_graph 502"
    assert record["trace_id"].removeprefix("0x") == trace_id
    assert any(trace_id in str(event.get("context", {}).get("trace_id")) for event in events)


@posix
def test_the_trace_goes_along_and_no_password_does(gunicorn, box):
    app = gunicorn(
        **TO_THE_CONSOLE,
        OTEL_SERVICE_NAME="orders",
        REDIS_URL="redis+sentinel://127.0.0.1:1/master?sentinel_password=s3cret",
        WEB_CONCURRENCY="1",
        PYTHONWARNINGS="default",
    )
    assert Visitor(app.url).get("/readyz").status_code == 503
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for _ in range(2):
        Visitor(app.url).get("/login", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, follow=False)
    app.stop()
    assert "store ping" in app.log()
    assert "s3cret" not in app.log()
    resources = [event["resource"]["attributes"] for event in exported(app.log()) if "kind" in event]
    assert {each["service.name"] for each in resources} == {"orders"}
    assert all(re.fullmatch("[0-9a-f-]{36}", each["service.instance.id"]) for each in resources)
    asked = [seen.headers["traceparent"] for seen in box.seen("discovery") if "traceparent" in seen.headers]
    assert asked
    assert all(each.split("-")[1] == trace for each in asked)


@posix
@pytest.mark.slow
def test_another_server_begins_it_by_the_command_in_front(serve):
    port = free_port()
    instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    command = [instrument, *granian_command(port, "--workers", "1", "--blocking-threads", "4")]
    soon = {"OTEL_BSP_SCHEDULE_DELAY": "200"}  # ms: granian lets its processes export nothing at their end
    app = serve(command=command, port=port, THREADS="4", PYTHONWARNINGS="default", **TO_THE_CONSOLE, **soon)
    assert Visitor(app.url).sign_in(path="/call_graph").status_code == 200
    wanted = {"GET /call_graph", "sign-in", "store add"}
    until(lambda: wanted <= set(re.findall(r'"name": "([^"]+)"', app.log())))


WITHOUT = """
import sys, {server}
import app
app.app.test_client().get("/")
begins = "flask_entra.telemetry" if {server!r} == "redis" else ("flask_entra.telemetry", "opentelemetry")
print([name for name in sys.modules if name.startswith(begins)])
"""


@pytest.mark.parametrize(
    "server", ["flask", "redis"]
)  # redis-py imports OpenTelemetry by itself, for telemetry of its own
def test_nothing_of_it_is_imported_unless_it_runs(tmp_path, server):
    settings = {
        "SESSION_FILE_DIR": str(tmp_path),
        **({"REDIS_URL": "redis://localhost:1"} if server == "redis" else {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(server=server)],
        env=bare_environment() | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"


@posix
def test_gunicorn_says_what_to_install_where_a_variable_asks_for_it_in_vain(serve, tmp_path):
    (tmp_path / "opentelemetry.py").write_text("")  # no package
    port = free_port()
    app = serve(
        command=gunicorn_command(port),
        port=port,
        OTEL_SERVICE_NAME="orders",
        PYTHONPATH=str(tmp_path),
        WEB_CONCURRENCY="1",
    )
    assert Visitor(app.url).get("/").status_code == 200
    assert "pip install 'flask-entra[telemetry]'" in app.log()


def test_no_visitor_makes_up_values_of_a_metric(monkeypatch):
    monkeypatch.setattr(telemetry, "_hosts", {})
    hosts = {telemetry._host(f"https://{number}.example/x?token=s3cret") for number in range(1000)}
    assert len(hosts) == telemetry.MOST_HOSTS + 1
    errors = [SignInError(f"error{n}", f"AADSTS{n}: x") for n in range(10_000, 12_000)]
    codes = {telemetry._told_of(error)["error.code"] for error in errors}
    assert codes == {"other"}
    assert telemetry._told_of(SignInError("access_denied", "AADSTS53003: x"))["error.code"] == "AADSTS53003"
    assert telemetry._told_of(SignInError("access_denied"))["error.code"] == "access_denied"

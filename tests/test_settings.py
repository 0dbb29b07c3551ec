"""Settings that are missing, malformed or in the way: one clear line or page each, and no traceback."""

import ast
import socket
import subprocess
import sys

import pytest
import requests
from configs import config_of
from conftest import ROOT, Served, bare_environment
from programs import free_port
from visitor import Page, Visitor

from flask_entra.clouds import graph_of
from flask_entra.scopes import qualified_scopes
from flask_entra.settings import SETTINGS

NOTHING = dict.fromkeys(("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY", "ENDPOINT", "REQUESTS_CA_BUNDLE"))


def test_with_no_settings_the_page_names_the_three_and_the_sandbox(serve):
    app = serve(**NOTHING)
    page = Visitor(app.url).get("/")
    assert page.status_code == 200
    text = Page(page.text).text
    for name in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY", "python -m sandbox"):
        assert name in text
    for name in ("REDIRECT_URI", "SCOPE", "ENDPOINT"):
        assert name not in text
    sign_in = Visitor(app.url).get("/login", follow=False)
    assert sign_in.status_code == 503
    assert "CLIENT_ID" in sign_in.text
    assert Visitor(app.url).get("/healthz").text == "ok\n"
    assert Visitor(app.url).get("/static/style.css").status_code == 200


@pytest.mark.parametrize("missing", ["CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"])
def test_one_missing_setting_is_named_alone(serve, missing):
    text = Page(Visitor(serve(**{missing: None}).url).get("/").text).text
    assert f"{missing} is missing" in text
    for other in {"CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"} - {missing}:
        assert f"{other} is missing" not in text


def test_three_lines_in_a_dotenv_are_enough(copy, box, tmp_path):
    names = ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY")
    (copy / ".env").write_text("".join(f"{name}={box.settings[name]}\n" for name in names))
    app = served_from(copy, tmp_path, {name: box.settings[name] for name in ("ENDPOINT", "REQUESTS_CA_BUNDLE")})
    box.redirect_uris.add(app.settings["REDIRECT_URI"])
    try:
        assert "Retail Manager" in Visitor(app.url).sign_in(path="/call_graph").text
    finally:
        app.stop()


def test_a_malformed_line_of_the_dotenv_is_named(copy, tmp_path, box):
    (copy / ".env").write_text("CLIENT_ID=a\nthis is 'no setting\n")
    app = served_from(copy, tmp_path, {})
    try:
        page = requests.get(app.url, timeout=9)
        assert "line 2" in page.text
        assert "NAME=value" in page.text
    finally:
        app.stop()
    assert "Traceback" not in app.log()


def served_from(folder, tmp_path, settings):
    """The app of another folder, which reads its `.env`."""
    port = free_port()
    # FLASK_SKIP_DOTENV is set to keep a developer's own .env out of the tests; here .env is what is tried.
    command = ["sh", "-c", f"unset FLASK_SKIP_DOTENV; exec {sys.executable} -m flask run --port {port}"]
    return Served(settings, tmp_path, command=command, port=port, cwd=folder)


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for module in (["flask", "run", "--host", "127.0.0.1"], ["sandbox"]):
            done = subprocess.run(
                [sys.executable, "-m", *module, "--port", str(port)],
                cwd=ROOT,
                env=bare_environment(),
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert done.returncode == 1
            assert "in use" in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "value", ["https://[", "https://host:port/x", "::", "http://", "https:///path", "\x00", "https://a b/c", "é" * 300]
)
def test_no_setting_is_bad_enough_for_a_traceback(value):
    for name in SETTINGS:
        config = config_of(**{"CLIENT_ID": "a", "CLIENT_SECRET": "b", "AUTHORITY": "https://a/b", name: value})
        is_path = name.endswith(("_PATH", "_FILE", "_DIR"))
        assert config.settings[name] == (str(ROOT / value.strip()) if is_path else value.strip())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://:pa/ssw0rd@localhost:6379/0"),
        ("REDIS_URL", "http://x"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIRECT_URI", "http://["),
        ("REDIRECT_URI", "localhost:5000/getAToken"),
        ("REDIRECT_URI", "http://localhost:5000/<getAToken"),
    ],
)
def test_an_address_that_cannot_be_read_is_a_page_that_names_it_and_shows_no_password(serve, name, value):
    app = serve(**{name: value})
    page = requests.get(app.url.replace("localhost", "127.0.0.1"), timeout=9)
    assert page.status_code == 200
    assert name in Page(page.text).text
    assert "Traceback" not in app.log()
    assert "ssw0rd" not in app.log() + page.text


@pytest.mark.parametrize("endpoint", [None, "", " "])
def test_the_token_of_another_provider_is_never_meant_for_microsoft(endpoint):
    environ = {"OIDC_AUTHORITY": "https://id.example/realm", **({} if endpoint is None else {"ENDPOINT": endpoint})}
    assert config_of(**environ).endpoint == ""
    assert config_of(ENDPOINT=endpoint or "").endpoint == "https://graph.microsoft.com/v1.0/me"
    assert config_of(**{**environ, "ENDPOINT": "https://api.example/me"}).endpoint == "https://api.example/me"


def test_scopes_are_qualified_for_the_cloud_of_the_endpoint():
    assert qualified_scopes("User.Read", "https://graph.microsoft.com/v1.0/me") == ["User.Read"]
    national = "https://graph.microsoft.us/v1.0/me"
    assert qualified_scopes("User.Read api://x/y", national) == ["https://graph.microsoft.us/User.Read", "api://x/y"]
    assert qualified_scopes("openid profile offline_access User.Read", "https://api.example/x") == ["User.Read"]
    by_id = "3f2504e0-4f89-11d3-9a0c-0305e82c3301/Orders.Read"  # an API by its id instead of its URI
    assert qualified_scopes(by_id, national) == [by_id]


@pytest.mark.parametrize(
    ("authority", "endpoint", "graph"),
    [
        ("https://login.microsoftonline.com/x", "https://graph.microsoft.com/v1.0/me", "https://graph.microsoft.com"),
        ("https://login.microsoftonline.com/x", "https://api.example/me", "https://graph.microsoft.com"),
        (
            "https://login.microsoftonline.us/x",
            "https://dod-graph.microsoft.us/v1.0/me",
            "https://dod-graph.microsoft.us",
        ),
        ("https://login.partner.microsoftonline.cn/x", "", "https://microsoftgraph.chinacloudapi.cn"),
        # A token for Graph is not for an API of one's own, wherever it runs.
        ("https://login.microsoftonline.com/x", "https://localhost:7000/me", "https://graph.microsoft.com"),
        ("https://localhost:1/x", "https://localhost:1/v1.0/me", "https://localhost:1"),  # the sandbox
        ("https://localhost:1/x", "https://api.example/me", ""),
        (None, "", ""),  # another provider
        (None, "https://api.example/me", ""),
        ("https://[", "https://[", ""),
    ],
)
def test_the_graph_that_is_asked_about_groups_is_the_clouds_own(authority, endpoint, graph):
    assert graph_of(authority, endpoint) == graph


# --- The walls of the house ---------------------------------------------------------------------------------------------

# Each room may import those that stand below it; only the small things in the last line know each other.
OUTSIDE = {"app", "app_config", "pages", "sandbox", "tests", "bench"}
ROOMS = [
    {"extension"},
    {"apis"},
    {"bearer_views"},
    {"app_state"},
    {"session_commands"},
    {"doctor", "middleware", "telemetry"},
    {"health", "pages", "testing"},
    {"background", "graph_calls", "memberships", "token_credential"},
    {"api_calls"},
    {"signin"},
    {"transfers"},
    {"sessions", "graph", "graph_batch"},
    {"api_client"},
    {"graph_error"},
    {"http_client"},
    {"http_adapter"},
    {
        "access_log",
        "bulkhead",
        "bearer",
        "callers",
        "certificates",
        "clouds",
        "commands",
        "config",
        "cookies",
        "credential",
        "cross_site",
        "deadlines",
        "deprecated",
        "environment",
        "group_names",
        "hints",
        "logs",
        "managed_identity",
        "pauses",
        "scopes",
        "same_error",
        "sealed",
        "settings",
        "signals",
        "urls",
        "views",
        "watched_file",
    },
]


def test_imports_point_one_way():
    floors = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
    package = ROOT / "flask_entra"
    code = [path for path in package.iterdir() if path.suffix in (".py", "") and not path.name.startswith("_")]
    assert {path.stem for path in code if path.name != "translations"} == set(floors)
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] not in OUTSIDE, f"{path}: {name}"
            if (
                room == "__init__"
                or not isinstance(node, ast.ImportFrom)
                or not str(node.module).startswith("flask_entra")
            ):
                continue
            rest = str(node.module).split(".")[1:]
            for other in rest[:1] or [alias.name for alias in node.names]:
                same_line = floors[other] == floors[room] == len(ROOMS) - 1
                assert other == room or floors[other] > floors[room] or same_line, f"{path} imports {other}"

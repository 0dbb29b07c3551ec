"""The READMEs keep their word: each command in them is run as it stands there, and each link leads somewhere."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import requests
from conftest import ROOT, bare_environment
from test_settings import copy  # noqa: F401  a fixture

import app_config
from flask_entra.certificates import read_certificate

READMES = [ROOT / "README.md", ROOT / "README.fr.md"]
DOCUMENTS = [
    *READMES,
    ROOT / "docs" / "doctor.md",
    ROOT / "docs" / "doctor.fr.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
]
COMMANDS = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)```", READMES[0].read_text(), re.DOTALL))
posix = pytest.mark.skipif(sys.platform == "win32", reason="these are the commands for macOS and Linux")


def start(name, folder, **environment):
    """Start a command of the README in a folder where `.venv` is the Python of the tests."""
    binaries = folder / ".venv" / "bin"
    if not binaries.exists():
        binaries.mkdir(parents=True)
        for program in ("python", "flask", "gunicorn"):
            module = "" if program == "python" else f"-m {program}"
            (binaries / program).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
            (binaries / program).chmod(0o755)
    return subprocess.Popen(
        ["sh", "-c", COMMANDS[name].replace("\n.venv", "\nexec .venv")],
        cwd=folder,
        env=bare_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def run(name, folder, **environment):
    """Run a command of the README to its end; returns its exit status and what it printed."""
    process = start(name, folder, **environment)
    printed = process.communicate(timeout=60)[0]
    return process.returncode, printed


def stop(process, how=signal.SIGTERM):
    os.killpg(process.pid, how)
    return process.communicate(timeout=30)[0]


def answers(url):
    for _ in range(1200):
        try:
            return requests.get(url, timeout=9)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def busy(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_a_readme_has_links(readme):
    assert "](CONTRIBUTING.md)" in readme.read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_is_dead(document):
    text = document.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("http"):
            assert (document.parent / link).exists(), link


def test_both_languages_have_the_same_commands_and_every_command_has_a_test():
    french = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)```", READMES[1].read_text(), re.DOTALL))
    assert french == COMMANDS
    for readme in READMES:
        assert readme.read_text().count("```sh\n") == len(COMMANDS)
    here = {"run", "install", "az", "dotenv", "doctor", "flask", "gunicorn", "prune", "certificate"}
    elsewhere = {"test", "bench"}  # .ci/run runs the first as it stands; tests/test_bench.py tries the second
    assert set(COMMANDS) == here | elsewhere


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_code_that_is_shown_is_code_that_is_tested(readme):
    shown = re.findall(r"<!-- code: (\S+) -->\n```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert len(shown) == readme.read_text().count("```python\n") > 0
    for file, code in shown:
        assert code in (ROOT / file).read_text()


def test_ci_runs_exactly_the_test_command():
    extract = "sed -n '/<!-- command: test -->/,/^```$/p' README.md | sed '1,2d;$d'"
    assert extract in (ROOT / ".ci" / "run").read_text()
    done = subprocess.run(["sh", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == COMMANDS["test"]


@posix
@pytest.mark.xdist_group("port 5000")  # each takes the port that the README names
def test_the_first_command_ends_with_the_app_answering_on_port_5000(tmp_path):
    if busy(5000):
        pytest.skip("port 5000 is in use on this machine")
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".git", ".venv", ".env", "flask_session", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, clone, ignore=ignored)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    process = subprocess.Popen(
        ["sh", "-c", COMMANDS["run"]],
        cwd=clone,
        env=bare_environment() | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert "Sandbox ready: open http://localhost:5000" in process.stdout.readline()
        page = requests.get("http://localhost:5000", timeout=9)
        assert page.status_code == 200
        assert "Sandbox" in page.text
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert not busy(5000)


@posix
def test_installing_is_a_part_of_trying():
    assert COMMANDS["install"].strip() in COMMANDS["run"].replace(" -r sandbox/requirements.txt", "")


AZ = """#!/bin/sh
# Answers as the Azure CLI does, and refuses as it does. What exists is in the folder `made`; `asked` has each command.
echo "$@" >> asked
refuse() { echo "ERROR: $1" >&2; exit 1; }
[ -e signed-in ] || refuse "Please run 'az login' to setup account."
case " $* " in *" --output "*) ;; *) echo '{"output": "as JSON"}' ;; esac
id() { while [ "$1" != --id ]; do [ $# -gt 0 ] || refuse "the following arguments are required: --id"; shift; done; echo "$2"; }
known() { [ "$1" = "$(cat made/app 2>/dev/null)" ] || refuse "Resource '$1' does not exist or one of its queried \
reference-property objects are not present."; }
case "$*" in
  "ad app create "*) mkdir -p made; echo $APP > made/app; echo $APP ;;
  "ad sp create "*) known "$(id "$@")"; touch made/service-principal ;;
  "ad app permission add "*) known "$(id "$@")" ;;
  "ad app credential reset "*) known "$(id "$@")"; [ -z "$NO_SECRETS" ] || refuse "Credential type not allowed as per \
assigned policy"; echo $SECRET ;;
  "account show "*) echo $TENANT ;;
  *) refuse "'$*' is misspelled or not recognized by the system." ;;
esac
"""


def azure(folder, **environment):
    """Run the README's commands for the Azure CLI; there is no Azure here, but a program that answers as `az` does."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "az").write_text(AZ)
    (folder / "bin" / "az").chmod(0o755)
    return run("az", folder, PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", **environment)


@posix
def test_the_azure_cli_commands_write_a_dotenv_that_the_doctor_finds_right(copy, box):  # noqa: F811
    (copy / "signed-in").touch()
    assert azure(copy, APP=box.client_id, SECRET=box.client_secret, TENANT=box.tenant_id) == (0, "")
    login = "https://login.microsoftonline.com"
    assert (copy / ".env").read_text() == (
        f"CLIENT_ID={box.client_id}\nCLIENT_SECRET={box.client_secret}\nAUTHORITY={login}/{box.tenant_id}\n"
    )
    assert stat.S_IMODE((copy / ".env").stat().st_mode) == 0o600
    asked = (copy / "asked").read_text()
    assert app_config.SETTINGS["REDIRECT_URI"].default in asked
    assert "e1fe6dd8-ba31-4d61-89e7-88639da4683d=Scope" in asked
    # The tenant takes the app for what the commands have made of it.
    box.service_principal = (copy / "made" / "service-principal").exists()
    (copy / ".env").write_text((copy / ".env").read_text().replace(login, box.back_url))
    rest = {name: box.settings[name] for name in ("ENDPOINT", "REQUESTS_CA_BUNDLE")}
    status, printed = run("doctor", copy, FLASK_SKIP_DOTENV="", **rest)
    assert status == 0, printed
    assert "✓ CLIENT_SECRET is accepted by the tenant" in printed
    box.service_principal = False
    assert "AADSTS7000229" in run("doctor", copy, FLASK_SKIP_DOTENV="", **rest)[1]


@posix
@pytest.mark.parametrize("refuses", ["all", "the secret"])
def test_what_the_azure_cli_refuses_leaves_the_dotenv_as_it_was(tmp_path, refuses):
    (tmp_path / ".env").write_text("SCOPE=User.Read\n")
    if refuses != "all":
        (tmp_path / "signed-in").touch()
    status, printed = azure(tmp_path, APP="app", TENANT="tenant", NO_SECRETS="1")
    assert status != 0
    assert printed.startswith("ERROR: ")
    assert printed.count("ERROR: ") == 1
    assert (tmp_path / ".env").read_text() == "SCOPE=User.Read\n"


@posix
def test_the_sample_becomes_a_dotenv_and_the_doctor_says_what_to_fill_in(copy):  # noqa: F811
    assert run("dotenv", copy) == (0, "")
    status, printed = run("doctor", copy, FLASK_SKIP_DOTENV="")
    assert status == 1
    for name in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"):
        assert f"✗ {name} still holds a placeholder" in printed


def test_the_sample_names_every_setting_with_its_default():
    sample = (ROOT / ".env.sample").read_text()
    named = dict(re.findall(r"^#?([A-Z_0-9]+)=(.*)$", sample, re.MULTILINE))
    assert set(named) == set(app_config.SETTINGS)
    assert list(named)[:3] == ["CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"]
    assert list(named) == list(app_config.SETTINGS)
    for name, setting in app_config.SETTINGS.items():
        if setting.default:
            assert named[name] == setting.default


@posix
@pytest.mark.xdist_group("port 5000")  # each takes the port that the README names
def test_the_development_server_and_gunicorn_start_as_written(copy, box):  # noqa: F811
    if busy(5000) or busy(8000):
        pytest.skip("port 5000 or 8000 is in use on this machine")
    for name, url in (("flask", "http://localhost:5000"), ("gunicorn", "http://127.0.0.1:8000")):
        process = start(name, copy, **box.settings)
        try:
            assert answers(url).status_code == 200
        finally:
            printed = stop(process)
        assert "Traceback" not in printed


@posix
def test_pruning_runs_as_written(copy, box):  # noqa: F811
    assert "expired sessions removed" in run("prune", copy, **box.settings)[1]


@posix
def test_the_certificate_that_is_made_can_be_used(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    assert run("certificate", tmp_path)[0] == 0
    assert stat.S_IMODE((tmp_path / "app.pem").stat().st_mode) == 0o600
    certificate = read_certificate(str(tmp_path / "app.pem"))
    assert certificate.public_certificate in (tmp_path / "app.crt").read_text()
    assert certificate.x509.subject.rfc4514_string() == "CN=flask-and-graph"


def test_every_file_that_the_map_names_is_there():
    """CONTRIBUTING.md and SECURITY.md name files and folders in backticks."""
    for document in DOCUMENTS:
        for name in re.findall(r"`([\w./]+(?:/|\.py|\.html|\.md|\.cfg))`", document.read_text()):
            places = [ROOT, ROOT / "templates", *(ROOT / "flask_entra").glob("**/")]
            assert any((place / name).exists() for place in places), f"{document.name}: {name}"

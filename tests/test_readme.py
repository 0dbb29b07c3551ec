"""The READMEs and docs/ keep their word: each command in them is run as it stands there, and each link leads somewhere."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time

import pytest
import requests
from conftest import ROOT, Served, bare_environment
from programs import listens, needs
from visitor import Visitor

from flask_entra.certificates import read_certificate
from flask_entra.settings import SETTINGS

README = ROOT / "README.md"
ENGLISH_ONLY = [
    *sorted((ROOT / "docs").glob("evidence*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
]
FRENCH = [ROOT / "README.fr.md", *sorted((ROOT / "docs").glob("*.fr.md"))]
ENGLISH = [README, *sorted(set((ROOT / "docs").glob("*.md")) - {*FRENCH, *ENGLISH_ONLY})]
DOCUMENTS = [*ENGLISH, *FRENCH, *ENGLISH_ONLY]
SHOWN = re.compile(r"<!-- command: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)
COMMANDS = {name: command for page in ENGLISH for name, command in SHOWN.findall(page.read_text())}
posix = pytest.mark.skipif(sys.platform == "win32", reason="these are the commands for macOS and Linux")


def start(name, folder, **environment):
    """Start a command of the README in a folder where `.venv` is the Python of the tests."""
    binaries = folder / ".venv" / "bin"
    if not binaries.exists():
        binaries.mkdir(parents=True)
        for program in ("python", "pip", "flask", "gunicorn", "granian"):
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
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what is left behind would fail other tests
        raise


def answers(url):
    for _ in range(1200):
        try:
            return requests.get(url, timeout=9)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def in_french(page):
    return page.with_suffix(".fr.md")


def prose(page):
    """A page without its code, its comments and the targets of its links."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`|\]\([^)]*\)|<[a-z/][^>]*>", " ", text)


def anchors(page):
    """What GitHub calls the headings of a page in links."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(page):
    text = page.read_text()
    return re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)


def names(pages):
    return {"ids": [str(page.relative_to(ROOT)) for page in pages], "argvalues": pages}


# --- Every page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", **names(DOCUMENTS))
def test_no_link_is_dead(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), link
            assert not anchor or anchor in anchors(there), link


def test_the_readme_leads_to_every_page():
    for page in (README, in_french(README)):
        led_to = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        assert led_to >= {*(ENGLISH if page == README else FRENCH), *ENGLISH_ONLY, ROOT / ".env.sample"} - {page}


def test_the_readme_is_one_screen():
    assert len(README.read_text().split()) <= 800


def test_the_readme_says_of_which_version_the_pages_are():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for page in (README, in_french(README)):
        assert f"| page (version {version}) |" in page.read_text()


def test_the_first_lines_of_the_tests_say_what_is_skipped_and_why(tmp_path):
    (tmp_path / "bin").mkdir()
    for program in ("nginx", "redis-server", "node", "npm", "openssl"):
        (tmp_path / "bin" / program).symlink_to("/bin/true")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-n", "0", "tests/test_urls.py"]
    environment = bare_environment() | {"PATH": str(tmp_path / "bin")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    beginning = done.stdout.partition("collected")[0]
    assert "skipped: the tests that need chromium (Debian: apt-get install chromium)\n" in beginning


def test_a_figure_in_the_readme_is_one_of_the_bench():
    for page, bench in ((README, "docs/bench.md"), (in_french(README), "docs/bench.fr.md")):
        (row,) = re.findall(r"^\|.*\(docs/bench\.(?:fr\.)?md\).*$", page.read_text(), re.MULTILINE)
        figures = re.findall(r"\d+(?:[.,]\d+| \d{3})?", row)
        assert len(figures) == 4
        for figure in figures:
            assert f"| {figure} |" in (ROOT / bench).read_text()


@pytest.mark.parametrize("page", **names(ENGLISH))
def test_both_languages_have_the_same_commands_code_and_headings(page):
    text, french = page.read_text(), in_french(page).read_text()
    assert f"]({in_french(page).name})" in text
    assert f"]({page.name})" in french
    blocks = re.compile(r"(?:^<!-- [^>]* -->\n)?^```\w*\n.*?^```$", re.DOTALL | re.MULTILINE)
    code = [block for block in blocks.findall(text) if "```json" not in block]
    assert code == [block for block in blocks.findall(french) if "```json" not in block]
    levels = re.compile(r"^#+(?= )", re.MULTILINE)
    assert levels.findall(blocks.sub("", text)) == levels.findall(blocks.sub("", french))


@pytest.mark.parametrize("page", **names(FRENCH))
def test_a_french_page_leads_to_french_pages(page):
    for link in links(page):
        there = (page.parent / link.partition("#")[0]).resolve()
        if there.suffix == ".md" and in_french(there).exists():
            assert in_french(there) == page, link


@pytest.mark.parametrize("page", **names(FRENCH))
def test_french_is_set_as_french_is(page):
    text = re.sub(r"https?://\S*|^\|[-|]+\|$", "", prose(page), flags=re.MULTILINE)
    for line in text.splitlines():
        assert "'" not in line, line
        assert not re.search(r" [:;!?»]|« |[^\s\u00a0\u202f][;!?»](?=\s|$)|\w:(?=\s|$)|«[^\u00a0\u202f]", line), line


BEGINNINGS = re.compile(r"(?:This page is f|F)or .*At\s+the\s+end\s|Cette page s’adresse .*À\s+la\s+fin", re.DOTALL)


@pytest.mark.parametrize("page", **names([page for page in DOCUMENTS if page.parent.name == "docs"]))
def test_a_page_begins_with_its_readers_and_what_they_will_have_at_its_end(page):
    paragraphs = [each for each in page.read_text().split("\n\n")[1:] if not each.startswith("*[")]
    assert BEGINNINGS.match(paragraphs[0])


@pytest.mark.parametrize("page", **names([page for page in ENGLISH + FRENCH if page.parent.name == "docs"]))
def test_a_page_ends_with_what_its_readers_should_see_now(page):
    heading, _, checkpoint = page.read_text().rpartition("\n## ")[2].partition("\n\n")
    assert heading in ("Where you are now", "Où vous en êtes")
    assert re.search(r"\bshould now\b|\bmaintenant\b", checkpoint)


PLAIN = [*ENGLISH, *ENGLISH_ONLY, ROOT / ".env.sample"]


@pytest.mark.parametrize("page", **names(PLAIN))
def test_no_sentence_has_who_or_what_as_its_subject(page):
    """ "A person who …" and "the text that …" are understood at the first reading."""
    text = prose(page).replace("\n# ", " ") if page.name == ".env.sample" else prose(page)
    text = re.sub(r"^#+ .*$|^\|.*\|$", "", text, flags=re.MULTILINE)  # a heading is no sentence, nor is a cell
    assert re.findall(r"(?:^|[.:;] +|\n\n)(?:- )?(?:Who|What|Whoever|Whatever)\b[^.?]*\.", text) == []


# --- Every command --------------------------------------------------------------------------------------------------


def test_every_command_has_a_test():
    for page in (*ENGLISH, *FRENCH):  # a command may be repeated, and nothing else may be shown as one
        assert set(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)) <= {
            *COMMANDS.values()
        }
    here = {
        "run",
        "sandbox",
        "install",
        "az",
        "dotenv",
        "doctor",
        "flask",
        "gunicorn",
        "granian",
        "prune",
        "certificate",
        "sessions",
    }
    # .ci/run runs the first as it stands; tests/test_bench.py and tests/test_containers.py try the others.
    elsewhere = {"test", "bench", "certificates"}
    assert set(COMMANDS) == here | elsewhere
    assert sum(len(SHOWN.findall(page.read_text())) for page in ENGLISH) == len(COMMANDS)


def test_windows_has_the_same_commands():
    shown = re.findall(r"```powershell\n(.*?)```", (ROOT / "docs" / "windows.md").read_text(), re.DOTALL)
    expected = {
        COMMANDS[name]
        .replace(" && ", "; ")
        .replace("python3 -m venv", "py -m venv")
        .replace(".venv/bin/", ".venv\\Scripts\\")
        .replace("/requirements.txt", "\\requirements.txt")
        .replace("cp ", "copy ")
        .replace("../shop/", "..\\shop\\")
        for name in ("run", "sandbox", "install", "dotenv", "doctor", "flask", "granian", "prune", "test")
    }
    assert set(shown) == expected


@pytest.mark.parametrize(
    "page", **names([*(page for page in ENGLISH + FRENCH if "doctor" not in page.name), ROOT / ".env.sample"])
)
def test_a_command_works_when_pasted_without_an_activated_environment(page):
    """docs/doctor.md shows its command, and then calls it by its name."""
    bare = r"(?:flask(?: \w+)?|python3? -m (?!venv)\w+|pip3? install\b.*|pytest|mypy|ruff .*)"
    assert re.findall(rf"`{bare}`", page.read_text()) == []
    if page.name == ".env.sample":
        assert re.findall(r"(?<![\w/\\.])(?:flask|python|pip) \w+", page.read_text()) == []


@pytest.mark.parametrize("name", ["run", "test"])
def test_the_two_commands_show_that_they_are_working(name):
    assert "pip install -r" in COMMANDS[name]
    assert " -q" not in COMMANDS[name]


@pytest.mark.parametrize("page", **names([page for page in ENGLISH if "```python\n" in page.read_text()]))
def test_the_code_that_is_shown_is_code_that_is_tested(page):
    shown = re.findall(r"<!-- code: (\S+) -->\n```(?:python|html)\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(shown) == len(re.findall(r"^```(?:python|html)$", page.read_text(), re.MULTILINE)) > 0
    for file, code in shown:
        # The README's view is to be added to app.py; the test below adds it there.
        text = (ROOT / file).read_text()
        assert file == "app.py" or code in text or textwrap.indent(code, "    ") in text


def test_the_view_of_the_readme_can_be_added_and_the_starters_own_tests_stay_green(copy, box, tmp_path):
    (view,) = re.findall(r"<!-- code: app.py -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    with (copy / "app.py").open("a") as file:
        file.write(f"\n\n{view}")
    app = Served(box.settings, tmp_path, cwd=copy)
    box.redirect_uris.add(app.settings["REDIRECT_URI"])
    try:
        mail = Visitor(app.url)
        assert mail.go_on(mail.get("/mail"), "patti").json()["value"][0]["subject"] == "Quarterly figures"
        refused = Visitor(app.url)
        assert refused.go_on(refused.get("/mail"), "alex").status_code == 403
    finally:
        app.stop()
    home = copy / "templates" / "home.html"
    home.write_text(home.read_text().replace("<h1>", "<h1>Contoso: "))
    shutil.copytree(ROOT / "tests" / "starter", copy / "tests")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-n", "0", "tests"]
    done = subprocess.run(command, cwd=copy, env=bare_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_ci_runs_exactly_the_test_command():
    extract = "sed -n '/<!-- command: test -->/,/^```$/p' README.md | sed '1,2d;$d'"
    assert extract in (ROOT / ".ci" / "run").read_text()
    done = subprocess.run(["sh", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == COMMANDS["test"]


@pytest.mark.slow
@posix
@pytest.mark.xdist_group("port 5000")  # each takes the port that the README names
def test_the_first_command_ends_with_the_app_answering_on_port_5000(tmp_path):
    if listens(5000):
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
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Sandbox ready: open http://localhost:5000" in line:
                break
        # pip says what it is doing.
        assert any(line.startswith(("Collecting ", "Requirement already")) for line in printed)
        page = requests.get("http://localhost:5000", timeout=9)
        assert page.status_code == 200
        assert "Sandbox" in page.text
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert not listens(5000)


@posix
@pytest.mark.xdist_group("port 5000")  # as above
def test_an_app_of_ones_own_runs_on_the_sandbox_as_written(tmp_path):
    if listens(5000):
        pytest.skip("port 5000 is in use on this machine")
    clone, shop = tmp_path / "clone", tmp_path / "shop"
    clone.mkdir()
    shop.mkdir()
    (clone / "sandbox").symlink_to(ROOT / "sandbox")
    shutil.copy(ROOT / "tests" / "strangers" / "contract.py", shop / "shop.py")
    process = start("sandbox", clone, PYTHONPATH=str(ROOT))
    try:
        assert "Sandbox ready: open http://localhost:5000" in process.stdout.readline()
        person = Visitor("http://localhost:5000")
        assert person.sign_in("adele", "/me").json()["displayName"] == "Adèle Vance"
    finally:
        assert "Traceback" not in stop(process)


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
def test_the_azure_cli_commands_write_a_dotenv_that_the_doctor_finds_right(copy, box):
    (copy / "signed-in").touch()
    assert azure(copy, APP=box.client_id, SECRET=box.client_secret, TENANT=box.tenant_id) == (0, "")
    login = "https://login.microsoftonline.com"
    assert (copy / ".env").read_text() == (
        f"CLIENT_ID={box.client_id}\nCLIENT_SECRET={box.client_secret}\nAUTHORITY={login}/{box.tenant_id}\n"
    )
    assert stat.S_IMODE((copy / ".env").stat().st_mode) == 0o600
    asked = (copy / "asked").read_text()
    assert SETTINGS["REDIRECT_URI"].default in asked
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
def test_the_sample_becomes_a_dotenv_and_the_doctor_says_what_to_fill_in(copy):
    assert run("dotenv", copy) == (0, "")
    status, printed = run("doctor", copy, FLASK_SKIP_DOTENV="")
    assert status == 1
    for name in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"):
        assert f"✗ {name} still holds a placeholder" in printed


def test_the_sample_names_every_setting_with_its_default():
    sample = (ROOT / ".env.sample").read_text()
    named = dict(re.findall(r"^#?([A-Z_0-9]+)=(.*)$", sample, re.MULTILINE))
    assert set(named) == set(SETTINGS)
    assert list(named)[:3] == ["CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"]
    assert list(named) == list(SETTINGS)
    for name, setting in SETTINGS.items():
        if setting.default:
            assert named[name] == setting.default


@posix
@pytest.mark.xdist_group("port 5000")  # each takes the port that the README names
def test_the_servers_start_as_written(copy, box):
    if listens(5000) or listens(8000):
        pytest.skip("port 5000 or 8000 is in use on this machine")
    production = "http://127.0.0.1:8000"
    for name, url in (("flask", "http://localhost:5000"), ("gunicorn", production), ("granian", production)):
        process = start(name, copy, **box.settings)
        try:
            # Several, so that all processes are up: granian takes 30 seconds to stop one that has just begun.
            assert {answers(url).status_code for _ in range(30)} == {200}
        finally:
            printed = stop(process)
        assert "Traceback" not in printed


@posix
def test_pruning_runs_as_written(copy, box):
    assert "expired sessions removed" in run("prune", copy, **box.settings)[1]
    assert "0 sessions ended." in run("sessions", copy, **box.settings)[1]


@posix
def test_the_certificate_that_is_made_can_be_used(tmp_path):
    needs("openssl")
    assert run("certificate", tmp_path)[0] == 0
    assert stat.S_IMODE((tmp_path / "app.pem").stat().st_mode) == 0o600
    certificate = read_certificate(str(tmp_path / "app.pem"))
    assert certificate.public_certificate in (tmp_path / "app.crt").read_text()
    assert certificate.x509.subject.rfc4514_string() == "CN=flask-and-graph"


def test_every_file_that_the_map_names_is_there():
    """The pages name files and folders in backticks."""
    for document in DOCUMENTS:
        for name in re.findall(r"`([\w./]+(?:/|\.py|\.html|\.md|\.cfg))`", document.read_text()):
            places = [ROOT, ROOT / "templates", *(ROOT / "flask_entra").glob("**/")]
            assert any((place / name).exists() for place in places), f"{document.name}: {name}"

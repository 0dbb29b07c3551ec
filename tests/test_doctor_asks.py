"""`flask doctor` as a command: what it asks the tenant, the API and Redis; its languages, its JSON, and what it never shows."""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
import trustme
from certificates import as_pem, make_certificate
from conftest import ROOT, bare_environment
from programs import free_port, needs, posix
from visitor import Page, Visitor

from flask_entra import commands
from flask_entra.doctor import report
from flask_entra.doctor.findings import CLOCK, GROUPS, ROLES, Finding, shown
from flask_entra.doctor.store_errors import explained
from flask_entra.environment import Source
from flask_entra.sessions.redis import RedisStore
from flask_entra.sessions.store import StoreUnavailable
from sandbox.faults import Answer

KEY = "k7Q-long-enough-and-random-0123456789"


def about(name, printed):
    """The lines that are about a setting."""
    return [line for line in printed.splitlines() if name in line.partition(".")[0]]


# --- What it asks -------------------------------------------------------------------------------------------------------


def test_swapped_ids_are_named_together(run_doctor, box):
    status, printed = run_doctor(CLIENT_ID=box.tenant_id, AUTHORITY=f"{box.back_url}/{box.client_id}")
    assert status == 1
    assert "✗ CLIENT_ID and AUTHORITY may be swapped." in printed
    assert "✓ CLIENT_ID" not in printed
    assert "✓ AUTHORITY" not in printed


@pytest.mark.parametrize("claim", [None, False, True])
def test_whether_a_sign_out_elsewhere_can_reach_the_app_is_told_by_the_sessions_that_there_are(
    run_doctor, serve, box, claim
):
    app = serve()
    if claim is not None:
        box.sid_claim = claim
        Visitor(app.url).sign_in()
    status, printed = run_doctor(SESSION_FILE_DIR=app.settings["SESSION_FILE_DIR"])
    assert status == 0
    said = about("Sign-outs elsewhere", printed)
    if claim is None:  # nobody is signed in
        assert said == []
    elif claim:
        assert said[0].startswith("✓ Sign-outs elsewhere reach this app: the ID tokens have sid. Register ")
    else:
        assert said[0].startswith(
            "! Sign-outs elsewhere cannot reach this app: the ID tokens have no sid. Tick sid under "
        )
        assert "http://localhost:5000/logout/front-channel under Authentication › Front-channel logout URL." in said[0]


@pytest.mark.filterwarnings("ignore:Using /common")  # MSAL's, about a token that needs no person
def test_common_with_an_app_of_one_tenant_is_found(run_doctor, box):
    box.single_tenant = True
    status, printed = run_doctor(AUTHORITY=f"{box.back_url}/common")
    assert status == 1
    assert [line[:55] for line in about("AUTHORITY", printed)] == [
        "✗ AUTHORITY is not accepted by the tenant (AADSTS50194)"
    ]
    assert "Put your Directory (tenant) ID into AUTHORITY" in printed
    box.single_tenant = False
    assert run_doctor(AUTHORITY=f"{box.back_url}/common")[0] == 0


def test_the_page_of_a_sign_in_says_the_same_of_common(serve, box):
    box.single_tenant = True
    page = Visitor(serve(AUTHORITY=f"{box.back_url}/common").url).get("/login")
    assert "AADSTS50194" in page.text


def test_a_missing_service_principal_is_explained_with_a_command(run_doctor, box):
    box.service_principal = False
    status, printed = run_doctor()
    assert status == 1
    assert "✗ CLIENT_ID is not accepted by the tenant (AADSTS7000229)" in printed
    assert f"az ad sp create --id {box.client_id}" in printed
    assert "flask doctor" not in printed


def test_tenants_without_the_one_of_the_domain_name_are_found(run_doctor, box):
    other = "11111111-2222-3333-4444-555555555555"
    status, printed = run_doctor(AUTHORITY=box.authority("contoso.onmicrosoft.com"), ALLOWED_TENANTS=other)
    assert status == 1
    assert f"Add {box.tenant_id}, or remove the setting." in printed


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(404, b"{}"), "✗ ENDPOINT answers 404"),
        (Answer(302, b"", {"Location": "/"}), "! ENDPOINT answers 302"),
        (Answer(200, b"<html>"), "! ENDPOINT answers 200 without asking"),
        (Answer(503, b""), "! ENDPOINT answers 503"),
    ],
)
def test_the_status_of_the_endpoint_counts(run_doctor, box, answer, says):
    box.misbehave("me", answer, times=None)
    printed = run_doctor()[1]
    assert says in printed
    assert "✓ ENDPOINT" not in printed


def test_a_proxy_is_blamed_for_itself_and_once(run_doctor):
    status, printed = run_doctor(cwd=ROOT, HTTPS_PROXY=f"http://me:opensesame@localhost:{free_port()}")
    assert status == 3
    assert len(about("HTTPS_PROXY", printed)) == 1
    assert printed.startswith("✗ HTTPS_PROXY names a proxy that cannot be reached, or refuses")
    assert "✗ AUTHORITY" not in printed
    assert "opensesame" not in printed


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("redis://{place}", "Redis wants a password"),
        ("redis://:wrong@{place}", "Redis does not accept the password"),
        ("rediss://:opensesame@{place}", "Redis does not answer by TLS at this port"),
        ("redis://:opensesame@localhost:1/0", "nothing answers at this address and port"),
        ("redis://:opensesame@nowhere.invalid/0", "there is no such host"),
        ("redis://:opensesame@{place}99", "Redis has no database of this number"),
    ],
)
def test_what_redis_says_is_explained(run_doctor, redis_server, address, says):
    import redis

    redis.Redis.from_url(redis_server.url).config_set("requirepass", "opensesame")
    url = address.format(place=redis_server.url.removeprefix("redis://"))
    status, printed = run_doctor(REDIS_URL=url, SECRET_KEY=KEY)
    assert status == (3 if "nothing answers" in says or "no such host" in says else 1)
    assert [line.split(" (")[0] for line in about("REDIS_URL", printed)] == [f"✗ REDIS_URL cannot be used: {says}"]
    assert "opensesame" not in printed


@pytest.fixture
def redis_with_tls(tmp_path):
    """A real redis-server that speaks TLS alone, with a certificate for localhost; its port."""
    needs("redis-server")
    authority, port = trustme.CA(), free_port()
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "redis.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {"cert-file": "redis.pem", "key-file": "redis.pem", "ca-cert-file": "ca.pem"}
    options = [part for name, file in files.items() for part in (f"--tls-{name}", str(tmp_path / file))]
    command = [
        "redis-server",
        "--port",
        "0",
        "--tls-port",
        str(port),
        *options,
        "--tls-auth-clients",
        "no",
        "--save",
        "",
    ]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    server.terminate()
    server.wait(10)


def test_what_the_tls_of_redis_lacks_is_explained(redis_with_tls, tmp_path):
    for address, says in (
        ("redis://localhost:{port}/0", "closes the connection"),
        ("rediss://localhost:{port}/0", "is not trusted"),
        ("rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}", "another host name"),
    ):
        url = address.format(port=redis_with_tls, ca=tmp_path / "ca.pem")
        with pytest.raises(StoreUnavailable) as error:
            RedisStore(url, threads=8).ping()
        assert says in str(explained(error.value, url)[0])
    RedisStore(f"rediss://localhost:{redis_with_tls}/0?ssl_ca_certs={tmp_path / 'ca.pem'}", threads=8).ping()


@pytest.mark.parametrize(
    ("commands", "says", "mend"),
    [
        (["CONFIG SET maxmemory 1"], "✗ REDIS_URL cannot be used: Redis has no memory left", "at noeviction"),
        (["REPLICAOF localhost 1"], "✗ REDIS_URL cannot be used: it is a replica", "the primary"),
        (
            ["ACL SETUSER app on >opensesame ~other:* +@all"],
            "✗ REDIS_URL cannot be used: the Redis user lacks",
            "lock:*",
        ),
        (
            ["ACL SETUSER app on >opensesame ~session:* ~lock:* +@all -info"],
            "! REDIS_URL can be used, and could not be asked for its maxmemory-policy: the Redis user lacks a permission",
            "allow the Redis user the command INFO",
        ),
    ],
)
def test_what_redis_refuses_is_explained(run_doctor, redis_server, commands, says, mend):
    for command in commands:
        redis_server.client().execute_command(*command.split())
    user = "app:opensesame@" if commands[0].startswith("ACL") else ""
    status, printed = run_doctor(REDIS_URL=redis_server.url.replace("//", f"//{user}"), SECRET_KEY=KEY)
    (line,) = about("REDIS_URL", printed)
    assert line.startswith(says)
    assert mend in line
    assert status == says.startswith("✗")
    assert "opensesame" not in printed


def test_several_servers_that_are_no_cluster_are_refused(run_doctor, redis_server):
    status, printed = run_doctor(REDIS_URL=f"redis://127.0.0.1:{redis_server.port},127.0.0.1:1/0", SECRET_KEY=KEY)
    (line,) = about("REDIS_URL", printed)
    assert status == 1
    assert line.startswith("✗ REDIS_URL cannot be used: it names several servers that are no cluster")
    assert "redis+sentinel://" in line


@posix
def test_a_session_folder_that_anybody_may_replace_is_worth_a_look(run_doctor, tmp_path):
    (tmp_path / "shared" / "own").mkdir(parents=True)
    for mode, worth in ((0o777, True), (0o1777, False), (0o755, False)):
        (tmp_path / "shared").chmod(mode)
        status, printed = run_doctor(SESSION_FILE_DIR=str(tmp_path / "shared" / "own" / "sessions"))
        assert status == 0
        assert (f"! SESSION_FILE_DIR is in {tmp_path / 'shared'}, where everybody may" in printed) == worth
        assert (f"chmod o-w {tmp_path / 'shared'}," in printed) == worth
        assert ("✓ SESSION_FILE_DIR can be used" in printed) != worth


def test_a_question_that_cannot_be_asked_is_reported(run_doctor):
    printed = run_doctor()[1]
    assert (
        "? REDIRECT_URI = http://localhost:5000/getAToken (default). "
        "Not checked: must match Authentication › Web character for character.\n" in printed
    )
    assert "✓ REDIRECT_URI" not in printed


# --- How it is told -----------------------------------------------------------------------------------------------------


def test_it_says_where_each_value_came_from(run_doctor, copy, box):
    (copy / ".env").write_text(f"\n# the app\nCLIENT_ID={box.client_id}\nSCOPE=User.Read\n")
    unset = {"FLASK_SKIP_DOTENV": "", "CLIENT_ID": None}
    printed = run_doctor(cwd=copy, **unset, SCOPE="User.Read Mail.Read")[1]
    assert f"✓ CLIENT_ID = {box.client_id} (.env line 3)." in printed
    assert "✓ CLIENT_SECRET is set (40 characters) (environment)." in printed
    assert "✓ THREADS = 64 (default)." in printed
    assert "! SCOPE has another value in the environment than in .env, " in printed
    assert "(environment, instead of .env line 4)." in printed


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_the_app_starts_with_a_dotenv_in_any_encoding(copy, encoding):
    (copy / ".env").write_bytes("CLIENT_ID=my-app\nCLIENT_SECRET=été\n".encode(encoding))
    start = "import app; print(app.app.test_client().get('/').text)"
    environ = {name: value for name, value in bare_environment().items() if name != "FLASK_SKIP_DOTENV"}
    done = subprocess.run(
        [sys.executable, "-c", start], cwd=copy, env=environ, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    text = Page(done.stdout).text
    assert "AUTHORITY is missing" in text
    assert "CLIENT_ID is missing" not in text
    assert "UTF-8" in text


def test_the_document_has_the_fields_of_json():
    for name in ("doctor.md", "doctor.fr.md"):
        text = (ROOT / "docs" / name).read_text()
        (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        source = Source("file", Path("/srv/app/.env"), 3)
        found = Finding("CLIENT_ID", "wrong", "is not a GUID", "Copy it.", source)
        written, printed = json.loads(example), json.loads(report.as_json([found]))
        assert written["findings"][0]["source"] == printed["findings"][0]["source"]
        assert (written["version"], written["ok"]) == (printed["version"], printed["ok"])
        assert [*written, *written["findings"][0]] == [*printed, *printed["findings"][0]]
        assert all(f"`{level}`" in text for level in report.SIGNS)


@pytest.mark.parametrize(
    ("environ", "encoding", "language"),
    [
        ({}, "utf-8", "en"),
        ({"LANG": "fr_FR.UTF-8"}, "utf-8", "fr"),
        ({"LANG": "fr_CA"}, "utf-8", "fr"),
        ({"LANG": "fr"}, "cp1252", "fr"),
        ({"LANG": "fr_FR.UTF-8"}, "cp850", "fr"),
        ({"LANG": "fr_FR.UTF-8"}, "ascii", "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "utf-8", "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "fr_FR.UTF-8"}, "utf-8", "fr"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "fr_FR.UTF-8"}, "utf-8", "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": ""}, "utf-8", "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "utf-8", "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, "utf-8", "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "POSIX"}, "utf-8", "en"),
        ({"LANG": "de_DE.UTF-8"}, "utf-8", "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:fr:en"}, "utf-8", "fr"),
        ({"LANG": "C", "LANGUAGE": "fr"}, "utf-8", "en"),
    ],
)
def test_the_language_is_the_terminals(environ, encoding, language):
    assert report.terminal_language(environ, encoding) == language


def test_it_speaks_french_with_the_terminal_of_libraries_too(run_doctor, tmp_path):
    (tmp_path / "app.pem").write_bytes(as_pem(*make_certificate(), b"secret"))
    status, printed = run_doctor(
        CLIENT_SECRET=None,
        CLIENT_CERTIFICATE_PATH=str(tmp_path / "app.pem"),
        REDIS_URL=f"redis://localhost:{free_port()}/0",
        SECRET_KEY=KEY,
        LC_ALL="fr_FR.UTF-8",
    )
    assert status == 1
    assert "✗ CLIENT_CERTIFICATE_PASSWORD est absent, et la clé privée est inutilisable sans lui." in printed
    assert (
        "✗ REDIS_URL est inutilisable\u00a0: rien ne répond à cette adresse et sur ce port (environnement)." in printed
    )
    assert "(par défaut)" in printed
    for english in (" is ", " the ", " cannot ", "refused"):
        assert english not in printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp850", "utf-8"])
def test_any_value_can_be_printed_in_any_encoding(encoding):
    text = report.spelled("✗ CLIENT_ID “ … Authentication › Web \u200b é", encoding)
    assert text.encode(encoding)
    assert text[0] == ("✗" if encoding == "utf-8" else "x")


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://login.example/tenant", "https://login.example/tenant"),
        ("redis://:pw@host:6379/0", "redis://…@host:6379/0"),
        ("redis://pw@a,b/0", "redis://…@a,b/0"),
        ("redis://a,:pw@b/0", "redis://…@b/0"),
        ("redis://:p@w@host/0", "redis://…@host/0"),
        ("redis://:p/w@host/0", "redis://…@host/0"),
        ("redis://:p?w@host/0", "redis://…"),
        ("redis://:p#w@host/0", "redis://…"),
        ("redis://host/0?password=pw", "redis://host/0?…"),
        ("redis://host/0?password=p@w", "redis://…"),
        ("redis+sentinel://:pw@a,b/m?sentinel_password=pw", "redis+sentinel://…@a,b/m?…"),
        ("https://host/me#pw", "https://host/me#…"),
        ("https://host,password=pw", "https://host,password=…"),
        ("https://host,password=p@w", "https://…"),
        ("rediss://:p=@host/0", "rediss://…@host/0"),
        ("me:pw@host", "…"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_shown(url, seen):
    assert shown(url) == seen


def test_in_json_what_is_no_setting_has_one_name_in_every_language():
    document = json.loads(report.as_json([Finding(name, "right", "") for name in (CLOCK, ROLES, GROUPS)]))
    assert [each["setting"] for each in document["findings"]] == ["clock", "roles", "groups"]


def test_json_is_one_stable_document(run_doctor, box):
    status, printed = run_doctor("--json")
    document = json.loads(printed)
    assert status == 0
    assert printed.isascii()
    assert list(document) == ["version", "ok", "findings"]
    assert (document["version"], document["ok"]) == (1, True)
    first = document["findings"][0]
    assert first == {
        "setting": "CLIENT_ID",
        "level": "right",
        "found": f"= {box.client_id}",
        "mend": "",
        "source": {"from": "environment", "file": None, "line": None},
        "unreachable": False,
    }
    assert {each["level"] for each in document["findings"]} == {"right", "unchecked"}
    status, printed = run_doctor("--json", CLIENT_ID=None)
    document = json.loads(printed)
    assert (status, document["ok"]) == (1, False)
    assert ["CLIENT_ID", "wrong"] in [[each["setting"], each["level"]] for each in document["findings"]]


def test_the_exit_status_is_documented(run_doctor):
    status, printed = run_doctor("--help")
    assert status == 0
    told = ("0  nothing is wrong", "1  something is wrong", "2  the command was called", "3  nothing is wrong but")
    for line in ("Exit status:", *told):
        assert line in printed
    assert run_doctor("--no-such-option")[0] == 2


SECRETS = {
    "CLIENT_SECRET": "Zq1secret~first half.second half",
    "CLIENT_CERTIFICATE_PASSWORD": "Zq2password",
    "SECRET_KEY": "Zq3key",
    "SECRET_KEY_FALLBACKS": "Zq4former Zq5former",
    "REDIS_URL": "redis://Zq6user:Zq7word@localhost:1/0",
    "ENDPOINT": "https://Zq8user:Zq9word@localhost:1/me?key=ZqLkey",
    "OIDC_AUTHORITY": "https://ZqAuser:ZqBword@localhost:1/realm",
    "HTTPS_PROXY": "http://ZqCuser:ZqDword@localhost:1",
    "HTTP_PROXY": "ZqEuser:ZqFword@localhost:1",
}


@pytest.mark.parametrize("wrong", [True, False], ids=["with slips", "without"])
def test_no_part_of_a_secret_is_shown(run_doctor, serve, copy, wrong):
    secrets = dict(SECRETS)
    if wrong:
        secrets |= {"CLIENT_ID": "<your id>", "REDIS_URL": "localhost:1,password=ZqGword,ssl=True"}
    else:
        secrets |= {"SECRET_KEY": "Zq3key-long-enough-and-random-01234", "AUTHORITY": None, "HTTP_PROXY": None}
    (copy / ".env").write_text("CLIENT_SECRET=ZqHother\nSECRET_KEY=ZqIother${ZqJ}\nCLIENT_SECRET:ZqMabc=\n")
    for options in ((), ("--json",)):
        printed = run_doctor(*options, cwd=copy, **secrets, FLASK_SKIP_DOTENV="")[1]
        assert "CLIENT_SECRET" in printed
        assert "Zq" not in printed
    app = serve(**{"CLIENT_ID": None, **secrets})
    assert "Zq" not in Visitor(app.url).get("/").text
    assert "Zq" not in app.log()


# --- Its commands -------------------------------------------------------------------------------------------------------


def test_the_commands_that_are_shown_can_be_pasted(serve, monkeypatch):
    page = Visitor(serve(CLIENT_ID=None, PATH="/usr/bin:/bin").url).get("/").text
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for command in (commands.DOCTOR, commands.SANDBOX):
        assert f"<code>{command}</code>" in page
        # A shell in which nothing is activated.
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} --help"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout or "usage" in done.stdout


@posix
def test_a_command_is_as_short_as_it_can_be(tmp_path, monkeypatch):
    for folder in ("app/.venv/bin", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    own = tmp_path / "app" / ".venv" / "bin"
    for program in (own / "python3.13", own / "flask", tmp_path / "elsewhere" / "flask"):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(own / "python3.13"))
    for folder, path, doctor, sandbox in (
        ("app", "/nowhere", ".venv/bin/flask doctor", ".venv/bin/python3.13 -m sandbox"),
        ("app", tmp_path / "elsewhere", ".venv/bin/flask doctor", ".venv/bin/python3.13 -m sandbox"),
        ("app", own, "flask doctor", "python3.13 -m sandbox"),
        ("elsewhere", "/nowhere", f"{own}/flask doctor", f"{own}/python3.13 -m sandbox"),
    ):
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("PATH", str(path))
        assert (str(commands.DOCTOR), str(commands.SANDBOX)) == (doctor, sandbox)
    (own / "flask").unlink()  # a script that lies elsewhere
    assert str(commands.DOCTOR) == f"{own}/python3.13 -m flask doctor"


def test_a_command_is_written_for_its_platform_and_folder():
    posix, windows = PurePosixPath, PureWindowsPath
    for program, folder, written in (
        (posix("/app/.venv/bin/flask"), posix("/app"), ".venv/bin/flask doctor"),
        (posix("/else/my env/bin/flask"), posix("/app"), "'/else/my env/bin/flask' doctor"),
        (windows(r"C:\app\.venv\Scripts\flask.exe"), windows(r"C:\app"), r".venv\Scripts\flask doctor"),
        (windows(r"C:\my env\flask.exe"), windows(r"C:\app"), r'& "C:\my env\flask" doctor'),
    ):
        assert commands.line(program, ("doctor",), folder) == written


def test_the_sample_shows_the_doctor_for_both_platforms():
    sample = (ROOT / ".env.sample").read_text()
    assert ".venv/bin/flask doctor" in sample
    assert r".venv\Scripts\flask doctor" in sample

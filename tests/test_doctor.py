"""`flask doctor` and the configuration page: each slip has its finding, and each finding a test that makes it happen."""

import datetime
import subprocess
import time

import pytest
import requests
from certificates import as_pem, make_certificate
from configs import config_of
from conftest import ROOT
from programs import free_port
from visitor import Page, Visitor

from flask_entra import doctor
from sandbox.faults import Answer


def findings(**settings):
    """What is found in settings that are sound but for these."""
    sound = {
        "CLIENT_ID": "dd96df90-ffaf-4b01-a34d-b3a2abc47d16",
        "CLIENT_SECRET": "abc8Q~someSecretValue",
        "AUTHORITY": "https://login.microsoftonline.com/852bedc8-1345-41c8-99f3-2fa1667ffefa",
    }
    environ = {name: value for name, value in {**sound, **settings}.items() if value is not None}
    return doctor.check_settings(config_of(**environ).settings)


TENANT = "852bedc8-1345-41c8-99f3-2fa1667ffefa"
HOST = "https://login.microsoftonline.com"
# setting, value, the level of what is found, a part of the text
SLIPS = [
    ("CLIENT_ID", None, "wrong", "is missing"),
    ("CLIENT_SECRET", None, "wrong", "is missing"),
    ("AUTHORITY", None, "wrong", "is missing"),
    ("CLIENT_ID", "<Enter_your_client_id>", "wrong", "placeholder"),
    ("CLIENT_ID", "Enter_the_Client_Id_Here", "wrong", "placeholder"),
    ("CLIENT_ID", "YOUR_CLIENT_ID", "wrong", "placeholder"),
    ("CLIENT_SECRET", "<client secret value>", "wrong", "placeholder"),
    ("CLIENT_SECRET", "Enter_the_Client_Secret_Here", "wrong", "placeholder"),
    ("AUTHORITY", f"{HOST}/<TENANT_GUID>", "wrong", "placeholder"),
    ("AUTHORITY", f"{HOST}/Enter_the_Tenant_Id_Here", "wrong", "placeholder"),
    ("CLIENT_ID", "<dd96df90-ffaf-4b01-a34d-b3a2abc47d16>", "wrong", "< and >"),
    ("CLIENT_ID", '"dd96df90-ffaf-4b01-a34d-b3a2abc47d16"', "wrong", "quotes"),
    ("CLIENT_SECRET", "'abc8Q~someSecretValue'", "wrong", "quotes"),
    ("CLIENT_ID", "dd96df90-ffaf-4b01- a34d-b3a2abc47d16", "wrong", "space"),
    ("CLIENT_SECRET", "abc8Q~some\nSecretValue", "wrong", "line break"),
    ("CLIENT_ID", "my-app", "wrong", "is not a GUID"),
    ("CLIENT_ID", TENANT, "wrong", "is the directory (tenant) ID"),
    ("CLIENT_ID", TENANT.upper(), "wrong", "is the directory (tenant) ID"),
    ("CLIENT_SECRET", "11111111-2222-3333-4444-555555555555", "odd", "secret's ID"),
    ("AUTHORITY", f"login.microsoftonline.com/{TENANT}", "wrong", "https://"),
    ("AUTHORITY", f"http://login.microsoftonline.com/{TENANT}", "wrong", "http"),
    ("AUTHORITY", f"{HOST}/{TENANT}/v2.0", "wrong", "one endpoint"),
    ("AUTHORITY", f"{HOST}/{TENANT}/oauth2/v2.0/authorize", "wrong", "one endpoint"),
    ("AUTHORITY", HOST, "wrong", "no tenant"),
    ("AUTHORITY", f"{HOST}/", "wrong", "no tenant"),
    ("AUTHORITY", TENANT, "wrong", "https://"),
    ("AUTHORITY", f"{HOST}/common", "odd", "every organization"),
    ("AUTHORITY", f"{HOST}/organizations", "odd", "every organization"),
    ("REDIRECT_URI", "http://localhost:5000", "wrong", "no path"),
    ("REDIRECT_URI", "http://localhost:5000/", "wrong", "no path"),
    ("REDIRECT_URI", "/getAToken", "wrong", "is not a URL"),
    ("REDIRECT_URI", "http://app.example.com/getAToken", "wrong", "http on a host"),
    ("REDIRECT_URI", "http://localhost:port/getAToken", "wrong", "is not a URL"),
    ("SCOPE", "", "odd", "is empty"),
    ("SCOPE", "User.Read https://graph.microsoft.com/.default", "wrong", ".default"),
    ("ENDPOINT", "https://graph.microsoft.us/v1.0/me", "wrong", "another cloud"),
    ("ENDPOINT", "http://graph.microsoft.com/v1.0/me", "wrong", "https://"),
    ("OIDC_AUTHORITY", "https://login.example.com/x/v2.0", "wrong", "more than one authority"),
    ("B2C_TENANT_NAME", "contoso", "wrong", "more than one authority"),
    ("CLIENT_CERTIFICATE_PATH", "/nowhere/app.pem", "wrong", "cannot be used"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token", "odd", "is not used, because CLIENT_SECRET is set"),
    ("MANAGED_IDENTITY_CLIENT_ID", "my-identity", "wrong", "neither a GUID nor the word system"),
    ("MANAGED_IDENTITY_CLIENT_ID", "dd96df90-ffaf-4b01-a34d-b3a2abc47d16", "wrong", "is the same as CLIENT_ID"),
    ("ALLOWED_TENANTS", "contoso.com", "wrong", "no tenant ID"),
    ("TRUSTED_PROXY_COUNT", "one", "wrong", "is not a number"),
    ("REDIS_URL", "localhost:6379", "wrong", "redis://"),
    ("SECRET_KEY", "short", "wrong", "guessed"),
    ("REDIS_URL", "redis://:pa/ssw0rd@localhost:6379", "wrong", "cannot be read as an address"),
    ("REDIS_URL", "redis+sentinel://localhost", "wrong", "does not name Sentinel's master"),
    ("REDIS_URL", "redis://localhost/first", "wrong", "has a database that is not a number"),
    ("LOG_FORMAT", "xml", "wrong", "neither text nor json"),
    ("THREADS", "0", "wrong", "is not a number above 0"),
    ("THREADS", "many", "wrong", "is not a number above 0"),
]


@pytest.mark.parametrize(("name", "value", "level", "text"), SLIPS, ids=lambda value: str(value)[:40])
def test_each_slip_is_found_and_named_with_its_mend(name, value, level, text):
    found = [each for each in findings(**{name: value}) if name in each.setting and text in str(each.found)]
    assert len(found) == 1, findings(**{name: value})
    assert found[0].level == level
    assert found[0].mend


def test_sound_settings_have_no_findings():
    assert findings() == []
    assert findings(AUTHORITY="https://contoso.ciamlogin.com") == []
    assert findings(REDIRECT_URI="https://your-company.example/getAToken") == []
    assert findings(AUTHORITY=None, B2C_TENANT_NAME="contoso", SIGNUPSIGNIN_USER_FLOW="B2C_1_in") == []
    assert (
        findings(AUTHORITY="https://login.microsoftonline.us/" + TENANT, ENDPOINT="https://graph.microsoft.us/v1.0/me")
        == []
    )


def test_a_secret_key_of_its_own_is_asked_for_where_many_machines_share_the_sessions():
    (found,) = findings(REDIS_URL="redis://localhost:6379/0")
    assert (found.setting, found.level) == ("SECRET_KEY", "odd")
    assert findings(REDIS_URL="redis://localhost:6379/0", SECRET_KEY="k" * 32) == []


def test_one_slip_is_one_finding():
    for name, value, _level, _text in SLIPS:
        if "AUTHORITY" not in name and "B2C" not in name:
            assert len({each.setting for each in findings(**{name: value})}) <= 1 + (
                name.startswith(("CLIENT_CERT", "AZURE", "MANAGED")) * 2
            )


def test_a_certificate_that_expires_soon_is_odd(tmp_path):
    (tmp_path / "app.pem").write_bytes(as_pem(*make_certificate(days=10)))
    (found,) = findings(CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(tmp_path / "app.pem"))
    assert found.level == "odd"
    day = datetime.date.today() + datetime.timedelta(days=10)
    assert str(found.found) == f"expires on {day:%B} {day.day}, {day.year}"


# --- The command ------------------------------------------------------------------------------------------------------


def test_sound_settings_pass_and_no_secret_is_shown(run_doctor, box):
    status, printed = run_doctor(cwd=ROOT)
    assert status == 0, printed
    assert "✗" not in printed
    for line in (
        "✓ CLIENT_ID",
        "✓ AUTHORITY answers",
        "✓ CLIENT_SECRET is accepted",
        "✓ SESSION_FILE_DIR can be used",
        "✓ The clock",
    ):
        assert line in printed
    assert box.client_secret not in printed


def test_a_wrong_setting_ends_with_status_one(run_doctor):
    status, printed = run_doctor(CLIENT_ID=None)
    assert status == 1
    assert "✗ CLIENT_ID is missing" in printed


@pytest.mark.parametrize(("state", "code"), [("revoked", "AADSTS7000215"), ("expired", "AADSTS7000222")])
def test_a_secret_that_the_tenant_refuses_is_found(run_doctor, box, state, code):
    box.client_secret_state = state
    status, printed = run_doctor()
    assert status == 1
    assert f"✗ CLIENT_SECRET is not accepted by the tenant ({code})" in printed


def test_an_unknown_client_is_found(run_doctor):
    status, printed = run_doctor(CLIENT_ID="11111111-2222-3333-4444-555555555555")
    assert status == 1
    assert "✗ CLIENT_ID is not accepted by the tenant (AADSTS700016)" in printed


def test_a_tenant_that_does_not_exist_is_found(run_doctor, box):
    status, printed = run_doctor(AUTHORITY=f"{box.back_url}/11111111-2222-3333-4444-555555555555")
    assert status == 1
    assert "✗ AUTHORITY is no tenant that exists there" in printed
    assert "Is CLIENT_ID the other one?" in printed


def test_an_authority_that_does_not_answer_is_found(run_doctor):
    status, printed = run_doctor(AUTHORITY=f"https://localhost:{free_port()}/{TENANT}")
    assert status == 3
    assert "✗ AUTHORITY cannot be reached" in printed


def test_a_certificate_that_is_not_trusted_is_named(run_doctor):
    assert "REQUESTS_CA_BUNDLE" in run_doctor(REQUESTS_CA_BUNDLE=None)[1]


def test_a_proxy_that_refuses_is_named(run_doctor):
    status, printed = run_doctor(cwd=ROOT, HTTPS_PROXY=f"http://localhost:{free_port()}")
    assert status == 3
    assert "HTTPS_PROXY" in printed


def test_no_proxy_is_honoured(run_doctor):
    assert run_doctor(cwd=ROOT, HTTPS_PROXY=f"http://localhost:{free_port()}", NO_PROXY="localhost")[0] == 0


@pytest.mark.parametrize(("seconds", "sign"), [(90, "!"), (600, "✗")])
def test_a_clock_that_is_off_is_found(run_doctor, box, seconds, sign):
    url = f"{box.authority()}/v2.0/.well-known/openid-configuration"
    body = requests.get(url, verify=box.ca_file, timeout=9).content
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))
    box.misbehave("discovery", Answer(200, body, {"Date": date}), times=None)
    assert f"{sign} The clock is off by" in run_doctor()[1]


def test_a_port_other_than_the_one_served_is_odd(run_doctor):
    status, printed = run_doctor("--port", "8123")
    assert status == 0
    assert "! REDIRECT_URI has another port than the one served, 8123" in printed
    assert "flask run --port 5000" in printed


def test_an_endpoint_that_does_not_answer_is_found(run_doctor):
    status, printed = run_doctor(ENDPOINT=f"https://localhost:{free_port()}/v1.0/me")
    assert status == 1  # its token is for another API, and the tenant says so
    assert "✗ ENDPOINT cannot be reached" in printed


def test_a_file_of_certificates_that_is_not_there_is_named(run_doctor):
    status, printed = run_doctor(REQUESTS_CA_BUNDLE="/nowhere/certificates.pem")
    assert status == 1
    assert "✗ REQUESTS_CA_BUNDLE names a file that is not there" in printed


def test_a_misspelled_setting_is_noticed(run_doctor, copy):
    (copy / ".env").write_text("CLIENT_SECRT=x\nSOMETHING_ELSE=y\n")
    printed = run_doctor(cwd=copy)[1]
    assert "! CLIENT_SECRT is no setting of this app. Is CLIENT_SECRET meant?" in printed
    assert "SOMETHING_ELSE" not in printed


def test_the_doctor_speaks_plainly_where_the_console_cannot_show_signs(run_doctor, box):
    status, printed = run_doctor(cwd=ROOT, PYTHONIOENCODING="cp1252")
    assert status == 0
    assert "+ CLIENT_ID" in printed


def test_a_session_folder_that_cannot_be_written_is_found(run_doctor, tmp_path):
    (tmp_path / "file").write_text("no folder")
    status, printed = run_doctor(SESSION_FILE_DIR=str(tmp_path / "file" / "sessions"))
    assert status == 1
    assert "✗ SESSION_FILE_DIR cannot be used" in printed


@pytest.mark.parametrize("path", ["/call_graph", "/login", "/healthz"])
def test_a_redirect_uri_with_the_path_of_another_page_is_found(run_doctor, serve, path):
    status, printed = run_doctor(REDIRECT_URI=f"http://localhost:5000{path}")
    assert status == 1
    assert "✗ REDIRECT_URI has no path of its own" in printed
    app = serve(REDIRECT_URI=f"http://localhost:5000{path}")
    assert "REDIRECT_URI has no path of its own" in Page(Visitor(app.url).get("/").text).text


def test_a_redis_that_cannot_be_reached_is_found_and_its_password_not_shown(run_doctor):
    status, printed = run_doctor(REDIS_URL=f"redis://:opensesame@localhost:{free_port()}/0")
    assert status == 3
    assert "✗ REDIS_URL cannot be used" in printed
    assert "opensesame" not in printed


@pytest.mark.parametrize(
    "url",
    [
        "redis://:opensesame@{0},{0}/0",
        "redis://{0}/0?password=opensesame",
        "redis://:opensesame#1@{0}/0",
        "redis+sentinel://:opensesame@{0}/master?sentinel_password=opensesame",
        "redis://:opensesame@{0}/0?nothing=1",
    ],
)
def test_no_part_of_a_redis_address_that_may_be_secret_is_shown(run_doctor, url):
    printed = run_doctor(REDIS_URL=url.format(f"localhost:{free_port()}"))[1]
    assert "REDIS_URL" in printed
    assert "opensesame" not in printed
    assert "Traceback" not in printed


def test_a_redis_that_may_delete_live_sessions_is_worth_a_look(run_doctor, redis_server):
    redis_server.client().config_set("maxmemory", "100mb")
    redis_server.client().config_set("maxmemory-policy", "allkeys-lru")
    status, printed = run_doctor(REDIS_URL=redis_server.url, SECRET_KEY="k" * 32)
    assert status == 0
    assert "! REDIS_URL may delete live sessions when its memory is full (maxmemory-policy allkeys-lru)" in printed
    assert "noeviction" in printed
    redis_server.client().config_set("maxmemory-policy", "noeviction")
    assert "✓ REDIS_URL can be used" in run_doctor(REDIS_URL=redis_server.url, SECRET_KEY="k" * 32)[1]


@pytest.mark.parametrize(
    ("uri", "proxies", "asked"),
    [
        ("https://app.example.com/getAToken", "0", True),
        ("https://app.example.com/getAToken", "1", False),
        ("http://localhost:5000/getAToken", "0", False),
    ],
)
def test_an_app_for_the_internet_needs_a_buffering_proxy(run_doctor, uri, proxies, asked):
    printed = run_doctor(REDIRECT_URI=uri, TRUSTED_PROXY_COUNT=proxies)[1]
    assert ("! TRUSTED_PROXY_COUNT is 0" in printed and "buffering proxy" in printed) == asked


def test_a_dotenv_that_is_not_read_or_is_tracked_by_git_is_found(run_doctor, copy):
    (copy / ".env").write_text("SCOPE=User.Read\n")
    assert "! .env is there, but FLASK_SKIP_DOTENV" in run_doctor(cwd=copy)[1]
    for command in (["git", "init", "-q"], ["git", "add", "-f", ".env"]):
        subprocess.run(command, cwd=copy, check=True)
    status, printed = run_doctor(cwd=copy)
    assert status == 1
    assert "✗ .env is tracked by git" in printed


def test_the_configuration_page_shows_the_same(serve):
    app = serve(CLIENT_ID="YOUR_CLIENT_ID", SCOPE="")
    text = Page(Visitor(app.url).get("/").text).text
    assert "CLIENT_ID still holds a placeholder" in text
    assert "SCOPE is empty" in text

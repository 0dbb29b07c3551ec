"""`flask doctor` as the gate of a pipeline: what only the network is at fault for, without a request, and until all is well."""

import email.utils
import json
import time

import pytest
from programs import free_port

from flask_entra import doctor
from sandbox.faults import Answer, Reset

KEY = "k7Q-long-enough-and-random-0123456789"
NOWHERE = f"https://localhost:{free_port()}"
UNREACHABLE = {
    "AUTHORITY": {"AUTHORITY": f"{NOWHERE}/852bedc8-1345-41c8-99f3-2fa1667ffefa"},
    "REDIS_URL": {"REDIS_URL": f"redis://localhost:{free_port()}/0", "SECRET_KEY": KEY},
    "HTTPS_PROXY": {"HTTPS_PROXY": f"http://localhost:{free_port()}"},
}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(doctor, "_PAUSE_SECONDS", 0.01)


def wrong(printed):
    return {
        each["setting"]: each["unreachable"] for each in json.loads(printed)["findings"] if each["level"] == "wrong"
    }


@pytest.mark.parametrize("name", UNREACHABLE)
def test_what_cannot_be_reached_from_here_has_a_status_of_its_own(run_doctor, name):
    status, printed = run_doctor("--json", **UNREACHABLE[name])
    assert (status, wrong(printed)) == (3, {name: True})


def test_an_api_that_cannot_be_reached_is_not_the_settings_fault(run_doctor, box):
    box.misbehave("me", Reset(), times=None)
    status, printed = run_doctor("--json")
    assert (status, wrong(printed)) == (3, {"ENDPOINT": True})


@pytest.mark.parametrize("status", [429, 503])
def test_an_authority_that_has_no_time_is_not_the_settings_fault(run_doctor, box, status):
    box.misbehave("discovery", Answer(status, b"{}", {"Retry-After": "1"}), times=None)
    status, printed = run_doctor("--json")
    assert (status, wrong(printed)) == (3, {"AUTHORITY": True})


def test_a_setting_that_is_wrong_counts_whatever_cannot_be_reached(run_doctor, box):
    status, printed = run_doctor("--json", **UNREACHABLE["REDIS_URL"], THREADS="many")
    assert (status, wrong(printed)) == (1, {"THREADS": False, "REDIS_URL": True})
    box.misbehave("me", Answer(404, b"{}"))
    assert run_doctor(**UNREACHABLE["REDIS_URL"])[0] == 1


def test_offline_sends_no_request_and_says_what_it_has_not_asked(run_doctor, box, tmp_path):
    before = len(box.log)
    settings = {**UNREACHABLE["REDIS_URL"], "ENDPOINT": f"{box.back_url}/v1.0/me"}
    status, printed = run_doctor("--offline", **settings)
    assert status == 0
    assert len(box.log) == before
    for name in ("AUTHORITY", "ENDPOINT", "REDIS_URL"):
        assert f"? {name} = " in printed
    assert printed.count("Not asked: this is without a request (--offline)") == 3
    assert "✓ CLIENT_ID" in printed
    status, printed = run_doctor("--offline", CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(tmp_path / "app.pem"))
    assert status == 1
    assert "✗ CLIENT_CERTIFICATE_PATH cannot be used: there is no such file" in printed
    (tmp_path / "file").write_text("no folder")
    assert run_doctor("--offline", SESSION_FILE_DIR=str(tmp_path / "file" / "sessions"))[0] == 1


def test_it_waits_until_all_is_well(run_doctor, box):
    wrong_clock = email.utils.formatdate(time.time() - 3600, usegmt=True)
    answers = [Answer(503, b""), Answer(503, b""), None]
    box.misbehave("discovery", lambda environ: answers.pop(0), times=3)
    box.misbehave("discovery", Answer(500, b"", {"Date": wrong_clock}))
    status, printed = run_doctor("--json", "--wait", "60")
    assert (status, json.loads(printed)["ok"]) == (0, True)
    assert run_doctor.aside.count("✗ AUTHORITY does not answer as an authority does") == 1
    box.client_secret_state = "revoked"  # as one that Entra does not know everywhere yet
    states = iter(["revoked", "valid"])
    box.misbehave("token", lambda environ: setattr(box, "client_secret_state", next(states, "valid")), times=None)
    assert run_doctor("--wait", "60")[0] == 0
    assert "✗ CLIENT_SECRET is not accepted by the tenant (AADSTS7000215)" in run_doctor.aside


def test_it_waits_no_longer_than_it_is_told(run_doctor):
    began = time.monotonic()
    status, _printed = run_doctor("--wait", "1", **UNREACHABLE["AUTHORITY"])
    assert status == 3
    assert time.monotonic() - began >= 1

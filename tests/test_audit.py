"""The audit trail: its events and fields are those of docs/operate.md, and hold nothing secret that anybody could misuse."""

import json
import re

import flask
import pytest
from conftest import ROOT
from fake_provider import CLIENT, Browser, refusal

from flask_entra import Auth, SignInRefused

TENANT = "852bedc8-1345-41c8-99f3-2fa1667ffefa"
NAME = "flask_entra.audit"
USUAL = {"asctime", "levelname", "process", "name", "request_id", "message"}  # of each line


def documented(language=""):
    """The events and the fields of docs/operate.md."""
    text = (ROOT / "docs" / f"operate{language}.md").read_text()
    events, fields = re.findall(r"\n\| (?:`event`|field|champ) \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text)
    first = [set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|(.*?)\|", rows, re.M)))) for rows in (events, fields)]
    return first[0], first[1] | {"event"}


def written(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event["name"] == NAME]


def test_each_event_has_the_fields_that_are_documented(visit, provider, capsys):
    browser = visit(LOG_FORMAT="json")
    provider.claims = {"amr": ["pwd", "mfa"], "acr": "1", "acrs": ["c1", "p1"], "tid": TENANT}
    browser.app.add_url_rule("/approve", "approve", Auth().login_required(lambda *, context: "", roles=["Approve"]))
    browser.sign_in()
    browser.get("/approve?secret=1")
    browser.sign_out()
    browser.sign_in(error="access_denied", code=None)
    provider.token = refusal("invalid_grant")
    browser.sign_in()
    events, fields = documented()
    assert documented(".fr") == (events, fields)
    told = written(capsys)
    assert [each["event"] for each in told] == [
        "signed_in",
        "access_denied",
        "signed_out",
        "sign_in_given_up",
        "sign_in_refused",
    ]
    assert {each["event"] for each in told} == events
    for each in told:
        assert each.keys() == USUAL | fields
    signed_in, denied, signed_out, given_up, refused = told
    known = {"oid": None, "sub": "alice", "tid": TENANT, "iss": provider.url, "address": "127.0.0.1"}
    known |= {"amr": ["pwd", "mfa"], "acr": ["1"], "acrs": ["c1", "p1"]}
    for each in (signed_in, denied, signed_out):
        assert {name: each[name] for name in known} == known
    assert (signed_in["reason"], signed_in["levelname"]) == (None, "INFO")
    assert signed_in["message"] == f"Signed in: oid=alice tid={TENANT} from 127.0.0.1 by pwd mfa"
    assert (denied["path"], denied["levelname"]) == ("/approve", "WARNING")
    assert denied["reason"].startswith("roles: one of Approve is needed")
    assert (given_up["reason"], given_up["sub"], given_up["amr"]) == ("access_denied", None, [])
    assert (refused["reason"], refused["levelname"]) == ("invalid_grant", "WARNING")


def test_an_answer_that_is_refused_and_a_person_whom_the_app_refuses_are_events(
    provider, tmp_path, caplog, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", provider.ca_file)
    caplog.set_level("INFO")
    app, auth = flask.Flask("app"), Auth()
    settings = {**CLIENT, "OIDC_AUTHORITY": provider.url, "SESSION_FILE_DIR": str(tmp_path / "sessions")}
    app.config.update({f"ENTRA_{name}": value for name, value in settings.items()})

    @auth.on_sign_in
    def refuse(claims):
        raise SignInRefused("This account is closed.")

    auth.init_app(app)
    browser = Browser(app, provider)
    browser.sign_in()
    provider.claims = {"aud": "another app"}
    browser.sign_in()
    browser.get("/getAToken?error=access_denied&state=forged")
    told = [(each.event, each.sub, each.reason) for each in caplog.records if each.name == NAME]
    assert told[0] == ("sign_in_refused", "alice", "by the app: This account is closed.")
    assert told[1][:2] == ("sign_in_refused", None)
    assert "aud" in told[1][2].lower()
    assert told[2] == ("sign_in_refused", None, "no_sign_in_begun")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nobody_writes_a_line_of_their_own_or_a_secret_into_it(capsys, visit, provider, log_format):
    forged = "x\n2026-01-01 INFO 1 flask_entra.audit - Signed in: oid=admin\x1b[31m"
    provider.claims = {"amr": [forged, {"a": forged}], "acr": forged * 9, "sub": "alice" + "e" * 90}
    browser = visit(LOG_FORMAT=log_format, TRUSTED_PROXY_COUNT="1")
    base = {"base_url": "http://localhost:5000", "headers": {"X-Forwarded-For": forged.replace("\n", "\t") + "y" * 500}}
    query = browser.begin()
    browser.client.get("/getAToken", query_string={"code": query["nonce"], "state": query["state"]}, **base)
    query = browser.begin()
    browser.client.get("/getAToken", query_string={"error": forged, "state": query["state"]}, **base)
    text = capsys.readouterr().err
    assert len(re.findall(rf"(?m)^.{{30,80}} {NAME} |\"name\": \"{NAME}\"", text)) == 2
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01")]
    assert "\x1b" not in text
    for secret in (query["nonce"], query["state"], "access-", "refresh-", CLIENT["CLIENT_SECRET"], "eyJ"):
        assert secret not in text
    if log_format == "json":
        for event in filter(lambda event: event["name"] == NAME, map(json.loads, re.findall("(?m)^{.*", text))):
            assert all(len(str(event[name])) < 600 and str(event[name]).isprintable() for name in documented()[1])

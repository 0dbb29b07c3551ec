"""Each recipe of docs/views.md, at the sandbox."""

import io
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from programs import until
from visitor import Page, Visitor

from sandbox.faults import Answer, Close, Reset

SCOPE = "User.ReadWrite Mail.Read Mail.Send Calendars.ReadWrite Files.ReadWrite"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def app(serve, box):
    settings = {"ORDERS_URL": box.orders_url, "ORDERS_SCOPE": box.orders_scope}
    return serve(flask_app=ROOT / "tests" / "cookbook", SCOPE=SCOPE, **settings)


@pytest.fixture
def person(app):
    """Somebody who is signed in, and has agreed to all that the recipes need."""
    person = Visitor(app.url)
    assert person.sign_in(path="/count").status_code == 200
    return person


def sent(person, path, **kwargs):
    """The answer to a form of the app's own."""
    return person.request("POST", person.url + path, headers=OURS, allow_redirects=False, timeout=30, **kwargs)


def test_a_list_page_after_page(person, box):
    box.person("adele").mails = 120
    found = person.get("/mail").json()
    assert len(found) == 120
    assert len(box.seen("messages")) == 3


def test_several_at_once_of_which_one_is_refused(person, box):
    assert person.go_on(person.get("/overview")).json() == {"name": "Adèle Vance", "mails": 2, "events": 0}
    box.misbehave("events", Answer(403, {"error": {"code": "ErrorAccessDenied", "message": "no"}}))
    assert person.get("/overview").json()["events"] == 0


def test_a_form_changes_the_profile(person, box):
    answer = sent(person, "/phone", data={"phone": "+33 1 23 45 67 89"})
    assert answer.headers["Location"] == "/phone"
    page = person.get("/phone")
    assert 'value="+33 1 23 45 67 89"' in page.text
    assert "Your number has been changed." in Page(page.text).text
    assert box.person("adele").profile["mobilePhone"] == "+33 1 23 45 67 89"


def test_a_form_of_another_site_changes_nothing(person, box):
    before = box.person("adele").profile["mobilePhone"]
    for headers in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}):
        answer = person.request("POST", f"{person.url}/phone", headers=headers, data={"phone": "0"})
        assert answer.status_code == 403
    assert box.person("adele").profile["mobilePhone"] == before


def test_an_event_is_made_and_is_changed_only_as_it_was_seen(person, box):
    times = {"start": "2026-12-01T09:00:00", "end": "2026-12-01T10:00:00"}
    event = sent(person, "/events", data={"subject": "Figures", **times}).json()
    changed = sent(person, f"/events/{event['id']}", data={"subject": "Numbers", "etag": event["etag"]})
    assert changed.json()["etag"] != event["etag"]
    late = sent(person, f"/events/{event['id']}", data={"subject": "Late", "etag": event["etag"]})
    assert late.status_code == 409
    assert "Somebody else has changed this in the meantime" in late.text


MAIL = {"to": "alex.wilber@contoso.example", "subject": "Lunch", "text": "At one?"}


def test_a_mail_is_sent_once(person, box):
    assert sent(person, "/send", data=MAIL).text == "The mail has been sent."
    assert [each["subject"] for each in box.sent_mail] == ["Lunch"]


def test_a_mail_of_which_nobody_knows_whether_it_was_sent_is_not_sent_again(person, box):
    box.misbehave("send_mail", Close())
    answer = sent(person, "/send", data=MAIL)
    assert answer.status_code == 504
    assert "look into Sent Items" in answer.text
    assert len(box.seen("send_mail")) == 1


def test_a_mail_with_a_token_that_graph_refuses_is_sent_with_another(person, box):
    box.misbehave("send_mail", Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "no"}}))
    assert sent(person, "/send", data=MAIL).status_code == 200
    first, second = box.seen("send_mail")
    assert first.headers["Authorization"] != second.headers["Authorization"]


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_a_file_goes_there_and_comes_back(person, box, size):
    content = b"x" * size
    assert sent(person, "/files", files={"file": ("a.txt", io.BytesIO(content))}).json() == {
        "name": "a.txt",
        "size": size,
    }
    answer = person.go_on(person.get("/files/a.txt"))
    assert answer.content == content
    assert answer.headers["Content-Disposition"] == "attachment"
    page = person.get("/files/none.txt")
    assert page.status_code == 404
    assert "Graph does not have what this page asks for" in page.text
    assert "Profile" not in Page(page.text).heading


@pytest.mark.parametrize("file", [("", b""), ("empty.txt", b""), ("..", b"x")])
def test_a_form_without_a_file_is_told_to_choose_one(person, box, file):
    answer = sent(person, "/files", files={"file": (file[0], io.BytesIO(file[1]))})
    assert (answer.status_code, "Choose a file that is not empty." in answer.text) == (400, True)
    assert not box.seen("upload")


def test_an_upload_of_100_megabytes_goes_on_where_it_was_cut_off(person, box):
    faults = iter([None, Close(), None, Reset(), Answer(500, {})])
    box.misbehave(
        "upload", lambda environ: next(faults, None) if environ["REQUEST_METHOD"] == "PUT" else None, times=None
    )
    answer = sent(person, "/files", files={"file": ("film.mp4", io.BytesIO(bytes(100_000_000)))})
    assert answer.json() == {"name": "film.mp4", "size": 100_000_000}


def test_a_second_api_and_the_apps_own_permissions(person, box):
    assert [each["item"] for each in person.go_on(person.get("/orders")).json()] == ["Two chairs", "A lamp"]
    box.may_read_applications = True
    assert person.get("/roles").json() == sorted(box.app_roles)


def test_a_webhook_is_open_to_programs(app):
    stranger = Visitor(app.url)
    answer = stranger.post(f"{app.url}/notifications?validationToken=abc", timeout=9)
    assert (answer.text, answer.headers["Content-Type"].partition(";")[0]) == ("abc", "text/plain")
    states = ("as-the-subscription-was-made-with", "forged", None)
    told = [{"resource": f"me/messages/{n}", "clientState": state} for n, state in enumerate(states)]
    assert stranger.post(f"{app.url}/notifications", json={"value": told}, timeout=9).status_code == 202


def test_work_in_the_background_has_the_persons_mails(person):
    assert sent(person, "/count").status_code == 202
    until(lambda: person.get("/count").json()["count"] == 2)


@pytest.mark.parametrize("page", ["views.md", "views.fr.md"])
def test_the_imports_of_the_page_are_those_that_its_blocks_need(page):
    first, *blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--output-format", "concise", "-"]
    options = {"capture_output": True, "text": True, "timeout": 30}
    code = "\n".join([first, *blocks])
    undefined = subprocess.run([*check, "--select", "F821,F401"], input=code, **options)
    # Blueprints and objects of the apps that the blocks come from.
    own = {"mail", "staff", "api", "board", "CDN", "STATE", "counts", "GraphServiceClient"}
    assert set(re.findall(r"F\d+ .*`(.+?)`", undefined.stdout)) <= own, undefined.stdout

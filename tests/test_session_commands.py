"""`flask sessions list` and `revoke`, and what a person sees and ends of their own sessions."""

import json

import pytest
from fake_provider import Browser
from visitor import Page

from flask_entra.sessions.files import FileStore
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signin.current_user import USER

ALICE = "5e1d3a3a-1f0e-4a5c-8f39-0d5a4d0c7a01"


@pytest.fixture(params=["files", "redis"])
def app_at(request, visit):
    """Makes the app, in this process, with one store or the other; two people are signed in, one of them twice."""
    settings = {} if request.param == "files" else {"REDIS_URL": request.getfixturevalue("redis_server").url}
    return visit(**settings)


def people(first):
    provider = first.provider
    provider.claims = {"oid": ALICE, "preferred_username": "Alice@contoso.example"}
    first.sign_in()
    second = Browser(first.app, provider)
    second.client.environ_base["HTTP_USER_AGENT"] = "Lynx/2.9 \x1b[31m" + "x" * 300
    second.sign_in()
    provider.claims, provider.userinfo = {"sub": "bob", "preferred_username": "bob@contoso.example"}, {"sub": "bob"}
    bob = Browser(first.app, provider)
    bob.sign_in()
    return first, second, bob


def run(browser, *args):
    result = browser.app.test_cli_runner().invoke(args=["sessions", *args])
    return result.exit_code, result.output


def test_an_administrator_lists_and_ends_the_sessions_of_one_person(app_at):
    first, second, bob = people(app_at)
    status, printed = run(first, "list", "--user", ALICE.upper())
    assert status == 0
    assert printed.endswith("2 sessions.\n")
    assert "Alice@contoso.example" in printed
    assert "Lynx/2.9 [31mxxx" in printed  # no control character
    status, printed = run(first, "list", "--all", "--json")
    listed = json.loads(printed)
    assert sorted(each["user"] for each in listed["sessions"]) == ["Alice@contoso.example"] * 2 + [
        "bob@contoso.example"
    ]
    assert listed["not_in_the_index"] == 0
    assert all(each["began"].endswith("+00:00") and len(each["session"]) == 8 for each in listed["sessions"])
    assert run(first, "revoke", "--user", "alice@CONTOSO.example") == (0, "2 sessions ended.\n")
    assert [each.signed_in for each in (first, second, bob)] == [False, False, True]
    assert run(first, "revoke", "--user", "alice@contoso.example", "--json") == (
        0,
        '{"ended": 0, "not_in_the_index": 0}\n',
    )
    assert run(first, "revoke", "--all") == (0, "1 session ended.\n")
    assert not bob.signed_in
    assert run(first, "list", "--all") == (0, "0 sessions.\n")


def test_a_role_taken_away_works_at_once_when_the_sessions_are_ended(visit, provider):
    provider.claims = {"roles": ["Orders.Approve"]}
    browser = visit()
    browser.sign_in()
    assert "Orders.Approve" in browser.get("/account").text
    run(browser, "revoke", "--user", "alice")
    provider.claims = {}
    browser.sign_in("/account")
    assert "Orders.Approve" not in browser.get("/account").text


def test_sessions_that_the_index_does_not_know_are_counted_and_explained_and_stay(visit, tmp_path):
    browser = visit()
    other = Session(FileStore(tmp_path / "sessions"), 3600, None, owner="another app")
    other[USER] = {"iss": "https://elsewhere.example", "sub": "alice"}
    other.save()
    browser.sign_in()
    status, printed = run(browser, "revoke", "--all")
    assert status == 0
    assert printed.startswith("1 session ended.\n1 session more in the store, whose owner is not known: of another app")
    assert json.loads(run(browser, "list", "--all", "--json")[1]) == {"sessions": [], "not_in_the_index": 1}
    assert other.is_stored()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list"], "Say whose sessions"),
        (["revoke"], "Say whose sessions"),
        (["revoke", "--user", "alice", "--all"], "Say whose sessions"),
        (["revoke", "--user", " "], "--user is empty"),
    ],
)
def test_a_command_that_does_not_say_whose_ends_nobodys(visit, args, says):
    browser = visit()
    browser.sign_in()
    status, printed = run(browser, *args)
    assert status == 2
    assert says in printed
    assert browser.signed_in


def test_a_store_that_fails_is_one_line(visit, monkeypatch):
    browser = visit()
    browser.sign_in()

    def fail(*_):
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(FileStore, "all_notes", fail)
    status, printed = run(browser, "revoke", "--all")
    assert (status, printed) == (1, "Error: Redis does not answer. What was done so far is done; run it again.\n")


# --- The person's own ---------------------------------------------------------------------------------------------------


def account(browser):
    page = browser.get("/account").text
    return Page(page.partition('<ul class="sessions">')[2].partition("</ul>")[0]).items


def test_a_person_sees_their_sessions_and_signs_out_everywhere(app_at, caplog):
    first, second, bob = people(app_at)
    items = account(first)
    assert len(items) == 2
    assert [item.startswith("This session") for item in items].count(True) == 1
    assert any("Lynx/2.9 [31mxxx" in item for item in items)
    assert len(account(bob)) == 1
    headers = {"Origin": "http://localhost:5000", "Sec-Fetch-Site": "same-origin"}
    first.client.post("/logout", base_url="http://localhost:5000", headers=headers, data={"everywhere": "1"})
    assert [each.signed_in for each in (first, second, bob)] == [False, False, True]
    assert caplog.text.count("(everywhere sign-out)") == 1


def test_another_site_cannot_sign_a_person_out_everywhere(visit):
    browser = visit()
    browser.sign_in()
    headers = {"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"}
    browser.client.post("/logout", base_url="http://localhost:5000", headers=headers, data={"everywhere": "1"})
    assert browser.signed_in
    assert browser.get("/logout?everywhere=1").status_code in (
        302,
        303,
    )  # a typed address signs out here, and nowhere else


def test_a_browser_that_says_nothing_is_not_guessed(visit):
    browser = visit()
    browser.client.environ_base["HTTP_USER_AGENT"] = ""
    browser.sign_in()
    assert account(browser)[0].endswith("Browser not known")

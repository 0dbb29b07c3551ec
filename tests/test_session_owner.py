"""A session is of one app: no other that shares the store takes its cookie, nor does the app itself once it is another."""

import uuid

import pytest
from conftest import ROOT
from visitor import REDIRECTS, Visitor, cookie_name

OTHER_TENANT = str(uuid.uuid4())


@pytest.fixture(params=["files", "redis"])
def store(request):
    """The settings of the store that the apps share."""
    return {} if request.param == "files" else {"REDIS_URL": request.getfixturevalue("redis_server").url}


@pytest.fixture
def approver(serve, box, store):
    """Somebody who is signed in at an app, and may open its page for approvers."""
    box.assign("adele", "Orders.Approve")
    app = serve(flask_app=ROOT / "tests" / "own_app", **store)
    person = Visitor(app.url)
    assert person.sign_in(path="/staff/approvals").text == "Adèle Vance may approve orders."
    return person


def ask(person, serve, store, path="/staff/approvals", **settings):
    """What an app with other settings answers to the same browser, which calls the cookie as that app does."""
    other = serve(flask_app=ROOT / "tests" / "own_app", **store, **settings)
    return person.get(other.url + path, follow=False, cookies=own_cookie(person, other)), other


def own_cookie(person, other):
    return {cookie_name(other): next(each.value for each in person.cookies if each.name.startswith("session-"))}


@pytest.mark.parametrize(
    "changed",
    [
        {"CLIENT_ID": str(uuid.uuid4())},
        {"CLIENT_ID": str(uuid.uuid4()), "CLIENT_SECRET": "another's", "SECRET_KEY": "another's"},
        {"AUTHORITY": f"https://localhost:1/{OTHER_TENANT}"},
        {"AUTHORITY": "https://login.microsoftonline.us/common"},
        {"AUTHORITY": None, "OIDC_AUTHORITY": "https://localhost:1/realms/one"},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_the_cookie_of_one_app_is_of_no_use_at_another(approver, serve, box, store, changed):
    asked = len(box.seen("messages"))
    for path in ("/staff/approvals", "/staff/news", "/mail/newest.json"):
        answer, other = ask(approver, serve, store, path, **changed)
        assert answer.status_code in (*REDIRECTS, 401, 502, 503), answer.text
        assert "Vance" not in answer.text
        assert "does not open" not in other.log()
    assert len(box.seen("messages")) == asked
    assert approver.get("/staff/approvals").status_code == 200  # and its own app still takes it


@pytest.mark.parametrize("written", ["{}/", "upper"])
def test_the_same_app_written_otherwise_is_the_same_app(approver, serve, box, store, written):
    authority = box.settings["AUTHORITY"]
    host, tenant = authority.rsplit("/", 1)
    authority = f"{host}/{tenant.upper()}" if written == "upper" else written.format(authority)
    answer, _ = ask(approver, serve, store, AUTHORITY=authority)
    assert answer.status_code == 200


def test_a_new_secret_and_a_new_key_sign_nobody_out(approver, serve, store):
    answer, _ = ask(approver, serve, store, CLIENT_SECRET="Kc8~another", SECRET_KEY="k" * 32)
    assert answer.status_code == 200


def test_a_person_whose_tenant_is_no_longer_allowed_is_signed_out(serve, box, store):
    common = {"AUTHORITY": box.authority("common"), **store}
    app = serve(**common)
    person = Visitor(app.url)
    assert person.sign_in().status_code == 200
    wider = serve(**common, ALLOWED_TENANTS=f"{OTHER_TENANT},{box.tenant_id.upper()}")
    assert 'action="/logout"' in person.get(wider.url, cookies=own_cookie(person, wider)).text
    narrower = serve(**common, ALLOWED_TENANTS=OTHER_TENANT)
    for path in ("/call_graph", "/photo", "/account"):
        cookies = own_cookie(person, narrower)
        assert person.get(narrower.url + path, follow=False, cookies=cookies).status_code in (*REDIRECTS, 401)
    assert 'action="/logout"' not in person.get(narrower.url).text
    assert "the tenant is no longer one of ALLOWED_TENANTS" in narrower.log()
    assert box.seen("me") == box.seen("photo") == []
    assert not person.signed_in  # what was stored of the person is gone

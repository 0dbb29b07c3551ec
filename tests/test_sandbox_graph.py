"""The sandbox's Graph, over real HTTP, as apps use it that write: what it does, and what it refuses as Graph would."""

import base64
import concurrent.futures
import hashlib
import http.client
import json
import ssl
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from test_sandbox import REDIRECT_URI, SCOPE
from test_sandbox import Visitor as Browser
from visitor import Page

from sandbox import Person, Sandbox
from sandbox.entra.scopes import GRAPH, GRAPH_ID
from sandbox.faults import Answer, Close
from sandbox.people import profile

EVERYTHING = " ".join(GRAPH)
START = {"dateTime": "2026-03-01T09:00:00", "timeZone": "UTC"}
END = {"dateTime": "2026-03-01T10:00:00", "timeZone": "UTC"}
EVENT = {"subject": "Stand-up", "start": START, "end": END}
LETTER = {
    "subject": "Hello",
    "body": {"contentType": "html", "content": "<p>Good <b>morning</b></p>"},
    "toRecipients": [{"emailAddress": {"address": "ALEX@contoso.onmicrosoft.com"}}],
}


class Client(requests.Session):
    """An app with an access token.

    :param box: the sandbox.
    :param person: the key of the person who is signed in.
    :param scopes: the token's scopes.
    """

    def __init__(self, box, person="adele", scopes=EVERYTHING):
        super().__init__()
        self.trust_env, self.verify, self.box = False, box.ca_file, box
        now = int(time.time())
        claims = {"aud": GRAPH_ID, "nbf": now - 5, "exp": now + 600, "scp": scopes, "oid": box.person(person).oid}
        self.token = box.sign(claims)

    def call(self, method, path, version="v1.0", **options):
        """Call Graph, or a whole URL of it."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = path if path.startswith("https:") else f"{self.box.back_url}/{version}{path}"
        return self.request(method, url, headers=headers, allow_redirects=False, timeout=9, **options)


@pytest.fixture(scope="module")
def running():
    with Sandbox(redirect_uris=(REDIRECT_URI,)) as box:
        yield box


@pytest.fixture
def box(running):
    running.reset()
    return running


@pytest.fixture
def app(box):
    with Client(box) as client:
        yield client


def refused(response, status, code):
    """Hold an error against the form that each of Graph's has."""
    assert response.headers["Content-Type"].startswith("application/json"), response.text
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), response.text
    assert error["message"]
    assert error["innerError"]["request-id"] == response.headers["request-id"]
    return error


# Who may do what

ENDPOINTS = [
    ("GET", "/me", {"User.Read", "User.ReadWrite"}, 200),
    ("PATCH", "/me", {"User.ReadWrite"}, 204),
    ("POST", "/me/checkMemberGroups", {"User.Read", "User.ReadWrite"}, 400),
    ("GET", "/me/messages", {"Mail.Read"}, 200),
    ("GET", "/me/messages/none", {"Mail.Read"}, 404),
    ("POST", "/me/sendMail", {"Mail.Send"}, 400),
    ("GET", "/me/events", {"Calendars.Read", "Calendars.ReadWrite"}, 200),
    ("POST", "/me/events", {"Calendars.ReadWrite"}, 400),
    ("GET", "/me/events/none", {"Calendars.Read", "Calendars.ReadWrite"}, 404),
    ("PATCH", "/me/events/none", {"Calendars.ReadWrite"}, 404),
    ("DELETE", "/me/events/none", {"Calendars.ReadWrite"}, 404),
    ("GET", "/me/people", {"People.Read"}, 200),
    ("GET", "/me/drive/root/children", {"Files.Read", "Files.ReadWrite"}, 200),
    ("GET", "/me/drive/root:/none:/content", {"Files.Read", "Files.ReadWrite"}, 404),
    ("PUT", "/me/drive/root:/a.txt:/content", {"Files.ReadWrite"}, 201),
    ("POST", "/me/drive/root:/a.txt:/createUploadSession", {"Files.ReadWrite"}, 200),
    ("GET", "/users", {"User.ReadBasic.All"}, 200),
]
IDS = [f"{method} {path}" for method, path, *_ in ENDPOINTS]


@pytest.mark.parametrize(("method", "path", "scopes", "status"), ENDPOINTS, ids=IDS)
def test_each_endpoint_needs_one_of_its_scopes(box, method, path, scopes, status):
    body = {} if method in ("POST", "PUT", "PATCH") else None
    for scope in scopes:
        with Client(box, scopes=f"openid {scope}") as client:
            for version in ("v1.0", "beta"):
                answer = client.call(method, path, version, json=body)
                assert answer.status_code == (200 if answer.status_code == 200 and status == 201 else status)
                assert answer.headers["request-id"]
    with Client(box, scopes=" ".join(set(GRAPH) - scopes)) as client:
        refused(client.call(method, path, json=body), 403, "Authorization_RequestDenied")
    answer = client.call(method, path, json=body, headers={"Authorization": "Bearer "})
    refused(answer, 401, "InvalidAuthenticationToken")
    assert "authorization_uri" in answer.headers["WWW-Authenticate"]


def test_every_scope_has_an_endpoint_and_a_sentence_of_microsofts(box):
    assert set(GRAPH) == set().union(*(scopes for _, _, scopes, _ in ENDPOINTS))
    with Browser(box) as browser:
        scope = f"{SCOPE} Mail.Send Calendars.ReadWrite Files.ReadWrite"
        consent = browser.press(browser.ask(scope=scope), "person", "adele")
        assert Page(consent.text).items[-3:] == [
            "Send mail as you",
            "Have full access to your calendars",
            "Have full access to your files",
        ]
        tokens = browser.tokens(scope=scope)
        assert browser.me(tokens["access_token"], "/events").json()["value"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/me", 405),
        ("OPTION", "/me", 405),
        ("GET", "/me/sendMail", 405),
        ("POST", "/me/messages", 405),
        ("PUT", "/me/events/1", 405),
        ("DELETE", "/me/drive/root:/a:/content", 405),
        ("TRACE", "/me/events", 405),
        ("GET", "", 400),
        ("GET", "/", 400),
        ("GET", "//me", 400),
        ("GET", "/me/", 400),
        ("GET", "/me/events/", 400),
        ("GET", "/me/%0Aevents", 400),
        ("GET", "/%ff%fe/%00", 400),
        ("PATCH", "/users/somebody", 400),
        ("GET", "/oauth2/v2.0/token", 400),
        ("GET", "/v2.0/.well-known/openid-configuration", 400),
        ("GET", "/me/drive/root:/:/content", 400),
        ("GET", "/$batch", 405),
        ("OPTION", "/$metadata", 405),
    ],
)
@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_what_is_not_there_is_graphs_json_and_never_a_page(app, method, path, status, version):
    answer = app.call(method, path, version)
    refused(answer, status, "BadRequest" if status == 400 else "Request_BadRequest")
    assert answer.headers["x-ms-ags-diagnostic"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/me", {"mobilePhone": "1"}),
        ("POST", "/me/sendMail", {"message": LETTER}),
        ("POST", "/me/events", EVENT),
        ("POST", "/me/events", {}),
        ("GET", "/nowhere", None),
    ],
)
def test_the_clients_request_id_comes_back_on_every_answer(app, method, path, body):
    answer = app.call(method, path, json=body, headers={"client-request-id": "mine"})
    assert answer.headers["client-request-id"] == "mine"
    assert answer.headers["request-id"] not in ("", "mine")


BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "NaN": b'{"a": NaN}',
    "beyond a float": b'{"a": 1e999}',
    "a long number": b'{"a": ' + b"9" * 5000 + b"}",
    "half a pair": b'{"a": "\\ud800"}',
    "no UTF-8": b'{"a": "\xff"}',
    "deep": b'{"a": ' * 100_000,
    "fairly deep": b'{"a": ' * 50 + b"1" + b"}" * 50,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_no_json_object_is_refused(app, body):
    for method, path in (
        ("PATCH", "/me"),
        ("POST", "/me/sendMail"),
        ("POST", "/me/events"),
        ("POST", "/$batch"),
        ("POST", "/me/checkMemberGroups"),
    ):
        refused(app.call(method, path, data=body, headers={"Content-Type": "application/json"}), 400, "BadRequest")
    refused(app.call("PATCH", "/me", data=b"{}", headers={"Content-Type": "text/plain"}), 400, "BadRequest")


# The profile


def test_a_change_of_the_profile_lasts_until_the_sandbox_is_reset(box, app):
    answer = app.call("PATCH", "/me", json={"mobilePhone": "+1 1", "businessPhones": ["+1 2"], "officeLocation": None})
    assert (answer.status_code, answer.content) == (204, b"")
    assert "html" not in answer.headers.get("Content-Type", "")
    me = app.call("GET", "/me").json()
    assert (me["mobilePhone"], me["businessPhones"], me["officeLocation"]) == ("+1 1", ["+1 2"], None)
    assert app.call("PATCH", "/me", json={"aboutMe": "Likes tea", "skills": ["tea"]}).status_code == 204
    assert "aboutMe" not in app.call("GET", "/me").json()
    asked = app.call("GET", "/me?$select=aboutMe,department,mobilePhone").json()
    assert (asked["aboutMe"], asked["department"], asked["mobilePhone"]) == ("Likes tea", None, "+1 1")
    box.reset()
    me = app.call("GET", "/me?$select=aboutMe,mobilePhone").json()
    assert (me["aboutMe"], me["mobilePhone"]) == (None, "+1 425 555 0100")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"coffee": 1}, 400, "Request_BadRequest"),
        ({"id": "x"}, 400, "Request_BadRequest"),
        ({"mobilePhone": 5}, 400, "Request_BadRequest"),
        ({"mobilePhone": "1" * 65}, 400, "Request_BadRequest"),
        ({"businessPhones": "1"}, 400, "Request_BadRequest"),
        ({"businessPhones": ["1", "2"]}, 400, "Request_BadRequest"),
        ({"businessPhones": [None]}, 400, "Request_BadRequest"),
        ({"displayName": None}, 400, "Request_BadRequest"),
        ({"aboutMe": "x", "jobTitle": "y"}, 400, "Request_BadRequest"),
        ({"accountEnabled": False}, 403, "Authorization_RequestDenied"),
        ({"userPrincipalName": "root@contoso.onmicrosoft.com"}, 403, "Authorization_RequestDenied"),
    ],
)
def test_a_change_of_the_profile_that_does_not_do_changes_nothing(app, change, status, code):
    before = app.call("GET", "/me").json()
    refused(app.call("PATCH", "/me", json={"city": "Oslo", **change}), status, code)
    assert app.call("GET", "/me").json() == before
    assert app.call("GET", "/me?$select=city").json()["city"] is None


# Mail


def test_a_mail_that_is_sent_arrives(box, app):
    attachment = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": "a.txt",
        "contentBytes": base64.b64encode(b"hi").decode(),
    }
    message = {**LETTER, "attachments": [attachment], "bccRecipients": [{"emailAddress": {"address": "x@y.example"}}]}
    answer = app.call("POST", "/me/sendMail", json={"message": message})
    assert (answer.status_code, answer.content) == (202, b"")
    (sent,) = box.sent_mail
    assert (sent["subject"], sent["attachments"], sent["bodyPreview"]) == ("Hello", [attachment], "Good morning")
    assert box.person("adele").sent == [sent]
    with Client(box, "alex") as alex:
        first, *others = alex.call("GET", "/me/messages").json()["value"]
        assert len(others) == 2
        assert alex.call("GET", f"/me/messages/{first['id']}?$select=subject").json()["subject"] == "Hello"
    assert first["from"]["emailAddress"] == {"name": "Adèle Vance", "address": "adele@contoso.onmicrosoft.com"}
    assert (first["isRead"], first["hasAttachments"], first["bccRecipients"]) == (False, True, [])
    assert "attachments" not in first
    own = app.call("GET", "/me/messages").json()["value"][0]
    assert (own["subject"], own["parentFolderId"]) == ("Hello", "sentitems")
    app.call("POST", "/me/sendMail", json={"Message": LETTER, "SaveToSentItems": False})
    assert len(app.call("GET", "/me/messages").json()["value"]) == 3
    assert len(box.sent_mail) == 2
    box.reset()
    assert box.sent_mail == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "ErrorInvalidParameter"),
        ({"message": None}, 400, "ErrorInvalidParameter"),
        ({"message": "Hello"}, 400, "RequestBodyRead"),
        ({"message": LETTER, "later": True}, 400, "RequestBodyRead"),
        ({"message": LETTER, "saveToSentItems": "no"}, 400, "RequestBodyRead"),
        ({"message": {}}, 400, "ErrorInvalidRecipients"),
        ({"message": {**LETTER, "toRecipients": [{}]}}, 400, "ErrorInvalidRecipients"),
        (
            {"message": {**LETTER, "ccRecipients": [{"emailAddress": {"address": "a@b;c@d"}}]}},
            400,
            "ErrorInvalidRecipients",
        ),
        ({"message": {**LETTER, "toRecipients": LETTER["toRecipients"][0]}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "toRecipients": [None]}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "toRecipients": ["alex@contoso.onmicrosoft.com"]}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "body": "Hello"}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "body": {"contentType": "markdown"}}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "subject": 0}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "subjekt": ""}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "attachments": [{"contentBytes": "?"}]}}, 400, "RequestBodyRead"),
        ({"message": {**LETTER, "from": {"emailAddress": {"address": "alex@x.example"}}}}, 403, "ErrorSendAsDenied"),
    ],
)
def test_a_mail_that_does_not_do_is_not_sent(box, app, body, status, code):
    refused(app.call("POST", "/me/sendMail", json=body), status, code)
    assert box.sent_mail == []


# Pages


def pages(app, path, **options):
    """All pages of a collection."""
    while path:
        body = app.call("GET", path, **options).json()
        yield body
        path = body.get("@odata.nextLink")


def test_ten_thousand_mails_come_in_pages(box, app):
    box.person("adele").mails = 10_000
    app.call("POST", "/me/sendMail", json={"message": LETTER})
    first = app.call("GET", "/me/messages").json()
    assert len(first["value"]) == 10
    assert first["@odata.nextLink"] == f"{box.back_url}/v1.0/me/messages?$skip=10"
    everything = list(pages(app, "/me/messages?$top=999&$select=subject&$count=true"))
    assert [len(body["value"]) for body in everything] == [999] * 10 + [11]
    assert {body["@odata.count"] for body in everything} == {10_001}
    link = parse_qs(urlsplit(everything[0]["@odata.nextLink"]).query)
    assert link == {"$top": ["999"], "$select": ["subject"], "$count": ["true"], "$skip": ["999"]}
    mails = [mail for body in everything for mail in body["value"]]
    assert len({mail["id"] for mail in mails}) == 10_001
    assert [mail["subject"] for mail in mails[:3]] == ["Hello", "Quarterly figures", "Lunch on Friday?"]
    last = app.call("GET", f"/me/messages/{mails[-1]['id']}").json()
    assert last["subject"] == "Newsletter 10000"
    assert app.call("GET", "/me/messages?$skip=10001").json()["value"] == []
    box.person("adele").mails = 9_999
    refused(app.call("GET", f"/me/messages/{last['id']}"), 404, "ErrorItemNotFound")


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_everybody_comes_in_pages_and_is_counted_once(box, app, version):
    for number in range(250 - len(box.people)):
        key = f"person{number}"
        box.people[key] = Person(key, "One of many", profile(key, None, None, key))
    assert [len(body["value"]) for body in pages(app, f"{box.back_url}/{version}/users")] == [100, 100, 50]
    advanced = {"headers": {"ConsistencyLevel": "eventual"}}
    everything = list(pages(app, f"{box.back_url}/{version}/users?$count=true&$top=200&$select=id", **advanced))
    assert [body.get("@odata.count") for body in everything] == [250, None]
    assert everything[0]["@odata.nextLink"].startswith(
        f"{box.back_url}/{version}/users?$count=true&$top=200&$select=id&"
    )
    assert everything[0]["@odata.context"].startswith(f"{box.back_url}/{version}/")
    assert len({person["id"] for body in everything for person in body["value"]}) == 250


def test_people_events_and_files_come_in_pages(box, app):
    others = [person for body in pages(app, "/me/people?$top=3") for person in body["value"]]
    assert len(others) == len(box.people) - 1
    assert others[0]["scoredEmailAddresses"][0]["address"] == "alex@contoso.onmicrosoft.com"
    for number in range(12):
        app.call("POST", "/me/events", json={**EVENT, "subject": str(number)})
        app.call("PUT", f"/me/drive/root:/{number:02}.txt:/content", data=b"x")
    assert [len(body["value"]) for body in pages(app, "/me/events")] == [10, 2]
    names = [[file["name"] for file in body["value"]] for body in pages(app, "/me/drive/root/children?$top=7")]
    assert names == [[f"{number:02}.txt" for number in range(7)], [f"{number:02}.txt" for number in range(7, 12)]]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/me?$select=coffee", "BadRequest"),
        ("/me?$top=1", "BadRequest"),
        ("/me/messages?$select=coffee", "BadRequest"),
        ("/me/messages?$select=subject&$select=id", "BadRequest"),
        ("/me/messages?$top=1001", "BadRequest"),
        ("/me/messages?$top=" + "9" * 5000, "BadRequest"),
        ("/me/messages?$top=%D9%A3", "BadRequest"),
        ("/me/messages?$skip=-1", "BadRequest"),
        ("/me/messages?$skiptoken=x", "BadRequest"),
        ("/me/messages?$count=perhaps", "BadRequest"),
        ("/me/messages?$orderby=subject", "BadRequest"),
        ("/me/events?$filter=isAllDay", "BadRequest"),
        ("/me/events/x?$expand=attachments", "BadRequest"),
        ("/me/people?$search=x", "BadRequest"),
        ("/me/drive/root/children?$select=coffee", "BadRequest"),
        ("/users?$top=1000", "BadRequest"),
        ("/users?$skip=1", "BadRequest"),
        ("/users?$filter=id eq 'x'", "BadRequest"),
        ("/users?$skiptoken=x", "Request_BadRequest"),
        ("/users?$skiptoken=%C3%A9", "Request_BadRequest"),
        ("/users?$count=true", "Request_UnsupportedQuery"),
        ('/users?$search="displayName:ad"', "Request_UnsupportedQuery"),
    ],
)
def test_a_query_option_that_does_not_do_is_refused(app, path, code):
    refused(app.call("GET", path), 400, code)
    if "$search" in path and "users" in path:
        refused(app.call("GET", path, headers={"ConsistencyLevel": "eventual"}), 400, code)


# The calendar


def test_an_event_is_made_read_changed_and_deleted(box, app):
    made = app.call("POST", "/me/events", json={**EVENT, "location": {"displayName": "Room 1"}})
    event = made.json()
    assert (made.status_code, event["subject"], event["isAllDay"]) == (201, "Stand-up", False)
    assert event["start"] == {"dateTime": "2026-03-01T09:00:00.0000000", "timeZone": "UTC"}
    assert event["organizer"]["emailAddress"]["name"] == "Adèle Vance"
    read = app.call("GET", made.headers["Location"])
    assert read.json() == event
    path = f"/me/events/{event['id']}"
    # A client that sends a whole event back may do so.
    changed = app.call(
        "PATCH", path, json={**event, "subject": "Later", "body": {"content": "x", "contentType": "text"}}
    )
    assert (changed.status_code, changed.json()["subject"], changed.json()["bodyPreview"]) == (200, "Later", "x")
    assert changed.json()["@odata.etag"] != event["@odata.etag"]
    assert box.person("adele").events[event["id"]]["subject"] == "Later"
    assert list(app.call("GET", "/me/events?$select=subject").json()["value"][0]) == ["@odata.etag", "id", "subject"]
    with Client(box, "alex") as alex:
        refused(alex.call("GET", path), 404, "ErrorItemNotFound")
    gone = app.call("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    refused(app.call("DELETE", path), 404, "ErrorItemNotFound")


def test_an_event_that_somebody_else_has_changed_is_not_changed_again(app):
    event = app.call("POST", "/me/events", json=EVENT).json()
    path, old = f"/me/events/{event['id']}", {"If-Match": event["@odata.etag"]}
    new = app.call("PATCH", path, json={"subject": "2"}, headers=old).json()
    for method, body in (("PATCH", {"subject": "3"}), ("DELETE", None)):
        refused(app.call(method, path, json=body, headers=old), 412, "ErrorIrresolvableConflict")
    assert app.call("GET", path).json()["subject"] == "2"
    strong = {"If-Match": f'"x", {new["@odata.etag"].removeprefix("W/")}'}
    assert app.call("PATCH", path, json={"subject": "4"}, headers=strong).status_code == 200
    assert app.call("DELETE", path, headers={"If-Match": "*"}).status_code == 204


def test_of_several_changes_at_once_of_the_same_state_one_is_made(box, app):
    event = app.call("POST", "/me/events", json=EVENT).json()

    def change(number):
        with Client(box) as client:
            headers = {"If-Match": event["@odata.etag"]}
            return client.call("PATCH", f"/me/events/{event['id']}", json={"subject": "x"}, headers=headers).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(change, range(8))) == [200] + [412] * 7


def test_a_create_that_is_repeated_makes_no_second_event(app):
    body = {**EVENT, "transactionId": "one"}
    assert app.call("POST", "/me/events", json=body).status_code == 201
    refused(app.call("POST", "/me/events", json=body), 409, "ErrorDuplicateTransactionId")
    assert len(app.call("GET", "/me/events").json()["value"]) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"coffee": 1}, "RequestBodyRead"),
        ({"subject": ["x"]}, "RequestBodyRead"),
        ({"isAllDay": "yes"}, "RequestBodyRead"),
        ({"importance": "huge"}, "RequestBodyRead"),
        ({"reminderMinutesBeforeStart": 2**40}, "RequestBodyRead"),
        ({"attendees": [{"emailAddress": "x"}]}, "RequestBodyRead"),
        ({"location": "Room 1"}, "RequestBodyRead"),
        ({"recurrence": "daily"}, "RequestBodyRead"),
        ({"start": "2026-03-01"}, "RequestBodyRead"),
        ({"start": None}, "ErrorPropertyValidationFailure"),
        ({"start": {"dateTime": "tomorrow", "timeZone": "UTC"}}, "ErrorPropertyValidationFailure"),
        ({"start": {"dateTime": "2026-02-30T09:00:00", "timeZone": "UTC"}}, "ErrorPropertyValidationFailure"),
        ({"start": {"dateTime": "2026-03-01T09:00:00", "timeZone": ""}}, "ErrorPropertyValidationFailure"),
        ({"end": {"dateTime": "2026-02-01T09:00:00", "timeZone": "UTC"}}, "ErrorPropertyValidationFailure"),
    ],
)
def test_an_event_that_does_not_do_is_neither_made_nor_changed(app, change, code):
    event = app.call("POST", "/me/events", json=EVENT).json()
    refused(app.call("POST", "/me/events", json={**EVENT, **change}), 400, code)
    refused(app.call("PATCH", f"/me/events/{event['id']}", json=change), 400, code)
    context = event.pop("@odata.context")
    assert context.endswith("/events/$entity")
    assert app.call("GET", "/me/events").json()["value"] == [event]


# Files


def test_a_small_file_goes_up_and_comes_down_without_a_token(box, app):
    path, content = "/me/drive/root:/Größe%20%231.txt:/content", bytes(range(256)) * 100
    up = app.call("PUT", path, data=content, headers={"Content-Type": "text/plain"})
    item = up.json()
    assert (up.status_code, item["name"], item["size"]) == (201, "Größe #1.txt", 25_600)
    digest = hashlib.sha256(content).hexdigest()
    assert item["file"] == {"mimeType": "text/plain", "hashes": {"sha256Hash": digest.upper()}}
    down = app.call("GET", path)
    assert (down.status_code, down.content) == (302, b"")
    assert urlsplit(down.headers["Location"]).path.split("/")[1] not in ("v1.0", "beta")
    assert item["@microsoft.graph.downloadUrl"] == down.headers["Location"]
    got = app.get(down.headers["Location"])
    assert (got.content, got.headers["Content-Type"]) == (content, "text/plain")
    part = app.get(down.headers["Location"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    refused(app.get(down.headers["Location"], headers={"Range": "bytes=99999-"}), 416, "invalidRange")
    refused(app.get(down.headers["Location"] + "x"), 404, "itemNotFound")
    file = box.person("adele").files["Größe #1.txt"]
    assert (file.content, file.sha256) == (content, digest)
    again = app.call("PUT", path, data=b"")
    assert (again.status_code, again.json()["id"], again.json()["size"]) == (200, item["id"], 0)
    assert again.json()["eTag"] != item["eTag"]
    assert app.get(down.headers["Location"]).status_code == 404


@pytest.mark.parametrize(
    ("conflict", "status", "name"),
    [("replace", 200, "a.txt"), ("rename", 201, "A 1.txt"), ("fail", 409, None), ("x", 400, None)],
)
def test_a_file_whose_name_is_taken(app, conflict, status, name):
    app.call("PUT", "/me/drive/root:/a.txt:/content", data=b"1")
    answer = app.call("PUT", f"/me/drive/root:/A.txt:/content?@microsoft.graph.conflictBehavior={conflict}", data=b"2")
    assert (answer.status_code, answer.json().get("name")) == (status, name)
    body = {"item": {"@microsoft.graph.conflictBehavior": conflict}}
    session = app.call("POST", "/me/drive/root:/a.txt:/createUploadSession", json=body)
    assert session.status_code == (status if status >= 400 else 200)


def test_a_file_that_somebody_else_has_changed_is_not_overwritten(app):
    path = "/me/drive/root:/a.txt:/content"
    etag = {"If-Match": app.call("PUT", path, data=b"1").json()["eTag"]}
    assert app.call("PUT", path, data=b"2", headers=etag).status_code == 200
    refused(app.call("PUT", path, data=b"3", headers=etag), 412, "resourceModified")


@pytest.mark.parametrize("name", ["folder/a.txt", "a%3Fb", "a%3Ab", "a%7C", "%20a", "a.", "..%5C", "a%01", "x" * 256])
def test_a_name_that_no_file_can_have(app, name):
    for method, action in (("PUT", "content"), ("GET", "content"), ("POST", "createUploadSession")):
        refused(app.call(method, f"/me/drive/root:/{name}:/{action}"), 400, "invalidRequest")


def session(app, name="big.bin", **options):
    """The URL of a new upload."""
    answer = app.call("POST", f"/me/drive/root:/{name}:/createUploadSession", **options)
    assert answer.status_code == 200
    assert {"uploadUrl", "expirationDateTime"} <= set(answer.json())
    return answer.json()["uploadUrl"]


def part(app, url, data, first, total, **headers):
    """Upload a part."""
    return app.put(url, data, headers={"Content-Range": f"bytes {first}-{first + len(data) - 1}/{total}", **headers})


def test_a_large_file_goes_up_in_parts(box, app):
    url, data = session(app), bytes(1000) + b"x" * 500
    assert app.get(url).json()["nextExpectedRanges"] == ["0-"]
    first = part(app, url, data[:1000], 0, 1500)
    assert (first.status_code, first.json()["nextExpectedRanges"]) == (202, ["1000-1499"])
    assert app.get(url).json()["nextExpectedRanges"] == ["1000-1499"]
    assert box.person("adele").files == {}
    last = part(app, url, data[1000:], 1000, 1500)
    assert (last.status_code, last.json()["size"]) == (201, 1500)
    assert app.get(last.json()["@microsoft.graph.downloadUrl"]).content == data
    refused(app.get(url), 404, "itemNotFound")
    assert part(app, session(app), data, 0, 1500).status_code == 200


def test_an_upload_can_be_ended(box, app):
    url = session(app, json={"item": {"name": "big.bin", "@microsoft.graph.conflictBehavior": "rename"}})
    part(app, url, b"x", 0, 2)
    assert app.delete(url).status_code == 204
    for method in ("GET", "PUT", "DELETE"):
        refused(app.request(method, url), 404, "itemNotFound")
    assert (box.person("adele").files, box.person("adele").uploads) == ({}, {})
    refused(app.post(url), 405, "Request_BadRequest")


@pytest.mark.parametrize(
    ("content_range", "status", "code"),
    [
        (None, 400, "invalidRequest"),
        ("bytes 5-9", 400, "invalidRequest"),
        ("bytes 5-9/*", 400, "invalidRequest"),
        ("bytes 5-8/10", 400, "invalidRequest"),
        ("bytes 9-5/10", 400, "invalidRequest"),
        ("bytes 6-10/10", 400, "invalidRequest"),
        ("bytes 0-4/10", 416, "invalidRange"),
        ("bytes 6-10/11", 416, "invalidRange"),
        ("bytes 5-9/11", 416, "invalidRange"),
        (f"bytes 5-{'9' * 5000}/10", 400, "invalidRequest"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_range_that_is_not_the_next_one_is_refused(app, content_range, status, code):
    url = session(app)
    part(app, url, b"01234", 0, 10)
    headers = {} if content_range is None else {"Content-Range": content_range}
    refused(app.put(url, b"56789", headers=headers), status, code)
    assert app.get(url).json()["nextExpectedRanges"] == ["5-9"]
    assert part(app, url, b"56789", 5, 10).status_code == 201


def test_an_upload_url_takes_no_token(app):
    url = session(app)
    refused(part(app, url, b"x", 0, 1, Authorization=f"Bearer {app.token}"), 401, "unauthenticated")
    refused(app.get(url, headers={"Authorization": "Bearer x"}), 401, "unauthenticated")


def test_of_a_file_that_is_too_large_to_keep_the_size_and_the_hash_are_known(box, app, monkeypatch):
    monkeypatch.setattr("sandbox.graph.drive.KEPT", 100)
    monkeypatch.setattr("sandbox.graph.uploads.KEPT", 100)
    monkeypatch.setattr("sandbox.graph.drive.ALL_KEPT", 250)
    url, data = session(app), bytes(90) + b"x" * 90
    part(app, url, data[:90], 0, 180)
    item = part(app, url, data[90:], 90, 180).json()
    file = box.person("adele").files["big.bin"]
    assert (file.content, file.size, file.sha256) == (None, 180, hashlib.sha256(data).hexdigest())
    refused(app.get(item["@microsoft.graph.downloadUrl"]), 501, "notSupported")
    for number in (1, 2):
        assert app.call("PUT", f"/me/drive/root:/{number}:/content", data=b"x" * 100).status_code == 201
    refused(app.call("PUT", "/me/drive/root:/3:/content", data=b"x" * 100), 507, "quotaLimitReached")
    refused(part(app, session(app, "4"), b"x" * 60, 0, 60), 507, "quotaLimitReached")


@pytest.mark.parametrize(
    "body", [{"item": "x"}, {"item": {"size": 1}}, {"item": {"@microsoft.graph.conflictBehavior": 5}}, {"name": "x"}]
)
def test_an_upload_session_that_does_not_do_is_not_begun(box, app, body):
    refused(app.call("POST", "/me/drive/root:/a:/createUploadSession", json=body), 400, "invalidRequest")
    assert box.person("adele").uploads == {}


# Batches


def batch(app, *requests, **options):
    """Send several requests in one, and return the answers by id."""
    made = [{"id": str(number), "method": "GET", **each} for number, each in enumerate(requests, 1)]
    answer = app.call("POST", "/$batch", json={"requests": made}, **options)
    assert answer.status_code == 200, answer.text
    responses = answer.json()["responses"]
    assert len(made) == 1 or [each["id"] for each in responses] != [each["id"] for each in made]
    return {each["id"]: each for each in responses}


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_a_batch_answers_each_request_for_itself(box, version):
    with Client(box, scopes="User.Read Mail.Read Calendars.ReadWrite Files.ReadWrite") as app:
        answers = batch(
            app,
            {"url": "/me?$select=displayName"},
            {"url": "me/messages?$top=1"},
            {"url": "/me/photo/$value"},
            {"url": "/users"},
            {"url": "/me/events/none"},
            {"url": "/me/events", "method": "POST", "headers": JSON, "body": EVENT},
            {
                "url": "/me/drive/root:/a%20b:/content",
                "method": "PUT",
                "headers": {"content-type": "a/b"},
                "body": "aGk=",
            },
            {"url": "/nowhere"},
            {"url": "/me/drive/root:/a%20b:/content", "dependsOn": ["7"]},
            version=version,
        )
    statuses = {"1": 200, "2": 200, "3": 200, "4": 403, "5": 404, "6": 201, "7": 201, "8": 400, "9": 302}
    assert {key: each["status"] for key, each in answers.items()} == statuses
    assert answers["1"]["body"]["displayName"] == "Adèle Vance"
    assert answers["2"]["body"]["@odata.nextLink"] == f"{box.back_url}/{version}/me/messages?$top=1&$skip=1"
    assert base64.b64decode(answers["3"]["body"])[:3] == b"\xff\xd8\xff"
    assert answers["3"]["headers"]["Content-Type"] == "image/jpeg"
    assert answers["4"]["body"]["error"]["code"] == "Authorization_RequestDenied"
    assert answers["6"]["headers"]["Location"].endswith(answers["6"]["body"]["id"])
    assert box.person("adele").files["a b"].content == b"hi"
    assert "body" not in answers["9"]


def test_a_request_that_depends_on_one_that_failed_is_not_made(app):
    write = {"url": "/me", "method": "PATCH", "headers": JSON}
    answers = batch(
        app,
        {**write, "body": {"city": "Oslo"}, "dependsOn": ["2"]},
        {**write, "body": {"coffee": 1}},
        {**write, "body": {"state": "x"}, "dependsOn": ["1"]},
        {**write, "body": {"country": "Norway"}},
        {"url": "/me?$select=city,country", "dependsOn": ["4"]},
    )
    statuses = {"1": 424, "2": 400, "3": 424, "4": 204, "5": 200}
    assert {key: each["status"] for key, each in answers.items()} == statuses
    assert answers["1"]["body"]["error"]["code"] == "FailedDependency"
    assert (answers["5"]["body"]["city"], answers["5"]["body"]["country"]) == (None, "Norway")


def test_a_part_of_a_batch_may_be_throttled_or_fail_by_itself(box, app):
    box.misbehave("messages", Answer(429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "3"}))
    box.misbehave("me", Close())
    answers = batch(app, {"url": "/me/messages"}, {"url": "/me/messages"}, {"url": "/me/people"})
    assert sorted(each["status"] for each in answers.values()) == [200, 200, 429]
    assert answers["1"]["headers"]["Retry-After"] == "3"
    assert len(box.seen("messages")) == 2
    with Client(box, "lynne") as lynne:
        answers = batch(lynne, {"url": "/me/messages"}, {"url": "/me/people"})
    assert [(each["status"], each["headers"]["Retry-After"]) for each in answers.values()] == [(429, "7")] * 2


@pytest.mark.parametrize(
    "requests",
    [
        None,
        [],
        {},
        ["x"],
        [{"id": "1", "method": "GET", "url": "/me"}] * 2,
        [{"id": str(number), "method": "GET", "url": "/me"} for number in range(21)],
        [{"method": "GET", "url": "/me"}],
        [{"id": 1, "method": "GET", "url": "/me"}],
        [{"id": "1", "url": "/me"}],
        [{"id": "1", "method": "BREW", "url": "/me"}],
        [{"id": "1", "method": "GET"}],
        [{"id": "1", "method": "GET", "url": ""}],
        [{"id": "1", "method": "GET", "url": "https://graph.microsoft.com/v1.0/me"}],
        [{"id": "1", "method": "POST", "url": "/$batch", "headers": JSON, "body": {"requests": []}}],
        [{"id": "1", "method": "GET", "url": "/me", "dependsOn": ["2"]}],
        [{"id": "1", "method": "GET", "url": "/me", "dependsOn": ["1"]}],
        [{"id": "1", "method": "GET", "url": "/me", "dependsOn": "1"}],
        [{"id": "1", "method": "GET", "url": "/me", "dependsOn": [[]]}],
        [{"id": "1", "method": "GET", "url": "/me", "headers": ["x"]}],
        [{"id": "1", "method": "GET", "url": "/me", "headers": {"a": 1}}],
        [{"id": "1", "method": "GET", "url": "/me", "headers": {"a": "1\r\nb: 2"}}],
        [{"id": "1", "method": "GET", "url": "/me", "headers": {"client-request-id": "é"}}],
        [{"id": "1", "method": "PATCH", "url": "/me", "body": {}}],
        [{"id": "1", "method": "PUT", "url": "/x", "headers": {"Content-Type": "a/b"}, "body": {}}],
        [{"id": "1", "method": "PUT", "url": "/x", "headers": {"Content-Type": "a/b"}, "body": "?"}],
    ],
    ids=lambda each: json.dumps(each)[:60],
)
def test_a_batch_that_does_not_do_is_refused_as_a_whole(box, app, requests):
    refused(app.call("POST", "/$batch", json={"requests": requests}), 400, "BadRequest")
    assert box.seen("me") == []


def test_a_batch_needs_a_token_and_takes_twenty(app):
    refused(app.call("POST", "/$batch", json={}, headers={"Authorization": ""}), 401, "InvalidAuthenticationToken")
    assert {each["status"] for each in batch(app, *[{"url": "/me"}] * 20).values()} == {200}


@pytest.mark.parametrize(
    "url", ["/me/../../../x", "//me", "/%00", "/me?%", "/me#x", "?", "/[", "/é?é=é", "/me/messages?$top=%ff"]
)
def test_a_part_with_a_strange_url_has_an_answer_of_its_own(app, url):
    (answer,) = batch(app, {"url": url}).values()
    assert answer["status"] in (200, 400)
    assert isinstance(answer["body"], dict)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer \xff"},
        {"Authorization": "Bearer a.b.c"},
        {"If-Match": ","},
        {"ConsistencyLevel": "\xff"},
        {"client-request-id": "\xff"},
    ],
)
def test_strange_headers_are_no_error_of_the_sandbox(box, app, headers):
    port, context = urlsplit(box.back_url).port, ssl.create_default_context(cafile=box.ca_file)
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=5)
    connection.request("GET", "/v1.0/users", headers={"Authorization": f"Bearer {app.token}", **headers})
    answer = connection.getresponse()
    assert answer.status in (200, 401)
    json.loads(answer.read())
    connection.close()

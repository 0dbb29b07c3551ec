"""Graph called well: what Graph says, and what the person sees."""

import html
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import hurried
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from visitor import Page, Visitor

from flask_entra.deadlines import ANSWER_SECONDS
from flask_entra.graph import GraphClient
from flask_entra.graph_error import GraphError, TokenRejected
from flask_entra.http_client import BoundedSession
from pages import json_lines
from sandbox.faults import Answer, Challenge, Close, Drip, DripHeaders, Flood, Reset, Silence, Truncated

simple = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
nested = st.recursive(simple, lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside), max_leaves=9)
json_objects = st.dictionaries(st.text(), nested)


def graph_error(code, message):
    return {"error": {"code": code, "message": message, "innerError": {"request-id": "r"}}}


@pytest.fixture
def adele(person):
    """Somebody who is signed in."""
    person.sign_in("adele")
    return person


def works_again(person):
    assert "Retail Manager" in person.get("/call_graph").text


def test_one_connection_serves_many_calls(adele, box):
    for _ in range(10):
        adele.get("/call_graph")
    assert len({each.connection for each in box.seen("me")}) == 1


def test_each_call_carries_an_id_and_no_other_headers_than_it_needs(adele, box):
    adele.get("/call_graph")
    adele.get("/call_graph")
    first, second = box.seen("me")
    assert re.fullmatch("[0-9a-f-]{36}", first.headers["client-request-id"])
    assert first.headers["client-request-id"] != second.headers["client-request-id"]
    assert "Cookie" not in first.headers


def test_the_client_can_be_used_without_the_app(adele, box, monkeypatch):
    adele.get("/call_graph")
    token = box.seen("me")[0].headers["Authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", box.ca_file)
    with BoundedSession(threads=4) as session:
        client = GraphClient(session, box.settings["ENDPOINT"])
        assert client.me(token)["displayName"] == "Adèle Vance"
        assert client.photo(token)[1] == "image/jpeg"
        with pytest.raises(TokenRejected):
            client.me("no token")
        box.misbehave("me", Answer(503, graph_error("Busy", "Slow down."), {"Retry-After": "9", "request-id": "r-1"}))
        with pytest.raises(GraphError) as raised:
            client.me(token)
    error = raised.value
    assert (error.kind, error.status, error.code, error.message) == ("throttled", 503, "Busy", "Slow down.")
    assert (error.retry_after, error.request_id) == (9, "r-1")


# --- What Graph says → what the person sees ---------------------------------------------------------------------------


def test_a_rejected_token_is_refreshed_once_and_the_call_repeated(adele, box):
    box.misbehave("me", Answer(401, graph_error("InvalidAuthenticationToken", "Lifetime validation failed.")))
    works_again(adele)
    assert [each.form["grant_type"] for each in box.seen("token")] == ["authorization_code", "refresh_token"]
    assert len(box.seen("me")) == 2


def test_a_rejected_token_that_cannot_be_refreshed_leads_to_sign_in_and_back(adele, box):
    box.misbehave("me", Answer(401, graph_error("InvalidAuthenticationToken", "No.")))
    box.revoke("adele")
    page = adele.go_on(adele.get("/call_graph"))
    assert page.url == adele.url + "/call_graph"
    assert "Retail Manager" in page.text


ACRS = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}


def test_a_claims_challenge_is_answered_silently_by_a_refresh_with_the_claims(adele, box):
    box.misbehave("me", Challenge(ACRS))
    answer = adele.get("/call_graph", follow=False)
    assert answer.status_code == 200  # silently: no page of the tenant is on the way
    assert "Retail Manager" in answer.text
    assert [each.form["grant_type"] for each in box.seen("token")] == ["authorization_code", "refresh_token"]
    claims = json.loads(box.seen("token")[-1].form["claims"])
    assert claims["access_token"]["acrs"] == ACRS["access_token"]["acrs"]
    assert claims["access_token"]["xms_cc"] == {"values": ["CP1"]}
    works_again(adele)


def test_a_claims_challenge_that_wants_the_person_leads_to_sign_in_with_the_claims_and_back(adele, box):
    box.misbehave("me", Challenge(ACRS, refresh="interaction"))
    page = adele.go_on(adele.get("/call_graph"))
    assert page.url == adele.url + "/call_graph"
    assert "Retail Manager" in page.text
    assert "acrs" in box.seen("authorize")[-1].query["claims"]


def test_a_challenge_that_nothing_satisfies_ends_on_a_page(adele, box):
    claims = {"WWW-Authenticate": 'Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="'}
    box.misbehave("me", Answer(401, graph_error("InvalidAuthenticationToken", "Never."), claims), times=None)
    page = adele.go_on(adele.get("/call_graph"))
    assert page.status_code == 401
    assert "Never." in page.text


@pytest.mark.parametrize("claims", ["%%%", "bm90IGpzb24=", "WzFd", ""])
def test_a_challenge_that_cannot_be_read_counts_as_a_rejected_token(adele, box, claims):
    header = {"WWW-Authenticate": f'Bearer error="insufficient_claims", claims="{claims}"'}
    box.misbehave("me", Answer(401, "", header))
    works_again(adele)


def test_a_missing_permission_is_named_in_graphs_words(adele, box):
    words = "Insufficient privileges: Mail.Read is missing."
    box.misbehave(
        "me", Answer(403, graph_error("Authorization_RequestDenied", words), {"request-id": "find-me-by-this"})
    )
    page = adele.get("/call_graph")
    assert page.status_code == 403
    for text in (words, "Authorization_RequestDenied", "administrator", "find-me-by-this"):
        assert text in page.text
    works_again(adele)


def test_no_profile_is_a_404(adele, box):
    box.misbehave("me", Answer(404, graph_error("Request_ResourceNotFound", "Resource does not exist.")))
    page = adele.get("/call_graph")
    assert page.status_code == 404
    assert "Profile not found" in page.text


@pytest.mark.parametrize("status", [429, 503])
def test_throttling_says_when_to_try_again_and_holds_no_worker(adele, box, status):
    box.misbehave("me", Answer(status, graph_error("TooManyRequests", "Slow down."), {"Retry-After": "42"}))
    page = adele.get("/call_graph")
    assert page.status_code == 503
    assert len(box.seen("me")) == 1
    assert page.headers["Retry-After"] == "42"
    assert "42 seconds" in page.text


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_graph_asks_for_is_kept_for_this_person_alone(adele, app, box, status):
    box.misbehave("me", Answer(status, "", {"Retry-After": "2, 1.5"}))
    assert adele.get("/call_graph").headers["Retry-After"] == "2"
    for _ in range(4):
        assert adele.get("/call_graph").status_code == 503
    assert len(box.seen("me")) == 1
    alex = Visitor(app.url)
    alex.sign_in("alex")
    assert alex.get("/call_graph").status_code == 200
    time.sleep(2.1)
    works_again(adele)


def test_retry_after_may_be_a_date(adele, box):
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    box.misbehave("me", Answer(429, "", {"Retry-After": when}))
    assert 90 <= int(adele.get("/call_graph").headers["Retry-After"]) <= 100


def test_a_retry_after_that_is_nonsense_is_no_pause(adele, box):
    box.misbehave("me", Answer(429, "", {"Retry-After": "tomorrow, perhaps"}))
    assert adele.get("/call_graph").status_code == 503
    works_again(adele)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, "<h1>Oops</h1>"),
        Answer(502),
        Answer(503),
        Answer(504),
        Truncated(),
        Flood(60_000_000),
        Flood(60_000_000, announced=False),
    ],
    ids=["500", "502", "503", "504", "cut off", "60 MB", "60 MB unannounced"],
)
def test_a_failing_graph_is_a_page_and_the_next_call_works(adele, box, fault):
    box.misbehave("me", fault)
    page = adele.get("/call_graph")
    assert page.status_code in (502, 504)
    assert "Try again" in page.text
    works_again(adele)


@pytest.mark.parametrize("fault", [Reset(), Close()], ids=["reset", "closed"])
def test_a_connection_that_died_idle_is_replaced_without_a_word(adele, box, fault):
    works_again(adele)
    box.misbehave("me", fault)
    works_again(adele)


def test_a_graph_that_resets_every_connection_is_a_page(adele, box):
    box.misbehave("me", Reset(), times=None)
    page = adele.get("/call_graph")
    assert page.status_code == 502
    assert "Graph cannot be reached" in page.text
    assert len(box.seen("me")) == 2


def test_graph_has_ten_seconds_for_an_answer_at_most():
    assert ANSWER_SECONDS < 10


def test_a_silent_or_dripping_graph_is_given_up_when_the_deadline_is_over(box, tmp_path):
    app = hurried(box, tmp_path)
    adele = Visitor(app.url)
    adele.sign_in()
    faults = [Silence(60), Drip(1, 600), DripHeaders(1, 600)]  # which go on for longer than a visitor waits
    for fault in faults:
        box.misbehave("me", fault)
    with ThreadPoolExecutor(len(faults)) as pool:
        assert [page.status_code for page in pool.map(adele.get, ["/call_graph"] * 3)] == [504] * 3
    works_again(adele)
    app.end()


@pytest.mark.parametrize(
    "body",
    ["<html>", "", "null", "5", '"text"', "[1, 2]", '{"a": ', "[" * 100_000, b"\xff\xfe"],
    ids=["HTML", "empty", "null", "number", "text", "list", "cut off", "too deep", "no UTF-8"],
)
def test_an_answer_that_is_no_object_names_the_type_and_the_endpoint(adele, box, body):
    box.misbehave("me", Answer(200, body, {"Content-Type": "text/x-odd"}))
    page = adele.get("/call_graph")
    assert page.status_code == 502
    assert "text/x-odd" in page.text
    assert box.settings["ENDPOINT"] in page.text


def test_a_redirect_is_not_followed_with_the_token(adele, box):
    box.misbehave("me", Answer(302, "", {"Location": f"{box.back_url}/v1.0/users"}))
    assert adele.get("/call_graph").status_code == 502
    assert box.seen("users") == []


# --- The profile page -------------------------------------------------------------------------------------------------


def test_fields_without_a_value_say_so(person):
    person.sign_in("bot")
    page = Page(person.get("/call_graph").text).text
    assert re.search(r"Mobile phone\s+Not set", page)
    assert "None" not in page


def test_fields_that_did_not_come_are_left_out(adele, box):
    box.misbehave("me", Answer(200, {"id": "1", "mail": "a@b.c"}))
    page = Page(adele.get("/call_graph").text).text
    assert "Mail" in page
    assert "Mobile phone" not in page


def test_the_page_says_what_was_asked_and_what_came_of_it(adele, box):
    page = Page(adele.get("/call_graph").text).text
    assert re.search(r"Answer\s+Status 200 after \d+ ms", page)
    assert re.search(r"Permissions granted\s+User\.Read", page)
    assert re.search(r"Access token valid until\s+\d+ \w+ 20\d\d", page)
    assert "Bearer" not in page


def test_a_profile_with_every_field_empty_is_still_a_page(adele, box):
    for name in set(box.person("adele").profile) - {"id"}:
        box.person("adele").profile[name] = None
    page = adele.get("/call_graph")
    assert page.status_code == 200
    assert "None" not in page.text


def test_the_json_is_shown_as_written(adele, box):
    box.person("adele").profile["displayName"] = "Žluťoučký 日本 🙂"
    page = adele.get("/call_graph").text
    shown = html.unescape(re.sub("<[^>]+>", "", re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[1]))
    assert json.loads(shown)["displayName"] == "Žluťoučký 日本 🙂"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests run beside it
@given(json_objects)
def test_the_lines_of_any_json_are_that_json(value):
    lines = json_lines.of(value)
    assert json.loads("\n".join("".join(piece for _, piece in pieces) for _, pieces in lines)) == value


def test_a_long_json_is_cut_off_where_the_page_would_be_too_large():
    for length, colours in ((100, True), (30_000, False), (200_000, False)):
        lines = json_lines.of({"text": "x" * length})
        assert (len(lines) > 1) == colours
        shown = "".join(piece for _, pieces in lines for _, piece in pieces)
        assert len(shown) <= json_lines.HUGE + 1
        assert shown.endswith("…") == (length > json_lines.HUGE)


HOSTILE = [
    *(
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }}",
        "javascript:alert(1)",
        'a@b.c" onclick="x',
    ),
    *("\u202eevil", "\x00\x01", "x" * 100_000, "mailto:a@b.c?bcc=everybody@b.c", "tel:1;alert(1)"),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_graph_sends_stays_text(adele, box, text):
    profile = box.person("adele").profile
    for name in set(profile) - {"id"}:
        profile[name] = [text] if isinstance(profile[name], list) else text
    page = adele.get("/call_graph")
    assert page.status_code == 200
    assert re.findall("<script[^>]*", page.text) == re.findall('<script src="/static/page.js[^>]*', page.text)
    assert "<img src=x" not in page.text
    assert not re.search(r'href="(?!/|#|\?|mailto:[^":?]+"|tel:\+?\d+")', page.text)


@pytest.mark.parametrize("value", [5, True, {"a": 1}, [[]], [None, {}], 1e400])
def test_a_value_of_an_unexpected_type_does_no_harm(adele, box, value):
    body = json.dumps({"displayName": value, "mail": value, "businessPhones": value, "userPrincipalName": value})
    box.misbehave("me", Answer(200, body, {"Content-Type": "application/json"}))
    assert adele.get("/call_graph").status_code == 200


def test_links_are_for_mail_addresses_and_phone_numbers_only(adele, box):
    box.person("adele").profile |= {
        "officeLocation": "131-1104",
        "mobilePhone": "---",
        "businessPhones": ["+44 (0)20 7946 0000"],
    }
    page = adele.get("/call_graph").text
    assert 'href="tel:1311104"' not in page
    assert 'href="tel:"' not in page
    assert 'href="tel:+442079460000"' in page


def test_a_lone_surrogate_does_no_harm(adele, box):
    box.misbehave("me", Answer(200, r'{"displayName": "\ud83d", "x\udc00": 1}', {"Content-Type": "application/json"}))
    assert adele.get("/call_graph").status_code == 200


def test_another_endpoint_is_shown_as_json(serve, box):
    app = serve(ENDPOINT=f"{box.back_url}/v1.0/users", SCOPE="User.Read User.ReadBasic.All")
    person = Visitor(app.url)
    page = person.sign_in(path="/call_graph")
    assert page.status_code == 200
    assert "value" in page.text
    assert "/photo" not in page.text


# --- The photo --------------------------------------------------------------------------------------------------------


def test_the_photo_is_a_real_image_kept_privately(adele):
    photo = adele.get("/photo")
    assert photo.headers["Content-Type"] == "image/jpeg"
    assert photo.content.startswith(b"\xff\xd8\xff")
    assert photo.headers["Cache-Control"] == "private, max-age=3600"
    assert "Cookie" in photo.headers["Vary"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 504])
def test_a_photo_that_graph_does_not_give_is_initials_costs_no_refresh_and_is_not_asked_for_again(adele, box, status):
    tokens = len(box.seen("token"))
    box.misbehave(
        "photo", Answer(status, graph_error("ErrorNonExistentMailbox", "No mailbox."), {"Retry-After": "1"}), times=None
    )
    for _ in range(3):
        photo = adele.get("/photo")
        assert photo.status_code == 200
        assert ">AV</text>" in photo.text
    assert len(box.seen("photo")) == 1
    assert len(box.seen("token")) == tokens


def test_who_has_no_photo_gets_their_initials(person):
    person.sign_in("alex")
    photo = person.get("/photo")
    assert photo.headers["Content-Type"].startswith("image/svg+xml")
    assert re.search(">A[A-Z]?</text>", photo.text)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<script>alert(1)</script>", {"Content-Type": "image/jpeg"}),
        Answer(200, b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"Content-Type": "image/svg+xml"}),
        Answer(200, b""),
        Flood(8_000_000, "image/jpeg"),
    ],
    ids=["script", "svg", "empty", "8 MB"],
)
def test_what_is_no_image_is_replaced_by_initials(adele, box, answer):
    box.misbehave("photo", answer)
    assert ">AV</text>" in adele.get("/photo").text


def test_markup_in_a_name_stays_text_in_the_initials(person, box):
    box.person("alex").profile["displayName"] = "<b> &amp;"
    person.sign_in("alex")
    assert "<b>" not in person.get("/photo").text


def test_who_is_throttled_sees_when_to_come_back(person):
    page = person.go_on(person.get("/call_graph"), "lynne")
    assert page.status_code == 503
    assert "7 seconds" in page.text

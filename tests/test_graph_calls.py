"""What a view can do with Graph, or with an API of one's own: read, write, page, batch, download and upload."""

import io
import json
import re
import secrets
import time
import traceback

import flask
import pytest
from scripted_api import ScriptedApi
from scripted_api import scripted as scripted  # a fixture
from visitor import Page

from flask_entra import Auth, GraphError, deadlines
from flask_entra.config import KEY
from flask_entra.testing import sign_in
from flask_entra.transfers import PART_BYTES

HTML = {"Accept": "text/html"}
auth = Auth()


@pytest.fixture
def app(tmp_path, scripted):
    app = flask.Flask(__name__)
    app.config.update(
        ENTRA_CLIENT_ID="7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
        ENTRA_CLIENT_SECRET="s" * 40,
        ENTRA_AUTHORITY="https://login.microsoftonline.com/contoso.example",
        ENTRA_ENDPOINT=f"{scripted.url}/v1.0/me",
        ENTRA_SESSION_FILE_DIR=str(tmp_path),
    )
    auth.init_app(app)
    return app


@pytest.fixture
def run(app):
    """Run a function in a view of somebody who is signed in: what it returns, or the exception that it raises."""

    def run(function, **headers):
        found = []

        def view(*, context):
            try:
                found.append(function(context))
            except Exception as error:
                found.append(error)
                raise
            return ""

        app.view_functions.pop("view", None)
        if not any(rule.endpoint == "view" for rule in app.url_map.iter_rules()):
            app.add_url_rule("/view", "view", lambda: app.work())
        app.view_functions["view"] = lambda: app.work()
        app.work = auth.login_required(view, scopes=["User.Read"])
        client = app.test_client()
        sign_in(client, access_token="the-token")
        run.page = client.get("/view", headers=headers)
        return found[0]

    return run


# --- One call -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post", "patch", "put", "delete"])
@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"a": 1}, {"a": 1}),
        (201, {"id": "7"}, {"id": "7"}),
        (200, [1, 2], [1, 2]),
        (200, 12, 12),
        (200, None, None),
        (202, b"", None),
        (204, b"", None),
    ],
)
def test_each_method_gives_the_json_that_came_or_none(run, scripted, method, status, body, found):
    scripted.answers = [(status, {}, body)]
    assert run(lambda context: getattr(auth.graph, method)("/me/things", context)) == found
    (asked,) = scripted.asked
    assert (asked.method, asked.path) == (method.upper(), "/v1.0/me/things")
    assert asked.headers["Authorization"] == "Bearer the-token"


@pytest.mark.parametrize("method", ["post", "patch", "put", "delete"])
def test_a_change_may_answer_with_nothing_and_a_look_may_not(run, scripted, method):
    scripted.answers = [(200, {}, b"")] * 2
    assert run(lambda context: getattr(auth.graph, method)("/me", context)) is None
    assert run(lambda context: auth.graph.get("/me", context)).kind == "not_understood"


def test_a_body_a_query_and_headers_go_with_it(run, scripted):
    headers = {
        "If-Match": 'W/"7"',
        "ConsistencyLevel": "eventual",
        "Authorization": "Bearer another",
        "client-request-id": "x",
    }
    run(lambda context: auth.graph.patch("/me?a=1", context, json={"é": "ü"}, params={"$top": 5}, headers=headers))
    run(lambda context: auth.graph.put("/file", context, data=b"\0\1", headers={"Content-Type": "image/png"}))
    first, second = scripted.asked
    assert (first.path, json.loads(first.body)) == ("/v1.0/me?a=1&%24top=5", {"é": "ü"})
    assert (first.headers["If-Match"], first.headers["ConsistencyLevel"]) == ('W/"7"', "eventual")
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Authorization"] == "Bearer the-token"
    assert first.headers["client-request-id"] != "x"
    assert (second.body, second.headers["Content-Type"]) == (b"\0\1", "image/png")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/beta/me/profile", "/beta/me/profile"),
        ("/v1.0/users", "/v1.0/users"),
        ("/betatesters", "/v1.0/betatesters"),
        ("{url}/beta/me", "/beta/me"),
    ],
)
def test_another_version_of_graph(run, scripted, path, asked):
    run(lambda context: auth.graph.get(path.format(url=scripted.url), context))
    assert [each.path for each in scripted.asked] == [asked]


@pytest.mark.parametrize("path", ["https://evil.example/me", "//evil.example/me", "me", "", "javascript:alert(1)"])
@pytest.mark.parametrize("method", ["get", "post", "patch", "put", "delete", "download"])
def test_the_token_goes_to_no_other_host(run, scripted, method, path):
    error = run(lambda context: getattr(auth.graph, method)(path, context))
    assert isinstance(error, ValueError)
    assert scripted.asked == []


# --- Failures of a call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "page"),
    [
        (400, "refused", 502),
        (403, "forbidden", 403),
        (404, "not_found", 404),
        (409, "conflict", 409),
        (412, "conflict", 409),
    ],
)
def test_a_change_that_is_refused_has_not_happened(run, scripted, status, kind, page):
    scripted.answers = [(status, {}, {"error": {"code": "Code", "message": "Words"}})]
    error = run(lambda context: auth.graph.post("/me", context, json={}))
    assert (error.kind, error.status, error.code, error.message) == (kind, status, "Code", "Words")
    assert not error.may_have_happened
    assert run.page.status_code == page


@pytest.mark.parametrize("method", ["post", "patch", "put", "delete"])
@pytest.mark.parametrize(
    "answer", [None, 0.6, (500, {}, {}), (502, {}, b"<html>"), (504, {}, {}), (200, {}, b"<html>")]
)
def test_a_change_whose_answer_is_lost_is_not_repeated_and_may_have_happened(
    run, scripted, monkeypatch, method, answer
):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    scripted.answers = [answer]
    error = run(lambda context: getattr(auth.graph, method)("/me", context), **HTML)
    assert isinstance(error, GraphError)
    assert error.may_have_happened
    assert scripted.methods() == [method.upper()]
    text = Page(run.page.text).text
    assert "it is not known whether what you asked for has been done" in text
    assert "Try again" not in text


@pytest.mark.parametrize("answer", [None, 0.6, (500, {}, {})])
def test_a_look_has_nothing_to_undo(run, scripted, monkeypatch, answer):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    scripted.answers = [answer, answer]
    assert not run(lambda context: auth.graph.get("/me", context)).may_have_happened


def test_a_change_that_could_not_be_sent_has_not_happened(app, run):
    gone = ScriptedApi()
    gone.close()
    error = run(lambda context: auth.api(gone.url, scopes=["User.Read"]).post("/things", context))
    assert (error.kind, error.may_have_happened) == ("unavailable", False)


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_was_asked_for_is_kept_to(run, scripted, status):
    scripted.answers = [(status, {"Retry-After": "30"}, {})]
    for method in ("post", "get", "delete"):
        error = run(lambda context, method=method: getattr(auth.graph, method)("/me", context))
        assert (error.kind, error.may_have_happened) == ("throttled", False)
        assert 29 <= error.retry_after <= 30
    assert scripted.methods() == ["POST"]


def test_a_pause_of_an_api_of_ones_own_is_kept_to_by_the_next_request(run, scripted):
    scripted.answers = [(429, {"Retry-After": "30"}, {})]
    for _ in range(3):
        assert (
            run(lambda context: auth.api(scripted.url, scopes=["User.Read"]).get("/orders", context)).kind
            == "throttled"
        )
    assert len(scripted.asked) == 1


def test_a_refused_token_is_renewed_and_a_change_made_once_more(visit, scripted):
    browser = visit(SCOPE="Orders.Write")
    view = auth.login_required(
        lambda *, context: auth.api(scripted.url).post("/orders", context, json={"n": 1}), scopes=["Orders.Write"]
    )
    browser.app.add_url_rule("/change", "change", view)
    browser.sign_in()
    scripted.answers = [(401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, {}), (201, {}, {"id": 7})]
    assert browser.get("/change").json == {"id": 7}
    first, second = scripted.asked
    assert first.body == second.body == b'{"n": 1}'
    assert first.headers["Authorization"] != second.headers["Authorization"]


# --- Another API ----------------------------------------------------------------------------------------------------------

orders = auth.api(
    "http://127.0.0.1:9/unused", scopes=["api://orders/Orders.Read"]
)  # can be made before there is an app


def test_an_api_with_scopes_of_its_own_needs_no_context(app, scripted):
    own = auth.api(f"{scripted.url}/v2", scopes=["api://orders/Orders.Read"])
    app.add_url_rule("/orders", "orders", auth.login_required(lambda *, context: flask.jsonify(own.get("/mine"))))
    app.add_url_rule(
        "/both", "both", auth.login_required(lambda *, context: own.get("/mine", context), scopes=["User.Read"])
    )
    client = app.test_client()
    sign_in(client, scopes=["api://orders/Orders.Read"], access_token="for-orders")
    scripted.answers = [(200, {}, [1, 2])]
    assert client.get("/orders").json == [1, 2]
    assert scripted.asked[0].headers["Authorization"] == "Bearer for-orders"
    assert scripted.asked[0].path == "/v2/mine"


def test_graph_without_a_context_takes_the_settings_scopes(app, scripted):
    app.add_url_rule("/me", "me", auth.login_required(lambda *, context: auth.graph.get("/me")))
    client = app.test_client()
    sign_in(client, access_token="usual")
    scripted.answers = [(200, {}, {"a": 1})]
    assert client.get("/me").json == {"a": 1}
    assert scripted.asked[0].headers["Authorization"] == "Bearer usual"


def test_an_api_without_a_token_says_what_is_missing(app, scripted):
    client = app.test_client()
    found = []

    def view(*, context):
        with pytest.raises(ValueError, match=re.escape("give auth.api its scopes")) as error:
            auth.api(scripted.url).get("/x", context)
        found.append(error)
        return ""

    app.add_url_rule("/x", "x", auth.login_required(view))
    sign_in(client)
    assert client.get("/x").status_code == 200
    assert found
    assert scripted.asked == []


def test_a_token_for_graph_goes_to_no_other_api_by_mistake(run, scripted):
    error = run(lambda context: auth.api(scripted.url).get("/orders", context))
    assert isinstance(error, ValueError)
    assert "is for Microsoft Graph (User.Read), and is not sent to http://127.0.0.1" in str(error)
    assert scripted.asked == []


def test_another_api_has_nothing_of_graphs(run, scripted):
    for base in ("/me", "/v1.0", "/v1.0/me/"):
        run(
            lambda context, base=base: auth.api(f"{scripted.url}{base}", scopes=["User.Read"]).get(
                "/beta/things", context
            )
        )
    assert [each.path for each in scripted.asked] == [
        "/me/beta/things",
        "/v1.0/beta/things",
        "/v1.0/me/beta/things",
    ]


def test_apis_of_any_number_of_addresses_fill_no_memory(app, run, scripted):
    run(lambda context: [auth.api(f"{scripted.url}/{n}")._client for n in range(1000)])
    kept = app.extensions[KEY].api_client
    assert kept(scripted.url) is kept(scripted.url)
    assert kept.cache_info().currsize <= 100


# --- Page after page -----------------------------------------------------------------------------------------------------


def paged(scripted, count, size, path="/v1.0/me/messages"):
    """A collection, of which an answer has so many items."""

    def answer(asked):
        start = int(re.search(r"skip=(\d+)", asked.path)[1]) if "skip=" in asked.path else 0
        page = {"value": list(range(start, min(start + size, count)))}
        if start + size < count:
            page["@odata.nextLink"] = f"{scripted.url}{path}?skip={start + size}"
        return 200, {}, page

    scripted.answers = [answer] * (count // size + 2)


def test_ten_thousand_items_come_page_after_page_as_they_are_asked_for(run, scripted):
    paged(scripted, 10_000, 500)
    assert run(lambda context: list(auth.graph.pages("/me/messages", context))) == list(range(10_000))
    assert len(scripted.asked) == 20
    scripted.asked.clear()
    paged(scripted, 10_000, 500)
    assert run(lambda context: next(iter(auth.graph.pages("/me/messages", context)))) == 0
    assert len(scripted.asked) == 1


def test_the_query_is_asked_once_and_the_headers_each_time(run, scripted):
    paged(scripted, 3, 1)
    headers = {"ConsistencyLevel": "eventual"}
    assert run(
        lambda context: list(auth.graph.pages("/me/messages", context, params={"$top": 1}, headers=headers))
    ) == [0, 1, 2]
    assert [each.path.partition("?")[2] for each in scripted.asked] == ["%24top=1", "skip=1", "skip=2"]
    assert {each.headers["ConsistencyLevel"] for each in scripted.asked} == {"eventual"}


@pytest.mark.parametrize(("limit", "enough"), [(4, False), (5, True), (0, False)])
def test_a_collection_may_have_so_many_items_and_what_has_come_is_not_lost(run, scripted, limit, enough):
    paged(scripted, 5, 2)
    found = []

    def walk(context):
        for item in auth.graph.pages("/me/messages", context, limit=limit):
            found.append(item)

    error = run(walk)
    assert found == list(range(min(limit, 5)))
    if enough:
        assert error is None
    else:
        assert error.kind == "not_understood"
        assert f"more than {limit} items" in error.message


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/me/messages",
        "http://127.0.0.1/v1.0/me/messages",
        "{url}@evil.example/",
        "//evil.example/",
        "/v1.0/me/messages?skip=1",
        "{url}/v1.0/me/messages",  # round in a circle
        5,
        {},
        "",
    ],
)
def test_a_link_that_leads_elsewhere_or_nowhere_is_not_followed(run, scripted, link):
    link = link.format(url=scripted.url) if isinstance(link, str) else link
    scripted.answers = [(200, {}, {"value": [1], "@odata.nextLink": link})] * 3
    error = run(lambda context: list(auth.graph.pages("/me/messages", context)))
    if link == "":  # the end, as some services write it
        assert error == [1]
    else:
        assert error.kind == "not_understood"
        assert "@odata.nextLink" in error.message
    assert len(scripted.asked) == 1


def test_pages_without_items_end_sometime(run, scripted):
    def empty(asked):
        number = int(asked.path.rpartition("=")[2]) if "=" in asked.path else 0
        return (
            200,
            {},
            {"value": [number] if number == 90 else [], "@odata.nextLink": f"{scripted.url}/v1.0/x?s={number + 1}"},
        )

    scripted.answers = [empty] * 1000
    found = []
    error = run(lambda context: [found.append(each) for each in auth.graph.pages("/x", context)])
    assert (error.kind, found, len(scripted.asked)) == ("not_understood", [90], 192)
    assert "101 empty pages in a row" in error.message


@pytest.mark.parametrize("page", [[], {}, {"value": {}}, {"value": None}, 5])
def test_what_is_no_collection_is_not_walked(run, scripted, page):
    scripted.answers = [(200, {}, page)]
    assert run(lambda context: list(auth.graph.pages("/me", context))).kind == "not_understood"


# --- Several in one ------------------------------------------------------------------------------------------------------


def answer_to_a_batch(asked):
    """The answers in another order than the requests', as Graph gives them."""
    parts = json.loads(asked.body)["requests"]
    status = {"/missing": 404, "/no": 403, "/busy": 429, "/down": 502, "/file": 302, "/none": 204}
    responses = []
    for part in parts:
        code = status.get(part["url"], 200)
        body = {"error": {"code": f"Code{code}", "message": "Words"}} if code >= 400 else {"url": part["url"]}
        headers = {"Retry-After": "7", "request-id": f"id-{part['id']}"}
        answer = {"id": part["id"], "status": code, "headers": headers}
        responses.append(answer if code == 204 else {**answer, "body": body})
    return 200, {}, {"responses": responses[::-1]}


def test_each_answer_of_a_batch_is_in_its_place_and_a_refused_one_is_no_other_ones_failure(run, scripted):
    scripted.answers = [answer_to_a_batch]
    requests = [
        "/me",
        "/missing",
        {"method": "POST", "url": "/no", "body": {"a": 1}},
        {"url": "/busy"},
        {"method": "DELETE", "url": "/down"},
        "/file",
        {"method": "DELETE", "url": "/none", "headers": {"If-Match": "7"}, "id": "mine", "dependsOn": ["1"]},
    ]
    found = run(lambda context: auth.graph.batch(requests, context))
    me, missing, no, busy, down, file, none = found
    assert (me, none) == ({"url": "/me"}, None)
    assert [each.kind for each in (missing, no, busy, down, file)] == [
        "not_found",
        "forbidden",
        "throttled",
        "unavailable",
        "not_understood",
    ]
    assert (busy.retry_after, busy.request_id, no.code, no.message) == (7, "id-4", "Code403", "Words")
    assert [each.may_have_happened for each in (missing, no, busy, down, file)] == [False, False, False, True, False]
    (asked,) = scripted.asked
    assert asked.path == "/v1.0/$batch"
    sent = json.loads(asked.body)["requests"]
    assert [each["id"] for each in sent] == ["1", "2", "3", "4", "5", "6", "mine"]
    assert sent[2]["headers"] == {"Content-Type": "application/json"}
    assert sent[6] == {
        "id": "mine",
        "method": "DELETE",
        "url": "/none",
        "headers": {"If-Match": "7"},
        "dependsOn": ["1"],
    }


def test_more_than_twenty_go_in_as_many_as_it_takes(run, scripted):
    scripted.answers = [answer_to_a_batch] * 3
    found = run(lambda context: auth.graph.batch([f"/{n}" for n in range(45)], context, version="beta"))
    assert [each["url"] for each in found] == [f"/{n}" for n in range(45)]
    assert [len(json.loads(each.body)["requests"]) for each in scripted.asked] == [20, 20, 5]
    assert {each.path for each in scripted.asked} == {"/beta/$batch"}


def test_no_request_is_no_batch(run, scripted):
    assert run(lambda context: auth.graph.batch([], context)) == []
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (["me"], "does not begin with /"),
        (["https://evil.example/"], "does not begin with /"),
        (["//evil.example/"], "does not begin with /"),
        ([5], "request 1 of the batch is neither"),
        ([{"method": "GET"}], "request 1 of the batch is neither"),
        ([{"url": "/me", "json": {}}], "'json', which is none of body"),
        (["/me", {"url": "/me", "id": "1"}], "two requests of the batch have the id '1'"),
        ([{"url": "/me", "dependsOn": ["9"]}], "depends on '9', which is not in it"),
        (["/me"] * 20 + [{"url": "/me", "dependsOn": ["1"]}], "at most 20; this one has 21"),
        (["/me", {"url": "/me", "dependsOn": "1"}], "request 2 of the batch: dependsOn is no list of ids"),
        (["/me", {"url": "/me", "dependsOn": [1]}], "dependsOn is no list of ids"),
        ([{"url": "/me", "method": "HEAD"}], "the method 'HEAD' is none of GET, POST"),
        ([{"url": "/me", "method": None}], "the method None is none of GET"),
        ([{"url": "/me", "headers": ["a"]}], "headers are no mapping"),
        (["/v1.0/me"], "names a version. Leave /v1.0 out"),
        (["/beta/me"], "Leave /beta out"),
        (["/v1.0"], "Leave /v1.0 out"),
    ],
)
def test_what_cannot_be_a_batch_is_named_before_anything_is_sent(run, scripted, requests, words):
    error = run(lambda context: auth.graph.batch(requests, context))
    assert isinstance(error, ValueError | TypeError)
    assert words in str(error)
    assert scripted.asked == []


@pytest.mark.parametrize("answer", [(200, {}, {}), (200, {}, []), (200, {}, {"responses": {}}), None, (502, {}, b"")])
def test_a_batch_that_fails_may_have_happened_if_it_has_a_change(run, scripted, answer):
    scripted.answers = [answer] * 2
    look = run(lambda context: auth.graph.batch(["/me"], context))
    change = run(lambda context: auth.graph.batch(["/me", {"url": "/me", "method": "patch", "body": {}}], context))
    assert look.kind == change.kind == ("not_understood" if answer and answer[0] == 200 else "unavailable")
    assert (look.may_have_happened, change.may_have_happened) == (False, True)
    assert "the outcome is unknown" in str(change)
    assert "the outcome is unknown" not in str(look)


def test_of_several_batches_what_the_first_has_brought_is_not_lost(run, scripted):
    scripted.answers = [answer_to_a_batch, (502, {}, b"")]
    requests = [*(f"/{n}" for n in range(20)), *[{"url": "/x", "method": "DELETE"}] * 40]
    found = run(lambda context: auth.graph.batch(requests, context))
    assert [each["url"] for each in found[:20]] == [f"/{n}" for n in range(20)]
    assert {each.kind for each in found[20:]} == {"unavailable"}
    assert [each.may_have_happened for each in found[20:]] == [True] * 20 + [False] * 20  # the last ones were not sent
    assert len(scripted.asked) == 2


@pytest.mark.parametrize(
    "responses",
    [
        [],
        [{"id": "2", "status": 200}],
        [5],
        [{"id": 1, "status": 200}],
        [{"id": "1", "status": "200"}],
        [{"id": "1", "status": True}],
    ],
)
def test_a_part_without_an_answer_may_have_happened(run, scripted, responses):
    scripted.answers = [(200, {}, {"responses": responses})]
    (error,) = run(lambda context: auth.graph.batch([{"method": "POST", "url": "/me"}], context))
    assert (error.kind, error.may_have_happened) == ("not_understood", True)


# --- Files ---------------------------------------------------------------------------------------------------------------


def test_a_file_comes_bit_by_bit_and_says_what_it_is(run, scripted):
    scripted.answers = [(200, {"Content-Type": "application/pdf"}, b"x" * 200_000)]
    download = run(lambda context: auth.graph.download("/file", context, headers={"Range": "bytes=0-"}))
    assert (download.content_type, download.size, download.status) == ("application/pdf", 200_000, 200)
    assert scripted.asked[0].headers["Range"] == "bytes=0-"
    bits = list(download)
    assert len(bits) > 1
    assert b"".join(bits) == b"x" * 200_000


def test_a_view_hands_a_file_on(app, scripted):
    def view(*, context):
        file = auth.graph.download("/file", context)
        return flask.Response(file, content_type=file.content_type)

    app.add_url_rule("/file", "file", auth.login_required(view, scopes=["Files.Read"]))
    client = app.test_client()
    sign_in(client)
    scripted.answers = [(200, {"Content-Type": "image/png"}, b"\x89PNG...")]
    answer = client.get("/file")
    assert (answer.data, answer.mimetype) == (b"\x89PNG...", "image/png")


def test_a_file_that_lies_elsewhere_is_got_without_the_token(run, scripted):
    elsewhere = f"{scripted.url}/secret/file?tempauth=1"
    scripted.answers = [(302, {"Location": elsewhere}, b""), (200, {}, b"there")]
    assert run(lambda context: auth.graph.download("/file", context).read()) == b"there"
    assert scripted.asked[1].path == "/secret/file?tempauth=1"
    assert "Authorization" not in scripted.asked[1].headers


def test_a_file_that_lies_elsewhere_is_asked_for_with_what_is_meant_for_any_host(run, scripted):
    headers = {
        "Range": "bytes=0-9",
        "if-none-match": '"7"',
        "Accept": "*/*",
        "ConsistencyLevel": "eventual",
        "X-Key": "s",
    }
    scripted.answers = [(302, {"Location": f"{scripted.url}/secret"}, b""), (206, {}, b"there")]
    run(lambda context: auth.graph.download("/file", context, headers=headers).read())
    assert set(headers) <= set(scripted.asked[0].headers)
    moved = scripted.asked[1].headers
    assert (moved["Range"], moved["If-None-Match"], moved["Accept"]) == ("bytes=0-9", '"7"', "*/*")
    assert not {"Authorization", "ConsistencyLevel", "X-Key", "client-request-id"} & set(moved)


@pytest.mark.parametrize(
    "answer", [None, 0.6, (404, {}, {}), (302, {"Location": "x"}, b""), (200, {"Content-Length": "9"}, b"x")]
)
def test_the_address_of_a_file_that_lies_elsewhere_is_told_to_nobody(run, scripted, monkeypatch, caplog, answer):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    secret = secrets.token_hex()
    scripted.answers = [(302, {"Location": f"{scripted.url}/{secret}?{secret}"}, b""), answer, answer]
    error = run(lambda context: auth.graph.download("/file", context).read())
    assert isinstance(error, GraphError)
    assert secret not in "".join(traceback.format_exception(error)) + run.page.text + caplog.text
    error = run(lambda context: auth.graph.get(f"https://files.example/{secret}", context))
    assert "'https://files.example' is neither" in str(error)
    assert secret not in "".join(traceback.format_exception(error)) + caplog.text


@pytest.mark.parametrize(
    "there", ["", "http://10.0.0.1/", "http://127.0.0.1:9/", "file:///etc/passwd", "/file", "javascript:0"]
)
def test_a_file_is_not_got_from_anywhere(run, scripted, there):
    scripted.answers = [(302, {"Location": there}, b"")]
    assert run(lambda context: auth.graph.download("/file", context)).kind == "not_understood"
    assert len(scripted.asked) == 1


def test_a_file_that_moves_twice_is_not_run_after(run, scripted):
    scripted.answers = [(302, {"Location": f"{scripted.url}/{n}"}, b"") for n in range(3)]
    assert run(lambda context: auth.graph.download("/file", context)).kind == "not_understood"
    assert len(scripted.asked) == 2


def test_a_file_that_is_cut_off_is_an_error_and_not_a_shorter_file(run, scripted):
    scripted.answers = [(200, {"Content-Length": "1000"}, b"x" * 10)]
    assert run(lambda context: auth.graph.download("/file", context).read()).kind == "unavailable"


def test_a_file_that_is_too_large_for_the_memory_is_not_read_into_it(run, scripted):
    scripted.answers = [(200, {}, b"x" * 100_000)]
    error = run(lambda context: auth.graph.download("/file", context).read(limit=1000))
    assert "more than 1000 bytes" in error.message


def test_a_file_may_take_longer_than_an_answer_may(run, scripted, monkeypatch):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.5)

    def slow(asked):
        return 200, {}, b"x" * 1_000_000

    scripted.answers = [slow]

    def read(context):
        download = auth.graph.download("/file", context)
        size = 0
        for bit in download:
            size += len(bit)
            time.sleep(0.06)
        return size

    assert run(read) == 1_000_000


class Drive:
    """An upload session, which keeps what it gets; `faults` are answers instead, one for each part that comes."""

    def __init__(self, scripted, faults=()):
        self.scripted, self.content, self.faults = scripted, b"", list(faults)
        scripted.answers = [self.make] + [self.take] * 200

    def make(self, asked):
        return 200, {}, {"uploadUrl": f"{self.scripted.url}/up/secret", "expirationDateTime": "2027-01-01T00:00:00Z"}

    def take(self, asked):
        assert "Authorization" not in asked.headers
        if asked.method == "GET":
            return 200, {}, {"nextExpectedRanges": [f"{len(self.content)}-"]}
        first, last, size = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", asked.headers["Content-Range"]).groups())
        assert first == len(self.content)
        assert last == first + len(asked.body) - 1
        if self.faults and (fault := self.faults.pop(0)) != "fine":
            return fault
        self.content += asked.body
        if last + 1 == size:
            return 201, {}, {"id": "item", "size": size}
        return 202, {}, {"nextExpectedRanges": [f"{last + 1}-{size - 1}"]}


CONTENT = bytes(range(256)) * 4 * 1024 * 12  # 12 MiB: three parts
SESSION = "/me/drive/root:/film.mp4:/createUploadSession"


@pytest.mark.parametrize("kind", [bytes, io.BytesIO])
def test_a_file_of_any_size_is_sent_in_parts(run, scripted, kind):
    drive = Drive(scripted)
    made = {"item": {"@microsoft.graph.conflictBehavior": "rename"}}
    item = run(lambda context: auth.graph.upload(SESSION, context, kind(CONTENT), json=made))
    assert item == {"id": "item", "size": len(CONTENT)}
    assert drive.content == CONTENT
    assert json.loads(scripted.asked[0].body) == made
    assert [len(each.body) for each in scripted.asked[1:]] == [PART_BYTES, PART_BYTES, len(CONTENT) - 2 * PART_BYTES]


@pytest.mark.parametrize("fault", [None, (503, {}, {}), (500, {}, b""), (416, {}, {})])
def test_a_part_that_fails_is_sent_again_from_where_the_other_side_is(run, scripted, fault):
    drive = Drive(scripted, faults=["fine", fault, fault])
    assert run(lambda context: auth.graph.upload(SESSION, context, CONTENT))["size"] == len(CONTENT)
    assert drive.content == CONTENT


def test_an_upload_that_is_cut_off_can_be_continued(run, scripted):
    drive = Drive(scripted, faults=["fine", None, None, None])
    error = run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert (error.kind, error.may_have_happened) == ("unavailable", False)
    assert error.upload_url == f"{scripted.url}/up/secret"
    assert "/up" not in "".join(traceback.format_exception(error)) + run.page.text
    assert len(drive.content) == PART_BYTES
    scripted.asked.clear()
    scripted.answers = [drive.take] * 9
    item = run(lambda context: auth.graph.upload(SESSION, context, CONTENT, upload_url=error.upload_url))
    assert item["size"] == len(CONTENT)
    assert drive.content == CONTENT
    assert scripted.methods() == ["GET", "PUT", "PUT"]


def test_a_part_that_has_come_already_is_not_sent_again(run, scripted):
    drive = Drive(scripted)

    def lost(asked):  # it is there, and its answer is not
        drive.take(asked)
        return None

    scripted.answers.insert(1, lost)
    assert run(lambda context: auth.graph.upload(SESSION, context, CONTENT))["size"] == len(CONTENT)
    assert scripted.methods() == ["POST", "PUT", "GET", "PUT", "PUT"]


@pytest.mark.parametrize("answer", [None, (502, {}, b""), (201, {}, b"<html>"), (201, {}, b"[" * 100_000)])
def test_a_last_part_whose_answer_is_lost_may_be_there(run, scripted, answer):
    Drive(scripted, faults=["fine", "fine", answer])
    scripted.answers[4:] = [(404, {}, {})]  # the session is gone, as when the file is whole
    error = run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert error.may_have_happened
    assert error.kind == ("not_understood" if answer and answer[0] == 201 else "not_found")
    assert "the outcome is unknown" in str(error)


def test_an_upload_that_stands_still_is_given_up(run, scripted):
    Drive(scripted, faults=["fine", *[(202, {}, {"nextExpectedRanges": [f"{PART_BYTES}-"]})] * 99])
    error = run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert (error.kind, error.upload_url) == ("not_understood", f"{scripted.url}/up/secret")
    assert "stands still" in error.message
    assert len(scripted.asked) == 5


def test_an_upload_is_counted_among_the_requests_of_the_person(run, scripted, app, monkeypatch):
    Drive(scripted)
    persons, fetch = [], app.extensions[KEY].http.fetch
    http = app.extensions[KEY].http
    monkeypatch.setattr(
        http, "fetch", lambda *args, **kwargs: persons.append(kwargs.get("person")) or fetch(*args, **kwargs)
    )
    run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert persons == ["the-token"] * 4


@pytest.mark.parametrize("answer", [(404, {}, {}), (409, {}, {}), (429, {"Retry-After": "9"}, {})])
def test_a_session_that_is_gone_is_an_error_at_once(run, scripted, answer):
    Drive(scripted, faults=[answer])
    error = run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert error.status == answer[0]
    assert scripted.methods() == ["POST", "PUT"]


@pytest.mark.parametrize(
    "url", [None, 5, "", "ftp://x/", "http://10.0.0.1/up", "http://127.0.0.1:9/up", "javascript:0"]
)
def test_a_file_is_not_sent_anywhere(run, scripted, url):
    scripted.answers = [(200, {}, {"uploadUrl": url})]
    assert run(lambda context: auth.graph.upload(SESSION, context, CONTENT)).kind == "not_understood"
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("ranges", [[], ["x"], ["99999999999-"], 5, None])
def test_a_part_of_which_the_other_side_says_nothing_readable(run, scripted, ranges):
    Drive(scripted, faults=[(202, {}, {"nextExpectedRanges": ranges})])
    error = run(lambda context: auth.graph.upload(SESSION, context, CONTENT))
    assert error.kind == "not_understood"


def test_an_empty_file_is_said_to_need_another_way(run, scripted):
    assert "put it" in str(run(lambda context: auth.graph.upload(SESSION, context, b"")))
    assert scripted.asked == []


def test_a_file_that_gets_shorter_while_it_is_sent(run, scripted):
    Drive(scripted)

    class Shrinking(io.BytesIO):
        def read(self, size=-1):
            return super().read(size) if self.tell() == 0 else b""

    error = run(lambda context: auth.graph.upload(SESSION, context, Shrinking(CONTENT)))
    assert "has ended after" in error.message

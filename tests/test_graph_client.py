"""What is asked of Graph, and what of its answers is believed, in milliseconds."""

import json
from types import SimpleNamespace

import flask
import pytest
import requests

from flask_entra import memberships
from flask_entra.graph import GraphClient
from flask_entra.graph_error import GraphError
from flask_entra.memberships import Memberships

ENDPOINT = "https://graph.example/v1.0/me"
GROUPS = [f"00000000-0000-4000-8000-{number:012}" for number in range(45)]
HERE, THERE = GROUPS[:2]


class Http:
    """Stands in for the HTTP client: gives the answers that a test has prepared, and keeps what was asked."""

    def __init__(self, *answers, status=200, headers=()):
        self.answers, self.asked, self.status, self.headers = list(answers), [], status, dict(headers)

    def fetch(self, method, url, **kwargs):
        self.asked.append(SimpleNamespace(method=method, url=url, **kwargs))
        answer = self.answers.pop(0) if self.answers else {"value": kwargs["json"]["groupIds"]}
        response = requests.Response()
        response.status_code, response.url = self.status, url
        response.headers.update(self.headers)
        response._content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return response


def test_a_call_is_on_behalf_of_the_person_whose_token_it_is_and_has_an_id_of_its_own():
    http = Http({"a": 1}, {"a": 1})
    graph = GraphClient(http, ENDPOINT)
    graph.me("adeles")
    graph.me("alexs")
    assert [each.person for each in http.asked] == ["adeles", "alexs"]
    assert [each.headers["Authorization"] for each in http.asked] == ["Bearer adeles", "Bearer alexs"]
    assert len({each.headers["client-request-id"] for each in http.asked}) == 2
    assert {each.headers["return-client-request-id"] for each in http.asked} == {"true"}


def test_each_of_45_groups_is_asked_about_once_twenty_at_a_time_and_may_be_asked_about_again():
    http = Http()
    assert GraphClient(http, ENDPOINT).check_member_groups("token", GROUPS) == set(GROUPS)
    asked = [each.json["groupIds"] for each in http.asked]
    assert [len(each) for each in asked] == [20, 20, 5]
    assert sum(asked, []) == GROUPS
    assert {(each.method, each.url, each.repeatable) for each in http.asked} == {
        ("POST", f"{ENDPOINT}/checkMemberGroups", True)
    }


def test_a_group_is_the_same_in_capitals():
    lettered = "abcdefab-0000-4000-8000-00000000000a"
    assert GraphClient(Http({"value": [lettered.upper()]}), ENDPOINT).check_member_groups("token", [lettered]) == {
        lettered
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"value": [HERE, THERE]},  # one that was not asked about
        {"value": [HERE], "@odata.nextLink": f"{ENDPOINT}/next"},
        {"value": HERE},
        {"value": [1]},
        {},
        b"[]",
    ],
)
def test_an_answer_that_is_not_whole_or_about_something_else_is_none(answer):
    with pytest.raises(GraphError) as error:
        GraphClient(Http(answer), ENDPOINT).check_member_groups("token", [HERE])
    assert error.value.kind == "not_understood"


def test_a_photo_may_have_four_megabytes():
    http = Http(b"\xff\xd8\xff...")
    assert GraphClient(http, ENDPOINT).photo("token") == (b"\xff\xd8\xff...", "image/jpeg")
    assert http.asked[0].limit == 4 * 2**20
    assert http.asked[0].url == f"{ENDPOINT}/photo/$value"


def test_a_refusal_has_graphs_own_id_for_support_and_else_the_apps():
    for ids, found in [
        ({"request-id": "graphs", "client-request-id": "ours"}, "graphs"),
        ({"client-request-id": "ours"}, "ours"),
    ]:
        http = Http({"error": {"code": "Forbidden", "message": "no"}}, status=403, headers=ids)
        with pytest.raises(GraphError) as error:
            GraphClient(http, ENDPOINT).me("token")
        assert error.value.request_id == found


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_a_part_of_an_answer_or_none_yet_is_none(status):
    http = Http({"a": 1}, b"\xff\xd8\xff...", status=status)
    graph = GraphClient(http, ENDPOINT)
    with pytest.raises(GraphError) as error:
        graph.me("token")
    assert (error.value.kind, error.value.status) == ("not_understood", status)
    assert graph.photo("token") is None


@pytest.mark.parametrize("endpoint", ["", "/v1.0/me", "https://", "not a url"])
def test_without_an_address_nobody_is_asked(endpoint):
    http = Http({"a": 1})
    with pytest.raises(GraphError) as error:
        GraphClient(http, endpoint).me("token")
    assert error.value.kind == "no_endpoint"
    assert http.asked == []


# --- What is remembered of it -------------------------------------------------------------------------------------------


class Auth:
    """Stands in for the sign-in: a token for everybody."""

    def context(self, scopes):
        return {"access_token": "token", "scopes": scopes}

    def call(self, api, context):
        return api(context["access_token"])


def test_a_membership_opens_what_it_was_asked_for_and_nothing_else(visit):
    http = Http({"value": [HERE]}, {"value": []}, {"value": [HERE]})
    member_of = Memberships(Auth(), http, "https://graph.example")
    user = {"sub": "adele", "iat": 1}
    with visit().app.test_request_context("/"):
        assert member_of(user, (HERE,)) == {HERE}
        assert member_of(user, (THERE,)) == set()
        assert member_of(user, (HERE, THERE)) == {HERE}
        assert [each.json["groupIds"] for each in http.asked] == [[HERE], [THERE]]  # both are known by now
        assert member_of({**user, "iat": 2}, (HERE,)) == {HERE}  # another ID token
        assert len(http.asked) == 3


def test_it_is_remembered_for_five_minutes(visit, monkeypatch):
    http, now = Http(*[{"value": [HERE]}] * 4), 1_000_000
    member_of, user = Memberships(Auth(), http, "https://graph.example"), {"sub": "adele"}
    with visit().app.test_request_context("/"):
        for later, asked in ((0, 1), (299, 1), (301, 2), (600, 2), (602, 3), (-5000, 4)):
            clock = SimpleNamespace(time=lambda later=later: now + later)
            monkeypatch.setattr(memberships, "time", clock)
            assert member_of(user, (HERE,)) == {HERE}
            assert len(http.asked) == asked
        assert flask.session[memberships.KNOWN]["known"][HERE] == [True, now - 5000]

"""Who may do what: app roles, groups and groups overage, over HTTP on the sandbox."""

import re
import time
from types import SimpleNamespace

import jwt
import pytest
from conftest import ROOT
from flask import Flask
from visitor import REDIRECTS, Page, Visitor, let_the_id_token_expire

from flask_entra import Auth, memberships
from sandbox.faults import Answer, Close, Truncated
from sandbox.people import group_id

FINANCE = group_id("Finance")


@pytest.fixture
def person(staff):
    return Visitor(staff.url)


def text(page):
    return re.sub(r"\s+", " ", Page(page.text).text)


def refreshes(box):
    return [each for each in box.seen("token") if each.form["grant_type"] == "refresh_token"]


# --- Roles --------------------------------------------------------------------------------------------------------------


def test_the_role_opens_the_view(person):
    page = person.go_on(person.get("/staff/approvals"), "patti")
    assert (page.status_code, page.text) == (200, "Patti Fernandez may approve orders.")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Not allowed", "This page is for people with the role Orders.Approve.", "Users and groups"]),
        ("fr", ["Accès non autorisé", "Orders.Approve", "Utilisateurs et groupes"]),
    ],
)
def test_without_the_role_a_page_says_which_it_is_and_who_gives_it(person, staff, box, language, words):
    person.headers["Accept-Language"] = language
    page = person.go_on(person.get("/staff/approvals"), "alex")
    assert page.status_code == 403
    for each in words:
        assert each in text(page)
    assert 'href="/login?next=%2Fstaff%2Fapprovals"' in page.text
    assert 'href="/login?next=%2Fstaff%2Fapprovals&amp;prompt=select_account"' in page.text
    oid = box.person("alex").oid
    assert re.search(rf"403 NotAllowed: oid={oid} tid={box.tenant_id} roles: one of Orders\.Approve", staff.log())
    assert person.get("/mail/", follow=False).status_code in REDIRECTS  # nothing is lost: the rest of the app goes on


def test_another_account_comes_back_to_the_page(person):
    page = person.go_on(person.get("/staff/approvals"), "alex")
    link = re.search(r'href="(/login\?next=[^"]*prompt=select_account)"', page.text)[1].replace("&amp;", "&")
    assert person.go_on(person.get(link), "patti").text == "Patti Fernandez may approve orders."


def test_a_role_that_is_given_is_picked_up_by_signing_in_again_without_a_question(person, box):
    page = person.go_on(person.get("/staff/approvals"), "alex")
    box.assign("alex", "Orders.Approve")
    assert person.get("/staff/approvals").status_code == 403
    link = re.search(r'class="button" href="([^"]+)"', page.text)[1]
    assert person.get(link).text == "Alex Wilber may approve orders."


def test_an_id_token_that_has_expired_is_renewed_with_the_roles_of_now(person, staff, box):
    assert person.go_on(person.get("/staff/approvals"), "patti").status_code == 200
    box.unassign("patti", "Orders.Approve")
    let_the_id_token_expire(staff, person)
    assert person.get("/staff/approvals").status_code == 403
    assert len(refreshes(box)) == 1


def test_a_person_whom_nobody_vouches_for_any_more_is_asked_to_sign_in_and_not_told_of_a_role(person, staff, box):
    assert person.go_on(person.get("/staff/approvals"), "alex").status_code == 403
    let_the_id_token_expire(staff, person)
    box.revoke("alex")
    assert person.get("/staff/approvals", follow=False).headers["Location"].startswith(box.front_url)


WITH_A_TOKEN = """
from app import app, auth


@app.get("/role")
@auth.login_required(scopes=["User.Read"], roles=["Orders.Approve"])
def role(*, context):
    return "in"


@app.get("/group")
@auth.login_required(scopes=["User.Read"], groups=["a8e3e0d6-487d-5293-ae3c-92bae21d4b3a"])
def group(*, context):
    return "in"
"""


def test_each_refresh_brings_the_roles_and_the_groups_of_now(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(WITH_A_TOKEN)
    patti = Visitor(serve(flask_app=tmp_path / "mine.py").url)
    isaiah = Visitor(patti.url)
    box.access_token_lifetime = 1  # each view refreshes
    assert patti.go_on(patti.get("/role"), "patti").text == "in"
    box.unassign("patti", "Orders.Approve")
    assert patti.get("/role").status_code == 403
    box.assign("patti", "Orders.Approve")
    assert patti.get("/role").text == "in"
    assert isaiah.go_on(isaiah.get("/group"), "isaiah").text == "in"
    box.person("isaiah").groups[0] = group_id("Project 201")
    assert isaiah.get("/group").status_code == 403  # Graph has been asked anew
    assert len(box.seen("groups")) == 2


@pytest.mark.parametrize(
    "claim",
    [
        "Orders.Approve",
        7,
        True,
        {"Orders.Approve": True},
        [["Orders.Approve"]],
        ["Orders.Approve", 7],
        ["Orders.Approve", None],
        [f"Role.{number}" for number in range(9_999)] + ["Orders.Approve"],
        ["orders.approve"],
        ["Orders.Approve "],
        [],
        None,
        "",
    ],
    ids=lambda claim: repr(claim)[:30],
)
def test_a_claim_that_is_no_list_of_roles_admits_nobody(person, staff, box, claim):
    before = len(staff.log())
    box.person("patti").id_claims["roles"] = claim
    page = person.go_on(person.get("/staff/approvals"), "patti")
    assert page.status_code == 403
    assert "Orders.Approve" in text(page)
    assert "403 NotAllowed" in staff.log()[before:]
    assert len(page.content) < 10_000
    assert person.get("/staff/news").status_code == 200


# --- Groups -------------------------------------------------------------------------------------------------------------


def test_the_group_opens_the_view_and_graph_is_not_asked(person, box):
    page = person.go_on(person.get("/staff/figures"), "nestor")
    assert (page.status_code, page.text) == (200, "Nestor Wilke may see the figures.")
    assert box.seen("groups") == []


def test_a_group_is_the_same_in_capitals(person, box):
    box.person("nestor").groups[:] = [FINANCE.upper()]
    assert person.go_on(person.get("/staff/figures"), "nestor").status_code == 200


def test_without_the_group_a_page_names_it_for_support(person):
    page = person.go_on(person.get("/staff/figures"), "alex")
    assert page.status_code == 403
    assert "members of a group" in text(page)
    assert FINANCE in text(page)
    assert "Token configuration › Add groups claim" in text(page)  # the token has none at all


@pytest.mark.parametrize("claim", [FINANCE, 7, {FINANCE: 1}, [[FINANCE]], [FINANCE, 7], ["Finance"], [FINANCE] * 2000])
def test_a_claim_that_is_no_list_of_group_ids_admits_nobody(person, staff, box, claim):
    before = len(staff.log())
    box.person("nestor").id_claims["groups"] = claim
    page = person.go_on(person.get("/staff/figures"), "nestor")
    assert page.status_code == 403
    assert "403 NotAllowed" in staff.log()[before:]


def test_of_201_groups_graph_is_asked_about_the_one_that_matters_and_the_answer_is_kept(person, box):
    page = person.go_on(person.get("/staff/figures"), "isaiah")
    assert (page.status_code, page.text) == (200, "Isaiah Langer may see the figures.")
    (asked,) = box.seen("groups")
    assert asked.method == "POST"
    assert person.get("/staff/figures").status_code == 200
    assert len(box.seen("groups")) == 1


def test_hasgroups_is_overage_too(person, box):
    box.person("nestor").id_claims["hasgroups"] = True
    box.group_claims = False
    assert person.go_on(person.get("/staff/figures"), "nestor").status_code == 200
    assert len(box.seen("groups")) == 1


def test_a_no_of_graph_is_kept_as_well_and_a_new_sign_in_asks_anew(person, box):
    box.person("isaiah").groups.remove(FINANCE)
    box.person("isaiah").groups.append(group_id("Project 201"))
    assert person.go_on(person.get("/staff/figures"), "isaiah").status_code == 403
    box.person("isaiah").groups.append(FINANCE)
    assert person.get("/staff/figures").status_code == 403
    assert len(box.seen("groups")) == 1
    assert person.get("/login?next=/staff/figures").text == "Isaiah Langer may see the figures."
    assert len(box.seen("groups")) == 2


def test_an_answer_of_graph_holds_for_five_minutes_and_none_from_the_future(monkeypatch):
    clock, asked = SimpleNamespace(time=lambda: 1_000_000), []
    auth = SimpleNamespace(context=lambda scopes: scopes, call=lambda api, context: asked.append(1) or {FINANCE})
    monkeypatch.setattr(memberships, "time", clock)
    member_of = memberships.Memberships(auth, None, "https://graph.microsoft.com")
    app = Flask(__name__)
    app.secret_key = "x"
    with app.test_request_context():
        for now, times in ((1_000_000, 1), (1_000_299, 1), (1_000_300, 2), (999_000, 3)):
            clock.time = lambda now=now: now
            assert member_of({"sub": "s"}, (FINANCE,)) == {FINANCE}
            assert len(asked) == times


@pytest.mark.parametrize(
    "sources",
    [
        {"src1": {"endpoint": "https://attacker.example/getMemberObjects"}},
        {"src1": {"JWT": "x.y.z"}},
        "https://attacker.example/",
        None,
    ],
)
def test_where_the_token_says_that_groups_can_be_asked_for_is_never_followed(person, box, sources):
    box.person("isaiah").id_claims["_claim_sources"] = sources
    assert person.go_on(person.get("/staff/figures"), "isaiah").status_code == 200
    (asked,) = box.seen("groups")
    assert asked.path == "/v1.0/me/checkMemberGroups"


@pytest.mark.parametrize("names", ["groups", ["groups"], 7, None, {}])
def test_claim_names_that_are_none_are_no_overage(person, box, names):
    box.person("isaiah").id_claims["_claim_names"] = names
    assert person.go_on(person.get("/staff/figures"), "isaiah").status_code == 403
    assert box.seen("groups") == []


MEMBER = {"value": [FINANCE]}
FAULTS = {
    "403": Answer(403, {"error": {"code": "Authorization_RequestDenied", "message": "No."}}),
    "404": Answer(404, {"error": {"code": "Request_ResourceNotFound", "message": "No."}}),
    "429": Answer(429, {"error": {"code": "TooManyRequests", "message": "No."}}, {"Retry-After": "1"}),
    "500": Answer(500),
    "503": Answer(503, "", {"Retry-After": "1"}),
    "204": Answer(204),
    "redirect": Answer(302, "", {"Location": "https://attacker.example/"}),
    "half": Truncated(b'{"value": ["' + FINANCE.encode()),
    "more elsewhere": Answer(200, {**MEMBER, "@odata.nextLink": "https://attacker.example/"}),
    "not JSON": Answer(200, FINANCE),
    "a list": Answer(200, [FINANCE]),
    "no value": Answer(200, {"values": [FINANCE]}),
    "a text": Answer(200, {"value": FINANCE}),
    "an object": Answer(200, {"value": {FINANCE: True}}),
    "nested": Answer(200, {"value": [[FINANCE]]}),
    "a number in it": Answer(200, {"value": [FINANCE, 7]}),
    "true": Answer(200, {"value": True}),
    "another group": Answer(200, {"value": [FINANCE, group_id("Sales")]}),
    "an error in a 200": Answer(200, {"error": {"code": "x", "message": "y"}}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_graph_that_does_not_answer_all_of_it_lets_nobody_in_and_says_try_again(person, staff, box, fault):
    before = len(staff.log())
    box.misbehave("groups", FAULTS[fault], times=None)
    page = person.go_on(person.get("/staff/figures"), "isaiah")
    assert page.status_code == 503
    assert "this page stays closed" in text(page)
    assert 'href="/staff/figures">Try again' in page.text
    assert page.headers.get("Retry-After") == ("1" if fault in ("429", "503") else None)
    time.sleep(1.1 if "Retry-After" in page.headers else 0)
    assert "503 MembershipUnknown" in staff.log()[before:]
    box.behave()
    assert person.get("/staff/figures").status_code == 200  # nothing is lost, and no refusal was kept


def test_a_graph_that_does_not_answer_in_french(person, box):
    person.headers["Accept-Language"] = "fr"
    box.misbehave("groups", Answer(503, "", {"Retry-After": "11"}))
    page = person.go_on(person.get("/staff/figures"), "isaiah")
    assert page.status_code == 503
    assert "cette page reste fermée" in text(page)
    assert "11 secondes" in text(page)


def test_an_app_of_another_api_asks_for_the_permission_to_ask_graph(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(ELSEWHERE)
    person = Visitor(serve(flask_app=tmp_path / "mine.py", SCOPE=box.orders_scope).url)
    person.sign_in("isaiah")
    asked = person.get("/figures", headers={"Accept": "application/json"})
    assert (asked.status_code, asked.json()["scopes"]) == (401, ["User.Read"])
    assert person.go_on(person.get("/figures")).text == "in"
    assert "User.Read" in box.seen("authorize")[-1].query["scope"].split()


def test_a_connection_that_had_died_while_it_was_idle_keeps_nobody_out(person, box):
    box.misbehave("groups", Close())
    assert person.go_on(person.get("/staff/figures"), "isaiah").status_code == 200


def test_a_token_that_graph_refuses_is_renewed_for_the_question(person, box):
    box.misbehave("groups", Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "No."}}))
    assert person.go_on(person.get("/staff/figures"), "isaiah").status_code == 200
    assert len(refreshes(box)) == 1


def test_a_graph_that_refuses_every_token_lets_nobody_in(person, box):
    refusal = Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "No."}})
    box.misbehave("groups", refusal, times=None)
    page = person.go_on(person.get("/staff/figures"), "isaiah")
    assert page.status_code == 401
    assert len(box.seen("authorize")) <= 5


MANY = """
import os
from app import app, auth

mine = os.environ["MINE"].split()


@app.get("/many")
@auth.login_required(groups=mine)
def many(*, context):
    return "in"
"""


def test_25_groups_are_asked_about_in_two_calls_and_half_an_answer_is_none(serve, box, tmp_path):
    groups = [FINANCE, *(group_id(f"Other {number}") for number in range(24))]
    (tmp_path / "mine.py").write_text(MANY)
    person = Visitor(serve(flask_app=tmp_path / "mine.py", MINE=" ".join(groups)).url)
    answers = iter([None, Answer(503), None, None])
    box.misbehave("groups", lambda environ: next(answers), times=None)
    page = person.go_on(person.get("/many"), "isaiah")
    assert page.status_code == 503
    assert person.get("/many").text == "in"
    assert len(box.seen("groups")) == 4


ELSEWHERE = """
from app import app, auth


@app.get("/figures")
@auth.login_required(groups=["a8e3e0d6-487d-5293-ae3c-92bae21d4b3a"])
def figures(*, context):
    return "in"
"""


def test_without_a_graph_to_ask_the_page_says_so(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(ELSEWHERE)
    app = serve(flask_app=tmp_path / "mine.py", OIDC_AUTHORITY=f"{box.authority()}/v2.0", AUTHORITY=None, ENDPOINT=None)
    page = Visitor(app.url)
    page = page.go_on(page.get("/figures"), "isaiah")
    assert page.status_code == 403
    assert "cannot look them up in Microsoft Graph" in text(page)
    assert "MembershipUnknown" in app.log()
    assert box.seen("groups") == []


# --- What a developer may write wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"roles": "Orders.Approve"}, TypeError, r"roles='Orders.Approve'\): roles is a list"),
        ({"roles": 7}, TypeError, "roles=7"),
        ({"roles": [7]}, TypeError, "roles is a list of texts"),
        ({"roles": {"a": 1}}, TypeError, "roles is a list of texts"),
        ({"roles": []}, ValueError, "names no role"),
        ({"roles": [" "]}, ValueError, "an entry is empty"),
        ({"groups": FINANCE}, TypeError, "groups is a list of texts"),
        ({"groups": [FINANCE[:-1]]}, ValueError, "is not the id of a group. Copy the Object ID"),
        ({"groups": []}, ValueError, "names no group"),
        ({"scopes": "User.Read"}, TypeError, "scopes is a list of texts"),
        ({"scopes": [""]}, ValueError, "an entry is empty"),
    ],
)
def test_what_is_written_wrong_is_said_at_once(wrong, error, words):
    with pytest.raises(error, match=words):
        Auth().login_required(**wrong)


def test_every_way_to_write_it_right():
    auth = Auth()

    def view(*, context):
        """Mine."""

    for decorated in (
        auth.login_required(view),
        auth.login_required()(view),
        auth.login_required(scopes=["a", "https://graph.microsoft.com/b"], roles={"x"}, groups=(FINANCE.upper(),))(
            view
        ),
    ):
        assert (decorated.__name__, decorated.__doc__) == ("view", "Mine.")


# --- Files and Redis ----------------------------------------------------------------------------------------------------


def test_on_redis_too(serve, box, request):
    settings = {"REDIS_URL": request.getfixturevalue("redis_server").url, "SECRET_KEY": "x" * 32}
    app = serve(flask_app=ROOT / "tests" / "own_app", **settings)
    isaiah, patti, alex = (Visitor(app.url) for _ in range(3))
    assert isaiah.go_on(isaiah.get("/staff/figures"), "isaiah").status_code == 200
    assert isaiah.get("/staff/figures").status_code == 200
    assert len(box.seen("groups")) == 1
    assert patti.go_on(patti.get("/staff/approvals"), "patti").status_code == 200
    assert alex.go_on(alex.get("/staff/approvals"), "alex").status_code == 403
    isaiah.sign_out()
    assert isaiah.get("/staff/figures", follow=False).status_code in REDIRECTS


# --- More consent, and two APIs -----------------------------------------------------------------------------------------


def test_consent_is_not_asked_of_somebody_who_may_not_open_the_page(serve, box, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from app import app, auth\n\n\n@app.get('/both')\n"
        "@auth.login_required(scopes=['Mail.Read'], roles=['Orders.Approve'])\n"
        "def both(*, context):\n    return 'in'\n"
    )
    person = Visitor(serve(flask_app=tmp_path / "mine.py").url)
    person.sign_in("alex")
    assert person.get("/both", follow=False).status_code == 403
    patti = Visitor(person.url)
    patti.sign_in("patti")
    assert patti.go_on(patti.get("/both"), "patti").text == "in"


@pytest.mark.parametrize(("language", "words"), [("en", "not been given: Mail.Read."), ("fr", "Mail.Read")])
def test_declining_more_names_what_is_missing_and_the_rest_works(person, box, language, words):
    person.headers["Accept-Language"] = language
    person.go_on(person.get("/staff/news"))
    page = person.press(person.get("/mail/"), "cancel")
    assert page.status_code == 403
    assert words in text(page)
    assert 'href="/login?next=%2Fmail%2F"' in page.text
    assert person.get("/staff/news").text == "News for Adèle Vance."
    assert "Quarterly figures" in person.go_on(person.get("/mail/")).text


def test_two_apis_get_tokens_of_their_own_audience_from_one_sign_in(person, box):
    page = person.go_on(person.get("/staff/orders"))
    while not page.url.endswith("/staff/orders"):
        page = person.go_on(page)
    assert page.json() == {"name": "Adèle Vance", "orders": [{"item": "Two chairs"}, {"item": "A lamp"}]}
    audiences = [
        jwt.decode(box.seen(name)[-1].headers["Authorization"].split()[1], options={"verify_signature": False})
        for name in ("orders", "me")
    ]
    assert [each["aud"] for each in audiences] == [
        box.orders_scope.rpartition("/")[0],
        "00000003-0000-0000-c000-000000000000",
    ]
    assert audiences[0]["scp"] == "Orders.Read"
    assert person.get("/staff/orders").status_code == 200
    before = len(box.seen("token"))
    assert person.get("/staff/orders").status_code == 200
    assert len(box.seen("token")) == before  # both tokens are kept
    assert all(
        not {box.orders_scope, "User.Read"} <= set(each.query["scope"].split()) for each in box.seen("authorize")
    )


def test_scopes_of_two_apis_at_once_are_explained(serve, box, tmp_path):
    decorated = f"@app.get('/two')\n@auth.login_required(scopes={['User.Read', box.orders_scope]})\n"
    (tmp_path / "mine.py").write_text(f"from app import app, auth\n\n\n{decorated}def two(*, context):\n    pass\n")
    person = Visitor(serve(flask_app=tmp_path / "mine.py").url)
    page = person.go_on(person.get("/two"))
    assert page.status_code == 500
    assert "AADSTS28000" in text(page)
    assert "of several APIs" in text(page)


def test_a_new_sign_in_is_not_needed_for_the_second_api_once_both_are_consented(person, box):
    box.require_consent = False
    page = person.go_on(person.get("/staff/orders"))
    assert page.status_code == 200
    assert len(refreshes(box)) == 1  # Graph's token, from the one refresh token
    assert len([each for each in box.seen("authorize") if each.method == "GET"]) == 1

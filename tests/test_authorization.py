"""What a view asks of a person, held against the claims of their ID token, in milliseconds."""

import pytest

from flask_entra.signin.authorization import Requirement
from flask_entra.signin.errors import NotAllowed

FINANCE, HR = "a8e3e0d6-487d-5293-ae3c-92bae21d4b3a", "11111111-2222-4333-8444-555555555555"
OVERAGE = {"_claim_names": {"groups": "src1"}}


def admitted(user, groups=None, roles=None, member_of=()):
    """Whether a person is admitted, and for how many groups Graph was asked."""
    asked = []

    def ask(_user, wanted):
        asked.append(wanted)
        return member_of

    try:
        Requirement.of(None, roles, groups).check({"sub": "adele", **user}, ask)
    except NotAllowed:
        return False, asked
    return True, asked


@pytest.mark.parametrize("needed", [FINANCE, FINANCE.upper()])
@pytest.mark.parametrize("held", [FINANCE, FINANCE.upper()])
def test_a_group_is_the_same_in_capitals_in_the_view_and_in_the_token(needed, held):
    assert admitted({"groups": [held]}, [needed]) == (True, [])


@pytest.mark.parametrize("role", [True, False])
@pytest.mark.parametrize("group", [True, False])
def test_who_needs_a_role_and_a_group_needs_both(role, group):
    user = {"roles": ["Orders.Approve"] * role, "groups": [FINANCE] * group}
    assert admitted(user, [FINANCE], ["Orders.Approve"]) == (role and group, [])


def test_graph_is_asked_only_where_the_token_names_the_group_not_and_says_that_there_are_more():
    assert admitted({"groups": [HR]}, [FINANCE]) == (False, [])
    assert admitted({"groups": [FINANCE], **OVERAGE}, [FINANCE]) == (True, [])
    assert admitted({"groups": [HR], **OVERAGE}, [FINANCE], member_of={FINANCE}) == (True, [(FINANCE,)])


@pytest.mark.parametrize("more", [OVERAGE, {"hasgroups": True}, {"hasgroups": "true"}])
def test_too_many_groups_for_the_token_can_be_said_in_three_ways(more):
    assert admitted(more, [FINANCE], member_of={FINANCE}) == (True, [(FINANCE,)])
    assert admitted(more, [FINANCE]) == (False, [(FINANCE,)])


@pytest.mark.parametrize(
    "other",
    [{"hasgroups": False}, {"hasgroups": "false"}, {"hasgroups": 1.5}, {"_claim_names": {"address": "src1"}}, {}],
)
def test_no_other_claim_makes_the_app_ask_graph_about_groups(other):
    assert admitted(other, [FINANCE], member_of={FINANCE}) == (False, [])


def test_a_name_among_the_groups_keeps_nobody_out_and_names_alone_do():
    assert admitted({"groups": ["Finance", FINANCE]}, [FINANCE]) == (True, [])
    assert admitted({"groups": ["Finance"]}, [FINANCE]) == (False, [])


@pytest.mark.parametrize(("count", "expected"), [(1200, True), (1201, False)])
def test_a_claim_may_have_1200_entries(count, expected):
    roles = ["Orders.Approve", *(f"Role{number}" for number in range(count - 1))]
    assert admitted({"roles": roles}, roles=["Orders.Approve"]) == (expected, [])


@pytest.mark.parametrize(
    "claim", ["Orders.Approve", "Orders.Read Orders.Approve", {"Orders.Approve": 1}, [["Orders.Approve"]], None]
)
def test_a_claim_of_another_shape_admits_nobody(claim):
    assert admitted({"roles": claim}, roles=["Orders.Approve"]) == (False, [])


@pytest.mark.parametrize(
    ("roles", "groups", "expected"),
    [(["A"], [FINANCE], True), (["A"], [HR], False), (["B"], [FINANCE], False), ([], [FINANCE], False)],
)
def test_with_roles_and_groups_both_are_needed(roles, groups, expected):
    assert admitted({"roles": roles, "groups": groups}, [FINANCE], ["A"])[0] == expected


def test_one_of_the_roles_will_do_and_letter_case_counts():
    assert admitted({"roles": ["B"]}, roles=["A", "B"]) == (True, [])
    assert admitted({"roles": ["b"]}, roles=["A", "B"]) == (False, [])


def test_what_is_written_wrong_is_quoted_by_its_first_sixty_characters():
    with pytest.raises(TypeError) as error:
        Requirement.of(None, "x" * 5000, None)
    assert (
        str(error.value)
        == f"login_required(roles='{'x' * 59}): roles is a list of texts, such as roles=['Orders.Approve']."
    )

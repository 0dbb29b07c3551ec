"""What an API says when it refuses a token, read and written, in milliseconds."""

import base64
import json

import pytest

from flask_entra.bearer import claims_challenge, merged_claims, refusal

CLAIMS = {"access_token": {"nbf": {"essential": True, "value": "1700000000"}, "x": {"value": "ÿÿÿ>>>???"}}}


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padding", ["", "===="])
@pytest.mark.parametrize("more", ["", "x", "xx"])  # so that the text ends in each way
def test_a_challenge_is_read_in_either_alphabet_with_its_padding_or_without(encode, padding, more):
    claims = json.dumps({**CLAIMS, "more": {"x": more}}, ensure_ascii=False)
    text = encode(claims.encode()).decode()
    text = text.rstrip("=") if not padding else text
    assert claims_challenge(f'Bearer realm="", error="insufficient_claims", claims="{text}"') == claims


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        'Bearer error="insufficient_claims"',
        'Bearer error="invalid_token", claims="e30="',
        'Bearer error="insufficient_claims", claims="%%%"',
        'Bearer error="insufficient_claims", claims="WzFd"',  # a list
        'Bearer error="insufficient_claims", claims="bm90IGpzb24="',
        'Bearer error="insufficient_claims", claims="' + base64.b64encode(b"[" * 100_000).decode() + '"',
    ],
)
def test_a_header_without_a_challenge_gives_none(header):
    assert claims_challenge(header) is None


def test_several_challenges_ask_for_all_that_each_asks_for():
    one, two = {"access_token": {"a": None}, "id_token": {"x": None}}, {"access_token": {"b": {"value": "1"}}}
    merged = merged_claims(json.dumps(one), None, json.dumps(two))
    assert json.loads(merged) == {"access_token": {"a": None, "b": {"value": "1"}}, "id_token": {"x": None}}


@pytest.mark.parametrize("challenge", [None, "", "{}", "[]", "5", "not json", '{"access_token": 5}', "[" * 100_000])
def test_what_asks_for_nothing_is_left_out(challenge):
    assert merged_claims(challenge) is None
    assert merged_claims(challenge, '{"access_token":{"a":null}}') == '{"access_token":{"a":null}}'


def test_a_refusal_says_what_is_needed_and_can_be_read_again():
    assert refusal("app.example") == 'Cookie realm="app.example"'
    assert refusal("app.example", "insufficient_scope", ["a", "b"]) == (
        'Cookie realm="app.example", error="insufficient_scope", scope="a b"'
    )
    claims = json.dumps(CLAIMS)
    said = refusal("app.example", "invalid_token", claims=claims)
    assert 'error="insufficient_claims"' in said
    assert json.loads(claims_challenge(said)) == CLAIMS


def test_nothing_in_a_refusal_ends_its_quotation_or_its_line():
    said = refusal('a"b\\c\r\nX: y', scopes=['d"', "é"])
    assert said == 'Cookie realm="abcX: y", scope="d "'

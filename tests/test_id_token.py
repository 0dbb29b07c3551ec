"""The validation of an ID token by itself, in milliseconds: what is refused, and by which of the checks."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode

from flask_entra.signin.errors import IdTokenRefused, TenantNotAllowed
from flask_entra.signin.id_token import LEEWAY_SECONDS, Expected, Key, NoKeyFits, key_id, validate

US, THEM = "852bedc8-1345-41c8-99f3-2fa1667ffefa", "11111111-2222-4333-8444-555555555555"
ISSUER = f"https://login.example/{US}/v2.0"
ANY = "https://login.example/{tenantid}/v2.0"
APP, ALGORITHMS = "dd96df90-ffaf-4b01-a34d-b3a2abc47d16", frozenset({"RS256", "ES256"})
PRIVATE, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def published(private=PRIVATE, **more):
    """A key as the authority publishes it; None leaves a member out."""
    entry = {**json.loads(ECAlgorithm.to_jwk(private.public_key())), "kid": "one", "use": "sig", **more}
    return Key.read({name: value for name, value in entry.items() if value is not None})


def claims(**changes):
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": APP, "exp": now + 3600, "iat": now, "nbf": now, "sub": "adele", "tid": US}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def token(private=PRIVATE, algorithm="ES256", header=None, **changes):
    header = {name: value for name, value in {"kid": "one", **(header or {})}.items() if value is not None}
    payload = json.dumps(claims(**changes)).encode()
    return jwt.PyJWS().encode(payload, private, algorithm, header)


def accepted(given, keys=None, issuer=ISSUER, **expected):
    expected = Expected(**{"client_id": APP, "tenant_id": US, **expected})
    return validate(given, keys or [published()], ALGORITHMS, issuer, expected)


def refused(reason, given, kind=IdTokenRefused, **wanted):
    with pytest.raises(IdTokenRefused, match=reason) as error:
        accepted(given, **wanted)
    assert type(error.value) is kind


def test_a_token_of_the_authority_for_this_app_is_accepted():
    given = claims()
    assert accepted(token(**given)) == given


MISSING = {name: f'missing the "{name}" claim' for name in ("iss", "aud", "exp", "iat", "sub")}


@pytest.mark.parametrize(("name", "reason"), MISSING.items(), ids=MISSING)
def test_a_token_without_a_claim_that_it_must_have_is_refused_for_that(name, reason):
    refused(reason, token(**{name: None}))


CHANGES = [
    ({"iss": ISSUER + "/"}, r"\(iss\)"),
    ({"iss": ISSUER.replace(US, THEM)}, r"\(iss\)"),
    ({"iss": ""}, r"\(iss\)"),
    ({"aud": "another"}, "Audience doesn't match"),
    ({"aud": ["another"]}, "Audience doesn't match"),
    ({"aud": []}, "Audience doesn't match|missing"),
    ({"aud": 5}, "Invalid claim format"),
    ({"aud": "another", "azp": APP}, "Audience doesn't match"),
    ({"aud": [APP, "another"]}, r"\(azp\)"),
    ({"aud": [APP, "another"], "azp": "another"}, r"\(azp\)"),
    ({"azp": "another"}, r"\(azp\)"),
    ({"azp": ""}, r"\(azp\)"),
    ({"sub": ""}, r"\(sub\) is empty"),
    ({"sub": 5}, "Subject must be a string"),
    ({"sub": "  \t"}, r"\(sub\) is empty"),
    ({"exp": "2000000000"}, r"time \(exp\) is no such number"),
    ({"exp": 1e18}, r"time \(exp\) is no such number"),
    ({"exp": 2**60}, r"time \(exp\) is no such number"),
    ({"iat": "1"}, r"time \(iat\) is no such number"),
    ({"iat": True}, r"time \(iat\) is no such number"),
    ({"iat": -1}, r"time \(iat\) is no such number"),
    ({"nbf": "1"}, r"time \(nbf\) is no such number"),
    ({"nbf": False}, r"time \(nbf\) is no such number"),
    ({"exp": "soon"}, "must be an integer"),
    ({"tid": "contoso.com"}, r"\(tid\) is not a GUID"),
    ({"tid": 5}, r"\(tid\) is not a GUID"),
    ({"tid": US + "/x"}, r"\(tid\) is not a GUID"),
    ({"tid": THEM}, r"\(tid\) is not the authority's"),
    ({"tid": None}, r"\(tid\) is not the authority's"),
    ({"name": "\ud800"}, "not text"),
    ({"number": 2**70}, "not text"),
]


@pytest.mark.parametrize(
    ("changes", "reason"), CHANGES, ids=lambda each: str(each)[:60].encode("ascii", "replace").decode()
)
def test_a_changed_claim_is_refused_by_the_check_that_is_for_it(changes, reason):
    refused(reason, token(**changes))


@pytest.mark.parametrize(
    "changes", [{"aud": [APP]}, {"azp": APP}, {"aud": [APP, "another"], "azp": APP}, {"tid": US.upper()}]
)
def test_other_spellings_of_what_is_right_are_accepted(changes):
    assert accepted(token(**changes))["sub"] == "adele"


@pytest.mark.parametrize(
    ("name", "within", "beyond", "reason"),
    [
        ("exp", -LEEWAY_SECONDS + 20, -LEEWAY_SECONDS - 20, "expired"),
        ("iat", LEEWAY_SECONDS - 20, LEEWAY_SECONDS + 20, r"not yet valid \(iat\)"),
        ("nbf", LEEWAY_SECONDS - 20, LEEWAY_SECONDS + 20, r"not yet valid \(nbf\)"),
    ],
)
def test_a_clock_may_be_off_by_two_minutes_and_no_more(name, within, beyond, reason):
    assert LEEWAY_SECONDS == 120
    accepted(token(**{name: int(time.time()) + within}))
    refused(reason, token(**{name: int(time.time()) + beyond}))


# --- Signatures and keys ------------------------------------------------------------------------------------------------


def test_what_is_not_announced_is_refused_before_any_key_is_tried():
    for given in (
        token(None, "none"),
        token("k" * 32, "HS256"),
        token(ec.generate_private_key(ec.SECP384R1()), "ES384"),
    ):
        refused(r"\(alg\)", given)


@pytest.mark.parametrize("given", ["", "a.b.c", "é.é.é", 5, None, {}, ["a"], b"\xff", "." * 5, "e30.e30."])
def test_a_text_that_is_no_token_is_refused(given):
    with pytest.raises(IdTokenRefused):
        accepted(given)


def test_what_is_nested_too_deeply_to_be_read_is_no_token():
    deep = b'{"a":' * 100_000
    head = f"{base64url_encode(deep).decode()}.e30.e30"
    refused("recursion|not a JWT", head)  # newer releases of PyJWT say it themselves
    refused("recursion|not a JWT", jwt.PyJWS().encode(deep, PRIVATE, "ES256", {"kid": "one"}))
    with pytest.raises(IdTokenRefused):
        key_id(head)


@pytest.mark.parametrize("given", ["", "a.b.c", 5, None])
def test_a_text_that_is_no_token_names_no_key(given):
    with pytest.raises(IdTokenRefused):
        key_id(given)


def test_the_key_that_a_token_names_is_told():
    assert key_id(token()) == "one"
    assert key_id(token(header={"kid": None})) is None


def test_a_signature_of_another_key_is_one_that_no_key_fits():
    refused("does not publish", token(OTHER), NoKeyFits)
    refused("does not publish", token(header={"kid": "two"}), NoKeyFits)
    refused("does not publish", token(), NoKeyFits, keys=[published(kid="two")])


def test_of_two_keys_without_an_id_either_may_have_signed():
    keys = [published(kid=None), published(OTHER, kid=None)]
    for private in (PRIVATE, OTHER):
        accepted(token(private), keys=keys)
        accepted(token(private, header={"kid": None}), keys=keys)


def test_a_token_that_names_no_key_may_be_signed_with_any():
    accepted(token(OTHER, header={"kid": None}), keys=[published(), published(OTHER, kid="two")])


def test_a_key_signs_only_by_its_own_algorithm_and_kind():
    refused("does not publish", token(), NoKeyFits, keys=[published(alg="ES512")])
    accepted(token(), keys=[published(alg="ES256")])
    key = published()
    assert key.kind == "EC"
    assert not key.fits({"alg": "RS256", "kid": "one"})


def test_a_key_that_is_not_for_signatures_is_none():
    assert published(use="enc") is None
    assert Key.read({"kty": "oct", "k": "c2VjcmV0"}) is None
    assert published(use=None)


@pytest.mark.parametrize(("bits", "usable"), [(1024, False), (2040, False), (2048, True)])
def test_a_key_that_is_too_short_cannot_be_used(bits, usable):
    entry = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, bits).public_key()))
    if usable:
        assert Key.read(entry)
    else:
        with pytest.raises(ValueError, match="too short"):
            Key.read(entry)


# --- An authority for many tenants ----------------------------------------------------------------------------------------

THEIRS = ANY.replace("{tenantid}", THEM)


def test_the_tenant_of_the_token_is_the_issuers_under_common():
    accepted(token(iss=THEIRS, tid=THEM), issuer=ANY, tenant_id=None)
    refused(r"\(iss\)", token(iss=THEIRS, tid=US), issuer=ANY, tenant_id=None)
    refused(r"\(iss\)", token(iss=THEIRS, tid=None), issuer=ANY, tenant_id=None)
    refused(r"\(iss\)", token(iss=ANY, tid=THEM), issuer=ANY, tenant_id=None)


def test_a_key_of_one_issuer_signs_for_no_other_under_common():
    own, general = published(issuer=ISSUER), published(issuer=ANY)
    accepted(token(), keys=[own], issuer=ANY, tenant_id=None)
    refused(r"\(iss\)", token(iss=THEIRS, tid=THEM), keys=[own], issuer=ANY, tenant_id=None)
    accepted(token(iss=THEIRS, tid=THEM), keys=[general], issuer=ANY, tenant_id=None)


def test_only_the_allowed_tenants_may_sign_in():
    allowed = {"issuer": ANY, "tenant_id": None, "allowed_tenants": frozenset({US})}
    accepted(token(tid=US.upper(), iss=ANY.replace("{tenantid}", US.upper())), **allowed)
    refused("ALLOWED_TENANTS", token(iss=THEIRS, tid=THEM), TenantNotAllowed, **allowed)
    refused("ALLOWED_TENANTS", token(tid=None, iss=ANY.replace("{tenantid}", "")), TenantNotAllowed, **allowed)
    refused(r"\(iss\)", token(tid=THEM), **allowed)  # nobody is told of a tenant that is only claimed


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("part", ["header", "claims"])
def test_json_in_another_encoding_than_utf_8_is_refused(encoding, part):
    texts = {"header": {"alg": "ES256", "kid": "one"}, "claims": claims()}
    parts = {name: json.dumps(each).encode(encoding if name == part else "utf-8") for name, each in texts.items()}
    signed = b".".join(base64url_encode(each) for each in parts.values())
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(signed, PRIVATE)
    refused(
        "not encoded in UTF-8|not a JWT|Invalid header string",
        b".".join((signed, base64url_encode(signature))).decode(),
    )


@pytest.mark.parametrize("kind", ["at+jwt", "logout+jwt", "secevent+jwt", "JWS", "application/at+jwt"])
def test_a_token_of_another_kind_is_refused(kind):
    refused(r"\(typ\)", token(header={"typ": kind}))


@pytest.mark.parametrize("kind", ["JWT", "jwt"])
def test_a_token_that_calls_itself_a_jwt_is_accepted(kind):
    assert accepted(token(header={"typ": kind}))["sub"] == "adele"


def test_a_key_that_is_named_by_an_address_or_sent_along_is_not_used():
    sent = json.loads(ECAlgorithm.to_jwk(OTHER.public_key()))
    for header in ({"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/one.pem"}, {"jwk": sent}):
        refused(r"\(kid\)", token(OTHER, header=header), NoKeyFits)


def test_a_published_point_that_is_not_on_its_curve_is_no_key():
    entry = json.loads(ECAlgorithm.to_jwk(PRIVATE.public_key()))
    # Older releases of PyJWT let cryptography's own error through.
    with pytest.raises((jwt.InvalidKeyError, ValueError)):
        published(y=entry["x"])


@pytest.mark.parametrize("spelled", ["{}==", "{}=", "{} ", "{}\n", "\u200b{}"])
def test_a_genuine_token_in_another_spelling_is_refused(spelled):
    refused("not spelled as a JWT is|not a JWT|not enough segments|Invalid|padding", spelled.format(token()))


def test_a_token_whose_last_character_says_the_same_bytes_otherwise_is_refused():
    given = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(given[-1]) ^ 1]  # a bit that no byte has
    refused("not spelled as a JWT is|padding", given[:-1] + last)


@pytest.mark.parametrize("member", [{"kid": 7}, {"alg": ["ES256"]}, {"issuer": 5}, {"issuer": {}}], ids=str)
def test_a_key_that_is_described_by_anything_but_text_cannot_be_used(member):
    with pytest.raises(TypeError):
        published(**member)

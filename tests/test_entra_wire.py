"""What Entra is sent, to the letter: what is done for other providers must not change it.

A refresh names no scope where it is for what was granted, which RFC 6749 (6) and Entra's documentation leave to the client.
The sign-out stands in `test_signin.py`.
"""

import re
import sys
from urllib.parse import parse_qsl, urlsplit

import msal

CLAIMS = '{"access_token": {"xms_cc": {"values": ["CP1"]}}}'
SCOPE = "User.Read offline_access openid profile"
RANDOM = {
    "state": r"[\w-]{22}",
    "nonce": "[0-9a-f]{64}",
    "code_challenge": r"[\w-]{43}",
    "code_verifier": r"[\w.~-]{43}",
    "code": r"1\.A[\w-]+",
    "refresh_token": r"1\.A[\w-]+",
}
# By name, without those that say how long a body is and what it is.
HEADERS = {
    "accept": "application/json",
    "x-client-sku": "MSAL.Python",
    "x-client-ver": msal.__version__,
    "x-client-os": sys.platform,
    "x-ms-lib-capability": "retry-after, h429",
}


def sent(parameters):
    """Names and values, those that are random having been checked for their shape."""
    for name, shape in RANDOM.items():
        if name in parameters:
            assert re.fullmatch(shape, parameters[name]), name
    return {name: "…" if name in RANDOM else value for name, value in parameters.items()}


def test_a_sign_in_asks_for_what_it_asked_for_before_and_nothing_else(person, box):
    for query, more in (("", {}), ("?prompt=select_account", {"prompt": "select_account"})):
        location = urlsplit(person.get("/login" + query, follow=False).headers["Location"])
        assert sent(dict(parse_qsl(location.query))) == {
            "client_id": box.client_id,
            "response_type": "code",
            "redirect_uri": person.url + "/getAToken",
            "scope": SCOPE,
            "state": "…",
            "nonce": "…",
            "code_challenge": "…",
            "code_challenge_method": "S256",
            "client_info": "1",
            "claims": CLAIMS,
            **more,
        }


def test_the_code_and_the_refresh_token_are_redeemed_as_before(person, box):
    box.access_token_lifetime = 1
    person.sign_in()
    box.access_token_lifetime = 3600
    person.get("/call_graph")
    credential = {"client_id": box.client_id, "client_secret": box.client_secret, "client_info": "1", "claims": CLAIMS}
    code, refresh = box.seen("token")
    assert sent(code.form) == {
        **credential,
        "grant_type": "authorization_code",
        "code": "…",
        "code_verifier": "…",
        "redirect_uri": person.url + "/getAToken",
        "scope": SCOPE,
    }
    assert sent(refresh.form) == {
        **credential,
        "grant_type": "refresh_token",
        "refresh_token": "…",
    }
    for request in (code, refresh):
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["x-anchormailbox"].startswith("Oid:")
        assert "authorization" not in headers

"""Sign-in that holds: tabs, visitors who only look, forged answers and forged tokens."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from visitor import REDIRECTS, Visitor, cookie_name, cookie_of

from sandbox.entra.keys import SigningKey
from sandbox.faults import Answer

REASON = "Sign-in refused"


# --- Stateless until signed in ----------------------------------------------------------------------------------------


def test_who_only_looks_gets_no_cookie_and_leaves_nothing(person, app):
    before = len(app.sessions)
    for path in ("/", "/nowhere", "/static/style.css", "/healthz"):
        assert "Set-Cookie" not in person.get(path).headers
    assert len(app.sessions) == before


def test_a_sign_in_begun_lives_in_a_signed_expiring_cookie_of_the_redirect_path(person, app):
    before = len(app.sessions)
    cookies = person.get("/login", follow=False).raw.headers.getlist("Set-Cookie")
    state = [each for each in cookies if "Path=/getAToken" in each]
    assert len(state) == 1
    assert "HttpOnly" in state[0]
    assert "SameSite=Lax" in state[0]
    assert 0 < int(re.search(r"Max-Age=(\d+)", state[0])[1]) <= 3600
    assert len(app.sessions) == before


def test_a_flood_of_visitors_signs_nobody_out(serve):
    """More than the 500 files after which Flask-Session's own store begins to delete live sessions."""
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    files = len(app.sessions)

    def flood(requests_each):
        session = requests.Session()
        for path, count in requests_each:
            for _ in range(count):
                session.cookies.clear()
                session.get(app.url + path, allow_redirects=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(flood, [(("/", 150), ("/login", 150))] * 4))
    assert len(app.sessions) == files
    assert person.signed_in


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first tab first", "second tab first"])
def test_both_of_two_tabs_finish_in_either_order(person, order):
    answers = [person.answer(path="/login?next=/call_graph"), person.answer(path="/login?next=/")]
    ends = {0: "/call_graph", 1: "/"}
    for tab in order:
        assert person.get(answers[tab]).url == person.url + ends[tab]
    assert person.signed_in


def test_a_browser_may_begin_many_sign_ins_and_still_finish_the_last(person):
    for _ in range(40):
        person.get("/login", follow=False)
    assert person.get(person.answer()).url == person.url + "/"
    assert person.signed_in
    assert 15 <= len([cookie for cookie in person.cookies if cookie.path == "/getAToken"]) < 20


def test_twelve_tabs_of_a_browser_at_the_account_picker_are_answered_oldest_first(browser, app):
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(12)]
    for number, tab in enumerate(tabs):
        tab.goto(f"{app.url}/call_graph?tab={number}")
    for number, tab in enumerate(tabs):
        tab.locator("button[value=adele]").click()
        if tab.locator("button[value=accept]").count():
            tab.locator("button[value=accept]").click()
        tab.wait_for_url(f"{app.url}/call_graph?tab={number}")
        assert "Retail Manager" in tab.content()
    context.close()


def test_the_first_of_more_tabs_than_cookies_carry_says_so_and_goes_on_with_a_click(browser, app):
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(25)]
    for tab in tabs:
        tab.goto(f"{app.url}/call_graph")
    tabs[0].locator("button[value=adele]").click()
    if tabs[0].locator("button[value=accept]").count():
        tabs[0].locator("button[value=accept]").click()
    assert "More sign-ins have been begun in this browser" in tabs[0].content()
    tabs[0].get_by_role("link", name="Sign in").last.click()
    tabs[0].locator("button[value=adele]").click()
    tabs[0].wait_for_url(f"{app.url}/")
    tabs[1].locator("button[value=adele]").click()  # was given up too, but the person is signed in by now
    tabs[1].wait_for_url(f"{app.url}/")
    assert "Adèle" in tabs[1].content()
    context.close()


def test_a_restart_in_the_middle_of_a_sign_in_does_not_matter(serve):
    app = serve()
    person = Visitor(app.url)
    answer = person.answer()
    app.stop()
    app.start()
    assert person.get(answer).url == person.url + "/"
    assert person.signed_in


def test_another_worker_finishes_the_sign_in(serve, box):
    one, other = serve(), None
    other = serve(REDIRECT_URI=one.settings["REDIRECT_URI"])
    person = Visitor(one.url)
    answer = urlsplit(person.answer())
    assert person.get(f"{other.url}/getAToken?{answer.query}", follow=False).status_code in REDIRECTS
    assert person.signed_in


def test_the_answer_of_one_browser_is_refused_in_another(person, app):
    victim = Visitor(app.url)
    page = victim.get(person.answer())
    assert page.status_code == 400
    assert not victim.signed_in


def test_a_sign_in_cookie_with_another_signature_counts_for_nothing(person):
    answer = person.answer()
    for cookie in person.cookies:
        if cookie.path == "/getAToken":
            cookie.value = cookie.value[:-3] + "AAA"
    assert person.get(answer).status_code == 400
    assert not person.signed_in


# --- ID tokens --------------------------------------------------------------------------------------------------------


def now():
    return int(time.time())


OTHER_GUID = "11111111-2222-3333-4444-555555555555"
FORGERIES = {
    "another audience": lambda claims, header: claims.update(aud=OTHER_GUID),
    "two audiences for another app": lambda claims, header: claims.update(aud=[claims["aud"], "x"], azp="x"),
    "another issuer": lambda claims, header: claims.update(iss="https://evil.example/v2.0"),
    "another tenant": lambda claims, header: claims.update(tid=OTHER_GUID),
    "a tenant that is not a GUID": lambda claims, header: claims.update(tid="../evil"),
    "no tenant": lambda claims, header: claims.pop("tid"),
    "expired": lambda claims, header: claims.update(exp=now() - 200),
    "no expiry": lambda claims, header: claims.pop("exp"),
    "not valid yet": lambda claims, header: claims.update(nbf=now() + 200),
    "issued in the future": lambda claims, header: claims.update(iat=now() + 200),
    "no time of issue": lambda claims, header: claims.pop("iat"),
    "another nonce": lambda claims, header: claims.update(nonce="0" * 64),
    "no nonce": lambda claims, header: claims.pop("nonce"),
    "no subject": lambda claims, header: claims.pop("sub"),
    "a subject that is not text": lambda claims, header: claims.update(sub={"a": 1}),
    "an unknown key": lambda claims, header: header.update(kid="nobody-knows"),
    "a lone surrogate in the name": lambda claims, header: claims.update(name="\ud800"),
    # What would break a later use of the claims.
    "two audiences and no authorized party": lambda claims, header: claims.update(aud=[claims["aud"], "evil"]),
    "an expiry that is not a time": lambda claims, header: claims.update(exp="soon"),
    "an expiry that is true": lambda claims, header: claims.update(exp=True),
    "a time of issue that is not a time": lambda claims, header: claims.update(iat="now"),
    "a number of 80 bits": lambda claims, header: claims.update(big=2**80),
}


def forge(change):
    def forged(claims, header):
        change(claims, header)
        return claims, header

    return forged


def unsigned(claims, header):
    return jwt.encode(claims, None, algorithm="none", headers={"kid": header["kid"]})


def by_a_stranger(claims, header):
    key = rsa.generate_private_key(65537, 2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": header["kid"]})


def by_the_public_key_as_a_secret(box):
    def forged(claims, header):
        keys = requests.get(f"{box.back_url}/{box.tenant_id}/discovery/v2.0/keys", verify=box.ca_file, timeout=5).json()
        modulus = keys["keys"][0]["n"].encode()
        return jwt.encode(claims, modulus, algorithm="HS256", headers={"kid": header["kid"]})

    return forged


CHECKS = {  # which one refuses each
    "another audience": "Audience doesn't match",
    "two audiences for another app": "(azp)",
    "another issuer": "(iss)",
    "another tenant": "(tid) is not the authority's",
    "a tenant that is not a GUID": "(tid) is not a GUID",
    "no tenant": "(tid) is not the authority's",
    "expired": "Signature has expired",
    "no expiry": 'missing the "exp" claim',
    "not valid yet": "not yet valid (nbf)",
    "issued in the future": "not yet valid (iat)",
    "no time of issue": 'missing the "iat" claim',
    "another nonce": "nonce",
    "no nonce": "nonce",
    "no subject": 'missing the "sub" claim',
    "a subject that is not text": "Subject must be a string",
    "an unknown key": "does not publish (kid)",
    "a lone surrogate in the name": "not text",
    "two audiences and no authorized party": "(azp)",
    "an expiry that is not a time": "(exp) must be an integer",
    "an expiry that is true": "Signature has expired",
    "a time of issue that is not a time": "(iat) must be an integer",
    "a number of 80 bits": "not text",
}


def refused(person, app, reason):
    before = len(app.log())
    page = person.sign_in()
    assert page.status_code == 502
    assert REASON in page.text
    assert not person.signed_in
    (line,) = [each for each in app.log()[before:].splitlines() if "flask_entra.pages.answers" in each]
    assert "502 IdTokenRefused: " in line or "502 NoKeyFits: " in line
    assert reason in line


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_id_token_signs_nobody_in(person, box, app, name):
    box.forge = forge(FORGERIES[name])
    refused(person, app, CHECKS[name])
    box.forge = None
    assert person.sign_in().status_code == 200


@pytest.mark.parametrize(
    ("forged", "reason"),
    [(unsigned, "(alg)"), (by_a_stranger, "does not publish (kid)")],
    ids=["alg none", "another key"],
)
def test_an_id_token_with_a_forged_signature_signs_nobody_in(person, box, app, forged, reason):
    box.forge = forged
    refused(person, app, reason)


def test_an_id_token_signed_with_the_public_key_as_a_secret_signs_nobody_in(person, box, app):
    box.forge = by_the_public_key_as_a_secret(box)
    refused(person, app, "(alg)")


@pytest.mark.parametrize("token", ["", "a.b.c", "abc", "é.é.é", "." * 5, 5, None, {}, ["a"]])
def test_what_is_no_token_at_all_signs_nobody_in(person, box, app, token):
    def broken(environ):
        return Answer(200, {"token_type": "Bearer", "access_token": "x", "expires_in": 3600, "id_token": token})

    box.misbehave("token", broken)
    assert person.sign_in().status_code == 502
    assert not person.signed_in


@pytest.mark.parametrize("change", [{"exp": -100}, {"nbf": 100}, {"iat": 100}], ids=["exp", "nbf", "iat"])
def test_a_clock_may_be_off_by_up_to_two_minutes(person, box, change):
    box.forge = forge(lambda claims, header: claims.update({name: now() + off for name, off in change.items()}))
    person.sign_in()
    assert person.signed_in


def test_a_new_key_is_followed_at_once(person, app, box):
    person.sign_in()
    box.rotate_keys()
    other = Visitor(app.url)
    other.sign_in("alex")
    assert other.signed_in


def test_an_unknown_key_is_asked_for_once_a_minute_and_keeps_nobody_out(serve, box):
    app = serve()
    Visitor(app.url).sign_in()
    box.forge = forge(lambda claims, header: header.update(kid="nobody-knows"))
    asked = len(box.seen("keys"))
    for _ in range(3):
        Visitor(app.url).sign_in()
    assert [seen.query for seen in box.seen("keys")[asked:]] == [{}, {"appid": box.client_id}]
    box.forge = None
    box.rotate_keys()
    person = Visitor(app.url)
    person.sign_in()
    assert person.signed_in


@pytest.mark.parametrize("tenant", [None, "common"])
def test_tokens_signed_with_the_apps_own_key_are_taken(serve, box, tenant):
    """As Entra signs them for an app that maps claims; the key is published only to who asks for it by the app's id."""
    box.own_signing_key, box.id_token_lifetime = SigningKey(), 1
    app = serve(AUTHORITY=box.authority(tenant))
    people = [Visitor(app.url) for _ in range(3)]
    for person in people:
        assert person.sign_in().status_code == 200
        assert person.signed_in
    assert [seen.query for seen in box.seen("keys")] == [{}, {}, {"appid": box.client_id}]  # and never again
    time.sleep(1)
    assert "Retail Manager" in people[0].get("/call_graph").text  # after a refresh
    box.own_signing_key = SigningKey()  # a new one
    assert Visitor(app.url).sign_in().status_code == 200
    box.own_signing_key = None  # the app maps no claims any more
    assert Visitor(app.url).sign_in().status_code == 200


def test_a_key_that_no_document_of_the_authority_has_is_refused_whoever_asks(serve, box):
    box.own_signing_key = SigningKey()
    app = serve()
    stranger = SigningKey()
    box.forge = lambda claims, header: box.sign(claims, {**header, "kid": box.own_signing_key.kid}, stranger)
    assert REASON in Visitor(app.url).sign_in().text
    for fault in (Answer(400, {"error": "invalid_request"}), Answer(404, "")):
        box.misbehave(
            "discovery", lambda environ, fault=fault: fault if "appid" in environ["QUERY_STRING"] else None, None
        )
        assert REASON in Visitor(app.url).sign_in().text
        box.behave()


@pytest.mark.parametrize("wrong", ["issuer", "jwks_uri"])
def test_the_document_with_the_apps_own_keys_must_be_the_authoritys(serve, box, wrong):
    box.own_signing_key = SigningKey()
    app = serve()

    def lie(environ):
        if "appid" not in environ["QUERY_STRING"]:
            return None
        metadata = requests.get(f"{box.authority()}/v2.0/.well-known/openid-configuration", verify=box.ca_file).json()
        lies = {"issuer": f"https://login.microsoftonline.com/{OTHER_GUID}/v2.0", "jwks_uri": "http://localhost:1/keys"}
        return Answer(200, {**metadata, wrong: lies[wrong]})

    box.misbehave("discovery", lie, times=None)
    assert Visitor(app.url).sign_in().status_code == 502
    box.behave()
    assert Visitor(app.url).sign_in().status_code == 200  # at once, when the document is right


@pytest.mark.parametrize("authority", ["common", "organizations"])
def test_anybodys_tenant_may_sign_in_by_common_unless_tenants_are_named(serve, box, authority):
    app = serve(AUTHORITY=box.authority(authority))
    person = Visitor(app.url)
    person.sign_in()
    assert person.signed_in

    box.forge = forge(lambda claims, header: claims.update(tid=OTHER_GUID))  # but the issuer of the first
    assert Visitor(app.url).sign_in().status_code == 502

    box.forge = None
    strict = serve(AUTHORITY=box.authority(authority), ALLOWED_TENANTS=f"{OTHER_GUID}, {box.tenant_id.upper()}")
    person = Visitor(strict.url)
    person.sign_in()
    assert person.signed_in
    stricter = serve(AUTHORITY=box.authority(authority), ALLOWED_TENANTS=OTHER_GUID)
    page = Visitor(stricter.url).sign_in()
    assert (page.status_code, "ALLOWED_TENANTS" in page.text) == (403, True)


@pytest.mark.parametrize("name", ["another audience", "expired", "another tenant"])
def test_the_id_token_of_a_refresh_is_held_to_the_same(person, box, name):
    box.access_token_lifetime = 1
    person.sign_in()
    box.forge = forge(FORGERIES[name])
    page = person.get("/call_graph")
    assert page.status_code == 502
    assert REASON in page.text
    box.forge = None
    assert person.get("/call_graph").status_code == 200


def test_a_refresh_cannot_make_somebody_another_person(person, box):
    box.access_token_lifetime = 1
    person.sign_in()
    box.forge = forge(lambda claims, header: claims.update(sub="somebody-else", name="Mallory"))
    assert person.get("/call_graph").status_code == 502
    assert "Mallory" not in person.get("/").text


@pytest.mark.parametrize("authority", ["common", "organizations"])
def test_a_refresh_cannot_make_somebody_a_person_of_another_tenant(serve, box, authority):
    box.access_token_lifetime = 1
    app = serve(AUTHORITY=box.authority(authority))
    person = Visitor(app.url)
    person.sign_in()
    box.forge = forge(
        lambda claims, header: claims.update(tid=OTHER_GUID, iss=claims["iss"].replace(claims["tid"], OTHER_GUID))
    )
    assert person.get("/call_graph").status_code == 502
    assert "brought another person's (iss)" in app.log()


def test_a_sign_in_whose_id_token_is_refused_is_over(person, box):
    answer = person.answer()
    box.forge = forge(FORGERIES["another audience"])
    assert person.get(answer, follow=False).status_code == 502
    assert not [cookie for cookie in person.cookies if cookie.path == "/getAToken"]


# --- Sessions ---------------------------------------------------------------------------------------------------------


def test_the_session_id_changes_at_every_sign_in_and_the_old_one_opens_nothing(person, app):
    person.sign_in()
    first = cookie_of(person.cookies).value
    person.sign_in()
    assert cookie_of(person.cookies).value != first
    thief = Visitor(app.url)
    thief.cookies.set(cookie_name(app), first)
    assert not thief.signed_in


def test_a_session_id_that_somebody_chose_is_never_taken_over(person, app):
    person.cookies.set(cookie_name(app), "chosen-by-an-attacker", domain="localhost.local", path="/")
    person.sign_in()
    assert cookie_of(person.cookies).value != "chosen-by-an-attacker"


def test_the_session_cookie_is_out_of_reach_and_lasts_twelve_hours(person):
    response = person.get(person.answer(), follow=False)
    cookie = next(each for each in response.raw.headers.getlist("Set-Cookie") if each.startswith("session-"))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=43200" in cookie


def test_signing_out_deletes_the_stored_session_so_a_copy_of_the_cookie_opens_nothing(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    copy = Visitor(app.url)
    copy.cookies.update(person.cookies)
    assert copy.signed_in
    person.get("/logout")
    assert not copy.signed_in
    assert app.sessions == []


@pytest.mark.parametrize("claims", [{}, {"login_hint": "O.CiQ1"}], ids=["no login_hint claim", "a login_hint claim"])
def test_signing_out_tells_the_tenant_who_by_a_hint_made_for_it_and_where_to_come_back_to(person, box, claims):
    box.person("adele").id_claims.update(claims)
    person.sign_in()
    location = urlsplit(person.get("/logout", follow=False).headers["Location"])
    assert location.path.endswith("/oauth2/v2.0/logout")
    assert dict(parse_qsl(location.query)) == {
        "post_logout_redirect_uri": person.url + "/",
        "client_id": box.client_id,
        **({"logout_hint": claims["login_hint"]} if claims else {}),  # and never a UPN
    }


def test_signing_out_works_while_the_tenant_is_down(serve, box):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    app.stop()
    box.misbehave("discovery", Answer(503), times=None)
    app.start()
    assert person.get("/logout", follow=False).headers["Location"] == person.url + "/"
    assert not person.signed_in


def test_signing_out_while_signed_out_is_no_mistake(person):
    assert person.get("/logout").status_code == 200


# --- The redirect URI, attacked ---------------------------------------------------------------------------------------

ATTACKS = {
    "no parameters": "",
    "a code without a sign-in begun": "code=abc&state=xyz",
    "no state": "code=abc",
    "an empty state": "code=abc&state=",
    "bytes that are not UTF-8": "code=%ff%fe&state=%c3%28",
    "a NUL": "code=%00&state=%00",
    "an error with markup": "error=<script>alert(1)</script>&error_description=<img src=x onerror=alert(1)>&state=x",
    "ten thousand characters": "code=" + "a" * 10000 + "&state=" + "b" * 10000,
    "brackets": "code[]=a&state[]=b",
}


@pytest.mark.parametrize("query", ATTACKS.values(), ids=ATTACKS)
def test_an_answer_to_nothing_is_a_page_that_says_what_to_do(person, query):
    page = person.get(f"/getAToken?{query}")
    assert page.status_code == 400
    assert "Sign in again" in page.text
    assert "<script" not in page.text
    assert "onerror=alert(1)>" not in page.text
    assert not person.signed_in


@pytest.mark.parametrize(
    "change",
    [
        lambda query: {**query, "state": "another"},
        lambda query: {**query, "state": [query["state"], query["state"]]},
        lambda query: {**query, "code": [query["code"], query["code"]]},
        lambda query: {"state": query["state"]},
        lambda query: {**query, "code": ""},
        lambda query: {**query, "code": "forged"},
        lambda query: {**query, "iss": "https://evil.example"},
    ],
    ids=["wrong state", "state twice", "code twice", "no code", "empty code", "wrong code", "another issuer"],
)
def test_a_changed_answer_signs_nobody_in(person, change):
    url = urlsplit(person.answer())
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    page = person.get("/getAToken?" + urlencode(change(query), doseq=True))
    assert page.status_code == 400
    assert "Sign in again" in page.text
    assert not person.signed_in


def test_an_error_with_markup_in_its_description_stays_text(person):
    state = parse_qs(urlsplit(person.answer()).query)["state"][0]
    query = {"error": "<b>bad</b>", "error_description": "<img src=x onerror=alert(1)>", "state": state}
    page = person.get("/getAToken?" + urlencode(query))
    assert page.status_code == 400
    assert "<img src=x" not in page.text
    assert "&lt;img src=x" in page.text


def test_a_replayed_answer_goes_on_for_who_is_signed_in_and_is_a_page_for_others(person, app):
    answer = person.answer()
    person.get(answer)
    again = person.get(answer)
    assert again.status_code == 200
    assert again.url == person.url + "/"
    assert Visitor(app.url).get(answer).status_code == 400


def test_a_code_that_was_used_already_says_so(person, box):
    answer = person.answer()
    cookies = {cookie.name: cookie.value for cookie in person.cookies}
    person.get(answer)
    thief = requests.get(
        answer, cookies={name: value for name, value in cookies.items() if not name.startswith("session-")}, timeout=9
    )
    assert thief.status_code == 400
    assert "AADSTS54005" in thief.text


def test_the_redirect_uri_takes_nothing_but_get(person):
    page = person.post(person.url + "/getAToken", data={"code": "x"})
    assert page.status_code == 405
    assert "GET" in page.headers["Allow"]
    assert "<h1>" in page.text


# --- The return address -----------------------------------------------------------------------------------------------

ELSEWHERE = [
    *("https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "%2F%2Fevil.example"),
    *("/%2Fevil.example", "/%5Cevil.example", "///evil.example", "/\t/evil.example", "/%09/evil.example"),
    *(
        "http:evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/ /evil.example",
        "/\r\nSet-Cookie: a=b",
        "",
        "/" * 3000,
    ),
    *("/ok\\evil", "/é", "/x\x00y", "https:/evil.example", "/.//evil.example/..//evil.example"),
]


@pytest.mark.parametrize("link", ELSEWHERE)
def test_the_way_back_is_always_a_path_of_this_app(person, link):
    page = person.get(person.answer(path="/login?" + urlencode({"next": link})), follow=False)
    location = page.headers["Location"]
    assert location.startswith("/")
    assert not re.match(r"/[/\\]|/%2f|/%5c", location, re.IGNORECASE)
    assert "evil" not in urlsplit(location).netloc
    assert person.signed_in


def test_a_path_of_this_app_with_a_query_is_kept(person):
    assert (
        person.sign_in(path="/login?next=/call_graph%3Fa%3Db%26c%3D%252F").url == person.url + "/call_graph?a=b&c=%2F"
    )


@pytest.mark.parametrize("path", ["/", "/login", "/call_graph", "/getAToken?code=a&state=b", "/nowhere"])
def test_a_forged_host_is_refused(person, path):
    page = person.get(path, headers={"Host": "evil.example"}, follow=False)
    assert page.status_code == 400
    assert "evil.example" not in page.text
    assert "<h1>" in page.text


def test_a_visitor_at_127_0_0_1_is_moved_to_localhost_before_signing_in(app):
    visitor = Visitor(app.url.replace("localhost", "127.0.0.1"))
    moved = visitor.get("/login?next=/call_graph", follow=False)
    assert moved.headers["Location"].startswith(app.url + "/login?")
    page = Visitor(app.url).sign_in(path=moved.headers["Location"])
    assert page.url == app.url + "/call_graph"


def test_a_proxy_that_hides_the_host_makes_no_loop(app):
    visitor = Visitor(app.url.replace("localhost", "127.0.0.1"))
    location = visitor.get("/login?moved=1", follow=False).headers["Location"]
    assert "/oauth2/v2.0/authorize" in location


# --- No loops ---------------------------------------------------------------------------------------------------------


def test_a_graph_that_refuses_every_token_ends_on_a_page_not_in_a_loop(person, box):
    box.misbehave("me", Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "No."}}), times=None)
    page = person.go_on(person.get("/call_graph"))
    assert page.status_code == 401
    assert "InvalidAuthenticationToken" in page.text
    assert len(page.history) < 10


def test_a_store_that_forgets_ends_on_a_page_that_says_so_not_in_a_loop(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    hops, path = 0, "/call_graph"
    while path:
        for record in app.sessions:
            record.unlink()
        page = person.get(path, follow=False)
        path = urljoin(page.url, page.headers["Location"]) if page.is_redirect else ""
        hops += 1
        assert hops < 20
    assert page.status_code == 500
    assert "All processes of the app must share their sessions" in page.text
    assert "session_lost" in app.log()


def test_signing_out_and_in_again_a_few_times_is_not_taken_for_a_loop(person):
    for _ in range(5):
        assert "Retail Manager" in person.go_on(person.get("/call_graph")).text
        person.get("/logout")


def test_a_picture_never_begins_a_sign_in(person):
    assert person.get("/photo", headers={"Sec-Fetch-Dest": "image"}, follow=False).status_code == 401


# --- Headers and leaks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nowhere", "/getAToken", "/static/style.css", "/healthz"])
def test_every_answer_carries_the_headers_that_keep_a_browser_safe(person, path):
    headers = person.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    for name in ("Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy"):
        assert headers[name]


def test_the_policy_lets_forms_go_to_the_authority(person, box):
    assert f"form-action 'self' {box.back_url}" in person.get("/").headers["Content-Security-Policy"]


def test_what_belongs_to_a_signed_in_person_is_kept_by_no_cache(person):
    person.sign_in()
    for path in ("/", "/call_graph"):
        assert person.get(path).headers["Cache-Control"] == "no-store"


def test_on_https_everything_is_secure(serve, box):
    app = serve(REDIRECT_URI="https://localhost/getAToken", TRUSTED_PROXY_COUNT="1")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost", "X-Forwarded-For": "192.0.2.1"}
    page = requests.get(app.url + "/login", headers=headers, allow_redirects=False, timeout=9)
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")
    cookie = next(each for each in page.raw.headers.getlist("Set-Cookie") if "Path=/getAToken" in each)
    assert cookie.startswith("__Secure-")
    assert "; Secure" in cookie


def test_an_unknown_page_and_a_wrong_method_have_pages_of_ours(person):
    missing, wrong = person.get("/nowhere"), person.post(person.url + "/")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    for page in (missing, wrong):
        assert "<h1>" in page.text
        assert "Traceback" not in page.text


def test_no_secret_reaches_a_page_or_a_log(serve, box):
    app = serve()
    person = Visitor(app.url)
    answer = person.answer(path="/login?next=/call_graph")
    pages = [person.get(answer).text, person.get("/").text]
    code = parse_qs(urlsplit(answer).query)["code"][0]
    cookies = [
        cookie.value for cookie in person.cookies if cookie.domain.startswith("localhost") and len(cookie.value) > 20
    ]
    box.misbehave("me", Answer(401))
    pages.append(person.get("/call_graph").text)
    pages.append(person.get(f"/getAToken?code={code}&state=x").text)
    token = box.seen("me")[0].headers["Authorization"].removeprefix("Bearer ")
    person.get("/logout")
    text = "".join(pages) + app.log()
    for secret in (code, token, token.split(".")[2], box.client_secret, *cookies):
        assert secret not in text


def test_a_visitor_cannot_write_a_log_line(person, app):
    state = parse_qs(urlsplit(person.answer()).query)["state"][0]
    query = {"error": "x\n2026-01-01 INFO auth Signed in: oid=admin", "error_description": "y\r\nz", "state": state}
    person.get("/getAToken?" + urlencode(query))
    assert not [line for line in app.log().splitlines() if line.startswith("2026-01-01")]


def test_sign_ins_and_failures_are_logged_with_what_support_asks_for(serve, box):
    app = serve()
    person = Visitor(app.url)
    page = person.press(person.press(person.get("/login"), "adele"), "cancel")
    trace = re.search(r"Trace ID: ([0-9a-f-]{36})", page.text)[1]
    line = next(each for each in app.log().splitlines() if "SignInError" in each)
    assert "error=access_denied" in line
    assert "code=AADSTS65004" in line
    assert f"trace_id={trace}" in line
    assert "correlation_id=" in line
    person.sign_in()
    assert "Signed in: oid=" in app.log()

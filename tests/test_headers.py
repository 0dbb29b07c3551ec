"""Every header and cookie to the letter, as browsers, caches and proxies get them; and what the HTTP client sends of its own."""

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import flask
import pytest
from configs import config_of
from fake_provider import Browser
from visitor import REDIRECTS
from werkzeug import Response
from werkzeug.test import create_environ

from flask_entra.http_client import BoundedSession
from flask_entra.pages.policy import Policy
from flask_entra.testing import sign_in

HTTP, HTTPS = "http://localhost:5000", "https://app.example.com"
BEHIND = {"REDIRECT_URI": f"{HTTPS}/getAToken", "TRUSTED_PROXY_COUNT": "1"}
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com", "X-Forwarded-For": "192.0.2.1"}
PATHS = ["/", "/nowhere", "/static/style.css", "/healthz", "/login", "/logout", "/getAToken", "/call_graph"]


def safe(provider, script):
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src '{script}'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {provider.url}",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers_that_keep_a_browser_safe_to_the_letter(visit, provider, path):
    answer = visit().get(path)
    answer.close()
    for name, value in safe(provider, "none").items():
        assert answer.headers.getlist(name) == [value]
    assert "Strict-Transport-Security" not in answer.headers


def test_a_page_with_the_apps_own_script_lets_browsers_run_that_and_no_other(visit, provider):
    browser = visit()
    sign_in(browser.client)
    page = browser.get("/")
    integrity = re.search(r'integrity="(sha256-[\w+/=]{44})"', page.text)[1]
    assert page.headers.getlist("Content-Security-Policy") == [safe(provider, integrity)["Content-Security-Policy"]]


def test_an_app_without_a_script_lets_browsers_run_none():
    config = replace(config_of(AUTHORITY="https://login.example/tenant"), on=frozenset({"ENTRA_SECURITY_HEADERS"}))
    policy = dict(Policy(config).headers({}, []))["Content-Security-Policy"]
    assert "; script-src 'none'; " in policy
    assert policy.endswith("; form-action 'self' https://login.example")


@pytest.mark.parametrize("path", PATHS)
def test_on_https_a_browser_comes_back_by_https_for_a_year(visit, path):
    answer = visit(**BEHIND).client.get(path, base_url="http://10.0.0.5:8000", headers=PROXY)
    answer.close()
    assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"]


@pytest.mark.parametrize(
    ("redirect_uri", "path"),
    [(f"{HTTP}/getAToken", "/getAToken"), (f"{HTTP}/getAToken", "//getAToken"), (f"{HTTP}/réponse", "/réponse")],
)
def test_nothing_that_watches_requests_sees_the_code(visit, redirect_uri, path):
    app, seen = visit(REDIRECT_URI=redirect_uri).app, []
    app.before_request(lambda: seen.append(repr(flask.request.environ)))
    environ = create_environ("/", base_url=HTTP, query_string="code=s3cret&state=s")
    environ |= {"PATH_INFO": path.encode().decode("latin-1"), "RAW_URI": f"{path}?code=s3cret&state=s"}
    for _ in app(environ, lambda *answer: None):
        pass
    assert "RAW_URI" in seen[0]
    assert "s3cret" not in seen[0]


# --- Cookies ------------------------------------------------------------------------------------------------------------


def cookies(answer):
    """Name to attributes, of each cookie that an answer sets; what is random, and when it ends, is left out."""
    found = {}
    for cookie in answer.headers.getlist("Set-Cookie"):
        pair, *rest = cookie.split("; ")
        name = re.sub("-[0-9a-f]{6}(-[0-9a-f]{12})?$", "", pair.partition("=")[0])
        found[name] = {each for each in rest if not each.startswith("Expires=")}
    return found


@pytest.mark.parametrize("https", [False, True])
def test_every_cookie_has_its_name_path_age_and_flags_to_the_letter(visit, https):
    browser = visit(**(BEHIND if https else {}))
    base = {"base_url": HTTPS if https else HTTP, "headers": PROXY if https else {}}
    flags = {"HttpOnly", "SameSite=Lax"} | ({"Secure"} if https else set())
    host, narrow = ("__Host-", "__Secure-") if https else ("", "")
    begun = browser.client.get("/login", **base)
    assert cookies(begun) == {
        f"{narrow}sign-in": {"Path=/getAToken", "Max-Age=3600", *flags},
        f"{host}begun": {"Path=/", "Max-Age=3600", *flags},
    }
    query = {name: value for name, (value,) in parse_qs(urlsplit(begun.headers["Location"]).query).items()}
    answer = browser.client.get(f"/getAToken?code={query['nonce']}&state={query['state']}", **base)
    assert answer.status_code in REDIRECTS
    assert cookies(answer) == {
        f"{host}session": {"Path=/", "Max-Age=43200", *flags},
        f"{host}signed-in": {"Path=/", "Max-Age=60", *flags},
        f"{host}signed-out": {"Path=/", "Max-Age=172800", *flags},
        f"{narrow}sign-in": {"Path=/getAToken", "Max-Age=0", *flags},
        f"{host}begun": {"Path=/", "Max-Age=0", *flags},
    }
    (value,) = re.findall(
        f"^{host}session-[0-9a-f]{{6}}=([^;]*)", "\n".join(answer.headers.getlist("Set-Cookie")), re.MULTILINE
    )
    assert re.fullmatch(r"[\w-]{43}\.\d{10}", value)
    assert cookies(browser.client.post("/logout", **base)) == {
        f"{host}session": {"Path=/", "Max-Age=0", *flags},
        f"{host}signed-in": {"Path=/", "Max-Age=0", *flags},
        f"{host}signed-out": {"Path=/", "Max-Age=300", *flags},
    }
    assert cookies(browser.client.get("/", **base)) == {f"{host}signed-out": {"Path=/", "Max-Age=0", *flags}}
    french = browser.client.get("/?lang=fr", **base)
    assert cookies(french) == {f"{host}lang": {"Path=/", "Max-Age=31536000", *flags}}


# --- Caches -------------------------------------------------------------------------------------------------------------


def test_what_depends_on_the_person_says_so_to_caches(visit):
    browser = visit()
    plain = {"Content-Type": "text/plain"}
    browser.app.add_url_rule("/see", "see", lambda: (str(bool(flask.session)), plain))
    browser.app.add_url_rule("/blind", "blind", lambda: ("nothing of anybody's", plain))
    stranger = browser.get("/")
    assert stranger.headers["Cache-Control"] == "no-cache"
    sign_in(browser.client)
    own = browser.get("/")
    assert own.headers["Cache-Control"] == "no-store"
    for answer in (stranger, own):
        assert {"Cookie", "Accept-Language"} <= {each.strip() for each in answer.headers["Vary"].split(",")}
    assert browser.get("/see").headers["Vary"] == "Cookie"
    assert browser.get("/see").headers["Cache-Control"] == "no-store"
    assert "Vary" not in browser.get("/blind").headers
    assert browser.get("/blind").headers["Cache-Control"] == "no-cache"


# --- Proxies ------------------------------------------------------------------------------------------------------------


def asked(browser, host, forwarded):
    headers = {"X-Forwarded-Host": forwarded, "X-Forwarded-Proto": "https"}
    return browser.client.get("/login", base_url=f"http://{host}", headers=headers)


def test_the_host_that_a_trusted_proxy_forwards_counts_and_nothing_else(visit, provider):
    trusting = visit(**BEHIND)
    answer = asked(trusting, "10.0.0.5:8000", "app.example.com")
    assert answer.headers["Location"].startswith(f"{provider.url}/authorize?")
    assert f"redirect_uri={'https%3A%2F%2Fapp.example.com%2FgetAToken'}" in answer.headers["Location"]
    assert asked(trusting, "app.example.com", "evil.example").status_code == 400


def test_without_a_trusted_proxy_what_is_forwarded_counts_for_nothing(visit, provider):
    browser = visit()
    assert asked(browser, "localhost:5000", "evil.example").headers["Location"].startswith(f"{provider.url}/authorize?")
    assert asked(browser, "evil.example", "localhost:5000").status_code == 400


# --- The authority's addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_an_endpoint_without_tls_is_never_asked(visit, provider, name):
    provider.metadata[name] = provider.metadata[name].replace("https://", "http://")
    page = visit().get("/login")
    assert page.status_code == 502
    assert f"the {name} in the discovery document is not https" in page.text
    assert [path for path, _, _ in provider.seen] == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("value", [None, 5])
def test_a_discovery_document_without_one_of_its_addresses_is_named(visit, provider, name, value):
    provider.metadata[name] = value
    page = visit().get("/login")
    assert page.status_code == 502
    assert f"the discovery document has no {name}" in page.text


# --- One person after another ---------------------------------------------------------------------------------------------


def test_signing_in_as_another_person_drops_all_that_the_session_held(visit, provider):
    browser = visit()
    browser.app.add_url_rule("/put", "put", lambda: flask.session.update(basket="alices") or "put")
    browser.app.add_url_rule("/see", "see", lambda: str(sorted(flask.session)))
    browser.sign_in()
    browser.get("/put")
    assert "basket" in browser.get("/see").text
    provider.claims, provider.token = {"sub": "bob", "name": "Bob"}, {"access_token": "bobs"}
    browser.sign_in("/login?prompt=login")
    assert 'Hello, <span dir="auto">Bob</span>' in browser.get("/").text
    assert browser.get("/see").text == "['_began', '_logged_in_user', '_token_cache', '_userinfo', '_vouched_until']"
    provider.userinfo = {"sub": "bob"}
    browser.get("/call_graph")
    assert provider.headers("/userinfo")[-1]["Authorization"] == "Bearer bobs"


@pytest.mark.parametrize("granted", ["openid", "openid profile"])
def test_scopes_granted_short_at_the_sign_in_sign_nobody_in(visit, provider, granted):
    provider.token = {"scope": granted}
    browser = visit(SCOPE="invoices")
    page = browser.sign_in()
    assert page.status_code == 403
    assert "invoices" in page.text
    assert not browser.signed_in


# --- The session store ----------------------------------------------------------------------------------------------------


def test_a_session_file_that_cannot_be_read_is_503_and_signs_nobody_out(visit, tmp_path):
    browser = visit()
    sign_in(browser.client)
    folder = tmp_path / "sessions" / "sealed-sessions"
    (record,) = (path for path in folder.iterdir() if len(path.name) == 64)
    kept = record.rename(tmp_path / "kept")
    record.mkdir()  # which no process can read as a file, root's neither
    page = browser.get("/call_graph")
    assert page.status_code == 503
    assert "Set-Cookie" not in page.headers
    record.rmdir()
    kept.rename(record)
    assert browser.signed_in


# --- The HTTP client --------------------------------------------------------------------------------------------------------


def test_a_netrc_replaces_no_token_and_no_proxy_or_certificate_is_read_again(visit, provider, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine localhost login mallory password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    provider.token = {"access_token": "the-access-token"}
    browser = visit()
    browser.sign_in()
    browser.get("/call_graph")
    assert provider.headers("/userinfo")[0]["Authorization"] == "Bearer the-access-token"
    assert all("mallory" not in str(headers) for headers in provider.headers("/keys"))
    assert "Authorization" not in provider.headers("/keys")[0]
    with BoundedSession(threads=1) as session:
        assert session.trust_env is False


def test_a_cookie_that_an_authority_sets_comes_back_to_it_never(visit, provider):
    keep = provider.answer_token

    def answer(code):
        given = keep(code)
        given.headers["Set-Cookie"] = "person=alice; Path=/"
        return given

    provider.answer_token = answer
    try:
        browser = visit()
        browser.sign_in()
        Browser(browser.app, provider).sign_in()
    finally:
        del provider.answer_token
    assert not [headers for _, _, headers in provider.seen if "Cookie" in headers]


def test_an_answer_that_redirects_is_followed_nowhere(visit, provider):
    provider.token = Response("", 307, {"Location": f"{provider.url}/elsewhere"})
    assert visit().sign_in().status_code == 502
    assert provider.headers("/elsewhere") == []

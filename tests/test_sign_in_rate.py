"""The limits of nginx.conf for sign-ins, in a real nginx: an office signs in through one address, and nobody floods the app."""

import re
from concurrent.futures import ThreadPoolExecutor

import proxies
import pytest
import requests
from conftest import ROOT
from programs import posix, until
from requests.adapters import HTTPAdapter
from test_deploy import gunicorn as gunicorn  # fixtures
from test_deploy import nginx as nginx
from test_deploy import visitor

SESSION = "__Host-session-a1b2c3=made-up"


class From(HTTPAdapter):
    """Requests come from another address of this machine."""

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **kwargs)


def flood(url, vouches, language):
    """Ask until nginx refuses: its answer, and how many it let through."""
    session = visitor(url, vouches)
    for let_through in range(1000):
        page = session.get("/getAToken?code=s3cret&state=s3cret", headers={"Accept-Language": language}, follow=False)
        if page.status_code == 429:
            return page, let_through
    raise AssertionError("it is never refused")


@posix
@pytest.mark.slow
def test_one_address_begins_no_more_sign_ins_than_an_office_does(nginx, gunicorn, box, tmp_path):
    url, ports, vouches = nginx
    gunicorn(port=ports[0], REDIRECT_URI=f"{url}/getAToken", TRUSTED_PROXY_COUNT="1")
    known, stranger, elsewhere = (visitor(url, vouches) for _ in range(3))
    elsewhere.mount("https://", From())
    known.sign_in()
    with ThreadPoolExecutor(4) as pool:
        floods = list(pool.map(lambda language: flood(url, vouches, language), ["en", "fr-CA,fr;q=0.9", "de", "en"]))
    assert sum(let_through for _, let_through in floods) > 380  # 200 sign-ins at the same moment, less what came before
    for (page, _), text in zip(floods, ["try again", "réessayez", "try again", "try again"], strict=True):
        assert page.headers["Retry-After"] == "10"
        assert page.headers["Cache-Control"] == "no-store"
        assert "script-src" not in page.headers["Content-Security-Policy"]
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f'<a href="">{text}</a>' in page.text
    request_id = re.search("Request ID: ([0-9a-f]{32})", floods[0][0].text)[1]
    # Nobody else is refused: a person who has a session, other pages, another address.
    for person, path in ((known, "/login"), (known, "/call_graph"), (stranger, "/"), (elsewhere, "/login")):
        assert person.get(path, follow=False).status_code in (200, 302, 303), path
    until(lambda: stranger.get("/login", follow=False).status_code in (302, 303))
    lines = (tmp_path / "entra_app.handed_over.log").read_text().splitlines()
    (line,) = [each for each in lines if request_id in each]
    assert re.search(r' GET /getAToken 429 by "-?" "-?" for 127\.0\.0\.1$', line)
    for log in tmp_path.glob("*"):
        if log.is_file():
            assert "s3cret" not in log.read_text(errors="replace"), log


def limits():
    """The part of nginx.conf before its server, without the processes."""
    whole = (ROOT / "nginx.conf").read_text()
    return whole[whole.index("# Sign-ins are limited") : whole.index("# A line for each request")]


def test_requests_are_counted_by_network_and_with_a_session_apart(tmp_path):
    server = (
        "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; merge_slashes on;"
        'location / { return 200 "$a_stranger,$with_a_session"; }'
    )
    with proxies.nginx(tmp_path, server, limits()) as port:

        def counted(path="/login", address="203.0.113.9", cookie=None):
            headers = {"X-Forwarded-For": address, **({"Cookie": cookie} if cookie else {})}
            return requests.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=9).text

        for path in ("/login", "/getAToken?code=c", "/portal/login", "//login", "/%6cogin", "/login?next=/x"):
            assert counted(path) == "203.0.113.9,", path
        for path in ("/", "/call_graph", "/logins", "/login/", "/static/login.css", "/x?/login"):
            assert counted(path) == ",", path
        for cookie in (SESSION, f"a=b; {SESSION}", f"a=b;{SESSION}; c=d", "session-a1b2c3=over-http"):
            assert counted(cookie=cookie) == ",203.0.113.9", cookie
        for cookie in ("a=b", "x-session-a1b2c3=a", "__Host-lang-a1b2c3=fr", "a=__Host-session-a1b2c3"):
            assert counted(cookie=cookie) == "203.0.113.9,", cookie
        for address, network in {
            "2001:db8:1:2:3:4:5:6": "2001:db8:1:2:",
            "2001:db8:1:2::9": "2001:db8:1:2:",
            "2001:db8::9": "2001:db8:",
            "::1": "::1",
        }.items():
            assert counted(address=address) == f"{network},", address

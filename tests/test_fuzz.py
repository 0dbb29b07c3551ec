"""The redirect URI and /login under whatever anybody may send: no 5xx, nobody signed in, never another site."""

from urllib.parse import quote_from_bytes, urlencode, urlsplit

import pytest
import requests
from configs import config_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = st.sampled_from(
    [
        "code",
        "state",
        "error",
        "error_description",
        "next",
        "prompt",
        "iss",
        "client_info",
        "lang",
        "user_flow",
        "moved",
    ]
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["//evil.example", "/\\evil.example", "https://evil.example", "/call_graph", "none", "login", "fr"]
    ),
)
QUERIES = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(lambda pairs: urlencode(pairs, errors="surrogatepass"))
BYTES = st.binary(max_size=80).map(quote_from_bytes)
# MARK stands for what tells this app's cookies from others.
COOKIES = st.sampled_from(
    [
        "",
        "session-MARK=x",
        "session-MARK=\x7f",
        "sign-in-MARK-begun=" + "a" * 12,
        "sign-in-MARK-=x; lang-MARK=../../etc",
    ]
)


@pytest.fixture
def ask(app, box):
    """GET a path with a query and cookies, and hold the answer against what must always be so."""
    session, mark = requests.Session(), config_of(**app.settings).cookie_mark

    def get(path, query, cookies):
        session.cookies.clear()
        url = f"{app.url}{path}?{query}"
        response = session.get(url, headers={"Cookie": cookies.replace("MARK", mark)}, allow_redirects=False, timeout=9)
        assert response.status_code < 500, (url, response.text)
        host = urlsplit(response.headers.get("Location", "/")).netloc
        assert host in ("", urlsplit(app.url).netloc, urlsplit(box.front_url).netloc)
        assert not response.headers.get("Location", "/").startswith(("//", "/\\"))
        assert "session-" not in response.headers.get("Set-Cookie", "")
        assert 'action="/logout"' not in response.text
        return response

    return get


@MANY
@given(query=st.one_of(QUERIES, BYTES), cookies=COOKIES)
def test_the_redirect_uri_survives_anything(ask, query, cookies):
    ask("/getAToken", query, cookies)


@MANY
@given(query=st.one_of(QUERIES, BYTES), cookies=COOKIES)
def test_the_sign_in_page_survives_anything(ask, query, cookies):
    ask("/login", query, cookies)


@MANY
@given(
    path=st.one_of(
        BYTES, st.text(max_size=40).map(lambda text: quote_from_bytes(text.encode("utf-8", "surrogatepass")))
    )
)
def test_any_other_path_is_a_page(ask, path):
    ask("/" + path.lstrip("/"), "", "")

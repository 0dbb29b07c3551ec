"""URLs as people write them into settings, and as browsers send them."""

import pytest

from flask_entra.signin.paths import route_of
from flask_entra.urls import is_endpoint, is_loopback, is_ours, origin, split_url


@pytest.mark.parametrize(
    "url", [None, "", "https://[", "https://host:port/x", "https://host:99999/x", "https://host:-1"]
)
def test_what_is_no_url_is_an_empty_one(url):
    parts = split_url(url)
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("", None, None, "")
    assert origin(url) == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://graph.microsoft.com/v1.0/me?x#y", "https://graph.microsoft.com"),
        ("http://a:8000", "http://a:8000"),
        ("/x", ""),
    ],
)
def test_the_origin_is_scheme_host_and_port(url, expected):
    assert origin(url) == expected


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("http://localhost:5000/getAToken", "/getAToken"),
        ("https://app.example/sign-in/done", "/sign-in/done"),
        ("https://app.example", "/getAToken"),
        ("https://app.example/<path:x>", "/getAToken"),
        ("https://app.example/a>b", "/getAToken"),
        ("", "/getAToken"),
        ("getAToken", "/getAToken"),
    ],
)
def test_the_route_is_the_path_of_the_redirect_uri_or_microsofts_own(url, route):
    assert route_of(url) == route


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost.evil.example", False),
        ("localhostx", False),
        ("my.localhost.example", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
        (None, False),
    ],
)
def test_only_this_machines_own_names_and_addresses_are_its_own(host, expected):
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com/page?x", True),
        ("http://10.0.0.5:8000/x", True),
        ("https://evil-app.example.com", False),
        ("https://app.example.com.evil.example", False),
        ("https://app.example.com:8443", False),
        ("http://10.0.0.5", False),
        ("http://app.example.com", False),  # another scheme is another origin
        ("https://10.0.0.5:8000", False),
        ("ftp://10.0.0.5:8000", False),
        ("null", False),
        ("", False),
        (None, False),
    ],
)
def test_a_page_of_this_app_is_of_its_own_scheme_host_and_port(url, expected):
    assert is_ours(url, "http://10.0.0.5:8000/", "https://app.example.com/getAToken") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://login.example/authorize?p=1", True),
        ("http://localhost:8080/authorize", True),
        ("http://127.0.0.1/authorize", True),
        ("http://login.example/authorize", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https:///authorize", False),
        ("https://login.example/\r\nSet-Cookie: a=b", False),
        ("https://login.example/a b", False),
        ("//login.example/authorize", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_an_endpoint_is_an_https_address_or_one_of_this_machine(url, expected):
    assert is_endpoint(url) == expected

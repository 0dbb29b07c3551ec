"""A sign-in leads back to the very page that was asked for, whatever characters are in its address, and however long it is."""

import pytest
from conftest import ROOT
from programs import free_port, granian_command, gunicorn_command, posix
from visitor import Visitor

from sandbox.faults import Answer

# A page for each customer, and one for whoever is asked for by a query. It says what it was asked for.
LINKS = """
from urllib.parse import quote

from flask import request

from app import app, auth

@app.get("/customers/<path:name>")
@auth.login_required
def customer(name, *, context):
    return f"{quote(name)} {request.query_string.decode('latin-1')}"
"""
ENCODED = [
    "/customers/M%C3%BCller",
    "/customers/a%20b",
    "/customers/%E4%BD%A0%E5%A5%BD",
    "/customers/%F0%9F%8D%8B",
    "/customers/a%3Fb",
    "/customers/a%23b",
    "/customers/a%25b",
    "/customers/50%25?rate=50%25",
    "/customers/a+b?c=d+e&f=%2B&g=%26",
    "/customers/a;b=c,d!$&'()*:@",
    "/customers/%3Cb%3E?x=%3Cb%3E",
    "/customers/a?next=/customers/b%3Fc&x=%C3%A9",
    "/customers/a%5Cb",
    "/customers/a%22b",
]
A_SLASH = "/customers/a%2Fb"  # a server that passes on the decoded path alone has lost it


@pytest.fixture(params=["flask run", "gunicorn", "granian"])
def server(request, serve, tmp_path):
    (tmp_path / "links.py").write_text(LINKS)
    port = free_port()
    command = {
        "flask run": None,
        "gunicorn": [*gunicorn_command(port, "--workers", "1", "--pythonpath", str(tmp_path))],
        "granian": granian_command(port),
    }[request.param]
    if command:
        command = [each.replace("app:app", "links:app") for each in command]
    app = serve(
        command=command, port=port, flask_app=tmp_path / "links.py", PYTHONPATH=f"{tmp_path}:{ROOT}", THREADS="8"
    )
    app.kind = request.param
    return app


@posix
def test_a_sign_in_leads_back_to_the_very_address(server):
    for path in [*ENCODED, *([A_SLASH] if server.kind != "granian" else [])]:
        person = Visitor(server.url)
        page = person.sign_in(path=path)
        assert page.url == server.url + path
        assert page.status_code == 200
        assert page.text == person.get(path).text  # as for somebody who has been signed in all along


@posix
@pytest.mark.parametrize("length", [513, 1500, 2500])
def test_a_long_address_is_kept(app, length):
    person = Visitor(app.url)
    path = "/call_graph?x=" + "".join(str(number * number) for number in range(2000))[: length - 14]
    assert len(path) == length
    assert person.sign_in(path=path).url == app.url + path


@posix
def test_an_address_that_no_cookie_can_hold_is_said_to_be_lost(app):
    person = Visitor(app.url)
    path = "/call_graph?x=" + "".join(f"{hash((number, 'x')) & 0xFFFFFF:06x}" for number in range(1300))
    page = person.sign_in(path=path)
    assert "too long to be kept" in page.text
    assert 'href="/"' in page.text
    assert person.signed_in
    assert person.get(path).status_code == 200


def test_try_again_leads_to_the_very_address_too(app, box):
    person = Visitor(app.url)
    person.sign_in()
    box.misbehave("me", Answer(503, {}), times=None)
    page = person.get("/call_graph?x=%C3%A9%3F%2F&y=a+b")
    assert 'class="button" href="/call_graph?x=%C3%A9%3F%2F&amp;y=a+b"' in page.text


@pytest.mark.parametrize(
    ("asked", "leads"),
    [
        ("/customers/Müller", "/customers/M%C3%BCller"),
        ("/a b", "/a%20b"),
        ("/\u2215evil.example", "/%E2%88%95evil.example"),
    ],
)
def test_a_link_to_a_sign_in_may_name_the_page_unencoded(person, asked, leads):
    page = person.get(person.answer(path="/login?next=" + asked), follow=False)
    assert page.headers["Location"] == leads

"""The app's own tests: keep this file when you build on the app, and change it with the app.

They need no tenant, no `.env` and no network: `sign_in` signs somebody in, and `responses` answers in Graph's place.
"""

import importlib
import re

import pytest
import responses

from flask_entra.testing import sign_in

GRAPH = "https://graph.microsoft.com/v1.0"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app, with settings of its own: those of `.env` are left out."""
    settings = {
        "FLASK_SKIP_DOTENV": "1",
        "CLIENT_ID": "11111111-1111-4111-8111-111111111111",
        "CLIENT_SECRET": "the-secret-of-these-tests-is-none",
        "AUTHORITY": "https://login.microsoftonline.com/22222222-2222-4222-8222-222222222222",
        "SESSION_FILE_DIR": str(tmp_path_factory.mktemp("sessions")),
        "REDIS_URL": "",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        return importlib.import_module("app").app


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def graph():
    """Graph's answers. A request without one gets no answer, which is a 502; an answer that nobody asks for fails the test."""
    with responses.RequestsMock() as answers:
        yield answers


def test_home_leads_to_the_sign_in(client):
    page = client.get("/")
    assert page.status_code == 200
    assert 'href="/login"' in page.text


def test_home_greets_a_person_who_is_signed_in(client):
    sign_in(client, name="Adèle Vance")
    assert "Adèle Vance" in client.get("/").text
    assert "/logout" in client.get("/").text


@pytest.mark.parametrize("path", ["/call_graph", "/photo", "/account"])
def test_a_page_about_a_person_needs_a_sign_in(client, path):
    assert client.get(path, headers=JSON).status_code == 401


def test_call_graph_shows_the_profile(client, graph):
    sign_in(client)
    graph.get(f"{GRAPH}/me", json={"displayName": "Adèle Vance", "jobTitle": "Retail Manager"})
    page = client.get("/call_graph")
    assert page.status_code == 200
    assert "Retail Manager" in page.text


def test_a_failure_of_graph_is_a_page_that_says_so(client, graph):
    sign_in(client)
    graph.get(f"{GRAPH}/me", status=503, headers={"Retry-After": "5"})
    page = client.get("/call_graph")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"


def test_the_photo_is_graphs(client, graph):
    sign_in(client)
    graph.get(re.compile(rf"{GRAPH}/me/photo"), body=b"\xff\xd8\xff", content_type="image/jpeg")
    photo = client.get("/photo")
    assert (photo.mimetype, photo.data) == ("image/jpeg", b"\xff\xd8\xff")


def test_a_person_without_a_photo_has_initials(client, graph):
    sign_in(client, name="Adèle Vance")
    graph.get(re.compile(rf"{GRAPH}/me/photo"), status=404)
    photo = client.get("/photo")
    assert photo.mimetype == "image/svg+xml"
    assert ">AV<" in photo.text


def test_the_account_shows_what_the_app_sees(client):
    sign_in(client, roles=["Orders.Approve"], claims={"preferred_username": "adele@contoso.example"})
    page = client.get("/account")
    assert "Orders.Approve" in page.text
    assert "adele@contoso.example" in page.text


def test_pages_speak_french(client):
    page = client.get("/", headers={"Accept-Language": "fr"})
    assert '<html lang="fr">' in page.text

import pytest
import responses
from contract import create_app

from flask_entra.testing import sign_in

SETTINGS = {
    "CLIENT_ID": "11111111-1111-4111-8111-111111111111",
    "CLIENT_SECRET": "the-secret-of-these-tests-is-none",
    "AUTHORITY": "https://login.microsoftonline.com/22222222-2222-4222-8222-222222222222",
}


@pytest.fixture
def client(tmp_path, monkeypatch):
    for name, value in {**SETTINGS, "SESSION_FILE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"FLASK_ENTRA_{name}", value)
    return create_app().test_client()


def test_everybody_may_open_the_home_page(client):
    assert client.get("/").status_code == 200


def test_the_profile_needs_a_sign_in(client):
    assert client.get("/me", headers={"Accept": "application/json"}).status_code == 401


def test_the_profile_is_graphs(client):
    sign_in(client, name="Adele Vance", scopes=["User.Read"])
    with responses.RequestsMock() as graph:
        graph.get("https://graph.microsoft.com/v1.0/me", json={"jobTitle": "Retail Manager"})
        assert client.get("/me").json == {"jobTitle": "Retail Manager"}

"""`flask_entra.testing`: somebody is signed in, for the tests of an app, without a tenant."""

import shutil
import subprocess
import sys

import flask
import pytest
from conftest import ROOT, bare_environment

from flask_entra import Auth, SignInRefused
from flask_entra.testing import bearer, sign_in
from flask_entra.testing import sign_in_as as sign_in_as  # a fixture

SETTINGS = {
    "CLIENT_ID": "7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
    "CLIENT_SECRET": "s" * 40,
    "AUTHORITY": "https://login.microsoftonline.com/contoso.example",
}
SETTINGS = {f"ENTRA_{name}": value for name, value in SETTINGS.items()}
GROUP = "b9b3d9a4-5a0f-4c4e-8b6e-6f3d6b0f5b11"
JSON = {"Accept": "application/json"}
auth = Auth()


@pytest.fixture
def make(tmp_path):
    """An app with views that ask for this and that."""

    def make(settings=SETTINGS, **configuration):
        app = flask.Flask(__name__)
        app.config.update(settings, ENTRA_SESSION_FILE_DIR=str(tmp_path), **configuration)
        auth.init_app(app)

        def show(*, context):
            return {name: value for name, value in context.items() if name != "user"} | {
                "name": context["user"]["name"]
            }

        for path, needs in {
            "/plain": {},
            "/mail": {"scopes": ["Mail.Read"]},
            "/usual": {"scopes": auth.default_scopes},
            "/orders": {"scopes": ["api://orders/Orders.Read"]},
            "/approve": {"roles": ["Orders.Approve"]},
            "/leaders": {"groups": [GROUP]},
        }.items():
            app.add_url_rule(path, path[1:], auth.login_required(show, **needs))
        return app

    return make


@pytest.fixture
def client(make):
    return make().test_client()


def test_a_view_is_open_to_whoever_is_signed_in(client):
    assert client.get("/plain", headers=JSON).status_code == 401
    claims = sign_in(client, name="Adèle Vance")
    assert client.get("/plain").json == {"name": "Adèle Vance"}
    with client:
        client.get("/plain")
        assert auth.user == claims
    assert claims["aud"] == SETTINGS["ENTRA_CLIENT_ID"]
    assert claims["oid"] == sign_in(client, name="Adèle Vance")["oid"] != sign_in(client, name="Alex Wilber")["oid"]
    assert client.get("/plain").json == {"name": "Alex Wilber"}


def test_a_view_with_scopes_gets_a_token_for_them(client):
    sign_in(client, access_token="a token")
    for path, scopes in {
        "/mail": ["Mail.Read"],
        "/usual": ["User.Read"],
        "/orders": ["api://orders/Orders.Read"],
    }.items():
        context = client.get(path).json
        assert context["access_token"] == "a token"
        assert [scope.rpartition("/")[2] for scope in context["scopes"]] == [
            scope.rpartition("/")[2] for scope in scopes
        ]
        assert 3590 <= context["expires_in"] <= 3600


def test_a_person_who_has_granted_other_scopes_is_asked_for_those_of_the_view(client):
    sign_in(client, scopes=["Mail.Read"])
    assert client.get("/mail").status_code == 200
    assert client.get("/plain").status_code == 200
    assert client.get("/orders", headers=JSON).status_code == 401


def test_roles_and_groups_decide(client):
    sign_in(client)
    assert client.get("/approve").status_code == 403
    assert client.get("/leaders").status_code == 403
    sign_in(client, roles=["Orders.Approve"], groups=[GROUP])
    assert client.get("/approve").status_code == 200
    assert client.get("/leaders").status_code == 200


def test_claims_are_added_changed_and_left_out(client):
    claims = sign_in(client, claims={"acrs": ["c1"], "tid": "a-tenant", "preferred_username": None})
    assert claims["acrs"] == ["c1"]
    assert claims["tid"] == "a-tenant"
    assert "preferred_username" not in claims


def test_the_person_can_sign_out(client):
    sign_in(client)
    client.post("/logout", headers={"Sec-Fetch-Site": "same-origin"})
    assert client.get("/plain", headers=JSON).status_code == 401


def test_the_session_of_the_app_is_the_persons(client):
    sign_in(client)
    with client.session_transaction() as session:
        session["cart"] = ["a book"]
    with client:
        client.get("/plain")
        assert flask.session["cart"] == ["a book"]


@pytest.mark.parametrize(
    "configuration",
    [
        {"APPLICATION_ROOT": "/portal"},
        {"SERVER_NAME": "app.example:8443"},
        {"ENTRA_REDIRECT_URI": "https://app.example/getAToken"},
        {"ENTRA_ALLOWED_TENANTS": "11111111-1111-4111-8111-111111111111"},
        {"ENTRA_OIDC_AUTHORITY": "https://idp.example", "ENTRA_AUTHORITY": ""},
        {"settings": {}},
    ],
    ids=lambda configuration: next(iter(configuration)),
)
def test_whatever_the_settings_are(make, configuration):
    client = make(**configuration).test_client()
    sign_in(client, name="Adèle Vance")
    assert client.get("/plain").json == {"name": "Adèle Vance"}


def test_what_the_app_does_at_each_sign_in_is_done(make):
    auth.on_sign_in(noted)
    try:
        client = make().test_client()
        sign_in(client, name="Adèle Vance")
        with client.session_transaction() as session:
            assert session["noted"] == "Adèle Vance"
        with pytest.raises(SignInRefused, match="closed"):
            sign_in(client, name="Somebody else")
        assert client.get("/plain", headers=JSON).status_code == 401
    finally:
        auth._on_sign_in.remove(noted)


def noted(claims):
    if claims["name"] != "Adèle Vance":
        raise SignInRefused("Your account is closed.")
    flask.session["noted"] = claims["name"]


def test_a_text_in_the_place_of_a_list_is_named(client):
    for argument in ("roles", "groups", "scopes"):
        with pytest.raises(TypeError, match=rf"Write {argument}=\['Orders.Approve'\]"):
            sign_in(client, **{argument: "Orders.Approve"})
    with pytest.raises(TypeError, match="Write scopes="):
        bearer(client.application, scopes="Orders.Read")


def test_the_fixture_is_the_same(sign_in_as, client):
    sign_in_as(name="Adèle Vance", roles=["Orders.Approve"])
    assert client.get("/approve").json == {"name": "Adèle Vance"}


def test_an_app_without_the_extension_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"call auth\.init_app\(app\)"):
        sign_in(flask.Flask(__name__).test_client())


def test_the_file_to_copy_runs_as_it_is(tmp_path):
    strangers = ROOT / "tests" / "strangers"
    shutil.copy(strangers / "contract.py", tmp_path)
    shutil.copy(strangers / "contract_tests.py", tmp_path / "test_app.py")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["flask_entra.testing"]\n')
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "test_app.py"]
    done = subprocess.run(command, cwd=tmp_path, env=bare_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout

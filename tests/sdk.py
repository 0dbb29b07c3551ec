"""msgraph-sdk with `auth.async_credential()`, as docs/views.md has it. `.ci/run all` runs it: the SDK takes half a gigabyte."""

import flask
import httpx
import pytest
from scripted_api import scripted as scripted  # a fixture

from flask_entra import Auth
from flask_entra.testing import sign_in

msgraph = pytest.importorskip("msgraph")
pytestmark = pytest.mark.filterwarnings("default")  # the SDK's own


def test_the_sdk_calls_graph_for_the_person(scripted, tmp_path, monkeypatch):
    from cookbook_sdk import add_to

    async def to_this_machine(self, request, _send=httpx.AsyncHTTPTransport.handle_async_request):
        assert request.url.host == "graph.microsoft.com"
        request.url = httpx.URL(scripted.url + request.url.raw_path.decode())
        return await _send(self, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", to_this_machine)
    app, auth = flask.Flask(__name__), Auth()
    app.config.update(
        ENTRA_CLIENT_ID="7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
        ENTRA_CLIENT_SECRET="s" * 40,
        ENTRA_AUTHORITY="https://login.microsoftonline.com/contoso.example",
        ENTRA_SESSION_FILE_DIR=str(tmp_path),
    )
    auth.init_app(app)
    add_to(app, auth)
    client = app.test_client()
    sign_in(client, access_token="the-token")
    scripted.answers = [(200, {"Content-Type": "application/json"}, {"displayName": "Adèle"})]
    assert client.get("/sdk").json == {"name": "Adèle"}
    assert scripted.asked[0].path.replace("//", "/").partition("?")[0] == "/v1.0/me"
    assert scripted.asked[0].headers["Authorization"] == "Bearer the-token"

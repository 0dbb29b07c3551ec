"""Work outside of a request: for a person, by a handle; for the app itself; and by the clients of the Azure SDK."""

import re
import threading
import time

import flask
import pytest
from fake_provider import due
from scripted_api import scripted as scripted  # a fixture

from flask_entra import Auth, SignInError, SignInRequired
from flask_entra.bearer import InvalidToken
from flask_entra.config import KEY
from flask_entra.sealed import opened
from flask_entra.signin import app_tokens
from flask_entra.signin.errors import AuthorityUnavailable
from sandbox.faults import Answer

DEFAULT = ["https://graph.microsoft.com/.default"]
auth = Auth()


@pytest.fixture
def at(visit, scripted):
    """An app with a provider, and somebody who is signed in; `scripted` is its API."""
    browser = visit(SCOPE="Orders.Read", SECRET_KEY="k" * 40)
    browser.orders = auth.api(scripted.url, scopes=["Orders.Read"])
    browser.app.add_url_rule("/handle", "handle", auth.login_required(lambda *, context: auth.handle()))
    browser.sign_in()
    return browser


def in_a_thread(work):
    """What some work gives in a thread of its own; its exception is raised here."""
    found = []

    def run():
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


# --- For a person ---------------------------------------------------------------------------------------------------------


def test_a_thread_calls_an_api_for_the_person(at, scripted):
    handle = at.get("/handle").text

    def work():
        with at.app.app_context(), auth.acting_for(handle):
            return auth.user["sub"], at.orders.get("/orders"), auth.context(["Orders.Read"])["scopes"]

    scripted.answers = [(200, {}, {"a": 1})]
    assert in_a_thread(work) == ("alice", {"a": 1}, ["Orders.Read"])
    assert scripted.asked[0].headers["Authorization"].startswith("Bearer ")


def test_a_token_that_has_expired_is_renewed_and_written_back(at, scripted, monkeypatch):
    handle = at.get("/handle").text
    scripted.answers = [(200, {}, {})] * 2
    due(monkeypatch)
    for _ in range(2):
        with at.app.app_context(), auth.acting_for(handle):
            at.orders.get("/orders")
    first, second = (each.headers["Authorization"] for each in scripted.asked)
    assert first == second  # renewed once, and found in the session by the next


def test_a_token_that_the_api_refuses_is_renewed(at, scripted):
    handle = at.get("/handle").text
    scripted.answers = [(401, {}, {}), (200, {}, {"a": 1})]
    with at.app.app_context(), auth.acting_for(handle):
        assert at.orders.get("/orders") == {"a": 1}
    assert len({each.headers["Authorization"] for each in scripted.asked}) == 2


def test_a_handle_holds_no_token_and_no_id_of_a_session(at):
    handle = at.get("/handle").text
    sid = next(each.value for each in at.client._cookies.values() if each.key.startswith("session"))
    assert sid not in handle
    assert handle != at.get("/handle").text
    with at.app.test_client() as stranger:
        stranger.set_cookie("session", handle)
        assert 'action="/logout"' not in stranger.get("/", base_url="http://localhost:5000").text


def test_who_has_signed_out_is_acted_for_no_more(at):
    handle = at.get("/handle").text
    at.sign_out()
    with at.app.app_context(), pytest.raises(SignInRequired), auth.acting_for(handle):
        raise AssertionError


def test_a_sign_out_while_the_work_goes_on_stays_one(at, scripted):
    handle = at.get("/handle").text
    scripted.answers = [(401, {}, {}), (200, {}, {})]
    with at.app.app_context(), pytest.raises(SignInRequired), auth.acting_for(handle):
        at.sign_out()
        at.orders.get("/orders")
    assert not at.signed_in


def test_a_block_in_somebody_elses_request_shares_nothing_with_it(at):
    handle = at.get("/handle").text
    with at.app.test_request_context("/"):
        flask.g.mine = flask.g.entra_user = "the visitor's"
        with auth.acting_for(handle):
            assert (auth.user["sub"], list(flask.g)) == ("alice", [])
            flask.g.theirs = flask.session["theirs"] = "alice's"
        assert (auth.user, flask.g.get("theirs"), flask.g.mine) == (None, None, "the visitor's")
        assert "theirs" not in flask.session
    with at.app.app_context(), auth.acting_for(handle):
        assert flask.session["theirs"] == "alice's"


@pytest.mark.parametrize("handle", ["", "x", "é", "A" * 200, None, 5])
def test_what_is_no_handle_is_said_to_be_none(at, handle):
    with at.app.app_context(), pytest.raises(ValueError, match="no handle"), auth.acting_for(handle):
        raise AssertionError


def test_a_handle_outlives_a_rotation_of_the_key_and_no_other_key_opens_it(at, visit, monkeypatch):
    handle = at.get("/handle").text
    rotated = visit(SCOPE="Orders.Read", SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS="k" * 40)
    with rotated.app.app_context(), auth.acting_for(handle):
        assert auth.user["sub"] == "alice"
    other = visit(SCOPE="Orders.Read", SECRET_KEY="n" * 40)
    with other.app.app_context(), pytest.raises(ValueError, match="SECRET_KEY_FALLBACKS"), auth.acting_for(handle):
        raise AssertionError


def test_a_handle_is_for_the_app_that_made_it(at, visit):
    handle = at.get("/handle").text
    other = visit(SCOPE="Orders.Read", SECRET_KEY="k" * 40, CLIENT_ID="another-app")
    with other.app.app_context(), pytest.raises(ValueError, match="of another app"), auth.acting_for(handle):
        raise AssertionError
    with at.app.app_context():
        assert opened(at.app.extensions[KEY].config, "account", handle) is None  # nor for another purpose


def test_nobody_has_no_handle(visit):
    browser = visit()
    with browser.app.test_request_context("/"), pytest.raises(SignInRequired):
        auth.handle()


@pytest.mark.parametrize(
    "ask",
    [lambda: auth.context(), lambda: auth.handle(), lambda: auth.api("https://x.example", scopes=["a"]).get("/")],
    ids=["context", "handle", "api"],
)
def test_without_a_request_an_error_says_what_there_is(at, ask):
    with at.app.app_context(), pytest.raises(RuntimeError, match="auth.acting_for"):
        ask()


# --- For the app itself ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own(serve, box, tmp_path):
    """An app of this process at the sandbox, in an app context."""
    app = flask.Flask(__name__)
    settings = {**box.settings, "SESSION_FILE_DIR": str(tmp_path)}
    app.config.update({f"ENTRA_{name}": value for name, value in settings.items()})
    return app


@pytest.fixture
def in_app(own, monkeypatch, box):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", box.settings["REQUESTS_CA_BUNDLE"])
    auth.init_app(own)
    with own.app_context():
        yield own


def graph_scope(box):
    return [f"{box.back_url}/.default"]


def test_a_token_of_the_apps_own_is_kept_and_asked_for_once_by_many_threads(in_app, box):
    scopes = graph_scope(box)

    def work():
        with in_app.app_context():
            return auth.app_token(scopes)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert auth.app_token(scopes) == auth.app_token(scopes)
    assert len(box.seen("token")) == 1


def test_it_is_renewed_before_its_end_and_when_an_api_refuses_it(in_app, box, scripted, monkeypatch):
    context = auth.app_context(graph_scope(box))
    assert set(context) == {"access_token", "token_type", "expires_in", "scopes"}
    scripted.answers = [(401, {}, {}), (200, {}, {"a": 1})]
    assert auth.api(scripted.url).get("/things", context) == {"a": 1}
    assert len(box.seen("token")) == 2
    assert auth.app_token(graph_scope(box)) == context["access_token"]


def test_an_api_that_refuses_every_token_makes_no_flood_of_token_requests(in_app, box, scripted, monkeypatch):
    scripted.answers = [(401, {}, {})] * 99
    api, now = auth.api(scripted.url), time.monotonic

    def work():
        with in_app.app_context(), pytest.raises(InvalidToken):
            api.get("/things", auth.app_context(graph_scope(box)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    work()
    assert len(box.seen("token")) == 2  # the first token, and one in its place
    monkeypatch.setattr(time, "monotonic", lambda: now() + app_tokens.REFUSED_SECONDS)
    work()
    assert len(box.seen("token")) == 3


@pytest.mark.parametrize("error", ["invalid_client", "temporarily_unavailable"])
def test_a_token_that_is_due_is_used_to_its_end_if_there_is_no_other(in_app, monkeypatch, error):
    now, answers, scopes = time.monotonic, [], ["api://x/.default"]
    monkeypatch.setattr(in_app.extensions[KEY].client, "ask", lambda *_: answers.pop(0))

    def token_after(seconds, *next_answers):
        answers[:] = next_answers
        monkeypatch.setattr(time, "monotonic", lambda: now() + seconds)
        return auth.app_token(scopes)

    first, refusal = {"access_token": "first", "expires_in": 3600}, {"error": error}
    assert token_after(0, first) == "first"
    assert token_after(3200) == "first"
    assert token_after(3500, refusal) == "first"
    with pytest.raises((SignInError, AuthorityUnavailable)):
        token_after(3600, refusal)
    assert token_after(3700, {"access_token": "short", "expires_in": 60}) == "short"
    assert token_after(3710) == "short"  # it is not due as soon as it comes


def test_a_tenant_that_gives_no_token_is_not_asked_at_each_call(in_app, box, monkeypatch):
    now = time.monotonic
    box.client_secret_state = "expired"
    for _ in range(5):
        with pytest.raises(SignInError, match="AADSTS7000222"):
            auth.app_token(graph_scope(box))
    assert len(box.seen("token")) == 1
    box.client_secret_state = "valid"
    monkeypatch.setattr(time, "monotonic", lambda: now() + app_tokens.REFUSED_SECONDS)
    assert auth.app_token(graph_scope(box))


def test_tokens_for_any_number_of_apis_fill_no_memory(in_app, monkeypatch):
    own = in_app.extensions[KEY].app_tokens
    monkeypatch.setattr(
        in_app.extensions[KEY].client,
        "ask",
        lambda *_: {"access_token": "a", "token_type": "Bearer", "expires_in": 3600},
    )
    for number in range(300):
        auth.app_token([f"api://{number}/.default"])
    assert len(own._kept) == app_tokens.KEPT_AT_MOST


@pytest.mark.parametrize("scopes", [[], ["User.Read"], ["https://graph.microsoft.com/.default", "User.Read"]])
def test_a_persons_scopes_are_not_the_apps(in_app, scopes):
    with pytest.raises(ValueError, match="/.default"):
        auth.app_token(scopes)


def test_what_the_authority_says_is_raised(in_app, box):
    box.client_secret_state = "expired"
    with pytest.raises(SignInError, match="AADSTS7000222"):
        auth.app_token(graph_scope(box))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("AADSTS7000215: Invalid client secret provided.", ("CLIENT_SECRET is wrong.", "Copy the secret")),
        ("AADSTS700016: Application not found.", ("CLIENT_ID is not known in this tenant.", "AUTHORITY")),
        ("AADSTS65001: No consent.", ("no permissions of its own for {api}.", "grant admin consent")),
        ("AADSTS501051: Not assigned.", ("no permissions of its own for {api}.", "grant admin consent")),
        ("AADSTS53003: Blocked.", ("registration of this app", "doctor")),
    ],
)
def test_a_token_of_the_apps_own_that_is_refused_is_no_matter_of_a_sign_in(in_app, box, caplog, said, words):
    box.misbehave("token", Answer(400, {"error": "invalid_client", "error_description": said}))
    in_app.add_url_rule("/job", "job", lambda: auth.app_token(graph_scope(box)))
    page = in_app.test_client().get("/job", headers={"Accept": "text/html"})
    assert page.status_code == 500
    for each in words:
        assert each.format(api=box.back_url) in page.text
    assert 'href="/login' not in page.text
    assert f"no token of the app's own for {box.back_url}/.default: invalid_client: {said}" in caplog.text
    with pytest.raises(SignInError) as error:  # in a job, the text is all that there is
        auth.app_token(graph_scope(box))
    assert f"no token of the app's own for {box.back_url}/.default" in str(error.value)
    assert ("grant admin consent" in str(error.value)) == ("consent" in words[1])


def test_a_public_client_has_no_token_of_its_own(tmp_path):
    app = flask.Flask(__name__)
    app.config.update(
        ENTRA_CLIENT_ID="x", ENTRA_OIDC_AUTHORITY="https://id.example", ENTRA_SESSION_FILE_DIR=str(tmp_path)
    )
    Auth().init_app(app)
    with app.app_context(), pytest.raises(ValueError, match="credential"):
        auth.app_token(DEFAULT)


# --- The Azure SDK ----------------------------------------------------------------------------------------------------------


def test_the_sdks_credential_is_the_person(at):
    with at.client:
        at.get("/handle")
        credential = auth.credential()
        token = credential.get_token("https://graph.microsoft.com/.default")
        assert token.token == auth.context(["Orders.Read"])["access_token"]
        assert token.expires_on > 1_700_000_000
        assert credential.get_token("Orders.Read").token == token.token
        renewed = credential.get_token(
            "Orders.Read", claims='{"access_token":{"xms_cc":{"values":["cp1"]}}}', enable_cae=True
        )
        assert renewed.token != token.token

        async def ask():
            async with auth.async_credential() as asynchronous:
                return await asynchronous.get_token("https://graph.microsoft.com/.default")

        with pytest.raises(StopIteration) as done:
            ask().send(None)  # it waits for nothing
        assert done.value.value.token == renewed.token


def test_a_credential_has_tokens_for_its_own_api_alone(at):
    with at.client:
        at.get("/handle")
        graph, orders = auth.credential(), auth.credential(scopes=["api://orders/Orders.Read"])
        for credential, scope in [
            (graph, "https://vault.azure.net/.default"),
            (graph, "api://orders/Orders.Read"),
            (graph, "https://graph.microsoft.com.evil.example/.default"),
            (orders, "https://graph.microsoft.com/.default"),
            (orders, "User.Read"),
            (orders, "api://orders.evil/.default"),
        ]:
            with pytest.raises(ValueError, match=f"'{re.escape(scope)}' is of another API"):
                credential.get_token(scope)
            with pytest.raises(ValueError, match="another API"):
                auth.async_credential(credential._scopes).get_token("https://graph.microsoft.com/.default", scope).send(
                    None
                )


def test_azure_cores_own_policy_takes_it(at, scripted):
    pipeline = pytest.importorskip("azure.core.pipeline")
    from azure.core.credentials import AccessToken
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy
    from azure.core.pipeline.transport import RequestsTransport
    from azure.core.rest import HttpRequest

    with at.client:
        at.get("/handle")
        policy = BearerTokenCredentialPolicy(auth.credential(), "https://graph.microsoft.com/.default")
        # Microsoft's kiota sends a token of no other class.
        assert isinstance(auth.credential().get_token("https://graph.microsoft.com/.default"), AccessToken)
        with pipeline.Pipeline(RequestsTransport(), [policy]) as client:
            client.run(HttpRequest("GET", f"{scripted.url}/me"), enforce_https=False)
        assert scripted.asked[0].headers["Authorization"] == f"Bearer {auth.context(['Orders.Read'])['access_token']}"


def test_nobodys_credential_asks_for_a_sign_in(visit):
    browser = visit()
    with browser.app.test_request_context("/"), pytest.raises(SignInRequired):
        auth.credential().get_token("https://graph.microsoft.com/.default")

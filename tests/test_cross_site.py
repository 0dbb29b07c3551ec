"""What another site sends in a person's name: nothing of it reaches a view that may change something, unless the app says so."""

import http.server
import json
import threading

import flask
import pytest
from flask.views import MethodView
from programs import free_port
from visitor import Page

from flask_entra import Auth
from flask_entra.testing import bearer, sign_in

HERE, ORIGIN = "https://app.example.com", "https://www.example.com"
HTML = {"Accept": "text/html"}
METHODS = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def make(tmp_path):
    def make(auth=None, redirect_uri=f"{HERE}/getAToken", **configuration):
        app = flask.Flask(__name__)
        app.config.update(
            ENTRA_CLIENT_ID="7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
            ENTRA_CLIENT_SECRET="s" * 40,
            ENTRA_AUTHORITY="https://login.microsoftonline.com/contoso.example",
            ENTRA_REDIRECT_URI=redirect_uri,
            ENTRA_SESSION_FILE_DIR=str(tmp_path),
            **configuration,
        )
        (auth or Auth()).init_app(app)
        app.add_url_rule("/orders", "orders", lambda: "done", methods=["GET", "OPTIONS", *METHODS])
        return app

    return make


def sent(app, method="POST", path="/orders", **headers):
    """The answer to a request with some headers; `_` in a name stands for a hyphen."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.test_client().open(path, method=method, base_url=HERE, headers=headers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),  # typed, or a bookmark
        ({"Sec_Fetch_Site": "same-site"}, 403),  # a neighbour
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": ""}, 403),
        ({"Sec_Fetch_Site": "same-origin, cross-site"}, 403),
        ({"Sec_Fetch_Site": "SAME-ORIGIN"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": HERE}, 403),  # what pages cannot write decides
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.example"}, 200),
        ({"Origin": HERE}, 200),
        ({"Origin": "http://app.example.com"}, 403),
        ({"Origin": "https://app.example.com:8443"}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "https://app.example.com.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": f"{HERE}, https://evil.example"}, 403),
        ({"Referer": "https://evil.example/"}, 200),  # no browser of today sends that alone with a form
    ],
)
def test_what_a_browser_says_of_a_request_decides(make, method, headers, status):
    assert sent(make(), method, **headers).status_code == status


@pytest.mark.parametrize(("origin", "status"), [("http://app.example.com", 403), (HERE, 200), ("http://10.0.0.7", 403)])
def test_behind_a_proxy_that_does_not_say_https_the_scheme_is_a_part_of_the_origin(make, origin, status):
    client = make().test_client()
    here = "http://app.example.com"
    assert client.post("/orders", base_url=here, headers={"Origin": origin}).status_code == status
    assert client.post("/orders", base_url="http://10.0.0.7", headers={"Origin": "http://10.0.0.7"}).status_code == 200


@pytest.mark.parametrize(("path", "upgrade"), [("/feed", "WebSocket"), ("/orders", "h2c, websocket")])
def test_a_web_socket_is_opened_by_no_other_site(make, path, upgrade):
    app = make()
    app.add_url_rule("/feed", "feed", lambda: "open", websocket=True)
    asked = {"path": path, "Upgrade": upgrade, "Connection": "Upgrade"}
    assert sent(app, "GET", **asked, Origin="https://evil.example").status_code == 403
    assert sent(app, "GET", **asked, Sec_Fetch_Site="same-site").status_code == 403
    assert sent(app, "GET", **asked, Origin=HERE).status_code == 200
    assert sent(app, "GET", Upgrade="h2c", Origin="https://evil.example").status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_may_come_from_anywhere(make, method):
    assert sent(make(), method, Sec_Fetch_Site="cross-site", Origin="https://evil.example").status_code == 200


@pytest.mark.parametrize(("path", "method", "status"), [("/nowhere", "POST", 404), ("/healthz", "DELETE", 405)])
def test_where_no_view_is_the_answer_is_the_usual_one(make, path, method, status):
    assert sent(make(), method, path, Sec_Fetch_Site="cross-site").status_code == status


def test_somebody_who_is_signed_in_is_protected_from_a_neighbour(make):
    auth, done = Auth(), []
    app = make(auth, redirect_uri="http://localhost/getAToken")
    app.add_url_rule("/pay", "pay", auth.login_required(lambda *, context: done.append(1) or "paid"), methods=["POST"])
    client = app.test_client()
    sign_in(client)
    assert client.post("/pay", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert done == []
    assert client.post("/pay", headers={"Sec-Fetch-Site": "same-origin"}).text == "paid"


# --- Whom an app trusts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "origin", "status"),
    [
        (ORIGIN, ORIGIN, 200),
        (ORIGIN.upper(), ORIGIN, 200),
        (f"https://other.example, {ORIGIN}", ORIGIN, 200),
        ("https://*.example.com", ORIGIN, 200),
        ("https://*.example.com", "https://a.b.example.com", 200),
        ("https://*.example.com", "https://example.com", 403),
        ("https://*.example.com", "https://evilexample.com", 403),
        ("https://*.example.com", "http://www.example.com", 403),
        (ORIGIN, "http://www.example.com", 403),
        (ORIGIN, "https://www.example.com:8443", 403),
        (ORIGIN, "https://www.example.com.evil.example", 403),
        (ORIGIN, "null", 403),
        ("null", "null", 403),
        ("*", "https://evil.example", 403),
        ("https://*", "https://evil.example", 403),
        ("https://", "https://", 403),
        ("https://*.", "https://evil.example.", 403),
        ("https://*..", "https://evil.example.", 403),
        (f"{ORIGIN}/", ORIGIN, 200),
        (f"{ORIGIN}:443", ORIGIN, 200),
        (f"{ORIGIN}/a", ORIGIN, 403),
        (f"https://x@{ORIGIN[8:]}", ORIGIN, 403),
        ("", ORIGIN, 403),
    ],
)
def test_sites_that_the_setting_names_may(make, trusted, origin, status):
    app = make(ENTRA_TRUSTED_ORIGINS=trusted)
    assert sent(app, Sec_Fetch_Site="same-site", Origin=origin).status_code == status
    assert sent(app, Origin=origin).status_code == status


def test_a_view_a_class_and_a_blueprint_can_be_exempt(make):
    auth = Auth()
    app = make(auth)

    @app.post("/webhook")
    @auth.csrf_exempt
    def webhook():
        return "heard"

    class Hook(MethodView):
        decorators = (auth.csrf_exempt,)

        def put(self):
            return "heard"

    app.add_url_rule("/class", view_func=Hook.as_view("hook"))
    api, inner = flask.Blueprint("api", __name__), flask.Blueprint("inner", __name__)
    inner.add_url_rule("/inner", "view", lambda: "heard", methods=["POST"])
    api.register_blueprint(inner)
    auth.csrf_exempt(api)
    app.register_blueprint(api, url_prefix="/api")
    for method, path in (("POST", "/webhook"), ("PUT", "/class"), ("POST", "/api/inner")):
        assert sent(app, method, path, Sec_Fetch_Site="cross-site").text == "heard"


def test_an_exemption_is_for_where_the_view_is_registered(make):
    auth = Auth()
    app = make(auth)

    def change():
        return "done"

    app.add_url_rule("/hook", "hook", auth.csrf_exempt(change), methods=["POST"])
    app.add_url_rule("/form", "form", change, methods=["POST"])
    assert sent(app, "POST", "/hook", Sec_Fetch_Site="cross-site").status_code == 200
    assert sent(app, "POST", "/form", Sec_Fetch_Site="cross-site").status_code == 403


def test_an_exemption_does_not_open_a_view_to_strangers(make):
    auth = Auth()
    app = make(auth)
    view = auth.csrf_exempt(auth.login_required(lambda *, context: "secret"))
    app.add_url_rule("/secret", "secret", view, methods=["POST"])
    answer = sent(app, "POST", "/secret", Sec_Fetch_Site="cross-site", Accept="application/json")
    assert answer.status_code == 401


def test_a_request_that_a_bearer_token_decides_comes_from_no_browser_by_itself(make):
    auth = Auth()
    app = make(auth, redirect_uri="http://localhost/getAToken")
    both = auth.bearer_required(lambda *, context: "done", scopes=["Orders.Write"], session=True)
    app.add_url_rule("/both", "both", both, methods=["POST"])
    client = app.test_client()
    sign_in(client)
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://spa.example"}
    assert client.post("/both", headers={**elsewhere, **bearer(app, scopes=["Orders.Write"])}).text == "done"
    assert client.post("/both", headers=elsewhere).status_code == 403  # the session's cookie is no such thing
    assert client.post("/both", headers={**elsewhere, "Authorization": "Basic eDp5"}).status_code == 401


def test_the_protection_can_be_switched_off(make):
    assert sent(make(ENTRA_CROSS_SITE_PROTECTION=False), Sec_Fetch_Site="cross-site").status_code == 200


def test_flask_wtf_beside_it_still_works(make):
    csrf = pytest.importorskip("flask_wtf.csrf")
    app = make(SECRET_KEY="k" * 32)
    csrf.CSRFProtect(app)
    app.add_url_rule("/token", "token", csrf.generate_csrf)
    client = app.test_client()
    headers = {"Sec-Fetch-Site": "same-origin", "Referer": f"{HERE}/token"}
    assert client.post("/orders", base_url=HERE, headers=headers).status_code == 400
    token = client.get("/token", base_url=HERE).text
    assert client.post("/orders", base_url=HERE, data={"csrf_token": token}, headers=headers).text == "done"
    headers["Sec-Fetch-Site"] = "cross-site"
    assert client.post("/orders", base_url=HERE, data={"csrf_token": token}, headers=headers).status_code == 403


# --- What is said ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Sec_Fetch_Site": "same-site"}, "The header Sec-Fetch-Site says so: same-site."),
        ({"Origin": "https://<b>evil"}, "The header Origin says so: https://<b>evil."),
    ],
)
def test_the_page_says_which_header_decided_and_how_to_allow_it(make, headers, words, caplog):
    page = sent(make(), "POST", "/orders", **HTML, **headers)
    text = Page(page.text).text
    assert "Another site has sent this request in your name" in text
    assert words in text
    assert "TRUSTED_ORIGINS" in text
    assert "@auth.csrf_exempt" in text
    assert "<b>" not in page.text
    assert "CrossSiteRefused" in caplog.text


def test_a_script_gets_the_same_as_json(make):
    answer = sent(make(), "POST", "/orders", Sec_Fetch_Site="cross-site", Accept="application/json")
    assert answer.mimetype == "application/problem+json"
    assert answer.json["status"] == 403
    assert answer.json["header"] == "Sec-Fetch-Site"
    assert "TRUSTED_ORIGINS" in answer.json["for_developers"]
    assert "sign_in" not in answer.json  # that would not help
    assert "WWW-Authenticate" not in answer.headers


# --- In a browser --------------------------------------------------------------------------------------------------------

APP = """
import os

import flask
from flask_entra import Auth

app, auth, done = flask.Flask(__name__), Auth(), []
for name in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY", "REDIRECT_URI", "ENDPOINT", "SESSION_FILE_DIR"):
    app.config[f"ENTRA_{name}"] = os.environ[name]
auth.init_app(app)

@app.get("/")
@auth.login_required
def form(*, context):
    return '<form method="post" action="/change"><button>Change</button></form>'

@app.post("/change")
@auth.login_required
def change(*, context):
    done.append(flask.request.headers.get("Origin"))
    return "changed"

@app.get("/done")
def told():
    return flask.jsonify(done)
"""
EVIL = """<!doctype html><form method="post" action="{url}/change"></form><script>
const way = location.search.slice(1);
if (way === "form") document.forms[0].submit();
else fetch("{url}/change", {{method: "POST", mode: "no-cors", credentials: "include"}}).finally(() => document.title = "sent");
</script>"""


@pytest.fixture
def evil():
    """A site of somebody else's, at another port of this machine: `pages` are what it shows."""
    pages = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = pages[0].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server.server_address[1], pages
    server.shutdown()
    server.server_close()


def test_pages_at_another_port_and_at_another_host_change_nothing(serve, browser, tmp_path, evil):
    (tmp_path / "mine.py").write_text(APP)
    app = serve(flask_app=tmp_path / "mine.py")
    port, pages = evil
    pages.append(EVIL.format(url=app.url))
    context = browser.new_context()
    page = context.new_page()
    page.goto(app.url)
    page.locator("button[value=adele]").click()
    page.locator("button[value=accept]").click()
    page.wait_for_url(f"{app.url}/")
    page.get_by_role("button", name="Change").click()
    assert "changed" in page.content()
    for host in ("localhost", "127.0.0.1"):  # same-site, cross-site
        page.goto(f"http://{host}:{port}/?form")
        page.wait_for_url(f"{app.url}/change")
        assert "Another site has sent this request in your name" in page.content()
        page.goto(f"http://{host}:{port}/?fetch")
        page.wait_for_function("document.title === 'sent'")
    page.goto(f"{app.url}/done")
    assert json.loads(page.inner_text("body")) == [app.url]
    context.close()

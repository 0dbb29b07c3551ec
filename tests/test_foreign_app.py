"""An app that was there before: what it gets from the extension, what a switch adds, and what stays as the app has made it."""

import logging

import flask
import pytest
from conftest import NETWORK
from fake_provider import CLIENT, Browser
from visitor import REDIRECTS

from flask_entra import Auth, SignInRefused, access_denied, signed_in, signed_out, token_refreshed
from flask_entra.settings import SETTINGS
from flask_entra.testing import sign_in

HTML = {"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
TEMPLATES = {
    "home.html": "{{ entra.user.name }}",
    "translated.html": "{{ _('Page not found') }}",
    "layout.html": "<title>{% block heading %}{% endblock %}</title><nav>Contoso</nav>{% block body %}{% endblock %}",
}


@pytest.fixture
def make(provider, tmp_path, monkeypatch):
    """The app, with a configuration of its own, at a provider; `before` has been done to it already."""
    for name in (*SETTINGS, *NETWORK):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", provider.ca_file)
    (tmp_path / "templates").mkdir()
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "style.css").write_text("p {}")
    for name, source in TEMPLATES.items():
        (tmp_path / "templates" / name).write_text(source)

    def make(auth=None, before=lambda app: None, **configuration):
        app = flask.Flask(__name__, root_path=str(tmp_path))
        settings = {**CLIENT, "OIDC_AUTHORITY": provider.url, "SESSION_FILE_DIR": str(tmp_path / "sessions")}
        app.config.update({f"ENTRA_{name}": value for name, value in settings.items()}, **configuration)
        before(app)
        auth = auth or Auth()
        auth.init_app(app)
        app.add_url_rule("/", "home", lambda: "home")
        app.add_url_rule("/broken", "broken", lambda: 1 / 0)
        app.add_url_rule("/me", "me", auth.login_required(lambda *, context: context["user"]["name"]))
        app.add_url_rule("/shown/<name>", "shown", lambda name: flask.render_template(name))
        return app

    return make


def test_nothing_of_the_apps_is_taken_over(make):
    def before(app):
        app.jinja_env.globals["integrity"] = "the app's own"
        app.before = (app.jinja_env, set(app.jinja_env.globals), app.get_send_file_max_age, app.wsgi_app)

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    app = make(before=before, SECRET_KEY="the app's own")
    environment, names, max_age, wsgi_app = app.before
    assert app.jinja_env is environment
    assert (environment.trim_blocks, environment.lstrip_blocks) == (False, False)
    assert set(environment.globals) - names == {"entra", "csp_nonce"}
    assert environment.globals["integrity"] == "the app's own"
    assert app.get_send_file_max_age == max_age
    assert app.config["SECRET_KEY"] == "the app's own"
    assert (root.handlers, root.level) == (handlers, level)
    assert type(app.wsgi_app).__module__ == "flask_entra.middleware"
    assert vars(app.wsgi_app)["_wsgi_app"] == wsgi_app  # wrapped once
    assert [key for key in app.extensions if "entra" in key] == ["flask_entra"]
    home = app.test_client().get("/")
    assert set(home.headers.keys()) <= {"Content-Type", "Content-Length", "Cache-Control", "X-Request-ID"}


def on_and_off(make, switch):
    return [make(**{switch: value}).test_client() for value in (True, False)]


def test_problem_pages(make):
    on, off = on_and_off(make, "ENTRA_PROBLEM_PAGES")
    assert "Page not found" in on.get("/nowhere", headers=HTML).text
    assert "The requested URL was not found on the server" in off.get("/nowhere", headers=HTML).text
    # A failure of the package's own has its page.
    assert off.get("/getAToken?state=x&code=y", headers=HTML).status_code == 400


def test_health(make):
    on, off = on_and_off(make, "ENTRA_HEALTH")
    assert [client.get("/healthz").status_code for client in (on, off)] == [200, 404]


def test_security_headers(make):
    on, off = on_and_off(make, "ENTRA_SECURITY_HEADERS")
    assert "default-src 'none'" in on.get("/").headers["Content-Security-Policy"]
    assert "Content-Security-Policy" not in off.get("/").headers
    of_the_packages_own_page = off.get("/nowhere", headers=HTML).headers["Content-Security-Policy"]
    assert "default-src 'none'" in of_the_packages_own_page


def test_access_log(make, capsys):
    on, off = on_and_off(make, "ENTRA_ACCESS_LOG")
    off.get("/")
    assert "access_log" not in capsys.readouterr().err
    on.get("/")
    assert "flask_entra.access_log" in capsys.readouterr().err


def test_logging(make):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        make(ENTRA_LOGGING=True)
        assert root.handlers != handlers
    finally:
        root.handlers[:], root.level = handlers, level
        logging.getLogger("werkzeug").propagate = True


def test_languages(make):
    on, off = on_and_off(make, "ENTRA_LANGUAGES")
    assert on.get("/shown/translated.html?lang=fr").text == "Page introuvable"
    with pytest.raises(Exception, match="'_' is undefined"):
        off.application.testing = True
        off.get("/shown/translated.html")


def test_assets(make):
    on, off = on_and_off(make, "ENTRA_ASSETS")
    with on.application.test_request_context():
        address = on.application.jinja_env.globals["asset"]("style.css")
    for client, path, kept in (
        (on, address, "public, max-age=31536000"),
        (on, "/static/style.css", "no-cache"),
        (off, address, "no-cache"),
    ):
        with client.get(path) as file:
            assert file.headers["Cache-Control"] == kept


def test_compiled_templates(make):
    on, off = (make(ENTRA_LANGUAGES=True, ENTRA_COMPILED_TEMPLATES=value) for value in (True, False))
    assert type(off.jinja_env).__module__ == "flask.templating"
    assert type(on.jinja_env).__module__ == "flask_entra.pages.compiled"
    for app in (on, off):
        assert app.test_client().get("/shown/translated.html?lang=fr").text == "Page introuvable"


def test_configuration_everywhere(make):
    apps = [make(ENTRA_CONFIGURATION_EVERYWHERE=value, ENTRA_CLIENT_ID="") for value in (True, False)]
    assert [app.test_client().get("/shown/home.html", headers=HTML).status_code for app in apps] == [503, 200]
    assert [app.test_client().get("/me", headers=HTML).status_code for app in apps] == [503, 503]


def test_a_switch_may_be_written_as_a_text(make):
    assert make(ENTRA_HEALTH="off").test_client().get("/healthz").status_code == 404
    assert make(ENTRA_HEALTH="1").test_client().get("/healthz").status_code == 200


def test_the_blueprint_and_its_paths_are_the_apps_to_choose(make, provider):
    app = make(
        ENTRA_BLUEPRINT="people",
        ENTRA_URL_PREFIX="/sso",
        ENTRA_LOGIN_PATH="/in",
        ENTRA_LOGOUT_PATH="/out",
        before=lambda app: app.register_blueprint(flask.Blueprint("identity", __name__)),
    )
    with app.test_request_context():
        assert flask.url_for("people.login") == "/sso/in"
        assert flask.url_for("people.logout") == "/sso/out"
    browser = Browser(app, provider)
    assert browser.get("/login").status_code == 404
    assert browser.sign_in("/sso/in").status_code in REDIRECTS
    assert browser.get("/me").text
    browser.client.post("/sso/out", base_url="http://localhost:5000", headers={"Origin": "http://localhost:5000"})
    assert browser.get("/me").status_code in REDIRECTS


def test_a_page_of_the_package_in_the_apps_layout(make):
    app = make(ENTRA_LAYOUT="layout.html", ENTRA_LAYOUT_BLOCK="body", ENTRA_LAYOUT_TITLE_BLOCK="heading")
    page = app.test_client().get("/nowhere", headers=HTML)
    assert page.text.startswith("<title>Page not found</title><nav>Contoso</nav>")
    assert "Content-Security-Policy" not in page.headers  # the layout is the app's


@pytest.mark.parametrize("layout", ["nowhere.html", "home.html", "translated.html"])
def test_a_layout_that_is_of_no_use_hides_no_failure(make, layout):
    page = make(ENTRA_LAYOUT=layout).test_client().get("/nowhere", headers=HTML)
    assert page.status_code == 404
    assert "Page not found" in page.text


def test_a_policy_is_widened_by_the_setting(make):
    csp = {"script-src": ["https://cdn.example"], "frame-src": "'self' https://video.example"}
    policy = make(ENTRA_SECURITY_HEADERS=True, ENTRA_CSP=csp).test_client().get("/").headers["Content-Security-Policy"]
    assert "script-src https://cdn.example;" in policy + ";"
    assert "frame-src 'self' https://video.example" in policy
    with pytest.raises(ValueError, match="is no source of script-src"):
        make(ENTRA_CSP={"script-src": ["https://cdn.example; default-src *"]})


# --- Signals and hooks ------------------------------------------------------------------------------------------------


@pytest.fixture
def heard():
    """What the signals tell: the name of each, and what it came with."""
    told, receivers = [], []
    for name, signal in {
        "in": signed_in,
        "out": signed_out,
        "refreshed": token_refreshed,
        "denied": access_denied,
    }.items():

        def receive(sender, _name=name, **values):
            told.append((_name, sender, values))

        signal.connect(receive)
        receivers.append(receive)
    return told, receivers


def test_the_signals_tell_who_without_a_token(make, provider, heard):
    told, _receivers = heard
    auth = Auth()
    app = make(auth)
    app.add_url_rule(
        "/approve", "approve", auth.login_required(lambda *, context: "approved", roles=["Orders.Approve"])
    )
    app.add_url_rule("/renew", "renew", lambda: auth.renew_token())
    browser = Browser(app, provider)
    browser.sign_in()
    browser.get("/renew")
    assert browser.get("/approve").status_code == 403
    browser.sign_out()
    assert [name for name, _, _ in told] == ["in", "refreshed", "denied", "out"]
    assert {sender for _, sender, _ in told} == {app}
    assert len({values["user"]["sub"] for _, _, values in told}) == 1
    assert type(told[2][2]["error"]).__name__ == "NotAllowed"
    assert "access_token" not in str(told)
    assert "refresh" not in str([values for _, _, values in told])


def test_a_hook_adds_to_the_session_or_refuses_the_sign_in(make, provider, heard):
    told, _receivers = heard
    auth = Auth()

    @auth.on_sign_in
    def find_user(claims):
        if claims["sub"] == "bob":
            raise SignInRefused("Your account here is closed.")
        flask.session["number"] = 7

    app = make(auth)
    app.add_url_rule("/number", "number", lambda: str(flask.session.get("number")))
    browser = Browser(app, provider)
    assert browser.sign_in().status_code in REDIRECTS
    assert browser.get("/number").text == "7"
    provider.claims = {"sub": "bob", "name": "Bob"}
    refused = Browser(app, provider)
    page = refused.sign_in()
    assert page.status_code == 403
    assert "Your account here is closed." in page.text
    assert refused.get("/number").text == "None"
    assert refused.get("/me").status_code in REDIRECTS
    assert [name for name, _, _ in told] == ["in", "denied"]
    assert browser.get("/number").text == "7"  # the other person is signed in as before


def test_a_hook_that_fails_signs_nobody_in(make, provider):
    auth = Auth()
    auth.on_sign_in(lambda claims: 1 / 0)
    browser = Browser(make(auth), provider)
    assert browser.sign_in().status_code == 500
    assert browser.get("/me").status_code in REDIRECTS


def test_one_object_serves_two_apps(make):
    auth = Auth()
    first, second = make(auth), make(auth, ENTRA_HEALTH=False)
    sign_in(first.test_client(), name="Adèle")
    clients = [app.test_client() for app in (first, second)]
    for client, name in zip(clients, ("Adèle", "Bob"), strict=True):
        sign_in(client, name=name)
    assert [client.get("/me").text for client in clients] == ["Adèle", "Bob"]
    with pytest.raises(RuntimeError, match="called twice for this app"):
        auth.init_app(first)


@pytest.mark.parametrize("debug", [True, False])
def test_a_field_that_a_form_lacks_is_named_in_debug_mode(make, debug):
    app = make(DEBUG=debug)
    app.add_url_rule("/form", "form", lambda: flask.request.form["phone"], methods=["POST"])
    page = app.test_client().post("/form", headers=HTML)
    assert page.status_code == 400
    assert ("The request has no field phone." in page.text) is debug

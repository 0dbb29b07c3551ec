"""Decorators in the wrong order, and decorators that answer in a view's place: nothing of it opens a view."""

import functools
import inspect
import json

import flask
import pytest
from flask.views import MethodView

from flask_entra import Auth
from flask_entra.testing import sign_in

JSON = {"Accept": "application/json"}
ROLE = "Orders.Approve"


@pytest.fixture
def make(tmp_path):
    def make(auth, protected=False, **settings):
        app = flask.Flask(__name__)
        app.config.update(
            settings,
            ENTRA_CLIENT_ID="7c5a2f0e-0c51-4c0e-9c0f-1f6c3f0f7a11",
            ENTRA_CLIENT_SECRET="s" * 40,
            ENTRA_AUTHORITY="https://login.microsoftonline.com/contoso.example",
            ENTRA_SESSION_FILE_DIR=str(tmp_path),
        )
        auth.init_app(app, protected=protected)
        return app

    return make


def cached(view):
    """As Flask-Caching does: the first answer is everybody's."""
    kept = []

    @functools.wraps(view)
    def answer(*args, **kwargs):
        if not kept:
            kept.append(view(*args, **kwargs))
        return kept[0]

    return answer


def test_a_cache_above_login_required_serves_no_stranger_and_nobody_without_the_role(make):
    auth = Auth()
    app = make(auth, protected=True)

    @app.get("/figures")
    @cached
    @auth.login_required(roles=[ROLE])
    def figures(*, context):
        return f"figures for {context['user']['name']}"

    client, stranger, colleague = (app.test_client() for _ in range(3))
    sign_in(client, name="Adele", roles=[ROLE])
    assert client.get("/figures").text == "figures for Adele"
    assert stranger.get("/figures", headers=JSON).status_code == 401
    sign_in(colleague, name="Bob")
    assert colleague.get("/figures", headers=JSON).status_code == 403


def test_public_is_of_a_registration_and_not_of_the_function(make):
    auth = Auth()
    app = make(auth, protected=True)

    def page(number=1, *, more=2):
        """A page."""
        return f"page {number} {more}"

    app.add_url_rule("/open", "open", auth.public(page))
    app.add_url_rule("/closed", "closed", page)
    client = app.test_client()
    assert client.get("/open").text == "page 1 2"
    assert client.get("/closed", headers=JSON).status_code == 401
    assert auth.public(page).__doc__ == "A page."


def test_public_keeps_what_a_view_is(make):
    auth = Auth()
    app = make(auth, protected=True)

    class Thing:
        def __call__(self):
            return "a thing"

    async def later():
        return "later"

    @auth.public
    @cached
    def kept():
        return "kept"

    app.add_url_rule("/thing", "thing", auth.public(Thing()))
    app.add_url_rule("/later", "later", auth.public(later))
    app.add_url_rule("/kept", "kept", kept)
    client = app.test_client()
    assert client.get("/thing").text == "a thing"
    assert client.get("/kept").text == "kept"
    assert inspect.iscoroutinefunction(auth.public(later))


# --- login_required above the route -----------------------------------------------------------------------------------


def by_a_route(auth, app):
    @auth.login_required(roles=[ROLE])
    @app.get("/x")
    def view(context=None):
        return "x"


def by_a_blueprint(auth, app):
    blueprint = flask.Blueprint("later", __name__)

    @auth.login_required
    @blueprint.route("/x")
    def view(**kwargs):
        return "x"

    app.register_blueprint(blueprint)


def by_add_url_rule(auth, app):
    def view(context=None):
        return "x"

    app.add_url_rule("/x", view_func=view)
    auth.login_required(view, roles=[ROLE])


def by_a_view_class(auth, app):
    class View(MethodView):
        def get(self, context=None):
            return "x"

    view = View.as_view("view")
    app.add_url_rule("/x", view_func=view)
    auth.login_required(view)


def by_endpoint(auth, app):
    @auth.login_required(roles=[ROLE])
    @app.endpoint("x")
    def view(context=None):
        return "x"

    app.add_url_rule("/x", endpoint="x")


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("register", [by_a_route, by_a_blueprint, by_add_url_rule, by_a_view_class, by_endpoint])
def test_a_view_that_was_registered_before_login_required_stops_the_app(make, register, protected, caplog):
    auth = Auth()
    app = make(auth, protected)
    register(auth, app)
    client = app.test_client()
    for path in ("/x", "/healthz", "/x"):
        assert client.get(path).status_code == 500
    (told,) = {record.exc_info[1].args[0] for record in caplog.records if record.exc_info}
    assert "login_required stands above the route and guards nothing: view (" in told
    assert f"{__file__}, line " in told or register is by_a_view_class


def test_files_are_sent_all_the_same_and_a_view_without_context_is_named_at_once(make):
    auth = Auth()
    app = make(auth)
    by_a_route(auth, app)
    app.static_folder = "pages_static"
    assert app.test_client().get("/static/none.css").status_code == 404
    for decorator in (auth.login_required, auth.login_required(scopes=["User.Read"]), auth.bearer_required):
        for view in (lambda: "x", lambda context, /: "x", CannotTake().get):
            with pytest.raises(
                TypeError, match=rf"_required gives a view the argument context, .*\({__file__}, line \d+\)"
            ):
                decorator(view)
    for view in (lambda context: "x", lambda **given: "x", lambda user=None, *, context=None: "x"):
        assert auth.login_required(view)


class CannotTake:
    def get(self, item):
        return item


def test_the_configuration_page_does_not_blame_the_settings_for_it(make):
    auth = Auth()
    app = make(auth, ENTRA_CONFIGURATION_EVERYWHERE=True)
    by_a_route(auth, app)
    page = app.test_client().get("/x", headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert "<h1>A view is not right</h1>" in page.text
    assert "Put login_required below the route." in page.text
    assert "settings of an app registration" not in page.text


def test_the_doctor_finds_it_before_anybody_asks(make):
    auth = Auth()
    app = make(auth)
    by_a_route(auth, app)
    told = app.test_cli_runner().invoke(args=["doctor", "--json"]).output
    (finding,) = [each for each in json.loads(told)["findings"] if each["setting"] == "views"]
    assert finding["level"] == "wrong"
    assert f"view ({__file__}, line " in finding["found"]
    assert "below the route" in finding["mend"]


def test_a_function_that_is_registered_twice_on_purpose_is_no_mistake(make):
    auth = Auth()
    app = make(auth)

    def view(context=None):
        return "signed in" if context else "anybody"

    app.add_url_rule("/open", "open", view)
    app.add_url_rule("/closed", "closed", auth.login_required(view))
    app.add_url_rule("/cached", "cached", cached(auth.login_required(view)))
    client = app.test_client()
    assert client.get("/open").text == "anybody"
    assert client.get("/closed", headers=JSON).status_code == 401


# --- Consent only for a page that may be opened -----------------------------------------------------------------------


def test_a_stranger_is_asked_to_consent_to_no_scope_of_a_page_for_a_role(make):
    auth = Auth()
    app = make(auth)

    @app.get("/orders")
    @auth.login_required(scopes=["Orders.Read.All"], roles=[ROLE])
    def orders(*, context):
        return "orders"

    client = app.test_client()
    told = client.get("/orders", headers=JSON)
    assert told.status_code == 401
    assert "for=" not in told.json["sign_in"]
    assert "Orders.Read.All" not in told.text
    sign_in(client, scopes=["User.Read"])
    refused = client.get("/orders", headers=JSON)
    assert refused.status_code == 403
    assert "Orders.Read.All" not in refused.text
    sign_in(client, scopes=["User.Read"], roles=[ROLE])
    asked = client.get("/orders", headers=JSON)
    assert asked.status_code == 401
    assert asked.json["scopes"] == ["Orders.Read.All"]
    assert "for=" in asked.json["sign_in"]

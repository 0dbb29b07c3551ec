"""What a person sees of the sandbox: its pages, its command in a terminal, and what it says that it lacks."""

import contextlib
import re
import signal
import subprocess
import sys
import textwrap
from urllib.parse import urljoin

import pytest
import requests
from conftest import ROOT, bare_environment
from programs import free_port
from visitor import Page, Visitor

from sandbox import people
from sandbox.entra import scopes
from sandbox.ports import BLOCKED
from sandbox.process import KEPT
from sandbox.words import FRENCH

FRENCH_BROWSER = {"Accept-Language": "fr-CA,fr;q=0.9,en;q=0.5"}


@contextlib.contextmanager
def sandboxed(*arguments, cwd=ROOT, **environment):
    """`python -m sandbox`, until it is ready: the app's address, and that of the sandbox's own page."""
    port = free_port()
    command = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", str(port), *arguments],
        cwd=cwd,
        env=bare_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        ready, own = (re.search(r"http://\S+", command.stdout.readline()) for _ in range(2))
        yield ready[0], own[0]
    finally:
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=15)
    assert (command.returncode, "Traceback" in err) == (0, False), err


def own_page(box, **headers):
    return requests.get(box.front_url, headers=headers, timeout=5)


# --- Languages ----------------------------------------------------------------------------------------------------------


def test_every_text_has_a_french_one_and_each_of_them_is_used():
    used = [
        text
        for path in (ROOT / "sandbox" / "templates").glob("*.html")
        for text in re.findall(r"_\('([^']+)'", path.read_text())
    ]
    code = (ROOT / "sandbox" / "__main__.py").read_text()
    for call in re.findall(r"\b_\(\s*((?:\"[^\"]*\"\s*)+)", code):
        used.append("".join(re.findall(r'"([^"]*)"', call)))
    used += [person.shows for person in people.sample_people().values()]
    used += scopes.sentences({*scopes.OIDC}) + scopes.sentences({*scopes.GRAPH, *scopes.ORDERS})
    assert set(used) == set(FRENCH)
    for english, french in FRENCH.items():
        assert re.findall(r"%\(\w+\)\w", english) == re.findall(r"%\(\w+\)\w", french)
        assert not re.search(r"'| [:;!?]", french), french  # set as French is


def test_pages_speak_the_browsers_language(box, app):
    person = Visitor(app.url)
    person.headers.update(FRENCH_BROWSER)
    page = person.get("/login")
    assert '<html lang="fr">' in page.text
    assert Page(page.text).heading == "Choisir un compte"
    assert "Un profil complet, avec une photo" in page.text
    page = person.press(page, "adele")
    assert Page(page.text).heading == "Autorisations demandées"
    assert "Lire votre profil" in Page(page.text).items
    assert person.press(page, "accept").url == f"{app.url}/"
    page = person.press(person.get("/login?prompt=select_account"), "miriam")
    assert Page(page.text).heading == "Approbation de l’administrateur requise"
    assert "Vous vous êtes déconnecté" in person.get(f"{box.front_url}/common/oauth2/v2.0/logout").text
    assert "Désolé" in person.get(f"{box.front_url}/nowhere/oauth2/v2.0/authorize").text
    assert "Un jeton du porteur" in person.get(box.front_url).text


@pytest.mark.parametrize(("wanted", "heading"), [("fr-FR en", "Choisir"), ("de en", "Pick"), ("de", "Choisir")])
def test_ui_locales_come_before_the_browsers_language(app, wanted, heading):
    person = Visitor(app.url)
    person.headers.update(FRENCH_BROWSER)
    address = person.get("/login", follow=False).headers["Location"]
    assert Page(person.get(f"{address}&ui_locales={wanted}").text).heading.startswith(heading)


# --- Consent ------------------------------------------------------------------------------------------------------------


def test_whoever_cancels_is_told_by_the_app_and_not_signed_in(app, person):
    page = person.press(person.get("/login"), "cancel")
    assert page.url.startswith(app.url)
    assert "AADSTS65004" in page.text
    assert not person.signed_in


def test_consents_can_be_taken_back(box, app, person):
    assert "Nobody has consented" in own_page(box).text
    person.sign_in("adele")
    again = Visitor(app.url)
    assert again.press(again.get("/login"), "adele").url == f"{app.url}/"  # nothing is asked again
    page = own_page(box)
    assert "Adèle Vance" in page.text and "User.Read" in page.text
    (action,) = (form[0] for form in Page(page.text).forms if form[0] != "/token")
    assert "Nobody has consented" in requests.post(urljoin(page.url, action), timeout=5).text
    again = Visitor(app.url)
    assert Page(again.press(again.get("/login"), "adele").text).heading == "Permissions requested"


def test_a_page_that_needs_more_permissions_is_no_warning_in_the_log(staff):
    person = Visitor(staff.url)
    person.sign_in("adele")
    before = len(staff.log())
    assert person.go_on(person.get("/mail/")).status_code == 200
    logged = staff.log()[before:]
    assert "A sign-in is needed for Mail.Read: invalid_grant AADSTS65001" in logged
    assert "WARNING" not in logged


# --- A bearer token, and an app of one's own ----------------------------------------------------------------------------


def test_an_api_of_ones_own_is_tried_with_a_token_of_the_form():
    with sandboxed("--app", "tests/orders_api:create_app", LC_ALL="fr_FR.UTF-8") as (app, own):

        def call(token, path="orders"):
            return requests.get(f"{app}/api/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=9)

        form = {"person": "adele", "scopes": "Orders.Read", "roles": ""}
        token = requests.post(f"{own}/token", data=form, timeout=5)  # as curl asks
        assert token.headers["Content-Type"].startswith("text/plain")
        assert call(token.text).json()["orders"] == ["Two chairs", "A lamp"]
        assert call(token.text, "profile").json()["title"] is not None

        page = requests.post(f"{own}/token", data=form, headers={"Accept": "text/html"}, timeout=5).text
        assert call(re.search(r"<textarea[^>]*>([\w.-]+)</textarea>", page)[1]).status_code == 200
        assert f"-d person=adele -d scopes=Orders.Read {own}/token" in Page(page).text

        its_own = requests.post(f"{own}/token", data={"person": "", "roles": "Orders.Read.All"}, timeout=5).text
        assert call(its_own).status_code == 200
        nobody = requests.post(f"{own}/token", data={"person": "nobody"}, timeout=5)
        assert (nobody.status_code, nobody.text.startswith("The sandbox has no person 'nobody'")) == (400, True)


def test_an_app_of_ones_own_keeps_its_settings_and_gets_the_sandboxs_tenant(tmp_path):
    (tmp_path / "shop.py").write_text(
        textwrap.dedent("""
        import os
        from flask import Flask
        from flask_entra import Auth

        def create_app():
            app = Flask(__name__)
            app.config.from_prefixed_env()
            auth = Auth(app)

            @app.get("/")
            def home():
                return {**{name: str(value) for name, value in app.config.items()}, "STOCK": os.environ["STOCK"]}

            @app.get("/orders")
            @auth.login_required
            def orders(*, context):
                return auth.api(os.environ["ORDERS_URL"], scopes=[os.environ["ORDERS_SCOPE"]]).get("/mine")

            return app
        """)
    )
    real = {
        "CLIENT_ID": "of-a-real-tenant",
        "OIDC_AUTHORITY": "https://real.example",
        "ENTRA_REDIS_URL": "redis://real.example",
    }
    own = {
        "STOCK": "17",
        "FLASK_COLOUR": "blue",
        "FLASK_ENTRA_APP_NAME": "The shop",
        "FLASK_ENTRA_GROUPS": "staff=of-the-file",
    }
    lines = [*own.items(), *((f"FLASK_{name}" if name[:2] == "EN" else name, value) for name, value in real.items())]
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines))
    staff = people.group_id("Finance")
    with sandboxed(
        "--app", "shop:create_app", cwd=tmp_path, PYTHONPATH=str(ROOT), FLASK_ENTRA_GROUPS=f"staff={staff}"
    ) as (app, _):
        config = requests.get(app, timeout=9).json()
        assert [config[name] for name in ("STOCK", "COLOUR", "ENTRA_APP_NAME", "ENTRA_GROUPS")] == [
            "17",
            "blue",
            "The shop",
            f"staff={staff}",
        ]
        assert config["ENTRA_AUTHORITY"].startswith("https://localhost:")
        assert not {value for value in real.values() if value in config.values()}
        person = Visitor(app)
        assert person.sign_in("adele", "/orders").json()["value"] == [{"item": "Two chairs"}, {"item": "A lamp"}]


def test_the_starter_gets_the_settings_that_are_no_tenants():
    assert {
        "APP_NAME",
        "GROUPS",
        "TRUSTED_ORIGINS",
        "API_AUDIENCE",
        "SESSION_IDLE_MINUTES",
        "SESSION_MAX_HOURS",
    } <= set(KEPT)
    with sandboxed("--prefix", "/portal", APP_NAME="Contoso", CLIENT_ID="of-a-real-tenant") as (app, _):
        assert "Contoso" in requests.get(app, timeout=9).text
        assert Visitor(app).sign_in().status_code == 200


# --- The command --------------------------------------------------------------------------------------------------------


def said(*arguments, **environment):
    """What the command says that ends at once."""
    command = [sys.executable, "-m", "sandbox", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=bare_environment() | environment, capture_output=True, encoding="utf-8", timeout=30
    )
    return done.stdout + done.stderr


def test_the_command_speaks_the_terminals_language():
    for language, texts in (
        ("en_GB.UTF-8", ("No Azure account is needed", "show this text", "'x' is not a path")),
        ("fr_FR.UTF-8", ("Aucun compte", "affiche ce texte", "'x' n’est pas un chemin")),
    ):
        printed = said("--help", LC_ALL=language) + said("--prefix", "x", LC_ALL=language)
        assert all(text in " ".join(printed.split()) for text in texts), printed


def test_an_app_that_is_not_there_is_named():
    printed = said("--port", str(free_port()), "--app", "nowhere")
    assert "nowhere" in printed
    assert "The app stopped by itself" in printed


@pytest.mark.parametrize(("port", "service"), [(5060, "sip"), (6000, "x11"), (6667, "irc")])
def test_a_port_that_browsers_block_is_warned_of_by_name(monkeypatch, capsys, port, service):
    from sandbox import __main__ as command

    monkeypatch.setattr(command, "is_free", lambda port: False)  # it ends there
    assert command.main(["--port", str(port)]) == 1
    printed = capsys.readouterr().err
    assert f"Browsers refuse to open port {port}, because it is that of another service ({service})." in printed
    advised = re.findall(r"--port (\d+)", printed)
    assert not BLOCKED.keys() & {int(each) for each in advised}


# --- What it lacks ------------------------------------------------------------------------------------------------------


def test_what_only_the_sandbox_lacks_is_said_to_be_its_own_limit(box, app, person):
    page = person.get(f"{person.get('/login', follow=False).headers['Location']}".replace("User.Read", "Coffee.Make"))
    assert "AADSTS650053" in page.text
    assert "The sandbox has no scope &#39;" in page.text
    answer = box.tenant.issue(box.person("adele"), ["User.Read", "People.Read"], {}, "", box.tenant_id)
    token = {"Authorization": f"Bearer {answer['access_token']}"}
    for method, path, lacks in (
        ("GET", "/me/drives", "resource '/me/drives'"),
        ("PUT", "/me/messages", "PUT of '/me/messages'"),
        ("GET", "/me/people?$filter=x", "query option '$filter'"),
    ):
        answer = requests.request(method, f"{box.back_url}/v1.0{path}", headers=token, verify=box.ca_file, timeout=5)
        assert f"The sandbox has no {lacks}" in answer.json()["error"]["message"]

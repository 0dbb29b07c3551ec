"""The package as strangers have it: installed from its wheel, outside this repository, in apps that know nothing of it.

Each app is served at the root, and below a path behind nginx in three ways.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
from conftest import ROOT, bare_environment
from programs import free_port, listens, posix, until
from proxies import nginx
from visitor import Page, Visitor

from sandbox import Sandbox

pytestmark = [posix, pytest.mark.slow, pytest.mark.xdist_group("the wheel")]
STRANGERS = ROOT / "tests" / "strangers"
PREFIX = "/portal"
SERVE = """
import importlib, sys
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple

module, port, mount = sys.argv[1:]
module = importlib.import_module(module)
app = module.create_app() if hasattr(module, "create_app") else module.app
app = DispatcherMiddleware(NotFound(), {mount: app}) if mount else app
run_simple("127.0.0.1", int(port), app, threaded=True)
"""
FORWARDED = "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto http;"
# What nginx passes on, its header, the app's settings, and where the code mounts it.
WAYS = {
    "/": ("", "", {}, ""),
    "a header": ("/", f"proxy_set_header X-Forwarded-Prefix {PREFIX};", {}, ""),
    "the root of the app": ("", "", {"APPLICATION_ROOT": PREFIX}, ""),
    "a dispatcher": ("", "", {}, PREFIX),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist, built from a copy of what git has."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)) if any(names) else _files():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    build(source, folder / "dist")
    # The release after it.
    version = (source / "pyproject.toml").read_text().replace('\nversion = "0.', '\nversion = "9.')
    (source / "pyproject.toml").write_text(version)
    build(source, folder / "dist" / "next", "wheel")
    return folder / "dist"


def build(source, dist, *targets):
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(dist), *(f"-t{each}" for each in targets)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _files():
    """The files of a copy without git, as CI tries it."""
    left_out = (
        ".venv",
        "__pycache__",
        ".git",
        "flask_session",
        ".pytest_cache",
        ".hypothesis",
        ".ruff_cache",
        ".mypy_cache",
    )
    for path in ROOT.rglob("*"):
        name = path.relative_to(ROOT)
        if path.is_file() and not set(name.parts) & set(left_out):
            yield str(name)


@pytest.fixture(scope="module")
def python(built, tmp_path_factory):
    """The Python of an empty environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    install(python, f"flask-entra @ {wheel.as_uri()}", "flask-login>=0.6,<0.8", "flask-sqlalchemy>=3.1,<4")
    return python


def install(python, *wanted):
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *wanted]
    done = subprocess.run(command, cwd=python.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tenant():
    with Sandbox() as box:
        yield box


class Stranger:
    """An app of a stranger's, in a folder of its own."""

    def __init__(self, python, name, folder, tenant, way):
        passed_on, header, settings, mount = WAYS[way]
        self.folder, self.port, self.prefix = folder, free_port(), "" if way == "/" else PREFIX
        folder.mkdir()
        if (STRANGERS / f"{name}.py").exists():
            shutil.copy(STRANGERS / f"{name}.py", folder)
        elif name == "identity_example":
            shutil.copytree(STRANGERS / name, folder, dirs_exist_ok=True)
        else:
            shutil.copytree(STRANGERS / name, folder / name)
        self._stack = contextlib.ExitStack()
        location = (
            f"location {self.prefix}/ {{ proxy_pass http://127.0.0.1:{self.port}{passed_on}; {FORWARDED} {header} }}"
        )
        port = self._stack.enter_context(nginx(folder, location)) if self.prefix else self.port
        self.url = f"http://localhost:{port}{self.prefix}"
        redirect_uri = f"{self.url}/getAToken"
        tenant.redirect_uris.add(redirect_uri)
        given = {name: value for name, value in tenant.settings.items() if name != "REQUESTS_CA_BUNDLE"}
        given |= {"REDIRECT_URI": redirect_uri, "TRUSTED_PROXY_COUNT": "1" if header else "0"}
        if name == "identity_example":
            environment = {**given, **settings, "API": given["ENDPOINT"]}
        else:
            environment = {f"FLASK_{key}": value for key, value in settings.items()}
            environment |= {f"FLASK_ENTRA_{key}": value for key, value in given.items()}
        if name == "existing":
            environment["FLASK_ENTRA_LOGIN_PATH"] = "/sign-in"
        environment["REQUESTS_CA_BUNDLE"] = tenant.ca_file
        self.environment = {**bare_environment(), **environment, "PYTHONWARNINGS": "error"}
        self.module = "app" if name == "identity_example" else name
        self.python = python
        (folder / "serve.py").write_text(SERVE)
        self._command = [str(python), "serve.py", self.module, str(self.port), mount]
        self._stack.callback(self.stop)
        self.start()

    def start(self):
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ready(self):
        until(lambda: self.process.poll() is not None or listens(self.port), 60)
        assert self.process.poll() is None, self.log()
        return self

    def log(self):
        return (self.folder / "log.txt").read_text()

    def flask(self, *arguments):
        command = [str(self.python), "-m", "flask", "--app", self.module, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def close(self):
        self._stack.close()


@pytest.fixture(scope="module")
def strangers(python, tenant, tmp_path_factory):
    """Each app in each way, all of them begun at once."""
    folder = tmp_path_factory.mktemp("strangers")
    names = ("contract", "identity_example", "existing")
    wanted = [(name, way) for name in names for way in WAYS]
    apps = {
        (name, way): Stranger(python, name, folder / f"{name}-{number}", tenant, way)
        for number, (name, way) in enumerate(wanted)
    }
    for app in apps.values():
        app.ready()
    yield apps
    for app in apps.values():
        app.close()


def at(strangers, name):
    """A stranger's app in each way."""
    return [app for (named, _way), app in strangers.items() if named == name]


def test_the_wheel_has_the_package_and_all_that_it_needs(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("py.typed", "pages/templates/problem.html", "translations/fr/LC_MESSAGES/messages.mo", "testing.py"):
        assert f"flask_entra/{needed}" in names
    assert {name.split("/")[0] for name in names} == {"flask_entra", f"{wheel.name.split('-py3')[0]}.dist-info"}
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        assert any(name.endswith("/flask_entra/py.typed") for name in files.getnames())


def test_what_is_installed_is_what_the_repository_does_not_have(python, tmp_path):
    code = "import flask_entra, importlib.metadata as m; print(flask_entra.__file__, m.version('flask-entra'), flask_entra.Auth)"
    done = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout
    assert re.search(r" [09]\.\d+\.\d+ <class", done.stdout)


def test_the_contract(strangers, tenant):
    for app in at(strangers, "contract"):
        person = Visitor(app.url)
        assert person.get("/").text == "A page of a stranger."
        assert "Content-Security-Policy" not in person.get("/").headers
        assert person.get("/healthz").text == "ok\n"
        missing = person.get("/nowhere", headers={"Accept-Language": "fr"})
        assert missing.status_code == 404
        assert "Page introuvable" in Page(missing.text).text
        assert f'href="{app.prefix}/"' in missing.text
        assert "default-src 'none'" in missing.headers["Content-Security-Policy"]
        profile = person.sign_in(path="/me")
        assert profile.url == f"{app.url}/me"
        assert profile.json()["jobTitle"] == "Retail Manager"
        assert Visitor(app.url).get("/me", headers={"Accept": "application/json"}).status_code == 401
        person.get("/logout")
        assert person.get("/me", follow=False).is_redirect
        assert app.log().count("Traceback") == 0


def test_the_doctor_of_a_stranger(strangers, tenant):
    app = strangers["contract", "/"]
    done = app.flask("doctor", "--port", str(app.port))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CLIENT_SECRET" in done.stdout
    assert app.flask("sessions", "prune").returncode == 0


def test_missing_settings_are_told_where_they_are_needed_and_nowhere_else(python, tmp_path):
    shutil.copy(STRANGERS / "contract.py", tmp_path)
    code = (
        "import contract; client = contract.create_app().test_client()\n"
        "for path in ('/', '/nowhere', '/me', '/login'):\n"
        "    page = client.get(path, base_url='http://localhost:5000'); print(path, page.status_code)\n"
        "print(page.text)"
    )
    environment = {**bare_environment(), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/ 200\n/nowhere 404\n/me 503\n/login 503\n")
    for name in ("ENTRA_CLIENT_ID", "ENTRA_CLIENT_SECRET", "ENTRA_AUTHORITY"):
        assert f"<code>{name}</code> is missing" in done.stdout
        assert name in done.stderr  # a line in the log
    assert "app.py" not in done.stdout


def test_identitys_documented_example_with_one_import_changed(strangers):
    for app in at(strangers, "identity_example"):
        person = Visitor(app.url)
        page = person.sign_in(path="/")
        assert "Hello, Adèle Vance" in page.text
        assert f'href="{app.prefix}/logout"' in page.text
        assert "Edit profile" not in page.text
        page = person.get("/call_api")
        assert "Adèle Vance Retail Manager" in page.text
        assert "access_token expires_in scopes token_type user" in page.text
        assert person.get("/logout").text == "You are signed out."
        assert person.get("/", follow=False).is_redirect
        assert "Traceback" not in app.log()


def test_an_app_that_was_there_before(strangers, tenant):
    for app in at(strangers, "existing"):
        person = Visitor(app.url)
        home = person.get("/")
        assert "the app&#39;s own" in home.text
        assert "Content-Security-Policy" not in home.headers
        assert person.get("/login").text == "The app's own page of this name."
        assert person.get("/auth/login").text == "The app's own login."
        assert person.get("/nowhere").text == "The app's own page for what is not there."
        mine = person.sign_in(path="/mine")  # Flask-Login's own guard, which leads to this package's sign-in
        assert mine.url == f"{app.url}/mine"
        assert re.fullmatch(r"Adèle Vance, number \d+; the tutorial's own; the app's own", mine.text)
        assert "in Adèle Vance" in person.get("/").text
        profile = person.go_on(person.get("/profile"))
        assert "Retail Manager" in profile.text
        problem = person.get("/broken", headers={"Accept-Language": "en"})
        assert problem.status_code == 500
        assert "Something went wrong" in problem.text
        assert '<nav class="navbar">Existing Adèle Vance</nav>' in problem.text  # in the app's own layout
        assert "out Adèle Vance" in person.get("/logout").text
        assert person.get("/mine", follow=False).is_redirect

        closed = Visitor(app.url)
        closed.sign_in("lynne", "/mine")
        closed.get("/logout")
        with contextlib.closing(sqlite3.connect(app.folder / "instance" / "people.db")) as people, people:
            people.execute("UPDATE user SET is_closed = 1 WHERE name LIKE 'Lynne%'")
        page = closed.sign_in("lynne", "/profile")
        assert page.status_code == 403
        assert "Your account here is closed." in page.text
        assert closed.get("/mine", follow=False).is_redirect
        assert app.log().count("Traceback (most") == 1  # of /broken


def test_a_store_whose_client_is_not_installed_is_told_at_the_start(python, tmp_path):
    shutil.copy(STRANGERS / "contract.py", tmp_path)
    environment = {**bare_environment(), "FLASK_ENTRA_REDIS_URL": "redis://localhost"}
    command = [str(python), "-c", "import contract; contract.create_app()"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert 'REDIS_URL needs the package redis: pip install "flask-entra[redis]"' in done.stderr.splitlines()[-1]


def test_an_upgrade_needs_no_edit_and_signs_nobody_out(strangers, built, tenant, python):
    app = strangers["existing", "a header"]
    person = Visitor(app.url)
    assert "number" in person.sign_in("alex", path="/mine").text
    app.stop()
    (wheel,) = built.glob("next/*.whl")
    install(python, f"flask-entra @ {wheel.as_uri()}")
    app.start()
    app.ready()
    assert re.match(r"Alex Wilber, number \d+", person.get("/mine").text)
    assert "Marketing Assistant" in person.go_on(person.get("/profile")).text
    assert person.get("/logout").ok
    assert person.get("/mine", follow=False).is_redirect
    code = "import importlib.metadata as m; print(m.version('flask-entra'))"
    done = subprocess.run([str(python), "-c", code], cwd=app.folder, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("9.")

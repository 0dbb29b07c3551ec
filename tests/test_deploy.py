"""As deployed: gunicorn, nginx with TLS in front, health, logs for machines, and credentials without secrets."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import flask
import jwt
import pytest
import requests
import trustme
from certificates import as_pem, as_pfx, make_certificate
from conftest import ROOT, bare_environment
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from programs import free_port, granian_command, gunicorn_command, listens, needs, posix, until
from visitor import Page, Visitor

from sandbox.faults import Answer, Hold


@pytest.fixture
def gunicorn(serve):
    """Start the app as `gunicorn app:app` does, on a port of its own."""

    def start(**settings):
        port = settings.pop("port", None) or free_port()
        return serve(command=gunicorn_command(port), port=port, **settings)

    return start


# --- gunicorn ---------------------------------------------------------------------------------------------------------


@posix
def test_gunicorn_serves_the_whole_journey_with_the_settings_that_it_finds_by_itself(gunicorn):
    app = gunicorn()
    person = Visitor(app.url)
    assert "Retail Manager" in person.sign_in(path="/call_graph").text
    person.get("/logout")
    assert not person.signed_in
    access = [line for line in app.log().splitlines() if "flask_entra.access_log" in line]
    assert any("/getAToken" in line for line in access)
    assert not any("code=" in line or "?" in line for line in access)


@posix
def test_waiting_for_graph_holds_up_nobody(gunicorn, box):
    app = gunicorn()
    people = [Visitor(app.url) for _ in range(8)]
    for person in people:
        person.sign_in()
    held = Hold()
    box.misbehave("me", held, times=None)
    with ThreadPoolExecutor(16) as pool:
        pages = [pool.submit(person.get, "/call_graph") for person in people * 2]
        held.wait(16)  # all at once, by two processes
        assert Visitor(app.url).get("/").status_code == 200
        held.release()
        assert [page.result().status_code for page in pages] == [200] * 16


@posix
def test_two_masters_of_one_user_share_no_control_socket(gunicorn, tmp_path):
    app = gunicorn(HOME=str(tmp_path))
    Visitor(app.url).sign_in()
    app.stop()
    assert "Listening at" in app.log()
    assert "Control socket" not in app.log()


@posix
def test_a_procfile_starts_the_same():
    assert (ROOT / "Procfile").read_text() == "web: gunicorn app:app\n"


HALF_SENT = {
    "a head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
    "a body": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
}


# --- granian ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def granian(serve):
    """Start the app under granian: one process of 4 threads."""

    def start(**settings):
        port = free_port()
        command = granian_command(port, "--workers", "1", "--blocking-threads", "4")
        return serve(command=command, port=port, THREADS="4", **settings)

    return start


@posix
def test_granian_serves_the_whole_journey_and_logs_the_same(granian):
    app = granian()
    person = Visitor(app.url)
    page = person.sign_in(path="/call_graph")
    assert "Retail Manager" in page.text
    person.get("/logout")
    assert not person.signed_in
    access = [line for line in app.log().splitlines() if "flask_entra.access_log" in line]
    assert any(page.headers["X-Request-ID"] in line and '"GET /call_graph" 200' in line for line in access)
    assert any("/getAToken" in line for line in access)
    assert "code=" not in app.log()


@posix
def test_half_sent_requests_hold_up_nobody_under_granian(granian):
    app = granian()
    with contextlib.ExitStack() as stack:
        for begun in HALF_SENT.values():
            for _ in range(30):
                stack.enter_context(socket.create_connection(("127.0.0.1", app.port))).sendall(begun)
        assert requests.get(app.url, timeout=5).status_code == 200


# --- Both -------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(("server", "says"), [("gunicorn", "Handling signal: term"), ("granian", "Stopping worker")])
def test_stopping_lets_requests_end(request, box, server, says):
    app = request.getfixturevalue(server)()
    person = Visitor(app.url)
    person.sign_in()
    held = Hold()
    box.misbehave("me", held)
    with ThreadPoolExecutor(2) as pool:
        page = pool.submit(person.get, "/call_graph")
        held.wait()
        stopped = pool.submit(app.stop)
        until(lambda: says in app.log())
        held.release()
        assert page.result().status_code == 200
        person.close()
        stopped.result()


@posix
def test_a_server_that_is_stopped_takes_no_request_that_it_will_not_answer(gunicorn, box):
    app = gunicorn()
    person = Visitor(app.url)
    person.sign_in()
    held = Hold()
    box.misbehave("me", held)
    with ThreadPoolExecutor(2) as pool:
        page = pool.submit(person.get, "/call_graph")
        held.wait()
        stopped = pool.submit(app.stop)
        until(lambda: not listens(app.port), seconds=2)
        held.release()
        assert page.result().status_code == 200
        person.close()
        stopped.result()


def answer_of(app, path="/"):
    """What the app answers; None while a process that was just about to end has taken the request."""
    with contextlib.suppress(requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
        return requests.get(app.url + path, timeout=5)
    return None


def children(pid):
    return {int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the processes where Linux lists them")
@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_a_process_that_dies_is_replaced(request, server):
    app = request.getfixturevalue(server)()
    first = children(app.process.pid)
    for worker in first:
        os.kill(worker, signal.SIGKILL)
    until(lambda: children(app.process.pid) - first)
    until(lambda: answer_of(app) is not None)
    assert answer_of(app).status_code == 200
    assert Visitor(app.url).sign_in().status_code == 200


# The proxy in front sets X-Forwarded-Host, and passes on what the client has sent under another name.
@posix
@pytest.mark.parametrize(("server", "status"), [("gunicorn", 200), ("granian", 400)])
def test_a_header_with_underscores_passes_for_the_proxys_under_granian_only(request, server, status):
    app = request.getfixturevalue(server)(REDIRECT_URI="https://app.example/getAToken", TRUSTED_PROXY_COUNT="1")
    headers = {"X-Forwarded-Host": "app.example", "X-Forwarded-Proto": "https", "X_Forwarded_Host": "evil.example"}
    assert requests.get(app.url, headers=headers, timeout=5).status_code == status


@posix
def test_a_reload_of_gunicorn_serves_new_code_and_settings(serve, copy):
    (copy / ".env").write_text("APP_NAME=Before\n")
    port = free_port()
    app = serve(command=gunicorn_command(port), port=port, cwd=copy, FLASK_SKIP_DOTENV="")
    assert "– Before</title>" in requests.get(app.url, timeout=5).text
    (copy / ".env").write_text("APP_NAME=After\n")
    with (copy / "app.py").open("a") as file:
        file.write('\n\n@app.get("/new")\ndef new():\n    return "new"\n')
    app.process.send_signal(signal.SIGHUP)
    until(lambda: (found := answer_of(app, "/new")) is not None and found.status_code == 200)
    until(lambda: (found := answer_of(app)) is not None and "– After</title>" in found.text)


# --- nginx ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nginx(tmp_path):
    """The project's nginx.conf in a real nginx, with names, paths and ports of this test."""
    needs("nginx")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "site.pem")
    authority.cert_pem.write_to_path(tmp_path / "vouches.pem")
    ports = {"443 ssl": free_port(), "127.0.0.1:8000": free_port(), "127.0.0.1:8001": free_port()}
    site = (ROOT / "nginx.conf").read_text().replace("listen 443 ssl", f"listen 127.0.0.1:{ports['443 ssl']} ssl")
    for address in ("127.0.0.1:8000", "127.0.0.1:8001"):
        site = site.replace(address, f"127.0.0.1:{ports[address]}")
    site = site.replace("/etc/ssl/app.example.com.pem", str(tmp_path / "site.pem")).replace(
        "app.example.com;", "localhost;"
    )
    site = site.replace("/etc/ssl/app.example.com.key", str(tmp_path / "site.pem"))
    site = site.replace("/var/log/nginx", str(tmp_path))
    temporary = " ".join(
        f"{name}_temp_path {tmp_path};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr; events {{}} http {{ {temporary} {site} }}"
    (tmp_path / "nginx.conf").write_text(main)
    with (tmp_path / "nginx.txt").open("w") as log:
        process = subprocess.Popen(["nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)], stderr=log)
    url = f"https://localhost:{ports['443 ssl']}"
    yield url, list(ports.values())[1:], str(tmp_path / "vouches.pem")
    process.terminate()
    process.wait(10)


@pytest.fixture
def behind_nginx(nginx, gunicorn):
    url, ports, vouches = nginx
    settings = {"REDIRECT_URI": f"{url}/getAToken", "TRUSTED_PROXY_COUNT": "1"}
    apps = [gunicorn(port=port, **settings) for port in ports]
    return url, apps, vouches


def visitor(url, vouches):
    person = Visitor(url)
    person.verify = vouches
    return person


@posix
def test_people_sign_in_through_nginx_with_no_sticky_sessions(behind_nginx):
    url, apps, vouches = behind_nginx
    person = visitor(url, vouches)
    page = person.sign_in(path="/call_graph")
    assert page.url == url + "/call_graph"
    assert "Retail Manager" in page.text
    cookie = next(cookie for cookie in person.cookies if "session" in cookie.name)
    assert cookie.name.startswith("__Host-session-")
    assert cookie.secure
    assert page.headers["Strict-Transport-Security"]
    for _ in range(6):
        assert person.signed_in
    assert all("flask_entra.access_log" in app.log() for app in apps)
    assert person.get("/", headers={"Host": "evil.example"}, follow=False).status_code == 400
    assert person.get("/", headers={"X_Forwarded_Host": "evil.example"}, follow=False).status_code == 200
    forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    assert "evil.example" not in person.get("/login", headers=forwarded, follow=False).headers["Location"]


@posix
def test_a_rolling_restart_under_load_fails_no_request(behind_nginx):
    url, apps, vouches = behind_nginx
    person = visitor(url, vouches)
    person.sign_in()
    cookies = {cookie.name: cookie.value for cookie in person.cookies}
    stop, statuses = threading.Event(), []

    def load():
        session = requests.Session()
        session.verify, session.trust_env = vouches, False
        while not stop.is_set():
            page = session.get(url + "/", cookies=cookies, timeout=20)
            statuses.append(page.status_code if "Adèle" in page.text else "signed out")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for app in apps:
        app.stop()
        app.start()
    stop.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}


@posix
def test_nginx_does_not_ask_again_for_what_has_failed(behind_nginx, box):
    url, _apps, vouches = behind_nginx
    box.forge = lambda claims, header: ({**claims, "aud": "another app"}, header)
    page = visitor(url, vouches).sign_in()
    assert page.status_code == 502
    assert "Sign-in refused" in page.text
    assert len(box.seen("token")) == 1


@posix
def test_everybody_signs_in_while_one_of_two_processes_is_down(behind_nginx, box, tmp_path):
    url, apps, vouches = behind_nginx
    apps[0].stop()

    def sign_in(_number):
        return visitor(url, vouches).sign_in(path="/login").status_code

    # Whoever asks in between, a request that is handed over reaches the other process.
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sign_in, range(80))) == [200] * 80
    codes = [each.form["code"] for each in box.seen("token")]
    assert len(codes) == len(set(codes)) == 80
    handed_over = (tmp_path / "entra_app.handed_over.log").read_text().splitlines()
    assert len([line for line in handed_over if re.search("/getAToken 30[23] by", line)]) > 20
    assert all("code=" not in line for line in handed_over)


@posix
def test_nginx_writes_no_code_anywhere_and_redeems_none_twice(behind_nginx, box, tmp_path):
    url, apps, vouches = behind_nginx
    person = visitor(url, vouches)
    answer = person.answer()
    held = Hold()
    box.misbehave("token", held)
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(person.get, answer)
        held.wait()
        for app in apps:  # whichever of them has it: the master, and then its workers
            workers = subprocess.run(["pgrep", "-P", str(app.process.pid)], capture_output=True, text=True, check=True)
            app.stop(signal.SIGKILL)
            for worker in workers.stdout.split():
                os.kill(int(worker), signal.SIGKILL)
        assert page.result().status_code == 502
        held.release()
    assert len(box.seen("token")) == 1
    code = parse_qs(urlsplit(answer).query)["code"][0]
    for log in tmp_path.glob("*"):
        if log.is_file():
            assert code not in log.read_text(errors="replace"), log


@posix
@pytest.mark.parametrize("begun", HALF_SENT.values(), ids=HALF_SENT)
def test_half_sent_requests_hold_up_nobody_behind_nginx(nginx, gunicorn, begun):
    url, ports, vouches = nginx
    settings = {"REDIRECT_URI": f"{url}/getAToken", "TRUSTED_PROXY_COUNT": "1"}
    gunicorn(port=ports[0], THREADS="4", WEB_CONCURRENCY="1", **settings)
    tls = ssl.create_default_context(cafile=vouches)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            plain = socket.create_connection(("127.0.0.1", urlsplit(url).port))
            stack.enter_context(tls.wrap_socket(plain, server_hostname="localhost")).sendall(begun)
        assert visitor(url, vouches).get("/", timeout=5).status_code == 200
        assert requests.get(f"http://127.0.0.1:{ports[0]}/healthz", timeout=5).status_code == 200


@posix
def test_behind_nginx_too_only_an_opened_page_signs_out(behind_nginx):
    url, _apps, vouches = behind_nginx
    person = visitor(url, vouches)
    person.sign_in()
    for dest in ("image", "script", "style", "iframe"):
        person.get("/logout", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": dest}, follow=False)
        assert person.signed_in
    person.get("/logout", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}, follow=False)
    assert not person.signed_in


# --- Tracing ----------------------------------------------------------------------------------------------------------


def test_no_trace_holds_the_authorization_code(serve, box):
    """OpenTelemetry's own command, which records the URL of each request."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable]
    app = serve(
        command=[*command, "-m", "flask", "run", "--port", str(port)],
        port=port,
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        PYTHONWARNINGS="default",  # OpenTelemetry uses what Flask 3.2 deprecates
    )
    person = Visitor(app.url)
    answer = person.answer("adele", "/login?next=/call_graph")
    assert "Retail Manager" in person.get(answer).text
    app.stop(signal.SIGINT)
    assert '"http.target": "/login?next=/call_graph"' in app.log()
    assert '"http.target": "/getAToken"' in app.log()
    for secret in ("code", "state"):
        assert parse_qs(urlsplit(answer).query)[secret][0] not in app.log()


@posix
@pytest.mark.parametrize("path", ["//getAToken", "/getAToken//", "/./getAToken"])
def test_no_spelling_of_the_redirect_uri_is_a_500(gunicorn, path):
    app = gunicorn()
    with socket.create_connection(("127.0.0.1", app.port)) as sock:
        sock.sendall(f"GET {path}?code=c&state=s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert int(sock.recv(65536).split()[1]) < 500
    assert "Traceback" not in app.log()


MALFORMED = ("GET /getAToken?code=s3cret&state=s3cret", "G?t /getAToken?code=s3cret HTTP/1.1")


@posix
@pytest.mark.parametrize("line", MALFORMED)
@pytest.mark.parametrize("gunicorn_or_flask", ["gunicorn", "serve"])
def test_a_malformed_request_is_logged_without_its_query(request, gunicorn_or_flask, line):
    app = request.getfixturevalue(gunicorn_or_flask)()
    with socket.create_connection(("127.0.0.1", app.port)) as sock:
        sock.sendall(f"{line}\r\nHost: localhost\r\n\r\n".encode())
        sock.recv(65536)
    assert Visitor(app.url).get("/").status_code == 200
    app.stop(signal.SIGQUIT)  # gunicorn would wait half a minute for a connection that it has closed
    assert "?…" in app.log()
    assert "s3cret" not in app.log()
    assert "Traceback" not in app.log()


@pytest.mark.parametrize("name", ["X-Original-URL", "X-WAWS-Unencoded-URL", "X-Original-URI", "X-Forwarded-Uri"])
def test_no_proxys_header_shows_the_code_to_what_watches_requests(visit, name):
    browser, seen = visit(), []

    def watch():
        seen.append(repr(flask.request.environ))

    browser.app.before_request(watch)
    browser.client.get("/getAToken?code=s3cret&state=s", headers={name: "/getAToken?code=s3cret&state=s"})
    assert "/getAToken" in seen[0]
    assert "s3cret" not in seen[0]


def test_a_redirect_uri_may_have_letters_of_any_language(serve):
    port = free_port()
    app = serve(REDIRECT_URI=f"http://localhost:{port}/réponse", port=port)
    state = "x" * 20
    answer = requests.get(app.url + f"/r%C3%A9ponse?code=c&state={state}", timeout=9)
    assert answer.status_code == 400
    assert state not in app.log()


# --- Health -----------------------------------------------------------------------------------------------------------


def test_ready_says_whether_the_authority_is_known_and_alive_does_not_ask(serve, box):
    app = serve()
    box.misbehave("discovery", Answer(503), times=None)
    assert requests.get(app.url + "/healthz", timeout=9).status_code == 200
    assert requests.get(app.url + "/readyz", timeout=9).status_code in (502, 503)
    box.behave()
    ready = requests.get(app.url + "/readyz", timeout=9)
    assert ready.status_code == 200
    assert "Set-Cookie" not in ready.headers
    for host in ("10.0.0.5:8000", "site.azurewebsites.net"):
        assert requests.get(app.url + "/healthz", headers={"Host": host}, timeout=9).status_code == 200
    asked = len(box.log)
    requests.get(app.url + "/readyz", timeout=9)
    assert len(box.log) == asked
    assert box.client_id not in ready.text
    shutil.rmtree(app.folder / "sessions")
    (app.folder / "sessions").write_text("in the way")
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
    assert requests.get(app.url + "/healthz", timeout=9).status_code == 200


# --- Logs -------------------------------------------------------------------------------------------------------------


@posix
def test_logs_for_machines_are_one_json_object_a_line(gunicorn):
    app = gunicorn(LOG_FORMAT="json")
    person = Visitor(app.url)
    person.sign_in()
    page = person.get("/getAToken?error=x%0Ay&state=z", headers={"Cookie": ""})
    app.stop()
    events = [json.loads(line) for line in app.log().splitlines()]
    assert {"flask_entra.audit", "flask_entra.access_log"} <= {event["name"] for event in events}
    request_id = page.text.partition("Request ID")[2]
    assert page.headers["X-Request-ID"] in request_id
    access = [event for event in events if event["name"] == "flask_entra.access_log"]
    (line,) = [event for event in access if event["request_id"] == page.headers["X-Request-ID"]]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/getAToken", 400)
    assert {"address", "bytes", "seconds"} <= line.keys()
    assert len({event["request_id"] for event in access}) == len(access)
    assert any(event["request_id"] in request_id for event in events if event["name"] == "flask_entra.pages.answers")


@pytest.mark.parametrize(
    ("proxies", "given", "kept"), [("1", "a-b.c/1", True), ("1", "<x y>", False), ("0", "a-b", False)]
)
def test_the_id_of_a_request_comes_from_a_trusted_proxy_or_is_new(serve, proxies, given, kept):
    app = serve(TRUSTED_PROXY_COUNT=proxies)
    for path in ("/", "/nowhere", "/healthz", "/static/style.css"):
        answer = requests.get(app.url + path, headers={"X-Request-ID": given}, timeout=9).headers["X-Request-ID"]
        assert (answer == given) == kept
        assert re.fullmatch("[0-9a-f]{16}", answer) or kept


def test_a_refresh_leaves_a_line(serve, box):
    app = serve()
    box.access_token_lifetime = 1
    person = Visitor(app.url)
    person.sign_in()
    answer = person.get("/call_graph")
    assert f"{answer.headers['X-Request-ID']} Token refreshed for User.Read" in app.log()


# --- Credentials without secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, "päss word"], ids=["no password", "password"])
@pytest.mark.parametrize("form", [as_pem, as_pfx], ids=["PEM", "PFX"])
def test_a_certificate_signs_the_app_in(serve, box, tmp_path, form, password):
    key, certificate = make_certificate()
    box.register_certificate(certificate.public_bytes(serialization.Encoding.PEM).decode())
    (tmp_path / "credential").write_bytes(form(key, certificate, password.encode() if password else None))
    app = serve(
        CLIENT_SECRET=None,
        CLIENT_CERTIFICATE_PATH=str(tmp_path / "credential"),
        CLIENT_CERTIFICATE_PASSWORD=password,
    )
    assert "Retail Manager" in Visitor(app.url).sign_in(path="/call_graph").text
    form_sent = box.seen("token")[0].form
    assert "client_secret" not in form_sent
    header = jwt.get_unverified_header(form_sent["client_assertion"])
    assert header["alg"] == "PS256"
    assert header["x5t#S256"]


def test_a_certificate_that_is_not_registered_is_explained(serve, box, tmp_path):
    (tmp_path / "credential").write_bytes(as_pem(*make_certificate()))
    app = serve(CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(tmp_path / "credential"))
    page = Visitor(app.url).sign_in()
    assert page.status_code == 500
    assert "AADSTS700027" in page.text
    assert "Upload the certificate" in page.text


BAD_CERTIFICATES = {
    "expired": (lambda: as_pem(*make_certificate(days=-0.5, begins=-2)), "expired on"),
    "not valid yet": (lambda: as_pem(*make_certificate(begins=2)), "not valid before"),
    "no key": (lambda: make_certificate()[1].public_bytes(serialization.Encoding.PEM), "no private key"),
    "no certificate": (lambda: as_pem(*make_certificate()).partition(b"-----BEGIN CERT")[0], "cannot be used"),
    "password missing": (lambda: as_pem(*make_certificate(), b"secret"), "cannot be used"),
    "nonsense": (lambda: b"hello", "cannot be used"),
}


@pytest.mark.parametrize(("content", "says"), BAD_CERTIFICATES.values(), ids=BAD_CERTIFICATES)
def test_a_certificate_that_cannot_work_is_one_message_before_the_first_sign_in(serve, tmp_path, content, says):
    (tmp_path / "credential").write_bytes(content())
    app = serve(CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(tmp_path / "credential"))
    text = Page(Visitor(app.url).get("/").text).text
    assert f"CLIENT_CERTIFICATE_PATH {says}" in text or says in text
    assert Visitor(app.url).get("/login", follow=False).status_code == 503
    assert "Traceback" not in app.log()


def test_two_credentials_are_one_message(serve, tmp_path):
    (tmp_path / "credential").write_bytes(as_pem(*make_certificate()))
    app = serve(CLIENT_CERTIFICATE_PATH=str(tmp_path / "credential"))
    assert "more than one credential" in Visitor(app.url).get("/").text


def test_a_federated_token_signs_the_app_in_and_is_read_anew_each_time(serve, box, tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    issuer, subject = "https://cluster.example/", "system:serviceaccount:default:app"
    box.register_federation(issuer, subject, public.decode())

    def write_token(lifetime):
        now = int(time.time())
        claims = {"iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "iat": now, "exp": now + lifetime}
        (tmp_path / "token").write_text(jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"}) + "\n")

    write_token(-600)
    app = serve(CLIENT_SECRET=None, AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "token"), SECRET_KEY="k" * 32)
    person = Visitor(app.url)
    assert person.sign_in().status_code in (400, 500)
    write_token(600)
    assert "Retail Manager" in person.sign_in(path="/call_graph").text
    (tmp_path / "token").unlink()
    gone = Visitor(app.url).sign_in()
    assert gone.status_code == 500
    assert "AZURE_FEDERATED_TOKEN_FILE" in gone.text


def test_a_federated_token_needs_a_secret_key(serve, tmp_path):
    (tmp_path / "token").write_text("x")
    app = serve(CLIENT_SECRET=None, AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "token"))
    assert "SECRET_KEY" in Visitor(app.url).get("/").text


# --- Folders and files ------------------------------------------------------------------------------------------------


@posix
def test_an_edit_of_dotenv_starts_the_development_server_again_with_the_new_values(serve, box, copy):
    (copy / ".env").write_text("APP_NAME=Before\n")
    port = free_port()
    command = ["env", sys.executable, "-m", "flask", "run", "--debug", "--host=localhost", f"--port={port}"]
    app = serve(command=command, port=port, cwd=copy, FLASK_SKIP_DOTENV="")
    assert "– Before</title>" in requests.get(app.url, timeout=9).text
    for name in ("After", "Later"):
        (copy / ".env").write_text(f"APP_NAME={name}\n")
        until(lambda name=name: (found := answer_of(app)) is not None and f"– {name}</title>" in found.text)


@posix
@pytest.mark.parametrize("writable", [["/dev/shm"], ["/tmp"], []], ids=lambda folders: " ".join(folders) or "none")
def test_gunicorn_begins_where_one_folder_can_be_written_to_and_says_so_where_none_can(tmp_path, writable):
    code = (
        "import os, runpy, tempfile\n"
        f"writable = {writable!r}\n"
        "os.access = lambda path, mode, **_: path in writable\n"
        "def none(): raise FileNotFoundError('No usable temporary directory')\n"
        "tempfile.gettempdir = (lambda: '/tmp') if '/tmp' in writable else none\n"
        f"print(runpy.run_path({str(ROOT / 'gunicorn.conf.py')!r})['worker_tmp_dir'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == " ".join(writable)
    assert ("No folder can be written to: mount an empty /tmp." in done.stderr) == (not writable)
    assert "Traceback" not in done.stderr

"""What an attack on the running app once found. Each of these did harm; none does now."""

import gzip
import hashlib
import hmac
import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import itsdangerous
import pytest
import requests
from conftest import Served
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.utils import to_base64url_uint
from programs import free_port, gunicorn_command, needs, posix
from redis_servers import Redis
from visitor import REDIRECTS, Visitor, cookie_name, cookies_of

from sandbox.faults import Answer, Challenge, Fault, Hold, Silence, _send


@pytest.fixture(scope="module")
def deployed(shared_box, tmp_path_factory):
    """The app as it is deployed: under gunicorn, its sessions in Redis."""
    needs("redis-server")
    folder, port = tmp_path_factory.mktemp("deployed"), free_port()
    server = Redis(folder / "redis", "--save", "")
    command = gunicorn_command(port, "--workers", "1")
    app = Served({**shared_box.settings, "REDIS_URL": server.url}, folder, command, port)
    yield app
    app.end()
    server.stop()


@pytest.fixture(params=["flask run with files", pytest.param("gunicorn with Redis", marks=posix)])
def app(request, box):
    """Both ways to run the app."""
    app = request.getfixturevalue("deployed" if "gunicorn" in request.param else "shared_app")
    box.redirect_uris.add(app.settings["REDIRECT_URI"])
    return app


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"  # an interim answer (RFC 8297)


def test_an_interim_answer_does_not_give_one_persons_profile_to_another(app, box):
    adele, alex = Visitor(app.url), Visitor(app.url)
    adele.sign_in("adele")
    alex.sign_in("alex")
    held = Hold(EARLY_HINTS)
    box.misbehave("me", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(adele.get, "/call_graph")
        held.wait()
        assert "Adèle" not in alex.get("/call_graph").text
        held.release()
        assert "Retail Manager" in first.result().text


def test_a_cookie_that_graph_sets_for_one_person_is_not_sent_with_anothers_request(app, box):
    box.misbehave("me", Answer(200, {"displayName": "A"}, {"Set-Cookie": "person=adele; Path=/"}))
    Visitor(app.url).sign_in("adele", "/call_graph")
    Visitor(app.url).sign_in("alex", "/call_graph")
    assert [each.headers.get("Cookie") for each in box.log if each.endpoint in ("token", "me")] == [None] * 4


def test_the_end_of_a_slow_request_does_not_undo_a_refresh_that_another_made_meanwhile(person, box):
    box.single_use_refresh_tokens = True
    box.access_token_lifetime = 1  # so that each call renews it
    person.sign_in()
    cookies = cookies_of(person)

    def call():
        return requests.get(person.url + "/call_graph", cookies=cookies, allow_redirects=False, timeout=20).status_code

    held = Hold()
    box.misbehave("me", held)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call)
        held.wait()
        before = len(box.seen("token"))
        assert call() == 200
        assert len(box.seen("token")) > before
        held.release()
        assert slow.result() == 200
    assert call() == 200


def test_the_end_of_a_slow_request_does_not_put_its_old_cookie_over_a_new_sign_in(person, box):
    box.access_token_lifetime = 60
    person.sign_in()
    held = Hold()
    box.misbehave("me", held)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(requests.get, person.url + "/call_graph", cookies=cookies_of(person), timeout=20)
        held.wait()
        person.sign_in("alex", "/login?prompt=select_account")
        held.release()
        assert "session-" not in slow.result().headers.get("Set-Cookie", "")


def memory(app):
    """The most memory that one of the app's processes ever had, in MB."""
    children = Path(f"/proc/{app.process.pid}/task/{app.process.pid}/children").read_text().split()
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (app.process.pid, *children)]
    return max(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in statuses) // 1024


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@linux
def test_the_body_of_a_redirect_is_not_read(person, app, box):
    person.sign_in()
    before = memory(app)
    bomb = gzip.compress(b" " * 3_000_000, 9) * 100  # a hundred members, one after another
    box.misbehave("me", Answer(302, bomb, {"Location": "https://localhost:1/", "Content-Encoding": "gzip"}))
    assert person.get("/call_graph").status_code == 502
    assert memory(app) - before < 50


@linux
def test_an_answer_made_to_be_indented_is_not(person, app, box):
    person.sign_in()
    before = memory(app)
    deep = "[" * 60 + "0," * 200_000 + "0" + "]" * 60
    box.misbehave("me", Answer(200, '{"a":' + deep + "}", {"Content-Type": "application/json"}))
    assert len(person.get("/call_graph").content) < 2_000_000
    assert memory(app) - before < 100
    box.misbehave("me", Answer(200, '{"a":' + "[" * 300 + "]" * 300 + "}", {"Content-Type": "application/json"}))
    assert person.get("/call_graph").status_code == 502


def signed_by(box, clock):
    key = hmac.digest(box.client_secret.encode(), b"sign-in", "sha256")

    class Signer(itsdangerous.TimestampSigner):
        def get_timestamp(self):
            return int(time.time()) + clock

    return itsdangerous.URLSafeTimedSerializer(
        key, "sign-in", signer=Signer, signer_kwargs={"digest_method": hashlib.sha256}
    )


@pytest.mark.parametrize(
    ("clock", "finishes"), [(5, True), (-5, True), (-4000, False)], ids=["ahead", "behind", "an hour ago"]
)
def test_machines_whose_clocks_differ_finish_each_others_sign_ins_but_no_old_ones(person, box, clock, finishes):
    answer = person.answer()
    for cookie in person.cookies:
        if cookie.path == "/getAToken":
            cookie.value = signed_by(box, clock).dumps(signed_by(box, 0).loads(cookie.value))
    person.get(answer)
    assert person.signed_in == finishes


TOKEN_ANSWERS = {
    "error is a number": {"error": 5},
    "error is a list": {"error": ["x"]},
    "description is null": {"error": "invalid_grant", "error_description": None},
    "a lone surrogate": {"error": "\ud800"},
    "claims are not JSON": {"error": "interaction_required", "claims": "not json"},
    "claims are a list": {"error": "interaction_required", "claims": "[]"},
    "claims of a number": {"error": "interaction_required", "claims": '{"access_token": 5}'},
    "claims nested without end": {"error": "interaction_required", "claims": "[" * 5000},
    "expires_in is infinite": '{"access_token": "x", "token_type": "Bearer", "expires_in": 1e999}',
    "refresh_in is infinite": '{"access_token": "x", "token_type": "Bearer", "expires_in": 9, "refresh_in": 1e999}',
}


@pytest.mark.parametrize("answer", TOKEN_ANSWERS.values(), ids=TOKEN_ANSWERS)
def test_no_answer_of_the_token_endpoint_ends_in_a_500_of_ours(person, box, answer):
    body = answer if isinstance(answer, str) else json.dumps(answer)
    box.misbehave("token", Answer(400 if "error" in answer else 200, body, {"Content-Type": "application/json"}))
    page = person.sign_in()
    assert "Something went wrong" not in page.text
    box.access_token_lifetime = 1
    person.sign_in()
    assert person.signed_in
    box.misbehave("token", Answer(400 if "error" in answer else 200, body, {"Content-Type": "application/json"}))
    assert "Something went wrong" not in person.get("/call_graph").text


def test_an_id_token_for_a_list_with_this_app_alone_signs_in(person, box):
    box.forge = lambda claims, header: ({**claims, "aud": [claims["aud"]]}, header)
    assert person.sign_in().status_code == 200
    assert person.signed_in


class Raw(Fault):
    def __init__(self, answer):
        self.answer = answer

    def act(self, environ, box):
        _send(environ, self.answer)
        environ["werkzeug.socket"].close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\n\r\n{"error": {"code": "\\ud800", "message": "x"}}',
        b"nonsense\r\n\r\n",
    ],
    ids=["chunk", "location", "a lone surrogate", "nonsense"],
)
def test_no_answer_of_graph_ends_in_a_500_of_ours(person, box, answer):
    person.sign_in()
    box.misbehave("me", Raw(answer), times=2)
    page = person.get("/call_graph")
    assert "Something went wrong" not in page.text
    assert page.status_code in (401, 403, 502)


def test_a_challenge_of_graph_that_is_no_request_for_claims_counts_as_a_rejected_token(person, box):
    person.sign_in()
    box.misbehave("me", Challenge({"access_token": 5}))
    page = person.go_on(person.get("/call_graph"))
    assert page.status_code == 401
    grants = [each.form["grant_type"] for each in box.seen("token")]
    assert grants[:2] == ["authorization_code", "refresh_token"]
    assert "claims" not in box.seen("token")[1].form or "acrs" not in box.seen("token")[1].form["claims"]


def test_a_page_for_a_broken_store_is_as_safe_as_any(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    app.break_store()
    page = person.get("/logout", follow=False)
    assert page.status_code == 503
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert "Location" not in page.headers


def test_a_sign_in_that_cannot_be_stored_leaves_the_old_one_as_it_is(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    answer = person.answer()
    folder = app.folder / "sessions"
    (kept,) = app.sessions
    content, when = kept.read_bytes(), kept.stat().st_mtime
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")
    assert person.get(answer).status_code == 503
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    assert kept.read_bytes() == content
    assert kept.stat().st_mtime == when
    assert person.signed_in


def test_the_session_folder_may_disappear_while_the_app_runs(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    shutil.rmtree(app.folder / "sessions")
    assert not person.signed_in
    person.sign_in()
    assert person.signed_in


def test_a_neighbour_that_plants_its_own_sign_in_signs_nobody_in_as_itself(serve):
    """A cookie for the path can come from a neighbouring site; a `__Host-` cookie cannot."""
    app = serve(REDIRECT_URI="https://localhost/getAToken")
    begun = requests.get(app.url + "/login", allow_redirects=False, timeout=9)
    state = re.search(r"[?&]state=([^&]+)", begun.headers["Location"])[1]
    cookies = dict(each.split(";")[0].split("=", 1) for each in begun.raw.headers.getlist("Set-Cookie"))
    own = requests.get(f"{app.url}/getAToken?code=x&state={state}", cookies=cookies, timeout=9)
    assert "was not started in this browser" not in own.text
    planted = {name: value for name, value in cookies.items() if not name.startswith("__Host-")}
    assert len(planted) == 1
    page = requests.get(f"{app.url}/getAToken?code=x&state={state}", cookies=planted, timeout=9)
    assert "was not started in this browser" in page.text


def test_the_cookies_of_sign_ins_begun_stay_within_what_servers_take(serve, box):
    app = serve(SCOPE=" ".join(f"Some.Longer.Permission{number}.Read.All" for number in range(11)))
    person = Visitor(app.url)
    for number in range(9):
        link = "/call_graph?x=" + hashlib.sha512(str(number).encode()).hexdigest() * 3
        person.get("/login", params={"next": link}, follow=False)
    sent = "; ".join(
        f"{cookie.name}={cookie.value}" for cookie in person.cookies if cookie.domain.startswith("localhost")
    )
    assert len(sent) < 8000


def test_a_thousand_forged_markers_make_no_answer_without_end(app):
    forged = "; ".join(f"{cookie_name(app, 'begun')}-{number:012x}={number}" for number in range(300))
    answer = requests.get(app.url + "/login", headers={"Cookie": forged}, allow_redirects=False, timeout=9)
    assert len(str(answer.raw.headers)) < 8000


def test_who_waits_for_a_refresh_that_fails_does_not_wait_for_another(person, box):
    box.access_token_lifetime = 1
    person.sign_in()
    box.misbehave("token", Silence(1.5), times=None)
    cookies, before = cookies_of(person), len(box.seen("token"))

    def call(_):
        return requests.get(person.url + "/call_graph", cookies=cookies, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call, range(6))) == [502] * 6
    assert len(box.seen("token")) == before + 1
    box.behave()
    assert person.get("/call_graph").status_code == 200


@pytest.mark.parametrize(
    "answer", [{"error": "invalid_grant"}, {"error": "invalid_client"}], ids=lambda each: each["error"]
)
def test_requests_that_wait_for_a_refresh_that_is_refused_share_the_refusal(person, box, answer):
    box.access_token_lifetime = 1
    person.sign_in()
    refused = Answer(400, answer)

    def slowly(environ):
        box.closing.wait(0.5)
        return refused

    box.misbehave("token", slowly, times=None)
    cookies, before = cookies_of(person), len(box.seen("token"))

    def call(_):
        return requests.get(person.url + "/call_graph", cookies=cookies, timeout=60, allow_redirects=False).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = set(pool.map(call, range(12)))
    assert statuses <= (set(REDIRECTS) if answer["error"] == "invalid_grant" else {500})
    assert len(box.seen("token")) - before <= 2  # one, and one more for a request that came when that was over


def test_a_log_line_cannot_command_a_terminal(person, app):
    person.get("/getAToken?error=%1b[2Jhello%07%c2%85&state=x")
    answer = person.answer()
    person.get(re.sub("code=[^&]+", "error=%1b[2Jhello%07", answer))
    lines = [line for line in app.log().splitlines() if "hello" in line and "SignInError" in line]
    assert lines
    assert not any("\x1b" in line or "\x07" in line for line in lines)


def test_only_the_address_of_this_very_content_is_cached_for_a_year(person):
    right = re.search(r"/static/style\.css\?v=\w+", person.get("/").text)[0]
    assert "max-age=31536000" in person.get(right).headers["Cache-Control"]
    for wrong in ("/static/style.css", "/static/style.css?v=0", right + "&lang=fr"):
        headers = person.get(wrong).headers
        assert "Set-Cookie" not in headers
        if wrong != right + "&lang=fr":
            assert "31536000" not in headers["Cache-Control"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "Prefetch"},
    ],
)
def test_asking_ahead_for_sign_out_signs_nobody_out(person, headers):
    person.sign_in()
    # A failure is what a browser throws away; a success it would show at the click, without asking again.
    assert person.get("/logout", headers=headers, follow=False).status_code == 503
    assert person.signed_in
    person.head(person.url + "/logout", timeout=9)
    assert person.signed_in


def test_a_link_cannot_sign_somebody_out_right_after_sign_in(person):
    person.sign_in(path="/login?next=/logout")
    assert person.signed_in


# --- What a second look found -----------------------------------------------------------------------------------------


@linux
def test_nobody_makes_the_app_read_files_that_are_none_of_its_own(person, app, tmp_path):
    (tmp_path / "big.bin").write_bytes(b"x" * 100_000_000)
    before = memory(app)
    up = "/".join([".."] * 20)
    address = f"{person.url}/static/{up}{tmp_path}/big.bin"
    request = requests.Request("GET", address).prepare()
    request.url = address
    assert requests.Session().send(request, timeout=9).status_code == 404
    assert person.get("/static/" + "a" * 300).status_code == 404
    assert memory(app) - before < 50


def test_a_person_who_is_active_keeps_the_cookie(serve, box):
    app = serve()
    box.access_token_lifetime = 1
    person = Visitor(app.url)
    person.sign_in()
    assert "session-" in person.get("/call_graph").headers.get("Set-Cookie", "")


def test_a_session_due_to_live_on_does_not_put_its_cookie_over_a_new_sign_in(serve, box):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    (record,) = app.sessions
    os.utime(record, (time.time(), time.time() + 10 * 3600))
    cookies = cookies_of(person)
    held = Hold()
    box.misbehave("me", held)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(requests.get, person.url + "/call_graph", cookies=cookies, timeout=20)
        held.wait()
        person.sign_in("alex", "/login?prompt=select_account")
        held.release()
        assert "session-" not in slow.result().headers.get("Set-Cookie", "")
    assert person.signed_in


BASKET = """
from flask import session
from app import app, auth

@app.get("/put")
@auth.login_required
def put(*, context):
    session["basket"], session["nothing"] = 1, None
    auth.renew_token()
    assert "nothing" in session
    return str(session.get("basket"))

@app.get("/show")
@auth.login_required
def show(*, context):
    return str(session.get("basket"))
"""


def test_what_a_view_puts_into_the_session_survives_a_refresh(serve, tmp_path):
    (tmp_path / "mine.py").write_text(BASKET)
    app = serve(flask_app=tmp_path / "mine.py")
    person = Visitor(app.url)
    person.sign_in()
    assert person.get("/put").text == "1"
    assert person.get("/show").text == "1"


@pytest.mark.parametrize("link", ["/%6cogout", "/./logout", "/x/../logout"])
def test_no_spelling_of_sign_out_is_a_way_back(person, link):
    person.sign_in(path="/login?" + urlencode({"next": link}))
    assert person.signed_in


# --- What a chaos run found ---------------------------------------------------------------------------------------------


def test_an_answer_to_another_request_is_refused_and_asked_for_again(app, box):
    """An upstream that answers twice leaves the second answer, with the id of its request, to whoever comes next."""
    adele, alex = Visitor(app.url), Visitor(app.url)
    adele.sign_in("adele")
    alex.sign_in("alex")
    adele.get("/call_graph")
    foreign = {"client-request-id": box.seen("me")[-1].headers["client-request-id"]}
    box.misbehave("me", Answer(200, {"displayName": "Adele, once more"}, foreign))
    page = alex.get("/call_graph")
    assert page.status_code == 200
    assert "once more" not in page.text
    box.misbehave("me", Answer(200, {"displayName": "Adele, once more"}, foreign), times=None)
    assert alex.get("/call_graph").status_code == 502


@pytest.mark.parametrize("what", ["image", "style", "script", "empty", "iframe"])
def test_a_picture_of_another_site_signs_nobody_out(person, what):
    person.sign_in()
    answer = person.get("/logout", headers={"Sec-Fetch-Dest": what, "Sec-Fetch-Site": "cross-site"}, follow=False)
    assert answer.status_code == 403
    assert person.signed_in
    person.get("/logout", headers={"Sec-Fetch-Dest": "document"}, follow=False)
    assert not person.signed_in


@linux
def test_a_huge_profile_is_shown_in_part(person, app, box):
    person.sign_in()
    before = memory(app)
    box.person("adele").profile |= {"businessPhones": ["<" * 50] * 10_000, "jobTitle": "&" * 300_000}
    page = person.get("/call_graph")
    assert page.status_code == 200
    assert len(page.content) < 1_000_000
    assert memory(app) - before < 50


def test_an_empty_subject_and_a_short_key_sign_nobody_in(serve, box):
    person = Visitor(serve().url)
    box.forge = lambda claims, header: ({**claims, "sub": ""}, header)
    assert "its subject (sub) is empty" in person.sign_in().text
    box.forge = None
    key = rsa.generate_private_key(65537, 1024)
    numbers = key.public_key().public_numbers()
    encoded = {name: to_base64url_uint(value).decode() for name, value in (("n", numbers.n), ("e", numbers.e))}
    weak = {"kty": "RSA", "kid": "weak", "use": "sig", **encoded}
    url = f"{box.authority()}/discovery/v2.0/keys"
    keys = requests.get(url, verify=box.ca_file, timeout=9).json()["keys"]
    box.misbehave("keys", Answer(200, {"keys": [*keys, weak]}), times=None)
    box.forge = lambda claims, header: box.sign(claims, {"kid": "weak"}, key)
    assert "does not publish" in Visitor(serve().url).sign_in().text


def test_a_new_secret_key_finishes_the_sign_ins_that_the_old_one_began(serve):
    app = serve(SECRET_KEY="a" * 32)
    person = Visitor(app.url)
    answer = person.answer()
    app.stop()
    app.settings |= {"SECRET_KEY": "b" * 32, "SECRET_KEY_FALLBACKS": "z" * 32 + " " + "a" * 32}
    app.start()
    person.get(answer)
    assert person.signed_in
    stranger = Visitor(app.url)
    begun = stranger.answer()
    app.stop()
    app.settings |= {"SECRET_KEY": "c" * 32, "SECRET_KEY_FALLBACKS": ""}
    app.start()
    assert stranger.get(begun).status_code == 400


@linux
def test_ready_means_that_a_session_can_be_written(serve):
    port = free_port()
    command = f"ulimit -f 0; exec {sys.executable} -m flask run --port {port} >/dev/null 2>&1"
    app = serve(command=["sh", "-c", command], port=port)
    assert requests.get(app.url + "/healthz", timeout=9).status_code == 200
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503


def test_no_more_than_the_head_of_a_long_list_of_languages_is_read(person):
    short, long = "de,fr;q=0.9", ",".join(f"x{number}" for number in range(1000)) + ",fr"
    assert '<html lang="fr">' in person.get("/", headers={"Accept-Language": short}).text
    assert '<html lang="en">' in person.get("/", headers={"Accept-Language": long}).text

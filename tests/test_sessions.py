"""The sealed store: what it keeps, from whom, and what happens when it fails. Files and a real Redis alike."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import flask
import forked
import pytest
import requests
from configs import config_of
from conftest import ROOT, records
from programs import free_port, until
from visitor import REDIRECTS, Visitor, cookie_name, cookie_of, cookies_of

from flask_entra import deadlines
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.interface import SealedSessionInterface
from flask_entra.sessions.redis import LEASE_SECONDS, REFUSED_SECONDS, RedisStore
from flask_entra.sessions.seal import Seal
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import StoreUnavailable
from sandbox.faults import Hold


@pytest.fixture(params=["files", "redis"])
def store(request, tmp_path):
    """A store of each kind, to try by itself."""
    if request.param == "files":
        return FileStore(tmp_path / "sessions")
    return RedisStore(request.getfixturevalue("redis_server").url, threads=8)


KEY = "ab" * 32
LIFETIME = 31 * 24 * 3600  # seconds


# --- What a store does ------------------------------------------------------------------------------------------------


def test_a_value_is_kept_for_its_time_and_then_gone(store):
    other = KEY[::-1]
    store.add(KEY, b"value", 1)
    store.add(other, b"value", 1)
    store.update(other, lambda value: value, 100)
    assert store.get(KEY) == b"value"
    deadline = time.monotonic() + 9
    while store.get(KEY) and time.monotonic() < deadline:  # Redis has no clock that a test could set
        time.sleep(0.05)
        store.prune(0)
    assert store.get(KEY) is None
    assert store.get(other) == b"value"


def test_what_was_deleted_is_not_brought_back_by_who_still_holds_it(store):
    store.add(KEY, b"value", 100)
    store.update(KEY, lambda value: value + b", newer", 100)
    assert store.get(KEY) == b"value, newer"
    store.update(KEY, lambda value: None, 100)
    assert store.get(KEY) == b"value, newer"
    store.delete(KEY)
    store.update(KEY, lambda value: b"late", 100)
    assert store.get(KEY) is None


def test_no_update_of_many_at_once_is_lost(store):
    store.add(KEY, b"0", 100)

    def count(_):
        for _ in range(10):
            store.update(KEY, lambda value: str(int(value) + 1).encode(), 100)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count, range(6)))
    assert store.get(KEY) == b"60"


def test_only_one_holds_a_lock(store):
    inside, most = [], []

    def hold(_):
        with store.lock(KEY):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8)))
    assert max(most) == 1


def test_nobody_waits_for_the_lock_of_another_session(store, monkeypatch):
    monkeypatch.setattr(deadlines, "LOCK_SECONDS", 0)
    with store.lock(KEY), store.lock(KEY[:-1] + "c"):
        pass


def test_a_lock_that_another_holds_is_given_up_in_the_end(store, monkeypatch):
    monkeypatch.setattr(deadlines, "LOCK_SECONDS", 0.3)
    with store.lock(KEY), pytest.raises(StoreUnavailable, match="holds this session"), store.lock(KEY):
        raise AssertionError("two hold it")
    with store.lock(KEY):
        pass


HOLDER = """
import sys, time
from pathlib import Path

from flask_entra.sessions import files, redis

kind, place, key = sys.argv[1:]
redis.LEASE_SECONDS = 1.5
store = redis.RedisStore(place, threads=8) if kind == "redis" else files.FileStore(Path(place))
with store.lock(key):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_a_lock_is_kept_as_long_as_its_holder_lives_and_ends_with_it(kind, tmp_path, request, monkeypatch):
    place = request.getfixturevalue("redis_server").url if kind == "redis" else str(tmp_path / "sessions")
    store = RedisStore(place, threads=8) if kind == "redis" else FileStore(tmp_path / "sessions")
    command = [sys.executable, "-c", HOLDER, kind, place, KEY]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with monkeypatch.context() as patch:
                patch.setattr(deadlines, "LOCK_SECONDS", 2 if kind == "redis" else 0.3)  # files have no lease
                with pytest.raises(StoreUnavailable), store.lock(KEY):
                    raise AssertionError("the lease was not renewed")
        finally:
            holder.kill()
    monkeypatch.setattr(deadlines, "LOCK_SECONDS", LEASE_SECONDS + 1)
    with store.lock(KEY):
        pass


def test_a_lock_leaves_no_file_behind(tmp_path):
    store = FileStore(tmp_path)
    with store.lock(KEY):
        assert list((tmp_path / "sealed-sessions" / "locks").iterdir())
    store.add(KEY, b"value", 100)
    store.update(KEY, lambda value: b"newer", 100)
    store.delete(KEY)
    assert list((tmp_path / "sealed-sessions" / "locks").iterdir()) == []


def test_what_cannot_be_locked_can_still_be_deleted(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    shutil.rmtree(app.session_folder / "locks")
    (app.session_folder / "locks").write_text("in the way")
    person.get("/logout", follow=False)
    assert [each.name for each in app.sessions] == ["locks"]
    assert not person.signed_in


# --- The seal ---------------------------------------------------------------------------------------------------------


def in_app(store):
    """A small app with one page that counts its visits in the session."""
    app = flask.Flask("counting")
    config = replace(config_of(), idle_seconds=LIFETIME, longest_seconds=365 * 24 * 3600)
    app.session_interface = SealedSessionInterface(app, config, store, respond=None)

    @app.get("/")
    def count():
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        flask.session["secret"] = "correct horse battery staple"
        return str(flask.session["visits"])

    @app.get("/look")
    def look():
        return flask.session.get("secret", "nothing")

    return app.test_client()


def test_a_session_is_an_ordinary_flask_session(store):
    client = in_app(store)
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/look").text == "correct horse battery staple"


@pytest.fixture
def two(store):
    """Two requests of one session, which is stored: each has read it."""
    first = Session(store, 3600, None)
    first.update(token="old", basket={"apples": 1}, flag=1)
    first.save()
    requests_ = Session(store, 3600, first.sid), Session(store, 3600, first.sid)
    for each in requests_:
        assert each["token"] == "old"
    return requests_


def again(store, session):
    return dict(Session(store, 3600, session.sid))


def test_two_requests_that_change_different_things_lose_nothing(store, two):
    one, other = two
    one["token"] = "new"
    other["basket"]["pears"] = 2
    other.modified = True
    one.save()
    other.save()
    assert again(store, one) == {"token": "new", "basket": {"apples": 1, "pears": 2}, "flag": 1}


def test_a_change_is_seen_even_where_python_sees_none(store, two):
    two[0]["flag"] = True
    two[0].save()
    assert again(store, two[0])["flag"] is True


def test_a_change_inside_a_value_survives_a_refresh_in_between(store, two):
    one, other = two
    other["token"] = "new"
    other.save()
    basket = one["basket"]
    with one.exclusive():
        assert one["token"] == "new"
    basket["pears"] = 2
    one.modified = True
    one.save()
    assert again(store, one) == {"token": "new", "basket": {"apples": 1, "pears": 2}, "flag": 1}


def test_what_is_held_can_be_held_again_and_saved_by_the_same_request(store, two):
    with two[0].exclusive():
        two[0]["token"] = "new"
        with two[0].exclusive():
            two[0]["flag"] = 2
        two[0].save()
    assert again(store, two[0])["token"] == "new"
    assert again(store, two[0])["flag"] == 2


def test_a_write_does_not_wait_for_a_request_that_holds_the_session(store, two, monkeypatch):
    monkeypatch.setattr(deadlines, "LOCK_SECONDS", 0)  # to wait would be a failure
    one, other = two
    with one.exclusive():
        other["basket"] = "written"
        other.save()
        one["token"] = "new"
    assert again(store, one) == {"token": "new", "basket": "written", "flag": 1}


def test_a_session_that_was_deleted_meanwhile_stays_deleted(store, two):
    one, other = two
    one.clear()
    one.save()
    other["late"] = 1
    other.save()
    assert not other.is_stored()
    assert not other.is_stored()


def test_a_session_that_vanished_while_it_was_awaited_is_not_begun_anew(store, two):
    one, other = two
    one.clear()
    one.save()
    with other.exclusive():
        other["later"] = 1
    other["later still"] = 1
    other.save()
    assert not other.is_stored()
    assert not other.was_emptied


@pytest.mark.parametrize("order", [("clear", "regenerate"), ("regenerate", "clear")])
def test_a_session_that_is_emptied_under_a_new_id_is_gone_under_the_old_one(store, two, order):
    for method in order:
        getattr(two[0], method)()
    two[0].save()
    assert not two[1].is_stored()


def test_a_new_id_does_not_bring_back_what_was_signed_out_meanwhile(store, two):
    one, other = two
    one.clear()
    one.save()
    other.regenerate()
    other["late"] = 1
    other.save()
    assert not other.is_stored()


def test_a_failure_while_the_session_is_held_stores_nothing_and_lets_go(store, two):
    with pytest.raises(ZeroDivisionError), two[0].exclusive():
        two[0]["token"] = "half done"
        raise ZeroDivisionError
    assert again(store, two[0])["token"] == "old"
    with two[1].exclusive():
        pass


def test_a_look_writes_nothing(tmp_path):
    client = in_app(FileStore(tmp_path))
    client.get("/")
    (file,) = records(tmp_path / "sealed-sessions")
    before = file.stat().st_mtime_ns, file.stat().st_ino
    response = client.get("/look")
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    assert "Set-Cookie" not in response.headers


def test_an_hour_of_use_lets_a_session_live_on_and_its_cookie_too(tmp_path, monkeypatch):
    client = in_app(FileStore(tmp_path))
    client.get("/")
    (file,) = records(tmp_path / "sealed-sessions")
    used = time.time()
    monkeypatch.setattr(time, "time", lambda: used + 2 * 3600)
    assert "Max-Age" in client.get("/look").headers["Set-Cookie"]
    assert file.stat().st_mtime > used + LIFETIME + 3600
    assert "Set-Cookie" not in client.get("/look").headers
    monkeypatch.setattr(time, "time", lambda: used + LIFETIME + 3600)
    assert client.get("/look").text == "correct horse battery staple"


def test_an_old_record_put_back_does_not_outlive_its_session(store, monkeypatch):
    session = Session(store, 3600, None)
    session["secret"] = "correct horse battery staple"
    session.save()
    key = Seal(session.sid).key
    old, signed_out = store.get(key), time.time()
    store.delete(key)
    store.add(key, old, 7 * 24 * 3600)  # put back, as if it had just been stored
    assert again(store, session)["secret"]
    store.add(key, old, 7 * 24 * 3600)
    monkeypatch.setattr(time, "time", lambda: signed_out + 3601)
    assert again(store, session) == {}


def test_a_machine_whose_clock_is_behind_ends_no_session_of_the_others(store, two, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 24 * 3600)
    two[0]["flag"] = 2
    two[0].save()
    monkeypatch.setattr(time, "time", lambda: now)
    assert Seal(two[0].sid).open(store.get(Seal(two[0].sid).key))[1] > now + 3590


def test_a_session_that_the_store_has_lost_leaves_a_line(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    (record,) = app.sessions
    record.unlink()
    assert not person.signed_in
    (line,) = [line for line in app.log().splitlines() if "is not in the store" in line]
    assert f"Session {record.name[:8]} is not" in line
    assert cookie_of(person.cookies).value not in app.log()


def test_who_copies_the_store_can_read_nothing_and_sign_in_as_nobody(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    person.get("/call_graph")
    (file,) = app.sessions
    for clear in (b"Vance", b"contoso", b"access_token", b"eyJ0eX", b"User.Read"):
        assert clear not in file.read_bytes()
    thief = Visitor(app.url)
    thief.cookies.set(cookie_name(app), file.name)
    assert not thief.signed_in


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "moved", "text"])
def test_a_value_that_was_altered_or_moved_counts_as_absent(serve, how):
    app = serve()
    person, other = Visitor(app.url), Visitor(app.url)
    person.sign_in()
    (mine,) = app.sessions
    value = mine.read_bytes()
    if how == "moved":
        other.sign_in("alex")
        (others,) = (each for each in app.sessions if each != mine)
        mine.write_bytes(others.read_bytes())
    else:
        changed = {"flip": value[:-1] + bytes([value[-1] ^ 1]), "cut": value[:20], "empty": b"", "text": b"hello" * 99}
        mine.write_bytes(changed[how])
    os.utime(mine, (time.time(), time.time() + 3600))
    assert person.get("/").status_code == 200
    assert not person.signed_in
    person.sign_in()
    assert person.signed_in


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_files_and_their_folder_are_for_their_owner_only(serve):
    app = serve()
    Visitor(app.url).sign_in()
    for folder in (app.session_folder, app.session_folder.parent, app.session_folder / "locks"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in app.sessions} == {0o600}


def test_five_thousand_live_sessions_stay(tmp_path):
    store = FileStore(tmp_path)
    keys = [f"{number:064x}" for number in range(5000)]
    for key in keys:
        store.add(key, b"value", 3600)
    assert all(store.get(key) for key in keys)
    store.prune(0)
    assert all(store.get(key) for key in keys)


def test_expired_sessions_are_removed_when_somebody_signs_in_and_by_a_command(serve, tmp_path):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    (live,) = app.sessions
    for number in range(3):
        expired = live.with_name(f"{number:064x}")
        expired.write_bytes(b"x")
        os.utime(expired, (0, time.time() - 49 * 3600))
    recent = live.with_name("e" * 64)  # expired an hour ago by this clock, but perhaps not by another machine's
    recent.write_bytes(b"x")
    os.utime(recent, (0, time.time() - 3600))
    app.stop()
    app.start()
    other = Visitor(app.url)
    other.sign_in("alex")
    deadline = time.monotonic() + 5
    while len(app.sessions) > 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(app.sessions) == 3
    other.get("/logout", follow=False)
    assert set(app.sessions) == {live, recent}

    expired.write_bytes(b"x")
    os.utime(expired, (0, time.time() - 49 * 3600))
    status, printed = flask_command(app, "sessions", "prune")
    assert status == 0, printed
    assert "1 expired sessions removed" in printed
    assert set(app.sessions) == {live, recent}
    assert person.signed_in


THINGS = {".env": "CLIENT_SECRET=x", "data.db": "SQLite", "app.key": "-----BEGIN", "ab" * 32: "somebody's own"}


def test_a_folder_with_other_files_in_it_keeps_them_and_its_mode(serve, tmp_path):
    folder = tmp_path / "full"
    folder.mkdir(mode=0o755)
    for name, content in THINGS.items():
        (folder / name).write_text(content)
        os.utime(folder / name, (0, 1))
    app = serve(SESSION_FILE_DIR=str(folder))
    person = Visitor(app.url)
    person.sign_in()
    assert person.signed_in
    for command in (["routes"], ["sessions", "prune"], ["doctor"]):
        flask_command(app, *command)
    own = folder / "sealed-sessions"
    (own / "notes.txt").write_text("nobody's session")
    os.utime(own / "notes.txt", (0, 1))
    (own / ("cd" * 32)).symlink_to(folder / "data.db")
    assert "0 expired" in flask_command(app, "sessions", "prune")[1]
    assert (own / "notes.txt").exists()
    assert {name: (folder / name).read_text() for name in THINGS} == THINGS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_only_one_command_removes_sessions(serve):
    app = serve()
    Visitor(app.url).sign_in()
    expired = app.sessions[0].with_name("0" * 64)
    expired.write_bytes(b"x")
    os.utime(expired, (0, 1))
    for command in (["routes"], ["doctor"], ["--help"]):
        flask_command(app, *command)
    assert expired.exists()
    assert "1 expired sessions removed" in flask_command(app, "sessions", "prune")[1]
    assert not expired.exists()


def loosen(folder):
    folder.chmod(0o777)


def give_away(folder):
    os.chown(folder, 65534, 65534)


def fill(folder):
    (folder / "sealed-sessions").mkdir()
    (folder / "sealed-sessions" / "diary.txt").write_text("Dear diary")


def link(folder):
    (folder.parent / "elsewhere").mkdir()
    (folder / "sealed-sessions").symlink_to(folder.parent / "elsewhere")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may give a folder away")
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (loosen, "others may write to"),
        (give_away, "belongs to another user"),
        (fill, "was not made by this app"),
        (link, "is a link"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_not_the_apps_alone_is_refused_and_left_as_it_is(serve, tmp_path, spoil, says):
    folder = tmp_path / "shared"
    folder.mkdir()
    spoil(folder)
    before = sorted(folder.rglob("*")), folder.stat().st_mode
    app = serve(SESSION_FILE_DIR=str(folder))
    assert says in app.log()
    assert Visitor(app.url).sign_in().status_code == 503
    person = Visitor(app.url)
    person.cookies.set(cookie_name(app), "x" * 43)
    assert person.get("/").status_code == 503
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
    status, printed = flask_command(app, "doctor")
    assert status == 1
    assert says in printed
    assert (sorted(folder.rglob("*")), folder.stat().st_mode) == before


def flask_command(app, *arguments):
    """Run a command of flask's with the settings of an app that runs; its exit status and what it has printed."""
    return forked.run(["flask", *arguments], ROOT, {**os.environ, **app.settings, "FLASK_SKIP_DOTENV": "1"})


def test_killing_the_app_under_load_loses_no_session(serve):
    app = serve()
    people = [Visitor(app.url) for _ in range(6)]
    for each in people:
        each.sign_in()
    stop = threading.Event()

    def sign_in_again_and_again():
        visitor = Visitor(app.url)
        while not stop.is_set():
            try:
                visitor.sign_in()
            except (OSError, AssertionError):
                return

    threads = [threading.Thread(target=sign_in_again_and_again) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(app.sessions) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    app.stop(signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join(20)
    app.start()
    assert all(person.signed_in for person in people)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a process's files")
def test_a_full_disk_is_a_page_and_nobody_is_signed_in(serve):
    port = free_port()
    # To a process that may write no byte to any file, every disk is full.
    flask_run = f"ulimit -f 0; exec {sys.executable} -m flask run --port {port} >/dev/null 2>&1"
    app = serve(command=["sh", "-c", flask_run], port=port)
    page = Visitor(app.url).sign_in()
    assert page.status_code == 503
    assert "sessions" in page.text
    assert "Traceback" not in page.text
    assert Visitor(app.url).get("/").status_code == 200
    assert app.sessions == []


def test_a_page_that_is_not_there_says_so_while_the_sessions_cannot_be_read(serve):
    app = serve()
    person = Visitor(app.url)
    person.sign_in()
    app.break_store()
    assert person.get("/nowhere").status_code == 404
    assert person.get("/").status_code == 503
    assert "Traceback" not in app.log()


def test_a_session_folder_that_cannot_be_used_is_one_clear_line_and_a_page(serve, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    app = serve(SESSION_FILE_DIR=str(tmp_path / "file" / "sessions"))
    lines = [line for line in app.log().splitlines() if "SESSION_FILE_DIR" in line]
    assert len(lines) == 1
    assert "Traceback" not in app.log()
    page = Visitor(app.url).sign_in()
    assert page.status_code == 503
    assert Visitor(app.url).get("/").status_code == 200


# --- Redis, and two of everything -------------------------------------------------------------------------------------


@pytest.fixture
def two_apps(serve, redis_server):
    """Two processes of the app with one Redis and one address."""
    one = serve(REDIS_URL=redis_server.url)
    return one, serve(REDIS_URL=redis_server.url, REDIRECT_URI=one.settings["REDIRECT_URI"])


def test_two_processes_share_their_sessions(two_apps):
    one, other = two_apps
    person = Visitor(one.url)
    person.sign_in()
    assert "Adèle" in person.get(other.url + "/").text
    assert "Retail Manager" in person.get(other.url + "/call_graph").text
    person.get(other.url + "/logout", follow=False)
    assert not person.signed_in


def test_a_sign_in_begun_on_one_finishes_on_the_other(two_apps):
    one, other = two_apps
    person = Visitor(one.url)
    answer = person.answer()
    assert person.get(answer.replace(one.url, other.url), follow=False).status_code in REDIRECTS
    assert person.signed_in


def test_an_update_in_redis_begins_the_lifetime_anew(redis_server):
    store = RedisStore(redis_server.url, 8)
    store.add("ab" * 32, b"one", 60)
    store.update("ab" * 32, lambda found: found + b", two", 600)
    assert store.get("ab" * 32) == b"one, two"
    assert 500 < redis_server.client().ttl("session:" + "ab" * 32) <= 600


def test_every_key_in_redis_expires(two_apps, redis_server):
    Visitor(two_apps[0].url).sign_in()
    client = redis_server.client()
    keys = client.keys()
    assert keys
    hours = {b"session": 12, b"index": 24}  # the idle time, and the longest time
    assert all(0 < client.ttl(key) <= hours[key.partition(b":")[0]] * 3600 for key in keys)


def test_while_redis_is_stopped_public_pages_work_and_nobody_is_signed_out(two_apps, redis_server):
    app = two_apps[0]
    person, late = Visitor(app.url), Visitor(app.url)
    person.sign_in()
    answer = late.answer()
    redis_server.stop()
    assert Visitor(app.url).get("/").status_code == 200
    page = late.get(answer)
    assert page.status_code == 503
    assert "Adèle" not in page.text  # the sign-in could not be stored, so nobody is signed in
    assert 'action="/logout"' not in page.text
    assert person.get("/static/style.css").status_code == 200
    began = time.monotonic()
    page = person.get("/call_graph")
    assert page.status_code == 503
    assert "not been signed out" in page.text
    assert time.monotonic() - began < 6
    assert Visitor(app.url).sign_in().status_code == 503
    redis_server.start()
    until(lambda: person.signed_in)
    assert "Retail Manager" in person.get("/call_graph").text


def test_a_redis_that_does_not_answer_is_given_up_after_a_few_seconds(serve, box):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        app = serve(REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        person = Visitor(app.url)
        person.cookies.set(cookie_name(app), "x" * 43)
        began = time.monotonic()
        assert person.get("/").status_code == 503
        assert time.monotonic() - began < 6


def test_while_redis_hangs_one_request_a_second_waits_for_it(two_apps, redis_server):
    app = two_apps[0]
    person = Visitor(app.url)
    person.sign_in()
    redis_server.pause()
    person.get("/")  # finds it out

    def look(_):
        began = time.monotonic()
        assert person.get("/").status_code == 503
        return time.monotonic() - began

    with ThreadPoolExecutor(12) as pool:
        assert max(pool.map(look, range(12))) < 0.9  # a server that did not answer just now is not asked at all
    time.sleep(REFUSED_SECONDS)
    with ThreadPoolExecutor(12) as pool:
        took = sorted(pool.map(look, range(12)))
    assert took[-2] < 0.9 < took[-1] < 3
    redis_server.go_on()
    until(lambda: person.signed_in)
    with ThreadPoolExecutor(12) as pool:  # from now on, nobody finds out for the others
        assert {answer.status_code for answer in pool.map(lambda _: person.get("/"), range(48))} == {200}


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_two_requests_that_find_the_token_expired_make_one_refresh(serve, box, request, kind):
    url = request.getfixturevalue("redis_server").url if kind == "redis" else None
    box.single_use_refresh_tokens = True
    one = serve(REDIS_URL=url)
    other = serve(REDIS_URL=url, REDIRECT_URI=one.settings["REDIRECT_URI"])
    box.access_token_lifetime = 1
    person = Visitor(one.url)
    person.sign_in()
    box.access_token_lifetime = 4000
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda app: person.get(app.url + "/call_graph"), [one, other] * 4))
    assert [page.status_code for page in pages] == [200] * 8
    assert [each.form["grant_type"] for each in box.seen("token")].count("refresh_token") == 1


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_a_request_that_ends_after_sign_out_does_not_bring_the_session_back(serve, box, request, kind):
    app = serve(REDIS_URL=request.getfixturevalue("redis_server").url if kind == "redis" else None)
    box.access_token_lifetime = 1
    person = Visitor(app.url)
    person.sign_in()
    box.access_token_lifetime = 4000
    before, copy = cookies_of(person), Visitor(app.url)
    held = Hold()
    box.misbehave("token", held)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(requests.get, app.url + "/call_graph", cookies=before, allow_redirects=False, timeout=30)
        held.wait()
        person.get("/logout", follow=False)
        held.release()
        assert "session-" not in late.result().headers.get("Set-Cookie", "")
    copy.cookies.update(before)
    assert not copy.signed_in

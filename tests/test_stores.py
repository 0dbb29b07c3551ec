"""The file store, its locks, and Flask's way in, in this process: what is kept, removed, waited for, and said to browsers."""

import contextlib
import os
import tempfile
import threading
import time
from pathlib import Path

import flask
import pytest
from programs import posix
from visitor import cookie_name

from flask_entra.sessions import files, interface, locks
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.store import StoreMisconfigured, StoreUnavailable, probe

KEY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions")


def folder(tmp_path):
    return tmp_path / "sessions" / "sealed-sessions"


@pytest.mark.parametrize("size", [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 200_000])
def test_a_record_of_any_size_comes_back_whole(store, size):
    store.add(KEY, b"x" * size, 60)
    assert store.get(KEY) == b"x" * size


def test_a_lock_is_waited_for_as_long_as_a_refresh_may_take_and_a_write_two_seconds(store, monkeypatch):
    waited = []

    def hold(path, seconds):
        waited.append((path.name, seconds))
        raise TimeoutError("another request holds this session for too long")

    monkeypatch.setattr(locks, "hold", hold)
    with pytest.raises(StoreUnavailable), store.lock(KEY):
        pass
    with pytest.raises(StoreUnavailable):
        store.update(KEY, lambda found: found, 60)
    assert waited == [(KEY, 15), (f"{KEY}.write", 2)]  # 13 for the request, and some more


def test_only_what_has_expired_and_has_a_records_name_is_removed(store, tmp_path):
    names = [
        KEY,
        f"{KEY}.bak",
        f"{KEY}.0123456789abcdef.tmp",
        f"{KEY}.0123456789abcdef.tmp.old",
        "ab" * 31,
        "AB" * 32,
        "notes",
    ]
    old, young = time.time() - 100, time.time() + 100
    for name in names:
        (folder(tmp_path) / name).write_text("x")
        os.utime(folder(tmp_path) / name, (old, old))
    (folder(tmp_path) / ("cd" * 32)).write_text("x")
    os.utime(folder(tmp_path) / ("cd" * 32), (young, young))
    assert store.prune(150) == 0
    assert store.prune(50) == 1
    assert not (folder(tmp_path) / KEY).exists()
    assert store.prune(0) == 1  # what its writer has left half done stays a minute longer
    left = {path.name for path in folder(tmp_path).iterdir()}
    assert left == {"MADE-BY-THE-APP", "locks", "cd" * 32, *names} - {KEY, f"{KEY}.0123456789abcdef.tmp"}


def test_who_waited_for_a_lock_that_was_removed_meanwhile_locks_the_new_one(tmp_path, monkeypatch):
    path, entered = tmp_path / "lock", []
    real = locks.try_lock

    def overtaken(file):
        real(file)
        if not entered:  # the holder before has just removed the file, and another has made a new one
            entered.append("once")
            path.unlink()
            path.write_text("")

    monkeypatch.setattr(locks, "try_lock", overtaken)
    with locks.hold(path, 1), path.open("wb") as other, pytest.raises(BlockingIOError):
        real(other)


def test_a_lock_is_held_until_its_file_is_gone(tmp_path, monkeypatch):
    path, unlink, free = tmp_path / "lock", Path.unlink, []

    def unlink_if_held(self):
        with path.open("wb") as other, contextlib.suppress(BlockingIOError):
            locks.try_lock(other)
            free.append("another could lock the file that is about to go")
        unlink(self)

    with locks.hold(path, 1):
        monkeypatch.setattr(Path, "unlink", unlink_if_held)
    assert not path.exists()
    assert free == []


@pytest.mark.parametrize("found", [None, b"", b"another's"])
def test_a_store_that_does_not_keep_what_it_is_given_is_not_ready(store, monkeypatch, found):
    probe(store)
    monkeypatch.setattr(FileStore, "get", lambda self, key: found)
    with pytest.raises(StoreUnavailable, match="does not keep"):
        probe(store)


def test_a_store_that_cannot_lock_is_not_ready(store, tmp_path):
    (folder(tmp_path) / "locks").rmdir()
    (folder(tmp_path) / "locks").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        store.ping()


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(store, tmp_path, monkeypatch):
    store.add(KEY, b"before", 60)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        store.update(KEY, lambda found: found + b" and after", 60)
    assert store.get(KEY) == b"before"
    assert {path.name for path in folder(tmp_path).iterdir()} == {"MADE-BY-THE-APP", "locks", KEY}


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_record_that_cannot_be_read_is_not_taken_for_none(store, monkeypatch, error):
    store.add(KEY, b"value", 60)
    real = os.open

    def refuse(path, *more):
        if str(path).endswith(KEY):
            raise error
        return real(path, *more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreUnavailable, match=error.strerror):
        store.get(KEY)


def test_a_failure_while_a_lock_is_held_is_not_blamed_on_the_store(store):
    with pytest.raises(FileNotFoundError, match="a view's own"), store.lock(KEY):
        raise FileNotFoundError("a view's own")


def test_one_lock_is_held_by_one_at_a_time_and_its_file_is_gone_afterwards(tmp_path):
    held, most = [], []

    def work():
        for _ in range(20):
            with locks.hold(tmp_path / "lock", 20):
                held.append(1)
                most.append(len(held))
                held.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert list(tmp_path.iterdir()) == []


# --- Flask's way in -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app(visit):
    """The app, with views that write into the session, look at it, empty it, or only set a cookie. On https."""
    app = visit(REDIRECT_URI="https://app.example.com/getAToken").app

    @app.get("/write")
    def write():
        flask.session["x"] = 1
        return flask.redirect("/elsewhere", 302)

    @app.get("/look")
    def look():
        return str(flask.session.get("x"))

    @app.get("/empty")
    def empty():
        flask.session.clear()
        return "emptied"

    @app.get("/cookie")
    def cookie():
        response = flask.Response("a cookie")
        response.set_cookie("other", "1")
        return response

    @app.get("/late")
    def late():
        flask.session["x"] = 2
        other = app.test_client()
        other.set_cookie(
            cookie_name(app), flask.request.cookies[cookie_name(app)], domain="app.example.com", secure=True
        )
        assert other.get("/empty", base_url="https://app.example.com").text == "emptied"
        return "late"

    return app


@pytest.fixture
def ask(app):
    client = app.test_client()
    return lambda path: client.get(path, base_url="https://app.example.com")


def test_an_answer_that_comes_after_the_session_was_emptied_sets_no_cookie(ask):
    ask("/write")
    answer = ask("/late")
    assert answer.text == "late"
    assert "Set-Cookie" not in answer.headers
    assert ask("/look").text == "None"


def test_a_cookie_without_the_prefix_of_https_is_no_session(app, ask):
    (cookie,) = ask("/write").headers.getlist("Set-Cookie")
    planted = app.test_client()
    for name in ("session", "__Host-session", cookie_name(app).removeprefix("__Host-")):
        planted.set_cookie(name, cookie.partition("=")[2].partition(";")[0], domain="app.example.com", secure=True)
    assert planted.get("/look", base_url="https://app.example.com").text == "None"
    assert ask("/look").text == "1"


def test_a_session_that_is_emptied_takes_its_cookie_along_with_the_attributes_it_was_set_with(app, ask):
    ask("/write")
    (deleted,) = ask("/empty").headers.getlist("Set-Cookie")
    assert deleted.startswith(f"{cookie_name(app)}=;")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(deleted.split("; "))
    assert "Max-Age=0" in deleted


def test_a_page_that_has_looked_at_the_session_is_another_one_for_each_cookie(ask):
    assert "Cookie" in ask("/look").vary
    ask("/write")
    assert "Cookie" in ask("/look").vary
    assert "Cookie" not in ask("/healthz").vary


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis+sentinel://localhost/master", "valkey://localhost", "localhost"]
)
def test_with_any_redis_url_no_session_goes_into_a_file(visit, tmp_path, url):
    app = visit(REDIS_URL=url).app
    assert type(app.extensions["flask_entra"].store).__name__ == "RedisStore"
    assert not (tmp_path / "sessions").exists()


def test_an_answer_that_sets_a_cookie_is_kept_by_no_cache(ask):
    assert ask("/cookie").headers["Cache-Control"] == "no-store"
    assert ask("/look").headers["Cache-Control"] == "no-cache"
    ask("/write")
    assert ask("/look").headers["Cache-Control"] == "no-store"


def test_a_store_that_fails_at_the_end_takes_the_place_of_the_answer_with_all_its_headers(app, ask, monkeypatch):
    monkeypatch.setattr(interface.Session, "save", lambda self: (_ for _ in ()).throw(StoreUnavailable("gone")))
    page = ask("/write")
    assert page.status_code == 503
    assert "Location" not in page.headers
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    assert "Request ID" in page.text


def test_expired_sessions_are_removed_once_an_hour_and_two_days_late(app, ask, monkeypatch):
    asked, now = threading.Semaphore(0), time.monotonic()
    spares = []

    def prune(self, spare):
        spares.append(spare)
        asked.release()
        return 0

    monkeypatch.setattr(files.FileStore, "prune", prune)
    for later in (0, 10, 3590, 3610, 3620):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        ask("/write")
    assert all(asked.acquire(timeout=5) for _ in range(2))
    assert spares == [2 * 24 * 3600] * 2


def test_a_folder_that_cannot_be_used_is_said_so_whatever_is_asked_of_it(tmp_path, caplog):
    (tmp_path / "sessions").write_text("a file in the way")
    store = FileStore(tmp_path / "sessions")
    assert f"SESSION_FILE_DIR {tmp_path / 'sessions'} cannot be used (File exists): nobody can sign in." in caplog.text
    for ask in (store.get, store.delete, lambda key: store.add(key, b"x", 60)):
        with pytest.raises(StoreUnavailable):
            ask(KEY)
    with pytest.raises(StoreUnavailable):
        store.ping()


def test_flask_sessions_own_names_do_what_the_session_does(visit):
    app = visit().app
    with app.test_request_context():
        session, lifetime = flask.session, app.permanent_session_lifetime
        session["basket"] = 1
        app.session_interface._upsert_session(lifetime, session, session.sid)
        old = session.sid
        app.session_interface.regenerate(session)
        app.session_interface._upsert_session(lifetime, session, session.sid)
        assert session.sid != old
        assert app.session_interface._retrieve_session_data(old) is None
        assert app.session_interface._retrieve_session_data(session.sid) == {"basket": 1}
        app.session_interface._delete_session(session.sid)
        assert app.session_interface._retrieve_session_data(session.sid) is None


@pytest.mark.skipif(os.name == "nt", reason="permissions are of another kind there")
@pytest.mark.parametrize("mode", [0o770, 0o720, 0o707, 0o702])
@pytest.mark.parametrize("where", ["sessions", "sessions/sealed-sessions"])
def test_a_folder_into_which_others_may_write_is_refused(tmp_path, mode, where):
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where).chmod(mode)
    with pytest.raises(StoreUnavailable, match="others may write to"):
        FileStore(tmp_path / "sessions").ping()


@pytest.mark.skipif(os.name == "nt", reason="permissions are of another kind there")
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_folder_that_others_may_read_is_used(tmp_path, mode):
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions").chmod(mode)
    FileStore(tmp_path / "sessions").ping()


def test_whether_a_store_works_is_asked_without_leaving_a_record(store, tmp_path):
    store.ping()
    assert {path.name for path in folder(tmp_path).iterdir()} == {"MADE-BY-THE-APP", "locks"}


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "sessions").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sessions" / "sealed-sessions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="is a link"):
        FileStore(tmp_path / "sessions").ping()
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- Shares and volumes -------------------------------------------------------------------------------------------------


@pytest.fixture
def share(tmp_path, monkeypatch):
    """A folder on a file system that keeps no permissions, as Azure Files is mounted: everything in it is open to everybody."""
    folder, mkdir = tmp_path / "share", Path.mkdir
    folder.mkdir()
    folder.chmod(0o777)

    def open_mkdir(self, *args, **kwargs):
        mkdir(self, *args, **kwargs)
        if folder in self.parents:
            self.chmod(0o777)

    monkeypatch.setattr(Path, "mkdir", open_mkdir)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder


@posix
def test_on_a_share_that_keeps_no_permissions_sessions_are_kept_elsewhere_and_the_log_says_where(
    share, tmp_path, caplog
):
    stores = [FileStore(share / "flask_session") for _ in range(2)]
    stores[0].add(KEY, b"value", 100)
    assert stores[1].get(KEY) == b"value"  # the processes of a machine share it
    (found,) = (tmp_path / "temporary").rglob(KEY)
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert not list(share.rglob(KEY))
    assert "is on a share that keeps no permissions" in caplog.text
    assert str(found.parent.parent) in caplog.text
    assert FileStore(share / "another").get(KEY) is None  # of another app


@posix
def test_a_folder_that_could_be_closed_and_is_not_is_refused_for_good(tmp_path, caplog):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    store = FileStore(tmp_path / "open")
    with pytest.raises(StoreMisconfigured, match="chmod go-w"):
        store.add(KEY, b"value", 100)


@posix
@pytest.mark.parametrize(
    ("mode", "groups", "taken"), [(0o2775, [2000], True), (0o2777, [2000], False), (0o2775, [7], False)]
)
def test_a_volume_of_a_group_of_ours_is_used(tmp_path, monkeypatch, mode, groups, taken):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(mode)
    owner, stat = 1000, Path.stat

    def owned(self, **kwargs):  # what the process makes is its own; the mount point is root's
        found = stat(self, **kwargs)
        uid, gid = (0, 2000) if self == volume else (owner, owner)
        return os.stat_result([*found[:4], uid, gid, *found[6:]])

    monkeypatch.setattr(os, "geteuid", lambda: owner)
    monkeypatch.setattr(os, "getegid", lambda: owner)
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    monkeypatch.setattr(Path, "stat", owned)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == volume)
    store = FileStore(volume)
    if taken:
        store.add(KEY, b"value", 100)
        assert store.get(KEY) == b"value"
    else:
        with pytest.raises(StoreMisconfigured):
            store.add(KEY, b"value", 100)


def test_a_store_that_is_set_up_wrong_never_says_try_again(visit, tmp_path):
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "sealed-sessions").symlink_to(tmp_path)
    page = visit().sign_in()
    assert page.status_code == 503
    assert "This app has no place where it can keep its sessions" in page.text
    assert "Retry-After" not in page.headers
    assert "seconds" not in page.text

"""The index of the sessions: whom it finds, what it tells a thief, and what happens when it is broken, old or overtaken."""

import threading
import time

import pytest
from conftest import records

from flask_entra.sessions.files import FileStore
from flask_entra.sessions.index import Index
from flask_entra.sessions.redis import RedisStore
from flask_entra.sessions.session import Session
from flask_entra.signin import noted
from flask_entra.signin.current_user import USER

ISSUER = "https://login.example/tenant/v2.0"
ADELE, PRADEEP = (noted.by_person(ISSUER, name) for name in ("adele", "pradeep"))


@pytest.fixture(params=["files", "redis"])
def store(request, tmp_path):
    if request.param == "files":
        return FileStore(tmp_path / "sessions")
    return RedisStore(request.getfixturevalue("redis_server").url, threads=8)


def index_of(store, *secrets, owner="app"):
    return Index(store, lambda: secrets or [b"secret"], owner, 86400, noted.about, noted.labels)


def session_of(store, sid=None, index=None):
    return Session(store, 3600, sid, 86400, "app", index or index_of(store))


def signed_in(store, name="adele", at_authority="s1", index=None):
    session = session_of(store, index=index)
    user = {"iss": ISSUER, "sub": name, "oid": f"oid-of-{name}", "preferred_username": f"{name}@contoso.example"}
    session[USER] = user | ({"sid": at_authority} if at_authority else {})
    session[noted.BEGAN] = {"at": int(time.time()), "browser": "Lynx"}
    session.save()
    return session


def found(index, label=ADELE):
    return sorted(entry.key for entry in index.find(label))


def key_of(session):
    return session._seal.key


def test_a_session_is_found_by_its_person_and_by_the_session_at_the_authority_until_it_ends(store):
    index, first, second = index_of(store), signed_in(store), signed_in(store, at_authority="s2")
    signed_in(store, "pradeep", at_authority=None)
    assert found(index) == sorted([key_of(first), key_of(second)])
    (entry,) = index.find(noted.by_sid("s2"))
    assert (entry.key, entry.about["oid"], entry.about["browser"]) == (key_of(second), "oid-of-adele", "Lynx")
    assert len(list(index.all())) == 3
    first.clear()
    first.save()
    assert found(index) == [key_of(second)]
    assert index.end(entry)
    assert not index.end(entry)
    assert dict(session_of(store, second.sid)) == {}
    assert found(index) == found(index, noted.by_sid("s2")) == []
    assert [entry.about["sub"] for entry in index.all()] == ["pradeep"]


def test_a_secret_that_changes_while_the_app_runs_hides_no_session(store):
    secrets = [b"old"]
    index = Index(store, lambda: secrets, "app", 86400, noted.about, noted.labels)
    first = signed_in(store, index=index)
    secrets[:] = [b"new"]
    second = signed_in(store, index=index)
    both = sorted([key_of(first), key_of(second)])
    assert found(index) == found(index_of(store, b"old", b"new")) == both
    assert found(index_of(store, b"new")) == [key_of(second)]
    first.clear()
    first.save()
    assert found(index_of(store, b"old", b"new")) == [key_of(second)]


def test_no_other_app_and_no_other_secret_finds_anything(store):
    signed_in(store)
    for other in (index_of(store, owner="other"), index_of(store, b"another secret")):
        assert found(other) == []
        assert list(other.all()) == []
    assert len(found(index_of(store, b"secret", b"the new secret"))) == 1  # SECRET_KEY_FALLBACKS


def test_a_copy_of_the_store_tells_no_name_no_id_and_no_browser(tmp_path):
    signed_in(FileStore(tmp_path))
    copied = [path for path in (tmp_path / "sealed-sessions").rglob("*") if path.is_file()]
    content = b"".join(path.name.encode() + path.read_bytes() for path in copied)
    assert len(copied) == 4  # the marker, the record, and two entries
    for told in (b"adele", b"oid-of", b"contoso", b"s1", b"Lynx", b"login.example"):
        assert told not in content


def test_a_session_that_an_older_version_has_stored_is_found_once_it_is_used(store, monkeypatch):
    session = Session(store, 3600, None, 86400, "app")  # no index
    session[USER] = {"iss": ISSUER, "sub": "adele"}
    session.save()
    index, now = index_of(store), time.time()
    assert found(index) == []
    assert session_of(store, session.sid)[USER]["sub"] == "adele"  # it works, and a look writes nothing
    assert found(index) == []
    monkeypatch.setattr(time, "time", lambda: now + 400)
    assert session_of(store, session.sid)[USER]["sub"] == "adele"
    assert found(index) == [key_of(session)]


def test_a_session_in_use_all_day_is_found(store, monkeypatch):
    session, now = signed_in(store), time.time()
    for later in range(0, 86000, 1700):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert session_of(store, session.sid)[USER]
    assert found(index_of(store)) == [key_of(session)]


def test_a_name_that_changes_is_noted_once(store):
    session = session_of(store, signed_in(store).sid)
    session[USER] = {**session[USER], "preferred_username": "vance@contoso.example"}
    session.save()
    (entry,) = index_of(store).find(ADELE)
    assert entry.about["preferred_username"] == "vance@contoso.example"
    assert len(list(store.all_notes())) == 2  # by the person, and by the session at the authority


def test_a_look_into_the_index_disturbs_no_sign_in_that_is_just_being_stored(store, monkeypatch):
    index, add, seen = index_of(store), type(store).add, []

    def add_late(self, key, value, seconds):
        seen.extend(index.is_alive(entry) for entry in index.find(ADELE))
        add(self, key, value, seconds)

    monkeypatch.setattr(type(store), "add", add_late)
    session = signed_in(store)
    assert seen == [False]
    assert session.is_stored()
    assert [index.is_alive(entry) for entry in index.find(ADELE)] == [True]
    store.delete(key_of(session))
    assert [index.is_alive(entry) for entry in index.find(ADELE)] == [False]


def test_an_index_that_has_lost_half_finds_the_other_half(tmp_path, caplog):
    store = FileStore(tmp_path)
    index, sessions = index_of(store), [signed_in(store, at_authority=f"s{number}") for number in range(4)]
    files = sorted((tmp_path / "sealed-sessions" / "index").iterdir())
    by_sid = [path for path in files if len(path.read_bytes()) < 400]
    by_sid[0].unlink()
    by_sid[1].write_bytes(by_sid[1].read_bytes()[:50])
    by_sid[2].write_bytes(b"")
    assert len([number for number in range(4) if index.find(noted.by_sid(f"s{number}"))]) == 1
    assert "has a file that cannot be read" in caplog.text
    assert found(index) == sorted(map(key_of, sessions))
    assert len(list(index.all())) == 4
    assert all(index.end(entry) for entry in index.find(ADELE))
    assert list(index.all()) == []


def test_a_lost_index_is_made_again_while_sessions_are_used(tmp_path):
    store = FileStore(tmp_path)
    sid = signed_in(store).sid
    for path in (tmp_path / "sealed-sessions" / "index").iterdir():
        path.unlink()
    (tmp_path / "sealed-sessions" / "index").rmdir()
    assert session_of(store, sid)[USER]["sub"] == "adele"
    assert list(index_of(store).all()) == []
    again = signed_in(store)
    assert found(index_of(store)) == [key_of(again)]
    assert len(records(tmp_path / "sealed-sessions")) == 2


def test_entries_expire_with_the_longest_session(tmp_path, monkeypatch):
    store, now = FileStore(tmp_path), time.time()
    signed_in(store)
    monkeypatch.setattr(time, "time", lambda: now + 86401)
    assert list(store.all_notes()) == []
    store.prune(0)
    assert list((tmp_path / "sealed-sessions" / "index").iterdir()) == []


# --- Overtaken by another -----------------------------------------------------------------------------------------------


def test_whoever_ends_a_persons_sessions_while_one_is_being_stored_ends_that_too(store, monkeypatch):
    index, add = index_of(store), type(store).add

    ended = []

    def add_late(self, key, value, seconds):
        if not ended:  # an administrator has read the index just before, and ends what it says
            ended.extend(index.end(entry) for entry in index.find(ADELE))
        add(self, key, value, seconds)

    monkeypatch.setattr(type(store), "add", add_late)
    session = signed_in(store)
    assert set(ended) == {False}  # it was not there yet
    monkeypatch.undo()
    assert not session.is_stored()
    assert dict(session_of(store, session.sid)) == {}


def test_of_a_session_that_gets_a_new_id_in_two_tabs_one_goes_on(store):
    sid, barrier, tabs = signed_in(store).sid, threading.Barrier(2), []

    def regenerate():
        tab = session_of(store, sid)
        tab.regenerate()
        barrier.wait(20)
        tab.save()
        tabs.append(tab)

    threads = [threading.Thread(target=regenerate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tab.is_stored() for tab in tabs].count(True) == 1
    assert len(found(index_of(store))) == 1


def test_a_session_that_is_ended_while_it_gets_a_new_id_does_not_come_back(store, monkeypatch):
    sid, index, add = signed_in(store).sid, index_of(store), type(store).add

    def add_late(self, key, value, seconds):
        for entry in index.find(ADELE):
            index.end(entry)
        add(self, key, value, seconds)

    tab = session_of(store, sid)
    tab.regenerate()
    monkeypatch.setattr(type(store), "add", add_late)
    tab.save()
    monkeypatch.undo()
    assert not tab.is_stored()
    assert list(index.all()) == []


def test_a_session_that_has_got_a_new_id_since_it_was_found_is_ended_under_that(store):
    sid, other, index = signed_in(store).sid, signed_in(store, "pradeep"), index_of(store)
    found_before = index.find(ADELE)
    tab = session_of(store, sid)
    tab.regenerate()
    tab.save()
    assert tab.is_stored()
    assert [index.end(entry) for entry in found_before] == [True]
    assert not tab.is_stored()
    assert found(index) == []
    assert other.is_stored()


@pytest.mark.parametrize("times", [1, 2])
def test_a_sign_out_in_one_tab_ends_what_another_tab_has_just_given_a_new_id(store, times):
    signing_out, other = session_of(store, signed_in(store).sid), signed_in(store, "pradeep")
    assert USER in signing_out  # it has been read
    sid = signing_out.sid
    for _ in range(times):
        tab = session_of(store, sid)
        tab.regenerate()
        tab.save()
        sid = tab.sid
    signing_out.clear()
    signing_out.save()
    assert dict(session_of(store, sid)) == {}
    assert found(index_of(store)) == []
    assert other.is_stored()

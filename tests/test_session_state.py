"""One session over a store in memory, in milliseconds: what is asked of the store, and what the session says of itself."""

import contextlib
import time

import msgspec
import pytest

from flask_entra.sessions.seal import Seal
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import StoreUnavailable


class Memory:
    """A store in this process; `asked` says what for, in order."""

    def __init__(self):
        self.values, self.asked, self.locked = {}, [], set()

    def get(self, key):
        self.asked.append("get")
        return self.values.get(key)

    def add(self, key, value, seconds):
        self.asked.append("add")
        self.values[key] = value

    def update(self, key, change, seconds):
        self.asked.append("update")
        value = change(self.values[key]) if key in self.values else None
        if value is not None:
            self.values[key] = value

    def delete(self, key):
        self.asked.append("delete")
        return self.values.pop(key, None) is not None

    @contextlib.contextmanager
    def lock(self, key):
        if key in self.locked:
            raise StoreUnavailable("another request holds this session for too long")
        self.locked.add(key)
        yield
        self.locked.discard(key)


@pytest.fixture
def store():
    return Memory()


@pytest.fixture
def stored(store):
    """A session that is stored, as a later request finds it."""
    first = Session(store, 7200, None)
    first["person"] = "adele"
    first.save()
    store.asked.clear()
    return Session(store, 7200, first.sid)


def test_a_new_session_is_new_until_it_is_stored(store):
    session = Session(store, 7200, None)
    assert session.new
    assert not (session.modified or session.accessed or session.personal or session.extended)
    session["person"] = "adele"
    assert session.modified
    assert session.personal
    session.save()
    assert not session.new
    assert not session.modified
    assert session.extended
    assert store.asked == ["add"]


def test_a_stored_session_is_read_when_it_is_looked_at_and_once(store, stored):
    assert not stored.new
    assert store.asked == []
    assert dict(stored) == {"person": "adele"}
    assert store.asked == ["get"]
    assert stored.accessed
    assert stored.personal
    assert not stored.modified
    assert not stored.was_emptied


def test_a_change_is_written_over_what_is_stored(store, stored):
    stored["basket"] = 1
    stored.save()
    assert store.asked == ["get", "update"]
    assert not stored.new
    assert not stored.modified
    assert dict(Session(store, 7200, stored.sid)) == {"person": "adele", "basket": 1}


def test_a_value_taken_out_is_a_change(store, stored):
    del stored["person"]
    assert stored.modified
    stored.save()
    assert store.values == {}


def test_a_session_that_this_request_has_emptied_says_so_and_is_deleted(store, stored):
    stored.clear()
    assert stored.modified
    assert stored.was_emptied
    stored.save()
    assert store.values == {}
    assert stored.new
    assert not stored.modified


def test_one_that_another_request_has_deleted_was_not_emptied_by_this_one(store, stored):
    assert stored["person"] == "adele"
    store.values.clear()
    with stored.exclusive():
        assert dict(stored) == {}
    assert not stored.was_emptied
    stored["late"] = 1
    stored.save()
    assert store.values == {}


def test_to_hold_a_session_and_change_nothing_writes_nothing(store, stored):
    with stored.exclusive():
        pass
    assert store.asked == ["get", "get"]


def test_what_is_changed_while_the_session_is_held_is_written_at_the_end(store, stored):
    with stored.exclusive():
        stored["basket"] = 1
        assert "update" not in store.asked
    assert store.asked == ["get", "get", "update"]


def test_to_hold_it_within_holding_it_takes_no_second_lock(stored):
    with stored.exclusive(), stored.exclusive():
        pass


def test_once_let_go_it_has_to_be_held_anew(store, stored):
    with stored.exclusive():
        pass
    store.locked.update(store.values)
    with pytest.raises(StoreUnavailable), stored.exclusive():
        raise AssertionError("two hold it")


def test_what_has_changed_is_stored_before_it_is_let_go(store, stored, monkeypatch):
    written, update = [], store.update

    def note(key, *more):
        written.append(key in store.locked)
        update(key, *more)

    monkeypatch.setattr(store, "update", note)
    with stored.exclusive():
        stored["basket"] = 1
    assert written == [True]
    assert not store.locked


def test_a_failure_lets_go_too(store, stored):
    with pytest.raises(ZeroDivisionError), stored.exclusive():
        raise ZeroDivisionError
    store.locked.clear()
    store.locked.update(store.values)
    with pytest.raises(StoreUnavailable), stored.exclusive():
        raise AssertionError("two hold it")


def test_a_session_that_nobody_else_has_is_held_without_a_lock(store):
    session = Session(store, 7200, None)
    with session.exclusive():
        session["person"] = "adele"
    assert store.asked == []
    assert session.modified


def test_a_value_that_others_have_changed_or_taken_out_meanwhile_is_taken_over(store, stored):
    other = Session(store, 7200, stored.sid)
    other["basket"] = 1
    assert stored["person"] == "adele"
    del other["person"]
    other["flag"] = True
    other.save()
    with stored.exclusive():
        assert dict(stored) == {"basket": 1, "flag": True}
    stored["basket"] = 2
    other["flag"] = False
    other.save()
    stored.save()
    assert dict(Session(store, 7200, stored.sid)) == {"basket": 2, "flag": False}


def test_a_value_that_only_python_takes_for_the_same_is_a_change(store, stored):
    stored["flag"] = True
    stored.save()
    other = Session(store, 7200, stored.sid)
    other["basket"] = 1
    stored["flag"] = 1
    other.save()
    stored.save()
    assert repr(dict(Session(store, 7200, stored.sid))) == "{'person': 'adele', 'flag': 1, 'basket': 1}"


def test_the_store_is_asked_whether_it_has_a_session(store, stored):
    assert stored.is_stored()
    assert store.asked == ["get"]
    store.values.clear()
    assert not stored.is_stored()


def test_a_session_lives_on_once_a_twelfth_of_its_idle_time_is_over(store, stored, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 590)
    assert stored["person"] == "adele"
    assert store.asked == ["get"]
    assert not stored.extended
    monkeypatch.setattr(time, "time", lambda: now + 610)
    later = Session(store, 7200, stored.sid)
    assert later["person"] == "adele"
    assert store.asked == ["get", "get", "update"]
    assert later.extended
    assert not later.modified
    monkeypatch.setattr(time, "time", lambda: now + 610 + 7190)
    assert dict(Session(store, 7200, stored.sid)) == {"person": "adele"}


def test_a_session_in_use_ends_a_day_after_its_id_was_made_and_is_not_written_at_every_look(store, monkeypatch):
    now, day = int(time.time()), 24 * 3600
    monkeypatch.setattr(time, "time", lambda: now)
    first = Session(store, 7200, None, day)
    first["person"] = "adele"
    first.save()
    store.asked.clear()
    for minutes in range(30, 24 * 60, 30):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: now + 60 * minutes)
        assert dict(Session(store, 7200, first.sid, day)) == {"person": "adele"}, minutes
        if minutes == 23 * 60:
            store.asked.clear()
    assert store.asked == ["get"]  # at 23:30, when the end cannot be put off any more
    monkeypatch.setattr(time, "time", lambda: now + day - 1)
    assert Session(store, 7200, first.sid, day)["person"] == "adele"
    monkeypatch.setattr(time, "time", lambda: now + day)
    late = Session(store, 7200, first.sid, day)
    assert dict(late) == {}
    assert late.new
    assert late.sid != first.sid


def test_a_new_id_begins_the_day_anew(store, monkeypatch):
    now, day = int(time.time()), 24 * 3600
    monkeypatch.setattr(time, "time", lambda: now)
    session = Session(store, 2 * day, None, day)
    session["person"] = "adele"
    session.save()
    monkeypatch.setattr(time, "time", lambda: now + day - 10)
    session = Session(store, 2 * day, session.sid, day)
    session.regenerate()  # as at a sign-in
    session.save()
    monkeypatch.setattr(time, "time", lambda: now + 2 * day - 11)
    assert dict(Session(store, 2 * day, session.sid, day)) == {"person": "adele"}
    monkeypatch.setattr(time, "time", lambda: now + 2 * day - 10)
    assert dict(Session(store, 2 * day, session.sid, day)) == {}


@pytest.mark.parametrize("idle", [30, 600, 12 * 3600])
def test_a_session_lives_on_while_it_is_used_however_short_its_idle_time_is(store, monkeypatch, idle):
    session = Session(store, idle, None)
    session["person"] = "adele"
    session.save()
    now = time.time()
    for turn in range(1, 20):
        monkeypatch.setattr(time, "time", lambda turn=turn: now + turn * idle / 2)
        assert dict(Session(store, idle, session.sid)) == {"person": "adele"}
    monkeypatch.setattr(time, "time", lambda: now + 19 * idle / 2 + idle + 1)
    assert dict(Session(store, idle, session.sid)) == {}


def test_the_end_of_a_session_cannot_be_put_off_by_another_time_in_its_id(store):
    day = 24 * 3600
    session = Session(store, 7200, None, day)
    session["person"] = "adele"
    session.save()
    token, _, made = session.sid.partition(".")
    for sid in (
        token,
        f"{token}.",
        f"{token}.{int(made) + day}",
        f"{token}.0{made}",
        f"{session.sid}.{int(made) + day}",
    ):
        assert dict(Session(store, 7200, sid, day)) == {}, sid


def test_a_session_whose_id_tells_no_time_lives_on_while_it_is_used(store, monkeypatch):
    record = msgspec.msgpack.encode({"person": "adele"})
    seal = Seal("x" * 43)  # as ids were before
    store.add(seal.key, seal.close(record, time.time() + 7200), 7200)
    now = time.time()
    for hours in range(1, 30):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + 3610 * hours)
        assert dict(Session(store, 7200, "x" * 43, 24 * 3600)) == {"person": "adele"}


def test_a_new_id_replaces_the_record_of_the_old_one(store, stored):
    old = stored.sid
    stored.regenerate()
    assert stored.new
    assert stored.modified
    assert stored.sid != old
    stored.save()
    assert len(store.values) == 1
    assert dict(Session(store, 7200, stored.sid)) == {"person": "adele"}
    assert dict(Session(store, 7200, old)) == {}


def test_an_unknown_id_is_not_kept(store):
    session = Session(store, 7200, "chosen by somebody")
    assert dict(session) == {}
    assert session.new
    assert not session.personal
    assert session.sid != "chosen by somebody"
    session["person"] = "adele"
    session.save()
    assert dict(Session(store, 7200, "chosen by somebody")) == {}

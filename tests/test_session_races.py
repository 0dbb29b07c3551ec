"""Sessions that are used and ended at the same time: against a dictionary as the model, by threads, processes and in the app."""

import collections
import multiprocessing
import random
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import flask
import pytest
import racing
from fake_provider import Browser, due
from forked import POSSIBLE
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from racing import AT_AUTHORITY, BYSTANDER, ISSUER, PEOPLE, History, Journal, index_of, session_of, signed_in

from flask_entra.sessions.files import FileStore
from flask_entra.sessions.redis import RedisStore
from flask_entra.signin import noted
from flask_entra.signin.current_user import USER

HTTP = "http://localhost:5000"


@pytest.fixture(params=["files", "redis"])
def fresh(request, tmp_path):
    """Makes an empty store of a kind, again and again."""
    if request.param == "files":
        numbers = iter(range(10**6))
        return lambda: FileStore(tmp_path / str(next(numbers)))
    server = request.getfixturevalue("redis_server")

    def emptied():
        server.client().flushall()
        return RedisStore(server.url, threads=8)

    return emptied


# --- A dictionary knows what should be ----------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Whatever is done in whatever order, the store has the sessions that a dictionary says, and the index finds them."""

    sessions, requests, copies = Bundle("sessions"), Bundle("requests"), Bundle("copies")
    fresh = None  # makes a store

    @initialize()
    def begin(self):
        self.store = type(self).fresh()
        self.index = index_of(self.store)
        self.alive, self.listed = {}, set()  # sid to person, session at the authority and number; those in the index

    @rule(target=sessions, person=st.sampled_from(PEOPLE), at_authority=st.sampled_from(AT_AUTHORITY))
    def sign_in(self, person, at_authority):
        sid = signed_in(self.store, person, at_authority).sid
        self.alive[sid] = [person, at_authority, 0]
        self.listed.add(sid)
        return sid

    @rule(target=requests, sid=sessions)
    def open_a_page(self, sid):
        session = session_of(self.store, sid)
        assert dict(session).get("number") == self.alive.get(sid, [None] * 3)[2]
        return sid, session

    @rule(request=consumes(requests), number=st.integers(1, 9))
    def answer_a_page_that_changes_the_session(self, request, number):
        sid, session = request
        if "number" in session:  # it was alive when the page was opened
            session["number"] = number
            session.save()
            if sid in self.alive:
                self.alive[sid][2] = number

    @rule(target=sessions, request=consumes(requests))
    def answer_a_page_that_gives_it_a_new_id(self, request):
        sid, session = request
        if "number" not in session:
            return multiple()
        number = session["number"]
        session.regenerate()
        session.save()
        if sid in self.alive:
            person, at_authority, _ = self.alive.pop(sid)
            self.alive[session.sid] = [person, at_authority, number]
            self.listed.discard(sid)
            self.listed.add(session.sid)
        return session.sid

    @rule(sid=sessions)
    def sign_out(self, sid):
        session = session_of(self.store, sid)
        session.clear()
        session.save()
        self._end(sid)

    @rule(person=st.sampled_from(PEOPLE))
    def revoke_a_person(self, person):
        self._revoke(noted.by_person(ISSUER, person), lambda each: each[0] == person)

    @rule(at_authority=st.sampled_from(AT_AUTHORITY))
    def sign_out_at_the_authority(self, at_authority):
        self._revoke(noted.by_sid(at_authority), lambda each: each[1] == at_authority)

    @rule()
    def revoke_all(self):
        for entry in list(self.index.all()):
            self.index.end(entry)
        for sid in list(self.listed):
            self._end(sid)

    @rule(target=copies, sid=sessions)
    def copy_a_record(self, sid):
        key = session_of(self.store, sid).key
        return sid, key, self.store.get(key), self.alive.get(sid)

    @rule(copy=copies)
    def put_a_record_back_from_an_old_copy(self, copy):
        sid, key, record, model = copy
        if record is not None and sid not in self.alive:
            self.store.add(key, record, 3600)
            self.alive[sid] = list(model)  # SECURITY.md says so; the index does not know it

    @rule()
    def lose_the_index(self):
        for label in [*map(noted.by_sid, AT_AUTHORITY), *(noted.by_person(ISSUER, each) for each in PEOPLE)]:
            digest = self.index._keys[0].digest(label)
            for note in self.store.notes(digest):
                self.store.drop_note(digest, note)
        self.listed.clear()

    @invariant()
    def the_index_finds_what_is_alive(self):
        if not hasattr(self, "store"):
            return
        keys = {session_of(self.store, sid).key for sid in self.listed}
        assert {entry.key for entry in self.index.all()} == keys
        assert set(self.store.keys()) == {session_of(self.store, sid).key for sid in self.alive}

    def _revoke(self, label, is_meant):
        for entry in self.index.find(label):
            self.index.end(entry)
        for sid in [sid for sid in self.listed if is_meant(self.alive[sid])]:
            self._end(sid)

    def _end(self, sid):
        self.alive.pop(sid, None)
        self.listed.discard(sid)


def test_whatever_happens_in_whatever_order_the_sessions_are_those_of_a_dictionary(fresh):
    machine = type("OneStore", (Machine,), {"fresh": staticmethod(fresh)})
    machine.TestCase.settings = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=machine.TestCase.settings)


# --- Threads ------------------------------------------------------------------------------------------------------------


def test_threads_that_sign_in_use_and_end_sessions_leave_none_that_cannot_be_ended(fresh):
    store, ended, errors = fresh(), set(), []

    def work(seed):
        rng, own = random.Random(seed), []
        index = index_of(store)
        for _ in range(25):
            what = rng.random()
            if what < 0.4 or not own:
                own.append(signed_in(store, rng.choice(PEOPLE), rng.choice(AT_AUTHORITY)).sid)
            elif what < 0.55:
                session = session_of(store, own[-1])
                if USER in session:
                    session["number"] = rng.randrange(9)
                    session.save()
            elif what < 0.7:
                session = session_of(store, own.pop())
                if USER in session:
                    session.regenerate()
                    session.save()
                    own.append(session.sid)
            elif what < 0.85:
                sid = own.pop()
                session = session_of(store, sid)
                session.clear()
                session.save()
                ended.add(sid)
            else:
                for entry in index.find(noted.by_person(ISSUER, rng.choice(PEOPLE))):
                    index.end(entry)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, seed) for seed in range(4)]:
            if error := future.exception():
                errors.append(error)
    assert errors == []
    index = index_of(store)
    assert not any(session_of(store, sid).is_stored() for sid in ended)
    assert {entry.key for entry in index.all()} == set(store.keys())  # whoever is signed in can be found
    for person in PEOPLE:
        for entry in index.find(noted.by_person(ISSUER, person)):
            assert index.end(entry)
    assert list(store.keys()) == []
    assert list(store.all_notes()) == []


def test_whoever_is_signed_in_when_everybody_is_ended_is_signed_in_no_more(fresh):
    """Sign-ins and the end of all sessions at once: each session either began after that, or has ended."""
    store, done, began = fresh(), threading.Event(), []

    def sign_in():
        while not done.is_set():
            began.append(signed_in(store, "adele", "s1"))

    with ThreadPoolExecutor(3) as pool:
        signing_in = [pool.submit(sign_in) for _ in range(2)]
        while len(began) < 10 and not any(each.done() for each in signing_in):
            time.sleep(0.001)
        index, complete = index_of(store), list(began)
        for entry in index.find(noted.by_person(ISSUER, "adele")):
            index.end(entry)
        done.set()
        for each in signing_in:
            each.result()
    assert not any(session.is_stored() for session in complete)
    assert {entry.key for entry in index.all()} == set(store.keys())


# --- Processes ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["files", "redis"])
def address(request, tmp_path):
    """Where processes find the store that they share."""
    if request.param == "files":
        return str(tmp_path / "shared")
    # A machine under load is no fault of the server's.
    return request.getfixturevalue("redis_server").url + "?socket_timeout=30&socket_connect_timeout=30"


def test_processes_that_use_and_end_the_same_sessions_bring_none_back_and_lose_none(address, tmp_path):
    journal, first = Journal(tmp_path / "journal"), random.randrange(10**6)
    seeds = range(first, first + racing.PROCESSES)
    store = racing.store_at(address)
    for person in (BYSTANDER, *PEOPLE):
        old = signed_in(store, person, "s1")
        journal.add("in", person, old.sid)
    record = store.get(old.key)
    old.clear()
    old.save()
    journal.add("out", old.sid)
    journal.add("back", old.sid)
    store.add(old.key, record, 3600)
    assert session_of(store, old.sid)[USER]["sub"] == person  # SECURITY.md says so; the index does not know it
    processes = multiprocessing.get_context("forkserver" if POSSIBLE else "spawn")
    barrier = processes.Barrier(len(seeds))
    with ProcessPoolExecutor(len(seeds), processes, racing.begin_together, [barrier]) as pool:
        racers = [pool.submit(racing.race, address, tmp_path / "journal", seed) for seed in seeds]
        assert [wrong for racer in racers for wrong in racer.result()] == [], seeds

    lines, index = journal.lines(), index_of(store)
    history = History(lines)
    assert {what for what, *_ in lines} == {"in", "from", "out", "revoked", "back"}, seeds
    alive = {sid: session for sid in history.person if USER in (session := session_of(store, sid))}
    assert not alive.keys() & history.ended, seeds
    assert all(session[USER]["sub"] == history.person[sid] for sid, session in alive.items()), seeds
    # Of each session in which nobody was ended, one goes on.
    hers = collections.Counter(history.root(sid) for sid in alive if history.person[sid] == BYSTANDER)
    assert hers == {sid: 1 for what, *_, sid in lines if what == "in" and history.person[sid] == BYSTANDER}, seeds
    # Whoever is signed in can be found, but for a copy that was put back; and nobody else is found.
    copies = {alive[sid].key for sid in alive.keys() & history.put_back}
    assert set(store.keys()) == {session.key for session in alive.values()}, seeds
    assert {entry.key for entry in index.all()} == set(store.keys()) - copies, seeds


# --- In the app ---------------------------------------------------------------------------------------------------------


def front_channel(browser, sid="s1"):
    return browser.app.test_client(use_cookies=False).get(f"/logout/front-channel?sid={sid}", base_url=HTTP)


@pytest.fixture
def browser(visit, provider):
    provider.claims = {"sid": "s1"}
    browser = visit()
    browser.app.add_url_rule("/write", "write", lambda: flask.session.update(basket=1) or "written")

    def end_and_write():
        assert flask.session.get(USER)
        assert front_channel(browser).status_code == 200
        flask.session["late"] = 1
        return "late"

    browser.app.add_url_rule("/end-and-write", "end_and_write", end_and_write)
    browser.sign_in()
    return browser


def test_a_sign_out_elsewhere_while_a_token_is_renewed_is_not_undone(browser, monkeypatch):
    due(monkeypatch, 4000)
    provider = browser.provider

    def answer():
        assert front_channel(browser).status_code == 200
        provider.token = {}
        return provider.answer_token(None)

    provider.token = answer
    page = browser.get("/account")
    assert provider.token == {}
    assert not [line for line in page.headers.getlist("Set-Cookie") if line.startswith("session-")]
    assert not browser.signed_in
    assert not list(browser.app.extensions["flask_entra"].store.keys())


def test_a_sign_out_elsewhere_while_a_page_is_built_is_not_undone_and_sets_no_cookie(browser):
    page = browser.get("/end-and-write")
    assert page.text == "late"
    assert not [line for line in page.headers.getlist("Set-Cookie") if line.startswith("session-")]
    assert not browser.signed_in
    assert not list(browser.app.extensions["flask_entra"].store.keys())


def test_two_sign_outs_at_once_are_one(browser):
    cookies = browser.client._cookies.copy()
    again = Browser(browser.app, browser.provider)
    again.client._cookies.update(cookies)
    assert browser.sign_out().status_code == again.sign_out().status_code == 200
    assert front_channel(browser).status_code == 200
    assert not browser.signed_in
    assert not again.signed_in

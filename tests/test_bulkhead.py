"""While an upstream hangs, the rest of the app answers: gunicorn with its threads, and many requests at once."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from programs import free_port, gunicorn_command, posix, until
from visitor import Visitor, cookies_of

from flask_entra import bulkhead as bulkhead_module
from flask_entra.bulkhead import SLOW_SECONDS, Bulkhead, Busy
from sandbox.faults import Delay, Hold, Silence


@pytest.fixture(params=["files", "redis"])
def small(serve, request):
    """The app under gunicorn: one process of 16 threads, of which 10 may wait for an upstream, 4 of them for one person."""
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else None
    port = free_port()
    return serve(command=gunicorn_command(port, "--workers", "1"), port=port, THREADS="16", REDIS_URL=url)


class Crowd:
    """Many requests at once, that nobody waits for: the statuses of those that were answered."""

    def __init__(self, url, count, cookies):
        self.answers = []
        self._threads = [threading.Thread(target=self._ask, args=(url, each), daemon=True) for each in cookies * count]
        for thread in self._threads:
            thread.start()

    def _ask(self, url, cookies):
        with requests.Session() as session:
            session.trust_env = False
            self.answers.append(session.get(url, cookies=cookies, allow_redirects=False, timeout=60))

    def wait(self, count):
        """Until so many were answered: those that are refused come first."""
        until(lambda: len(self.answers) >= count)

    def join(self):
        for thread in self._threads:
            thread.join(60)
        return self.answers


def seconds(url, path, status=200):
    began = time.monotonic()
    assert requests.get(url + path, timeout=30).status_code == status
    return time.monotonic() - began


def others_are_served(url):
    took = [seconds(url, path) for _ in range(5) for path in ("/", "/healthz")]
    assert statistics.median(took) < 0.5, took


def refused(answers):
    """The answers that were not waited for; each must say when to come back."""
    busy = [answer for answer in answers if answer.status_code == 503 and "Retry-After" in answer.headers]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in busy)
    assert {answer.status_code for answer in answers} <= {200, 503, 504}
    return busy


@posix
def test_while_graph_hangs_for_one_person_everybody_else_is_served(small, box):
    adele, alex = Visitor(small.url), Visitor(small.url)
    adele.sign_in("adele")
    alex.sign_in("alex")
    adele.get("/call_graph")
    token = box.seen("me")[-1].headers["Authorization"]
    hangs = Hold()
    box.misbehave("me", lambda environ: hangs if environ["HTTP_AUTHORIZATION"] == token else None, times=None)
    crowd = Crowd(small.url + "/call_graph", 80, [cookies_of(adele)])
    crowd.wait(80 - 4)
    others_are_served(small.url)
    assert seconds_of_a_call(alex) < 0.5
    hangs.release()
    assert len(refused(crowd.join())) >= 80 - 4


def seconds_of_a_call(person):
    began = time.monotonic()
    assert person.get("/call_graph").status_code == 200
    return time.monotonic() - began


@posix
def test_while_graph_hangs_for_everybody_other_pages_are_served(small, box):
    people = [Visitor(small.url) for _ in range(12)]
    for person in people:
        person.sign_in()
    hangs = Hold()
    box.misbehave("me", hangs, times=None)
    crowd = Crowd(small.url + "/call_graph", 5, [cookies_of(person) for person in people])
    crowd.wait(60 - 10)
    others_are_served(small.url)
    hangs.release()
    assert len(refused(crowd.join())) >= 60 - 10
    box.behave()
    assert people[0].get("/call_graph").status_code == 200


@posix
def test_while_discovery_hangs_strangers_who_sign_in_hold_up_nobody(small, box):
    box.misbehave("discovery", Silence(3), times=None)
    crowd = Crowd(small.url + "/login", 60, [{}])
    crowd.wait(60 - 10)
    others_are_served(small.url)
    assert seconds(small.url, "/readyz", 503) < 0.5
    pages = crowd.join()
    assert len(refused(pages)) >= 60 - 10
    # A document that has just failed slowly is not waited for again at once.
    asked = len(box.seen("discovery"))
    assert seconds(small.url, "/login", 503) < 0.5
    assert len(box.seen("discovery")) == asked


@posix
def test_a_graph_that_is_only_slow_serves_more_people_than_there_are_places(small, box):
    people = [Visitor(small.url) for _ in range(8)]
    for person in people:
        person.sign_in()
    box.misbehave("me", Delay(SLOW_SECONDS / 6), times=None)
    crowd = Crowd(small.url + "/call_graph", 3, [cookies_of(person) for person in people])
    assert {answer.status_code for answer in crowd.join()} == {200}


# --- The places by themselves -----------------------------------------------------------------------------------------


def hold(bulkhead, upstream, person, until):
    with bulkhead.place(upstream, person):
        until.wait(10)


@pytest.fixture
def holding():
    """Hold places of a bulkhead for 16 threads, on other threads, until the end of the test."""
    bulkhead, until = Bulkhead(16), threading.Event()
    with ThreadPoolExecutor(32) as pool:

        def begin(count, upstream, person=None):
            for _ in range(count):
                pool.submit(hold, bulkhead, upstream, person, until)
            time.sleep(SLOW_SECONDS + 0.1)

        yield bulkhead, begin
        until.set()


def enters(bulkhead, upstream, person=None):
    """Whether another thread gets a place; one that is refused is refused at once."""
    with ThreadPoolExecutor(1) as another:
        return another.submit(_enters, bulkhead, upstream, person).result()


def _enters(bulkhead, upstream, person):
    began = time.monotonic()
    try:
        with bulkhead.place(upstream, person):
            return True
    except Busy as busy:
        assert str(busy) == f"too many requests wait for {upstream} already"
        assert busy.retry_after > 0
        assert time.monotonic() - began < SLOW_SECONDS / 2
        return False


def test_one_upstream_has_five_eighths_of_the_threads_and_all_have_three_quarters(holding):
    bulkhead, begin = holding
    begin(9, "https://one")
    assert enters(bulkhead, "https://one")
    begin(1, "https://one")
    assert not enters(bulkhead, "https://one")
    assert enters(bulkhead, "https://other")
    begin(2, "https://other")
    assert not enters(bulkhead, "https://other")
    assert not enters(bulkhead, "https://third")


def test_one_person_has_a_quarter_of_the_threads(holding):
    bulkhead, begin = holding
    begin(4, "https://one", "adele")
    assert not enters(bulkhead, "https://one", "adele")
    assert enters(bulkhead, "https://one", "alex")
    assert enters(bulkhead, "https://one")


def test_a_place_inside_a_place_takes_no_second_one():
    bulkhead = Bulkhead(1)
    with bulkhead.place("https://one"), bulkhead.place("https://one"):
        pass
    assert enters(bulkhead, "https://one")


def test_a_place_for_another_upstream_is_a_place_of_its_own():
    bulkhead = Bulkhead(4)  # two places for one upstream
    with bulkhead.place("https://one"), bulkhead.place("https://two"), bulkhead.place("https://two"):
        assert enters(bulkhead, "https://two")
    bulkhead = Bulkhead(1)
    with bulkhead.place("https://one"), pytest.raises(Busy), bulkhead.place("https://two"):
        raise AssertionError("there is one place for all")


def test_a_place_is_free_again_after_a_failure():
    bulkhead = Bulkhead(1)
    with pytest.raises(ZeroDivisionError), bulkhead.place("https://one"):
        raise ZeroDivisionError
    assert enters(bulkhead, "https://one")


def test_a_crowd_that_is_served_quickly_waits_longer_than_a_slow_answer():
    bulkhead, answer = Bulkhead(2), SLOW_SECONDS / 3  # one place for an upstream

    def ask(_):
        with bulkhead.place("https://one"):
            time.sleep(answer)
            return True

    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        assert all(pool.map(ask, range(8)))
    assert time.monotonic() - began > 2 * SLOW_SECONDS


def test_nobody_waits_for_a_place_for_ever_however_quick_the_answers_are(monkeypatch):
    monkeypatch.setattr(bulkhead_module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(bulkhead_module, "SLOW_SECONDS", 60)
    bulkhead, until = Bulkhead(2), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold, bulkhead, "https://one", None, until)
        began = time.monotonic()
        with pytest.raises(Busy):
            while time.monotonic() - began < 5:  # until the other thread has the place
                with bulkhead.place("https://one"):
                    time.sleep(0.001)
        assert time.monotonic() - began < 5
        until.set()


def test_a_place_that_is_freed_goes_to_who_waits_for_it_at_once():
    bulkhead, until = Bulkhead(2), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(hold, bulkhead, "https://one", None, until)
        time.sleep(0.05)
        threading.Timer(0.05, until.set).start()
        began = time.monotonic()
        assert enters(bulkhead, "https://one")
        assert time.monotonic() - began < SLOW_SECONDS / 2


def test_one_slow_answer_turns_nobody_away_while_the_others_are_quick():
    bulkhead, slow, quick = Bulkhead(8), threading.Event(), threading.Event()  # five places for an upstream
    with ThreadPoolExecutor(5) as pool:
        pool.submit(hold, bulkhead, "https://one", None, slow)
        time.sleep(SLOW_SECONDS + 0.05)
        for _ in range(4):
            pool.submit(hold, bulkhead, "https://one", None, quick)
        time.sleep(0.05)
        threading.Timer(0.05, quick.set).start()
        assert enters(bulkhead, "https://one")
        slow.set()

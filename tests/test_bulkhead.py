"""While an upstream hangs, the rest of the app answers: gunicorn with its threads, and many requests at once."""

import ctypes
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from programs import free_port, gunicorn_command, posix, until
from visitor import Visitor, cookies_of

from flask_entra import bulkhead as bulkhead_module
from flask_entra.bulkhead import SLOW_SECONDS, Bulkhead, Busy
from flask_entra.signin.tries import TRIES_AT_MOST
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
    # Two more than there are places: a larger crowd keeps the processor so busy that the answers really are slow.
    people = [Visitor(small.url) for _ in range(12)]
    for person in people:
        person.sign_in()
    box.misbehave("me", Delay(SLOW_SECONDS / 6), times=None)
    crowd = Crowd(small.url + "/call_graph", 1, [cookies_of(person) for person in people])
    assert {answer.status_code for answer in crowd.join()} == {200}


@posix
@pytest.mark.parametrize(("threads", "calls"), [(16, 70), (64, 200)])
def test_a_person_who_asks_too_much_holds_up_nobody_while_graph_is_quick(serve, box, threads, calls):
    port = free_port()
    app = serve(command=gunicorn_command(port, "--workers", "1"), port=port, THREADS=str(threads))
    person, other = Visitor(app.url), Visitor(app.url)
    person.sign_in()
    other.sign_in("alex")
    box.misbehave("me", Delay(0.25), times=None)
    before = len(box.seen("me"))
    crowd = Crowd(app.url + "/call_graph", calls, [cookies_of(person)])
    until(lambda: len(box.seen("me")) > before)
    others_are_served(app.url)
    assert seconds_of_a_call(other) < 1
    answers = crowd.join()
    assert len(refused(answers)) > calls / 4  # on a busy machine they come one after the other
    told = [line for line in app.log().splitlines() if "too many requests wait for" in line]
    assert 1 <= len(told) <= 3  # one for many, in ten seconds
    served = sum(answer.status_code == 200 for answer in answers)
    assert threads // 4 <= served  # and they get what is theirs


@posix
def test_a_stranger_with_one_sign_in_and_made_up_codes_holds_up_nobody_and_has_few_tries(small, box):
    stranger, other = Visitor(small.url), Visitor(small.url)
    state = dict(parse_qsl(urlsplit(stranger.get("/login", follow=False).headers["Location"]).query))["state"]
    begun = {cookie.name: cookie.value for cookie in stranger.cookies if cookie.name.startswith(("sign-in-", "begun-"))}
    other_answer = other.answer("alex")
    box.misbehave("token", Delay(0.25), times=None)
    asked = len(box.seen("token"))
    crowd = Crowd(f"{small.url}/getAToken?code=made-up&state={state}", 70, [begun])
    until(lambda: len(box.seen("token")) > asked)
    others_are_served(small.url)
    began = time.monotonic()
    assert other.get(other_answer).status_code == 200
    assert time.monotonic() - began < 1
    assert {answer.status_code for answer in crowd.join()} <= {400, 503}
    asked_by_the_stranger = [seen for seen in box.seen("token")[asked:] if seen.form.get("code") == "made-up"]
    assert len(asked_by_the_stranger) <= TRIES_AT_MOST
    again = requests.get(f"{small.url}/getAToken?code=made-up&state={state}", cookies=begun, timeout=9)
    assert "Sign in again" in again.text


@posix
def test_strangers_with_many_sign_ins_and_made_up_codes_hold_up_nobody(small, box):
    links, begun = [], []
    for _ in range(40):
        stranger = Visitor(small.url)
        query = dict(parse_qsl(urlsplit(stranger.get("/login", follow=False).headers["Location"]).query))
        links.append(f"{small.url}/getAToken?code=made-up&state={query['state']}")
        names = ("sign-in-", "begun-")
        begun.append({cookie.name: cookie.value for cookie in stranger.cookies if cookie.name.startswith(names)})
    box.misbehave("token", Delay(0.25), times=None)
    asked = len(box.seen("token"))
    crowds = [Crowd(link, 2, [cookies]) for link, cookies in zip(links, begun, strict=True)]
    until(lambda: len(box.seen("token")) > asked)
    others_are_served(small.url)
    for crowd in crowds:
        assert {answer.status_code for answer in crowd.join()} <= {400, 503}


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


def wait(bulkhead, pool, upstream, person=None, **kwargs):
    """Let another thread wait for a place; what becomes of it."""

    def enter():
        began = time.monotonic()
        with bulkhead.place(upstream, person, **kwargs):
            return time.monotonic() - began

    waiting = pool.submit(enter)
    time.sleep(0.05)
    return waiting


def test_a_free_place_goes_to_one_who_may_have_it_and_not_to_who_waits_for_their_share():
    bulkhead = Bulkhead(4)  # two places for an upstream, one of them for one person
    adeles, alexs = threading.Event(), threading.Event()
    with ThreadPoolExecutor(4) as pool:
        pool.submit(hold, bulkhead, "https://one", "adele", adeles)
        pool.submit(hold, bulkhead, "https://one", "alex", alexs)
        time.sleep(0.05)
        held_back = wait(bulkhead, pool, "https://one", "adele")  # waits longest, and for a place of her own
        next_in_line = wait(bulkhead, pool, "https://one", "megan")
        began = time.monotonic()
        alexs.set()
        next_in_line.result()
        assert time.monotonic() - began < 0.05
        assert not held_back.done()
        adeles.set()
        assert held_back.result() < 0.3


def test_one_person_has_few_waiters_and_strangers_have_few_in_all(monkeypatch):
    monkeypatch.setattr(bulkhead_module, "SLOW_SECONDS", 5)
    monkeypatch.setattr(bulkhead_module, "PATIENCE_SECONDS", 5)
    bulkhead, until = Bulkhead(16), threading.Event()
    with ThreadPoolExecutor(32) as pool:
        for number in range(10):
            pool.submit(hold, bulkhead, "https://one", str(number), until)
        time.sleep(0.1)
        waiting = [wait(bulkhead, pool, "https://one", "adele") for _ in range(2)]
        waiting += [wait(bulkhead, pool, "https://one", f"sign-in {number}", stranger=True) for number in range(2)]
        for person, stranger in (("adele", False), ("sign-in 9", True)):
            with pytest.raises(Busy), bulkhead.place("https://one", person, stranger=stranger):
                raise AssertionError("there is a place")
        waiting.append(wait(bulkhead, pool, "https://one", "alex"))
        assert not any(each.done() for each in waiting)
        until.set()
        assert all(each.result() < 5 for each in waiting)


def test_a_thread_that_is_cancelled_while_it_waits_leaves_its_place_to_others():
    class Cancelled(BaseException):
        pass

    bulkhead, until = Bulkhead(2), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold, bulkhead, "https://one", None, until)
        time.sleep(0.05)
        ended = []

        def enter():
            try:
                with bulkhead.place("https://one"):
                    pass
            except BaseException as error:
                ended.append(type(error))

        waiting = threading.Thread(target=enter)
        waiting.start()
        time.sleep(0.05)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(waiting.ident), ctypes.py_object(Cancelled))
        waiting.join(5)
        assert ended
        until.set()
    assert all(enters(bulkhead, "https://one") for _ in range(3))

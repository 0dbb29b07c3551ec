"""Ratios that a change must not make much worse, of this process's own computing time: load disturbs them little.

The bounds are generous: what the app really reaches is in docs/bench.md.
"""

import time
import timeit

from conftest import ROOT
from flask import Flask, render_template
from jinja2 import DictLoader
from visitor import cookie_name
from werkzeug.test import create_environ

from flask_entra.testing import sign_in

USER = {"name": "Adele Vance", "preferred_username": "adele@contoso.example"}
FIVE_LINES = ROOT / "bench" / "apps" / "templates" / "five_lines.html"


def bare():
    """Bare Flask with a page of five lines."""
    app = Flask("bare")
    app.jinja_loader = DictLoader({"five_lines.html": FIVE_LINES.read_text()})
    app.add_url_rule("/", view_func=lambda: render_template("five_lines.html", user=USER))
    return app


def requester(app, cookies):
    """Asks an app for its start page, as a server does."""
    environ = create_environ("/", base_url="http://localhost:5000", headers={"Cookie": cookies})

    def ask():
        statuses = []
        body = b"".join(app({**environ}, lambda status, *_: statuses.append(status)))
        assert statuses == ["200 OK"]
        return body

    return ask


def seconds(ask):
    """The quickest of many requests: what else runs on the machine only ever adds to a time."""
    ask()  # compiles the template
    return min(timeit.repeat(ask, timer=time.process_time, number=1, repeat=500))


def ratio(ask, other):
    """How many times the other's time the first one takes, the least of three measurements."""
    return min(seconds(ask) / seconds(other) for _ in range(3))


def test_a_signed_in_page_takes_no_more_than_six_times_a_bare_page_of_five_lines(visit):
    browser = visit()
    sign_in(browser.client)
    cookie = browser.client.get_cookie(cookie_name(browser.app))
    home = requester(browser.app, f"{cookie.key}={cookie.value}")
    assert b"Sign out" in home()
    assert ratio(home, requester(bare(), "")) < 6


def test_an_anonymous_page_takes_no_more_than_five_times_a_bare_page_of_five_lines(visit):
    home = requester(visit().app, "")
    assert b"Sign out" not in home()
    assert ratio(home, requester(bare(), "")) < 5

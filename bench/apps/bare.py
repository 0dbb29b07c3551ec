"""Bare Flask: the same page, and nothing else."""

from __future__ import annotations

import json
import os

from flask import render_template

from bench.apps.page import Face, make_app

USER = json.loads(os.environ["BENCH_USER"])
app = make_app(__name__)


@app.get("/")
def home():
    return render_template("home.html", entra=Face())


@app.get("/five_lines")
def five_lines():
    return render_template("five_lines.html", user=USER)


@app.get("/signed-in")
def signed_in():
    return render_template("home.html", entra=Face(USER))

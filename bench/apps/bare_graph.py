"""Bare Flask around one HTTPS call, on a pooled connection: requests' own advice, and nothing else."""

from __future__ import annotations

import os

import requests
from flask import render_template

from bench.apps.bare import USER, app
from bench.apps.page import Face, show

ENDPOINT, TOKEN = os.environ["ENDPOINT"], os.environ["BENCH_TOKEN"]

http = requests.Session()
http.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=64))  # one for every thread


@app.get("/call_graph")
def call_graph():
    profile = http.get(ENDPOINT, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30).json()
    return render_template("profile.html", entra=Face(USER), **show(profile, ENDPOINT, app.config["SCOPE"]))

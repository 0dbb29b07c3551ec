"""What the doctor says about the app around the settings."""

import pytest
from flask import Flask

from flask_entra import Auth
from flask_entra.config import KEY
from flask_entra.doctor.own_app import check_app

LAYOUT = "{% block title %}{% endblock %}{% block content %}{% endblock %}"


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "layout.html").write_text(LAYOUT)
    (tmp_path / "section.html").write_text('{% extends "layout.html" %}{% block aside %}{% endblock %}')
    (tmp_path / "chosen.html").write_text("{% extends g.theme %}{% block aside %}{% endblock %}")
    (tmp_path / "broken.html").write_text("{% block %}")
    return tmp_path


def found(folder=None, pages=(), later=(), **config):
    """What is said about an app with pages that it had before `init_app`, and some that came later."""
    app = Flask(__name__, template_folder=folder)
    app.config.from_mapping(config)
    for path in pages:
        app.add_url_rule(path, f"page_{path.strip('/')}", lambda: "")
    Auth(app)
    for path in later:
        app.add_url_rule(path, f"page_{path.strip('/')}", lambda: "")
    return {each.setting: (str(each.found), str(each.mend)) for each in check_app(app, app.extensions[KEY].config)}


def test_nothing_is_odd_about_a_usual_app(templates):
    assert not found(templates, ENTRA_LAYOUT="layout.html", pages=["/orders", "/<path:anything>"], OWN=1)


def test_a_key_that_nothing_reads_is_told():
    said = found(ENTRA_REDIRECT_URL="https://app.example/getAToken", ENTRA_SECRET_KEY="x", ENTRA_COLOUR="red")
    assert said["ENTRA_REDIRECT_URL"][1] == "Is ENTRA_REDIRECT_URI meant?"
    assert said["ENTRA_SECRET_KEY"][1] == "Is SECRET_KEY meant?"
    assert said["ENTRA_COLOUR"][1] == "Remove it."
    assert len(said) == 3


def test_a_page_of_the_apps_that_was_there_first_is_told():
    said = found(pages=["/login", "/logout", "/readyz"])
    assert said["ENTRA_LOGIN_PATH"][0] == "gives way: /login shows the app's page page_login"
    assert said["ENTRA_LOGOUT_PATH"][0] == "gives way: /logout shows the app's page page_logout"
    assert said["ENTRA_HEALTH"][0] == "gives way: /readyz shows the app's page page_readyz"
    assert len(said) == 3


def test_a_page_of_the_apps_that_came_later_is_told():
    said = found(later=["/login", "/healthz"])
    assert said["ENTRA_LOGIN_PATH"][0] == "hides the app's page page_login, which is at /login too"
    assert said["ENTRA_HEALTH"][0] == "hides the app's page page_healthz, which is at /healthz too"


def test_pages_elsewhere_are_not_told():
    config = {"ENTRA_URL_PREFIX": "/entra", "ENTRA_HEALTH": False}
    assert not found(pages=["/login", "/logout"], later=["/healthz"], **config)


@pytest.mark.parametrize("layout", ["section.html", "chosen.html"])
def test_a_block_may_be_inherited_by_the_layout(templates, layout):
    assert not found(templates, ENTRA_LAYOUT=layout)


def test_a_layout_that_cannot_be_used_is_told(templates):
    assert found(templates, ENTRA_LAYOUT="nowhere.html") == {
        "ENTRA_LAYOUT": (
            "cannot be shown: TemplateNotFound: nowhere.html",
            "Name a template of the app, or leave it out.",
        )
    }
    assert "TemplateSyntaxError" in found(templates, ENTRA_LAYOUT="broken.html")["ENTRA_LAYOUT"][0]
    said = found(templates, ENTRA_LAYOUT="section.html", ENTRA_LAYOUT_BLOCK="main", ENTRA_LAYOUT_TITLE_BLOCK="head")
    assert said == {
        "ENTRA_LAYOUT_BLOCK": (
            "is main, and section.html has no such block",
            "Name one of its blocks: aside, content, title.",
        ),
        "ENTRA_LAYOUT_TITLE_BLOCK": (
            "is head, and section.html has no such block",
            "Name one of its blocks: aside, content, title.",
        ),
    }

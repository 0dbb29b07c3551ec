"""Templates whose texts are translated when they are compiled, in milliseconds: nobody may notice the difference."""

import flask
import pytest
from jinja2 import DictLoader

from flask_entra.pages import languages

EVERY_WAY = """{{ _('Home') }}|{{ _('Hello, <span dir="auto">%(name)s</span>', name=name) }}
|{{ _('100 %% of %(name)s', name=name) }}|{{ _('100 %%') }}
|{{ gettext('Home') }}|{{ language() }}|{% if name %}{{ _('Sign out') }}{% endif %}|{{ _(text) }}"""


@pytest.fixture
def show(visit):
    """A template of any name, shown to a person of any name in any language."""
    app = visit().client.application
    shown = {}

    @app.get("/shown")
    def view():
        return flask.render_template(**shown, text="Home")

    def show(template, name, code, source=EVERY_WAY):
        app.jinja_env.loader = DictLoader({template: source})
        app.jinja_env.__dict__["_overlays"] = {}
        shown.update(template_name_or_list=template, name=name)
        return app.test_client().get("/shown", headers={"Accept-Language": code}).text

    return show


@pytest.mark.parametrize(
    ("code", "home", "hello", "out"),
    [("en", "Home", "Hello", "Sign out"), ("fr", "Accueil", "Bonjour", "Se déconnecter")],
)
def test_texts_are_in_the_language_and_values_are_escaped(show, code, home, hello, out):
    assert show("page.html", "<Ann & 7 %>", code).replace("\n", "").split("|") == [
        home,
        f'{hello}, <span dir="auto">&lt;Ann &amp; 7 %&gt;</span>',
        "100 % of &lt;Ann &amp; 7 %&gt;",
        "100 %",
        home,
        code,
        out,
        home,
    ]


def test_a_template_that_is_no_page_escapes_nothing(show):
    mail = show("mail.txt", "<Ann & Bob>", "en").replace("\n", "")
    assert 'Hello, <span dir="auto"><Ann & Bob></span>|100 % of <Ann & Bob>' in mail


def test_a_value_that_is_markup_already_stays_as_it_is(show):
    source = "{{ _('Hello, <span dir=\"auto\">%(name)s</span>', name=name|safe) }}"
    assert show("page.html", "<b>Ann</b>", "en", source) == 'Hello, <span dir="auto"><b>Ann</b></span>'


def test_an_argument_may_be_named_as_in_any_other_call(show):
    source = "{{ asset(name='icon.svg') == asset('icon.svg') }} {{ integrity(name='page.js') == integrity('page.js') }}"
    assert show("page.html", "", "en", source) == "True True"


def test_every_language_has_its_own_compiled_template(visit):
    app = visit().client.application
    client = app.test_client()
    for code in ("fr", *languages.LANGUAGES):
        assert f'<html lang="{code}">' in client.get("/", headers={"Accept-Language": code}).text

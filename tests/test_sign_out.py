"""Sign-out: by the page's own form, by typing the address, and never by another site."""

from urllib.parse import urlsplit

import pytest
from visitor import REDIRECTS, Page, Visitor, cookie_name

OURS = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
TYPED = OURS | {"Sec-Fetch-Site": "none"}
OTHER = OURS | {"Sec-Fetch-Site": "cross-site"}
NEIGHBOUR = OURS | {"Sec-Fetch-Site": "same-site"}


def ask(person, method, headers):
    return person.request(method, f"{person.url}/logout", headers=headers, allow_redirects=False, timeout=9)


def here(person, headers):
    """Headers in which THIS stands for the address of the app."""
    other = {"THIS": person.url} | {
        scheme.upper(): person.url.replace("http", scheme, 1) for scheme in ("https", "ftp")
    }
    return {name: other.get(value, value.replace("THIS", person.url)) for name, value in headers.items()}


@pytest.mark.parametrize("headers", [OURS, TYPED, {}, {"Origin": "THIS"}, {"Referer": "THIS/call_graph"}])
def test_the_form_signs_out_here_and_its_page_leads_on_to_the_tenant_and_home(person, box, headers):
    person.sign_in()
    page = ask(person, "POST", here(person, headers))
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    goal = page.headers["Refresh"].removeprefix("0; url=")
    assert goal.startswith(box.front_url)
    assert f'href="{goal.replace("&", "&amp;")}"' in page.text
    home = person.get(goal)
    assert home.url == person.url + "/"
    assert not person.signed_in
    assert len(box.seen("logout")) == 1


@pytest.mark.parametrize("headers", [OURS, TYPED, {}, {"Referer": "THIS/call_graph"}])
def test_a_link_of_this_site_and_a_typed_address_sign_out(person, box, headers):
    person.sign_in()
    answer = ask(person, "GET", here(person, headers))
    assert answer.status_code in REDIRECTS
    assert answer.headers["Location"].startswith(box.front_url)
    assert not person.signed_in


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        OTHER,
        NEIGHBOUR,
        OTHER | {"Origin": "THIS", "Referer": "THIS/"},
        OURS | {"Sec-Fetch-Site": "odd"},
        OURS | {"Sec-Fetch-Site": ""},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "HTTPS"},  # this host and port by another scheme
        {"Origin": "FTP"},
        {"Referer": "https://attacker.example/"},
        {"Referer": "THIS.attacker.example/"},
        {"Referer": "http://[/"},
        {"Origin": "https://attacker.example", "Referer": "THIS/"},
    ],
    ids=str,
)
def test_another_site_leads_to_a_question_with_one_button(person, method, headers):
    person.sign_in()
    page = ask(person, method, here(person, headers))
    assert page.status_code == 200
    assert "Do you want to sign out?" in page.text
    main = page.text.partition("<main")[2]  # the head of each page has a menu
    assert [form[0] for form in Page(main).forms] == ["/logout"]
    assert main.count("<button") == 1
    assert "Refresh" not in page.headers
    assert person.signed_in
    person.sign_out()
    assert not person.signed_in


def test_the_question_in_french_and_its_language_link_does_not_sign_out(person):
    person.sign_in()
    page = ask(person, "GET", OTHER | {"Accept-Language": "fr"})
    assert "Voulez-vous vous déconnecter" in page.text
    assert 'href="/?lang=en"' in page.text


@pytest.mark.parametrize(("language", "words"), [("en", "You have signed out."), ("fr", "Vous êtes déconnecté")])
def test_on_coming_home_it_is_said_once(person, language, words):
    person.headers["Accept-Language"] = language
    person.sign_in()
    home = person.sign_out()
    assert 'role="status"' in home.text
    assert words in home.text
    assert words not in person.get("/").text
    assert not [cookie for cookie in person.cookies if "signed-out" in cookie.name]


def test_it_is_not_said_to_somebody_who_is_signed_in_again(person):
    person.sign_in()
    ask(person, "POST", OURS)
    person.sign_in("alex")
    assert "You have signed out" not in person.get("/").text
    assert [cookie.value != "1" for cookie in person.cookies if "signed-out" in cookie.name] == [True]


def test_it_is_not_said_to_somebody_who_was_not_signed_in(person):
    assert "You have signed out" not in person.get("/logout").text


def test_nothing_in_the_address_makes_a_page_say_it(person):
    for query in ("?signed-out=1", "?signed_out=1", "?note=signed-out"):
        assert "You have signed out" not in person.get("/" + query).text


def test_the_note_is_a_host_cookie_on_https(serve):
    app = serve(REDIRECT_URI="https://app.example.com/getAToken", TRUSTED_PROXY_COUNT="1")
    headers = {"Host": "app.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com"}
    person = Visitor(app.url)
    person.cookies.set(cookie_name(app, "signed-out"), "1")
    page = person.get("/", headers=headers)
    assert "You have signed out" in page.text
    assert f"{cookie_name(app, 'signed-out')}=;" in page.headers["Set-Cookie"]


def test_the_address_at_the_tenant_is_the_same_for_the_form_and_for_the_link(person):
    person.sign_in()
    by_form = ask(person, "POST", OURS).headers["Refresh"].removeprefix("0; url=")
    person.sign_in()
    by_link = ask(person, "GET", TYPED).headers["Location"]
    assert urlsplit(by_form) == urlsplit(by_link)

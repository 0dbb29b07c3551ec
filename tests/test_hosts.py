"""Several hosts: apps beside each other, another name of this machine, slots and second domains, and hosts that are not ours."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from visitor import REDIRECTS, Visitor

PROXY = {"X-Forwarded-Proto": "https"}


def asked(answer):
    """The parameters of the authorization request that an answer leads to."""
    return {name: value for name, (value,) in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


# --- Apps beside each other ---------------------------------------------------------------------------------------------


def test_apps_at_two_ports_of_a_host_leave_each_others_people_signed_in(serve):
    first, second = serve(), serve()
    person = Visitor(first.url)
    person.sign_in()
    beside = Visitor(second.url)
    beside.cookies = person.cookies  # of one browser, to which cookies have no port
    for _ in range(5):  # more often than a lost session would be found out by
        beside.sign_in("alex", "/login?prompt=select_account")
        assert "Alex" in beside.get("/").text
        assert "Adèle" in person.get("/").text
    assert "Retail Manager" in person.get("/call_graph").text
    person.sign_out()
    assert "Alex" in beside.get("/").text


def test_apps_at_two_ports_in_a_browser(browser, serve):
    first, second = serve(), serve()
    context = browser.new_context()
    page = context.new_page()
    for app, person in ((first, "adele"), (second, "alex")):
        page.goto(f"{app.url}/login?prompt=select_account")
        page.locator(f"button[value={person}]").click()
        if page.locator("button[value=accept]").count():
            page.locator("button[value=accept]").click()
        page.wait_for_url(f"{app.url}/")
    page.goto(first.url)
    assert "Adèle" in page.content()
    page.goto(second.url)
    assert "Alex" in page.content()
    context.close()


# --- Another name of this machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/call_graph?x=1", "/account", "/login"])
def test_a_page_at_another_name_of_this_machine_is_signed_in_to_at_the_registered_one(app, box, path):
    other = app.url.replace("localhost", "127.0.0.1")
    person = Visitor(other)
    answer = person.get(path, follow=False)
    assert answer.status_code in REDIRECTS
    assert answer.headers["Location"].startswith(f"{app.url}/login?")
    person.url = app.url
    page = person.go_on(person.get(answer.headers["Location"]))
    assert page.url == app.url + (path if path != "/login" else "/")
    assert page.status_code == 200


def test_a_person_who_is_signed_in_at_the_registered_name_just_lands(app, box):
    person = Visitor(app.url)
    person.sign_in()
    asked = len(box.seen("authorize"))
    page = person.get(app.url.replace("localhost", "127.0.0.1") + "/call_graph?x=1")
    assert page.url == f"{app.url}/call_graph?x=1"
    assert "Retail Manager" in page.text
    assert len(box.seen("authorize")) == asked


def test_a_proxy_that_hides_the_host_makes_no_endless_round(serve, box):
    app = serve(REDIRECT_URI="https://app.example/getAToken")
    for path in ("/call_graph", "/login"):
        first = requests.get(app.url + path, allow_redirects=False, timeout=9)
        there = urlsplit(first.headers["Location"])
        assert there.hostname == "app.example"
        second = requests.get(f"{app.url}{there.path}?{there.query}", allow_redirects=False, timeout=9)
        assert second.headers["Location"].startswith(box.front_url)


def test_a_page_at_another_name_in_a_browser(browser, app, box):
    context = browser.new_context()
    page = context.new_page()
    page.goto(app.url.replace("localhost", "127.0.0.1") + "/call_graph")
    page.locator("button[value=adele]").click()
    if page.locator("button[value=accept]").count():
        page.locator("button[value=accept]").click()
    page.wait_for_url(f"{app.url}/call_graph")
    assert "Retail Manager" in page.content()
    context.close()


# --- Hosts that are not ours, and those that the operator allows ----------------------------------------------------------


@pytest.fixture
def slots(serve, box):
    """The app behind a proxy, with hosts beside that of its redirect URI."""
    app = serve(
        REDIRECT_URI="https://app.example.com/getAToken",
        ALLOWED_HOSTS="staging.example.com, .preview.example.com",
        TRUSTED_PROXY_COUNT="1",
    )
    for host in ("app.example.com", "staging.example.com", "pr-7.preview.example.com"):
        box.redirect_uris.add(f"https://{host}/getAToken")
    return app


def through(app, path, host, header="X-Forwarded-Host", **kwargs):
    return requests.get(app.url + path, headers={**PROXY, header: host}, allow_redirects=False, timeout=9, **kwargs)


@pytest.mark.parametrize("host", ["app.example.com", "staging.example.com", "pr-7.preview.example.com"])
def test_each_allowed_host_has_its_own_redirect_uri_and_way_home(slots, box, host):
    begun = through(slots, "/login", host)
    assert asked(begun)["redirect_uri"] == f"https://{host}/getAToken"
    person = Visitor(slots.url)
    person.verify = False
    answer = person.get(begun.headers["Location"], follow=False)
    while not answer.headers.get("Location", "").startswith("https://"):
        if answer.is_redirect:
            answer = person.get(requests.compat.urljoin(answer.url, answer.headers["Location"]), follow=False)
        else:
            value = "adele" if 'value="adele"' in answer.text else "accept"
            answer = person.press(answer, value, allow_redirects=False)
    back = urlsplit(answer.headers["Location"])
    assert (back.hostname, back.path) == (host, "/getAToken")
    cookies = dict(each.split(";")[0].split("=", 1) for each in begun.raw.headers.getlist("Set-Cookie"))
    done = through(slots, f"{back.path}?{back.query}", host, cookies=cookies)
    assert done.status_code in REDIRECTS, done.text
    session = dict(each.split(";")[0].split("=", 1) for each in done.raw.headers.getlist("Set-Cookie"))
    assert "Adèle" in through(slots, "/", host, cookies=session).text
    goal = through(slots, "/logout", host, cookies=session).headers["Location"]
    assert parse_qs(urlsplit(goal).query)["post_logout_redirect_uri"] == [f"https://{host}/"]


@pytest.mark.parametrize(
    "host", ["evil.example", "example.com", "xstaging.example.com", "preview.example.com.evil.example"]
)
def test_a_host_that_is_not_allowed_has_a_page_that_says_so_and_a_line_in_the_log(slots, host):
    page = through(slots, "/", host)
    assert page.status_code == 400
    assert "This address is not one of this app&#39;s." in page.text
    assert host not in page.text
    assert f"400 SecurityError: the host {host} (X-Forwarded-Host) is none that the app answers to" in slots.log()


def test_the_log_names_the_header_that_the_host_was_read_from(app):
    page = requests.get(app.url, headers={"Host": "evil.example\\x1b[31m"}, timeout=9)
    assert page.status_code == 400
    assert re.search(r"the host evil\.example\S* \(Host\) is none", app.log())


def test_in_debug_mode_the_page_names_the_host_and_the_setting(serve):
    app = serve(FLASK_DEBUG="1", FLASK_RUN_RELOAD="0")
    page = requests.get(app.url, headers={"Host": "my.test"}, timeout=9)
    assert "The host my.test came in the header Host. Add it to ALLOWED_HOSTS" in page.text


@pytest.mark.parametrize(
    ("count", "headers", "host"),
    [
        ("2", {"X-Forwarded-Host": "app.example.com", "X-Forwarded-Proto": "https"}, "app.example.com"),
        (
            "2",
            {"X-Forwarded-Host": "app.example.com, app.internal", "X-Forwarded-Proto": "https, http"},
            "app.example.com",
        ),
        ("3", {"X-Forwarded-Host": "app.example.com, b", "X-Forwarded-Proto": "https"}, "app.example.com"),
        ("1", {"X-Forwarded-Host": "evil.example, app.example.com", "X-Forwarded-Proto": "https"}, "app.example.com"),
        (
            "2",
            {"X-Forwarded-Host": "evil.example, app.example.com, b", "X-Forwarded-Proto": "https"},
            "app.example.com",
        ),
    ],
)
def test_one_of_several_proxies_may_name_the_host(serve, count, headers, host):
    app = serve(REDIRECT_URI=f"https://{host}/getAToken", TRUSTED_PROXY_COUNT=count)
    answer = requests.get(app.url + "/login", headers=headers, allow_redirects=False, timeout=9)
    assert answer.status_code in REDIRECTS, answer.text
    assert asked(answer)["redirect_uri"] == f"https://{host}/getAToken"


# --- The redirect URI by itself -------------------------------------------------------------------------------------------


def test_an_administrator_who_has_approved_the_app_is_told_so(app):
    person = Visitor(app.url)
    tenant = "11111111-2222-3333-4444-555555555555"
    page = person.get(f"/getAToken?admin_consent=True&tenant={tenant}")
    assert page.status_code == 200
    assert "This app has been approved" in page.text
    assert 'href="/login">Sign in' in page.text
    assert not person.signed_in
    person.sign_in()
    assert 'href="/">Go to the home page' in person.get(f"/getAToken?admin_consent=True&tenant={tenant}&state=x").text


@pytest.mark.parametrize("state", ["", "&state=of-another-browser"])
@pytest.mark.parametrize(
    ("error", "description", "words"),
    [
        ("access_denied", "AADSTS65004: User declined to consent.", "You declined to give this app the permissions"),
        ("interaction_required", "AADSTS50105: not assigned.", "has not been assigned to this app"),
        ("access_denied", "", "was cancelled or refused"),
        ("access_denied&admin_consent=True", "AADSTS65004: declined", "You declined"),
    ],
)
def test_an_error_without_a_sign_in_of_this_browser_tells_what_happened(app, state, error, description, words):
    page = Visitor(app.url).get(f"/getAToken?error={error}&error_description={description}{state}")
    assert page.status_code >= 400
    assert words in page.text
    assert "allow cookies" not in page.text


def test_the_second_of_two_identical_answers_leads_to_the_page(app, box):
    person = Visitor(app.url)
    answer = person.answer(path="/call_graph")
    before = {cookie.name: cookie.value for cookie in person.cookies}
    assert person.get(answer).url == f"{app.url}/call_graph"
    second = requests.get(answer, cookies=before, timeout=9)  # sent at the same time, so with the cookies of before
    assert second.status_code == 400
    assert "finished already, by a double click or in another tab" in second.text
    assert 'href="/call_graph">Open the page' in second.text

"""The HTTP client by itself, against a server of raw bytes, in milliseconds: what is bounded, repeated, refused, and read."""

import contextlib
import json
import socket
import ssl
import sys
import threading
import time
from email.utils import formatdate

import pytest
import requests
import trustme

from flask_entra import deadlines, http_client
from flask_entra.bulkhead import Busy
from flask_entra.http_client import BoundedSession, JsonObject, TooLarge, json_object, retry_after

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Raw:
    """A server that answers the requests of one connection after another with given bytes; None closes the connection.

    :param connections: for each connection, the answers to its requests. `seen` has the requests, as text.
    """

    def __init__(self, *connections):
        self.seen, self._listener = [], socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}/"
        self._thread = threading.Thread(target=self._serve, args=[connections], daemon=True)
        self._thread.start()

    def _serve(self, connections):
        for answers in connections:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the test is over
                return
            with connection:
                connection.settimeout(5)
                for answer in answers:
                    request = b""
                    while not request.endswith((b"\r\n\r\n", b"body")) and (more := connection.recv(65536)):
                        request += more
                    if not request:
                        break
                    self.seen.append(request.decode())
                    if answer is None:
                        break
                    connection.sendall(answer)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which ends a wait for the next connection
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def raw():
    servers = []

    def start(*connections):
        servers.append(Raw(*connections))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def client():
    with BoundedSession(threads=8) as session:
        yield session


def answer(body, *headers):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(body), b"", body])


def test_an_answer_comes_whole_and_its_connection_is_used_again(raw, client):
    server = raw([answer(b"one"), answer(b"two")])
    assert [client.fetch("GET", server.url).content for _ in range(2)] == [b"one", b"two"]


def test_a_get_on_a_connection_that_has_died_is_sent_once_more(raw, client):
    server = raw([OK, None], [answer(b"again")])
    client.fetch("GET", server.url)
    assert client.fetch("GET", server.url).content == b"again"
    assert len(server.seen) == 3


def test_a_get_that_breaks_twice_has_failed(raw, client):
    server = raw([None], [None], [OK])
    with pytest.raises(requests.ConnectionError):
        client.fetch("GET", server.url)
    assert len(server.seen) == 2


@pytest.mark.parametrize(("repeatable", "sent"), [(False, 1), (True, 2)])
def test_a_post_is_sent_once_more_only_if_it_changes_nothing(raw, client, repeatable, sent):
    server = raw([None], [OK])
    try:
        client.fetch("POST", server.url, data="body", repeatable=repeatable)
        assert repeatable
    except requests.ConnectionError:
        assert not repeatable
    assert len(server.seen) == sent


def test_a_connection_that_breaks_late_is_not_tried_again(raw, client, monkeypatch):
    monkeypatch.setattr(http_client, "RETRY_WITHIN_SECONDS", 0)
    server = raw([None], [OK])
    with pytest.raises(requests.ConnectionError):
        client.fetch("GET", server.url)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["http://nowhere.invalid/", "http://127.0.0.1:1/"])
def test_a_host_that_is_not_there_is_a_connection_error(client, url):
    with pytest.raises(requests.ConnectionError):
        client.fetch("GET", url)


def test_a_host_that_refuses_is_asked_once(client, monkeypatch):
    asked, resolve = [], socket.getaddrinfo

    def counted(*args, **kwargs):
        asked.append(args)
        return resolve(*args, **kwargs)

    monkeypatch.setattr("flask_entra.http_adapter.socket.getaddrinfo", counted)
    with pytest.raises(requests.ConnectionError):
        client.fetch("GET", "http://127.0.0.1:1/")
    assert len(asked) == 1


def test_a_ca_bundle_that_is_not_there_is_a_tls_error(client):
    client.verify = "/nowhere/ca.pem"
    with pytest.raises(requests.exceptions.SSLError, match="/nowhere/ca.pem"):
        client.fetch("GET", "https://127.0.0.1:1/")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_bundle_of_the_environment_is_taken(monkeypatch, name):
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    with BoundedSession(threads=1) as session:
        assert session.verify is True
    monkeypatch.setenv(name, "/some/ca.pem")
    with BoundedSession(threads=1) as session:
        assert session.verify == "/some/ca.pem"


def test_a_header_that_is_not_valid_is_a_request_error(client):
    with pytest.raises(requests.exceptions.InvalidHeader):
        client.fetch("GET", "http://127.0.0.1:1/", headers={"Authorization": "Bearer a\nb"})


def test_a_body_up_to_the_limit_is_taken_and_a_larger_one_is_not(raw, client):
    server = raw([answer(b"12345"), answer(b"123456")])
    assert client.fetch("GET", server.url, limit=5).content == b"12345"
    with pytest.raises(TooLarge, match="more than 5 bytes") as error:
        client.fetch("GET", server.url, limit=5)
    assert error.value.status == 200


def test_a_megabyte_is_taken_without_being_asked_for(raw, client):
    server = raw([answer(b"x" * 2**20), answer(b"x" * (2**20 + 1))])
    assert len(client.fetch("GET", server.url).content) == 2**20
    with pytest.raises(TooLarge):
        client.fetch("GET", server.url)


def test_a_redirect_is_an_answer_and_is_followed_nowhere(raw, client):
    server = raw([b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"])
    assert client.fetch("GET", server.url).status_code == 302
    assert len(server.seen) == 1


def test_a_cookie_of_an_answer_goes_to_nobody_else(raw, client):
    server = raw([answer(b"", b"Set-Cookie: person=adele"), OK])
    client.fetch("GET", server.url)
    client.fetch("GET", server.url)
    assert "adele" not in server.seen[1]


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Else"])
def test_an_interim_answer_is_not_the_answer(raw, client, status):
    early = b"HTTP/1.1 " + status + b"\r\nLink: </style.css>\r\n\r\n"
    server = raw([early + early + answer(b"one"), answer(b"two")])
    assert [client.fetch("GET", server.url).content for _ in range(2)] == [b"one", b"two"]


@pytest.mark.parametrize("status", [b"200 OK", b"204 None", b"304 Old", b"401 No", b"429 Later", b"500 Broken"])
def test_an_answer_to_another_request_is_refused_and_its_connection_used_no_more(raw, client, status):
    theirs = answer(b"", b"client-request-id: theirs").replace(b"200 OK", status)
    assert theirs.startswith(b"HTTP/1.1 " + status)
    server = raw([theirs], [theirs], [OK])
    with pytest.raises(requests.ConnectionError, match="to another request"):
        client.fetch("POST", server.url, data="body", headers={"client-request-id": "mine"})
    with pytest.raises(requests.ConnectionError, match="to another request"):
        client.fetch("POST", server.url, data="body", headers={"client-request-id": "mine"})
    nothing_of_an_id = client.fetch("GET", server.url, headers={"client-request-id": "mine"})
    assert nothing_of_an_id.content == b"{}"


def test_the_connection_of_an_answer_to_another_request_is_closed_although_it_stays_open(raw, client):
    server = raw([answer(b"", b"client-request-id: theirs"), answer(b"left over")], [answer(b"mine")])
    with pytest.raises(requests.ConnectionError, match="to another request"):
        client.fetch("DELETE", server.url, headers={"client-request-id": "mine"})
    assert client.fetch("GET", server.url).content == b"mine"


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_is_none_is_a_request_error(raw, client, broken):
    server = raw([broken], [broken])
    with pytest.raises(requests.RequestException):
        client.fetch("GET", server.url)


@contextlib.contextmanager
def stalling(*parts, after):
    """A server that sends the parts of an answer, waits `after` seconds before the last one, and never ends it; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stall():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for part in parts[:-1]:
                    connection.sendall(part)
                time.sleep(after)
                connection.sendall(parts[-1])
                connection.recv(65536)  # until the client gives up

        thread = threading.Thread(target=stall, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(5)


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_an_answer_that_stalls_is_a_timeout_after_the_time_for_all_of_it(client, monkeypatch, sent):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    more = b"X-C: d\r\n"[: 1 if b"half" in sent else None] if sent else b"H"
    with stalling(sent, more, after=0.2) as url:
        began = time.monotonic()
        with pytest.raises(requests.Timeout):
            client.fetch("GET", url)
        assert 0.25 < time.monotonic() - began < 5


def test_what_an_answer_has_taken_so_far_counts_when_it_falls_silent(client, monkeypatch):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 1)
    with stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", after=0.7) as url:
        began = time.monotonic()
        with pytest.raises(requests.Timeout):
            client.fetch("GET", url)
        assert 0.9 < time.monotonic() - began < 1.5


@contextlib.contextmanager
def dripping(tls=None):
    """A server that answers one byte after another for three seconds, whoever asks; its host and port.

    :param tls: the context of its side; None serves without TLS.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            plain, _ = listener.accept()
            with contextlib.suppress(OSError), tls.wrap_socket(plain, server_side=True) if tls else plain as connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n")
                for _ in range(60):
                    time.sleep(0.05)
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"localhost:{listener.getsockname()[1]}"
        thread.join(5)


@pytest.mark.parametrize("way", ["directly", "by a proxy", "over TLS"])
def test_an_answer_that_drips_is_given_up_when_its_time_is_over(tmp_path, monkeypatch, way):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.3)
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").configure_cert(tls)
    with dripping(tls if way == "over TLS" else None) as server:
        if way == "by a proxy":
            monkeypatch.setenv("http_proxy", f"http://{server}")
        url = {
            "directly": f"http://{server}",
            "by a proxy": "http://upstream.invalid",
            "over TLS": f"https://{server}",
        }[way]
        with BoundedSession(threads=1) as session:
            session.verify = str(tmp_path / "ca.pem")
            began = time.monotonic()
            with pytest.raises(requests.Timeout):
                session.fetch("GET", url)
            assert time.monotonic() - began < 2


@pytest.mark.parametrize(("least", "comes"), [(1000, False), (2, True)])
def test_a_file_may_take_its_time_but_not_drip(monkeypatch, least, comes):
    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(deadlines, "LEAST_BYTES", least)
    with dripping() as server, BoundedSession(threads=1) as session:
        response = session.open("GET", f"http://{server}")
        with contextlib.nullcontext() if comes else pytest.raises(requests.Timeout), response:
            assert len(b"".join(http_client.chunks(response))) == 60


def test_what_is_sent_may_take_longer_than_a_handshake(monkeypatch):
    monkeypatch.setattr(deadlines, "HANDSHAKE_SECONDS", 0.2)
    size = 24 * 2**20
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)

        def take():
            connection, _ = listener.accept()
            with connection:
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                left = size - len(body)
                time.sleep(0.5)
                while left > 0:
                    left -= len(connection.recv(2**20))
                connection.sendall(OK)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        with BoundedSession(threads=1) as session:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert session.fetch("PUT", url, data=b"x" * size).content == b"{}"
        thread.join(5)


def test_a_header_that_cannot_be_read_tells_no_address_to_the_log(raw, client, caplog):
    server = raw([b"HTTP/1.1 200 OK\r\nbroken line\r\nX: y\r\n\r\n{}"])
    assert client.fetch("GET", f"{server.url}secret?secret").content == b"{}"
    assert "a header that cannot be read" in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example"])
def test_a_host_name_that_cannot_be_one_is_found_at_once(client, host):
    began = time.monotonic()
    with pytest.raises(requests.ConnectionError) as error:
        client.fetch("GET", f"http://{host}/")
    assert not isinstance(error.value, requests.Timeout)
    assert time.monotonic() - began < deadlines.CONNECT_SECONDS


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse, or accept, where Linux is silent")
def test_of_several_addresses_one_that_is_silent_leaves_the_others_their_time(raw, black_hole, monkeypatch):
    monkeypatch.setattr(deadlines, "CONNECT_SECONDS", 1.0)
    server = raw([OK])
    resolved(monkeypatch, [black_hole, server.address])
    began = time.monotonic()
    with BoundedSession(threads=1) as session:
        assert session.fetch("GET", server.url).content == b"{}"
    assert time.monotonic() - began < 0.9  # half of the time, and no more
    resolved(monkeypatch, [black_hole])
    with BoundedSession(threads=1) as session, pytest.raises(requests.ConnectTimeout, match=r"within 1\.0 seconds"):
        session.fetch("GET", server.url)


def test_a_handshake_that_stalls_is_given_up(monkeypatch):
    monkeypatch.setattr(deadlines, "HANDSHAKE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener, BoundedSession(threads=1) as session:
        began = time.monotonic()
        with pytest.raises(requests.RequestException):
            session.fetch("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/")
        assert time.monotonic() - began < 3


def test_a_place_is_held_for_an_answer_and_free_again_after_it(raw):
    with BoundedSession(threads=4) as session:  # two places for an upstream, one for a person
        server = raw([OK, OK])
        with session.waiting(server.url, "adele"):
            with pytest.raises(Busy):
                ask_on_another_thread(session, server.url, "adele")
            assert ask_on_another_thread(session, server.url, "alex").content == b"{}"
        assert ask_on_another_thread(session, server.url, "adele").content == b"{}"


def ask_on_another_thread(session, url, person):
    found = []

    def ask():
        try:
            found.append(session.fetch("GET", url, person=person))
        except Busy as busy:
            found.append(busy)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    if isinstance(found[0], Busy):
        raise found[0]
    return found[0]


def test_no_proxy_is_asked_for_a_host_that_needs_none(raw, monkeypatch):
    proxy = raw([answer(b"the proxy's")])
    server = raw([answer(b"its own")])
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    for no_proxy, expected in (("elsewhere.example", b"the proxy's"), ("127.0.0.1", b"its own")):
        monkeypatch.setenv("NO_PROXY", no_proxy)
        monkeypatch.setenv("no_proxy", no_proxy)
        with BoundedSession(threads=1) as session:
            assert session.fetch("GET", server.url).content == expected


# --- Where the network fails --------------------------------------------------------------------------------------------


@pytest.fixture
def black_hole():
    """The address of a listener that accepts nobody: what is sent there gets no answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill its queue
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()


def resolved(monkeypatch, addresses):
    """Let the resolver give these addresses."""

    def getaddrinfo(*args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr("flask_entra.http_adapter.socket.getaddrinfo", getaddrinfo)


@pytest.fixture
def patience(monkeypatch):
    """Seconds to connect, fewer than usual."""
    monkeypatch.setattr(deadlines, "CONNECT_SECONDS", 0.5)
    return 0.5


def seconds_to_give_up(url):
    began = time.monotonic()
    with BoundedSession(threads=4) as session, pytest.raises(requests.RequestException):
        session.fetch("GET", url)
    return time.monotonic() - began


def test_many_silent_addresses_take_no_longer_than_one(monkeypatch, black_hole, patience):
    resolved(monkeypatch, [black_hole] * 8)
    assert seconds_to_give_up("http://graph.example/") < 8 * patience - 1


def test_a_silent_resolver_takes_no_longer_than_that(monkeypatch, patience):
    until, before = threading.Event(), threading.enumerate()
    monkeypatch.setattr("flask_entra.http_adapter.socket.getaddrinfo", lambda *_, **__: until.wait(60))
    assert seconds_to_give_up("http://graph.example/") < 60
    assert all(each.daemon for each in threading.enumerate() if each not in before)  # a process that ends leaves it
    until.set()


def test_a_silent_address_leaves_time_for_the_next(monkeypatch, black_hole, app):
    monkeypatch.setattr(deadlines, "CONNECT_SECONDS", 2.0)  # half of it is for the first, also on a busy machine
    resolved(monkeypatch, [black_hole, ("127.0.0.1", app.port)])
    with BoundedSession(threads=4) as session:
        assert session.fetch("GET", f"http://localhost:{app.port}/healthz").status_code == 200


# --- What is read of an answer ------------------------------------------------------------------------------------------


def response(body=b"", status=200, **headers):
    made = requests.Response()
    made.status_code, made._content, made.url = status, body, "https://graph.example/v1.0/me?secret=1"
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def test_a_json_object_is_read_with_its_status():
    found = json_object(response(b'{"a": [1]}', 201))
    assert found == {"a": [1]}
    assert isinstance(found, JsonObject)
    assert (found.status, found.seconds) == (201, 0)


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"null", b"{", b"<html>", b"[" * 100_000, b'{"a": "\\ud800"}'])
def test_what_is_no_json_object_is_refused_with_what_there_is(body):
    with pytest.raises(ValueError, match="^https://graph.example/v1.0/me answered 200 with text/html$"):
        json_object(response(body, Content_Type="text/html"))
    with pytest.raises(ValueError, match="with no content type$"):
        json_object(response(body))


def test_a_lone_surrogate_can_be_replaced():
    assert json_object(response(b'{"a": "x\\ud800y", "b": "\xc3\xa9"}'), replace=True) == {"a": "x?y", "b": "é"}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", None),
        ("7", 7),
        ("0", 1),
        ("86400", 86400),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("-5", None),
        ("1.5", 2),
        ("2.128", 3),
        ("30,120", 120),
        ("120, 30", 120),
        ("1.5.2", None),
        ("1,", None),
        ("soon", None),
        ("٣", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_how_long_to_wait_is_at_least_a_second_and_at_most_a_day(said, seconds):
    assert retry_after(response(**{"Retry-After": said} if said else {})) == seconds


def test_how_long_to_wait_may_be_a_date():
    assert 55 <= retry_after(response(**{"Retry-After": formatdate(time.time() + 60, usegmt=True)})) <= 60


def test_the_answers_json_is_what_was_sent(raw, client):
    body = json.dumps({"displayName": "Adèle"}).encode()
    assert json_object(client.fetch("GET", raw([answer(body)]).url)) == {"displayName": "Adèle"}

"""Files that change while the app runs: the credential, the keys and the address of Redis, and what is half written."""

import contextlib
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from certificates import as_pem, make_certificate
from configs import config_of
from cryptography.hazmat.primitives.serialization import Encoding
from jwt import get_unverified_header
from programs import free_port, gunicorn_command, posix, until
from visitor import Visitor

from flask_entra import credential, watched_file
from flask_entra.doctor import check_settings
from flask_entra.sessions.redis import RedisStore
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.watched_file import WatchedFile, read_lines, read_text

SOUND = {
    "CLIENT_ID": "dd96df90-ffaf-4b01-a34d-b3a2abc47d16",
    "AUTHORITY": "https://login.microsoftonline.com/contoso.com",
}
KEY = "k7Q-long-enough-and-random-0123456789"


@pytest.fixture
def at_once(monkeypatch):
    """Files are looked at each time, and used however recently they have been changed."""
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "flask_entra.watched_file"]


def mounted(folder, content):
    """A secret as Kubernetes mounts it: the file is a link into a folder that another one takes the place of."""
    number = next(_numbers)
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}" / "secret").write_text(content)
    (folder / "..new").symlink_to(f"..{number}")
    (folder / "..new").replace(folder / "..data")
    if not (folder / "secret").is_symlink():
        (folder / "secret").symlink_to("..data/secret")
    return folder / "secret"


_numbers = itertools.count(1)


# --- A file -------------------------------------------------------------------------------------------------------------


@posix
def test_a_mounted_secret_that_is_swapped_is_seen(tmp_path, at_once, caplog):
    caplog.set_level("INFO")
    file = WatchedFile("CLIENT_SECRET_FILE", str(mounted(tmp_path, "first\n")), read_text)
    assert file.get() == "first"
    mounted(tmp_path, "other\r\n")
    assert file.get() == "other"
    assert lines(caplog) == ["CLIENT_SECRET_FILE: the file has changed, and is used from now on"]


def test_what_cannot_be_used_is_not_and_the_log_says_so_once(tmp_path, at_once, caplog):
    path = tmp_path / "secret"
    path.write_text("first")
    file = WatchedFile("CLIENT_SECRET_FILE", str(path), read_text)
    for content in ("", " \n", "two\nlines", b"\xff\xfe\x00", None):
        caplog.clear()
        path.unlink()
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert [file.get() for _ in range(3)] == ["first"] * 3
        (line,) = lines(caplog)
        assert line.startswith("CLIENT_SECRET_FILE: the file cannot be used (")
        assert line.endswith("). Its former content stays in use")
        assert "two" not in line
    path.write_text("second")
    assert file.get() == "second"


def test_a_file_that_is_being_written_is_waited_for_unless_there_is_a_sign_that_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0)
    path = tmp_path / "secret"
    path.write_text("first")
    file = WatchedFile("CLIENT_SECRET_FILE", str(path), read_text)
    path.write_text("seco")
    assert file.get() == "first"
    path.write_text("second")
    assert file.get() == "first"
    os.utime(path, (time.time() - 2, time.time() - 2))
    assert file.get() == "second"
    path.write_text("third")
    file.look_again()
    assert file.get() == "third"


def test_a_certificate_that_is_half_written_is_not_used(tmp_path, at_once, caplog):
    path, old, new = tmp_path / "app.pem", as_pem(*make_certificate()), as_pem(*make_certificate(owner="the next one"))
    path.write_bytes(old)
    config = config_of(**SOUND, CLIENT_CERTIFICATE_PATH=str(path))
    before = config.client_credential
    key, begin, certificate = new.partition(b"-----BEGIN CERT")
    mixed = old.partition(b"-----BEGIN CERT")[0] + begin + certificate
    for content in (b"", key, new[:-200], new[:900], mixed):
        caplog.clear()
        path.write_bytes(content)
        assert [config.client_credential for _ in range(3)] == [before] * 3
        assert len(lines(caplog)) == 1
    path.write_bytes(new)
    assert config.client_credential != before
    assert config.client_credential["private_key"] in new.decode()


# --- The keys that sign -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["SECRET_KEY_FILE", "CLIENT_SECRET_FILE", "CLIENT_CERTIFICATE_PATH"])
def test_the_key_from_before_a_change_is_accepted_for_an_hour(tmp_path, at_once, monkeypatch, setting):
    path = tmp_path / "file"
    owners = iter(["the app", "the next one"])

    def write(text):
        path.write_bytes(as_pem(*make_certificate(owner=next(owners))) if "CERT" in setting else text.encode())

    write("first-" + "x" * 40)
    config = config_of(**SOUND, **{setting: str(path)})
    (first,) = config_of(**SOUND, **{setting: str(path)}).signing_keys  # of another process
    write("second-" + "x" * 40)
    assert config.signing_keys[0] == first
    second = config.signing_keys[-1]
    assert second != first
    monkeypatch.setattr(credential.time, "monotonic", lambda now=time.monotonic: now() + credential.FORMER_SECONDS + 1)
    assert config.signing_keys == [second]


def test_the_other_lines_of_a_key_file_are_keys_too(tmp_path, at_once):
    (tmp_path / "key").write_text("present\nnext\n\nformer\n")
    config = config_of(**SOUND, CLIENT_SECRET="x", SECRET_KEY_FILE=str(tmp_path / "key"))
    assert config.signing_keys == [b"next", b"former", b"present"]
    assert config.settings["SECRET_KEY"] == "present"


# --- The doctor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("CLIENT_SECRET_FILE", None, "cannot be read: there is no such file"),
        ("CLIENT_SECRET_FILE", "\n", "names a file that is empty"),
        ("REDIS_URL_FILE", "redis://a\nredis://b", "names a file with more than one line"),
        ("REDIS_URL_FILE", "localhost:6379", "does not begin with redis://"),
        ("SECRET_KEY_FILE", "short", "is short enough to be guessed"),
        ("SECRET_KEY_FILE", f"{KEY}\n{KEY}2", None),
    ],
)
def test_each_slip_of_a_file_is_one_finding(tmp_path, name, content, found):
    if content is not None:
        (tmp_path / "file").write_text(content)
    own = {"CLIENT_SECRET": "abc8Q~someSecretValue", "SECRET_KEY": KEY}
    own.pop(name.removesuffix("_FILE"), None)
    told = check_settings(config_of(**SOUND, **own, **{name: str(tmp_path / "file")}).settings)
    assert [each.level for each in told] == ["wrong"] * bool(found)
    assert not found or found in str(told[0].found)


def test_a_setting_and_its_file_exclude_each_other(tmp_path):
    (tmp_path / "file").write_text("abc8Q~anotherSecretValue")
    settings = config_of(
        **SOUND, CLIENT_SECRET="abc8Q~someSecretValue", CLIENT_SECRET_FILE=str(tmp_path / "file")
    ).settings
    (found,) = check_settings(settings)
    assert (found.setting, found.level) == ("CLIENT_SECRET + CLIENT_SECRET_FILE", "wrong")


def test_no_secret_of_a_file_is_shown(run_doctor, box, tmp_path):
    (tmp_path / "secret").write_text(box.client_secret + "\n")
    status, printed = run_doctor(CLIENT_SECRET=None, CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert status == 0
    assert "✓ CLIENT_SECRET is set (40 characters) (environment)" in printed
    assert box.client_secret not in printed


# --- The app ------------------------------------------------------------------------------------------------------------


def test_a_secret_that_is_refused_is_read_again_at_once(serve, box, tmp_path):
    (tmp_path / "secret").write_text(box.client_secret)
    app = serve(CLIENT_SECRET=None, CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    person, answer = Visitor(app.url), Visitor(app.url)
    assert person.sign_in(path="/call_graph").status_code == 200
    begun = answer.answer()
    box.client_secret = "another-secret-0123456789"
    (tmp_path / "secret").write_text(box.client_secret)
    assert answer.get(begun).status_code == 200  # the sign-in had begun with the key of the other secret
    assert answer.signed_in
    assert [each.form["client_secret"] == box.client_secret for each in box.seen("token")] == [False, False, True]
    assert box.client_secret not in app.log()


@posix
@pytest.mark.slow
def test_no_sign_in_fails_while_one_certificate_takes_the_place_of_another(serve, box, tmp_path):
    path, owners = tmp_path / "app.pem", ["the app", "the next one", "a third one"]
    made = [make_certificate(owner=owner) for owner in owners]
    pem = [certificate.public_bytes(Encoding.PEM).decode() for _, certificate in made]
    path.write_bytes(as_pem(*made[0]))
    box.register_certificate(pem[0])
    port = free_port()
    app = serve(command=gunicorn_command(port), port=port, CLIENT_SECRET=None, CLIENT_CERTIFICATE_PATH=str(path))
    done, outcomes = threading.Event(), []

    def sign_in_again_and_again():
        while not done.is_set():
            person = Visitor(app.url)
            begun = person.answer()
            outcomes.append((person.get(begun).status_code, person.signed_in))

    def more(number):
        count = len(outcomes)
        until(lambda: len(outcomes) >= count + number)

    with ThreadPoolExecutor(3) as pool:
        people = [pool.submit(sign_in_again_and_again) for _ in range(3)]
        try:
            for number in (1, 2):
                slow = [Visitor(app.url) for _ in range(2)]
                begun = [person.answer() for person in slow]
                more(2)
                box.register_certificate(pem[number])  # beside the other one, as the documents say
                (tmp_path / "new.pem").write_bytes(as_pem(*made[number]))
                (tmp_path / "new.pem").replace(path)
                more(2)
                # Taken away sooner than anybody would: the app reads the file again when the old one is refused.
                box.remove_certificate(pem[number - 1])
                more(4)
                for person, url in zip(slow, begun, strict=True):
                    outcomes.append((person.get(url).status_code, person.signed_in))
        finally:
            done.set()
        for each in people:
            each.result()
    assert set(outcomes) == {(200, True)}
    used = {get_unverified_header(each.form["client_assertion"])["x5t#S256"] for each in box.seen("token")}
    assert len(used) == 3
    assert "CLIENT_CERTIFICATE_PATH: the file has changed, and is used from now on" in app.log()


# --- Redis --------------------------------------------------------------------------------------------------------------


def test_another_password_of_redis_is_taken_from_its_file(redis_server, tmp_path):
    path, admin = tmp_path / "redis-url", redis_server.client()
    path.write_text(redis_server.url + "\n")
    store = RedisStore(redis_server.url, 8, str(path))
    store.add("a" * 64, b"kept", 60)
    admin.config_set("requirepass", "opensesame")
    path.write_text(redis_server.url.replace("//", "//:opensesame@") + "\n")
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def found():
        with contextlib.suppress(StoreUnavailable):
            return store.get("a" * 64) == b"kept"

    until(found, 10)


def test_another_address_that_is_none_is_not_used(redis_server, tmp_path, at_once):
    path = tmp_path / "redis-url"
    path.write_text(redis_server.url)
    store = RedisStore(redis_server.url, 8, str(path))
    store.ping()
    path.write_text("nowhere")
    store.ping()
    path.write_text(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable):
        store.ping()
    path.write_text(redis_server.url)
    store.ping()
    assert isinstance(redis_server.client(), redis.Redis)


def test_an_app_finds_its_redis_in_a_file(serve, redis_server, tmp_path):
    (tmp_path / "redis-url").write_text(redis_server.url + "\n")
    app = serve(REDIS_URL_FILE=str(tmp_path / "redis-url"), SECRET_KEY=KEY)
    person = Visitor(app.url)
    person.sign_in()
    assert person.signed_in
    assert list(redis_server.client().scan_iter("session:*"))


def test_lines_are_read_without_a_mark_and_without_what_surrounds_them(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf one \r\n\r\ntwo")
    assert read_lines(str(tmp_path / "file")) == ["one", "two"]

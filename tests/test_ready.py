"""`/readyz`: ready is a process in which a sign-in that began now could end."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from flask_entra import watched_file

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"
NONE = {"CLIENT_SECRET": None, "SECRET_KEY": "k" * 32}


def certificate(path, days):
    """A certificate with its key, whose last day is so many days from now."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    begin = end - datetime.timedelta(days=365)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return str(path)


def asked(browser, capsys):
    capsys.readouterr()
    answer = browser.get("/readyz")
    return answer.status_code, capsys.readouterr().err


def test_a_process_that_could_finish_a_sign_in_is_ready(visit, provider, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    for settings in (
        {},
        {**NONE, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")},
        {**NONE, "CLIENT_CERTIFICATE_PATH": certificate(tmp_path / "app.pem", 30)},
        NONE,  # a public client
    ):
        answer = visit(**settings).get("/readyz")
        assert (answer.status_code, answer.text) == (200, f"ok {provider.url}\n")


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read: No such file"), ("", "is empty"), (" \n", "is empty")]
)
def test_a_token_file_that_is_gone_or_empty(visit, tmp_path, capsys, content, told):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    browser = visit(**NONE, AZURE_FEDERATED_TOKEN_FILE=str(file))
    assert browser.get("/readyz").status_code == 200
    file.unlink()
    if content is not None:
        file.write_text(content)
    status, log = asked(browser, capsys)
    assert status == 503
    assert f"Not ready: AZURE_FEDERATED_TOKEN_FILE {told}" in log
    file.write_text(TOKEN)
    assert browser.get("/readyz").status_code == 200


def test_a_certificate_that_has_expired_or_is_gone(visit, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0)
    browser = visit(**NONE, CLIENT_CERTIFICATE_PATH=certificate(tmp_path / "app.pem", 30))
    assert browser.get("/readyz").status_code == 200
    (tmp_path / "app.pem").write_text("nothing")
    status, log = asked(browser, capsys)
    assert status == 200  # the one from before is used
    assert "CLIENT_CERTIFICATE_PATH: the file cannot be used" in log
    certificate(tmp_path / "app.pem", -1)
    status, log = asked(browser, capsys)
    assert status == 503
    assert "Not ready: the certificate of CLIENT_CERTIFICATE_PATH has expired on 20" in log
    (tmp_path / "app.pem").write_text("nothing")
    status, log = asked(visit(**NONE, CLIENT_CERTIFICATE_PATH=str(tmp_path / "app.pem")), capsys)
    assert status == 503
    assert "CLIENT_CERTIFICATE_PATH cannot be used" in log


@pytest.mark.parametrize(
    ("offset", "told"), [(3600, "3600 seconds ahead of"), (-7200.4, "7200 seconds behind"), (119, None)]
)
def test_a_clock_that_is_off_by_more_than_a_token_may(visit, capsys, offset, told):
    browser = visit()
    authority = browser.app.extensions["flask_entra"].authority
    assert browser.get("/readyz").status_code == 200
    authority.clock_offset = offset
    status, log = asked(browser, capsys)
    assert status == (503 if told else 200)
    assert not told or f"this machine's clock is {told} the authority's" in log


def test_an_id_token_that_is_refused_by_a_wrong_clock_says_so(visit, provider, capsys):
    browser = visit()
    browser.get("/readyz")
    browser.app.extensions["flask_entra"].authority.clock_offset = 7200
    provider.claims = {"exp": 1_700_000_000}
    capsys.readouterr()
    page = browser.sign_in()
    assert page.status_code == 502
    assert "Signature has expired; this machine&#39;s clock is 7200 seconds ahead of the authority&#39;s" in page.text
    assert "clock is 7200 seconds ahead" in capsys.readouterr().err


def test_no_secret_and_no_path_is_told_to_whoever_asks(visit, tmp_path):
    browser = visit(**NONE, AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "secret-folder" / "token"))
    assert "secret-folder" not in browser.get("/readyz").text

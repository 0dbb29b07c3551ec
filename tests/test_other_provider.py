"""Another OpenID provider works through OIDC_AUTHORITY: one that nobody here wrote (oidc-provider-mock), over TLS."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
import trustme
from conftest import free_port
from visitor import Page, Visitor


@pytest.fixture
def provider(tmp_path):
    """The provider's URL, and the file with the certificate of who vouches for it."""
    authority, port = trustme.CA(), free_port()
    vouches, certificate = tmp_path / "ca.pem", tmp_path / "certificate.pem"
    authority.cert_pem.write_to_path(vouches)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    script = Path(__file__).with_name("other_provider.py")
    with (tmp_path / "provider.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, script, str(port), certificate], stdout=log, stderr=log)
    url = f"https://localhost:{port}"
    for _ in range(100):
        try:
            requests.get(url, verify=str(vouches), timeout=5)
            break
        except requests.ConnectionError:
            assert process.poll() is None, (tmp_path / "provider.txt").read_text()
            time.sleep(0.1)
    yield url, str(vouches)
    process.terminate()
    process.wait(10)


def test_a_person_signs_in_with_another_provider_and_out_again(serve, provider):
    url, vouches = provider
    app = serve(
        AUTHORITY=None,
        OIDC_AUTHORITY=url,
        CLIENT_ID="any-client",
        CLIENT_SECRET="any-secret-will-do",
        SCOPE="",
        REQUESTS_CA_BUNDLE=vouches,
    )
    person = Visitor(app.url)
    person.verify = vouches
    page = person.get("/login")
    assert page.url.startswith(url)
    _, fields, _ = Page(page.text).forms[0]
    answer = person.post(page.url, data={**fields, "sub": "alice"}, timeout=9)
    assert answer.url == app.url + "/", answer.text
    assert "alice" in answer.text.lower()
    assert person.signed_in
    person.get("/logout")
    assert not person.signed_in

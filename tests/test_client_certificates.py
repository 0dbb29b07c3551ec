"""A certificate as the app's credential: what its file may be, in milliseconds."""

import pytest
from certificates import make_certificate
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from flask_entra.certificates import CertificateError, read_certificate

FORMS = {"PKCS #8": serialization.PrivateFormat.PKCS8, "the older form": serialization.PrivateFormat.TraditionalOpenSSL}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_encrypted_key_needs_its_password_in_either_form(tmp_path, form):
    key, certificate = make_certificate()
    encryption = serialization.BestAvailableEncryption(b"secret")
    path = tmp_path / "app.pem"
    private = key.private_bytes(serialization.Encoding.PEM, form, encryption)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    assert read_certificate(str(path), "secret").x509 == certificate
    for password, trouble in (("", "password_missing"), ("another", "password_wrong")):
        with pytest.raises(CertificateError) as error:
            read_certificate(str(path), password)
        assert error.value.trouble == trouble


@pytest.mark.parametrize("path", ["", "nowhere.pem", "a\0b"])
def test_a_path_at_which_there_is_nothing_is_said_so(path):
    with pytest.raises(CertificateError) as error:
        read_certificate(path)
    assert error.value.trouble == "unreadable"


def test_a_pfx_without_a_key_is_reported(tmp_path):
    _, certificate = make_certificate()
    path = tmp_path / "app.pfx"
    path.write_bytes(pkcs12.serialize_key_and_certificates(None, None, None, [certificate], NoEncryption()))
    with pytest.raises(CertificateError) as error:
        read_certificate(str(path))
    assert error.value.trouble == "no_key"

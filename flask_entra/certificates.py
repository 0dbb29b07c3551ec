"""The certificate by which the app can prove who it is, instead of a client secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

Trouble = Literal[
    "unreadable",
    "not_pem_or_pfx",
    "der",
    "broken",
    "no_key",
    "no_certificate",
    "not_rsa",
    "no_match",
    "password_missing",
    "password_wrong",
    "password_not_needed",
]


class CertificateError(ValueError):
    """A certificate that cannot be used.

    :ivar trouble: why; the doctor has the words for each.
    """

    def __init__(self, trouble: Trouble):
        super().__init__(trouble)
        self.trouble = trouble


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate and its private key.

    :ivar private_key: as PEM text, not encrypted.
    :ivar public_certificate: as PEM text.
    :ivar x509: the same certificate, to be asked for its dates.
    """

    private_key: str
    public_certificate: str
    x509: Certificate

    @property
    def msal_credential(self) -> dict[str, str]:
        """MSAL's `client_credential`."""
        return {"private_key": self.private_key, "public_certificate": self.public_certificate}


def read_certificate(path: str, password: str = "") -> ClientCertificate:
    """Read a certificate from PEM (key and certificate in one file) or PFX.

    Of several certificates, which is a chain, the one that belongs to the key is meant, wherever it stands.

    :param path: the file.
    :param password: of the private key; empty for none.
    :raises CertificateError: the file cannot be read or opened, or lacks the key or the certificate. When the file cannot be
        read, the `OSError` is its cause.
    """
    # Imported here, because an app that signs in with a secret has no use for these 30 ms at start.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise CertificateError("unreadable") from error
    key, certificates = _read(data, password.encode() or None)
    if not isinstance(key, rsa.RSAPrivateKey):  # Entra takes no others
        raise CertificateError("not_rsa")
    try:
        certificate = next(each for each in certificates if each.public_key() == key.public_key())
    except StopIteration:
        raise CertificateError("no_match" if certificates else "no_certificate") from None
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return ClientCertificate(private_key.decode(), public.decode(), certificate)


def _read(data: bytes, password: bytes | None) -> tuple[object, list[Certificate]]:
    """The private key and the certificates in the content of a file.

    :raises CertificateError: there is no key, or none that the password opens.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _read_pem(data, password) if b"-----BEGIN" in data else _read_pfx(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise error if isinstance(error, CertificateError) else CertificateError("broken") from error


def _read_pem(data: bytes, password: bytes | None) -> tuple[object, list[Certificate]]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if b"PRIVATE KEY-----" not in data:
        raise CertificateError("no_key")
    certificates = x509.load_pem_x509_certificates(data) if b"-----BEGIN CERTIFICATE-----" in data else []
    # PKCS #8 says it in the first line, the older form in a header (RFC 1421, 4.6.1.1).
    encrypted = b"ENCRYPTED" in data
    if encrypted and not password:
        raise CertificateError("password_missing")
    if password and not encrypted:
        raise CertificateError("password_not_needed")
    try:
        return serialization.load_pem_private_key(data, password), certificates
    except ValueError as error:
        raise CertificateError("password_wrong" if encrypted else "broken") from error


def _read_pfx(data: bytes, password: bytes | None) -> tuple[object, list[Certificate]]:
    from cryptography.hazmat.primitives.serialization import pkcs12

    if not data.startswith(b"\x30"):  # a SEQUENCE, with which all of DER begins
        raise CertificateError("not_pem_or_pfx")
    if b"\x02\x01\x03" not in data[:9]:  # the version of a PFX (RFC 7292, 4)
        raise CertificateError("der")
    try:
        pfx = pkcs12.load_pkcs12(data, password)
    except ValueError as error:
        raise CertificateError("password_wrong" if password else "password_missing") from error
    if pfx.key is None:
        raise CertificateError("no_key")
    return pfx.key, [each.certificate for each in (pfx.cert, *pfx.additional_certs) if each]

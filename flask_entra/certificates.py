"""The certificate by which the app can prove who it is, instead of a client secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


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

    :param path: the file.
    :param password: of the private key; empty for none.
    :raises ValueError: the file cannot be read or opened, or lacks the key or the certificate.
    """
    # Imported here, because an app that signs in with a secret has no use for these 30 ms at start.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    secret = password.encode() or None
    try:
        if b"-----BEGIN" in data:
            if b"PRIVATE KEY-----" not in data:
                raise ValueError("the file has a certificate but no private key")
            key = serialization.load_pem_private_key(data, secret)
            certificate = x509.load_pem_x509_certificate(data)
        else:
            pfx = pkcs12.load_pkcs12(data, secret)
            if pfx.key is None or pfx.cert is None:
                raise ValueError("the file lacks the private key or the certificate")
            key, certificate = pfx.key, pfx.cert.certificate
    except TypeError as error:  # a password is missing, or given for a key that has none
        raise ValueError(str(error)) from None
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return ClientCertificate(private_key.decode(), public.decode(), certificate)

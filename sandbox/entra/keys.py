"""The tenant's signing keys, and JSON Web Tokens (RFC 7515, RFC 7517, RFC 7519)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

KEY_SIZE = 2048  # bits of an RSA key; Entra's have as many


class _Registry(JWSRegistry):
    """Header rules that accept the whole certificate chain (`x5c`) that MSAL sends."""

    max_header_length = 16 * 1024


def b64url(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 7515 section 2).

    :raises ValueError: the text is not base64url.
    """
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))


class SigningKey:
    """An RSA key with a self-signed certificate, such as Entra publishes with each of its keys.

    :ivar kid: the key's id: the SHA-1 thumbprint of its certificate (`x5t`, RFC 7517 section 4.8).
    """

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbox token signing")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .sign(self.private, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.kid = b64url(hashlib.sha1(self.der, usedforsecurity=False).digest())

    def jwk(self, issuer: str) -> dict[str, Any]:
        """The public half of the key as Entra publishes it (RFC 7517 section 4, RFC 7518 section 6.3.1).

        :param issuer: the issuer that may use this key. The field is Entra's own addition to the format.
        :return: the JSON Web Key.
        """
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": b64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": b64url(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
            "x5c": [base64.b64encode(self.der).decode("ascii")],
            "issuer": issuer,
        }

    def public_pem(self) -> str:
        """The public key as PEM text."""
        return _public_pem(self.private.public_key())


class KeyRing:
    """The tenant's signing keys.

    :ivar current: the key that signs.
    :ivar published: the keys that the tenant publishes, the current one first.
    """

    def __init__(self) -> None:
        self.current = SigningKey()
        self.published = [self.current]
        self._every = {self.current.kid: self.current}

    def rotate(self, keep_old: bool) -> None:
        """Sign with a new key from now on.

        :param keep_old: go on publishing the earlier keys, as Entra does for some days.
        """
        self.current = SigningKey()
        self.published = [self.current, *(self.published if keep_old else [])]
        self._every[self.current.kid] = self.current

    def verify(self, token: str) -> dict[str, Any]:
        """Verify the signature of one of the tenant's own tokens, by any key that the tenant ever had.

        :param token: a compact JWS.
        :return: the claims.
        :raises ValueError: it is malformed, or the tenant did not sign it.
        """
        header, _ = peek(token)
        key = self._every.get(str(header.get("kid")))
        if key is None:
            raise ValueError("unknown kid")
        return verify(token, key.public_pem())


def sign(
    claims: dict[str, Any],
    key: SigningKey | rsa.RSAPrivateKey | str | bytes,
    header: dict[str, Any] | None = None,
    algorithm: str = "RS256",
) -> str:
    """Make a compact JWS (RFC 7515 section 7.1) from any claims and header, valid or not.

    This is written by hand because a JOSE library rightly refuses to make the forged tokens that the tests need.

    :param claims: the payload.
    :param key: a `SigningKey`, an RSA private key, its PEM text, or the secret of HS256.
    :param header: header fields; `alg` and `typ` are filled in unless they are given.
    :param algorithm: RS256, PS256, HS256 or none.
    :return: the token.
    :raises ValueError: the algorithm is another one.
    """
    full = {"typ": "JWT", "alg": algorithm, **(header or {})}
    if isinstance(key, SigningKey):
        full.setdefault("kid", key.kid)
        key = key.private
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (full, claims))
    signing_input = ".".join(map(b64url, parts))
    return f"{signing_input}.{b64url(_signature(signing_input.encode(), key, algorithm))}"


def _signature(data: bytes, key: rsa.RSAPrivateKey | str | bytes, algorithm: str) -> bytes:
    if algorithm == "none":
        return b""
    if algorithm == "HS256":
        if isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("HS256 takes a secret, not a private key")
        return hmac.digest(_as_bytes(key), data, "sha256")
    private = key if isinstance(key, rsa.RSAPrivateKey) else serialization.load_pem_private_key(_as_bytes(key), None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise TypeError(f"{algorithm} takes an RSA private key")
    if algorithm == "RS256":
        return private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if algorithm == "PS256":
        salted = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return private.sign(data, salted, hashes.SHA256())
    raise ValueError(f"algorithm {algorithm!r} is none of RS256, PS256, HS256, none")


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a token's header and claims WITHOUT verifying it, to find the key that must verify it.

    :param token: a compact JWS.
    :return: the header and the claims.
    :raises ValueError: it is not a compact JWS with a JSON object in each of its first two parts.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("a compact JWS has three parts")
    header, claims = (json.loads(from_b64url(part)) for part in parts[:2])
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise ValueError("header and claims must be JSON objects")
    return header, claims


def verify(token: str, public_pem: str, algorithms: tuple[str, ...] = ("RS256",)) -> dict[str, Any]:
    """Verify a token's signature, and nothing else (RFC 7515 section 5.2).

    :param token: a compact JWS.
    :param public_pem: an RSA public key, or a certificate, as PEM text.
    :param algorithms: the algorithms that are accepted.
    :return: the claims.
    :raises ValueError: it is malformed, or the signature is wrong.
    """
    if "BEGIN CERTIFICATE" in public_pem:
        public_pem = _public_pem(x509.load_pem_x509_certificate(public_pem.encode()).public_key())
    try:
        registry = _Registry(algorithms=list(algorithms), strict_check_header=False)
        return dict(jwt.decode(token, RSAKey.import_key(public_pem), registry=registry).claims)
    except JoseError as error:
        raise ValueError(f"signature: {error}") from error


def _public_pem(key: Any) -> str:
    """A public key as PEM text."""
    pem: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")

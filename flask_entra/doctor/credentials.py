"""Who the app is, and how it proves that: its id, and its secret, certificate or federated token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from flask_entra.certificates import CertificateError, Trouble, read_certificate
from flask_entra.clouds import GUID, is_microsoft
from flask_entra.doctor.findings import (
    SECRET_KEY_MEND,
    WITHOUT_A_SECRET,
    Finding,
    Level,
    credential_name,
    odd,
    unreadable,
    wrong,
)
from flask_entra.managed_identity import JWT, SYSTEM
from flask_entra.pages.languages import Day, Text
from flask_entra.pages.languages import Text as _
from flask_entra.settings import Settings
from flask_entra.urls import split_url

_COPY_THE_ID = _("Copy the Application (client) ID from the Overview.")
_COPY_THE_VALUE = _("Copy the secret's Value. It is shown only once: if it is gone, add a new secret.")


def check_client_id(settings: Settings) -> Iterator[Finding]:
    client_id, authority = settings["CLIENT_ID"], split_url(settings["AUTHORITY"])
    tenant = authority.path.strip("/").split("/")[0]
    if not client_id or not settings["AUTHORITY"]:
        return
    if client_id.lower() == tenant.lower():
        yield wrong(
            "CLIENT_ID",
            _("is the directory (tenant) ID that AUTHORITY has"),
            _("Set it to the Application (client) ID, which stands above it in the registration's Overview."),
        )
    elif split_url(client_id).scheme in ("https", "http") and GUID.fullmatch(settings["AUTHORITY"]):
        yield wrong("CLIENT_ID + AUTHORITY", _("may be swapped"), _("Write each one's value to the other."))
    elif GUID.fullmatch(client_id.removeprefix("api://")) and client_id.startswith("api://"):
        yield wrong("CLIENT_ID", _("is the Application ID URI"), _("Remove api:// from it."))
    elif not GUID.fullmatch(client_id):
        microsoft = is_microsoft(authority.hostname) or GUID.fullmatch(tenant)
        level: Level = "wrong" if microsoft else "odd"
        yield Finding("CLIENT_ID", level, _("is not a GUID"), _COPY_THE_ID)


def check_credential(settings: Settings) -> Iterator[Finding]:
    secret = settings["CLIENT_SECRET"]
    if secret and secret == settings["CLIENT_ID"]:
        yield wrong("CLIENT_SECRET", _("is the same as CLIENT_ID"), _COPY_THE_VALUE)
    elif GUID.fullmatch(secret):
        yield odd("CLIENT_SECRET", _("is a GUID, which is what a secret's ID looks like"), _COPY_THE_VALUE)
    elif re.search(r"\*{4}", secret):
        yield wrong("CLIENT_SECRET", _("is the hint that the portal shows later, with asterisks"), _COPY_THE_VALUE)
    elif re.fullmatch(r"[0-9A-Fa-f]{40}|[0-9A-F]{64}", secret):
        yield odd("CLIENT_SECRET", _("looks like the thumbprint of a certificate"), _COPY_THE_VALUE)
    elif secret and is_microsoft(split_url(settings["AUTHORITY"]).hostname) and len(secret) < 16:
        yield odd("CLIENT_SECRET", _("is shorter than any secret that Entra makes"), _COPY_THE_VALUE)
    key = settings["SECRET_KEY"]
    if key and len(key) < 16:
        # An app that was there before signs its own cookies with this key, so this package does not refuse it.
        level: Level = "odd" if settings.keyed else "wrong"
        yield Finding("SECRET_KEY", level, _("is short enough to be guessed"), _("Use 32 or more random characters."))
    elif key and len(set(key)) == 1 and len(key) < 32:
        yield wrong("SECRET_KEY", _("is one character over and over"), _("Use 32 or more random characters."))
    elif not key and credential_name(settings) in WITHOUT_A_SECRET:
        found = _("is missing, and there is no secret or certificate to derive it from")
        yield wrong("SECRET_KEY", found, SECRET_KEY_MEND)


def check_managed_identity(settings: Settings) -> Iterator[Finding]:
    name = "MANAGED_IDENTITY_CLIENT_ID"
    identity = settings[name]
    if identity and identity.lower() == settings["CLIENT_ID"].lower():
        mend = _("Copy the Client ID from the Overview of the managed identity, which is not the app registration.")
        yield wrong(name, _("is the same as CLIENT_ID"), mend)
    elif identity and identity.lower() != SYSTEM and not GUID.fullmatch(identity):
        mend = _("Copy the Client ID from the Overview of the managed identity, or write system.")
        yield wrong(name, _("is neither a GUID nor the word system"), mend)


def check_federated_token(settings: Settings) -> Iterator[Finding]:
    name = "AZURE_FEDERATED_TOKEN_FILE"
    if credential_name(settings) != name:
        return
    try:
        token = Path(settings[name]).read_text().strip()
    except (OSError, ValueError) as error:
        found = _("cannot be read: %(reason)s", reason=unreadable(error))
        yield wrong(name, found, _("Check the path, and that the app may read the file."))
        return
    if not JWT.fullmatch(token):
        yield wrong(name, _("names a file without a token in it"), _("Give the file that your platform writes it to."))


_PEM_OR_PFX = _("Give a PEM file with the private key and the certificate, or a PFX file.")
_PASSWORDS: dict[Trouble, tuple[Text, Text]] = {
    "password_missing": (
        _("is missing, and the private key cannot be used without it"),
        _("Set it to the password that the file was made with."),
    ),
    "password_wrong": (
        _("is not the password of the file"),
        _("Set it to the password that the file was made with."),
    ),
    "password_not_needed": (_("is set, but the private key has no password"), _("Remove it.")),
}
_FILES: dict[Trouble, tuple[Text, Text]] = {
    "not_pem_or_pfx": (_("the file is neither PEM nor PFX"), _PEM_OR_PFX),
    "der": (
        _("the file is DER, which holds a key or a certificate, not both"),
        _("Make one PEM file of the two: openssl x509 -inform der turns DER into PEM."),
    ),
    "broken": (_("the file is damaged, or of a kind that is not known"), _PEM_OR_PFX),
    "no_key": (
        _("the file has a certificate but no private key"),
        _("Put the private key into the same file, before the certificate."),
    ),
    "no_certificate": (
        _("the file has a private key but no certificate"),
        _("Put the certificate into the same file, after the private key."),
    ),
    "not_rsa": (_("its key is not an RSA key, which Entra needs"), _("Make a new certificate with an RSA key.")),
    "no_match": (
        _("the private key and the certificate do not belong to each other"),
        _("Put the key and the certificate that were made together into the file."),
    ),
}


def check_certificate(settings: Settings) -> Iterator[Finding]:
    name, password = "CLIENT_CERTIFICATE_PATH", "CLIENT_CERTIFICATE_PASSWORD"
    if not settings[name]:
        if settings[password]:
            yield odd(password, _("has no effect without CLIENT_CERTIFICATE_PATH"), _("Remove it, or set the path."))
        return
    try:
        certificate = read_certificate(settings[name], settings[password]).x509
    except CertificateError as error:
        if error.trouble in _PASSWORDS:
            yield wrong(password, *_PASSWORDS[error.trouble])
        elif error.trouble in _FILES:
            reason, mend = _FILES[error.trouble]
            yield wrong(name, _("cannot be used: %(reason)s", reason=reason), mend)
        else:
            found = _("cannot be used: %(reason)s", reason=unreadable(error.__cause__))
            yield wrong(name, found, _("Check the path, and that the app may read the file."))
        return
    now, begin, end = datetime.now(timezone.utc), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    mend = _("Make a new certificate, register it beside the old one, then replace the file.")
    if end < now:
        yield wrong(name, _("expired on %(date)s", date=Day(end)), mend)
    elif begin > now:
        found = _("is not valid before %(date)s", date=Day(begin))
        yield wrong(name, found, _("Check this machine's clock, or wait."))
    elif end - now < timedelta(days=30):
        yield odd(name, _("expires on %(date)s", date=Day(end)), mend)

"""The sample people of the sandbox's tenant. Each of them shows one case that an app meets in real life."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOMAIN = "contoso.onmicrosoft.com"  # the tenant's domain name; URLs may call the tenant by it
FABRIKAM = str(uuid.uuid5(uuid.NAMESPACE_DNS, "fabrikam.example"))  # the tenant that the guest is at home in
PHOTO = Path(__file__).with_name("adele.jpg")


@dataclass
class DriveFile:
    """A file in somebody's OneDrive.

    :ivar name: its name.
    :ivar size: its size in bytes.
    :ivar sha256: the SHA-256 of its content, in hexadecimal digits.
    :ivar content: the content; None for a file that is too large to be kept in memory.
    :ivar media_type: its media type.
    :ivar created: when it was made, as Graph writes it; `modified` likewise.
    :ivar id: the id of the drive item.
    :ivar etag: the ETag, which differs after each change.
    :ivar secret: the secret in the URL of its content, which needs no token.
    """

    name: str
    size: int
    sha256: str
    content: bytes | None
    media_type: str
    created: str
    modified: str
    id: str = field(default_factory=lambda: f"01{secrets.token_hex(16).upper()}")
    etag: str = field(default_factory=lambda: f'"{{{str(uuid.uuid4()).upper()}}},1"')
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))


@dataclass
class Upload:
    """A file that arrives in parts.

    :ivar name: the name that it will have.
    :ivar conflict: what happens to a file of that name: "replace", "rename" or "fail".
    :ivar expires: when the upload session ends, as Graph writes it.
    :ivar total: the size of the whole file; None before the first part.
    :ivar received: the bytes that have arrived.
    :ivar content: these bytes; None once they are too many to be kept in memory.
    :ivar digest: the SHA-256 so far.
    """

    name: str
    conflict: str
    expires: str
    total: int | None = None
    received: int = 0
    content: bytearray | None = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass
class Person:
    """A person who can sign in.

    :ivar key: a short name: the value of the button on the sign-in page, and the key in `box.people`.
    :ivar shows: the case that this person shows, in a few words.
    :ivar profile: Graph's answer about this person at `/me`, without `@odata.context`.
    :ivar photo: the bytes of a JPEG picture, or None.
    :ivar photo_type: the media type of that picture.
    :ivar throttled: the seconds that Graph asks to wait (429 and Retry-After), or None.
    :ivar needs_admin: only an administrator may consent for this person.
    :ivar tenant_id: the home tenant of a person from another one, which shows when the sign-in went through `common` or
        `organizations`. None is the sandbox's own tenant.
    :ivar roles: the app roles that an administrator has assigned; a list, to change at will.
    :ivar groups: the object ids of the groups that this person is in, directly or not; likewise.
    :ivar id_claims: further claims of this person's ID tokens, which replace the usual ones.
    :ivar further: the fields of the profile that Graph answers to `$select` only, such as `aboutMe`.
    :ivar mails: the number of sample mails at `/me/messages`, so that a test can have 10,000 of them.
    :ivar messages: the other mails there, newest first, as Graph answers them: those that came or went by `/me/sendMail`.
    :ivar sent: the `message` of each `/me/sendMail`, with its attachments, oldest first.
    :ivar events: the events of the calendar by id, as Graph answers them.
    :ivar files: the files in the root of the OneDrive, by name.
    :ivar uploads: the uploads that are not complete, by the secret in their URL.
    """

    key: str
    shows: str
    profile: dict[str, Any]
    photo: bytes | None = None
    photo_type: str = "image/jpeg"
    throttled: int | None = None
    needs_admin: bool = False
    tenant_id: str | None = None
    roles: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    id_claims: dict[str, Any] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    mails: int = 2
    messages: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, DriveFile] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    @property
    def oid(self) -> str:
        """The directory object's id, a GUID (claim `oid`)."""
        return str(self.profile["id"])

    @property
    def name(self) -> str:
        """The name to show (claim `name`)."""
        return self.profile.get("displayName") or self.key

    @property
    def username(self) -> str:
        """The name to sign in with (claim `preferred_username`)."""
        return self.profile.get("userPrincipalName") or f"{self.key}@{DOMAIN}"


def profile(key: str, given: str | None, family: str | None, display: str, **more: Any) -> dict[str, Any]:
    """A profile with the fields, in the order, that Graph v1.0 answers by default for a user.

    :param key: the local part of the sign-in name. The object id derives from it, and so is always the same.
    :param given: given name, or None.
    :param family: family name, or None.
    :param display: the whole name.
    :param more: other fields, which replace the default ones.
    :return: the profile.
    """
    return {
        "businessPhones": [],
        "displayName": display,
        "givenName": given,
        "jobTitle": None,
        "mail": f"{key}@{DOMAIN}",
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": family,
        "userPrincipalName": f"{key}@{DOMAIN}",
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{key}.{DOMAIN}")),
        **more,
    }


def group_id(name: str) -> str:
    """The object id of a group, always the same for the same name.

    :param name: such as `Finance`.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name.lower()}.groups.{DOMAIN}"))


def sample_people() -> dict[str, Person]:
    """New copies of the sample people, by key."""
    people = [
        Person(
            "adele",
            "A full profile with a photo",
            profile(
                "adele",
                "Adèle",
                "Vance",
                "Adèle Vance",
                businessPhones=["+1 425 555 0109"],
                jobTitle="Retail Manager",
                mobilePhone="+1 425 555 0100",
                officeLocation="18/2111",
                preferredLanguage="en-US",
            ),
            photo=PHOTO.read_bytes(),
        ),
        Person(
            "alex",
            "No photo",
            profile(
                "alex",
                "Alex",
                "Wilber",
                "Alex Wilber",
                businessPhones=["+1 858 555 0110"],
                jobTitle="Marketing Assistant",
                officeLocation="131/1104",
                preferredLanguage="en-US",
            ),
        ),
        Person(
            "bot",
            "Hardly any field filled in",
            profile("bot", None, None, "Conf Room Baker", mail=None),
        ),
        Person(
            "lynne",
            "Graph is busy: try again in 7 seconds",
            profile("lynne", "Lynne", "Robbins", "Lynne Robbins", jobTitle="Planner"),
            throttled=7,
        ),
        Person(
            "isaiah",
            "In 201 groups, Finance among them: too many for a token",
            profile("isaiah", "Isaiah", "Langer", "Isaiah Langer", jobTitle="Sales Rep"),
            groups=[group_id("Finance"), *(group_id(f"Project {number}") for number in range(1, 201))],
        ),
        Person(
            "miriam",
            "Needs an administrator's consent",
            profile("miriam", "Miriam", "Graham", "Miriam Graham", jobTitle="Director"),
            needs_admin=True,
        ),
        Person(
            "nestor",
            "In three groups, Finance among them",
            profile("nestor", "Nestor", "Wilke", "Nestor Wilke", jobTitle="Director"),
            groups=[group_id(name) for name in ("Finance", "Managers", "Everybody")],
        ),
        Person(
            "patti",
            "Has the app role Orders.Approve",
            profile("patti", "Patti", "Fernandez", "Patti Fernandez", jobTitle="President"),
            roles=["Orders.Approve"],
        ),
        Person(
            "noor",
            "A guest with a right-to-left name",
            profile(
                "noor",
                "نور",
                "الحسن",
                "نور الحسن",
                mail="noor@fabrikam.example",
                preferredLanguage="ar-SA",
                userPrincipalName=f"noor_fabrikam.example#EXT#@{DOMAIN}",
            ),
            # https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference (`idp`)
            id_claims={"idp": f"https://sts.windows.net/{FABRIKAM}/"},
        ),
    ]
    return {person.key: person for person in people}

"""Mail: the messages in a person's mailbox, and those that a person sends.

https://learn.microsoft.com/graph/api/resources/message
"""

from __future__ import annotations

import base64
import datetime
import re
import secrets
import uuid
from typing import Any

from flask import Response

from ..people import Person
from .access import Access, Route
from .answers import GraphError, answer, moment, nothing_more
from .bodies import ITEM_BODY, RECIPIENT, Unfit, anything, checked, flag, json_body, many, one_of, shape, text
from .options import check_options, chosen, page, selected

SUBJECTS = ("Quarterly figures", "Lunch on Friday?")  # of everybody's newest sample mails
NEWEST = datetime.datetime(2026, 1, 5, 9, 0)  # when the newest sample mail came; each other one came an hour before
RECIPIENTS = ("toRecipients", "ccRecipients", "bccRecipients")


def _base64(name: str, value: Any) -> None:
    text(name, value)
    try:
        base64.b64decode((value or "").encode(), validate=True)
    except ValueError as error:
        raise Unfit(f"Cannot convert the value of property '{name}' to the expected type 'Edm.Binary'.") from error


ATTACHMENT = shape(
    {"name": text, "contentType": text, "contentBytes": _base64, "contentId": text, "isInline": flag}, "fileAttachment"
)
# The fields of a message that a client may set.
MESSAGE = {
    "subject": text,
    "body": ITEM_BODY,
    "from": RECIPIENT,
    "sender": RECIPIENT,
    "replyTo": many(RECIPIENT),
    **dict.fromkeys(RECIPIENTS, many(RECIPIENT)),
    "importance": one_of("low", "normal", "high"),
    "attachments": many(ATTACHMENT),
    "categories": many(text),
    "internetMessageHeaders": many(shape({"name": text, "value": text}, "internetMessageHeader")),
    "isDeliveryReceiptRequested": flag,
    "isReadReceiptRequested": flag,
    "flag": anything,
    "inferenceClassification": one_of("focused", "other"),
}
# The other fields that a message has. Graph ignores them in what a client sends.
OTHERS = (
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "internetMessageId",
    "bodyPreview",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isRead",
    "isDraft",
    "webLink",
)


class Mail:
    """The endpoints of mail.

    :param access: the access to Graph.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("/me/messages", self.messages),
            Route("/me/messages/<key>", self.message),
            Route("/me/sendMail", self.send, ("POST",)),
        ]

    def messages(self) -> Response:
        """The mails of all folders, newest first. https://learn.microsoft.com/graph/api/user-list-messages"""
        person = self._access.person("Mail.Read")
        check_options("$select", "$top", "$skip", "$count")
        names = chosen((*MESSAGE, *OTHERS), "message")
        own = list(person.messages)  # newer than all the sample mails

        def read(start: int, end: int) -> list[dict[str, Any]]:
            numbers = range(max(start - len(own), 0) + 1, max(end - len(own), 0) + 1)
            mails = [*own[start:end], *(self._sample(person, number) for number in numbers)]
            return [selected(mail, names, "id") for mail in mails]

        context = self._access.context(f"users('{person.oid}')/messages")
        return answer({"@odata.context": context, **page(self._access, len(own) + max(person.mails, 0), read)})

    def message(self, key: str) -> Response:
        """One mail. https://learn.microsoft.com/graph/api/message-get"""
        person = self._access.person("Mail.Read")
        check_options("$select")
        names = chosen((*MESSAGE, *OTHERS), "message")
        mail = next((each for each in list(person.messages) if each["id"] == key), None)
        number = int(key.removeprefix(_sample_id(person))) if _is_sample(person, key) else 0
        if 1 <= number <= person.mails:
            mail = self._sample(person, number)
        if mail is None:
            raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        context = self._access.context(f"users('{person.oid}')/messages/$entity")
        return answer({"@odata.context": context, **selected(mail, names, "id")})

    def send(self) -> Response:
        """Send a mail. People of the tenant get it at once; nobody else does.

        https://learn.microsoft.com/graph/api/user-sendmail
        """
        person = self._access.person("Mail.Send")
        check_options()
        body = {name[:1].lower() + name[1:]: value for name, value in json_body().items()}  # `Message` will do, too
        if body.get("message") is None:
            raise GraphError(400, "ErrorInvalidParameter", "The value of the parameter 'Message' is empty.")
        checked(body, {"message": anything, "saveToSentItems": flag}, "sendMail")
        given = checked(body["message"], MESSAGE, "message", ignored=OTHERS)
        addresses = _addresses(given)
        _check_sender(person, given)
        with self._access.lock:
            sent = _made(person, given)
            person.sent.append(sent)
            kept = {name: value for name, value in sent.items() if name != "attachments"}
            if body.get("saveToSentItems") is not False:
                person.messages.insert(0, kept)
            for each in self._access.people:
                if addresses & _addresses_of(each):
                    arrived = {"id": _new_id(), "bccRecipients": [], "parentFolderId": "inbox", "isRead": False}
                    each.messages.insert(0, {**kept, **arrived})
        return nothing_more(202)

    def _sample(self, person: Person, number: int) -> dict[str, Any]:
        """A sample mail to a person.

        :param number: its number, from 1 for the newest.
        """
        people = self._access.people
        sender = _recipient(people[number % len(people)])
        at = f"{NEWEST - datetime.timedelta(hours=number - 1):%Y-%m-%dT%H:%M:%SZ}"
        subject = SUBJECTS[number - 1] if number <= len(SUBJECTS) else f"Newsletter {number}"
        given = {
            "subject": subject,
            "body": {"contentType": "text", "content": f"{subject}: this is a sample mail."},
            "toRecipients": [_recipient(person)],
        }
        more = {"id": f"{_sample_id(person)}{number:010}", "from": sender, "sender": sender, "parentFolderId": "inbox"}
        return {**_made(person, given, at), **more, "internetMessageId": f"<{number}@sandbox.example>"}


def _made(person: Person, given: dict[str, Any], at: str | None = None) -> dict[str, Any]:
    """A whole message.

    :param person: the sender.
    :param given: the fields that the client has set.
    :param at: when it was sent; None for now.
    """
    at, key, me = at or moment(), _new_id(), _recipient(person)
    body = {"contentType": "text", "content": "", **(given.get("body") or {})}
    return {
        "id": key,
        "createdDateTime": at,
        "lastModifiedDateTime": at,
        "changeKey": "CQAAABYAAAA",
        "receivedDateTime": at,
        "sentDateTime": at,
        "internetMessageId": f"<{uuid.uuid4()}@sandbox.example>",
        "parentFolderId": "sentitems",
        "conversationId": f"AAQk{key[4:20]}",
        "conversationIndex": "AQHW",
        "isRead": True,
        "isDraft": False,
        "webLink": "https://outlook.office365.com/owa/?exvsurl=1&viewmodel=ReadMessageItem",
        "subject": "",
        "importance": "normal",
        "categories": [],
        "isDeliveryReceiptRequested": False,
        "isReadReceiptRequested": False,
        "inferenceClassification": "focused",
        "flag": {"flagStatus": "notFlagged"},
        "replyTo": [],
        **dict.fromkeys(RECIPIENTS, []),
        **{name: value for name, value in given.items() if value is not None},
        "from": me,
        "sender": me,
        "body": body,
        "bodyPreview": preview(body),
        "hasAttachments": bool(given.get("attachments")),
    }


def preview(body: dict[str, Any]) -> str:
    """The first 255 characters of a body, without HTML's tags."""
    content = body.get("content") or ""
    if str(body.get("contentType")).lower() == "html":
        content = re.sub(r"<[^>]*>", "", content)
    return " ".join(content.split())[:255]


def _addresses(given: dict[str, Any]) -> set[str]:
    """The addresses that a message goes to.

    :raises GraphError: there is none, or one that is none.
    """
    recipients = [each for name in RECIPIENTS for each in given.get(name) or ()]
    addresses = {str((each.get("emailAddress") or {}).get("address") or "") for each in recipients}
    start = "At least one recipient is not valid., "
    if not addresses:
        message = "A message can't be sent because it contains no recipients."
        raise GraphError(400, "ErrorInvalidRecipients", start + message)
    for address in addresses:
        if not re.fullmatch(r"[^@\s;,<>]+@[^@\s;,<>]+", address):
            message = f"Recipient '{address}' is not resolved. All recipients must be resolved before a message can be "
            raise GraphError(400, "ErrorInvalidRecipients", f"{start}{message}submitted.")
    return {address.lower() for address in addresses}


def _check_sender(person: Person, given: dict[str, Any]) -> None:
    """:raises GraphError: the message is said to be from somebody else."""
    for name in ("from", "sender"):
        address = ((given.get(name) or {}).get("emailAddress") or {}).get("address")
        if address is not None and address.lower() not in _addresses_of(person):
            message = (
                "The user account which was used to submit this request does not have the right to send mail on behalf "
                "of the specified sending account., Cannot submit message."
            )
            raise GraphError(403, "ErrorSendAsDenied", message)


def _addresses_of(person: Person) -> set[str]:
    return {str(each).lower() for each in (person.profile.get("mail"), person.username) if each}


def _recipient(person: Person) -> dict[str, Any]:
    """A person as sender or recipient."""
    return {"emailAddress": {"name": person.name, "address": person.profile.get("mail") or person.username}}


def _new_id() -> str:
    return f"AAMk{secrets.token_urlsafe(48)}AAA="


def _sample_id(person: Person) -> str:
    """The id of a person's sample mails, as far as they share it."""
    return f"AAMk{person.oid.replace('-', '')}"


def _is_sample(person: Person, key: str) -> bool:
    return re.fullmatch(rf"{re.escape(_sample_id(person))}[0-9]{{10}}", key) is not None

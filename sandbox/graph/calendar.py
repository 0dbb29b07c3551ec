"""The events of a person's calendar.

https://learn.microsoft.com/graph/api/resources/event

The sandbox answers times in the time zone in which they came. Graph converts them to UTC, or to the one that
`Prefer: outlook.timezone` names.
"""

from __future__ import annotations

import datetime
import re
import secrets
import uuid
from typing import Any

from flask import Response

from ..people import Person
from .access import Access, Route
from .answers import GraphError, answer, check_if_match, moment, nothing_more
from .bodies import ADDRESS, ITEM_BODY, anything, checked, flag, json_body, many, number, one_of, shape, text
from .mail import preview
from .options import check_options, chosen, page, selected

READ = ("Calendars.Read", "Calendars.ReadWrite")
WRITE = "Calendars.ReadWrite"
TIME = shape({"dateTime": text, "timeZone": text}, "dateTimeTimeZone")
LOCATION = shape(
    {
        "displayName": text,
        "locationEmailAddress": text,
        "locationUri": text,
        "locationType": text,
        "uniqueId": text,
        "uniqueIdType": text,
        "address": anything,
        "coordinates": anything,
    },
    "location",
)
ATTENDEE = shape(
    {
        "emailAddress": ADDRESS,
        "type": one_of("required", "optional", "resource"),
        "status": shape({"response": text, "time": text}, "responseStatus"),
        "proposedNewTime": anything,
    },
    "attendee",
)
# The fields that a client may set, with their forms.
EVENT = {
    "transactionId": text,
    "subject": text,
    "body": ITEM_BODY,
    "start": TIME,
    "end": TIME,
    "isAllDay": flag,
    "location": LOCATION,
    "locations": many(LOCATION),
    "attendees": many(ATTENDEE),
    "recurrence": anything,
    "categories": many(text),
    "importance": one_of("low", "normal", "high"),
    "sensitivity": one_of("normal", "personal", "private", "confidential"),
    "showAs": one_of("free", "tentative", "busy", "oof", "workingElsewhere", "unknown"),
    "isReminderOn": flag,
    "reminderMinutesBeforeStart": number,
    "responseRequested": flag,
    "allowNewTimeProposals": flag,
    "hideAttendees": flag,
    "isOnlineMeeting": flag,
    "onlineMeetingProvider": one_of("unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"),
}
# The fields of an event of which a client has set none. Those that are not in `EVENT` are ignored in what a client sends.
NEW: dict[str, Any] = {
    "categories": [],
    "transactionId": None,
    "originalStartTimeZone": "UTC",
    "originalEndTimeZone": "UTC",
    "iCalUId": "",
    "reminderMinutesBeforeStart": 15,
    "isReminderOn": True,
    "hasAttachments": False,
    "subject": "",
    "bodyPreview": "",
    "importance": "normal",
    "sensitivity": "normal",
    "isAllDay": False,
    "isCancelled": False,
    "isOrganizer": True,
    "isDraft": False,
    "responseRequested": True,
    "seriesMasterId": None,
    "showAs": "busy",
    "type": "singleInstance",
    "webLink": "https://outlook.office365.com/owa/?exvsurl=1&path=/calendar/item",
    "onlineMeetingUrl": None,
    "onlineMeeting": None,
    "isOnlineMeeting": False,
    "onlineMeetingProvider": "unknown",
    "allowNewTimeProposals": True,
    "hideAttendees": False,
    "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
    "body": {"contentType": "html", "content": ""},
    "location": {"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}},
    "locations": [],
    "recurrence": None,
    "attendees": [],
}
OTHERS = (*NEW, "id", "createdDateTime", "lastModifiedDateTime", "changeKey", "organizer")
FIELDS = {*EVENT, *OTHERS}
IGNORED = FIELDS - EVENT.keys()


class Calendar:
    """The endpoints of events.

    :param access: the access to Graph.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("/me/events", self.events),
            Route("/me/events", self.create, ("POST",)),
            Route("/me/events/<key>", self.event),
            Route("/me/events/<key>", self.update, ("PATCH",)),
            Route("/me/events/<key>", self.delete, ("DELETE",)),
        ]

    def events(self) -> Response:
        """All events. https://learn.microsoft.com/graph/api/user-list-events"""
        person = self._access.person(*READ)
        check_options("$select", "$top", "$skip", "$count")
        names = chosen(FIELDS, "event")
        events = list(person.events.values())

        def read(start: int, end: int) -> list[dict[str, Any]]:
            return [selected(event, names, "@odata.etag", "id") for event in events[start:end]]

        context = self._access.context(f"users('{person.oid}')/events")
        return answer({"@odata.context": context, **page(self._access, len(events), read)})

    def create(self) -> Response:
        """Make an event. https://learn.microsoft.com/graph/api/user-post-events"""
        person = self._access.person(WRITE)
        check_options()
        given = checked(json_body(), EVENT, "event", ignored=IGNORED)
        address = {"name": person.name, "address": person.profile.get("mail") or person.username}
        made = {
            "id": f"AAMk{secrets.token_urlsafe(48)}AAA=",
            "createdDateTime": moment(),
            **NEW,
            "iCalUId": uuid.uuid4().hex.upper(),
            "organizer": {"emailAddress": address},
        }
        event = _changed(made, given)
        with self._access.lock:
            for other in person.events.values():
                if event["transactionId"] is not None and other["transactionId"] == event["transactionId"]:
                    message = "Your request can't be completed. The TransactionId specified in the request has already "
                    message += "been used to create a different event."
                    raise GraphError(409, "ErrorDuplicateTransactionId", message)
            person.events[event["id"]] = event
        url = f"{self._access.url}/me/events/{event['id']}"
        return self._answer(person, event, 201, {"Location": url})

    def event(self, key: str) -> Response:
        """One event. https://learn.microsoft.com/graph/api/event-get"""
        person = self._access.person(*READ)
        check_options("$select")
        names = chosen(FIELDS, "event")
        return self._answer(person, selected(_found(person, key), names, "@odata.etag", "id"))

    def update(self, key: str) -> Response:
        """Change an event. https://learn.microsoft.com/graph/api/event-update"""
        person = self._access.person(WRITE)
        check_options()
        given = checked(json_body(), EVENT, "event", ignored=IGNORED)
        with self._access.lock:
            event = _found(person, key)
            _check_unchanged(event)
            person.events[key] = event = _changed(event, given)
        return self._answer(person, event)

    def delete(self, key: str) -> Response:
        """Delete an event. https://learn.microsoft.com/graph/api/event-delete"""
        person = self._access.person(WRITE)
        check_options()
        with self._access.lock:
            _check_unchanged(_found(person, key))
            del person.events[key]
        return nothing_more(204)

    def _answer(
        self, person: Person, event: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        context = self._access.context(f"users('{person.oid}')/events/$entity")
        headers = {"ETag": event["@odata.etag"], **(headers or {})}
        return answer({"@odata.context": context, **event}, status, headers)


def _found(person: Person, key: str) -> dict[str, Any]:
    """:raises GraphError: there is no such event."""
    event = person.events.get(key)
    if event is None:
        raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    return event


def _check_unchanged(event: dict[str, Any]) -> None:
    """:raises GraphError: the client has read an earlier state of the event."""
    message = (
        "The send or update operation could not be performed because the change key passed in the request does not match "
        "the current change key for the item."
    )
    check_if_match(event["@odata.etag"], GraphError(412, "ErrorIrresolvableConflict", message))


def _changed(event: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A new event with the fields that a client has set, and a new change key.

    :param event: the event before.
    :param given: the fields; null stands for the value that an event has at first.
    :raises GraphError: the times are missing, or are none, or the event ends before it starts.
    """
    new = dict(event)
    for name, value in given.items():
        old = event.get(name)
        if isinstance(value, dict) and isinstance(old, dict) and name != "recurrence":
            value = {**old, **value}
        new[name] = NEW.get(name) if value is None else value
    start, end = _time(new.get("start")), _time(new.get("end"))
    if new["start"]["timeZone"] == new["end"]["timeZone"] and end < start:
        raise _invalid()
    for name, at in (("start", start), ("end", end)):
        fraction = new[name]["dateTime"].removesuffix("Z").partition(".")[2]
        new[name] = {**new[name], "dateTime": f"{at.isoformat()}.{fraction:0<7}"}
    zones = {
        "originalStartTimeZone": new["start"]["timeZone"],
        "originalEndTimeZone": new["end"]["timeZone"],
    }
    if "location" in given and "locations" not in given:
        new["locations"] = [new["location"]] if given["location"] else []
    if "recurrence" in given:
        new["type"] = "seriesMaster" if given["recurrence"] else "singleInstance"
    change_key = secrets.token_urlsafe(18)
    etag = {"@odata.etag": f'W/"{change_key}"'}  # comes first
    more = {"changeKey": change_key, "lastModifiedDateTime": moment(), "bodyPreview": preview(new["body"])}
    return {**etag, **new, **zones, **more, **etag}


def _time(time: dict[str, Any] | None) -> datetime.datetime:
    """The start or the end of an event.

    :raises GraphError: it is no point in time.
    """
    written, zone = (time or {}).get("dateTime") or "", (time or {}).get("timeZone") or ""
    if not zone or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,7})?)?Z?", written, re.ASCII):
        raise _invalid()
    try:
        return datetime.datetime.fromisoformat(written.removesuffix("Z")[:19])
    except ValueError:
        raise _invalid() from None


def _invalid() -> GraphError:
    return GraphError(400, "ErrorPropertyValidationFailure", "At least one property failed validation.")

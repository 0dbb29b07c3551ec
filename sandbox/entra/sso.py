"""Single sign-on: the cookie by which the tenant recognises a browser in which somebody signed in before."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import request
from werkzeug import Response

from ..people import Person
from .tenant import Tenant


@dataclass(frozen=True)
class Session:
    """A single sign-on session.

    :ivar value: the value of its cookie.
    :ivar person: the person who signed in.
    :ivar signed_in_at: when (Unix seconds).
    """

    value: str
    person: Person
    signed_in_at: float

    @property
    def state(self) -> str:
        """A stable GUID of the session (`session_state`), which does not give the cookie away."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.value))


class SingleSignOn:
    """The single sign-on session of the browser that sent the current request.

    :param tenant: the tenant.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        # Cookies are shared by all ports of a host: other sandboxes, and the app, have cookies on localhost too.
        self._cookie = f"sandbox_sso_{urlsplit(tenant.addresses.front_url).port}"

    def session(self) -> Session | None:
        """The browser's session, or None if nobody is signed in."""
        value, memory = self._value(), self._tenant.memory
        person = self._tenant.people.get(memory.sessions.get(value, ""))
        return Session(value, person, memory.signed_in_at[value]) if person else None

    def start(self, person: Person) -> Session:
        """Start a session, which replaces the browser's earlier one.

        :param person: the person who signed in.
        :return: the session; `remember` gives it to the browser.
        """
        memory = self._tenant.memory
        value = memory.start_session(person.key, before=self._value())
        return Session(value, person, memory.signed_in_at[value])

    def remember(self, session: Session, response: Response) -> None:
        """Set the session's cookie on a response."""
        response.set_cookie(self._cookie, session.value, httponly=True, samesite="Lax")

    def end(self) -> Session | None:
        """End the browser's session; `forget` takes the cookie away.

        :return: the session, if somebody was signed in.
        """
        ended = self.session()
        self._tenant.memory.end_session(self._value())
        return ended

    def forget(self, response: Response) -> None:
        """Delete the cookie on a response."""
        response.delete_cookie(self._cookie, httponly=True, samesite="Lax")

    def _value(self) -> str:
        return request.cookies.get(self._cookie, "")

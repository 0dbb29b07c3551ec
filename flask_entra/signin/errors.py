"""What can go wrong with a sign-in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


class SignInError(Exception):
    """A sign-in that cannot be finished.

    :ivar error: the error code of OAuth 2.0 (RFC 6749, 4.1.2.1 and 5.2), OpenID Connect, or this app.
    :ivar description: what the authority says about it.
    :ivar scopes: the scopes that were asked for, where they may be what is wrong.
    :ivar more_scopes: what it asked for, when it was to give more to a person who is signed in already, and still is.
    """

    def __init__(self, error: str, description: str = "", scopes: Iterable[str] = ()):
        super().__init__(f"{error}: {description}")
        self.error, self.description, self.scopes = error, description, list(scopes)
        self.more_scopes: list[str] = []


class AppTokenRefused(SignInError):
    """The authority gives the app no token of its own, which no sign-in can change.

    :ivar not_granted: whether the app lacks all application permissions of the API.
    """

    def __init__(self, error: str, description: str = "", scopes: Iterable[str] = ()):
        super().__init__(error, description, scopes)
        # AADSTS501051: the API gives tokens only to apps that have been assigned to it.
        self.not_granted = bool(re.search(r"\bAADSTS(65001|501051)\b", description))

    def __str__(self) -> str:
        mend = (
            "add its application permissions under API permissions, and grant admin consent" if self.not_granted else ""
        )
        return f"no token of the app's own for {' '.join(self.scopes)}: {super().__str__()}{mend and f'; {mend}'}"


class SignInRequired(Exception):
    """Only the person can bring a token: they have to sign in (again).

    Raised in a view, it sends them to sign in and back to the page.

    :ivar claims: the claims challenge to pass on (JSON), if an API or the authority sent one.
    :ivar scopes: the scopes that are wanted; None means those of the setting `SCOPE`.
    :ivar max_age: how many seconds ago the person may have signed in at most; None for any time.
    :ivar not_sent: whether the sign-in comes in the place of a form, which has not been sent then.
    """

    def __init__(self, claims: str | None = None, scopes: list[str] | None = None, max_age: int | None = None):
        super().__init__("sign-in required")
        self.claims, self.scopes, self.max_age = claims, scopes, max_age
        self.not_sent = False


class AuthorityUnavailable(Exception):
    """The authority cannot be reached, or its answer is not an authority's.

    :ivar timeout: whether it took too long.
    :ivar retry_after: after how many seconds it is worth another try, or None.
    :ivar description: what the authority says is wrong with the request, when it says so.
    """

    def __init__(self, reason: str, *, timeout: bool = False, retry_after: int | None = None, description: str = ""):
        super().__init__(reason)
        self.timeout, self.retry_after, self.description = timeout, retry_after, description


class AnotherIssuer(AuthorityUnavailable):
    """The discovery document is another issuer's than the one configured.

    :ivar issuer: whose it is.
    """

    def __init__(self, reason: str, *, issuer: str = ""):
        super().__init__(reason)
        self.issuer = issuer


class IdTokenRefused(Exception):
    """An ID token that must not sign anybody in. The text names the check that it fails."""


class TenantNotAllowed(IdTokenRefused):
    """An ID token that is valid, of a person whose tenant is not one of `ALLOWED_TENANTS`.

    :ivar user: its claims.
    """

    def __init__(self, user: dict[str, Any]):
        super().__init__(f"its tenant (tid) is not one of ALLOWED_TENANTS: {user.get('tid')}")
        self.user = user


class SignInElsewhere(SignInRequired):
    """A caller that shows no page needs a sign-in: it is told so, and where, instead of being sent there.

    :ivar sign_in: the absolute URL at which a person signs in for it.
    :ivar known: whether somebody is signed in, but for something else.
    """

    def __init__(self, required: SignInRequired, sign_in: str, *, known: bool):
        super().__init__(required.claims, required.scopes, required.max_age)
        self.sign_in, self.known, self.__cause__ = sign_in, known, required.__cause__


class SignInRefused(Exception):
    """The app does not let somebody in whom the authority has signed in. Raise it in a function of `Auth.on_sign_in`.

    :ivar reason: for the person to read.
    """

    def __init__(self, reason: str = ""):
        super().__init__(reason)
        self.reason = reason


class NotAllowed(Exception):
    """The person who is signed in may not open the page.

    :ivar claim: what they lack: `roles` or `groups`.
    :ivar needed: the names of the roles, or the ids of the groups, of which any would do.
    :ivar user: the claims of their ID token.
    :ivar doubt: why the claim is not believed; empty when it is.
    :ivar lacking: all of that in words for a log.
    """

    def __init__(self, claim: str, needed: tuple[str, ...], user: dict[str, Any], doubt: str = ""):
        self.lacking = f"{claim}: one of {', '.join(needed)} is needed{f'; {doubt}' if doubt else ''}"
        super().__init__(f"{person(user)} {self.lacking}")
        self.claim, self.needed, self.user, self.doubt = claim, needed, user, doubt


class CallerRefused(Exception):
    """The bearer token of a request does not open the view, or there is none (RFC 6750, 3.1).

    :ivar error: `invalid_request`, `invalid_token`, `insufficient_scope`, or Entra's `insufficient_claims`; empty when there is
        no bearer token.
    :ivar description: for the developer of the caller: ASCII, without a quote or a backslash, and nothing of the token.
    :ivar scopes: those of which one is needed.
    :ivar roles: the app roles of which one would do.
    :ivar claims: the claims challenge to pass on (JSON), or None.
    :ivar user: the claims of the token, if it is valid.
    """

    def __init__(
        self,
        error: str = "",
        description: str = "",
        *,
        reason: str = "",
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        claims: str | None = None,
        user: dict[str, Any] | None = None,
    ):
        super().__init__(": ".join(filter(None, (error or "no bearer token", reason or description))))
        self.error, self.description, self.claims, self.user = error, description, claims, user
        self.scopes, self.roles = list(scopes), list(roles)


class MembershipUnknown(Exception):
    """Whether the person is in one of the groups cannot be found out, so they are not let in.

    :ivar needed: the ids of the groups of which any would do.
    :ivar reason: what keeps it from being found out.
    :ivar lasting: whether there is nobody to ask at all, so that another try would not help.
    :ivar retry_after: after how many seconds it is worth another try, or None.
    :ivar lacking: what they may lack, in words for a log.
    """

    def __init__(
        self,
        needed: tuple[str, ...],
        user: dict[str, Any],
        reason: str,
        *,
        lasting: bool = False,
        retry_after: int | None = None,
    ):
        self.lacking = f"groups: one of {', '.join(needed)} is needed; {reason}"
        super().__init__(f"{person(user)} {self.lacking}")
        self.needed, self.reason, self.lasting, self.retry_after = needed, reason, lasting, retry_after


def person(user: dict[str, Any] | None) -> str:
    """A person, for a log: the object and the tenant, which an administrator can look up, and no name."""
    return f"oid={user.get('oid') or user['sub']} tid={user.get('tid')}" if user else "nobody"


def sign_in_details(description: str) -> dict[str, str]:
    """What support asks for, out of Entra's `error_description`: the code, trace id, correlation id and time."""
    found = {"code": re.search(r"\b(?:AADSTS|AADB2C)\d{4,8}\b", description)}
    for name, label in (("trace_id", "Trace ID"), ("correlation_id", "Correlation ID"), ("time", "Timestamp")):
        found[name] = re.search(
            rf"{label}: ([0-9A-Za-z: -]{{8,40}}?)(?= (?:Trace|Correlation|Timestamp)|\s*$)", description
        )
    return {name: match[match.lastindex or 0] for name, match in found.items() if match}

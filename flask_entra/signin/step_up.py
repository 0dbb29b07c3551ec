"""Step-up: a view that wants a recent sign-in (`max_age`), or one by a stronger method (an authentication context of Entra's).

OpenID Connect Core 1.0, 2 (`auth_time`), 3.1.2.1 (`max_age`), 5.5 (`claims`) and 12.2 (a refresh)
https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from flask_entra.bearer import merged_claims
from flask_entra.signin.current_user import is_told_now
from flask_entra.signin.errors import SignInError, SignInRequired
from flask_entra.signin.id_token import LEEWAY_SECONDS

# The error code that OpenID Connect has for it: Core Error Code unmet_authentication_requirements 1.0.
UNMET = "unmet_authentication_requirements"
_CONTEXT = re.compile("c[1-9][0-9]?")  # Entra has c1 to c99


@dataclass(frozen=True)
class StepUp:
    """What a view wants of the sign-in itself. It is true when it wants anything.

    :ivar max_age: how many seconds ago the person may have signed in at most; None for any time.
    :ivar auth_context: the authentication context (`acrs` in the ID token) that the sign-in must have met; None for none.
    """

    max_age: int | None = None
    auth_context: str | None = None

    @classmethod
    def of(cls, max_age: object, auth_context: object) -> StepUp:
        """What a developer has written.

        :raises TypeError: `max_age` is not a whole number, or `auth_context` is not a text.
        :raises ValueError: `max_age` is not above 0, or there is no such authentication context.
        """
        if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int)):
            shown = repr(max_age)
            raise TypeError(
                f"login_required(max_age={shown[:60]}): max_age is a number of seconds, such as max_age=300."
            )
        if max_age is not None and max_age <= 0:
            raise ValueError(f"login_required(max_age={max_age}): max_age is a number of seconds above 0.")
        if auth_context is not None and not isinstance(auth_context, str):
            shown = repr(auth_context)
            raise TypeError(f'login_required(auth_context={shown[:60]}): auth_context is a text, such as "c1".')
        if auth_context is not None and not _CONTEXT.fullmatch(auth_context):
            raise ValueError(
                f"login_required(auth_context={auth_context[:60]!r}): Entra's authentication contexts are c1 to c99. Their ids "
                "stand in the Entra admin center, under Conditional Access › Authentication contexts."
            )
        return cls(max_age, auth_context)

    def __bool__(self) -> bool:
        return self != StepUp()

    def check(self, user: dict[str, Any], scopes: list[str] | None) -> None:
        """Ask for another sign-in unless the present one is recent and strong enough.

        :param user: the claims of the person who makes the present request.
        :param scopes: those of the view.
        :raises SignInRequired: it is not.
        """
        if not is_recent(user, self.max_age):
            raise SignInRequired(scopes=scopes)
        # A refresh without an ID token leaves the claim as it was. It is believed no longer than an ID token lives.
        if self.auth_context and not (self.auth_context in _contexts(user) and is_told_now(user, "acrs")):
            raise SignInRequired(scopes=scopes)

    def added_to(self, required: SignInRequired) -> SignInRequired:
        """A sign-in that is required for the view anyway, with what the view wants of it: one sign-in is enough for both."""
        if self.auth_context:
            wanted = {"id_token": {"acrs": {"essential": True, "value": self.auth_context}}}
            required.claims = merged_claims(required.claims, json.dumps(wanted))
        if self.max_age is not None:
            required.max_age = self.max_age
        return required


def is_recent(user: dict[str, Any], max_age: int | None) -> bool:
    """Whether a person has signed in at most so many seconds ago. An ID token that does not say when is not recent.

    :param max_age: in seconds; None for any time.
    """
    signed_in = auth_time(user)
    return max_age is None or (
        signed_in is not None and -LEEWAY_SECONDS <= time.time() - signed_in <= max_age + LEEWAY_SECONDS
    )


def auth_time(user: dict[str, Any]) -> float | None:
    """When a person has signed in at the authority (Unix seconds), if the ID token says so in a way that can be read."""
    value = user.get("auth_time")
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def kept_auth_time(before: dict[str, Any] | None, claims: dict[str, Any]) -> dict[str, Any]:
    """The `auth_time` of a sign-in of before, for a new ID token of the same person that does not say it.

    :param before: the claims of the person who was signed in; None when nobody was.
    :param claims: those of the new ID token.
    :return: the claim to add; none when it is not known, or the new token is another person's.
    """
    known = auth_time(before) if before else None
    if before is None or known is None or any(before[name] != claims[name] for name in ("iss", "sub")):
        return {}
    return {"auth_time": known}


def refreshed(before: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """The claims of an ID token that a refresh has brought, with the `auth_time` of the sign-in, if that has said it.

    A refresh is no sign-in (Core, 12.2), and some authorities tell the time of the refresh all the same.

    :param before: the claims of the person, whose token it is.
    """
    return {name: value for name, value in claims.items() if name != "auth_time"} | kept_auth_time(before, claims)


def check_answer(flow: dict[str, Any], claims: dict[str, Any]) -> None:
    """Hold a finished sign-in against what it was to bring. It is not begun again by itself, which might never end.

    :param flow: as `Client.begin` gave it.
    :param claims: those of the ID token.
    :raises SignInError: the authority has not done what was asked for.
    """
    if not is_recent(claims, flow.get("longest_ago")):
        said = "the ID token has no auth_time" if auth_time(claims) is None else "the sign-in is older than max_age"
        raise SignInError(UNMET, said)
    wanted = _wanted_contexts(flow.get("claims_challenge"))
    if wanted and not wanted & _contexts(claims):
        raise SignInError(UNMET, f"the ID token has no {' or '.join(sorted(wanted))} in acrs")


def _wanted_contexts(challenge: str | None) -> set[str]:
    """The authentication contexts of which a claims challenge must have one in the ID token."""
    part = json.loads(merged_claims(challenge) or "{}").get("id_token", {}).get("acrs")
    if not isinstance(part, dict) or part.get("essential") is not True:
        return set()
    values = part.get("values")
    return {str(each) for each in (*(values if isinstance(values, list) else []), part.get("value")) if each}


def _contexts(user: dict[str, Any]) -> set[str]:
    """The authentication contexts that a sign-in has met: a list of texts, or a text."""
    value = user.get("acrs")
    values = value.split() if isinstance(value, str) else value
    return {each for each in values if isinstance(each, str)} if isinstance(values, list) else set()

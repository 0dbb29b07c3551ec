"""Who may open a view: the roles and groups that it names, held against the claims of the validated ID token.

https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference (`roles`, `groups`, and groups overage)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from flask_entra.clouds import GUID
from flask_entra.signin.errors import NotAllowed
from flask_entra.signin.step_up import StepUp

# A claim with more entries is not Entra's: a registration holds 1,200 at most, and a token 200 groups.
CLAIMED_AT_MOST = 1200

_NEARLY_AN_ID = re.compile("[0-9a-f-]{24,}", re.IGNORECASE)  # no name of a group looks like this

# Gets the claims of a person and ids of groups; returns those of which they are a member.
# It raises MembershipUnknown when that cannot be found out.
MemberOf: TypeAlias = Callable[[dict[str, Any], tuple[str, ...]], Collection[str]]


# Stands for the scopes of the setting `SCOPE`, which is not known when a view is decorated.
DEFAULT_SCOPES = ["SCOPE"]


@dataclass(frozen=True)
class Requirement:
    """What a view asks of the person who opens it.

    :ivar scopes: the scopes of the access token that it needs; None for a view that calls no API.
    :ivar roles: the app roles of which the person must have one; empty admits everybody.
    :ivar groups: the groups of which they must be in one: object ids in lower case, or names of the setting `GROUPS`; empty
        admits everybody.
    :ivar step_up: what it wants of the sign-in itself.
    """

    scopes: list[str] | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    step_up: StepUp = StepUp()

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that decide: `roles`, `groups`, both or none."""
        return (*(["roles"] if self.roles else []), *(["groups"] if self.groups else []))

    @classmethod
    def of(
        cls, scopes: object, roles: object, groups: object, max_age: object = None, auth_context: object = None
    ) -> Requirement:
        """The requirement that a developer has written.

        :raises TypeError: one of the first three is no list of texts, or one of the others is of another type than it must be.
        :raises ValueError: there is no role or no group, an entry is empty, or a group's id is malformed; or as `StepUp.of`.
        """
        # A token is for one API, and so must its scopes be. Entra says so if they are not: scopes may come from the settings,
        # where nothing is refused.
        wanted: list[str] | None = DEFAULT_SCOPES
        if scopes is not DEFAULT_SCOPES:
            wanted = None if scopes is None else list(texts("scopes", scopes, "User.Read"))
        names = () if roles is None else texts("roles", roles, "Orders.Approve")
        if roles is not None and not names:
            raise ValueError(
                "login_required(roles=[]) names no role: leave roles out to admit everybody who is signed in."
            )
        ids = () if groups is None else texts("groups", groups, "b9b3d9a4-5a0f-4c4e-8b6e-6f3d6b0f5b11")
        if groups is not None and not ids:
            raise ValueError(
                "login_required(groups=[]) names no group: leave groups out to admit everybody who is signed in."
            )
        for name in ids:
            if _NEARLY_AN_ID.fullmatch(name) and not GUID.fullmatch(name):
                raise ValueError(
                    f"login_required(groups=…): {name!r} is not the id of a group. "
                    "Copy the Object ID from the group's Overview in the Entra admin center."
                )
        groups = tuple(each.lower() if GUID.fullmatch(each) else each for each in ids)
        return cls(wanted, names, groups, StepUp.of(max_age, auth_context))

    def unknown_groups(self, names: Mapping[str, str]) -> list[str]:
        """The names of groups that the setting `GROUPS` does not have.

        :param names: the ids that it has, by name.
        """
        return [each for each in self.groups if each not in names and not GUID.fullmatch(each)]

    def check(self, user: dict[str, Any], member_of: MemberOf, names: Mapping[str, str] = MappingProxyType({})) -> None:
        """Admit a person, or raise. What cannot be understood or found out admits nobody.

        :param user: the claims of their validated ID token.
        :param member_of: asked when the token says that the person is in too many groups to name them.
        :param names: the ids of the groups in the setting `GROUPS`, by name.
        :raises NotAllowed: they have none of the roles, or are in none of the groups.
        :raises MembershipUnknown: whether they are in one of the groups cannot be found out at present.
        :raises ValueError: a group is named that the setting does not have.
        """
        if unknown := self.unknown_groups(names):
            raise ValueError(f"The setting GROUPS has no {unknown[0]!r}, which login_required names.")
        if self.roles and not set(self.roles) & set(claimed(user, "roles", self.roles)):
            raise NotAllowed("roles", self.roles, user)
        if self.groups:
            needed = tuple(names.get(each, each) for each in self.groups)
            groups = {each.lower() for each in claimed(user, "groups", needed)}
            if not groups & set(needed) and not (is_overage(user) and member_of(user, needed)):
                raise NotAllowed("groups", needed, user)


def is_overage(user: dict[str, Any]) -> bool:
    """Whether an ID token says that the person is in more groups than it can name.

    Where it says that they can be asked for (`_claim_sources`) is never used: the address of Graph is the app's own to know.
    """
    elsewhere = user.get("_claim_names")
    return user.get("hasgroups") in (True, "true") or (isinstance(elsewhere, dict) and "groups" in elsewhere)


def claimed(user: dict[str, Any], claim: str, needed: tuple[str, ...] = ()) -> list[str]:
    """The entries of `roles` or `groups` in an ID token; none when the claim is not there.

    :param needed: what it is asked for, to be told.
    :raises NotAllowed: the claim is not what such a claim is: a list of texts, of a length that can be.
    """
    value = user.get(claim, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise NotAllowed(claim, needed, user, "the claim is not a list of texts")
    if len(value) > CLAIMED_AT_MOST:
        raise NotAllowed(claim, needed, user, f"the claim has {len(value)} entries")
    if claim == "groups" and value and not any(GUID.fullmatch(each) for each in value):
        raise NotAllowed(claim, needed, user, "the claim holds names instead of object ids")
    return value


def texts(name: str, value: object, example: str, decorator: str = "login_required") -> tuple[str, ...]:
    """The texts that a developer has written as an argument of a decorator.

    :raises TypeError: it is no list of texts.
    :raises ValueError: one of them is empty.
    """
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(each, str) for each in value):
        shown = repr(value)
        raise TypeError(f"{decorator}({name}={shown[:60]}): {name} is a list of texts, such as {name}=[{example!r}].")
    if not all(each.strip() for each in value):
        raise ValueError(f"{decorator}({name}=…): an entry is empty. Each is a name, such as {example!r}.")
    return tuple(value)

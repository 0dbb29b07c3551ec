"""What it is to a person that they may not open a page: a role or a group that they lack, a tenant that may not sign in."""

from __future__ import annotations

from collections.abc import Callable

from flask_entra.config import current
from flask_entra.group_names import name_of, shown
from flask_entra.pages import explanations
from flask_entra.pages.explanations import Explanation
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import Problem, explain
from flask_entra.signin.errors import MembershipUnknown, NotAllowed, SignInRefused, TenantNotAllowed

SHOWN_AT_MOST = 20  # of a person's roles, or groups


@explain.register
def _not_allowed(error: NotAllowed) -> Problem:
    has = error.user.get(error.claim)
    if error.claim == "roles":
        explanation, names = _about_roles(error.needed), ", ".join(error.needed)
        details = [(_("Role needed"), names), (_("Your roles"), _listed(has, str))]
        hint = _(
            "The ID token has no roles. Define the role under App roles of the app registration, and assign people to it."
        )
    else:
        explanation, names = _about_groups(error.needed), _groups(error.needed)
        details = [(_("Group needed"), names), (_("Your groups"), _listed(has, _group))]
        hint = _("The ID token has no groups. Add them under Token configuration › Add groups claim.")
    if account := error.user.get("preferred_username"):
        details.append((_("Account"), str(account)[:200]))
    if error.doubt:
        details.append((_("Reason"), error.doubt))
    elif not has:
        explanation = explanation._replace(for_developers=hint)
    return Problem(explanation, details, members={error.claim: list(error.needed)})


def _about_roles(needed: tuple[str, ...]) -> Explanation:
    names = ", ".join(needed)
    text = _("This page is for people with one of these roles: %(roles)s.", roles=names)
    if len(needed) == 1:
        text = _("This page is for people with the role %(role)s.", role=names)
    return explanations.ROLE_MISSING._replace(text=text)


def _about_groups(needed: tuple[str, ...]) -> Explanation:
    names = [name_of(current().groups, each) for each in needed]
    told = ", ".join(filter(None, names))
    if None in names:  # an id says nothing to a person
        return explanations.GROUP_MISSING
    text = _("This page is for members of one of these groups: %(groups)s.", groups=told)
    if len(needed) == 1:
        text = _("This page is for members of the group %(group)s.", group=told)
    return explanations.GROUP_MISSING._replace(text=text)


def _groups(ids: tuple[str, ...]) -> str:
    return ", ".join(map(_group, ids))


def _group(group: object) -> str:
    return shown(current().groups, str(group))


def _listed(value: object, called: Callable[[object], str]) -> str:
    if not value or not isinstance(value, list):
        return str(value or _("none"))[:200]
    more = " …" if len(value) > SHOWN_AT_MOST else ""
    return ", ".join(called(each)[:100] for each in value[:SHOWN_AT_MOST]) + more


@explain.register
def _membership_unknown(error: MembershipUnknown) -> Problem:
    explanation = explanations.NOBODY_TO_ASK if error.lasting else explanations.MEMBERSHIP_UNKNOWN
    details = [(_("Group needed"), _groups(error.needed)), (_("Reason"), error.reason[:1000])]
    return Problem(explanation, details, error.retry_after, members={"groups": list(error.needed)})


@explain.register
def _tenant_not_allowed(error: TenantNotAllowed) -> Problem:
    tenant = str(error.user.get("tid") or _("none"))
    mend = _("If its people may sign in, add the tenant ID %(tenant)s to ALLOWED_TENANTS.", tenant=tenant)
    details = [(_("Tenant ID"), tenant)]
    if account := error.user.get("preferred_username"):
        details.append((_("Account"), str(account)[:200]))
    return Problem(explanations.TENANT_NOT_ALLOWED._replace(for_developers=mend), details)


@explain.register
def _sign_in_refused(error: SignInRefused) -> Problem:
    explanation = explanations.REFUSED_BY_THE_APP
    return Problem(explanation._replace(text=Text(error.reason)) if error.reason else explanation)

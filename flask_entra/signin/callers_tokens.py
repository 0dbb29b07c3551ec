"""The bearer tokens of callers: who may open a view of `bearer_required`.

RFC 6750, with the token in the `Authorization` header only (2.1). Whether one of several scopes will do, and what an app's own
token needs, is as in Microsoft.Identity.Web:
https://learn.microsoft.com/entra/identity-platform/scenario-protected-web-api-verification-scope-app-roles
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import jwt
from flask import after_this_request, current_app, request
from werkzeug.wrappers import Response as BaseResponse

from flask_entra.signin import access_token
from flask_entra.signin.authority import Authority
from flask_entra.signin.authorization import Requirement, claimed, texts
from flask_entra.signin.current_user import BY_TOKEN
from flask_entra.signin.errors import CallerRefused, IdTokenRefused, NotAllowed, SignInRequired, person
from flask_entra.signin.guards import BEARER

_CALLER = "flask_entra.caller"  # in the environment of a request: who has sent it, once that is known
_BEARER = re.compile(r"bearer(?: +(?P<token>[A-Za-z0-9\-._~+/]+=*))? *", re.IGNORECASE)  # RFC 6750, 2.1
_ANOTHER_ONE = re.compile(r",\s*bearer\b", re.IGNORECASE)  # several headers reach an app as one, between commas


@dataclass(frozen=True)
class Caller:
    """The sender of a valid bearer token.

    :ivar token: as it came.
    :ivar claims: its claims.
    """

    token: str
    claims: dict[str, Any]


@dataclass(frozen=True)
class TokenRequirement(Requirement):
    """What a view asks of the bearer token of a request. For a session, it is the `Requirement` that it is too.

    :ivar permissions: the delegated permissions of which a person's token must have one.
    :ivar session: whether a session will do, where no token is sent.
    """

    permissions: tuple[str, ...] = ()
    session: bool = False

    @classmethod
    def written(cls, permissions: object, roles: object, session: bool) -> TokenRequirement:
        """The requirement that a developer has written.

        :raises TypeError: one of the two is no list of texts.
        :raises ValueError: one of them is empty, has an empty entry, or names a permission by more than its short name.
        """
        names = {"scopes": (permissions, "Orders.Read"), "roles": (roles, "Orders.Approve")}
        found = {
            name: () if value is None else texts(name, value, example, "bearer_required")
            for name, (value, example) in names.items()
        }
        for name, (value, _) in names.items():
            if value is not None and not found[name]:
                raise ValueError(f"bearer_required({name}=[]) names nothing: leave {name} out to ask for none.")
        for each in found["scopes"]:
            if each.lower().startswith("api://"):
                short = each.rpartition("/")[2]
                raise ValueError(f"bearer_required(scopes=[{each!r}]): tokens have the short name. Write {short!r}.")
        return cls(roles=found["roles"], permissions=found["scopes"], session=session)

    def decides_by_token(self) -> bool:
        """Whether the present request is answered by its bearer token alone, whoever has a session in the same browser."""
        return not self.session or "Authorization" in request.headers

    def check_token(self, claims: dict[str, Any]) -> None:
        """Admit a caller, or raise.

        A person's token needs one of the permissions; where the view names none, one of the roles. An app's own token needs
        one of the roles, and opens no view that names none.

        :param claims: of the validated token.
        :raises CallerRefused: it has not what it needs.
        """
        of_an_app = access_token.is_app_only(claims)
        if self.permissions and not of_an_app:
            allowed, lacks = set(access_token.scopes_of(claims)) & set(self.permissions), "one of the scopes"
        elif self.roles:
            try:
                allowed, lacks = set(claimed(claims, "roles", self.roles)) & set(self.roles), "one of the roles"
            except NotAllowed:
                allowed, lacks = set[str](), "a list of roles"
        else:
            allowed, lacks = set() if of_an_app else {""}, "a person: the token is an app's own"
        if not allowed:
            raise CallerRefused(
                "insufficient_scope",
                f"The access token lacks {lacks}",
                reason=f"{person(claims)} azp={str(claims.get('azp', claims.get('appid')))[:100]} lacks {lacks}",
                scopes=self.permissions,
                roles=self.roles,
                user=claims,
            )


class CallersTokens:
    """Reads and validates the bearer token of the present request.

    :param authority: what must have issued it.
    :param more_audiences: the setting `API_AUDIENCE`.
    """

    def __init__(self, authority: Authority, more_audiences: list[str]):
        self._authority = authority
        self.audiences = access_token.audiences(authority.client_id, more_audiences)

    def admit(self, needs: TokenRequirement) -> dict[str, Any] | None:
        """What a view of `bearer_required` is given, if the token decides.

        :return: `user`, the claims of the token; None where the session decides.
        :raises CallerRefused: there is no valid token, or it has not what the view needs.
        :raises AuthorityUnavailable: the authority's keys are not known, and cannot be fetched.
        """
        by_token = needs.decides_by_token()
        after_this_request(_of_a_token if by_token else _of_either)
        if not by_token:
            return None
        request.environ[BY_TOKEN] = True
        caller = present()
        if caller is None:
            token = sent_token()
            caller = Caller(token, self._validated(token))
        needs.check_token(caller.claims)
        request.environ[_CALLER] = caller
        return {"user": caller.claims}

    def _validated(self, token: str) -> dict[str, Any]:
        try:
            return access_token.validate(token, self._authority, self.audiences)
        except IdTokenRefused as error:
            told = "The access token is not valid for this API"
            if isinstance(error.__cause__, jwt.ExpiredSignatureError):
                told = "The access token has expired"
            raise CallerRefused("invalid_token", told, reason=str(error)) from None


def sent_token() -> str:
    """The bearer token of the present request.

    :raises CallerRefused: there is none, or it cannot be read.
    """
    header = request.headers.get("Authorization", "").strip()
    found = _BEARER.fullmatch(header)
    if found and found["token"]:
        return found["token"]
    if _ANOTHER_ONE.search(header):
        raise CallerRefused("invalid_request", "There is more than one Authorization header")
    if found or re.match(r"bearer\b", header, re.IGNORECASE):
        raise CallerRefused("invalid_request", "The Authorization header is not the word Bearer and a token")
    raise CallerRefused()  # another scheme says nothing about this one (RFC 6750, 3.1)


def present() -> Caller | None:
    """The sender of the present request, once its bearer token has been admitted; None where a session decides."""
    caller: Caller | None = request.environ.get(_CALLER)
    return caller


def by_token() -> bool:
    """Whether the present request is one to a view that takes bearer tokens, and the token decides."""
    if BY_TOKEN in request.environ:
        return True
    needs = getattr(current_app.view_functions.get(request.endpoint or ""), BEARER, None)
    return isinstance(needs, TokenRequirement) and needs.decides_by_token()


def refusal_of(required: SignInRequired) -> CallerRefused:
    """What a caller is told where a person would be sent to sign in: to get another token, with the claims that are asked for."""
    if required.claims:
        return CallerRefused("insufficient_claims", "More claims are needed", claims=required.claims)
    return CallerRefused("invalid_token", "The person has to sign in again", reason="a sign-in is needed")


def given_context(view: Callable[..., Any], admitted: Callable[[], dict[str, Any]]) -> Callable[..., Any]:
    """A view that gets `context`; also a coroutine function.

    :param admitted: gives it, or raises.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, context=admitted(), **kwargs)

    else:

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return view(*args, context=admitted(), **kwargs)

    return guarded


def _of_either(response: BaseResponse) -> BaseResponse:
    response.vary.add("Authorization")
    return response


def _of_a_token(response: BaseResponse) -> BaseResponse:
    """It is the caller's own, as an answer to somebody with a session is theirs, unless the view says otherwise."""
    response.headers.setdefault("Cache-Control", "no-store")
    return _of_either(response)

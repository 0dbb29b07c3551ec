"""The person who is signed in, as a credential of the Azure SDK: for azure-identity's users, and for msgraph-sdk.

https://learn.microsoft.com/python/api/azure-core/azure.core.credentials.tokencredential. The SDK itself is not needed for this.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from flask_entra.scopes import resources_of


class AccessToken(NamedTuple):
    """A token, as the SDK has it.

    :ivar token: the access token.
    :ivar expires_on: when it ends (Unix seconds).
    """

    token: str
    expires_on: int


@functools.cache
def _token_class() -> type[AccessToken]:
    """The SDK's own class where it is installed, because Microsoft's kiota, which msgraph-sdk is built on, takes no other."""
    try:
        from azure.core.credentials import AccessToken as OfTheSdk
    except ImportError:
        return AccessToken
    return cast("type[AccessToken]", OfTheSdk)


class TokenCredential:
    """Gives the SDK's clients the person's tokens, and renews them.

    :param context: `Auth.context`.
    :param renew: `Auth.renew_token`.
    :param scopes: those of the tokens that are asked for as `<API>/.default`, as the SDK's clients do. There are tokens for their
        API alone.
    """

    def __init__(self, context: Callable[[list[str]], dict[str, Any]], renew: Callable[..., str], scopes: list[str]):
        self._context, self._renew, self._scopes = context, renew, scopes

    def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        """A token for some scopes.

        :param claims: a claims challenge of the API (JSON).
        :raises ValueError: a scope is another API's.
        :raises SignInRequired: nobody is signed in, or the authority wants to see the person. A view raises it on.
        :raises SignInError: the authority refuses for another reason.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        own = resources_of(self._scopes) or {""}
        if strange := [each for each in scopes if not resources_of([each]) <= own]:
            raise ValueError(
                f"This credential is for {' '.join(self._scopes) or 'Microsoft Graph'}, and {strange[0]!r} is of another API: "
                "make one for it, with auth.credential(scopes=[…])."
            )
        # All that the app registration asks for would be a consent that no view has asked for.
        wanted = self._scopes if any(each.endswith("/.default") for each in scopes) else list(scopes) or self._scopes
        if claims:
            self._renew(claims, wanted)
        found = self._context(wanted)
        return _token_class()(found["access_token"], int(time.time()) + int(found["expires_in"]))

    def close(self) -> None:
        """There is nothing to close."""

    def __enter__(self) -> TokenCredential:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncTokenCredential:
    """The same for the SDK's clients of asyncio, such as msgraph-sdk's.

    :param credential: the other one.
    """

    def __init__(self, credential: TokenCredential):
        self._credential = credential

    async def get_token(self, *scopes: str, claims: str | None = None, **kwargs: Any) -> AccessToken:
        """See `TokenCredential.get_token`. It asks in this thread, which is the request's own: others know nobody."""
        return self._credential.get_token(*scopes, claims=claims, **kwargs)

    async def close(self) -> None:
        """There is nothing to close."""

    async def __aenter__(self) -> AsyncTokenCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

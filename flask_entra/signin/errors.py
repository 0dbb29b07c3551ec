"""What can go wrong with a sign-in."""

from __future__ import annotations

from collections.abc import Iterable


class SignInError(Exception):
    """A sign-in that cannot be finished.

    :ivar error: the error code of OAuth 2.0 (RFC 6749, 4.1.2.1 and 5.2), OpenID Connect, or this app.
    :ivar description: what the authority says about it.
    :ivar scopes: the scopes that were asked for, where they may be what is wrong.
    """

    def __init__(self, error: str, description: str = "", scopes: Iterable[str] = ()):
        super().__init__(f"{error}: {description}")
        self.error, self.description, self.scopes = error, description, list(scopes)


class SignInRequired(Exception):
    """Only the person can bring a token: they have to sign in (again).

    Raised in a view, it sends them to sign in and back to the page.

    :ivar claims: the claims challenge to pass on (JSON), if an API or the authority sent one.
    :ivar scopes: the scopes that are wanted; None means those of the setting `SCOPE`.
    """

    def __init__(self, claims: str | None = None, scopes: list[str] | None = None):
        super().__init__("sign-in required")
        self.claims, self.scopes = claims, scopes


class TenantUnavailable(Exception):
    """The authority cannot be reached, or its answer is not an authority's.

    :ivar timeout: whether it took too long.
    :ivar retry_after: after how many seconds it is worth another try, or None.
    :ivar description: what the authority says is wrong with the request, when it says so.
    """

    def __init__(self, reason: str, *, timeout: bool = False, retry_after: int | None = None, description: str = ""):
        super().__init__(reason)
        self.timeout, self.retry_after, self.description = timeout, retry_after, description


class AnotherIssuer(TenantUnavailable):
    """The discovery document is another issuer's than the one configured.

    :ivar issuer: whose it is.
    """

    def __init__(self, reason: str, *, issuer: str = ""):
        super().__init__(reason)
        self.issuer = issuer


class IdTokenRefused(Exception):
    """An ID token that must not sign anybody in. The text names the check that it fails."""

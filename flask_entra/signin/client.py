"""MSAL, as this app asks it: one app object for each request, and whatever it raises as an error of this package."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import msal

from flask_entra.bearer import merged_claims
from flask_entra.config import Config
from flask_entra.managed_identity import IdentityUnavailable
from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import AuthorityUnavailable, IdTokenRefused, SignInError
from flask_entra.signin.paths import redirect_uri
from flask_entra.signin.provider import Provider
from flask_entra.signin.transport import Transport
from flask_entra.urls import origin, split_url

# MSAL warns everybody who does not ask for form_post. But a browser sends no SameSite=Lax cookie with another site's POST, and by
# that cookie this app knows which sign-in it began; the code in the query is bound to it by PKCE, and kept out of the logs.
# The warning would be an error in an app whose tests take warnings for errors, and silencing it is not for a package to do.
_NOT_ASKED_FOR = "&response_mode=form_post"


class Client:
    """This app, as a client of the authority.

    :param authority: where it is registered.
    :param config: the app's.
    """

    def __init__(self, authority: Authority, config: Config):
        self._authority, self._config = authority, config
        self._oidc_authority = config.oidc_authority
        if self._oidc_authority and not split_url(self._oidc_authority).path:
            self._oidc_authority += "/."  # MSAL refuses an authority without a path; this one means the same

    def begin(
        self,
        scopes: list[str],
        prompt: str | None,
        claims: str | None,
        provider: Provider,
        max_age: int | None = None,
        hints: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Begin a sign-in, whose answer is to come to `REDIRECT_URI`.

        :param scopes: to ask consent for.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :param provider: the authority's abilities.
        :param max_age: how many seconds ago the person may have signed in at most; None for any time.
        :param hints: further parameters of the request: `login_hint`, `domain_hint`, `acr_values`.
        :return: what the answer will be held against; `auth_uri` in it is where the browser goes.
        """
        # MSAL tells Entra's front door who will sign in too (X-AnchorMailbox), which means nothing to another provider.
        by_msal = {name: hints[name] for name in ("login_hint", "domain_hint") if provider.entra and name in hints}
        with _failures_of_msal():
            flow: dict[str, Any] = self._msal(provider).initiate_auth_code_flow(
                scopes,
                redirect_uri=redirect_uri(self._config),
                prompt=provider.prompt(prompt),
                claims_challenge=merged_claims(claims),
                max_age=max_age,
                response_mode="form_post",
                **by_msal,
            )
        # MSAL would hold the answer against it too, and raise the same error as for a wrong nonce. `step_up` does so instead.
        if max_age is not None:
            flow["longest_ago"] = flow.pop("max_age")
        more = {name: value for name, value in hints.items() if name not in by_msal}
        flow["auth_uri"] = flow["auth_uri"].replace(_NOT_ASKED_FOR, "") + (f"&{urlencode(more)}" if more else "")
        if not provider.entra:  # MSAL asks for Entra's client_info in any case
            flow["auth_uri"] = flow["auth_uri"].replace("&client_info=1", "")
        return flow

    def ask(
        self,
        acquire: Callable[[Any], Any],
        cache: msal.SerializableTokenCache,
        provider: Provider,
        same_scope: bool = False,
    ) -> dict[str, Any]:
        """Let MSAL make one token request.

        :param acquire: gets MSAL's app object, and calls it.
        :param cache: holds the outcome, which is kept only once it has been checked.
        :param provider: the authority's abilities.
        :param same_scope: a refresh is for what was granted (`Transport`).
        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises IdTokenRefused: the ID token fails a check.
        :raises AuthorityUnavailable: the authority cannot be reached, or its answer is not understood.
        """
        with _failures_of_msal():
            app = self._msal(provider, self._config.client_credential, cache, same_scope)
            result: dict[str, Any] = acquire(app)
        return result

    def check_credential(self) -> dict[str, Any]:
        """Ask the authority whether it accepts the app's credential, without a person.

        Entra gives the app a token of its own (RFC 6749, 4.4) for the API of `ENDPOINT`. Another provider is sent a code that
        it has not made: a wrong credential is `invalid_client` to it (5.2), and the code `invalid_grant` or the like.

        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises AuthorityUnavailable: the authority cannot be reached.
        """
        cache, provider = msal.SerializableTokenCache(), self._authority.provider
        if provider.entra:
            scope = f"{origin(self._config.endpoint)}/.default"
            return self.ask(lambda app: app.acquire_token_for_client([scope]), cache, provider)
        flow = self.begin([], None, None, provider)
        answer = {"state": flow["state"], "code": "flask-doctor"}
        try:
            result = self.ask(lambda app: app.acquire_token_by_auth_code_flow(flow, answer), cache, provider)
        except IdTokenRefused:  # it has made tokens for any code: it does accept the credential
            return {}
        return result if result.get("error") in ("invalid_client", "unauthorized_client") else {}

    def _msal(self, provider: Provider, credential: Any = None, cache: Any = None, same_scope: bool = False) -> Any:
        make = msal.ConfidentialClientApplication if credential else msal.PublicClientApplication
        return make(
            self._config.client_id,
            client_credential=credential,
            authority=self._config.authority,
            oidc_authority=self._oidc_authority,
            token_cache=cache,
            http_client=Transport(self._authority, provider, same_scope),
            instance_discovery=False,
            client_capabilities=["CP1"] if provider.entra else None,  # this app understands claims challenges
            exclude_scopes=provider.unknown_scopes,
        )


@contextlib.contextmanager
def _failures_of_msal() -> Iterator[None]:
    """Whatever MSAL raises, while it is being built or used, is a page."""
    try:
        yield
    except (AuthorityUnavailable, IdTokenRefused):
        raise
    except IdentityUnavailable as error:
        if error.lasting:
            raise SignInError("invalid_client", f"MANAGED_IDENTITY_CLIENT_ID: {error}") from error
        raise AuthorityUnavailable(str(error), retry_after=error.retry_after) from error
    except OSError as error:  # the federated token's file; errors of the network are AuthorityUnavailable already
        raise SignInError("invalid_client", f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}") from error
    except RuntimeError as error:
        raise IdTokenRefused("its nonce is not the one that was sent") from error  # MSAL says so of a wrong nonce
    except Exception as error:
        raise AuthorityUnavailable(f"an answer that MSAL does not understand ({type(error).__name__})") from error

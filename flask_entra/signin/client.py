"""MSAL, as this app asks it: one app object for each request, and whatever it raises as an error of this package."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msal

from flask_entra.bearer import merged_claims
from flask_entra.signin.errors import IdTokenRefused, SignInError, TenantUnavailable
from flask_entra.signin.tenant import Tenant
from flask_entra.signin.transport import Transport
from flask_entra.urls import origin, split_url

# MSAL recommends form_post to everybody. But a browser sends no SameSite=Lax cookie with another site's POST, and by that
# cookie this app knows which sign-in it began; the code in the query is bound to it by PKCE, and kept out of the logs.
warnings.filterwarnings("ignore", "response_mode='form_post' is recommended", UserWarning)


class Client:
    """This app, as a client of the authority.

    :param tenant: the authority.
    :param config: Flask's.
    """

    def __init__(self, tenant: Tenant, config: Mapping[str, Any]):
        self._tenant, self._credential = tenant, config["CLIENT_CREDENTIAL"]
        self._authority, self._oidc_authority = config["AUTHORITY"], config["OIDC_AUTHORITY"]
        if self._oidc_authority and not split_url(self._oidc_authority).path:
            self._oidc_authority += "/."  # MSAL refuses an authority without a path; this one means the same

    def begin(self, redirect_uri: str, scopes: list[str], prompt: str | None, claims: str | None) -> dict[str, Any]:
        """Begin a sign-in.

        :param redirect_uri: where the answer is to come.
        :param scopes: to ask consent for.
        :param prompt: OpenID Connect Core, 3.1.2.1; None lets the authority decide.
        :param claims: a claims challenge to pass on (JSON).
        :return: what the answer will be held against; `auth_uri` in it is where the browser goes.
        :raises TenantUnavailable: the authority's address is not known yet, and it does not answer.
        """
        provider = self._tenant.provider
        with _failures_of_msal():
            flow: dict[str, Any] = self._msal().initiate_auth_code_flow(
                scopes,
                redirect_uri=redirect_uri,
                prompt=provider.prompt(prompt),
                claims_challenge=merged_claims(claims),
            )
        if not provider.entra:  # MSAL asks for Entra's client_info in any case
            flow["auth_uri"] = flow["auth_uri"].replace("&client_info=1", "")
        return flow

    def ask(
        self, acquire: Callable[[Any], Any], cache: msal.SerializableTokenCache, same_scope: bool = False
    ) -> dict[str, Any]:
        """Let MSAL make one token request.

        :param acquire: gets MSAL's app object, and calls it.
        :param cache: holds the outcome, which is kept only once it has been checked.
        :param same_scope: a refresh is for what was granted (`Transport`).
        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises IdTokenRefused: the ID token fails a check.
        :raises TenantUnavailable: the authority cannot be reached, or its answer is not understood.
        """
        with _failures_of_msal():
            result: dict[str, Any] = acquire(self._msal(self._credential, cache, same_scope))
        return result

    def check_credential(self, redirect_uri: str, endpoint: str) -> dict[str, Any]:
        """Ask the authority whether it accepts the app's credential, without a person.

        Entra gives the app a token of its own (RFC 6749, 4.4). Another provider is sent a code that it has not made: a wrong
        credential is `invalid_client` to it (5.2), and the code `invalid_grant` or the like.

        :param endpoint: the URL of the API that the token would be for.
        :return: the token endpoint's answer.
        :raises SignInError: the credential cannot be read.
        :raises TenantUnavailable: the authority cannot be reached.
        """
        cache = msal.SerializableTokenCache()
        if self._tenant.provider.entra:
            return self.ask(lambda app: app.acquire_token_for_client([f"{origin(endpoint)}/.default"]), cache)
        flow = self.begin(redirect_uri, [], None, None)
        answer = {"state": flow["state"], "code": "flask-doctor"}
        try:
            result = self.ask(lambda app: app.acquire_token_by_auth_code_flow(flow, answer), cache)
        except IdTokenRefused:  # it has made tokens for any code: it does accept the credential
            return {}
        return result if result.get("error") in ("invalid_client", "unauthorized_client") else {}

    def _msal(self, credential: Any = None, cache: Any = None, same_scope: bool = False) -> Any:
        make = msal.ConfidentialClientApplication if credential else msal.PublicClientApplication
        provider = self._tenant.provider
        return make(
            self._tenant.client_id,
            client_credential=credential,
            authority=self._authority,
            oidc_authority=self._oidc_authority,
            token_cache=cache,
            http_client=Transport(self._tenant, same_scope),
            instance_discovery=False,
            client_capabilities=["CP1"] if provider.entra else None,  # this app understands claims challenges
            exclude_scopes=provider.unknown_scopes,
        )


@contextlib.contextmanager
def _failures_of_msal() -> Iterator[None]:
    """Whatever MSAL raises, while it is being built or used, is a page."""
    try:
        yield
    except (TenantUnavailable, IdTokenRefused):
        raise
    except OSError as error:  # the federated token's file; errors of the network are TenantUnavailable already
        raise SignInError("invalid_client", f"AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}") from error
    except RuntimeError as error:
        raise IdTokenRefused("its nonce is not the one that was sent") from error  # MSAL says so of a wrong nonce
    except Exception as error:
        raise TenantUnavailable(f"an answer that MSAL does not understand ({type(error).__name__})") from error

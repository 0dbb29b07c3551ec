"""What MSAL asks of its HTTP client."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import requests

from flask_entra.signin.authority import Authority
from flask_entra.signin.errors import AuthorityUnavailable
from flask_entra.signin.provider import Provider


class Transport:
    """MSAL's `http_client`: the authority's documents, and token requests whose answer has been validated.

    Every ID token, of a sign-in and of a refresh, passes here before MSAL or anybody else sees it. The client underneath is
    pooled and bounded. MSAL's own `http_cache` is left out: it keeps failures too, and one person's 503 would be everybody's
    for as long as its Retry-After says. To other authorities than Entra goes nothing that is Entra's own.

    :param authority: what is asked.
    :param provider: its abilities.
    :param same_scope: a refresh is for what was granted, and says so by naming no scope (RFC 6749, 6).
    """

    def __init__(self, authority: Authority, provider: Provider, same_scope: bool = False):
        self._authority, self._provider, self._same_scope = authority, provider, same_scope

    def get(self, url: str, **_kwargs: Any) -> SimpleNamespace:
        """The discovery document, which is all that MSAL gets, at every app object that it makes."""
        return SimpleNamespace(status_code=200, text=json.dumps(self._provider.metadata), headers={})

    def post(self, url: str, *, data: dict[str, Any], headers: dict[str, str], **_kwargs: Any) -> requests.Response:
        """A token request (RFC 6749, 4.1.3 and 6) whose answer is known to be one: a JSON object with a valid ID token.

        :raises AuthorityUnavailable: there is no such answer.
        :raises IdTokenRefused: the ID token fails a check.
        """
        if self._same_scope:
            data = {name: value for name, value in data.items() if name != "scope"}
        if not self._provider.entra:
            data = {name: value for name, value in data.items() if name != "client_info"}
            headers = {"Accept": headers["Accept"]}
        response, answer = self._send(url, data, headers)
        if response.status_code != 200 and "error" not in answer:
            raise AuthorityUnavailable(f"the token endpoint answered {response.status_code}")
        if not all(isinstance(answer.get(name, ""), str) for name in ("error", "error_description", "claims")):
            raise AuthorityUnavailable("the token endpoint sent an error that is not text")
        if "error" not in answer:
            token = answer.get("access_token")
            if not (isinstance(token, str) and _CAN_BE_SENT.fullmatch(token)):
                raise AuthorityUnavailable("the token endpoint sent no access token, or one that no header can carry")
            if "id_token" in answer:
                self._authority.validate(answer["id_token"], self._provider)
        return response

    def _send(
        self, url: str, data: dict[str, Any], headers: dict[str, str]
    ) -> tuple[requests.Response, dict[str, Any]]:
        """Send a token request. A client secret goes as the authority takes it; if it takes it in two ways, the second one
        is tried when the first is refused, because only the registration says which one is meant for this app."""
        methods = self._provider.secret_methods if "client_secret" in data else ("none",)
        for method in sorted(methods, key=lambda each: each != self._authority.secret_method):
            basic = _basic(data) if method == "client_secret_basic" else {}
            body = {name: value for name, value in data.items() if not basic or name not in _IN_BASIC}
            response = self._authority.fetch("POST", url, data=body, headers={**headers, **basic})
            answer = self._authority.json_object(response)
            if answer.get("error") != "invalid_client":
                self._authority.secret_method = method
                break
        return response, answer

    def close(self) -> None:
        """Nothing: the shared client outlives MSAL's app objects."""


_CAN_BE_SENT = re.compile("[!-~]+")  # visible ASCII characters (RFC 6749, A.12), without spaces (RFC 6750, 2.1)
_IN_BASIC = ("client_id", "client_secret")


def _basic(data: dict[str, Any]) -> dict[str, str]:
    """HTTP Basic authentication with id and secret, each form-encoded first (RFC 6749, 2.3.1)."""
    credential = ":".join(quote_plus(data[name]) for name in _IN_BASIC)
    return {"Authorization": f"Basic {base64.b64encode(credential.encode()).decode()}"}

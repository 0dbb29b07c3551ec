"""The managed identity that Azure gives to where the app runs, as the app's credential: there is no secret to keep.

Its token stands in the place of a client secret (RFC 7523, 2.2), where the app registration has a federated credential for it.
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import requests

from flask_entra import deadlines
from flask_entra.same_error import same

SYSTEM = "system"  # instead of a client ID: the identity that belongs to the machine or the service itself
EARLY_SECONDS = 300  # so long before its end, a token is renewed
LAST_SECONDS = 60  # so long before its end, it is used for the last time
PAUSE_SECONDS = 10  # after a failure, the endpoint is left alone for so long
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")  # RFC 7519, 3
# Azure's endpoint says 404 and 410 while it is being updated too.
_PASSES = (404, 408, 410, 429)


class IdentityUnavailable(Exception):
    """The managed identity has no token for the app. The text says why, for a log.

    :ivar lasting: whether another try would not help: there is no such identity here.
    :ivar retry_after: after how many seconds it is worth another try.
    """

    def __init__(self, reason: str, *, lasting: bool = False):
        super().__init__(reason)
        self.lasting, self.retry_after = lasting, PAUSE_SECONDS

    def __str__(self) -> str:
        return f"no token of the managed identity: {self.args[0]}"


class ManagedIdentity:
    """A managed identity. Safe to share among threads: one asks its endpoint, the others wait for the same answer.

    :param identity: the client ID of one that is assigned to the app by its user, or `system`.
    :param audience: whom its tokens are for.
    """

    def __init__(self, identity: str, audience: str):
        self._identity, self._audience = identity, audience
        self._lock = threading.Lock()
        self._http = _Http()
        self._client: Any = None  # MSAL's
        self._token, self._until = "", 0.0  # times are `time.monotonic()`
        self._failure: IdentityUnavailable | None = None
        self._failed_at = float("-inf")

    def token(self) -> str:
        """A token that is good for a minute or more.

        :raises IdentityUnavailable: there is none, and the endpoint gives none.
        """
        asked = time.monotonic()
        if self._until - asked > EARLY_SECONDS:
            return self._token
        with self._lock:
            if self._until - time.monotonic() > EARLY_SECONDS:  # another thread has asked meanwhile
                return self._token
            if asked - self._failed_at > PAUSE_SECONDS:
                try:
                    self._token, self._until = self._ask()
                    self._failure = None
                except IdentityUnavailable as error:
                    self._failure, self._failed_at = error, time.monotonic()
            if self._failure and self._until - time.monotonic() < LAST_SECONDS:
                raise same(self._failure)  # a copy has no traceback, which several threads would share
            return self._token

    def _ask(self) -> tuple[str, float]:
        """A new token, and when it ends.

        :raises IdentityUnavailable: there is none.
        """
        began = time.monotonic()
        try:
            answer = self._msal().acquire_token_for_client(resource=self._audience)
        except requests.RequestException as error:
            raise IdentityUnavailable(f"its endpoint does not answer ({type(error).__name__})") from error
        except json.JSONDecodeError as error:
            raise IdentityUnavailable(f"its endpoint answered {self._http.status}, and no JSON") from error
        except Exception as error:  # MSAL takes the answer apart unchecked, and reads files of Azure Arc
            raise IdentityUnavailable(f"{type(error).__name__}: {str(error)[:200]}") from error
        status = self._http.status
        if "error" in answer or status >= 400:
            lasting = 400 <= status < 500 and status not in _PASSES
            said = f"{answer.get('error')}: {answer.get('error_description')}"[:300]
            raise IdentityUnavailable(f"its endpoint answered {status} ({said})", lasting=lasting)
        token, seconds = answer.get("access_token"), answer.get("expires_in", 0)
        if not (isinstance(token, str) and JWT.fullmatch(token) and seconds > LAST_SECONDS):
            raise IdentityUnavailable(f"its endpoint answered {status}, and no token that can be used")
        return token, began + seconds

    def _msal(self) -> Any:
        # MSAL's own client knows each of Azure's endpoints, by the environment: App Service, Container Apps, virtual machines,
        # Arc, Service Fabric. It is imported here, because gunicorn's master reads the settings too, and has no use for it.
        import msal

        if self._client is None:
            by_user = self._identity.lower() != SYSTEM
            identity = (
                msal.UserAssignedManagedIdentity(client_id=self._identity)
                if by_user
                else msal.SystemAssignedManagedIdentity()
            )
            self._client = msal.ManagedIdentityClient(identity, http_client=self._http)
        return self._client


class _Http(requests.Session):
    """MSAL's HTTP client: with deadlines, and without a proxy, because the endpoint is on this machine or beside it.

    :ivar status: of the last answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env, self.status = False, 0

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs |= {"timeout": (deadlines.CONNECT_SECONDS, deadlines.ANSWER_SECONDS), "allow_redirects": False}
        response = super().request(*args, **kwargs)
        self.status = response.status_code
        return response

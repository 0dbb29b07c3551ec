"""The `Sandbox` object: a tenant and a Graph on this machine, and the handles to change how they behave."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from .application import make_application
from .entra import keys, own_api
from .entra.addresses import Addresses
from .entra.registration import Federation, Forge, Registration
from .entra.scopes import ORDERS
from .entra.tenant import Tenant
from .faults import Challenge, Surroundings
from .graph.batch import ENTRANCE
from .listener import LOOPBACK, Listener, make_certificate
from .orders import PATH as ORDERS_PATH
from .people import Person
from .traffic import Behaviour, Faults, Gate, Seen

T = TypeVar("T")


class _KeptBy(Generic[T]):
    """An attribute of the sandbox that one of its parts keeps under the same name: it is read and assigned there.

    :param part: the name of the attribute that holds the part.
    """

    def __init__(self, part: str) -> None:
        self._part = part

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, box: Any, owner: type | None = None) -> T:
        value: T = getattr(getattr(box, self._part), self._name)
        return value

    def __set__(self, box: Any, value: T) -> None:
        setattr(getattr(box, self._part), self._name, value)


class Sandbox:
    """A Microsoft Entra tenant with one app registration, and a Microsoft Graph, on loopback.

    It is a context manager; without `with`, call `close`.

    :param redirect_uris: the redirect URIs of the app registration.
    :param host: "127.0.0.1" or "localhost".
    :param front_port: the port of the pages that a browser visits, over plain http; 0 for any free one.
    :param back_port: the port of everything else, over TLS; 0 for any free one.
    :ivar ca_file: the path of the PEM file of the authority that issued the TLS certificate.
    :ivar people: the people who can sign in, by key; a dict, to change at will.
    :ivar log: every request received (`Seen`), oldest first.
    :ivar closing: an event that is set when the sandbox closes.
    :raises ValueError: `host` is not loopback, or there is no redirect URI.
    :raises RuntimeError: a port is not free.
    """

    # These are described at `Addresses`, and from `client_id` on at `Registration`.
    tenant_id = _KeptBy[str]("addresses")
    front_url = _KeptBy[str]("addresses")
    back_url = _KeptBy[str]("addresses")
    client_id = _KeptBy[str]("registration")
    client_secret = _KeptBy[str]("registration")
    client_secret_state = _KeptBy[str]("registration")
    second_client_secret = _KeptBy["str | None"]("registration")
    redirect_uris = _KeptBy[set[str]]("registration")
    public_client = _KeptBy[bool]("registration")
    single_tenant = _KeptBy[bool]("registration")
    service_principal = _KeptBy[bool]("registration")
    require_consent = _KeptBy[bool]("registration")
    access_token_lifetime = _KeptBy[float]("registration")
    id_token_lifetime = _KeptBy[float]("registration")
    code_lifetime = _KeptBy[float]("registration")
    refresh_token_lifetime = _KeptBy[float]("registration")
    single_use_refresh_tokens = _KeptBy[bool]("registration")
    app_roles = _KeptBy[set[str]]("registration")
    group_claims = _KeptBy[bool]("registration")
    auth_time_claim = _KeptBy[bool]("registration")
    login_hint_claim = _KeptBy[bool]("registration")
    sid_claim = _KeptBy[bool]("registration")
    front_channel_logout_urls = _KeptBy[set[str]]("registration")
    may_read_applications = _KeptBy[bool]("registration")
    own_signing_key = _KeptBy[keys.SigningKey | None]("registration")
    forge = _KeptBy[Forge | None]("registration")
    # These two are described above.
    people = _KeptBy[dict[str, Person]]("tenant")
    log = _KeptBy[list[Seen]]("_gate")

    def __init__(
        self,
        redirect_uris: Iterable[str] = ("http://localhost:5000/getAToken",),
        host: str = "127.0.0.1",
        front_port: int = 0,
        back_port: int = 0,
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(
                f"The sandbox listens on loopback only (127.0.0.1 or localhost), not on {host!r}: "
                "whoever reaches it can sign in as anybody."
            )
        self.registration = Registration(redirect_uris)
        self.closing = threading.Event()
        self._faults = Faults()
        with contextlib.ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
            self.folder = stack.enter_context(folder)
            self.ca_file = str(Path(self.folder) / "ca.pem")
            tls = make_certificate(self.ca_file)
            front = stack.enter_context(contextlib.closing(Listener(LOOPBACK[host], front_port)))
            back = stack.enter_context(contextlib.closing(Listener(LOOPBACK[host], back_port, tls)))
            self.addresses = Addresses(
                str(uuid.uuid4()), f"http://localhost:{front.port}", f"https://localhost:{back.port}"
            )
            self.tenant = Tenant(self.addresses, self.registration)
            self._gate = self._make_gate()
            front.serve(self._gate)
            back.serve(self._gate)
            self._resources = stack.pop_all()

    def _make_gate(self) -> Gate:
        """The application that both listeners serve."""
        around = Surroundings(self.closing, self.client_id, self.addresses.authorize_url, self.tenant.claims_met_by)
        application = make_application(self.tenant, self.challenges)
        gate = Gate(application, self._faults, around)
        application.extensions[ENTRANCE] = gate
        return gate

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end every wait and connection, and remove the temporary folder. A second call does nothing."""
        self.closing.set()
        self._resources.close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that point the app at this sandbox."""
        return {
            "CLIENT_ID": self.client_id,
            "CLIENT_SECRET": self.client_secret,
            "AUTHORITY": self.authority(),
            "ENDPOINT": f"{self.back_url}/v1.0/me",
            "REQUESTS_CA_BUNDLE": self.ca_file,
        }

    def authority(self, tenant: str | None = None) -> str:
        """The authority URL.

        :param tenant: the tenant's name, such as "common", "organizations", "consumers" or its domain name; None for its
            GUID.
        :return: the URL.
        """
        return self.addresses.authority(tenant)

    @property
    def orders_url(self) -> str:
        """The URL of the second API, which takes tokens of an audience of its own; its one page is `/mine` below it."""
        return self.back_url + ORDERS_PATH

    @property
    def orders_scope(self) -> str:
        """The scope that such a token is asked for with."""
        return next(iter(ORDERS))

    def assign(self, key: str, role: str) -> None:
        """Assign an app role to a person, as an administrator does under *Users and groups*. Later ID tokens carry it."""
        self.person(key).roles.append(role)

    def unassign(self, key: str, role: str) -> None:
        """Take an app role from a person.

        :raises ValueError: they do not have it.
        """
        self.person(key).roles.remove(role)

    @property
    def sent_mail(self) -> list[dict[str, Any]]:
        """The messages that were sent by Graph's `/me/sendMail`: each sender's own, oldest first."""
        return [message for person in list(self.people.values()) for message in list(person.sent)]

    def reset(self) -> None:
        """Go back to how the sandbox started, but with the same ports, keys, secret and ids."""
        self.behave()
        self.registration.reset()
        self.tenant.reset()
        self.log.clear()

    def person(self, key: str) -> Person:
        """The person of that key.

        :raises KeyError: there is none.
        """
        return self.people[key]

    def seen(self, endpoint: str) -> list[Seen]:
        """The requests of one endpoint so far, oldest first.

        :param endpoint: "discovery", "keys", "token", "authorize", "logout", "photo", "messages", "groups", "me", "users",
            "applications", "orders" or "other".
        :return: the requests.
        """
        return [entry for entry in list(self.log) if entry.endpoint == endpoint]

    def misbehave(self, endpoint: str, fault: Behaviour, times: int | None = 1) -> None:
        """Let the next requests of an endpoint meet a fault.

        :param endpoint: as for `seen`, but not "other".
        :param fault: one of `sandbox.faults`, or a function that gets the WSGI environment and returns a fault, a
            response, or None for the proper answer.
        :param times: for how many requests; None for all until `behave`.
        :raises ValueError: there is no such endpoint.
        """
        self._faults.add(endpoint, fault, times)

    def behave(self) -> None:
        """End all faults."""
        self._faults.clear()

    def challenges(self) -> list[Challenge]:
        """The claims challenges that last at present."""
        return self._faults.challenges()

    def rotate_keys(self, keep_old: bool = False) -> None:
        """Sign with a new key from now on.

        :param keep_old: go on publishing the earlier keys, as Entra does for some days.
        """
        self.tenant.keys.rotate(keep_old)

    def let_time_pass(self, seconds: float) -> None:
        """Let everybody have signed in so many seconds earlier than they did."""
        signed_in_at = self.tenant.memory.signed_in_at
        signed_in_at.update({value: at - seconds for value, at in signed_in_at.items()})

    def revoke(self, key: str) -> None:
        """Revoke a person's refresh tokens and end the single sign-on, as a changed password does."""
        self.tenant.memory.revoke(self.person(key).key)

    def revoke_all(self) -> None:
        """Revoke everybody's refresh tokens."""
        for person in list(self.people.values()):
            self.tenant.memory.revoke(person.key)

    def demand_sign_in(self, key: str) -> None:
        """Make a person's refresh tokens answer AADSTS50076: a second factor is needed.

        The answer holds `claims` that the next sign-in has to carry.
        """
        self.tenant.memory.demand_sign_in(self.person(key).key)

    def register_certificate(self, pem: str) -> None:
        """Add a certificate with which the client may authenticate.

        :param pem: the certificate as PEM text; a private key next to it is ignored.
        :raises ValueError: there is no certificate in it.
        """
        self.registration.add_certificate(pem)

    def remove_certificate(self, pem: str) -> None:
        """Remove a certificate that was registered.

        :param pem: the certificate as PEM text.
        :raises KeyError: it is not registered.
        """
        self.registration.remove_certificate(pem)

    def register_federation(
        self, issuer: str, subject: str, public_key_pem: str, audience: str = "api://AzureADTokenExchange"
    ) -> None:
        """Add a federated credential: tokens of another issuer with which the client may authenticate.

        :param issuer: their `iss`.
        :param subject: their `sub`.
        :param public_key_pem: the issuer's RSA public key as PEM text.
        :param audience: their `aud`.
        """
        self.registration.federations.append(Federation(issuer, subject, audience, public_key_pem))

    def token_for_app(self, key: str | None = None, **wanted: Any) -> str:
        """An access token for the app's own API, as another app gets it.

        :param key: the person on whose behalf; None for the other app by itself.
        :param wanted: `scopes`, `roles`, `version`, `claims` and `header`, as `entra.own_api.access_token` takes them.
        :return: the token.
        """
        return own_api.access_token(self.tenant, self.person(key) if key else None, **wanted)

    def sign(
        self, claims: dict[str, Any], header: dict[str, Any] | None = None, key: Any = None, algorithm: str = "RS256"
    ) -> str:
        """Make a token, valid or forged.

        :param claims: its claims.
        :param header: header fields, which replace the usual ones.
        :param key: an RSA private key, its PEM text, or the secret of HS256; None for the tenant's key.
        :param algorithm: RS256, PS256, HS256 or none.
        :return: the token.
        :raises ValueError: the algorithm is another one.
        """
        current = self.tenant.keys.current
        return keys.sign(claims, key or current, {"kid": current.kid, **(header or {})}, algorithm)

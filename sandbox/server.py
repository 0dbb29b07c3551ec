"""The sandbox's two listeners, its certificate, and the :class:`Sandbox` object."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import secrets
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from flask import Flask, Response
from werkzeug.datastructures import Headers
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request

from . import keys
from .faults import Challenge, Fault, Faults, Hangup
from .graph import make_graph
from .oauth import make_server
from .people import Person, sample_people
from .signin import make_pages
from .tenant import Tenant, make_tenant

#: The addresses that the sandbox may listen on. Anybody who reaches it may sign in as anybody.
LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1"}
#: Bytes of a request's body beyond which the sandbox hangs up.
MAX_BODY = 1024 * 1024
#: What a request is for, by its path: the names that ``misbehave`` and ``seen`` go by.
ENDPOINTS = (
    ("discovery", re.compile(r"/[^/]+(/v2\.0)?/\.well-known/openid-configuration")),
    ("keys", re.compile(r"/[^/]+/discovery/v2\.0/keys")),
    ("token", re.compile(r"/[^/]+/oauth2/v2\.0/token")),
    ("authorize", re.compile(r"/[^/]+/oauth2/v2\.0/authorize")),
    ("logout", re.compile(r"/[^/]+/oauth2/v2\.0/logout")),
    ("photo", re.compile(r"/v1\.0/me/photo(s/[^/]+)?(/\$value)?")),
    ("messages", re.compile(r"/v1\.0/me/messages")),
    ("me", re.compile(r"/v1\.0/me")),
    ("users", re.compile(r"/v1\.0/users")),
)
_connections = itertools.count(1)


def endpoint_of(path: str) -> str:
    """Name the endpoint that a path belongs to; "other" for none of :data:`ENDPOINTS`."""
    return next((name for name, pattern in ENDPOINTS if pattern.fullmatch(path)), "other")


@dataclass(frozen=True)
class Seen:
    """A request that the sandbox received.

    Attributes:
        endpoint: a name of :data:`ENDPOINTS`, or "other".
        method: the HTTP method.
        path: the path, decoded, without the query.
        headers: the headers; names in any case.
        query: the query's parameters, the first value of each.
        form: the form's fields, the first value of each.
        connection: a number of the TCP connection; requests that share one share the connection.
    """

    endpoint: str
    method: str
    path: str
    headers: Headers
    query: dict[str, str]
    form: dict[str, str]
    connection: int


class _Handler(WSGIRequestHandler):
    """Serves one connection, and keeps it alive as HTTP/1.1 has it (RFC 9112 section 9.3).

    Werkzeug's own handler closes every connection after one answer, so ``run_wsgi`` is replaced.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self.number = next(_connections)
        super().setup()

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        environ["sandbox.connection"] = self.number
        # A body that stays unread would be taken for the next request.
        body = environ["wsgi.input"].read(self._body_size(environ))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        try:
            with contextlib.closing(Response.from_app(self.server.app, environ, buffered=True)) as response:
                self._send(response)
        except Hangup:
            self.close_connection = True

    def _body_size(self, environ: dict[str, Any]) -> int:
        """How many bytes of body to read; a negative number is a chunked body's own end."""
        if "wsgi.input_terminated" in environ:
            return -1
        size = environ.get("CONTENT_LENGTH") or "0"
        if not size.isdecimal() or int(size) > MAX_BODY:
            self.send_error(413)
            raise ConnectionError("the body is too large")
        return int(size)

    def _send(self, response: Response) -> None:
        body = response.get_data()
        self.send_response_only(response.status_code)
        self.send_header("Server", self.version_string())
        if "Date" not in response.headers:  # a test may set the clock of the tenant
            self.send_header("Date", self.date_time_string())
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "connection", "server"):
                self.send_header(name, value)
        if self.command == "HEAD":
            # What a GET would have answered (RFC 9110 section 8.6).
            self.send_header("Content-Length", response.headers.get("Content-Length", "0"))
        elif response.status_code not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self._headers_buffer.append(b"\r\n")
        if self.command != "HEAD":
            self._headers_buffer.append(body)
        self.flush_headers()

    def version_string(self) -> str:
        return "sandbox"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: tests and the app have more to say than every request."""


class _Server(ThreadedWSGIServer):
    """A listener on loopback whose open connections can be ended.

    Args:
        address: a loopback address.
        port: a port, or 0 for any free one.
        app: the WSGI application.
        tls: the certificate for TLS, or None for plain http.

    Raises:
        RuntimeError: the port is not to be had.
    """

    # On Windows this option would let two programs listen on one port.
    allow_reuse_address = sys.platform != "win32"
    block_on_close = False

    def __init__(self, address: str, port: int, app: Any, tls: ssl.SSLContext | None = None) -> None:
        self._connected: set[socket.socket] = set()
        self._serving: set[threading.Thread] = set()
        self._lock = threading.Lock()
        super().__init__(address, port, app, handler=_Handler)
        if tls is not None:
            self.ssl_context = tls
            # The handshake waits for the connection's own thread: a client that connects and
            # says nothing must not keep the others from being accepted.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service who this machine is.
        try:
            socketserver.TCPServer.server_bind(self)
        except OSError as error:
            # Werkzeug would print an OSError and exit the whole program.
            raise RuntimeError(f"port {self.port} of {self.host} is not free: {error.strerror}") from error
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connected.add(request)
            self._serving.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connected.discard(request)
                self._serving.discard(threading.current_thread())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that leave in the middle; show what is a mistake in the sandbox."""
        if not isinstance(sys.exc_info()[1], (OSError, Hangup)):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End every open connection and wait for its thread, at most two seconds each."""
        with self._lock:
            connections, threads = list(self._connected), list(self._serving)
        for connection in connections:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown, which takes the TLS away from under its thread.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(2)


class Sandbox:
    """A Microsoft Entra tenant with one app registration, and a Microsoft Graph, on loopback.

    Use it as a context manager, or call :meth:`close`. What it starts with, and what
    :meth:`reset` goes back to, are the attributes' values below.

    Args:
        redirect_uris: the redirect URIs of the app registration.
        host: "127.0.0.1" or "localhost".
        front_port: port of the pages that a browser visits, over plain http; 0 for any free one.
        back_port: port of everything else, over TLS; 0 for any free one.

    Attributes:
        tenant_id: the tenant's GUID.
        client_id: the app registration's GUID.
        client_secret: its secret.
        ca_file: path of the PEM file of the authority that made the TLS certificate.
        front_url: ``http://localhost:PORT`` of the pages.
        back_url: ``https://localhost:PORT`` of discovery, keys, tokens and Graph.
        redirect_uris: a set, to change at will.
        people: the people who can sign in, by key; a dict, to change at will.
        log: every request received (:class:`Seen`), oldest first.
        access_token_lifetime: seconds; likewise ``id_token_lifetime``, ``code_lifetime`` and
            ``refresh_token_lifetime``.
        client_secret_state: "valid", "expired" or "revoked".
        require_consent: False: nobody is asked for consent.
        public_client: the app registration is a public client, which has no credential.
        single_use_refresh_tokens: a refresh token works once. Entra's work again.
        forge: None, or a callable that gets the claims and the header of each ID token and
            returns a whole token as a string, a pair of claims and header to sign, or None to
            sign what it got (which it may have changed).
        closing: an event that is set when the sandbox closes.

    Raises:
        ValueError: ``host`` is not loopback, or there is no redirect URI.
        RuntimeError: a port is not free.
    """

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
        self._first_redirect_uris = (redirect_uris,) if isinstance(redirect_uris, str) else tuple(redirect_uris)
        if not self._first_redirect_uris:
            raise ValueError("The sandbox needs the app's redirect URI.")
        self.tenant_id = str(uuid.uuid4())
        self.client_id = str(uuid.uuid4())
        self.client_secret = secrets.token_urlsafe(30)
        self.closing = threading.Event()
        self.redirect_uris: set[str] = set()
        self.people: dict[str, Person] = {}
        self.log: list[Seen] = []
        self._faults = Faults()
        self.tenant = Tenant(self)
        self.reset()

        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
        self.ca_file = str(Path(self._folder.name) / "ca.pem")
        self._servers: list[_Server] = []
        self._threads: list[threading.Thread] = []
        try:
            tls = self._certificate()
            app = self._application()
            self._servers.append(_Server(LOOPBACK[host], front_port, app))
            self._servers.append(_Server(LOOPBACK[host], back_port, app, tls))
        except BaseException:
            for server in self._servers:
                server.server_close()
            self._folder.cleanup()
            raise
        self.front_url = f"http://localhost:{self._servers[0].port}"
        self.back_url = f"https://localhost:{self._servers[1].port}"
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end every wait and connection, remove the temporary folder. Safe to repeat."""
        if self.closing.is_set():
            return
        self.closing.set()
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.hang_up()
        self._folder.cleanup()

    @property
    def folder(self) -> str:
        """Path of the temporary folder, which goes when the sandbox closes."""
        return self._folder.name

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

        Args:
            tenant: how to call the tenant: "common", "organizations", "consumers", its domain
                name; None for its GUID.
        """
        return f"{self.back_url}/{tenant or self.tenant_id}"

    def reset(self) -> None:
        """Go back to how the sandbox started, but with the same ports, keys, secret and ids."""
        self.behave()
        self.redirect_uris.clear()
        self.redirect_uris.update(self._first_redirect_uris)
        self.people.clear()
        self.people.update(sample_people())
        self.log.clear()
        self.access_token_lifetime: float = 4000
        self.id_token_lifetime: float = 3600
        self.code_lifetime: float = 600
        self.refresh_token_lifetime: float = 24 * 3600
        self.client_secret_state = "valid"
        self.require_consent = True
        self.public_client = False
        self.single_use_refresh_tokens = False
        self.forge: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None
        self.tenant.forget()

    def person(self, key: str) -> Person:
        """The person of that key.

        Raises:
            KeyError: there is none.
        """
        return self.people[key]

    def seen(self, endpoint: str) -> list[Seen]:
        """The requests of one endpoint so far, oldest first.

        Args:
            endpoint: "discovery", "keys", "token", "authorize", "logout", "me", "photo", "users"
                or "other".
        """
        return [entry for entry in list(self.log) if entry.endpoint == endpoint]

    def misbehave(self, endpoint: str, fault: Fault | Callable[..., Any], times: int | None = 1) -> None:
        """Let the next requests of an endpoint meet a fault.

        Args:
            endpoint: as for :meth:`seen`.
            fault: one of :mod:`sandbox.faults`, or a callable that gets the WSGI environment and
                returns a fault, a response, or None for the proper answer.
            times: how many requests; None: all until :meth:`behave`.

        Raises:
            ValueError: there is no such endpoint.
        """
        names = [name for name, _ in ENDPOINTS]
        if endpoint not in names:
            raise ValueError(f"endpoint {endpoint!r} is none of {', '.join(names)}")
        self._faults.add(endpoint, fault, times)

    def behave(self) -> None:
        """End all faults."""
        self._faults.clear()

    def challenges(self) -> list[Challenge]:
        """The claims challenges that last at present."""
        return self._faults.challenges()

    def rotate_keys(self, keep_old: bool = False) -> None:
        """Sign with a new key from now on.

        Args:
            keep_old: go on publishing the keys of before, as Entra does for some days.
        """
        self.tenant.rotate_keys(keep_old)

    def revoke(self, key: str) -> None:
        """Revoke a person's refresh tokens and end their single sign-on, as a changed password does."""
        self.tenant.revoke(self.person(key))

    def revoke_all(self) -> None:
        """Revoke everybody's refresh tokens."""
        for person in list(self.people.values()):
            self.tenant.revoke(person)

    def demand_sign_in(self, key: str) -> None:
        """Make the tokens got so far by a person answer AADSTS50076: a second factor is needed.

        The answer holds ``claims`` that the next sign-in has to carry.
        """
        self.tenant.demand_sign_in(self.person(key))

    def register_certificate(self, pem: str) -> None:
        """Add a certificate with which the client may authenticate.

        Args:
            pem: the certificate as PEM text; a private key next to it is ignored.

        Raises:
            ValueError: there is no certificate in it.
        """
        self.tenant.register_certificate(pem)

    def register_federation(
        self, issuer: str, subject: str, public_key_pem: str, audience: str = "api://AzureADTokenExchange"
    ) -> None:
        """Add a federated credential: tokens of another issuer with which the client may authenticate.

        Args:
            issuer: their ``iss``.
            subject: their ``sub``.
            public_key_pem: the issuer's RSA public key as PEM text.
            audience: their ``aud``.
        """
        self.tenant.federations.append((issuer, subject, audience, public_key_pem))

    def sign(
        self,
        claims: dict[str, Any],
        header: dict[str, Any] | None = None,
        key: Any = None,
        algorithm: str = "RS256",
    ) -> str:
        """Make a token, sound or forged.

        Args:
            claims: its claims.
            header: header fields, replacing the usual ones.
            key: an RSA private key, its PEM text, or the secret of HS256; None for the tenant's key.
            algorithm: RS256, PS256, HS256 or none.

        Raises:
            ValueError: another algorithm.
        """
        current = self.tenant.key
        return keys.sign(claims, key or current, {"kid": current.kid, **(header or {})}, algorithm)

    def _certificate(self) -> ssl.SSLContext:
        """Make the certificate of the TLS listener, and write its authority where the app reads it."""
        authority = trustme.CA(organization_name="Sandbox")
        authority.cert_pem.write_to_path(self.ca_file)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        return tls

    def _application(self) -> Callable[..., Iterator[bytes]]:
        """The WSGI application of both listeners: what is in the log and in the faults' way."""
        app = Flask(__name__, static_url_path="/sandbox")
        app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
        oauth = make_server(self)
        app.register_blueprint(make_tenant(self, oauth))
        app.register_blueprint(make_pages(self, oauth))
        app.register_blueprint(make_graph(self))

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            request = Request(environ, populate_request=False)
            seen = Seen(
                endpoint_of(request.path),
                request.method,
                request.path,
                Headers(list(request.headers.items())),
                request.args.to_dict(),
                request.form.to_dict(),
                environ["sandbox.connection"],
            )
            environ["wsgi.input"].seek(0)
            self.log.append(seen)
            fault = self._faults.next(seen.endpoint)
            while fault is not None:
                if isinstance(fault, Fault):
                    fault = fault.act(environ, self)
                elif isinstance(fault, Response):
                    return fault(environ, start_response)
                else:
                    fault = fault(environ)
            return app(environ, start_response)

        return application

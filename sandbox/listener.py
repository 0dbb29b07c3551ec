"""The HTTP listeners, on loopback only, and the certificate of the one that speaks TLS."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import socketserver
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

import trustme
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

from .faults import Hangup

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# The addresses that may be listened on. Anybody who can reach the sandbox can sign in as anybody.
LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1"}
MAX_BODY = 16 * 1024 * 1024  # bytes, enough for a part of an upload; a request with a larger body is refused

_connections = itertools.count(1)


def make_certificate(ca_file: str) -> ssl.SSLContext:
    """Make a certificate for this machine, and the authority that issues it.

    :param ca_file: the path to write the authority's certificate to.
    :return: the server's side of TLS.
    """
    authority = trustme.CA(organization_name="Sandbox")
    authority.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    return tls


class _Handler(WSGIRequestHandler):
    """Serves one connection, and keeps it alive between requests (RFC 9112 section 9.3).

    Werkzeug's own handler closes every connection after one answer, so `run_wsgi` is replaced.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.number = next(_connections)
        super().setup()

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        environ["sandbox.connection"] = self.number
        # The body is read here in any case: the unread rest of it would be taken for the next request.
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
        """The bytes of body to read; a negative number for a chunked body, which has an end of its own."""
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
        if "Date" not in response.headers:  # a test may set the tenant's clock
            self.send_header("Date", self.date_time_string())
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "connection", "server"):
                self.send_header(name, value)
        if self.command == "HEAD":
            # The length that a GET would have had (RFC 9110 section 8.6).
            self.send_header("Content-Length", response.headers.get("Content-Length", "0"))
        elif response.status_code not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        # Head and body leave in one write.
        self._headers_buffer.append(b"\r\n")
        if self.command != "HEAD":
            self._headers_buffer.append(body)
        self.flush_headers()

    def version_string(self) -> str:
        return "sandbox"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Print nothing: a line for each request would hide the messages of the tests and of the app."""


class Listener(ThreadedWSGIServer):
    """A listener on loopback. It has its port at once, and answers once `serve` is called.

    :param address: a loopback address.
    :param port: a port, or 0 for any free one.
    :param tls: the server's side of TLS, or None for plain http.
    :ivar port: the port.
    :raises RuntimeError: the port is not free.
    """

    # On Windows this option would let two programs listen on one port.
    allow_reuse_address = sys.platform != "win32"
    block_on_close = False

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._connected: set[socket.socket] = set()
        self._serving: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        super().__init__(address, port, _not_serving, handler=_Handler)
        if tls is not None:
            self.ssl_context = tls
            # The handshake waits for the connection's own thread: a client that connects and says nothing must not keep
            # others from being accepted.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def serve(self, application: WSGIApplication) -> None:
        """Answer requests from now on, on threads of its own."""
        self.app = application
        self._thread.start()

    def close(self) -> None:
        """Stop listening, end every open connection, and wait for their threads, at most two seconds each."""
        if not self._thread.is_alive():
            self.server_close()
            return
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections, threads = list(self._connected), list(self._serving)
        for connection in connections:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown, because SSLSocket's own removes the TLS that its thread is using.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(2)

    def server_bind(self) -> None:
        # TCPServer's method, because HTTPServer's asks the name service for the name of this machine.
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
        """Ignore clients that leave in the middle; show the errors that are mistakes in the sandbox."""
        if not isinstance(sys.exc_info()[1], (OSError, Hangup)):
            super().handle_error(request, client_address)


def _not_serving(environ: Any, start_response: Any) -> Any:
    """The application of a listener before `serve`, which is never called."""
    raise NotImplementedError

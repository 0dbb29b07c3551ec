"""An API of this machine that answers as a test has written it, and keeps what it was asked."""

import contextlib
import http.server
import json
import threading
import time
from types import SimpleNamespace

import pytest


class ScriptedApi:
    """`answers` are used one after the other: (status, headers, body), or a function of the request that gives one.

    A body is bytes, or what becomes JSON. A number of seconds in its place is silence; None cuts the connection.
    """

    def __init__(self):
        self.answers, self.asked = [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body)
                outer.asked.append(asked)
                found = outer.answers.pop(0) if outer.answers else (200, {}, {})
                outer.send(self, found(asked) if callable(found) else found)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that has left
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @staticmethod
    def send(handler, answer):
        if answer is None:
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(2)
            return
        if isinstance(answer, int | float):
            time.sleep(answer)
            handler.close_connection = True
            return
        status, headers, body = answer
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if int(headers.get("Content-Length", len(body))) != len(body):
            handler.close_connection = True

    def methods(self):
        return [each.method for each in self.asked]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted():
    api = ScriptedApi()
    yield api
    api.close()

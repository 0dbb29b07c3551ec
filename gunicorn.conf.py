"""How gunicorn serves the app; `gunicorn app:app` finds this file by itself."""

import gc
import importlib
import os
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gunicorn import glogging
from gunicorn.workers.gthread import ThreadWorker

import app_config
from flask_entra import logs
from flask_entra.settings import number

environment = dict(os.environ)
loaded = app_config.load()  # (gunicorn has a setting named config)
for name in os.environ.keys() - environment.keys():
    if not name.startswith("OTEL_"):  # OpenTelemetry begins before the app
        del os.environ[name]  # it came from .env, which each process reads for itself, also after a reload
# PORT is set by a platform whose proxy connects from outside this machine; otherwise a proxy on this machine connects. Without
# a proxy that buffers requests, a few half-sent ones would take all threads (SECURITY.md).
bind = f"0.0.0.0:{os.environ['PORT']}" if "PORT" in os.environ else "127.0.0.1:8000"
# Graph is waited for, not computed: threads serve many people at once while a process computes for one.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = number(str(loaded["ENTRA_THREADS"])) or 64
keepalive = 75  # longer than the proxy in front keeps its connections, so that it never sends on one just closed
timeout = 60
try:  # where each process tells that it is alive
    worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108  no name is made here
except FileNotFoundError:
    sys.exit(
        "No folder can be written to: mount an empty /tmp. Sessions in files need SESSION_FILE_DIR too, or set REDIS_URL."
    )
control_socket_disable = True  # two masters of one user would share it
graceful_timeout = 30  # longer than a request to Entra and one to Graph may take
# A fresh process now and then, and not all of them at once.
max_requests = 50_000
max_requests_jitter = 10_000
logconfig_dict = logs.config(str(loaded["ENTRA_LOG_FORMAT"]))


class logger_class(glogging.Logger):
    """gunicorn's logger without its access log: the app has one of its own (`flask_entra/access_log.py`)."""

    def access(self, resp, req, environ, request_time):
        """Do nothing. With `logconfig_dict`, gunicorn would collect eighty values for a line that nobody sees."""


class worker_class(ThreadWorker):
    """gunicorn's threads. A process that is stopped lets no new connection begin.

    gunicorn's own (24 to 27) keeps its socket open until its last request has ended, and then cuts all connections that have come
    meanwhile. A proxy cannot know whether what it has sent over one of them was done: the code of a sign-in is lost.
    """

    def set_accept_enabled(self, enabled):
        """As gunicorn says; at a stop, accept the connections that are there, and close the socket."""
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            for _ in range(self.cfg.backlog):  # more cannot have come, and a flood must not hold up the stop
                before = self.nr_conns
                self.accept(listener)
                if self.nr_conns == before:
                    break
            listener.close()


# The libraries are imported once, and the processes share their memory. The app itself is not, so that a reload (HUP) serves new
# code and settings; new versions of the libraries need a restart.
for library in ("flask", "flask_session.base", "identity.flask", "jwt", "msal", "msgspec", "requests"):
    importlib.import_module(library)
if loaded.get("ENTRA_REDIS_URL"):
    importlib.import_module("redis.cluster")
gc.freeze()  # so that looking for garbage writes to no page that is shared


def post_fork(server, worker):
    """Begin OpenTelemetry in each process, if a variable OTEL_… is set: its metrics and its exporters are a process's own."""
    if logs.telemetry_runs() or not any(name.startswith("OTEL_") for name in os.environ):
        return
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize
    except ImportError:
        server.log.warning("OTEL_… is set, but OpenTelemetry is not installed: pip install 'flask-entra[telemetry]'")
        return
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if "service.instance.id=" not in given:
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(filter(None, (given, f"service.instance.id={uuid.uuid4()}")))
    initialize()

"""How gunicorn serves the app; `gunicorn app:app` finds this file by itself."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# Graph is waited for, not computed: two processes with 32 threads each serve 64 people whose calls take 100 ms as one.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 32
worker_class = "gthread"
keepalive = 75  # longer than the proxy in front keeps its connections, so that it never sends into one just closed
timeout = 60
graceful_timeout = 30  # longer than a sign-in or a Graph call may take
# A fresh process now and then, not all of them at once.
max_requests = 50_000
max_requests_jitter = 10_000
# No query strings: the redirect URI's holds the authorization code.
accesslog = "-"
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(L)ss'

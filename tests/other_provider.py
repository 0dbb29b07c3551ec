"""oidc-provider-mock over TLS, under a path as MSAL wants an authority to have one: PORT and CERTIFICATE as arguments.

A process of its own, so that what it still uses of older libraries warns nobody but itself.
"""

import sys

import oidc_provider_mock
import werkzeug.serving
from werkzeug.middleware.dispatcher import DispatcherMiddleware

port, certificate = sys.argv[1:]
alice = oidc_provider_mock.User(sub="alice", claims={"name": "Alice Liddell", "email": "alice@example.com"})
mounted = DispatcherMiddleware(None, {"/realm": oidc_provider_mock.app(user_claims=[alice])})
werkzeug.serving.run_simple("127.0.0.1", int(port), mounted, threaded=True, ssl_context=(certificate, certificate))

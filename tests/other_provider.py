"""oidc-provider-mock over TLS: PORT and CERTIFICATE as arguments.

A process of its own, so that what it still uses of older libraries warns nobody but itself.
"""

import sys

import oidc_provider_mock
import werkzeug.serving

port, certificate = sys.argv[1:]
alice = oidc_provider_mock.User(sub="alice", claims={"name": "Alice Liddell", "email": "alice@example.com"})
provider = oidc_provider_mock.app(user_claims=[alice])
werkzeug.serving.run_simple("127.0.0.1", int(port), provider, threaded=True, ssl_context=(certificate, certificate))

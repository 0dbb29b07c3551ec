"""An OpenID provider in this process, over TLS, that publishes, signs and answers whatever a test wants.

Real providers (`tests/providers/`) show that the app works with them. They cannot be made to sign two ways, to lie at userinfo
or to leave things out; this one can. `make_app` gives the app in the same process, configured for it.
"""

import contextlib
import datetime
import functools
import importlib.util
import itertools
import json
import logging
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import bytecode
import jwt
import pytest
from conftest import NETWORK, ROOT
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jinja2 import FileSystemBytecodeCache
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from visitor import REDIRECTS
from werkzeug import Request, Response

from flask_entra.settings import SETTINGS
from sandbox.listener import Listener, make_certificate

CLIENT = {"CLIENT_ID": "the-app:1", "CLIENT_SECRET": "a secret/with+odd=characters"}
_MAKE = {
    "RS": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "ES": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "Ed": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}
_numbers = itertools.count(1)


@functools.cache
def _private(kind, number):
    return _MAKE[kind][0]()  # half a second for some of them, so each is made once


class SigningKey:
    """A key that signs by one algorithm; another one for each number. `jwk` is what is published of it."""

    def __init__(self, algorithm="RS256", kid=None, number=0, **more):
        letters = algorithm[:2].replace("PS", "RS")
        kind = _MAKE[letters][1]
        self.algorithm, self.kid, self.private = algorithm, kid, _private(letters, number)
        public = json.loads(kind.to_jwk(self.private.public_key()))
        self.jwk = {**public, "use": "sig", **({"kid": kid} if kid else {}), **more}

    def sign(self, claims, **header):
        header = {"typ": "JWT", **({"kid": self.kid} if self.kid else {}), **header}
        return jwt.PyJWS().encode(json.dumps(claims).encode(), self.private, self.algorithm, header)  # also odd claims


class FakeProvider:
    """The provider.

    :ivar metadata: the discovery document.
    :ivar keys: the keys that are published; the first one signs.
    :ivar claims: what the next ID tokens say beside or instead of the usual; None leaves a claim out.
    :ivar token: what the token endpoint answers beside or instead of the usual, likewise; or a response; or what gives one.
    :ivar userinfo: what the userinfo endpoint answers: claims, or a response.
    :ivar sign: makes an ID token out of its claims.
    :ivar seen: the requests so far: path, form, headers.
    """

    def __init__(self, folder):
        self.ca_file = str(folder / "ca.pem")
        self._listener = Listener("127.0.0.1", 0, make_certificate(self.ca_file))
        self.url = f"https://localhost:{self._listener.port}"
        self._listener.serve(Request.application(self._answer))
        self.close = self._listener.close
        self.reset()

    def reset(self):
        """Go back to the start; the keys are new."""
        self.metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }
        self.keys = [SigningKey(kid="first")]
        self.published = None  # a key set instead of the keys'
        self.claims, self.token, self.userinfo, self.seen = {}, {}, {"sub": "alice"}, []
        self.sign = lambda claims: self.keys[0].sign(claims)

    def forms(self, path="/token"):
        return [form for asked, form, _ in self.seen if asked == path]

    def headers(self, path="/token"):
        return [headers for asked, _, headers in self.seen if asked == path]

    def id_token(self, nonce):
        now = int(time.time())
        usual = {
            "iss": self.metadata["issuer"],
            "sub": "alice",
            "aud": CLIENT["CLIENT_ID"],
            "exp": now + 3600,
            "iat": now,
        }
        claims = {**usual, "nonce": nonce, "name": "Alice", **self.claims}
        return self.sign({name: value for name, value in claims.items() if value is not None})

    def _answer(self, request):
        self.seen.append((request.path, request.form.to_dict(), dict(request.headers)))
        with contextlib.suppress(KeyError):
            return {
                "/.well-known/openid-configuration": lambda: _json(self.metadata),
                "/keys": lambda: _json(self.published or {"keys": [key.jwk for key in self.keys]}),
                "/token": lambda: self.answer_token(request.form.get("code")),
                "/userinfo": lambda: _json(self.userinfo),
            }[request.path]()
        return Response("not here", 404)

    def answer_token(self, code):
        """The token endpoint's answer; a code is the nonce of its sign-in, and a refresh has none."""
        token = self.token() if callable(self.token) and not isinstance(self.token, Response) else self.token
        if isinstance(token, Response):
            return token
        usual = {"access_token": f"access-{next(_numbers)}", "token_type": "Bearer", "expires_in": 3600}
        usual |= {"refresh_token": f"refresh-{next(_numbers)}", "id_token": self.id_token(code), **token}
        return _json({name: value for name, value in usual.items() if value is not None})


def _json(content):
    return content if isinstance(content, Response) else Response(json.dumps(content), content_type="application/json")


def refusal(error):
    """The token endpoint's answer that says no (RFC 6749, 5.2)."""
    return Response(json.dumps({"error": error}), 400, content_type="application/json")


def asked(answer):
    """The parameters of the authorization request to which an answer of the app leads."""
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


class Browser:
    """A person's browser at the app, in this process."""

    def __init__(self, app, provider):
        self.app, self.provider, self.client = app, provider, app.test_client()

    def get(self, path):
        return self.client.get(path, base_url="http://localhost:5000")

    def begin(self, path="/login"):
        """Begin a sign-in; the parameters of the authorization request."""
        answer = self.get(path)
        assert answer.status_code in REDIRECTS, answer.text
        return asked(answer)

    def finish(self, query, **changes):
        """Come back from the provider with a code, or what a test wants instead; None leaves a parameter out."""
        answer = {"code": query["nonce"], "state": query["state"], **changes}
        given = urlencode({name: value for name, value in answer.items() if value is not None})
        return self.get(f"/getAToken?{given}")

    def sign_in(self, path="/login", **changes):
        return self.finish(self.begin(path), **changes)

    def sign_out(self):
        """Press the app's own button; its answer."""
        return self.client.post(
            "/logout", base_url="http://localhost:5000", headers={"Origin": "http://localhost:5000"}
        )

    @property
    def signed_in(self):
        return 'action="/logout"' in self.get("/").text


def due(monkeypatch, seconds=3700):
    """Let time pass, for the app, for PyJWT and for the provider."""
    now = time.time

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(jwt.api_jwt, "datetime", Later)


def make_app(monkeypatch, folder, provider, **settings):
    """The app, configured for a provider, as `app.py` makes it. A setting that is None is left out."""
    for name in (*SETTINGS, *NETWORK):
        monkeypatch.delenv(name, raising=False)
    given = {
        **CLIENT,
        "OIDC_AUTHORITY": provider.url,
        "SESSION_FILE_DIR": str(folder / "sessions"),
        "REQUESTS_CA_BUNDLE": provider.ca_file,
        "FLASK_SKIP_DOTENV": "1",
        **settings,
    }
    for name, value in given.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return load_app()


def load_app():
    """The app as `app.py` makes it, of this process's environment."""
    spec = importlib.util.spec_from_file_location("app_of_a_test", ROOT / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.app.jinja_env.bytecode_cache = FileSystemBytecodeCache(bytecode.folder())
    return module.app


@pytest.fixture(scope="session")
def shared_provider(tmp_path_factory):
    provider = FakeProvider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.close()


@pytest.fixture
def provider(shared_provider):
    """The provider, as it is at start."""
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def visit(monkeypatch, tmp_path, provider):
    """Makes an app with some settings, and a browser at it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield lambda **settings: Browser(make_app(monkeypatch, tmp_path, provider, **settings), provider)
    root.handlers[:], root.level = before

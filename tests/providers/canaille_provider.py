"""Canaille over TLS, with its store in memory. One argument: the file of its settings (see ../real_providers.py)."""

import json
import sys
from pathlib import Path

import werkzeug.serving
from canaille import create_app
from canaille.app import models
from canaille.backends import Backend

settings = json.loads(Path(sys.argv[1]).read_text())
app = create_app(
    {
        "SECRET_KEY": "for the tests",
        "SERVER_NAME": settings["url"].partition("://")[2],
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [Path(settings["key"]).read_text()]},
    }
)
with app.app_context():
    for name, formatted_name in settings["people"].items():
        user = models.User(
            user_name=name, formatted_name=formatted_name, family_name=name, emails=[f"{name}@example.com"]
        )
        user.password = settings["password"]
        Backend.instance.save(user)
    client = models.Client(
        client_id=settings["client_id"],
        client_secret=settings["client_secret"],
        client_name="the app",
        redirect_uris=[settings["redirect_uri"]],
        post_logout_redirect_uris=[settings["home"]],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "email"],
        token_endpoint_auth_method="client_secret_basic",
    )
    Backend.instance.save(client)
    client.audience = [client]  # as its page for new clients does it
    Backend.instance.save(client)
certificate = settings["certificate"]
werkzeug.serving.run_simple("127.0.0.1", settings["port"], app, threaded=True, ssl_context=(certificate, certificate))

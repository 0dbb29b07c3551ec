"""Django OAuth Toolkit over TLS, as its tutorial sets it up, at the root. One argument: the file of its settings
(see ../real_providers.py). The sign-in page looks like that of Django's administration."""

import json
import socketserver
import ssl
import sys
import wsgiref.simple_server
from pathlib import Path

import django
from django.conf import settings as configuration
from django.core.management import call_command
from django.urls import include, path

settings = json.loads(Path(sys.argv[1]).read_text())
configuration.configure(
    SECRET_KEY="for the tests",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": settings["folder"] + "/people.sqlite3"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # the others take their time
    USE_TZ=True,
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": Path(settings["key"]).read_text(),
        "SCOPES": {"openid": "OpenID Connect scope"},
    },
)
django.setup()

from django.contrib import admin  # noqa: E402  these need the settings
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402

sign_in = LoginView.as_view(template_name="admin/login.html")
urlpatterns = [
    path("accounts/login/", sign_in),
    path("admin/", admin.site.urls),
    path("", include("oauth2_provider.urls")),
]
call_command("migrate", verbosity=0)
if not User.objects.exists():
    for name in settings["people"]:
        User.objects.create_superuser(name, password=settings["password"])
    Application.objects.create(
        client_id=settings["client_id"],
        client_secret=settings["client_secret"],
        redirect_uris=settings["redirect_uri"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        algorithm=Application.RS256_ALGORITHM,
    )


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


server = wsgiref.simple_server.make_server("127.0.0.1", settings["port"], get_wsgi_application(), Server)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(settings["certificate"])
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.base_environ["HTTPS"] = "on"  # by which wsgiref tells the scheme
server.serve_forever()

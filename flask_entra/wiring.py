"""Everything that this package gives an app, in the order in which a request meets it."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_entra import access_log, doctor, health, logs, memberships, pages, sessions
from flask_entra.signin import guards
from flask_entra.signin.auth import Auth


def init_app(app: Flask, auth: Auth, *, protected: bool = False) -> None:
    """Give an app sign-in, sealed sessions, a page for every failure, health checks, logs and `flask doctor`.

    :param app: configured by `app_config.load()`. Its `base.html` has the blocks `title` and `main`.
    :param auth: what its views are decorated with.
    :param protected: whether every view needs a sign-in but those marked `@auth.public`, also those that are added later.
    """
    if proxies := app.config["TRUSTED_PROXY_COUNT"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]
    access_log.init_app(app)  # one line for each answer
    logs.init_app(app)  # one line for each event, with the id of its request
    pages.init_app(app)  # languages, assets, security headers, a page for every failure
    sessions.init_app(app, pages.respond)  # the sealed store behind `flask.session`; adds `flask sessions prune`
    auth.init_app(app, pages.respond)  # adds /login, the redirect URI and /logout
    memberships.init_app(app, auth)  # asks Graph about groups that a token has no room for
    doctor.init_app(app, auth)  # what is wrong with the settings; adds `flask doctor`
    health.init_app(app, auth)  # adds /healthz and /readyz
    if protected:  # last: a page that says what is wrong with the settings needs no sign-in
        guards.protect(app, auth.need_sign_in)

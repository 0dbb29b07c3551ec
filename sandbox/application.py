"""The Flask application of both listeners: the tenant's pages, its endpoints, Graph, and a second API."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from .entra.endpoints import Endpoints
from .entra.oauth import Server
from .entra.pages import Pages
from .entra.tenant import Tenant
from .faults import Challenge
from .graph import Graph
from .orders import Orders
from .words import in_page, language


def make_application(tenant: Tenant, challenges: Callable[[], list[Challenge]]) -> Flask:
    """Put the application together.

    :param tenant: the tenant.
    :param challenges: a function that returns the claims challenges that Graph makes at present.
    :return: the application.
    """
    app = Flask(__name__, static_url_path="/sandbox")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(_=in_page, language=language)
    server = Server(tenant, challenges)
    app.register_blueprint(Endpoints(tenant, server).blueprint())
    app.register_blueprint(Pages(tenant, server).blueprint())
    app.register_blueprint(Graph(tenant).blueprint())
    app.register_blueprint(Orders(tenant).blueprint())
    return app

"""Requests that another site makes in the person's name (cross-site request forgery): none of them changes anything.

They are told by what browsers say of each request, so that no form needs a token of its own. Go 1.25's
`http.CrossOriginProtection` decides in the same order, and OWASP's cheat sheet in the same way:
https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask, request

from flask_entra.config import Config
from flask_entra.urls import is_ours
from flask_entra.views import copy_of

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")  # RFC 9110, 9.2.1
_EXEMPT = "__flask_entra_csrf_exempt__"  # the attribute of a view; decorators that use functools.wraps pass it on

V = TypeVar("V", bound=Any)


class CrossSiteRefused(Exception):
    """A request that changes something comes from another site.

    :ivar header: which of its headers says so.
    :ivar value: of that header.
    """

    def __init__(self, header: str, value: str):
        super().__init__(f"{header}: {value}")
        self.header, self.value = header, value


def csrf_exempt(view: V) -> V:
    """Mark a view, or a blueprint, that other sites may send requests to: a webhook, for example.

    It must not take the session's cookie for a proof of what a person wants. The name is Django's.
    """
    marked: V = view if isinstance(view, Blueprint) else copy_of(view)
    setattr(marked, _EXEMPT, True)
    return marked


def told_by(config: Config) -> tuple[str, str] | None:
    """The header of the present request, and its value, that says that another site makes it; None if none says so.

    Today's browsers say it with each request (`Sec-Fetch-Site`, https://www.w3.org/TR/fetch-metadata/), older ones and those that
    reach the app by http with each form (`Origin`). What says neither is no browser, or one from before 2020. A neighbour, such
    as evil.example.com to app.example.com (`same-site`), is another site.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return None if site in ("same-origin", "none") else ("Sec-Fetch-Site", site)
    if origin is None or is_ours(origin, _here(config), config.redirect_uri):
        return None
    return "Origin", origin


def _here(config: Config) -> str:
    """The address by which the present request came. Behind a proxy that says nothing of https, it says http. But whoever can
    answer in the place of http://app.example.com is not https://app.example.com."""
    by_https = re.sub("^http:", "https:", request.host_url)
    return config.redirect_uri if is_ours(by_https, config.redirect_uri) else request.host_url


def _may_change() -> bool:
    """Whether the present request may change something: by its method, or as a WebSocket, which begins with a GET.

    Browsers open a WebSocket to any site, with its cookies (RFC 6455, 10.2): what comes by it then is in the person's name.
    """
    if request.method not in SAFE:
        return True
    upgrade = request.environ.get("HTTP_UPGRADE", "").lower()
    return "websocket" in (each.strip() for each in upgrade.split(","))


def init_app(app: Flask, config: Config, *, exempt: Callable[[], bool]) -> None:
    """Refuse what another site sends to a view of the app with a method that may change something, or to open a WebSocket.

    Sites of the setting `TRUSTED_ORIGINS` may, and so may all with a view that is `csrf_exempt`.

    :param exempt: whether the present request is decided by what no browser sends by itself, such as a bearer token.
    """

    @app.before_request
    def refuse() -> None:
        if not _may_change() or not request.endpoint or exempt() or _is_exempt(app, request.endpoint):
            return
        told = told_by(config)
        if told and not is_trusted(request.headers.get("Origin", ""), config.trusted_origins):
            raise CrossSiteRefused(*told)


def is_trusted(origin: str, trusted: list[str]) -> bool:
    """Whether an origin is one of a list.

    :param origin: as a browser's `Origin` has it.
    :param trusted: origins; the host of one may begin with `*.`, which stands for all names below it.
    """
    scheme, _, host = origin.lower().partition("://")
    for each in trusted:
        own, _, pattern = each.partition("://")
        below = pattern.startswith("*.") and host.endswith(pattern[1:])
        if host and scheme == own and (host == pattern or below):
            return True
    return False


def _is_exempt(app: Flask, endpoint: str) -> bool:
    keepers = [app.view_functions[endpoint], *(app.blueprints[name] for name in request.blueprints)]
    return any(getattr(each, _EXEMPT, False) for each in keepers)

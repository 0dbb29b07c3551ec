"""A form that was sent when a sign-in was needed first: nothing was done with it, and a page says so.

What the form held is kept nowhere, because it may be anything, and must not be done later by itself: neither by repeating the
POST, nor by a GET of its address that nobody has asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import current_app, request
from werkzeug.exceptions import HTTPException

from flask_entra.config import Config
from flask_entra.signin.paths import home, local_path, page_of_the_caller, requested, route_of

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")  # RFC 9110, 9.2.1


def is_sent() -> bool:
    """Whether the present request was to do something, as a form does."""
    return request.method not in SAFE


def page(config: Config) -> str:
    """The path of the page on which the form stands, that was sent by the present request.

    :return: the page that the browser names (`Referer`), or the form's own address if it can be opened; else home.
    """
    own = (request.script_root + config.login_path, route_of(config.redirect_uri))
    if (there := page_of_the_caller(config)) and there.partition("?")[0] not in own:
        return there
    return local_path(requested()) if _can_be_opened() else home()


def _can_be_opened() -> bool:
    urls = current_app.create_url_adapter(request)
    try:
        return urls is not None and bool(urls.match(method="GET"))
    except HTTPException:  # no page, or a redirect
        return False


def told(render: Callable[..., str], there: str | None) -> str:
    """The page that says that the form was not sent, and leads back to it.

    :param render: makes one of this package's own pages.
    :param there: the path of the form's page; None if it is not known any more.
    """
    return render("form_not_sent.html", there=there or home(), here=home())

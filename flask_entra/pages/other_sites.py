"""Requests that come by the name of another host, or from another site, as problems."""

from __future__ import annotations

from flask import current_app, request
from werkzeug.exceptions import SecurityError

from flask_entra.cross_site import CrossSiteRefused
from flask_entra.pages import explanations
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import Problem, explain


@explain.register
def _another_host(error: SecurityError) -> Problem:
    host, header = host_asked_for()
    mend = _(
        "The host %(host)s came in the header %(header)s. Add it to ALLOWED_HOSTS (in an app of your own, to TRUSTED_HOSTS too), "
        "or correct the proxy.",
        host=host,
        header=header,
    )
    # Who comes by another name need not be told what the app's own names are, nor see their own written into a page.
    return Problem(explanations.ANOTHER_HOST._replace(for_developers=mend if current_app.debug else None))


def host_asked_for() -> tuple[str, str]:
    """The host that the present request names, as it came, and the header that it was read from."""
    original = request.environ.get("werkzeug.proxy_fix.orig", {}).get("HTTP_HOST")
    host = request.environ.get("HTTP_HOST", "")
    return ascii(host)[1:-1][:200], "Host" if original in (None, host) else "X-Forwarded-Host"


@explain.register
def _cross_site(error: CrossSiteRefused) -> Problem:
    mend = _(
        "The header %(header)s says so: %(value)s. If that site is yours, add its origin to TRUSTED_ORIGINS. If the view is for "
        "programs, such as a webhook, mark it with @auth.csrf_exempt.",
        header=error.header,
        value=ascii(error.value)[1:-1][:200],
    )
    members: dict[str, object] = {"header": error.header, "for_developers": str(mend)}
    return Problem(explanations.CROSS_SITE._replace(for_developers=mend), members=members)

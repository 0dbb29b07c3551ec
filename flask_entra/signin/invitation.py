"""A link to a sign-in, for a caller that shows no page and so cannot be sent there: a person follows it.

The scopes and claims that the sign-in is for ride in it, signed: nobody else can make a link that asks a person to consent.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

import itsdangerous
from flask import current_app, request

from flask_entra.signin import pending
from flask_entra.signin.paths import LOGIN, local_path
from flask_entra.urls import is_ours, origin, split_url

INVITATION_SECONDS = 3600


def link(scopes: list[str] | None = None, claims: str | None = None) -> str:
    """An absolute URL of this app, which leads back to the page that the caller is on, or home.

    :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
    :param claims: a claims challenge to pass on (JSON).
    """
    query = {"next": _page_of_the_caller()}
    if scopes is not None or claims:
        query["for"] = pending.serializer("invitation").dumps([scopes, claims])
    return f"{origin(current_app.config['REDIRECT_URI'])}{LOGIN}?{urlencode(query)}"


def accept() -> tuple[list[str] | None, str | None]:
    """The scopes and claims of the link that the present request follows; twice None when it follows none that holds."""
    try:
        wanted, at = pending.serializer("invitation").loads(request.args.get("for", ""), return_timestamp=True)
    except itsdangerous.BadData:
        return None, None
    scopes, claims = wanted
    return (scopes, claims) if time.time() - at.timestamp() < INVITATION_SECONDS else (None, None)


def _page_of_the_caller() -> str:
    referer = split_url(request.referrer)
    ours = is_ours(request.referrer, request.host, current_app.config["REDIRECT_URI"])
    return local_path(f"{referer.path}{f'?{referer.query}' if referer.query else ''}") if ours else "/"

"""A link to a sign-in, for a caller that shows no page and so cannot be sent there: a person follows it.

What the sign-in asks for (scopes, claims, how recent it must be) rides in it, signed: nobody else can make a link that asks a
person to consent.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

import itsdangerous
from flask import request

from flask_entra.config import Config
from flask_entra.signin.errors import SignInRequired
from flask_entra.signin.paths import home, local_path, redirect_uri
from flask_entra.signin.pending import serializer
from flask_entra.urls import is_ours, origin, split_url

VALID_SECONDS = 3600
_SALT = "sign-in link"


def make(
    config: Config,
    scopes: list[str] | None = None,
    claims: str | None = None,
    *,
    max_age: int | None = None,
    page: str | None = None,
) -> str:
    """An absolute URL of this app, which leads back to a page.

    :param config: the app's.
    :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
    :param claims: a claims challenge to pass on (JSON).
    :param max_age: how many seconds ago the person may have signed in at most; None for any time.
    :param page: its path; None for the page that the caller is on, or home.
    """
    query = {"next": _page_of_the_caller(config) if page is None else page}
    wanted = [scopes, claims, *([] if max_age is None else [max_age])]
    if any(each is not None and each != "" for each in wanted) and config.signing_keys:
        query["for"] = serializer(config, _SALT).dumps(wanted)
    return f"{origin(redirect_uri(config))}{request.script_root}{config.login_path}?{urlencode(query)}"


def read(config: Config) -> SignInRequired:
    """The sign-in that the link is for which the present request follows; one for nothing when it follows none that is valid."""
    if not (link := request.args.get("for", "")):
        return SignInRequired()
    try:
        wanted, at = serializer(config, _SALT).loads(link, return_timestamp=True)
    except itsdangerous.BadData:
        return SignInRequired()
    scopes, claims, max_age = [*wanted, None][:3]
    return SignInRequired(claims, scopes, max_age) if time.time() - at.timestamp() < VALID_SECONDS else SignInRequired()


def _page_of_the_caller(config: Config) -> str:
    referer = split_url(request.referrer)
    ours = is_ours(request.referrer, request.host_url, config.redirect_uri)
    return local_path(f"{referer.path}{f'?{referer.query}' if referer.query else ''}") if ours else home()

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
from flask_entra.signin.paths import home, page_of_the_caller, redirect_uri
from flask_entra.signin.pending import serializer
from flask_entra.urls import origin

VALID_SECONDS = 3600
_SALT = "sign-in link"


def make(
    config: Config,
    scopes: list[str] | None = None,
    claims: str | None = None,
    *,
    max_age: int | None = None,
    page: str | None = None,
    not_sent: bool = False,
) -> str:
    """An absolute URL of this app, which leads back to a page.

    :param config: the app's.
    :param scopes: the scopes to ask consent for; None means those of the setting `SCOPE`.
    :param claims: a claims challenge to pass on (JSON).
    :param max_age: how many seconds ago the person may have signed in at most; None for any time.
    :param page: its path; None for the page that the caller is on, or home.
    :param not_sent: whether the sign-in comes in the place of a form (`lost_form`).
    """
    query = {"next": (page_of_the_caller(config) or home()) if page is None else page}
    more = (
        [max_age, not_sent] if max_age is not None or not_sent else []
    )  # what a process of an older version cannot read
    if (scopes is not None or claims or more) and config.signing_keys:
        query["for"] = serializer(config, _SALT).dumps([scopes, claims, *more])
    return f"{origin(redirect_uri(config))}{request.script_root}{config.login_path}?{urlencode(query)}"


def read(config: Config) -> SignInRequired:
    """The sign-in that the link is for which the present request follows; one for nothing when it follows none that is valid."""
    if not (link := request.args.get("for", "")):
        return SignInRequired()
    try:
        wanted, at = serializer(config, _SALT).loads(link, return_timestamp=True)
    except itsdangerous.BadData:
        return SignInRequired()
    scopes, claims, max_age, not_sent = [*wanted, None, False][:4]
    if time.time() - at.timestamp() >= VALID_SECONDS:
        return SignInRequired()
    required = SignInRequired(claims, scopes, max_age)
    required.not_sent = not_sent
    return required

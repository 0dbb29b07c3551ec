"""Whether a sign-out at the authority, or in another app, can reach this one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from flask_entra.config import Config
from flask_entra.doctor.findings import SIGN_OUTS, Finding
from flask_entra.doctor.parts import Parts
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.urls import origin

LOOKED_AT = 50  # sessions


def ask_about_sign_outs(parts: Parts) -> Iterator[Finding]:
    """Whether the sessions that there are say which session at the authority they come from; nothing while there are none.

    Nobody but a person who signs in can be asked what an ID token has.
    """
    with contextlib.suppress(StoreUnavailable):  # `ask_store` says so
        entries = [*itertools.islice(parts.index.all(), LOOKED_AT)]
        newest = max(entries, key=lambda entry: entry.about.get("at", 0), default=None)
        if newest is None:
            return
        if newest.about.get("sid"):
            found = _("reach this app: the ID tokens have sid. Register %(url)s for them.", url=_address(parts.config))
            yield Finding(SIGN_OUTS, "right", found)
        elif parts.config.entra:
            found = _("cannot reach this app: the ID tokens have no sid")
            mend = _(
                "Tick sid under Token configuration › Add optional claim › ID, and write %(url)s under Authentication › "
                "Front-channel logout URL.",
                url=_address(parts.config),
            )
            yield Finding(SIGN_OUTS, "odd", found, mend)


def _address(config: Config) -> str:
    root = config.settings["APPLICATION_ROOT"].rstrip("/")
    return f"{origin(config.redirect_uri)}{root}{config.front_channel_path}"

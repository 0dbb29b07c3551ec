"""Azure AD B2C's user flows beside the sign-in: to edit one's profile, and to reset one's password.

https://learn.microsoft.com/azure/active-directory-b2c/user-flow-overview
"""

from __future__ import annotations

from urllib.parse import urlencode

from flask_entra.config import Config

NOBODY = "no-op"  # the state of a request whose answer signs nobody in
_SETTINGS = {"edit_profile": "EDITPROFILE_USER_FLOW", "reset_password": "RESETPASSWORD_USER_FLOW"}


def address(config: Config, name: str) -> str | None:
    """Where a user flow begins; None if there is no such flow.

    :param name: `edit_profile` or `reset_password`.
    """
    user_flow = config.settings[_SETTINGS[name]] if name in _SETTINGS else ""
    if not (user_flow and config.settings["B2C_TENANT_NAME"] and config.authority):
        return None
    query = {
        "client_id": config.client_id,
        "redirect_uri": config.redirect_uri,
        "response_type": "code",
        "scope": "openid",
        "state": NOBODY,
    }
    return f"{config.authority.rpartition('/')[0]}/{user_flow}/oauth2/v2.0/authorize?{urlencode(query)}"

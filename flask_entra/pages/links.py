"""What stands before the path of a link."""

from __future__ import annotations

from flask import current_app, has_request_context, request


def link_root() -> str | None:
    """What stands before the path of a link: where the app is mounted; outside a request the whole address, as Flask has it.

    :return: None outside a request, if the address is not known (`SERVER_NAME`).
    """
    if has_request_context():
        return request.script_root
    config = current_app.config
    if not config["SERVER_NAME"]:
        return None
    return f"{config['PREFERRED_URL_SCHEME']}://{config['SERVER_NAME']}{config['APPLICATION_ROOT'].rstrip('/')}"

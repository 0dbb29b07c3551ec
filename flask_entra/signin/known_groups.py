"""Groups that views call by a name: whether the setting `GROUPS` has it, which is known only together with the app."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from flask_entra.signin.authorization import Requirement
from flask_entra.signin.guards import guard_of, refuse_while


def unknown_groups(app: Flask, names: Mapping[str, str]) -> list[str]:
    """The views that name a group which nobody knows: the endpoint, and the name.

    :param names: the ids of the groups in the setting `GROUPS`, by name.
    """
    guards = {endpoint: guard_of(app, endpoint) for endpoint in app.view_functions}
    return [
        f"{endpoint} ({name})"
        for endpoint, needs in guards.items()
        if isinstance(needs, Requirement)
        for name in needs.unknown_groups(names)
    ]


def check_names(app: Flask, names: Mapping[str, str]) -> None:
    """Let no page be shown while a view names a group that `GROUPS` does not have: nobody could ever open it."""

    def mistake() -> Exception | None:
        if not (found := unknown_groups(app, names)):
            return None
        return ValueError(
            f"login_required names a group that the setting GROUPS does not have: {', '.join(found)}. It has: "
            f"{', '.join(names) or 'none'}. Add the name to GROUPS, as name=id, or write the group's Object ID."
        )

    refuse_while(app, mistake)

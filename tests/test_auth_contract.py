"""What `Auth` takes from identity's helper: this fails when identity moves it, before anybody's sign-in does."""

import inspect

import identity.flask
import pytest

TAKEN = {
    "__init__": ["self", "app", "args", "post_logout_view", "kwargs"],
    "login": ["self", "next_link", "scopes"],
    "auth_response": ["self"],
    "logout": ["self"],
    "init_app": ["self", "app"],
    "login_required": ["self", "function", "scopes"],
    "_login_required": ["self", "auth", "user", "scopes"],
}


@pytest.mark.parametrize(("name", "parameters"), TAKEN.items(), ids=TAKEN)
def test_identity_still_has_what_auth_builds_on(name, parameters):
    assert list(inspect.signature(getattr(identity.flask.Auth, name)).parameters) == parameters

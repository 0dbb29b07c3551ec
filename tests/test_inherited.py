"""What is inherited from identity and Flask-Session, exactly: this fails when one of them moves it, before a sign-in does."""

import inspect

import flask_session.base
import identity.flask
import pytest

from flask_entra import Auth
from flask_entra.sessions.interface import SealedSessionInterface

# The methods of identity's helper that Auth calls or replaces, with their parameters.
IDENTITY = {
    "__init__": ["self", "app", "args", "post_logout_view", "kwargs"],
    "login": ["self", "next_link", "scopes"],
    "auth_response": ["self"],
    "logout": ["self"],
    "init_app": ["self", "app"],
    "login_required": ["self", "function", "scopes"],
    "_login_required": ["self", "auth", "user", "scopes"],
    "get_edit_profile_url": ["self"],
}
FLASK_SESSION = {
    "__init__": [
        "self",
        "app",
        "key_prefix",
        "use_signer",
        "permanent",
        "sid_length",
        "serialization_format",
        "cleanup_n_requests",
    ],
    "open_session": ["self", "app", "request"],
    "save_session": ["self", "app", "session", "response"],
    "regenerate": ["self", "session"],
    "_retrieve_session_data": ["self", "store_id"],
    "_delete_session": ["self", "store_id"],
    "_upsert_session": ["self", "session_lifetime", "session", "store_id"],
}
BASES = {identity.flask.Auth: IDENTITY, flask_session.base.ServerSideSessionInterface: FLASK_SESSION}


@pytest.mark.parametrize(
    ("base", "name", "parameters"),
    [(base, name, parameters) for base, methods in BASES.items() for name, parameters in methods.items()],
)
def test_the_base_still_has_what_is_built_on(base, name, parameters):
    assert list(inspect.signature(getattr(base, name)).parameters) == parameters


# What is neither replaced nor called.
LEFT_ALONE = {
    Auth: "_build_auth _get_configuration_error _get_reset_password_url _redirect _render_auth_error _url_for",
    SealedSessionInterface: "_cleanup_n_requests _delete_expired_sessions _generate_sid _get_signer _get_store_id "
    "_register_cleanup_app_command _sign _unsign should_set_storage",
}


@pytest.mark.parametrize("ours", LEFT_ALONE)
def test_a_method_that_the_base_gets_is_looked_at(ours):
    package = next(base for base in BASES if issubclass(ours, base)).__module__.partition(".")[0]
    bases = [each for each in ours.__mro__ if each.__module__.partition(".")[0] == package]
    own = {name for each in ours.__mro__ if each.__module__.startswith("flask_entra.") for name in vars(each)}
    methods = {name for base in bases for name, each in vars(base).items() if inspect.isfunction(each)}
    unchanged = {name for name in methods if name not in own and not name.startswith("__")}
    assert sorted(unchanged) == LEFT_ALONE[ours].split()

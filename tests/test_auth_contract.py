"""What auth.py overrides is private to identity: this fails when identity moves it, before anybody's sign-in does."""

import inspect

import identity.flask
import identity.web
import pytest

OVERRIDDEN = {
    identity.flask.Auth: {
        "__init__": ["self", "app", "args", "post_logout_view", "kwargs"],
        "login": ["self", "next_link", "scopes"],
        "auth_response": ["self"],
        "logout": ["self"],
        "init_app": ["self", "app"],
        "login_required": ["self", "function", "scopes"],
        "_build_auth": ["self", "session"],
        "_login_required": ["self", "auth", "user", "scopes"],
    },
    identity.web.Auth: {
        "__init__": [
            *("self", "session", "client_id", "oidc_authority", "authority", "client_credential", "http_cache"),
        ],
        "_build_msal_app": ["self", "client_credential", "cache"],
        "log_in": ["self", "scopes", "redirect_uri", "state", "prompt", "next_link"],
        "complete_log_in": ["self", "auth_response"],
        "log_out": ["self", "post_logout_redirect_uri"],
        "get_user": ["self"],
        "get_token_for_user": ["self", "scopes"],
        "_get_token_for_user": ["self", "scopes", "force_refresh"],
        "_load_cache": ["self"],
        "_save_cache": ["self", "cache"],
        "_load_user_from_session": ["self"],
        "_save_user_into_session": ["self", "id_token_claims"],
    },
}


@pytest.mark.parametrize(
    ("base", "name", "parameters"),
    [(base, name, parameters) for base, methods in OVERRIDDEN.items() for name, parameters in methods.items()],
    ids=lambda value: getattr(value, "__module__", value) if not isinstance(value, list) else "",
)
def test_identity_still_has_what_auth_py_builds_on(base, name, parameters):
    assert list(inspect.signature(getattr(base, name)).parameters) == parameters


def test_identity_still_has_the_names_that_auth_py_reads():
    assert identity.web.Auth._STATE_NO_OP
    assert identity.web._is_valid({"iat": 0, "exp": 2**40})
    assert not identity.web._is_valid({"iat": 0, "exp": 0})

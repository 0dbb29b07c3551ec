"""What guards a view: a sign-in, what `login_required` asks for, or nothing, because it is marked public.

With `init_app(app, auth, protected=True)`, each view needs a sign-in that neither is marked public nor asks by itself. Files in
`static` folders are public, and so is an address that has no page (404): a sign-in would not help there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Literal, TypeVar

from flask import Flask, request

from flask_entra.signin.authorization import Requirement
from flask_entra.signin.errors import SignInRequired

_MARK = "__flask_entra_guard__"  # the attribute of a view; decorators that use functools.wraps pass it on

V = TypeVar("V", bound=Callable[..., Any])


def public(view: V) -> V:
    """Mark a view that everybody may open."""
    setattr(view, _MARK, "public")
    return view


def mark(view: V, requirement: Requirement) -> V:
    """Note what a view asks for by itself."""
    setattr(view, _MARK, requirement)
    return view


def guard_of(app: Flask, endpoint: str) -> Requirement | Literal["public", "static"] | None:
    """What guards an endpoint; None when it says nothing about that."""
    blueprint, _, name = endpoint.rpartition(".")
    keeper = app.blueprints.get(blueprint) if blueprint else app
    if name == "static" and keeper is not None and keeper.has_static_folder:
        return "static"
    found: Requirement | Literal["public"] | None = getattr(app.view_functions[endpoint], _MARK, None)
    return found


def led_to_sign_in(view: Callable[..., Any], begin: Callable[[SignInRequired], Any]) -> Callable[..., Any]:
    """A view that begins a sign-in where it needs one. If that fails, the failure is raised by the view, where Flask sees it.

    :param view: raises `SignInRequired`; also a coroutine function.
    :param begin: gives the answer that leads to the sign-in.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return await view(*args, **kwargs)
            except SignInRequired as required:
                return begin(required)

    else:

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return view(*args, **kwargs)
            except SignInRequired as required:
                return begin(required)

    return guarded


def protect(app: Flask, need_sign_in: Callable[[], Any]) -> None:
    """Need a sign-in for every view that says nothing about it, also for those that are added later.

    :param need_sign_in: gives the answer that leads to a sign-in; None for a person who is signed in.
    """

    @app.before_request
    def guard() -> Any:
        # An address without a page has no endpoint. What a view can be asked for (OPTIONS) Flask answers by itself.
        asks_for_methods = request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False)
        if request.endpoint and not asks_for_methods and guard_of(app, request.endpoint) is None:
            return need_sign_in()
        return None

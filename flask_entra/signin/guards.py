"""What guards a view: a sign-in, what `login_required` or `bearer_required` asks for, or nothing, because it is marked public.

With `auth.init_app(app, protected=True)`, each view needs a sign-in that is not marked public, and what it asks for by itself is
asked before it runs: a decorator above `login_required` may answer in its place. Files in `static` folders are public, and so is
an address that has no page (404): a sign-in would not help there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, iscoroutinefunction, signature, unwrap
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from flask import Flask, request

from flask_entra.signin.authorization import Requirement
from flask_entra.signin.errors import SignInRequired
from flask_entra.views import copy_of

_MARK = "__flask_entra_guard__"  # the attribute of a view; decorators that use functools.wraps pass it on
BEARER = "__flask_entra_bearer__"  # likewise, of a view that takes bearer tokens: what it asks of them

V = TypeVar("V", bound=Callable[..., Any])

# Each function that `login_required` or `bearer_required` was given, to what it made of it.
_guarded: WeakKeyDictionary[Callable[..., Any], Callable[..., Any]] = WeakKeyDictionary()


def public(view: V) -> V:
    """Mark a view that everybody may open: as it is registered here, not where the same function is registered too."""
    marked = copy_of(view)
    setattr(marked, _MARK, "public")
    return marked


def mark(view: V, requirement: Requirement, function: Callable[..., Any]) -> V:
    """Note what a view asks for by itself.

    :param function: what the developer wrote.
    :raises TypeError: it asks for something already, or cannot be given `context`.
    """
    decorator = _decorator(view)
    if not _takes_context(function):
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"{decorator} gives a view the argument context, which {_named(function)} does not have. "
            f"Write: def {name}(*, context)"
        )
    if isinstance(getattr(function, _MARK, None), Requirement) and hasattr(view, BEARER):
        raise TypeError(
            "login_required and bearer_required stand above the same view. Write bearer_required(…, session=True) alone: "
            "it takes a bearer token or a session."
        )
    setattr(view, _MARK, requirement)
    with contextlib.suppress(TypeError):  # an object that can be called, and not be a key
        _guarded[function] = view
    return view


def _takes_context(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with `context=`, as far as it can be known. What a decorator wraps is its own business."""
    try:
        parameters = signature(function, follow_wrapped=False).parameters
    except (TypeError, ValueError):  # one that is written in C
        return True
    own = parameters.get("context")
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return takes_all if own is None else own.kind in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _decorator(view: Callable[..., Any]) -> str:
    """Which decorator has made a view."""
    return "bearer_required" if hasattr(view, BEARER) else "login_required"


def _named(function: Callable[..., Any]) -> str:
    """A function's name, and where it stands."""
    code = getattr(unwrap(function), "__code__", None)
    where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
    return f"{getattr(function, '__name__', function)}{where}"


def guard_of(app: Flask, endpoint: str) -> Requirement | Literal["public", "static"] | None:
    """What guards an endpoint; None when it says nothing about that."""
    blueprint, _, name = endpoint.rpartition(".")
    keeper = app.blueprints.get(blueprint) if blueprint else app
    if name == "static" and keeper is not None and keeper.has_static_folder:
        return "static"
    found: Requirement | Literal["public"] | None = getattr(app.view_functions[endpoint], _MARK, None)
    return found


_SIGN_IN = Requirement()


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


def check_order(app: Flask) -> None:
    """Let no page be shown while one of the decorators stands above the route of a view, where it guards nothing."""

    def mistake() -> Exception | None:
        if not (found := unguarded(app)):
            return None
        decorators = " or ".join(sorted(set(found.values())))
        return TypeError(
            f"{decorators} stands above the route and guards nothing: {'; '.join(found)}. Put it below the route."
        )

    refuse_while(app, mistake)


def refuse_while(app: Flask, mistake: Callable[[], Exception | None]) -> None:
    """Let no page be shown while something is wrong with the views, which is known when all are there: at the first request.

    Files in `static` folders are sent all the same, so that the page that says so looks as it should.

    :param mistake: finds it.
    """
    checked: list[None] = []

    @app.before_request
    def check() -> None:
        if checked or (request.endpoint in app.view_functions and guard_of(app, request.endpoint or "") == "static"):
            return
        if found := mistake():
            raise found
        checked.append(None)


def unguarded(app: Flask) -> dict[str, str]:
    """The views that were registered before `login_required` or `bearer_required` was put on them: the name, file and line of
    each, and which of the two it was."""
    found, reached = dict[str, str](), set[int]()
    for view in app.view_functions.values():
        each: Any = view
        while each is not None:
            reached.add(id(each))
            each = getattr(each, "__wrapped__", None)
    for view in app.view_functions.values():
        try:
            guarded = _guarded.get(view)
        except TypeError:  # an object that can be called, and not be a key
            continue
        if guarded is not None and id(guarded) not in reached:
            found[_named(view)] = _decorator(guarded)
    return found


def protect(app: Flask, admit: Callable[[Requirement], Any]) -> None:
    """Need a sign-in for every view that is not public, also for those that are added later.

    :param admit: gets what a view asks for, and gives the answer that leads to a sign-in; None for a person who may open it.
    """

    @app.before_request
    def guard() -> Any:
        # An address without a page has no endpoint. What a view can be asked for (OPTIONS) Flask answers by itself.
        # A browser sends no token when it asks on behalf of another site whether it may send one (CORS).
        view = app.view_functions.get(request.endpoint or "")
        automatic = getattr(request.url_rule, "provide_automatic_options", False) or hasattr(view, BEARER)
        asks_for_methods = request.method == "OPTIONS" and automatic
        needs = guard_of(app, request.endpoint) if request.endpoint and not asks_for_methods else "public"
        return None if isinstance(needs, str) else admit(needs or _SIGN_IN)

"""Templates compiled once for each language, so that a constant text is looked up then and not at every rendering.

Of the time that a page takes, five sixths went into translating the same texts again.
"""

from __future__ import annotations

from typing import Any

import flask.templating
from jinja2 import Template, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from flask_entra.pages.languages import gettext, language

# What these give depends on their arguments and the language alone.
_CONSTANT = ("_", "gettext", "asset", "integrity", "language")


class Environment(flask.templating.Environment):
    """Flask's Jinja environment, with one overlay for each language."""

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_language()).get_template(*args, **kwargs)

    def select_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_language()).select_template(*args, **kwargs)

    def compile(self, source: str | nodes.Template, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(source, str):
            source = _Folder(self.globals).visit(self.parse(source, name, *args[:1]))
        return super().compile(source, name, *args, **kwargs)

    def _of_the_language(self) -> Environment:
        if self.overlayed:
            return self
        overlays: dict[str, Environment] = self.__dict__.setdefault("_overlays", {})
        code = language()
        if code not in overlays:
            overlays[code] = self.overlay()
        return overlays[code]


class _Folder(NodeTransformer):
    """Puts a constant in the place of each call that always gives the same in this language."""

    def __init__(self, functions: dict[str, Any]):
        self._functions = functions

    def visit_Call(self, call: nodes.Call) -> nodes.Node:
        name = getattr(call.node, "name", "")
        constants = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
        if name not in _CONSTANT or len(constants) < len(call.args) or call.kwargs or call.dyn_args or call.dyn_kwargs:
            return self.generic_visit(call)
        # As Jinja's own gettext: the text is markup, and %% in it stands for a percent sign.
        text = name in ("_", "gettext")
        value = Markup(gettext(*constants)) % {} if text else self._functions[name](*constants)  # noqa: S704  our own text
        return nodes.Const(value).set_lineno(call.lineno)

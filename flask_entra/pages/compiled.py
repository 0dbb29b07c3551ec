"""Templates compiled once for each language, so that a constant text is looked up then and not at every rendering.

Of the time that a page takes, five sixths went into translating the same texts again.
"""

from __future__ import annotations

from typing import Any

import flask.templating
from jinja2 import Template, nodes
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer
from markupsafe import Markup
from werkzeug.local import LocalProxy

from flask_entra.pages.languages import gettext, language

# What these give depends on their arguments and the language alone.
_CONSTANT = ("_", "gettext", "asset", "integrity", "language")


class _Context(Context):
    """The values that a template sees. A proxy, such as `user`, is resolved once for each block and not at every use."""

    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        return value._get_current_object() if type(value) is LocalProxy else value


class Environment(flask.templating.Environment):
    """Flask's Jinja environment, with one overlay for each language."""

    context_class = _Context

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_language()).get_template(*args, **kwargs)

    def select_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_language()).select_template(*args, **kwargs)

    def compile(self, source: str | nodes.Template, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(source, str):
            escapes = self.autoescape(name) if callable(self.autoescape) else self.autoescape
            folder = _Folder(self.globals, Markup if escapes else str)
            source = folder.visit(self.parse(source, name, *args[:1]))
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
    """Puts a constant in the place of each call that always gives the same in this language.

    :param functions: by their names in templates.
    :param text: what a text of the app is in this template: `Markup` if it escapes values, `str` if not.
    """

    def __init__(self, functions: dict[str, Any], text: type[str]):
        self._functions, self._text = functions, text

    def visit_Call(self, call: nodes.Call) -> nodes.Node:
        name = getattr(call.node, "name", "")
        constants = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
        is_text = name in ("_", "gettext")
        if name not in _CONSTANT or len(constants) < len(call.args) or call.dyn_args or call.dyn_kwargs:
            return self.generic_visit(call)
        if call.kwargs and not (is_text and constants):  # only a text's are values to put into it
            return self.generic_visit(call)
        if not is_text:
            return nodes.Const(self._functions[name](*constants)).set_lineno(call.lineno)
        # As Jinja's own gettext: where values are escaped, the text is markup; and %% stands for a percent sign.
        text = nodes.Const(self._text(gettext(*constants)))
        values = [nodes.Pair(nodes.Const(keyword.key), self.visit(keyword.value)) for keyword in call.kwargs]
        return nodes.Mod(text, nodes.Dict(values)).set_lineno(call.lineno)

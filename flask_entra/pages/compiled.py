"""Templates compiled once for each language, so that a constant text or link is looked up then and not at every rendering.

Of the time that a page takes, five sixths went into translating the same texts again.
"""

from __future__ import annotations

from typing import Any

import flask.templating
from flask import Flask
from jinja2 import BytecodeCache, Template, nodes
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer
from markupsafe import Markup
from werkzeug.local import LocalProxy
from werkzeug.routing import BuildError

from flask_entra.pages.assets import hash_of, path_of
from flask_entra.pages.languages import LANGUAGES, gettext, language
from flask_entra.pages.links import link_root
from flask_entra.pages.policy import allow_script

ROOTS_AT_MOST = 8  # paths that the app is mounted at; for each, its templates are compiled
_ALLOW_SCRIPT = "_allow_script"  # the name of `allow_script` in compiled templates
# What these give depends on their arguments and the language alone.
_CONSTANT = ("_", "gettext", "language")


class _Context(Context):
    """The values that a template sees. A proxy, such as `request`, is resolved once for each block and not at every use."""

    def resolve_or_missing(self, key: str) -> Any:
        value = super().resolve_or_missing(key)
        return value._get_current_object() if type(value) is LocalProxy else value


class Environment(flask.templating.Environment):
    """Flask's Jinja environment, with one overlay for each language and each path that the app is mounted at."""

    context_class = _Context

    def __init__(self, app: Flask, **options: Any):
        super().__init__(app, **{"trim_blocks": True, "lstrip_blocks": True, **options})
        self.globals[_ALLOW_SCRIPT] = allow_script
        self.link_root: str | None = None  # what its links begin with; None while that is not known
        self._overlays: dict[tuple[str, str | None], Environment] = {}

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_request()).get_template(*args, **kwargs)

    def select_template(self, *args: Any, **kwargs: Any) -> Template:
        return super(Environment, self._of_the_request()).select_template(*args, **kwargs)

    def compile(self, source: str | nodes.Template, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(source, str):
            escapes = self.autoescape(name) if callable(self.autoescape) else self.autoescape
            folder = _Folder(self, Markup if escapes else str, self.link_root)
            source = folder.visit(self.parse(source, name, *args[:1]))
        return super().compile(source, name, *args, **kwargs)

    def _of_the_request(self) -> Environment:
        if self.overlayed:
            return self
        code, root = language(), link_root()
        overlay = self._overlays.get((code, root))
        if overlay is None:
            # A proxy may let everybody say where the app is mounted.
            if len(self._overlays) >= ROOTS_AT_MOST * len(LANGUAGES):
                root = None
            cache = _KeyedCache(self.bytecode_cache, f"{code} {root}") if self.bytecode_cache else None
            overlay = self._overlays.setdefault((code, root), self.overlay(bytecode_cache=cache))
            overlay.link_root = root
        return overlay


class _KeyedCache(BytecodeCache):
    """A cache of compiled templates, in which each overlay has its own."""

    def __init__(self, cache: BytecodeCache, key: str):
        self._cache, self._key = cache, key

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        return self._cache.get_cache_key(f"{self._key} {name}", filename)

    def load_bytecode(self, bucket: Bucket) -> None:
        self._cache.load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._cache.dump_bytecode(bucket)


class _Folder(NodeTransformer):
    """Puts a constant in the place of each call that always gives the same in this language.

    :param environment: whose templates are compiled.
    :param text: what a text of the app is in this template: `Markup` if it escapes values, `str` if not.
    :param root: what its links begin with; None if that is not known before the rendering.
    """

    def __init__(self, environment: Environment, text: type[str], root: str | None):
        self._root = root
        self._functions: dict[str, Any] = dict(environment.globals)
        self._app, self._text = environment.app, text

    def visit_Call(self, call: nodes.Call) -> nodes.Node:
        if path := self._path(call):
            return nodes.Const(f"{self._root}{path}").set_lineno(call.lineno)
        name = getattr(call.node, "name", "")
        constants = _constants(call)
        if name == "integrity" and str(constants[-1:]).endswith(".js']") and not self._app.debug:
            hashed = nodes.Const(hash_of(constants[0]))
            return nodes.Call(nodes.Name(_ALLOW_SCRIPT, "load"), [hashed], [], None, None).set_lineno(call.lineno)
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

    def _path(self, call: nodes.Call) -> str | None:
        """The path of a link, below the root of the app; None for any other call, and for a link whose values vary."""
        name, constants, app = getattr(call.node, "name", ""), _constants(call), self._app
        values = {each.key: each.value.value for each in call.kwargs if isinstance(each.value, nodes.Const)}
        is_constant = len(constants) == len(call.args) == 1 and len(values) == len(call.kwargs)
        if self._root is None or name not in ("url_for", "asset") or not is_constant:
            return None
        if call.dyn_args or call.dyn_kwargs:
            return None
        if name == "asset":
            return None if app.debug or values or name not in self._functions else path_of(constants[0])
        if constants[0].startswith(".") or any(each.startswith("_") for each in values):  # such as _external
            return None
        if any(app.url_default_functions.values()) or app.url_map.host_matching or app.subdomain_matching:
            return None
        try:
            return app.url_map.bind("localhost").build(constants[0], values)
        except BuildError:  # at the rendering, it will say so
            return None


def _constants(call: nodes.Call) -> list[Any]:
    return [argument.value for argument in call.args if isinstance(argument, nodes.Const)]

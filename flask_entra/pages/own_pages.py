"""This package's own pages: in a Jinja environment of their own, inside the app's layout if there is one, or by themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, render_template_string, request, url_for
from jinja2 import FunctionLoader, PackageLoader, TemplateNotFound
from markupsafe import Markup
from werkzeug.exceptions import SecurityError

from flask_entra.config import Config
from flask_entra.pages.compiled import Environment
from flask_entra.pages.languages import add_gettext, language
from flask_entra.pages.names import name_of
from flask_entra.pages.policy import csp_nonce, mark_own_page

# A folder in an app's templates: a template in it is shown instead of this package's template of the same name.
FOLDER = "flask_entra"
_IN_THE_LAYOUT = (
    "{%% extends entra_layout %%}"
    "{%% block %s %%}{{ entra_title }}{%% endblock %%}"
    "{%% block %s %%}{{ entra_page }}{%% endblock %%}"
)

log = logging.getLogger(__name__)


class OwnPages:
    """Renders this package's templates, each of which has the blocks `title` and `main`.

    :param app: may have templates of its own in the folder `flask_entra`.
    :param config: the app's; `layout` is the template of the app's to show them in.
    """

    def __init__(self, app: Flask, config: Config):
        self._app, self._config = app, config
        self._layout = _IN_THE_LAYOUT % (config.layout_title_block, config.layout_block)
        self._environment = Environment(
            app,
            loader=FunctionLoader(self._source),
            autoescape=True,
            auto_reload=app.debug,
            bytecode_cache=app.jinja_options.get("bytecode_cache"),
        )
        add_gettext(self._environment)
        self._environment.globals.update(
            url_for=url_for, language=language, name_of=name_of, csp_nonce=csp_nonce, config=config
        )
        self._package = PackageLoader("flask_entra", "pages/templates")

    def _source(self, name: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        own = self._app.jinja_env.loader
        try:
            if own is not None:
                return own.get_source(self._app.jinja_env, f"{FOLDER}/{name}")
        except TemplateNotFound:
            pass
        return self._package.get_source(self._environment, name)

    def render(self, name: str, **values: Any) -> str:
        """A page.

        :param name: of the template.
        :param values: for the template, and for the layout.
        """
        template = self._environment.get_template(name)
        context = template.new_context({"request": request, **values})
        # The template has escaped its values.
        title, page = (Markup("".join(template.blocks[block](context))) for block in ("title", "main"))  # noqa: S704
        if self._config.layout and (whole := self._in_the_layout(title, page, values)):
            return whole
        mark_own_page()
        return self._environment.get_template("plain.html").render(title=title, page=page)

    def _in_the_layout(self, title: Markup, page: Markup, values: dict[str, Any]) -> str | None:
        """The page in the app's layout; None if that is of no use. A failure has to be told, whatever the layout does."""
        layout, block = self._config.layout, self._config.layout_block
        try:
            whole = render_template_string(
                self._layout, **values, entra_layout=layout, entra_title=title, entra_page=page
            )
        except Exception:
            # For a host that is not trusted, Flask makes no links, so that few layouts can be shown.
            if not isinstance(request.routing_exception, SecurityError):
                log.exception("The layout %s (ENTRA_LAYOUT) cannot be shown", layout)
            return None
        if page not in whole:
            log.error("The layout %s (ENTRA_LAYOUT) has no block %s (ENTRA_LAYOUT_BLOCK)", layout, block)
            return None
        return whole

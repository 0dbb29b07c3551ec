"""What one app has of this package, and how it gets it: the one entry in `app.extensions`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from flask import Flask
from werkzeug.wrappers import Response as BaseResponse

from flask_entra import cross_site, doctor, health, logs, middleware, pages, session_commands, sessions
from flask_entra.api_client import ApiClient
from flask_entra.clouds import graph_of
from flask_entra.config import KEY, Config
from flask_entra.graph import GraphClient
from flask_entra.graph_calls import GraphCalls
from flask_entra.http_client import BoundedSession
from flask_entra.memberships import CallsApis, Memberships
from flask_entra.sessions.index import Index
from flask_entra.sessions.store import Store
from flask_entra.signin import callers_tokens, guards, known_groups, noted
from flask_entra.signin.app_tokens import AppTokens
from flask_entra.signin.authority import Authority
from flask_entra.signin.authorization import Requirement
from flask_entra.signin.callers_tokens import CallersTokens
from flask_entra.signin.channels import Channels
from flask_entra.signin.client import Client
from flask_entra.signin.errors import SignInRequired
from flask_entra.signin.on_behalf_of import OnBehalfOf
from flask_entra.signin.routes import Routes
from flask_entra.signin.tokens import Tokens

APIS_AT_MOST = 100  # whose clients are kept


@dataclass
class AppState:
    """What one app has of this package.

    :ivar config: what follows from its settings.
    :ivar http: its one HTTP client.
    :ivar authority: what signs its people in.
    :ivar client: it, as a client of the authority.
    :ivar tokens: its people's.
    :ivar app_tokens: its own.
    :ivar graph: calls Graph, or the API of `ENDPOINT`.
    :ivar api_client: gives the client of another API, which remembers the pauses that it has asked for, by the API's URL.
    :ivar member_of: asks Graph about groups that a token has no room for.
    :ivar store: its sessions.
    :ivar index: finds them without their cookies.
    :ivar routes: the pages of the sign-in.
    :ivar callers: reads the bearer tokens of callers.
    :ivar on_behalf_of: exchanges them for tokens for other APIs.
    """

    config: Config
    http: BoundedSession
    authority: Authority
    client: Client
    tokens: Tokens
    app_tokens: AppTokens
    graph: GraphCalls
    api_client: Callable[[str], ApiClient]
    member_of: Memberships
    store: Store
    index: Index
    routes: Routes
    callers: CallersTokens
    on_behalf_of: OnBehalfOf

    def lead_to_sign_in(self, required: SignInRequired) -> BaseResponse:
        """The way to the sign-in; see `Beginning.lead_to_sign_in`.

        :raises CallerRefused: a bearer token decides, so that nobody can be led anywhere.
        """
        if callers_tokens.by_token():
            raise callers_tokens.refusal_of(required) from required
        return self.routes.beginning.lead_to_sign_in(required)


class Helper(CallsApis, Protocol):
    """The parts of `Auth` that an app's parts call."""

    def admit(self, needs: Requirement) -> BaseResponse | None: ...


def init_app(
    app: Flask,
    auth: Helper,
    *,
    given: dict[str, str],
    credential: Any,
    prompt: str | None,
    on_sign_in: list[Callable[[dict[str, Any]], object]],
    after_sign_out: str | None,
    protected: bool,
) -> None:
    """Give an app its parts. The arguments are those of `Auth` and `Auth.init_app`.

    :raises RuntimeError: it has them already.
    """
    if KEY in app.extensions:
        raise RuntimeError("auth.init_app(app) was called twice for this app, or after Auth(app, …). Call it once.")
    config = Config.of_app(app, given, credential)
    if "ENTRA_LOGGING" in config.on:
        logs.set_up(config.settings["LOG_FORMAT"])
    middleware.init_app(app, config)
    own_pages = pages.OwnPages(app, config)
    parts = _parts(app)
    answers = parts.answers(config, own_pages)
    store, index = sessions.init_app(app, config, answers.respond, noted.about, noted.labels, parts.watched)
    http = parts.http(config.threads)
    authority = Authority(http, config)
    client = Client(authority, config)
    tokens = parts.tokens(authority, client, config)
    configuration = doctor.Configuration(app, config, own_pages, answers)
    routes = Routes(
        config,
        tokens,
        Channels(config, authority, index),
        not_set_up=configuration.page,
        render=own_pages.render,
        prompt=prompt,
        on_sign_in=on_sign_in,
        after_sign_out=after_sign_out,
    )
    graph = GraphCalls(auth.call, auth.context, GraphClient(http, config.endpoint), config.scope, authority)
    member_of = Memberships(auth, http, graph_of(config.authority, config.endpoint))
    app_tokens = AppTokens(authority, client, config)
    callers, on_behalf_of = CallersTokens(authority, config.api_audiences), OnBehalfOf(authority, client, config)
    state = AppState(
        config=config,
        http=http,
        authority=authority,
        client=client,
        tokens=tokens,
        app_tokens=app_tokens,
        graph=graph,
        # A view may make the URL itself: no number of them fills the memory.
        api_client=functools.lru_cache(maxsize=APIS_AT_MOST)(functools.partial(ApiClient, http)),
        member_of=member_of,
        store=store,
        index=index,
        routes=routes,
        callers=callers,
        on_behalf_of=on_behalf_of,
    )
    app.extensions[KEY] = state
    pages.init_app(app, config, pages.Face(config, routes.note.read))
    routes.register(app)
    answers.register(app)
    _sign_in_where_it_is_needed(app, state, answers)
    if "ENTRA_CROSS_SITE_PROTECTION" in config.on:
        cross_site.init_app(app, config, exempt=callers_tokens.by_token)
    if "ENTRA_CONFIGURATION_EVERYWHERE" in config.on:
        configuration.show_everywhere()
    if "ENTRA_HEALTH" in config.on:
        health.init_app(app, config, store, authority)
    doctor.add_command(app, state)
    session_commands.init_app(app, store, index)
    guards.check_order(app)
    known_groups.check_names(app, config.groups)
    if protected:  # last: a page that says what is wrong with the settings needs no sign-in
        guards.protect(app, auth.admit)


class _Parts(NamedTuple):
    """The classes of the parts that OpenTelemetry may watch."""

    answers: type[pages.Answers]
    http: type[BoundedSession]
    tokens: type[Tokens]
    watched: Callable[[Store], Store]


def _parts(app: Flask) -> _Parts:
    # Somebody who wants telemetry has begun with it (`opentelemetry-instrument`, gunicorn.conf.py). Others pay nothing for it.
    if not logs.telemetry_runs():
        return _Parts(pages.Answers, BoundedSession, Tokens, lambda store: store)
    from flask_entra import telemetry

    telemetry.watch(app)
    return _Parts(telemetry.WatchedAnswers, telemetry.WatchedSession, telemetry.WatchedTokens, telemetry.watched_store)


def _sign_in_where_it_is_needed(app: Flask, state: AppState, answers: pages.Answers) -> None:
    @app.errorhandler(SignInRequired)
    def sign_in_first(required: SignInRequired) -> BaseResponse:
        # Raised where no `login_required` is, for example by `context()`. To Flask, what a handler raises is a 500.
        try:
            return state.lead_to_sign_in(required)
        except Exception as failure:
            return answers.respond(failure)

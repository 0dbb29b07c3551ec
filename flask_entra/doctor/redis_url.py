"""The address of Redis, as it is written. `sessions.redis_address` reads it; here are the words for what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask_entra.doctor.findings import SECRET_KEY_MEND, WITHOUT_A_SECRET, Finding, credential_name, odd, wrong
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.redis_address import SCHEMES, SENTINEL_OPTIONS, RedisAddress, read_address
from flask_entra.settings import Settings

_NAME = "REDIS_URL"
_PARTS: dict[str, tuple[Text, Text]] = {
    "scheme": (
        _("does not begin with redis://"),
        _("Begin it with one of these: %(schemes)s.", schemes=", ".join(f"{scheme}://" for scheme in SCHEMES)),
    ),
    "host": (
        _("cannot be read as an address"),
        _("Percent-encode the special characters of its password, such as a slash or an at sign."),
    ),
    "master": (
        _("does not name Sentinel's master"),
        _("Write its name after the hosts: %(example)s.", example="redis+sentinel://host:26379/mymaster"),
    ),
    "database": (_("has a database that is not a number"), _("Correct it, or leave it out.")),
}


def check_redis(settings: Settings) -> Iterator[Finding]:
    value = settings[_NAME]
    if not value:
        return
    if re.search(r"[,;]\s*(password|user|ssl|abortConnect|name)=", value, re.IGNORECASE):
        mend = _("Write it as rediss://default:KEY@host:6380/0, with the key percent-encoded.")
        yield wrong(_NAME, _("is a connection string for .NET"), mend)
        return
    try:
        address = read_address(value)
    except ValueError as error:
        yield wrong(_NAME, *_PARTS[str(error)])
        return
    # Azure Cache for Redis: without TLS it has another port, if any.
    if not address.tls and any(port == 6380 and ".redis.cache." in host for host, port in address.hosts):
        yield wrong(_NAME, _("needs TLS at this port"), _("Write rediss:// instead of redis://."))
    elif not _has_known_options(address):
        mend = _("Compare it with the documentation of redis-py, or remove what follows the question mark.")
        yield wrong(_NAME, _("has an option that the Redis client does not take"), mend)
    elif not settings["SECRET_KEY"] and credential_name(settings) not in WITHOUT_A_SECRET:
        found = _("is missing, so it changes with the client secret, and sign-ins that are under way then fail")
        yield odd("SECRET_KEY", found, SECRET_KEY_MEND)


def _has_known_options(address: RedisAddress) -> bool:
    """Whether redis-py makes a connection of the options; none is opened."""
    import redis  # here, because an app without Redis has no use for its 6 MB

    try:
        pool = redis.ConnectionPool.from_url(address.urls[0])
        if address.master:
            for option in SENTINEL_OPTIONS:  # which are no server's
                pool.connection_kwargs.pop(option, None)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        return False
    return True

"""Which Redis `REDIS_URL` means: one server, a cluster, or the master that Sentinel names; with a password or by Entra ID.

    redis://[user:password@]host[:6379][/0][?option=value]       rediss:// for TLS, unix:///path for a socket
    redis://host-1:6379,host-2:6379                              several nodes of one cluster
    redis+sentinel://[user:password@]host-1[:26379],host-2/master[/0][?sentinel_password=…]
    rediss+entraid://host:10000                                  Azure's Redis, signed in to by the machine's managed identity

The options are redis-py's. Valkey speaks the same protocol: `valkey://` is `redis://`, `valkeys://` is `rediss://`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from flask_entra.urls import split_url

# The options that are Sentinel's own, and what redis-py calls them for Sentinel. All others are for the servers.
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix", "redis+sentinel", "rediss+sentinel", "rediss+entraid")
_SAME_AS = {"valkey": "redis", "valkeys": "rediss"}


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is.

    :ivar urls: one for each host, as redis-py takes them.
    :ivar hosts: the same hosts, each with its port; none for a socket.
    :ivar master: the name by which Sentinel knows the master; None without Sentinel.
    :ivar tls: whether the connection is encrypted.
    :ivar entra_id: whether to sign in by Entra ID instead of a password.
    """

    urls: tuple[str, ...]
    hosts: tuple[tuple[str, int], ...]
    master: str | None
    tls: bool
    entra_id: bool


def read_address(url: str) -> RedisAddress:
    """Read the setting.

    :raises ValueError: it is no address of a Redis. The text names the part that is wrong: `scheme`, `host`, `master` or
        `database`. It quotes nothing, because a password may be near.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ValueError("scheme")
    kind, _, way = scheme.partition("+")
    kind, sentinel = _SAME_AS.get(kind, kind), way == "sentinel"
    if kind == "unix":
        return RedisAddress((url,), (), None, tls=False, entra_id=False)
    address, question_mark, query = rest.partition("?")
    address, _, path = address.partition("/")
    user, at, names = address.rpartition("@")
    hosts = tuple(_host(name, 26379 if sentinel else 6379) for name in names.split(","))
    master, _, database = path.partition("/") if sentinel else ("", "", path)
    if sentinel and not master:
        raise ValueError("master")
    if not (database.isdecimal() or database == ""):
        raise ValueError("database")
    urls = tuple(
        f"{kind}://{user}{at}{f'[{host}]' if ':' in host else host}:{port}/{database}{question_mark}{query}"
        for host, port in hosts
    )
    return RedisAddress(urls, hosts, unquote(master) or None, tls=kind == "rediss", entra_id=way == "entraid")


def _host(name: str, port: int) -> tuple[str, int]:
    parts = split_url(f"redis://{name}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError("host")
    return parts.hostname, parts.port or port

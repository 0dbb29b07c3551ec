"""A client for the Redis that there is: one server, a cluster, or the master that Sentinel names. All of it is redis-py's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask_entra.sessions.redis_address import RedisAddress
from flask_entra.sessions.store import StoreUnavailable

if TYPE_CHECKING:
    import redis

ENTRA_SCOPE = "https://redis.azure.com/.default"


def connect(address: RedisAddress) -> redis.Redis:
    """Reach a Redis, and find out what it is. A cluster is one by its own word: no setting says so.

    :return: redis-py's client; one for a cluster has the same methods.
    :raises redis.RedisError: it cannot be reached.
    :raises ValueError: redis-py does not know an option.
    :raises StoreUnavailable: the package for signing in by Entra ID is missing.
    """
    import redis.backoff  # here, because a worker without Redis has no use for its 6 MB
    import redis.cluster
    import redis.retry

    options: dict[str, Any] = {
        "socket_connect_timeout": 1,
        "socket_timeout": 1,
        "health_check_interval": 30,
        # One retry, because the retries of the health check, of connecting and of the command multiply.
        "retry": redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=0.4, base=0.05), 1),
    }
    if address.entra_id:
        options["credential_provider"] = _entra_id()
    if address.master:
        return _master(address, options)
    failure: redis.RedisError | None = None
    for url in address.urls:
        client = redis.Redis.from_url(url, **options)
        try:
            is_cluster = client.info("cluster").get("cluster_enabled")
        except redis.exceptions.NoPermissionError:  # it may read and write keys, but not ask
            is_cluster = False
        except redis.RedisError as error:
            failure = error
            continue
        if not is_cluster:
            return client
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.hosts]
        # Where some keys have no server, the others are served as ever.
        cluster = redis.cluster.RedisCluster.from_url(url, startup_nodes=nodes, require_full_coverage=False, **options)
        return cast("redis.Redis", cluster)
    assert failure is not None  # noqa: S101  there is at least one host
    raise failure


def servers(client: redis.Redis) -> list[redis.Redis]:
    """A client for each server that keeps keys."""
    import redis.cluster

    if isinstance(client, redis.cluster.RedisCluster):
        return [client.get_redis_connection(node) for node in client.get_primaries()]
    return [client]


def server_of(client: redis.Redis, key: str) -> str:
    """A name for the server that has a key; the same for all keys when there is only one."""
    find = getattr(client, "get_node_from_key", None)
    return str(find(key).name) if find else ""


def _master(address: RedisAddress, options: dict[str, Any]) -> redis.Redis:
    import redis.connection
    import redis.sentinel

    given = redis.connection.parse_url(address.urls[0])
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    password = given.pop("sentinel_password", None)
    own = {name: each for name, each in {**options, **given}.items() if name.startswith(("socket_", "ssl_"))}
    own |= {"password": password, "ssl": address.tls}
    sentinel = redis.sentinel.Sentinel(address.hosts, sentinel_kwargs=own, **{**options, **given})
    return cast("redis.Redis", sentinel.master_for(address.master, ssl=address.tls))


def _entra_id() -> Any:
    # redis-entraid: Redis's own package for this. Optional, because an app that signs in by a password has no use for it.
    try:
        from redis_entraid.cred_provider import create_from_default_azure_credential
    except ImportError:
        raise StoreUnavailable("REDIS_URL signs in by Entra ID, which needs the package redis-entraid") from None
    return create_from_default_azure_credential((ENTRA_SCOPE,))

"""A client for the Redis that there is: one server, a cluster, or the master that Sentinel names. All of it is redis-py's."""

from __future__ import annotations

import random
import time
from typing import Any, cast

import redis
import redis.backoff
import redis.cluster
import redis.connection
import redis.retry
import redis.sentinel

from flask_entra.sessions.redis_address import SENTINEL_OPTIONS, RedisAddress
from flask_entra.sessions.redis_pools import Pool, SentinelPool
from flask_entra.sessions.store import StoreMisconfigured

ENTRA_SCOPE = "https://redis.azure.com/.default"
CONNECT_SECONDS = 1.5  # for all hosts together: the next request begins with another host


def connect(address: RedisAddress) -> redis.Redis:
    """Reach a Redis, and find out what it is. A cluster is one by its own word: no setting says so.

    :return: redis-py's client; one for a cluster has the same methods.
    :raises redis.RedisError: it cannot be reached.
    :raises StoreMisconfigured: an option is unknown, the package for signing in by Entra ID is missing, a cluster's user may not
        ask where the keys are, or several hosts are no cluster.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": 1,
        "socket_timeout": 1,
        "health_check_interval": 30,
        # One retry, because the retries of the health check, of connecting and of the command multiply; none after a timeout.
        "retry": redis.retry.Retry(
            redis.backoff.ExponentialBackoff(cap=0.4, base=0.05), 1, supported_errors=(redis.ConnectionError,)
        ),
    }
    if address.entra_id:
        options["credential_provider"] = _entra_id()
    try:
        return _master(address, options) if address.master else _server_or_cluster(address, options)
    except (ValueError, TypeError) as error:
        raise StoreMisconfigured("REDIS_URL has an option that redis-py does not take") from error


def servers(client: redis.Redis) -> list[redis.Redis]:
    """A client for each server that keeps keys."""
    if isinstance(client, redis.cluster.RedisCluster):
        return [client.get_redis_connection(node) for node in client.get_primaries()]
    return [client]


def server_of(client: redis.Redis, key: str) -> str:
    """A name for the server that has a key; the same for all keys when there is only one."""
    return str(client.get_node_from_key(key).name) if isinstance(client, redis.cluster.RedisCluster) else ""


def master_of(client: redis.Redis, *, now: bool = False) -> Any:
    """The address of the master that a client behind Sentinel asks; None for any other client.

    :param now: ask Sentinel first.
    """
    pool = getattr(client, "connection_pool", None)  # a cluster's client has one for each node
    if not isinstance(pool, SentinelPool):
        return None
    return pool.master_now() if now else pool.master_address


def _server_or_cluster(address: RedisAddress, options: dict[str, Any]) -> redis.Redis:
    deadline, failure = time.monotonic() + CONNECT_SECONDS, None
    for url in random.sample(address.urls, len(address.urls)):
        if failure and time.monotonic() > deadline:
            break
        client = redis.Redis.from_pool(Pool.from_url(url, **options))
        try:
            is_cluster = _is_cluster(client)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            failure = error
            continue
        if is_cluster:
            nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.hosts]
            # Where some keys have no server, the others are served as ever.
            cluster = redis.cluster.RedisCluster.from_url(
                url, startup_nodes=nodes, require_full_coverage=False, connection_pool_class=Pool, **options
            )
            return cast("redis.Redis", cluster)
        if len(address.urls) > 1:
            raise StoreMisconfigured("REDIS_URL names several servers, but they are no cluster")
        return client
    assert failure is not None  # noqa: S101  there is at least one host
    raise failure


def _is_cluster(client: redis.Redis) -> bool:
    """Whether a server is a node of a cluster, by the command that a client of a cluster needs.

    :raises redis.ConnectionError, redis.TimeoutError: it cannot be reached.
    :raises StoreMisconfigured: it is one, and its user may not ask where the keys are.
    """
    try:
        client.execute_command("CLUSTER SLOTS")
    except redis.exceptions.NoPermissionError:
        try:
            is_cluster = client.info("cluster").get("cluster_enabled")
        except redis.exceptions.NoPermissionError:  # it may read and write keys, but not ask
            return False
        if is_cluster:
            raise StoreMisconfigured("Redis is a cluster, whose user may not run CLUSTER SLOTS") from None
        return False
    except redis.ResponseError:
        return False  # "This instance has cluster support disabled", or a proxy that does not know the command
    return True


def _master(address: RedisAddress, options: dict[str, Any]) -> redis.Redis:
    given = redis.connection.parse_url(address.urls[0])
    for name in ("host", "port", "connection_class"):
        given.pop(name, None)
    own = {name: each for name, each in {**options, **given}.items() if name.startswith(("socket_", "ssl_", "retry"))}
    own |= {theirs: given.pop(option, None) for option, theirs in SENTINEL_OPTIONS.items()}
    sentinel = redis.sentinel.Sentinel(
        address.hosts, sentinel_kwargs={**own, "ssl": address.tls}, **{**options, **given}
    )
    for each in sentinel.sentinels:
        each.connection_pool = Pool(each.connection_pool.connection_class, **each.connection_pool.connection_kwargs)
    master = cast(
        "redis.Redis", sentinel.master_for(address.master, connection_pool_class=SentinelPool, ssl=address.tls)
    )
    master.ping()  # an option that it does not know is found out at the first connection
    return master


def _entra_id() -> Any:
    # redis-entraid: Redis's own package for this. Optional, because an app that signs in by a password has no use for it.
    try:
        from redis_entraid.cred_provider import create_from_default_azure_credential
    except ImportError:
        raise StoreMisconfigured("REDIS_URL signs in by Entra ID, which needs the package redis-entraid") from None
    return create_from_default_azure_credential((ENTRA_SCOPE,))

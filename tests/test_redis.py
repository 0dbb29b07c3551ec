"""Redis as it is sold and run: a cluster, Sentinel, Entra ID, Valkey's name; and what happens when one of its servers dies."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
import redis
import requests
import trustme
from configs import config_of
from programs import free_port, gunicorn_command, listens, needs, until
from redis_servers import HOST, Cluster, Redis, Watched
from visitor import Visitor, cookies_of

from flask_entra.sessions import redis_client, redis_pools
from flask_entra.sessions.index import Index
from flask_entra.sessions.redis import RedisStore
from flask_entra.sessions.redis_address import read_address
from flask_entra.sessions.seal import Seal
from flask_entra.sessions.session import Session
from flask_entra.sessions.store import StoreUnavailable
from flask_entra.signin import noted
from flask_entra.signin.current_user import USER

KEY = "ab" * 32


@pytest.fixture
def servers(request, tmp_path):
    needs("redis-server")
    several = request.param(tmp_path / "servers")
    yield several
    several.stop()


both = pytest.mark.parametrize("servers", [Cluster, Watched], indirect=True, ids=["cluster", "sentinel"])


@both
def test_every_method_of_the_store_works(servers):
    store = RedisStore(servers.url, threads=8)
    store.ping()
    assert store.evicts() is None
    for number in range(12):  # on each node of a cluster
        key = f"{number:064x}"
        store.add(key, b"0", 100)

        def count(_, key=key):
            store.update(key, lambda value: str(int(value) + 1).encode(), 100)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(8)))
        assert store.get(key) == b"8"
        with store.lock(key):
            pass
        assert store.delete(key)
        assert not store.delete(key)
        store.update(key, lambda value: b"late", 100)
        assert store.get(key) is None


@both
def test_the_index_finds_and_ends_sessions_on_each_server(servers):
    store = RedisStore(servers.url, threads=8)
    index = Index(store, lambda: [b"secret"], "app", 3600, noted.about, noted.labels)
    for number in range(60):
        session = Session(store, 3600, None, 3600, "app", index)
        session[USER] = {"iss": "https://idp.example", "sub": f"person-{number % 5}", "sid": f"s{number}"}
        session.save()
    assert len(list(index.all())) == len(set(store.keys())) == 60
    assert len(index.find(noted.by_person("https://idp.example", "person-1"))) == 12
    assert all(index.end(entry) for entry in index.find(noted.by_sid("s7")))
    assert sum(index.end(entry) for entry in index.all()) == 59
    assert list(store.keys()) == list(store.all_notes()) == []


@pytest.mark.slow
@both
def test_a_failover_under_load_signs_nobody_out(serve, servers):
    """What is asked while there is no master may be a 503; nobody is ever signed out, and afterwards all is well."""
    port = free_port()
    app = serve(REDIS_URL=servers.url, port=port, command=gunicorn_command(port, "--workers", "1"))
    people = [Visitor(app.url) for _ in range(6)]
    for person in people:
        assert person.sign_in().status_code == 200, app.log()
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 200
    stop, seen = threading.Event(), []

    def look(person):
        while not stop.is_set():
            page = person.get("/")
            seen.append(page.status_code)
            assert page.status_code == 503 or "Ad\u00e8le" in page.text
            stop.wait(0.02)

    with ThreadPoolExecutor(len(people)) as pool:
        loads = [pool.submit(look, person) for person in people]
        (sid,) = cookies_of(people[0]).values()
        key = Seal(sid, config_of(**app.settings).owner).key
        dies = servers.master if isinstance(servers, Watched) else servers.master_of("session:" + key)
        dies.await_replica()
        dies.stop(9)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (503 in seen and seen[-60:] == [200] * 60):
            time.sleep(0.05)
        stop.set()
        for load in loads:
            load.result()
    assert set(seen) == {200, 503}
    assert seen[-60:] == [200] * 60
    assert all(person.signed_in for person in people)
    late = Visitor(app.url)
    assert late.sign_in().status_code == 200
    assert late.signed_in


@pytest.mark.parametrize("servers", [Watched], indirect=True)
def test_a_former_master_that_does_not_know_it_yet_loses_nothing(servers, monkeypatch):
    """It answers for some ten seconds more, and forgets all of it when it begins to follow the new one."""
    monkeypatch.setattr(redis_pools, "MASTER_SECONDS", 60)  # so that no question comes in between by itself
    changed, ended, added, found = (letter * 64 for letter in "abcd")
    acts = [  # each as the first that a process does after the failover
        lambda store: store.update(changed, lambda _: b"changed", 100),
        lambda store: store.delete(ended),
        lambda store: store.add(added, b"added", 100),
        lambda store: store.note("label", b"entry", 100),
        lambda store: store.drop_note("other label", b"entry"),
        lambda store: store.get(found),
    ]
    stores = [RedisStore(servers.url, threads=8) for _ in acts]
    for store in stores:
        for key in (changed, ended):
            store.add(key, b"before", 100)
        store.note("other label", b"entry", 100)
    servers.fail_over()
    new = servers.replica.client()
    new.set("session:" + found, b"found")  # as another process has stored it
    assert [act(store) for act, store in zip(acts, stores, strict=True)] == [None, True, None, None, None, b"found"]
    assert servers.master.role == "master"  # it still says so
    assert [new.get("session:" + key) for key in (changed, ended, added)] == [b"changed", None, b"added"]
    assert new.zrange("index:label", 0, -1) == [b"entry"]
    assert not new.exists("index:other label")


@pytest.mark.parametrize("servers", [Watched], indirect=True)
def test_a_session_that_is_found_costs_sentinel_no_question(servers):
    store = RedisStore(servers.url, threads=8)
    store.add(KEY, b"1", 100)
    asked = servers.questions()
    for _ in range(200):
        assert store.get(KEY) == b"1"
    assert servers.questions() - asked < 20


@pytest.mark.parametrize("servers", [Watched], indirect=True)
def test_a_former_master_is_read_for_a_second_at_most(servers):
    store = RedisStore(servers.url, threads=8)
    store.add(KEY, b"before", 100)
    servers.fail_over()
    servers.replica.client().set("session:" + KEY, b"after")
    time.sleep(redis_pools.MASTER_SECONDS)
    assert store.get(KEY) == b"after"


@pytest.mark.parametrize("servers", [Watched], indirect=True)
def test_while_sentinel_refuses_the_master_that_is_known_serves(servers):
    store = RedisStore(servers.url, threads=8)
    store.add(KEY, b"1", 100)
    servers.forbid_sentinel()
    time.sleep(redis_pools.MASTER_SECONDS)
    store.add(KEY, b"2", 100)
    assert store.get(KEY) == b"2"


@pytest.mark.parametrize("servers", [Watched], indirect=True)
def test_while_sentinel_hangs_the_master_that_is_known_serves(servers):
    store = RedisStore(servers.url, threads=8)
    store.add(KEY, b"1", 100)
    servers.pause_sentinel()
    time.sleep(redis_pools.MASTER_SECONDS)
    took = []
    for _ in range(200):
        began = time.monotonic()
        store.add(KEY, b"1", 100)
        assert store.get(KEY) == b"1"
        took.append(time.monotonic() - began)
    assert sum(each > 0.5 for each in took) == 1  # who asked Sentinel
    assert max(took) < 3


@pytest.mark.parametrize("servers", [Cluster], indirect=True)
def test_while_a_node_hangs_the_sessions_on_the_others_are_served(servers):
    store = RedisStore(servers.url, threads=8)
    keys = [f"{number:064x}" for number in range(24)]
    for key in keys:
        store.add(key, b"value", 100)
    hangs = servers.master_of("session:" + keys[0])
    others = [key for key in keys if servers.master_of("session:" + key) is not hangs]
    hangs.pause()
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.get(keys[0])
        with ThreadPoolExecutor(1) as pool:
            trying = pool.submit(store.get, keys[0])
            for key in others:
                assert store.get(key) == b"value"
            trying.exception()  # by now perhaps none: the node's replica takes over
        assert time.monotonic() - began < 12
    finally:
        hangs.go_on()
    slot = hangs.client().cluster("keyslot", "session:" + keys[0])
    others = [key for key in keys if hangs.client().cluster("keyslot", "session:" + key) != slot]
    for node in servers.nodes:  # now some keys have no server
        with contextlib.suppress(redis.ResponseError):  # a replica takes no such command
            node.client().execute_command("CLUSTER DELSLOTS", slot)
    late = RedisStore(servers.url, threads=8)  # of a process that starts now
    assert [late.get(key) for key in others] == [b"value"] * len(others)
    with pytest.raises(StoreUnavailable):
        late.get(keys[0])


@pytest.fixture
def replica(tmp_path, redis_server):
    """A Redis that only copies another one: it can be read, not written."""
    server = Redis(tmp_path / "replica", "--replicaof", f"{HOST} {redis_server.port}")
    yield server
    server.stop()


def test_a_replica_is_not_ready(serve, replica):
    app = serve(REDIS_URL=replica.url)
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
    assert Visitor(app.url).sign_in().status_code == 503
    assert requests.get(app.url + "/", timeout=9).status_code == 200


@pytest.mark.parametrize(
    ("policy", "memory", "found"),
    [("allkeys-lru", "100mb", "allkeys-lru"), ("volatile-ttl", "100mb", "volatile-ttl"), ("noeviction", "100mb", None)]
    + [("allkeys-lru", "0", None)],
)
def test_a_redis_that_may_delete_live_sessions_is_known(redis_server, policy, memory, found):
    redis_server.client().config_set("maxmemory-policy", policy)
    redis_server.client().config_set("maxmemory", memory)
    assert RedisStore(redis_server.url, threads=8).evicts() == found


def test_a_full_redis_is_not_ready(serve, redis_server):
    app = serve(REDIS_URL=redis_server.url)
    redis_server.client().set("something else", b"x" * 2_000_000)
    redis_server.client().config_set("maxmemory", "1mb")
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
    assert Visitor(app.url).sign_in().status_code == 503
    redis_server.client().config_set("maxmemory", "0")
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 200


def test_a_user_who_may_only_use_keys_is_enough(redis_server):
    redis_server.client().acl_setuser(
        "app",
        enabled=True,
        passwords=["+p/ss"],
        keys=["session:*", "lock:*"],
        commands=[
            "+get",
            "+set",
            "+del",
            "+watch",
            "+unwatch",
            "+multi",
            "+exec",
            "+evalsha",
            "+eval",
            "+script",
            "+ping",
        ],
    )
    store = RedisStore(redis_server.url.replace("//", "//app:p%2Fss@"), threads=8)
    store.ping()
    store.add(KEY, b"0", 100)
    store.update(KEY, lambda value: b"1", 100)
    assert store.get(KEY) == b"1"


def restrict(server, *commands):
    """Make a user who may run these commands only, and use any key."""
    server.client().execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", *commands)


@pytest.mark.parametrize("servers", [Cluster], indirect=True)
@pytest.mark.parametrize("commands", [("+@all", "-info"), ("+@all", "-@dangerous", "+cluster|slots")])
def test_a_cluster_is_found_out_by_a_user_who_may_not_run_info(servers, commands):
    for node in servers.nodes:
        restrict(node, *commands)
    store = RedisStore(servers.url.replace("//", "//app:pw@"), threads=8)
    for number in range(12):
        store.add(f"{number:064x}", b"value", 100)
        assert store.get(f"{number:064x}") == b"value"


@pytest.mark.parametrize("servers", [Cluster], indirect=True)
def test_a_user_who_may_not_ask_a_cluster_where_its_keys_are_is_told_so(servers):
    for node in servers.nodes:
        restrict(node, "+@all", "-cluster")
    store = RedisStore(servers.url.replace("//", "//app:pw@"), threads=8)
    with pytest.raises(StoreUnavailable, match="may not run CLUSTER SLOTS"):
        store.ping()


def test_several_servers_that_are_no_cluster_are_refused(redis_server):
    store = RedisStore(f"{redis_server.url[:-2]},127.0.0.1:{redis_server.port}/0", threads=8)
    with pytest.raises(StoreUnavailable, match="they are no cluster"):
        store.ping()


def test_of_several_hosts_each_is_asked_first_now_and_then(redis_server, monkeypatch):
    monkeypatch.setattr(redis_client, "CONNECT_SECONDS", -1)  # after the first one that is down, there is no time left
    down = [f"{HOST}:{free_port()}" for _ in range(2)]
    address = read_address(f"redis://{','.join(down)},{HOST}:{redis_server.port}/0")

    def reaches():
        try:
            redis_client.connect(address)
        except redis.ConnectionError:
            return False
        except StoreUnavailable as error:
            return "no cluster" in str(error)  # as the one that answers says

    assert any(reaches() for _ in range(60))


def test_hosts_that_do_not_answer_have_one_deadline_together():
    silent = [socket.create_server((HOST, 0)) for _ in range(6)]
    hosts = ",".join(f"{HOST}:{each.getsockname()[1]}" for each in silent)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        RedisStore(f"redis://{hosts}", threads=8).get(KEY)
    assert time.monotonic() - began < 4
    for each in silent:
        each.close()


def test_an_address_that_cannot_be_read_is_said_so_whatever_is_asked():
    store = RedisStore("localhost:6379", threads=8)
    for ask in (store.ping, store.evicts, lambda: store.get(KEY)):
        with pytest.raises(StoreUnavailable, match="REDIS_URL cannot be read as an address"):
            ask()


@pytest.mark.parametrize("mistake", [TypeError, ValueError, AttributeError, KeyError])
def test_a_mistake_in_what_is_stored_is_not_blamed_on_redis(redis_server, mistake):
    store = RedisStore(redis_server.url, threads=8)
    store.add(KEY, b"value", 100)

    def change(_):
        raise mistake("a view's own")

    with pytest.raises(mistake, match="a view's own"):
        store.update(KEY, change, 100)
    assert store.get(KEY) == b"value"


def test_of_many_requests_at_a_redis_that_hangs_each_is_told_so(redis_server):
    store = RedisStore(redis_server.url, threads=8)
    store.ping()
    redis_server.pause()
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(store.get, KEY) for _ in range(16)]
        assert {type(each.exception()) for each in asked} == {StoreUnavailable}
    redis_server.go_on()


def test_a_lock_that_is_given_back_is_renewed_no_more(redis_server):
    store, before = RedisStore(redis_server.url, threads=8), threading.enumerate()
    with store.lock(KEY):
        renewing = [each for each in threading.enumerate() if each not in before]
        assert renewing
    until(lambda: not any(each.is_alive() for each in renewing))


def test_redis_removes_what_has_expired_by_itself(redis_server):
    store = RedisStore(redis_server.url, threads=8)
    store.add(KEY, b"value", 100)
    assert store.prune(0) == 0
    assert store.get(KEY) == b"value"


def test_sentinel_has_a_user_of_its_own(tmp_path):
    needs("redis-server")
    watched = Watched(tmp_path)
    try:
        restrict(watched.master, "+@all")
        of_the_master = watched.url.replace("//", "//app:pw@")  # this user is not Sentinel's
        RedisStore(of_the_master, threads=8).ping()
        with pytest.raises(StoreUnavailable, match="an option that redis-py does not take"):
            RedisStore(f"{watched.url}?nonsense=1", threads=8).ping()
        sentinel = redis.Redis(HOST, int(watched.url.split(":")[2].split("/")[0]))
        sentinel.execute_command("ACL", "SETUSER", "watcher", "on", ">p/w", "+@all")
        sentinel.execute_command("ACL", "SETUSER", "default", "off")
        store = RedisStore(f"{watched.url}?sentinel_username=watcher&sentinel_password=p%2Fw", threads=8)
        store.ping()
        with pytest.raises(StoreUnavailable, match="Sentinel"):
            RedisStore(watched.url, threads=8).ping()
    finally:
        watched.stop()


def test_sentinel_and_the_master_are_asked_over_tls(tmp_path):
    needs("redis-server")
    port, watching = free_port(), free_port()
    files = tls_files(tmp_path)
    server = Redis(tmp_path / "redis", "--tls-port", str(port), *files)
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port 0\ntls-port {watching}\ntls-replication yes\nbind {HOST}\ndir {tmp_path}\n"
        f"sentinel monitor sessions {HOST} {port} 1\n"
    )
    sentinel = subprocess.Popen(["redis-server", str(settings), "--sentinel", *files], stdout=subprocess.DEVNULL)
    try:
        until(lambda: listens(watching))
        ca = tmp_path / "vouches.pem"
        RedisStore(f"rediss+sentinel://{HOST}:{watching}/sessions/0?ssl_ca_certs={ca}", threads=8).ping()
    finally:
        sentinel.kill()
        sentinel.wait(10)
        server.stop()


# --- Entra ID ---------------------------------------------------------------------------------------------------------

OID = "11111111-2222-4333-8444-555555555555"
TOKEN = jwt.encode(
    {"oid": OID, "iat": time.time(), "exp": time.time() + 3600, "aud": "https://redis.azure.com"}, "k" * 32
)


class ManagedIdentity(BaseHTTPRequestHandler):
    """The token endpoint that App Service gives an app with a managed identity."""

    def do_GET(self):
        self.server.asked.append(self.path)
        expires = int(time.time()) + 3600
        answer = {"access_token": TOKEN, "expires_on": expires, "resource": "x", "token_type": "Bearer"}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def managed_identity():
    server = ThreadingHTTPServer((HOST, 0), ManagedIdentity)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def tls_files(folder):
    """The options for the files that TLS needs; `vouches.pem` in the folder vouches for a Redis that has them."""
    authority, pem = trustme.CA(), str(folder / "redis.pem")
    authority.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.write_to_path(pem)
    authority.cert_pem.write_to_path(folder / "vouches.pem")
    files = ["--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", str(folder / "vouches.pem")]
    return [*files, "--tls-auth-clients", "no"]


@pytest.fixture
def azure_redis(tmp_path):
    """A Redis over TLS where one user, named after the managed identity, signs in with its token."""
    needs("redis-server")
    tls_port = free_port()
    server = Redis(tmp_path / "redis", "--tls-port", str(tls_port), *tls_files(tmp_path))
    server.client().acl_setuser(OID, enabled=True, passwords=[f"+{TOKEN}"], keys=["*"], categories=["+@all"])
    server.client().acl_setuser("default", enabled=False, keys=["*"], categories=["+@all"])
    yield f"rediss+entraid://localhost:{tls_port}/0?ssl_ca_certs={tmp_path / 'vouches.pem'}"
    server.stop()


def test_the_machines_managed_identity_signs_in_to_redis_by_entra_id(serve, azure_redis, managed_identity):
    endpoint = f"http://{HOST}:{managed_identity.server_port}/msi/token"
    app = serve(REDIS_URL=azure_redis, IDENTITY_ENDPOINT=endpoint, IDENTITY_HEADER="x", AZURE_TOKEN_CREDENTIALS="prod")
    person = Visitor(app.url)
    assert person.sign_in().status_code == 200, app.log()
    assert person.signed_in
    assert "redis.azure.com" in managed_identity.asked[0]
    assert TOKEN not in app.log()


def test_an_option_that_redis_py_does_not_know_is_a_page_and_no_secret_reaches_the_log(serve):
    for url in (
        "redis://:s3cret@localhost:1/0?nothing=1",
        "redis+sentinel://:s3cret@localhost:1/m?sentinel_password=s3cret",
    ):
        app = serve(REDIS_URL=url)
        assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
        assert Visitor(app.url).sign_in().status_code == 503
        assert "s3cret" not in app.log()
        assert "Traceback" not in app.log()


def test_entra_id_without_its_package_is_said(serve, tmp_path):
    (tmp_path / "redis_entraid.py").write_text("raise ImportError")  # as if it were not installed
    app = serve(REDIS_URL=f"rediss+entraid://localhost:{free_port()}", PYTHONPATH=str(tmp_path))
    assert requests.get(app.url + "/readyz", timeout=9).status_code == 503
    assert "needs the package redis-entraid" in app.log()


# --- The address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "urls", "master"),
    [
        ("redis://h", ["redis://h:6379/"], None),
        ("valkey://u:p%2F@h:1/2?protocol=3", ["redis://u:p%2F@h:1/2?protocol=3"], None),
        ("valkeys://h/0", ["rediss://h:6379/0"], None),
        ("rediss://:p@a:1,b,[::1]:3/0", ["rediss://:p@a:1/0", "rediss://:p@b:6379/0", "rediss://:p@[::1]:3/0"], None),
        ("redis+sentinel://:p@a,b:2/my%20master/3", ["redis://:p@a:26379/3", "redis://:p@b:2/3"], "my master"),
        ("rediss+entraid://h:10000", ["rediss://h:10000/"], None),
        ("unix:///run/redis.sock?db=1", ["unix:///run/redis.sock?db=1"], None),
    ],
)
def test_an_address_is_read_whatever_redis_it_means(url, urls, master):
    address = read_address(url)
    assert list(address.urls) == urls
    assert address.master == master
    assert address.tls == urls[0].startswith("rediss:")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("localhost:6379", "scheme"),
        ("http://h", "scheme"),
        ("redis+entraid://h", "scheme"),
        ("redis://:pa/ssw0rd@h", "host"),
        ("redis://", "host"),
        ("redis://a,,b", "host"),
        ("redis://h:port", "host"),
        ("redis://[", "host"),
        ("redis+sentinel://h", "master"),
        ("redis+sentinel://h/", "master"),
        ("redis+sentinel://h/master/x", "database"),
        ("redis://h/zero", "database"),
    ],
)
def test_what_is_wrong_with_an_address_is_named_and_nothing_of_it_quoted(url, wrong):
    with pytest.raises(ValueError, match=f"^{wrong}$"):
        read_address(url)

"""Real Redis servers of a test: one, a cluster, or a master and a replica that Sentinel watches."""

import contextlib
import signal
import socket
import subprocess
import threading
import time

import redis
from programs import free_port

HOST = "127.0.0.1"


def _await(condition, what):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(what)


class Redis:
    """A redis-server on a free port, which can be stopped, and started again with its data."""

    def __init__(self, folder, *options):
        self.port, self.folder, self._options = free_port(), folder, options
        self.url = f"redis://{HOST}:{self.port}/0"
        folder.mkdir(exist_ok=True)
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        # Python ignores SIGXFSZ, and so does what it starts: otherwise, that would end the server where `fill_disk` lets it fail.
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL, restore_signals=False)
        _await(lambda: self.client().ping(), "redis-server does not start")

    def client(self):
        return redis.Redis.from_url(self.url)

    def await_replica(self):
        """Wait until all that has been written so far is on a replica too."""
        written = self.client().info("replication")["master_repl_offset"]
        _await(lambda: self.client().info("replication")["slave0"]["offset"] >= written, "the replica does not follow")

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def fill_disk(self, full=True):
        """Let each write to a file fail from now on, as on a full disk, or succeed again. (Linux.)"""
        import resource  # here, because Windows has none

        limit = 1 if full else resource.RLIM_INFINITY
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    @property
    def role(self):
        """`master`, `slave` if it follows its master, `lost slave` if it does not; nothing while it does not say."""
        try:
            info = self.client().info("replication")
        except redis.RedisError:  # Sentinel closes its connections when it makes something else of it
            return ""
        if info["role"] == "master":
            return "master"
        return "slave" if info["master_link_status"] == "up" else "lost slave"

    def stop(self, how=signal.SIGTERM):
        self._process.send_signal(how)
        self.go_on()
        self._process.wait(10)


class Cluster:
    """A cluster: three masters, each with a replica."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        ]
        options += ["--save", "", "--repl-diskless-sync-delay", "0"]
        self.nodes = []
        for number in range(6):  # the port of a node's own bus must be free, too
            options_of_node = [*options, "--cluster-port", str(free_port())]
            self.nodes.append(Redis(folder / str(number), *options_of_node))
        names = [f"{HOST}:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *names, "--cluster-replicas", "1", "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        self.url = f"redis://{names[0]},{names[1]}"
        _await(lambda: all(self._is_whole(node) for node in self.nodes), "the cluster does not form")
        # Clients refuse a cluster whose nodes tell them of different masters.
        _await(lambda: len({self._masters(node) for node in self.nodes}) == 1, "the nodes do not agree on the masters")

    @staticmethod
    def _is_whole(node):
        return node.client().cluster("info")["cluster_state"] == "ok" and node.role in ("master", "slave")

    @staticmethod
    def _masters(node):
        client = node.client()
        client.set_response_callback(
            "CLUSTER SLOTS", lambda slots, **_: slots
        )  # as it comes, in every version of redis-py
        return tuple(
            sorted((first, last, master[1]) for first, last, master, *_ in client.execute_command("CLUSTER SLOTS"))
        )

    def master_of(self, key):
        """The node that has a key."""
        client = redis.RedisCluster.from_url(self.nodes[0].url)
        port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def stop(self):
        for node in self.nodes:
            node.stop(signal.SIGKILL)


class Watched:
    """A master and a replica, and a Sentinel that makes the replica the master when the master is gone.

    :param options: of both, besides.
    :param down_after: milliseconds without an answer after which the master counts as gone.
    """

    def __init__(self, folder, *options, down_after=500):
        folder.mkdir(exist_ok=True)
        options = ("--save", "", *options)
        self.master = Redis(folder / "master", *options, "--repl-diskless-sync-delay", "0")
        self.replica = Redis(folder / "replica", *options, "--replicaof", f"{HOST} {self.master.port}")
        _await(self._replicates, "there is no replica")
        self._port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self._port}\nbind {HOST}\ndir {folder}\nsentinel monitor sessions {HOST} {self.master.port} 1\n"
            f"sentinel down-after-milliseconds sessions {down_after}\nsentinel failover-timeout sessions 3000\n"
        )
        self._sentinel = subprocess.Popen(["redis-server", str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
        self.url = f"redis+sentinel://{HOST}:{self._port}/sessions/0"
        _await(self._is_watched, "Sentinel does not see the replica")

    def _replicates(self):
        return self.master.client().info("replication").get("slave0", {}).get("state") == "online"

    def _is_watched(self):
        found = redis.Redis(HOST, self._port).sentinel_slaves("sessions")
        return found and found[0]["master-link-status"] == "ok"

    def fail_over(self):
        """Let the replica become the master by Sentinel's own command, while the master is well."""
        self.master.await_replica()
        redis.Redis(HOST, self._port).sentinel_failover("sessions")
        _await(lambda: self.names(self.replica), "no failover")

    def names(self, server):
        """Whether Sentinel says that a server is the master."""
        return redis.Redis(HOST, self._port).sentinel_masters()["sessions"]["port"] == server.port

    def questions(self):
        """How many questions Sentinel has been asked so far."""
        return redis.Redis(HOST, self._port).info("stats")["total_commands_processed"]

    def pause_sentinel(self):
        self._sentinel.send_signal(signal.SIGSTOP)

    def forbid_sentinel(self):
        """Let Sentinel answer no question any more."""
        redis.Redis(HOST, self._port).execute_command("ACL", "SETUSER", "default", "-sentinel")

    def stop(self):
        self._sentinel.kill()
        self._sentinel.wait(10)
        for each in (self.master, self.replica):
            each.stop(signal.SIGKILL)


class Relay:
    """Passes everything on to a server, and holds its answers back while it is told to."""

    def __init__(self):
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self.server_port = None  # known later than this one's own
        self._open, self.held = threading.Event(), threading.Semaphore(0)
        self._open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self):
        """Hold back what the server sends from now on; `held` counts the answers."""
        self.held = threading.Semaphore(0)
        self._open.clear()

    def release(self):
        """Let everything pass, what has been held back too."""
        self._open.set()

    def close(self):
        self.release()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection((HOST, self.server_port)) as server:
            asking = threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True)
            asking.start()
            self._pass_on(server, client, True)
            asking.join()

    def _pass_on(self, source, sink, held_back):
        with contextlib.suppress(OSError):  # one of the two has ended
            while data := source.recv(65536):
                if held_back and not self._open.is_set():
                    self.held.release()
                    self._open.wait()
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Relayed:
    """A Redis behind a `Relay`, of the kind that is asked for: alone, named by Sentinel, or a cluster of one node."""

    def __init__(self, folder, kind):
        folder.mkdir(exist_ok=True)
        self.relay, self._sentinel = Relay(), None
        options = ["--save", ""]
        if kind == "cluster":
            options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            options += ["--cluster-announce-port", str(self.relay.port)]
        self.server = Redis(folder / "redis", *options)
        self.relay.server_port = self.server.port
        self.url = f"redis://{HOST}:{self.relay.port}/0"
        if kind == "cluster":
            self.server.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            _await(lambda: self.server.client().cluster("info")["cluster_state"] == "ok", "the cluster does not form")
        elif kind == "sentinel":
            port, settings = free_port(), folder / "sentinel.conf"
            settings.write_text(
                f"port {port}\nbind {HOST}\ndir {folder}\nsentinel monitor sessions {HOST} {self.relay.port} 1\n"
            )
            command = ["redis-server", str(settings), "--sentinel"]
            self._sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            self.url = f"redis+sentinel://{HOST}:{port}/sessions/0"
            _await(lambda: redis.Redis(HOST, port).sentinel_masters()["sessions"], "Sentinel does not start")

    def stop(self):
        self.relay.close()
        if self._sentinel:
            self._sentinel.kill()
            self._sentinel.wait(10)
        self.server.stop(signal.SIGKILL)

"""Real Redis servers of a test: one, a cluster, or a master and a replica that Sentinel watches."""

import contextlib
import signal
import subprocess
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
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL)
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

    @staticmethod
    def _is_whole(node):
        info = node.client().info("replication")
        return node.client().cluster("info")["cluster_state"] == "ok" and (
            info["role"] == "master" or info["master_link_status"] == "up"
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
    """A master and a replica, and a Sentinel that makes the replica the master when the master is gone."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.master = Redis(folder / "master", "--save", "", "--repl-diskless-sync-delay", "0")
        self.replica = Redis(folder / "replica", "--save", "", "--replicaof", f"{HOST} {self.master.port}")
        _await(self._replicates, "there is no replica")
        self._port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self._port}\nbind {HOST}\ndir {folder}\nsentinel monitor sessions {HOST} {self.master.port} 1\n"
            "sentinel down-after-milliseconds sessions 500\nsentinel failover-timeout sessions 3000\n"
        )
        self._sentinel = subprocess.Popen(["redis-server", str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
        self.url = f"redis+sentinel://{HOST}:{self._port}/sessions/0"
        _await(self._is_watched, "Sentinel does not see the replica")

    def _replicates(self):
        return self.master.client().info("replication").get("slave0", {}).get("state") == "online"

    def _is_watched(self):
        found = redis.Redis(HOST, self._port).sentinel_slaves("sessions")
        return found and found[0]["master-link-status"] == "ok"

    def stop(self):
        self._sentinel.kill()
        self._sentinel.wait(10)
        for each in (self.master, self.replica):
            each.stop(signal.SIGKILL)

"""Real Redis, etcd and Kafka on ports of their own, for tests, examples and benchmarks.

    python scripts/servers.py -- COMMAND…      runs a command with all three, their addresses in its environment

Programs: Debian's `redis-server` and `etcd-server`, and Kafka's jars as `./scripts/test` collects them in
`.services/kafka`. Each server lives in a temporary folder, and is ended by its process id.
"""

import fcntl
import functools
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
KAFKA_JARS = ROOT / ".services" / "kafka"
START_SECONDS = 100


class ServerError(Exception):
    """A server could not be started; the message says why."""


_CLAIMS = Path(tempfile.gettempdir()) / f"imgateway-ports-{os.getuid()}"
_claimed: set[int] = set()


@functools.cache
def _claims() -> int:
    """A file of which every process locks a byte for each of its ports; its locks end with it."""
    return os.open(_CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _claim(port: int) -> bool:
    if port in _claimed:
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claimed.add(port)
    return True


def free_port() -> int:
    """A port nobody listens on, below the range that clients' sockets are given.

    Neither this process nor another one that asks here is given it again as long as this one lives: a server may take
    its port late, or be down for a while.
    """
    for _ in range(1_000):
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _claim(port):
                return port
    raise ServerError("no free port")


class Server:
    """One server process. A context manager; may be stopped and started again, with its data, on the same port."""

    name = "server"
    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"imgateway-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError(self.name)  # for the servers below to say

    def answers(self) -> bool:
        """Whether the server serves."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> Self:
        """Start it, and return when it serves.

        Raises:
            ServerError: it ended, or does not serve in time; the message has the end of its output.
        """
        output = self.folder / "output"
        with output.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                tail = output.read_text(errors="replace")[-2000:]
                self.kill()
                raise ServerError(f"{self.name} did not start:\n{tail}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it as an operator would, and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (`kill -9`)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): sockets stay open, nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Unfreeze it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        raise ServerError(f"{name} is not installed (Debian's package {package}); ./scripts/test installs it")
    return found


class RedisServer(Server):
    """Redis. Without `persistent` it forgets everything when it ends."""

    name = "redis"

    def __init__(self, *arguments: str, persistent: bool = False) -> None:
        super().__init__()
        self._arguments = (*arguments, *(("--appendonly", "yes") if persistent else ("--save", "")))

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{self.address}/0"

    def command(self) -> Sequence[str]:
        """What to run."""
        program = _program("redis-server", "redis-server")
        return [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *self._arguments]


class EtcdServer(Server):
    """A single etcd member."""

    name = "etcd"

    def __init__(self, *arguments: str) -> None:
        super().__init__()
        self._peer_port = free_port()
        self._metrics_port = free_port()
        self._arguments = arguments

    @property
    def url(self) -> str:
        """`http://host:port`."""
        return f"http://{self.address}"

    def answers(self) -> bool:
        """Whether it serves; it listens before that, a restarted one for some seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self._metrics_port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def command(self) -> Sequence[str]:
        """What to run."""
        peer = f"http://127.0.0.1:{self._peer_port}"
        return [
            _program("etcd", "etcd-server"),
            "--data-dir", str(self.folder / "data"),
            "--listen-client-urls", self.url,
            "--advertise-client-urls", self.url,
            "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}",
            "--listen-metrics-urls", f"http://127.0.0.1:{self._metrics_port}",
            *self._arguments,
        ]  # fmt: skip


def _java(main: str, *arguments: str) -> list[str]:
    if not KAFKA_JARS.is_dir():
        raise ServerError("Kafka's jars are not in .services/kafka; ./scripts/test collects them")
    return [
        _program("java", "default-jre-headless"),
        "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-cp", f"{KAFKA_JARS}/*",
        main, *arguments,
    ]  # fmt: skip


@functools.cache
def _formatted_storage() -> dict[str, bytes]:
    """What Kafka's own tool writes into the storage of a new node 1, by file name; the same for every broker here."""
    with tempfile.TemporaryDirectory(prefix="imgateway-kafka-format-") as folder:
        data, settings = Path(folder) / "data", Path(folder) / "server.properties"
        settings.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n"
            "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"
            f"controller.listener.names=CONTROLLER\nlog.dirs={data}\n"
        )
        tool = _java("kafka.tools.StorageTool", "format", "-t", "aW1nYXRld2F5LXRlc3RzMQ", "-c", str(settings))
        done = subprocess.run(tool, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"kafka's storage can't be formatted:\n{(done.stdout + done.stderr)[-2000:]}")
        return {file.name: file.read_bytes() for file in data.iterdir()}


class KafkaServer(Server):
    """A single Kafka broker in KRaft mode. Topics are not made by themselves.

    Args:
        advertised: the address clients are sent to, where that is not its own (a proxy in between).
    """

    name = "kafka"

    def __init__(self, *, advertised: str | None = None, **properties: str) -> None:
        super().__init__()
        self._controller_port = free_port()
        self._advertised = advertised or self.address
        self._properties = properties

    def command(self) -> Sequence[str]:
        """What to run; lays out its storage first, once."""
        settings = self.folder / "server.properties"
        if not settings.exists():
            settings.write_text(self._settings())
            data = self.folder / "data"
            data.mkdir()
            for name, content in _formatted_storage().items():
                (data / name).write_bytes(content)
        return _java("kafka.Kafka", str(settings))

    def _settings(self) -> str:
        own, controller = self.address, f"127.0.0.1:{self._controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{own},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self._advertised}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "num.partitions": "4",
        }
        settings.update({key.replace("_", "."): value for key, value in self._properties.items()})
        return "".join(f"{key}={value}\n" for key, value in settings.items())


def main() -> int:
    """Run a command with all three servers."""
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with RedisServer() as redis, EtcdServer() as etcd, KafkaServer() as kafka:
            addresses = {"REDIS_URL": redis.url, "ETCD_URL": etcd.url, "KAFKA_SERVERS": kafka.address}
            return subprocess.call(sys.argv[2:], env=os.environ | addresses)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

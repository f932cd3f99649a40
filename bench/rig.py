"""The measured servers and what surrounds them: one core for the server, the other for everything else."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
from servers import EtcdServer, KafkaServer, RedisServer, free_port

SERVER_CORE = 0
OTHER_CORE = 1
SECRET = "a secret of the benchmark, 32 bytes long"
PARTITIONS = 3
GROUP_CHANNEL = "all"
WIRE_BYTES = 240
"""Payload of each frame, both ways, on both sides."""


class VoidRunError(Exception):
    """A run that measured nothing: it lost messages or connections."""


@attrs.frozen
class Services:
    """Kafka, Redis and etcd that run."""

    kafka: str
    redis: str
    etcd: str


@contextmanager
def services() -> Iterator[Services]:
    """All three on the second core, which this process moves to as well."""
    os.sched_setaffinity(0, {OTHER_CORE})
    with RedisServer() as redis, EtcdServer() as etcd, KafkaServer() as kafka:
        yield Services(kafka.address, redis.url, etcd.url)


class Side(Protocol):
    """A server under test, and how the generator speaks to it."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def client_flags(self) -> list[str]:
        """For each client mode of the generator."""

    @property
    def topic(self) -> str:
        """What it consumes."""

    def up_flags(self, wire_bytes: int = WIRE_BYTES) -> list[str]:
        """For the mode that sends from clients."""

    def to_one(self, wire_bytes: int = WIRE_BYTES) -> tuple[str, str]:
        """Template and header (`k=v` or nothing) of a record to one user."""

    def to_all(self, users: int, wire_bytes: int = WIRE_BYTES) -> dict[str, tuple[str, str]]:
        """The same for a record to many users; by the name of the variant where there are several ways."""


def padding(frame: str, wire_bytes: int) -> str:
    """What fills a frame that looks like this up to the size wanted."""
    return "x" * max(wire_bytes - len(frame), 0)


@attrs.frozen
class ImGateway:
    """imgateway, of whichever checkout the interpreter has."""

    pid: int
    port: int
    admin_port: int
    topic: str
    name: str = "imgateway"

    @property
    def client_flags(self) -> list[str]:
        return ["-dialect", "imgateway", "-url", f"ws://127.0.0.1:{self.port}/ws", "-secret", SECRET]

    def up_flags(self, wire_bytes: int = WIRE_BYTES) -> list[str]:
        frame = (
            '{"type":"send-message","data":{"conversationId":"c-{u}","content":"%s","messageType":1,'
            '"client_msg_id":"m{i}"},"timestamp":{ms}}'
        )
        shown = frame.replace("{u}", "user-500").replace("{i}", "50000").replace("{ms}", "1700000000000")
        return ["-msg", frame % padding(shown, wire_bytes + 2)]

    def to_one(self, wire_bytes: int = WIRE_BYTES) -> tuple[str, str]:
        return self._record('"target_user_id":"{u}"', wire_bytes), ""

    def to_all(self, users: int, wire_bytes: int = WIRE_BYTES) -> dict[str, tuple[str, str]]:
        targets = ",".join(f'"user-{n}"' for n in range(users))
        return {"": (self._record(f'"target_user_ids":[{targets}]', wire_bytes), "")}

    def _record(self, targets: str, wire_bytes: int) -> str:
        shown = (
            '{"type":"new-message","data":{"id":"50000","conversationId":"c-1","sender":{"id":"bench"},"content":'
            '"@t=1700000000000000000 ","messageType":1,"seqId":50000,"createdAt":1700000000000},'
            '"timestamp":1700000000000}'
        )
        content = f"@t={{t}} {padding(shown, wire_bytes)}"
        return (
            f'{{{targets},"message_id":{{i}},"conversation_id":"c-1","sender_id":"bench","message_type":1,'
            f'"content":"{content}","seq_id":{{i}},"timestamp":{{ms}}}}'
        )


@attrs.frozen
class Centrifugo:
    """The peer, configured as fast as it goes: no history, no presence, one core."""

    pid: int
    port: int
    topic: str
    name: str = "peer"

    @property
    def client_flags(self) -> list[str]:
        url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        claims = f'"channels":["{GROUP_CHANNEL}"]'
        return ["-dialect", "centrifugo", "-url", url, "-secret", SECRET, "-claims", claims]

    def up_flags(self, wire_bytes: int = WIRE_BYTES) -> list[str]:
        frame = '{"id":{i},"publish":{"channel":"up:{u}","data":{"p":"%s"}}}'
        shown = frame.replace("{u}", "user-500").replace("{i}", "50000")
        return ["-msg", frame % padding(shown, wire_bytes + 2), "-ack", '"id":']

    def to_one(self, wire_bytes: int = WIRE_BYTES) -> tuple[str, str]:
        return self._publish('"channel":"#{u}"', wire_bytes), "centrifugo-method=publish"

    def to_all(self, users: int, wire_bytes: int = WIRE_BYTES) -> dict[str, tuple[str, str]]:
        channels = ",".join(f'"#user-{n}"' for n in range(users))
        return {
            "shared channel": (self._publish(f'"channel":"{GROUP_CHANNEL}"', wire_bytes), "centrifugo-method=publish"),
            "broadcast": (self._publish(f'"channels":[{channels}]', wire_bytes), "centrifugo-method=broadcast"),
        }

    def _publish(self, target: str, wire_bytes: int) -> str:
        shown = '{"push":{"channel":"#user-500","pub":{"data":{"t":1700000000000000000,"p":""}}}}'
        return f'{{{target},"data":{{"t":{{t}},"p":"{padding(shown, wire_bytes)}"}}}}'


_serial = iter(range(1_000_000))


@contextmanager
def imgateway(servers: Services, python: str, **more: str) -> Iterator[ImGateway]:
    """A fresh gateway on the first core, ready; `more` are settings by the names of their variables."""
    port, admin_port, identity = free_port(), free_port(), f"bench-{os.getpid()}-{next(_serial)}"
    settings = {
        "AUTH__SECRET": SECRET,
        "GATEWAY__ID": identity,
        "SERVER__PORT": str(port),
        "SERVER__ADMIN_PORT": str(admin_port),
        "KAFKA__BOOTSTRAP_SERVERS": servers.kafka,
        "KAFKA__DOWNSTREAM_PARTITIONS": str(PARTITIONS),
        "REDIS__URL": servers.redis,
        "ETCD__ENDPOINTS": servers.etcd,
        "OBSERVABILITY__LOG_LEVEL": "warning",
    } | more
    environment = os.environ | {f"IMGATEWAY_{name}": value for name, value in settings.items()}
    command = [python, "-m", "imgateway_cli", "serve"]
    with _process(command, environment, f"http://127.0.0.1:{port}/readyz") as pid:
        yield ImGateway(pid, port, admin_port, f"im-downstream-topic-{identity}")


@contextmanager
def centrifugo(servers: Services, program: str, generator: str) -> Iterator[Centrifugo]:
    """A fresh peer on the first core; its topic exists."""
    port, topic = free_port(), f"cf-down-{os.getpid()}-{next(_serial)}"
    config: dict[str, Any] = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "health": {"enabled": True},
        "log": {"level": "error"},
        "usage_stats": {"disabled": True},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "subscribe_to_user_personal_channel": {"enabled": True},
        },
        "channel": {
            "without_namespace": {"allow_user_limited_channels": True},
            "namespaces": [{"name": "up", "allow_publish_for_client": True}],
        },
        "consumers": [
            {
                "name": "down",
                "enabled": True,
                "type": "kafka",
                "kafka": {"brokers": [servers.kafka], "topics": [topic], "consumer_group": topic},
            }
        ],
    }
    create = ["-kafka", servers.kafka, "-topic", topic, "-partitions", str(PARTITIONS), "-count", "0"]
    subprocess.run([generator, "publish", *create], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        command = [program, "--config", str(file)]
        environment = os.environ | {"GOMAXPROCS": "1"}
        with _process(command, environment, f"http://127.0.0.1:{port}/health") as pid:
            yield Centrifugo(pid, port, topic)


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str], health: str) -> Iterator[int]:
    with subprocess.Popen(["taskset", "-c", str(SERVER_CORE), *command], env=environment) as process:
        try:
            until = time.monotonic() + 30
            while not _answers(health):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{command[0]} did not start")
                time.sleep(0.1)
            yield process.pid
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


@attrs.frozen
class Generator:
    """The neutral generator: one process, one thread, one line of JSON a run."""

    program: str
    kafka: str

    def run(self, mode: str, flags: Sequence[str], *, seconds: float = 120) -> dict[str, Any]:
        """One run of a client mode.

        Raises:
            VoidRunError: it lost connections, or did not end.
        """
        command = ["taskset", "-c", str(OTHER_CORE), self.program, mode, *flags]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise VoidRunError("did not end in time") from None
        except subprocess.CalledProcessError as error:
            raise VoidRunError(f"the generator failed: {error.stderr[-500:]}") from None
        answer: dict[str, Any] = json.loads(done.stdout)
        if answer["open"] < answer["n"] or answer["closed"]:
            raise VoidRunError(f"connections lost: failed {answer['failed']}, closed {answer['closed']}")
        return answer

    def publish_command(
        self, side: Side, template: Path, header: str, *, users: int, count: int, rate: float = 0, batch: int = 1
    ) -> str:
        """A shell command that writes records for the server, as fast as it goes or paced."""
        command = [
            "taskset", "-c", str(OTHER_CORE), self.program, "publish", "-kafka", self.kafka, "-topic", side.topic,
            "-item", f"@{template}", "-size", "0", "-users", str(users), "-count", str(count), "-batch", str(batch),
            "-rate", str(rate), "-record-key", "{u}",
        ]  # fmt: skip
        if header:
            command += ["-record-header", header]
        return " ".join(f"'{word}'" for word in command)

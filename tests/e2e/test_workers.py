"""`imgateway serve --workers`: several processes on one port, seen from outside, on a real Kafka and a real Redis."""

import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import KafkaServer, RedisServer
from tests.e2e.gateway_process import GatewayProcess, gateway_process
from tests.e2e.im_logic import im_logic
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client

from imgateway.testing.raw_peer import RawPeer
from imgateway_im_logic.server import descriptor_set_path

pytestmark = pytest.mark.anyio

ADMIN_TOKEN = "Wk3-an-admin-token-of-enough-bytes-9"
ENOUGH = 40
"""Connections after which both workers have been met: one of two is missed once in a thousand billion times."""


@attrs.frozen
class Servers:
    kafka: KafkaServer
    redis: RedisServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with KafkaServer() as kafka, RedisServer() as redis:
        yield Servers(kafka, redis)


@asynccontextmanager
async def workers(
    servers: Servers, gateway_id: str, *arguments: str, all_ready: bool = True, **settings: object
) -> AsyncIterator[GatewayProcess]:
    """A supervisor with two workers; nothing of it is left after the block."""
    async with gateway_process(
        "--workers",
        "2",
        *arguments,
        ready=False,
        **{
            "GATEWAY__ID": gateway_id,
            "KAFKA__BOOTSTRAP_SERVERS": servers.kafka.address,
            "REDIS__URL": servers.redis.url,
            **settings,
        },
    ) as process:
        if all_ready:
            await process.logged("ready", 2)
            await eventually(lambda: ready_workers(process), 2)
        yield process


async def eventually(look: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Return when `look` sees what is wanted."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while await look() != wanted:
            await anyio.sleep(0.05)


def pids(process: GatewayProcess) -> dict[str, int]:
    """The process that was started last for each worker."""
    return {entry["worker"]: entry["pid"] for entry in process.log() if entry.get("message") == "a worker starts"}


def children(process: GatewayProcess) -> set[int]:
    return {child.pid for child in psutil.Process(process.process.pid).children()}


def alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not asked for its status is none."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def scrape(process: GatewayProcess, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        return await http.get((await process.logged("metrics"))["url"], headers=headers)


async def values(process: GatewayProcess, name: str, token: str | None = None) -> dict[str, float]:
    """A metric's samples, by worker."""
    text = (await scrape(process, token)).text
    families = text_string_to_metric_families(text)
    return {s.labels["worker"]: s.value for family in families for s in family.samples if s.name == name}


async def workers_with(process: GatewayProcess, name: str) -> set[str]:
    """Those that a metric has samples of."""
    return set(await values(process, name, ADMIN_TOKEN))


async def whole_scrape(process: GatewayProcess) -> httpx.Response:
    """The first answer that both workers are in: who is slow for once is left out of one."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            answer = await scrape(process, ADMIN_TOKEN)
            if len(set(re.findall(r'imgateway_connections{worker="([^"]+)"}', answer.text))) == 2:
                return answer


async def ready_workers(process: GatewayProcess) -> int:
    return int(sum((await values(process, "imgateway_worker_ready", ADMIN_TOKEN)).values()))


async def visit(process: GatewayProcess, user_id: str = "visitor") -> str:
    """Connect, be welcomed, leave: the worker's id."""
    async with await process.connect(user_id) as client:
        return str(client.welcome["gatewayId"])


async def one_on_each(process: GatewayProcess, stack: AsyncExitStack) -> dict[str, Client]:
    """A client on each worker."""
    found: dict[str, Client] = {}
    for number in range(ENOUGH):
        client = await stack.enter_async_context(await process.connect(f"user-{number}"))
        found.setdefault(client.welcome["gatewayId"], client)
        if len(found) == 2:
            return found
    pytest.fail(f"only {set(found)} was ever met")


async def test_every_worker_serves_rest(servers: Servers) -> None:
    async with im_logic() as back_end:
        settings: dict[str, Any] = {
            "GRPC__DESCRIPTOR_SET": descriptor_set_path(),
            "GRPC__SERVICES": f'{{"*": {{"target": "{back_end.channel_target}"}}}}',
            "GRPC__PUBLIC": "im.logic.v1.AuthService/*",
        }
        async with workers(servers, "w-rest", **settings) as process:
            for _ in range(ENOUGH):  # each over a connection of its own, so that both workers are met
                document = await process.get("/openapi.json")
                assert "/api/auth/guest" in document.json()["paths"]
                assert (await process.get("/api/conversations")).status_code == 401


async def test_the_port_is_shared_and_the_metrics_are_one_text(servers: Servers) -> None:
    async with (
        workers(servers, "g-a", SERVER__ADMIN_TOKEN=ADMIN_TOKEN) as process,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(await process.connect(f"user-{n}")) for n in range(ENOUGH)]
        met = Counter(client.welcome["gatewayId"] for client in clients)
        assert set(met) == {"g-a-1", "g-a-2"}

        assert (await scrape(process)).status_code == 401
        assert (await scrape(process, "wrong")).status_code == 401
        answer = await whole_scrape(process)
        assert answer.headers["content-type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.text))
        samples = [sample for family in families for sample in family.samples]
        assert len({family.name for family in families}) == len(families), "a family stands there twice"
        heads = [line for line in answer.text.splitlines() if line.startswith("#")]
        assert len(heads) == len(set(heads))
        assert {sample.labels.get("worker") for sample in samples} == {"g-a-1", "g-a-2"}
        assert {s.labels["worker"]: s.value for s in samples if s.name == "imgateway_connections"} == met
        up = {s.labels["worker"]: s.value for s in samples if s.name == "imgateway_worker_up"}
        assert up == {"g-a-1": 1, "g-a-2": 1}
        accepted = [s for s in samples if s.name == "imgateway_connects_total"]
        assert {(s.labels["worker"], s.labels["outcome"]): s.value for s in accepted} == {
            (worker, "accepted"): count for worker, count in met.items()
        }

        # A worker that does not answer is left out, and one can see that.
        stuck = psutil.Process(pids(process)["g-a-1"])
        stuck.suspend()
        await eventually(lambda: values(process, "imgateway_worker_up", ADMIN_TOKEN), {"g-a-1": 0, "g-a-2": 1})
        await eventually(lambda: workers_with(process, "imgateway_connections"), {"g-a-2"})
        stuck.resume()
        await eventually(lambda: values(process, "imgateway_worker_up", ADMIN_TOKEN), {"g-a-1": 1, "g-a-2": 1})

        # Every line of a worker has its id.
        assert {entry.get("worker") for entry in process.log() if entry.get("message") == "ready"} == {"g-a-1", "g-a-2"}

        # The port is taken, for another supervisor as well; it says so before it starts anything.
        port = (await process.url()).rpartition(":")[2].removesuffix("/ws")
        async with workers(servers, "g-b", "--port", port, all_ready=False) as second:
            assert await second.ended() == 1
            (line,) = second.log()
            assert str(line["text"]).startswith(f"error: server.port: 127.0.0.1:{port} can't be bound: ")

        # Each in its own words: a client of each worker hears of the end, and all is well.
        left = children(process)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            assert (await client.expect("reconnect"))["reason"] == "draining"
            assert await client.ended() == 1012
        assert await process.ended() == 0
        assert not any(map(alive, left))
        assert "Traceback" not in process.output.decode()


async def test_a_worker_that_dies_comes_back_under_its_id(servers: Servers) -> None:
    async with workers(servers, "g-c") as process, AsyncExitStack() as stack:
        clients = await one_on_each(process, stack)
        before = pids(process)
        psutil.Process(before["g-c-1"]).kill()
        assert await clients["g-c-1"].ended() == 1006
        # Whoever comes meanwhile is served by the other one.
        await process.logged("a worker ended, and is started again")
        assert await visit(process) == "g-c-2"
        for _ in range(10):
            assert (await process.get("/readyz")).status_code == 200
        ended = await process.logged("a worker ended, and is started again")
        assert (ended["worker"], ended["status"]) == ("g-c-1", "ended by SIGKILL")
        await process.logged("ready", 3)
        await eventually(lambda: ready_workers(process), 2)
        assert "g-c-1" in {await visit(process) for _ in range(ENOUGH)}
        after = pids(process)
        assert after["g-c-1"] != before["g-c-1"]
        assert after["g-c-2"] == before["g-c-2"]
        assert await values(process, "imgateway_worker_restarts_total") == {"g-c-1": 1, "g-c-2": 0}
        await clients["g-c-2"].nothing_came()

        # Who kills the supervisor leaves no orphans behind: they part from their clients and end. The port is free for
        # a successor at once.
        port = (await process.url()).rpartition(":")[2].removesuffix("/ws")
        process.send_signal(signal.SIGKILL)
        await clients["g-c-2"].expect("reconnect")
        async with workers(servers, "g-d", "--port", port, all_ready=False) as successor:
            await successor.logged("listening")
        assert await clients["g-c-2"].ended() == 1012
        assert await process.ended() == -signal.SIGKILL
        assert not any(map(alive, after.values()))


async def test_a_draining_worker_sends_nobody_away_while_another_is_ready(servers: Servers) -> None:
    async with workers(servers, "g-e", GATEWAY__DRAIN_SECONDS=60) as process, AsyncExitStack() as stack:
        address, _, port = (await process.url()).removeprefix("ws://").removesuffix("/ws").rpartition(":")
        # Sockets that don't answer a farewell keep the drain going; some of them are on each worker.
        stubborn: dict[str, list[RawPeer]] = {"g-e-1": [], "g-e-2": []}
        for number in range(20):
            headers = [("Authorization", f"Bearer {mint(f'stubborn-{number}')}")]
            peer = await RawPeer.upgraded(address, int(port), "/ws", headers=headers)
            stack.push_async_callback(peer.aclose)
            welcome = json.loads((await peer.receive_frame()).payload)
            stubborn[welcome["data"]["gatewayId"]].append(peer)
        where = f"http://{address}:{port}"
        kept = [httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=where) for _ in range(20)]
        for http in kept:
            await stack.enter_async_context(http)
            assert (await http.get("/readyz")).status_code == 200
        psutil.Process(pids(process)["g-e-1"]).terminate()
        draining = await process.logged("draining")
        assert draining["worker"] == "g-e-1"
        # New connections go to the other one, and who is connected to this one is told what holds for the port.
        assert {await visit(process) for _ in range(20)} == {"g-e-2"}
        for http in kept:
            assert (await http.get("/readyz")).status_code == 200
        assert "drained" not in {entry.get("message") for entry in process.log()}, "too quick to prove anything"
        # Signals that are meant for the supervisor don't reach a worker, whoever sends them.
        for number in (signal.SIGINT, signal.SIGHUP):
            psutil.Process(pids(process)["g-e-2"]).send_signal(number)
        assert await visit(process) == "g-e-2"
        # It ended since it was asked to, and another one follows.
        for peer in stubborn["g-e-1"]:
            await peer.aclose()
        await process.logged("ready", 3)

        # A second signal to the supervisor ends everything at once.
        last = children(process)
        assert last == set(pids(process).values())
        process.send_signal(signal.SIGINT)
        await process.logged("draining all workers")
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 1
        assert not any(map(alive, last))


async def test_with_no_worker_ready_readyz_says_why_and_healthz_says_that_it_lives(servers: Servers) -> None:
    with RedisServer() as nothing:
        nowhere = nothing.address
    async with workers(servers, "g-f", all_ready=False, KAFKA__BOOTSTRAP_SERVERS=nowhere) as process:
        for _ in range(5):
            answer = await process.get("/readyz")
            assert answer.status_code == 503
            assert "broker" in answer.json()["failing"]
            assert (await process.get("/healthz")).status_code == 200
        assert await ready_workers(process) == 0
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0


def written(file: Path, **settings: Any) -> None:
    file.write_text("[connections]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))


async def test_sighup_replaces_one_worker_after_the_other(servers: Servers, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    written(file, max_content_bytes=5000)
    async with workers(servers, "g-h", "--config", str(file)) as process, AsyncExitStack() as stack:
        clients = await one_on_each(process, stack)
        before = pids(process)

        # What can't be used is told, and changes nothing.
        written(file, max_content_bytes=0, max_per_user='"many"')
        process.process.send_signal(signal.SIGHUP)
        refused = "a setting can't be used; the workers stay as they are"
        keys = {(await process.logged(refused, n))["problem"].partition(":")[0] for n in (1, 2)}
        assert keys == {"connections.max_content_bytes", "connections.max_per_user"}
        for client in clients.values():
            await client.nothing_came()
        assert children(process) == set(before.values())

        # Now all are replaced, and at no time is anybody turned away.
        written(file, max_content_bytes=7)
        file.write_text(file.read_text() + "[server]\nhost = '127.0.0.2'\nallowed_origins = ['*']\n")
        done = anyio.Event()
        visited: Counter[str] = Counter()

        async def come_and_go(number: int) -> None:
            while not done.is_set():
                visited[await visit(process, f"visitor-{number}")] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(come_and_go, number)
            process.process.send_signal(signal.SIGHUP)
            for worker in ("g-h-1", "g-h-2"):
                assert (await clients[worker].expect("reconnect"))["reason"] == "draining"
                assert await clients[worker].ended() == 1012
                # Asked for again and again while the other one is still to be replaced, it is done once more.
                for _ in range(5 if worker == "g-h-1" else 0):
                    process.process.send_signal(signal.SIGHUP)
                    assert (await process.get("/healthz")).status_code == 200
            await process.logged("all workers are replaced", 2)
            done.set()
        assert set(visited) == {"g-h-1", "g-h-2"}
        after = pids(process)
        assert set(after) == {"g-h-1", "g-h-2"}
        assert set(after.values()).isdisjoint(before.values())
        assert children(process) == set(after.values())
        starts = [(e.get("message"), e["worker"]) for e in process.log() if e.get("message") in {"draining", "ready"}]
        once = [("draining", "g-h-1"), ("ready", "g-h-1"), ("draining", "g-h-2"), ("ready", "g-h-2")]
        assert starts[2:] == once * 2
        warned = "a setting can't change without a restart; its old value is kept"
        assert [e["key"] for e in process.log() if e.get("message") == warned] == ["server.host"] * 2
        assert (await values(process, "imgateway_worker_restarts_total")) == {"g-h-1": 0, "g-h-2": 0}
        for client in (await one_on_each(process, stack)).values():
            await client.send_message(content="12345678")
            assert (await client.expect("error"))["code"] == "MESSAGE_TOO_LARGE"
        assert "Traceback" not in process.output.decode()

        # A new worker that ends before it was ready stops the replacing.
        process.process.send_signal(signal.SIGHUP)
        third = await process.logged("a worker starts", 7)
        psutil.Process(third["pid"]).kill()
        await process.logged("the new worker ended; the others stay as they are")
        assert pids(process)["g-h-2"] == after["g-h-2"]
        assert alive(after["g-h-2"])

        # An end wins over any replacing.
        process.process.send_signal(signal.SIGHUP)
        await process.logged("replacing the workers", 4)
        process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert "all workers are replaced" not in {e.get("message") for e in process.log()[-4:]}

"""What instances say of themselves, how their connections end, and what becomes of calls when they go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.grpc_back_end import SERVICE, BackEnd, running_back_end
from tests.grpc_instances import ECHO, REQUEST, available, eventually, known
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name
from tests.grpc_servers import Handlers, offering_methods, running_server

from imgateway.adapters.grpc.balancing import GrpcBalancer, StaticTarget, balancer, endpoint, health
from imgateway.codes import RpcCode
from imgateway.rpc import RpcAnswer, RpcFailure

HANGS, ENDLESS = f"{SERVICE}/Hangs", f"{SERVICE}/Endless"
SERVES, DOES_NOT = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
OPTIONS: dict[str, Any] = {"service": "", "tls": None, "max_response_bytes": 4_194_304}

pytestmark = pytest.mark.anyio


def word(status: int) -> bytes:
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()


@asynccontextmanager
async def saying(watch: Any) -> AsyncIterator[str]:
    """A server whose `Watch` is this; `Echo` answers."""

    async def echo(request: bytes, _: Any) -> bytes:
        return request

    handlers: Handlers = {
        SERVICE: {"Echo": grpc.unary_unary_rpc_method_handler(echo)},
        "grpc.health.v1.Health": {"Watch": grpc.unary_stream_rpc_method_handler(watch)},
    }
    async with running_server(offering_methods(handlers)) as address:
        yield address


async def garbage(_: bytes, __: Any) -> AsyncIterator[bytes]:
    yield b"\xff\xff"


async def silence(_: bytes, __: Any) -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def unavailable(_: bytes, context: Any) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "no")
    yield b""


async def unknown_by_status(_: bytes, context: Any) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no")
    yield b""


@pytest.mark.parametrize("watch", [garbage, silence, unavailable, unknown_by_status])
@pytest.mark.parametrize("service", ["", "a.B"])
async def test_who_says_nothing_of_use_is_called(
    watch: Any, service: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "SILENCE_SECONDS", 0.01)
    async with (
        saying(watch) as address,
        GrpcBalancer.open(StaticTarget(address), **OPTIONS | {"service": service}) as it,
    ):
        # A call waits for that only for a moment.
        await eventually(lambda: available(it), "it is taken to serve")
        assert isinstance(await it.unary(ECHO, REQUEST, (), 20.0, False), RpcAnswer)
    assert not caplog.records


async def test_the_last_word_counts_when_the_watch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PAUSE_SECONDS", 0.01)
    asked = 0

    async def does_not(_: bytes, __: Any) -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        if asked == 1:
            yield word(DOES_NOT)

    async with saying(does_not) as address, GrpcBalancer.open(StaticTarget(address), **OPTIONS) as it:
        await eventually(lambda: asked > 2, "the watch has ended twice")
        for _ in range(10):
            outcome = await it.unary(ECHO, REQUEST, (), 20.0, False)
            assert isinstance(outcome, RpcFailure)
            assert (outcome.code, outcome.reached) == (RpcCode.UNAVAILABLE, False)


async def test_the_whole_servers_word_counts_where_the_service_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the service is asked for again."""
    monkeypatch.setattr(health, "LONG_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(health, "PAUSE_SECONDS", 0.01)
    async with running_back_end() as (back_end, address):
        await back_end.health.set("", DOES_NOT)
        async with GrpcBalancer.open(StaticTarget(address), **OPTIONS | {"service": SERVICE}) as it:
            assert isinstance(await it.unary(ECHO, REQUEST, (), 20.0, False), RpcFailure)
            await back_end.health.set(SERVICE, SERVES)
            await eventually(lambda: available(it), "the service's own word is heard")


async def test_a_new_instance_that_does_not_serve_gets_no_call_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SILENCE_SECONDS", 20.0)  # its word may be late
    async with running_back_end() as (sick, one), running_back_end() as (_, other), known(other) as made:
        await sick.health.set("", DOES_NOT)
        await made.add(one)
        await made.calls(until=lambda: any(e.health.serving is False for e in made.balancer._all))
        for _ in range(50):
            assert isinstance(await made.call(), RpcAnswer)
        assert sick.calls == 0


@asynccontextmanager
async def aging_back_end() -> AsyncIterator[tuple[BackEnd, str]]:
    """Ends each connection in order after a moment, as proxies do."""
    back_end = BackEnd()
    options = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 5000)]
    server = grpc.aio.server(options=options)
    back_end.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await back_end.health.set("", SERVES)
    await server.start()
    try:
        yield back_end, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_connections_that_end_in_order_cost_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may be repeated is; and nobody is told that the only instance is gone."""
    monkeypatch.setattr(balancer, "OPEN_SECONDS", 10.0)  # a new connection may take its time
    async with aging_back_end() as (_, address), GrpcBalancer.open(StaticTarget(address), **OPTIONS) as it:
        ends_at = anyio.current_time() + 2.0
        while anyio.current_time() < ends_at:
            outcome = await it.unary(ECHO, REQUEST, (), 20.0, True)
            assert isinstance(outcome, RpcAnswer), outcome
        assert it._all[0].ready_at > ends_at - 2.0, "no connection was ended"


async def test_a_call_that_outlives_its_instance_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "GRACE_SECONDS", 0.05)
    outcomes: list[object] = []
    async with running_back_end() as (back_end, one), known(one) as made:

        async def ask() -> None:
            outcomes.append(await made.balancer.unary(HANGS, REQUEST, (), 20.0, False))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: back_end.under_way == 1, "the call is under way")
            await made.remove(one)
    (outcome,) = outcomes
    assert isinstance(outcome, RpcFailure)
    assert (outcome.code, outcome.reached) == (RpcCode.UNAVAILABLE, False)


async def test_leaving_by_cancellation_closes_everything() -> None:
    async with running_back_end() as (back_end, address), anyio.create_task_group() as others:
        opened = anyio.Event()
        balancers: list[GrpcBalancer] = []
        scope = anyio.CancelScope()

        async def hold() -> None:
            with scope:
                async with GrpcBalancer.open(StaticTarget(address), **OPTIONS) as it:
                    balancers.append(it)
                    opened.set()
                    await anyio.sleep_forever()

        others.start_soon(hold)
        await opened.wait()
        await eventually(lambda: available(balancers[0]), "it is connected to")
        others.start_soon(balancers[0].unary, HANGS, REQUEST, (), 20.0, False)
        await eventually(lambda: back_end.under_way == 1, "the call is under way")
        with anyio.fail_after(10):
            scope.cancel()
            await eventually(lambda: back_end.under_way == 0, "the call is cancelled")


def test_closing_leaves_nothing_that_grpc_tells_a_later_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a channel that is not gone when its loop is closed, gRPC tells the next loop, which can't take it."""
    monkeypatch.setattr(endpoint, "CLOSE_SECONDS", 10.0)  # what is waited for may come late
    told: list[object] = []

    async def open_and_close() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        async with GrpcBalancer.open(StaticTarget("127.0.0.1:1"), **OPTIONS) as it:
            assert isinstance(await it.unary(ECHO, REQUEST, (), 20.0, True), RpcFailure)

    for _ in range(20):
        asyncio.run(open_and_close())
    assert told == []


async def test_a_method_may_change_its_kind_at_one_address() -> None:
    async with running_back_end() as (_, one), known(one) as made:
        assert isinstance(await made.balancer.unary(ENDLESS, REQUEST, (), 0.2, False), RpcFailure)
        stream = await made.balancer.stream(ENDLESS, b"", (), 20.0)
        assert not isinstance(stream, RpcFailure)
        async for message in stream:
            assert message
            break
        await stream.aclose()


@pytest.mark.parametrize("address", ["\ud800:80", "a\x00b:80"])
async def test_an_address_that_is_none_harms_nobody(address: str) -> None:
    async with running_back_end() as (_, one), known(one) as made:
        made.balancer._take(frozenset({address, one}))
        assert isinstance(await made.call(), RpcAnswer)
        assert made.connected() == {one}


async def test_what_nobody_foresaw_ends_no_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endpoint, "WATCH_PAUSE_SECONDS", 0.01)
    watched = health.Health.watch
    broken = iter([True, True])

    async def watch(self: health.Health) -> None:
        if next(broken, False):
            raise ValueError("a bug")
        await watched(self)

    monkeypatch.setattr(health.Health, "watch", watch)
    async with running_back_end() as (back_end, one), known(one) as made:
        await back_end.health.set("", DOES_NOT)
        await eventually(lambda: made.balancer._all[0].health.serving is False, "it is watched again")
    assert [record.message for record in caplog.records if record.exc_info] == ["watching an instance has failed"] * 2

"""A gateway's life: entering, being ready, leaving, and what must not be left behind."""

from collections.abc import Mapping, Sequence
from unittest import mock

import anyio
import attrs
import pytest
from tests.gateways import (
    GATEWAY_ID,
    House,
    eventually,
    message,
    new_gateway,
    quiet,
    request,
    running_gateway,
    running_world,
    settings,
)
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core import gateway as gateway_module
from imgateway.core.admission import Admitted
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import ConsumedRecord, Refusal, ServiceInstance
from imgateway.ports import DownstreamConsumer, ServiceRegistrar
from imgateway.wire.json_codec import JsonCodec

pytestmark = pytest.mark.anyio

DRAINING = TABLE[Code.DRAINING].close_code


@attrs.define(eq=False)
class Reluctant:
    """Implements `ports.ServiceRegistrar` and fails while `down`."""

    inner: ServiceRegistrar
    down: bool = True
    attempts: int = 0

    async def register(self, instance: ServiceInstance, /) -> None:
        self.attempts += 1
        if self.down:
            raise ServiceUnavailableError("the registry is down")
        await self.inner.register(instance)

    async def deregister(self, instance: ServiceInstance, /) -> None:
        if self.down:
            raise ServiceUnavailableError("the registry is down")
        await self.inner.deregister(instance)

    async def aclose(self) -> None:
        await self.inner.aclose()


@attrs.define(eq=False)
class Gated:
    """Implements `ports.DownstreamConsumer` that starts when `gate` opens; `bug` comes out of `take`."""

    inner: DownstreamConsumer
    gate: anyio.Event = attrs.field(factory=anyio.Event)
    bug: Exception | None = None
    closed: bool = False

    async def start(self) -> None:
        await self.gate.wait()
        await self.inner.start()

    async def take(self) -> Sequence[ConsumedRecord]:
        records = await self.inner.take()
        if self.bug is not None:
            raise self.bug
        return records

    async def commit(self, positions: Mapping[int, int], /) -> None:
        await self.inner.commit(positions)

    def lag(self) -> int:
        return self.inner.lag()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


async def test_a_gateway_that_was_not_entered_lets_nobody_in() -> None:
    async with running_world() as world:
        gateway = new_gateway(world)
        assert not gateway.ready
        assert gateway.connections == []
        refusal = await gateway.admit(request("ann"))
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.retry_after) == (Code.UNAVAILABLE, 1)
        with pytest.raises(LifecycleError):
            await gateway.wait_ready()
        await gateway.drain()


async def test_messages_go_up_and_come_down() -> None:
    async with running_gateway() as house:
        ann = await house.connect("ann")
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "accepted"
        house.world.write_downstream(message("ann", message_id="9"))
        assert (await ann.next("new-message"))["id"] == "9"
        await eventually(lambda: house.world.committed() == 1)


async def test_it_gets_ready_step_by_step() -> None:
    async with running_world() as world:
        registrars: list[Reluctant] = []
        consumers: list[Gated] = []

        def reluctant(registrar: ServiceRegistrar) -> Reluctant:
            registrars.append(Reluctant(registrar))
            return registrars[-1]

        def gated(consumer: DownstreamConsumer) -> Gated:
            consumers.append(Gated(consumer))
            return consumers[-1]

        world.around_registrar, world.around_consumer = reluctant, gated
        rival = world.services.ownership()
        await rival.acquire(GATEWAY_ID)
        async with new_gateway(world) as gateway:
            await quiet()
            failing = {"ownership", "broker", "registry"}
            assert {part for part, fine in gateway.readiness().items() if not fine} == failing
            assert consumers == []  # another process may be reading the topic
            await rival.release()
            await eventually(lambda: consumers)
            await quiet()
            assert registrars[0].attempts == 0  # nobody may be told before the topic exists
            assert {part for part, fine in gateway.readiness().items() if not fine} == failing - {"ownership"}
            refusal = await gateway.admit(request("ann"))
            assert isinstance(refusal, Refusal)
            assert refusal.code is Code.UNAVAILABLE
            consumers[0].gate.set()
            await eventually(lambda: registrars[0].attempts > 2)
            assert {part for part, fine in gateway.readiness().items() if not fine} == {"registry"}
            assert isinstance(await gateway.admit(request("ann")), Refusal)
            registrars[0].down = False
            await gateway.wait_ready()
            assert gateway.ready
            assert await world.registered() == [GATEWAY_ID]
            assert isinstance(await gateway.admit(request("ann")), Admitted)


async def test_without_its_session_store_it_is_not_ready_but_lets_clients_in() -> None:
    async with running_gateway() as house:
        ann = await house.connect("ann")
        house.world.sessions.down = True
        ann.socket.leave()
        await eventually(lambda: not house.gateway.ready)
        assert {part for part, fine in house.gateway.readiness().items() if not fine} == {"presence"}
        assert isinstance(await house.gateway.admit(request("ben")), Admitted)
        house.world.sessions.down = False
        await eventually(lambda: house.gateway.ready)


async def test_entering_twice_is_a_mistake_and_entering_again_is_not() -> None:
    async with running_world() as world:
        gateway = new_gateway(world)
        for _ in range(2):
            async with gateway:
                with pytest.raises(LifecycleError):
                    await gateway.__aenter__()
                await gateway.wait_ready()
                await House(world, gateway).connect("ann")
            assert not gateway.ready


async def test_leaving_leaves_nothing_behind() -> None:
    async with running_world() as world:
        before = {task.id for task in anyio.get_running_tasks()}
        sockets = [SimulatedSocket() for _ in range(3)]
        sockets[1].answers_close = False
        sockets[2].reads = False
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            house = House(world, gateway)
            for number, socket in enumerate(sockets[:2]):
                await house.connect(f"u{number}", socket=socket)
            admitted = await gateway.admit(request("u2"))
            assert isinstance(admitted, Admitted)
            world.tasks.start_soon(sockets[2].carry)
            await gateway.open(admitted, JsonCodec(), sockets[2].attach)
            (await world.online("u0"))[0]
            house.world.write_downstream(message("u2"))
        assert [socket.over is not None for socket in sockets] == [True] * 3
        assert sockets[0].close_reason is not None
        assert sockets[0].close_reason.code == DRAINING
        for number in range(3):
            assert await world.online(f"u{number}") == []
        assert await world.registered() == []
        await world.services.ownership().acquire(GATEWAY_ID)
        assert gateway.connections == []
        assert world.observer.connections == 0
        assert {task.id for task in anyio.get_running_tasks()} == before


async def test_leaving_does_not_wait_long_for_a_store_or_a_socket_that_hangs() -> None:
    async with running_world() as world:
        before = {task.id for task in anyio.get_running_tasks()}
        with mock.patch.object(gateway_module, "CUT_OFF_SECONDS", 0.02), anyio.fail_after(5):
            async with new_gateway(world) as gateway:
                await gateway.wait_ready()
                await House(world, gateway).connect("ann")
                world.sessions.hang()
        assert {task.id for task in anyio.get_running_tasks()} == before


async def test_a_client_that_is_being_welcomed_when_the_gateway_is_left_is_cut_off() -> None:
    async with running_world() as world:
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            world.sessions.hang()
            admitted = await gateway.admit(request("ann"))
            assert isinstance(admitted, Admitted)
            socket = SimulatedSocket()
            world.tasks.start_soon(socket.carry)
            world.tasks.start_soon(gateway.open, admitted, JsonCodec(), socket.attach)
            await eventually(lambda: gateway.connections)
            world.sessions.release()
            world.sessions.down = False
        assert socket.over is not None


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    async with running_world() as world:
        gateway = new_gateway(world)

        async def live() -> None:
            async with gateway:
                await gateway.wait_ready()
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await live()
        assert not gateway.ready
        assert await world.registered() == []


async def test_a_cancelled_body_leaves_properly() -> None:
    async with running_world() as world:
        with anyio.CancelScope() as scope:
            async with new_gateway(world) as gateway:
                await gateway.wait_ready()
                ann = await House(world, gateway).connect("ann")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert await ann.ended() == DRAINING
        assert await world.online("ann") == []
        await world.services.ownership().acquire(GATEWAY_ID)


async def test_a_part_that_breaks_its_contract_ends_the_gateway_loudly() -> None:
    async with running_world() as world:

        def broken(consumer: DownstreamConsumer) -> Gated:
            gated = Gated(consumer, bug=ZeroDivisionError("a bug"))
            gated.gate.set()
            return gated

        world.around_consumer = broken
        with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
            async with new_gateway(world) as gateway:
                await gateway.wait_ready()
                ann = await House(world, gateway).connect("ann")
                world.write_downstream(message("ann"))
                await anyio.sleep_forever()
        assert await ann.ended() == DRAINING


async def test_an_admission_can_be_given_up_even_after_leaving() -> None:
    async with running_world() as world:
        gateway = new_gateway(world, settings(max_total=1))
        async with gateway:
            await gateway.wait_ready()
            admitted = await gateway.admit(request("ann"))
            assert isinstance(admitted, Admitted)
            gateway.leave(admitted)
            again = await gateway.admit(request("ann"))
            assert isinstance(again, Admitted)
        gateway.leave(again)
        with pytest.raises(LifecycleError):
            await gateway.open(again, JsonCodec(), SimulatedSocket().attach)

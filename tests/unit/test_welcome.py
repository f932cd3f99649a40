"""What happens between the upgrade and the welcome."""

from unittest import mock

import anyio
import pytest
from tests.gateways import Bench, Client, eventually, quiet, running_hub, settings
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core import presence
from imgateway.core.admission import Admitted
from imgateway.model import CloseReason, Refusal
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import Reconnect

pytestmark = pytest.mark.anyio


async def opening(bench: Bench, token: str, socket: SimulatedSocket, **how: str) -> None:
    """Begin to open a connection whose presence can't be written yet."""
    admitted = await bench.admit(token, **how)
    assert isinstance(admitted, Admitted)
    bench.world.tasks.start_soon(bench.open, admitted, socket)
    await eventually(lambda: bench.hub.registry.of_user(admitted.identity.user_id))
    await quiet()


async def test_the_welcome_tells_what_the_client_needs() -> None:
    async with running_hub(settings(ping_interval_seconds=20.0)) as bench:
        client = await bench.connect("ann@1800000000000")
        frame = client.socket.received[0]
        assert frame["type"] == "welcome"
        assert frame["timestamp"] == bench.world.clock.now()
        data = frame["data"]
        assert data == {
            "connectionId": client.connection.connection_id,
            "gatewayId": "gw-1",
            "sessionId": data["sessionId"],
            "userId": "ann",
            "pingIntervalSeconds": 20,
            "tokenExpiresAt": 1800000000000,
            "resumed": False,
        }
        again = await bench.connect("ann@1800000000000")
        others = again.socket.received[0]["data"]
        assert len({data["connectionId"], data["sessionId"], others["connectionId"], others["sessionId"]}) == 4
        assert min(map(len, (data["connectionId"], data["sessionId"]))) >= 22  # 128 bits


async def test_presence_is_written_before_the_welcome_and_says_who_is_where() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        socket = SimulatedSocket()
        await opening(bench, "ann", socket, device="phone")
        assert socket.received == []
        bench.world.sessions.release()
        await eventually(lambda: socket.received)
        (record,) = await bench.world.online("ann")
        assert (record.gateway_id, record.device_id, record.platform) == ("gw-1", "phone", "test")
        assert record.connected_at == bench.world.clock.now()


async def test_the_welcome_comes_first_even_if_a_delivery_came_earlier() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        socket = SimulatedSocket()
        await opening(bench, "ann", socket)
        settled: list[bool] = []
        bench.deliver("ann", on_settled=lambda: settled.append(True))
        await quiet()
        assert (socket.received, settled) == ([], [])
        bench.world.sessions.release()
        await eventually(lambda: len(socket.received) == 2)
        assert [frame["type"] for frame in socket.received] == ["welcome", "new-message"]
        assert settled == [True]


async def test_nothing_is_read_before_the_welcome() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        socket = SimulatedSocket()
        await opening(bench, "ann", socket)
        assert socket.paused
        client = Client(socket, bench.hub.connections[0])
        client.say("ping")
        await quiet()
        assert socket.received == []
        bench.world.sessions.release()
        await client.next("welcome")
        await client.next("pong")


async def test_with_the_session_store_down_clients_are_let_in_and_presence_follows() -> None:
    async with running_hub() as bench:
        bench.world.sessions.down = True
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            await bench.connect("ann")
        assert await bench.world.online("ann") == []
        assert not bench.hub.presence.available
        bench.world.sessions.down = False
        await eventually(lambda: bench.hub.presence.available)
        assert len(await bench.world.online("ann")) == 1


async def test_a_client_waits_at_most_a_second_for_its_presence() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        assert presence.ANNOUNCE_SECONDS <= 1.0
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            await bench.connect("ann")
        assert await bench.world.online("ann") == []


async def test_a_client_that_leaves_before_its_welcome_leaves_nothing_behind() -> None:
    async with running_hub(settings(max_total=1)) as bench:
        bench.world.sessions.hang()
        socket = SimulatedSocket()
        await opening(bench, "ann", socket)
        settled: list[bool] = []
        bench.deliver("ann", on_settled=lambda: settled.append(True))
        socket.leave()
        await eventually(lambda: socket.over)
        assert bench.hub.connections == []
        bench.world.sessions.release()
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []
        await eventually(lambda: settled)
        assert bench.world.undelivered() == [("no-connection", ["ann"], "1")]
        assert socket.received == []
        await bench.connect("ann")


async def test_a_connection_that_is_replaced_before_its_welcome_gets_nothing_but_the_close() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        older, newer = SimulatedSocket(), SimulatedSocket()
        await opening(bench, "ann", older, device="phone")
        bench.deliver("ann")
        await opening(bench, "ann", newer, device="phone")
        await eventually(lambda: older.over)
        assert older.close_reason == CloseReason.of(Code.REPLACED)
        assert older.received == []
        await eventually(lambda: bench.world.undelivered())
        assert bench.world.undelivered() == [("no-connection", ["ann"], "1")]
        bench.world.sessions.release()
        await eventually(lambda: newer.received)
        assert [frame["type"] for frame in newer.received] == ["welcome"]


async def test_a_drain_before_the_welcome_still_says_when_to_come_back() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        socket = SimulatedSocket()
        await opening(bench, "ann", socket)
        bench.deliver("ann")
        bench.hub.connections[0].drain(Reconnect(7, "draining"), CloseReason.of(Code.DRAINING))
        await eventually(lambda: socket.over)
        assert [(frame["type"], frame["data"]) for frame in socket.received] == [
            ("reconnect", {"afterMs": 7, "reason": "draining"})
        ]
        assert socket.over == TABLE[Code.DRAINING].close_code


async def test_an_opening_that_is_cancelled_leaves_nothing_behind() -> None:
    async with running_hub(settings(max_total=1)) as bench:
        bench.world.sessions.hang()
        admitted = await bench.admit("ann")
        assert isinstance(admitted, Admitted)
        socket = SimulatedSocket()
        bench.world.tasks.start_soon(socket.carry)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.hub.open, admitted, JsonCodec(), socket.attach)
            await eventually(lambda: len(bench.hub.registry))
            await quiet()
            tasks.cancel_scope.cancel()
        await eventually(lambda: socket.over)
        assert (bench.hub.connections, len(bench.hub.registry)) == ([], 0)
        bench.world.sessions.release()
        await bench.connect("ann")


async def test_an_upgrade_that_can_not_be_attached_gives_its_place_back() -> None:
    async with running_hub(settings(max_total=1)) as bench:
        admitted = await bench.admit("ann")
        assert isinstance(admitted, Admitted)
        with pytest.raises(ZeroDivisionError):
            await bench.hub.open(admitted, JsonCodec(), lambda _: 1 // 0)  # type: ignore[arg-type,return-value]  # fails
        await bench.connect("ann")


@pytest.mark.parametrize("code", [Code.DRAINING, Code.UNAVAILABLE])
async def test_who_was_admitted_before_the_doors_closed_is_sent_away_after_the_upgrade(code: Code) -> None:
    async with running_hub() as bench:
        admitted = await bench.admit("ann")
        assert isinstance(admitted, Admitted)
        bench.hub.admission.closed = Refusal(code, "no")
        client = await bench.open(admitted, SimulatedSocket())
        assert await client.ended() == TABLE[code].close_code
        assert client.socket.received == []
        assert await bench.world.online("ann") == []

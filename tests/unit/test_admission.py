"""Who gets a connection, and who has to go for it."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from tests.gateways import Bench, Client, eventually, quiet, request, running_hub, settings
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core.admission import Admitted
from imgateway.model import Refusal

pytestmark = pytest.mark.anyio

REPLACED = TABLE[Code.REPLACED].close_code


async def refused(bench: Bench, token: str, **how: Any) -> Refusal:
    outcome = await bench.admit(token, **how)
    assert isinstance(outcome, Refusal), "it was let in"
    return outcome


async def test_a_bad_token_is_refused_as_the_authenticator_says() -> None:
    async with running_hub() as bench:
        refusal = await refused(bench, "bad")
        assert (refusal.code, refusal.details) == (Code.UNAUTHENTICATED, "signature")


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", "a\x7f", "\ud800"])
async def test_a_user_id_that_is_none_is_refused_whatever_the_authenticator_says(user: str) -> None:
    async with running_hub() as bench:
        refusal = await refused(bench, user)
        assert (refusal.code, refusal.details) == (Code.UNAUTHENTICATED, "invalid_user_id")
        await bench.connect("x" * 128)


async def test_a_proof_that_has_ended_is_refused_whatever_the_authenticator_says() -> None:
    async with running_hub(settings(expiry_grace_seconds=25.0)) as bench:
        now = bench.world.clock.now()
        refusal = await refused(bench, f"ann@{now - 25_000}")
        assert refusal.code is Code.TOKEN_EXPIRED
        await bench.connect(f"ann@{now - 24_000}")


async def test_an_authenticator_that_fails_costs_nobody_else_anything() -> None:
    async with running_hub(settings(max_total=2)) as bench:
        ann = await bench.connect("ann")
        for _ in range(3):
            refusal = await refused(bench, "raise")
            assert (refusal.code, refusal.retry_after) == (Code.UNAVAILABLE, 1)
        ann.say("refresh-token", token="raise")
        assert (await ann.next("error"))["code"] == "UNAVAILABLE"
        ann.say("ping")
        await ann.next("pong")


async def test_a_device_replaces_its_own_older_connection_first() -> None:
    async with running_hub(settings(max_per_user=2)) as bench:
        laptop, phone = await bench.connect("ann", device="laptop"), await bench.connect("ann", device="phone")
        again = await bench.connect("ann", device="phone")
        assert await phone.ended() == REPLACED
        assert bench.hub.registry.of_user(again.connection.user_id) == (laptop.connection, again.connection)
        await eventually(lambda: len(bench.hub.connections) == 2)
        assert len(await bench.world.online("ann")) == 2
        # Another user's device of that name is another device.
        await bench.connect("ben", device="phone")
        assert not again.connection.closed


async def test_beyond_max_per_user_the_oldest_goes() -> None:
    async with running_hub(settings(max_per_user=2)) as bench:
        clients = [await bench.connect("ann") for _ in range(4)]
        assert [await client.ended() for client in clients[:2]] == [REPLACED, REPLACED]
        assert [client.connection.closed for client in clients[2:]] == [False, False]


async def test_with_the_policy_refuse_the_newest_does_not_get_in_unless_it_replaces_its_own() -> None:
    async with running_hub(settings(max_per_user=2, on_excess="refuse")) as bench:
        phone, laptop = await bench.connect("ann", device="phone"), await bench.connect("ann", device="laptop")
        for device in (None, "watch"):
            refusal = await refused(bench, "ann", device=device)
            assert (refusal.code, refusal.details) == (Code.RATE_LIMITED, "max_per_user")
        await bench.connect("ann", device="phone")
        assert await phone.ended() == REPLACED
        assert not laptop.connection.closed
        await bench.connect("ben")


async def test_a_crowd_that_upgrades_together_does_not_get_past_the_policy() -> None:
    async with running_hub(settings(max_per_user=2, on_excess="refuse")) as bench:
        admitted = [await bench.admit("ann") for _ in range(4)]
        clients = [await bench.open(one, SimulatedSocket()) for one in admitted if isinstance(one, Admitted)]
        assert len(clients) == 4
        assert [client.connection.closed for client in clients] == [False, False, True, True]
        assert await clients[3].ended() == TABLE[Code.RATE_LIMITED].close_code


@pytest.mark.parametrize(
    ("limits", "code", "details"),
    [
        ({"max_total": 2}, Code.OVERLOADED, "max_total"),
        ({"max_per_ip": 2}, Code.RATE_LIMITED, "max_per_ip"),
    ],
)
async def test_limits_count_handshakes_in_progress(limits: dict[str, int], code: Code, details: str) -> None:
    async with running_hub(settings(**limits)) as bench:
        bench.world.tokens.busy = anyio.Event()
        outcomes: list[Admitted | Refusal] = []

        async def knock() -> None:
            outcomes.append(await bench.hub.admission.admit(request("ann", ip="192.0.2.1")))

        for _ in range(3):
            bench.world.tasks.start_soon(knock)
        await quiet()
        (refusal,) = outcomes
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.details, refusal.retry_after) == (code, details, 1)
        bench.world.tokens.busy.set()
        await eventually(lambda: len(outcomes) == 3)
        assert all(isinstance(outcome, Admitted) for outcome in outcomes[1:])


async def test_another_address_has_a_limit_of_its_own_and_an_unknown_one_has_none() -> None:
    async with running_hub(settings(max_per_ip=1, max_per_user=9)) as bench:
        await bench.connect("ann", ip="192.0.2.1")
        assert (await refused(bench, "ann", ip="192.0.2.1")).details == "max_per_ip"
        await bench.connect("ann", ip="192.0.2.2")
        for _ in range(2):
            await bench.connect("ann")


async def _the_token_is_bad(bench: Bench) -> None:
    await refused(bench, "bad", ip="192.0.2.1")


async def _the_authenticator_fails(bench: Bench) -> None:
    await refused(bench, "raise", ip="192.0.2.1")


async def _the_check_is_cancelled(bench: Bench) -> None:
    bench.world.tokens.busy = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.hub.admission.admit, request("ann", ip="192.0.2.1"))
        await quiet()
        tasks.cancel_scope.cancel()
    bench.world.tokens.busy = None


async def _the_doors_close_meanwhile(bench: Bench) -> None:
    bench.world.tokens.busy = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.hub.admission.admit, request("ann", ip="192.0.2.1"))
        await quiet()
        bench.hub.admission.closed = Refusal(Code.DRAINING, "no")
        bench.world.tokens.busy.set()
    bench.hub.admission.closed = None


async def _the_upgrade_does_not_come_about(bench: Bench) -> None:
    admitted = await bench.admit("ann", ip="192.0.2.1")
    assert isinstance(admitted, Admitted)
    for _ in range(2):
        bench.hub.admission.leave(admitted.place)


async def _the_client_leaves(bench: Bench) -> None:
    client = await bench.connect("ann", ip="192.0.2.1")
    client.socket.leave()
    await client.ended()


async def _the_gateway_closes(bench: Bench) -> None:
    client = await bench.connect("ann", ip="192.0.2.1")
    client.socket.send(b"binary")
    await client.ended()


@pytest.mark.parametrize(
    "ending",
    [
        _the_token_is_bad,
        _the_authenticator_fails,
        _the_check_is_cancelled,
        _the_doors_close_meanwhile,
        _the_upgrade_does_not_come_about,
        _the_client_leaves,
        _the_gateway_closes,
    ],
)
async def test_a_place_is_given_back_once_when(ending: Callable[[Bench], Any]) -> None:
    async with running_hub(settings(max_total=1, max_per_ip=1)) as bench:
        for _ in range(2):
            await ending(bench)
        ann = await bench.connect("ann", ip="192.0.2.1")
        assert (await refused(bench, "ben", ip="192.0.2.1")).details == "max_total"
        assert not ann.connection.closed


async def test_a_place_is_kept_until_the_socket_has_ended() -> None:
    async with running_hub(settings(max_total=1)) as bench:
        stuck = SimulatedSocket(answers_close=False)
        ann: Client = await bench.connect("ann", socket=stuck)
        ann.socket.send(b"binary")
        await eventually(lambda: stuck.close_reason)
        assert (await refused(bench, "ben")).details == "max_total"
        stuck.leave()
        await ann.ended()
        await bench.connect("ben")


async def test_nobody_is_let_in_while_the_doors_are_closed_and_no_token_is_looked_at() -> None:
    async with running_hub() as bench:
        bench.hub.admission.closed = Refusal(Code.DRAINING, "no", "draining", 1)
        bench.world.tokens.busy = anyio.Event()  # who asked it would wait for ever
        assert await refused(bench, "ann") == bench.hub.admission.closed


async def test_decisions_are_counted() -> None:
    async with running_hub(settings(max_total=1)) as bench:
        await refused(bench, "bad")
        await bench.connect("ann")
        await refused(bench, "ann")
        counts = bench.world.observer.counts
        decided = {what: count for (event, what), count in counts.items() if event == "connect_decided"}
        assert decided == {"UNAUTHENTICATED": 1, "accepted": 1, "OVERLOADED": 1}

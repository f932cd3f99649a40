"""A connection lives as long as its proof, and a little longer for a refresh to arrive."""

import anyio
import pytest
from tests.gateways import Bench, Client, eventually, quiet, running_hub, settings

from imgateway.codes import TABLE, Code
from imgateway.core.pulse import ControlBudget

pytestmark = pytest.mark.anyio

TOKEN_EXPIRED = TABLE[Code.TOKEN_EXPIRED].close_code
GRACE = 25.0


def in_seconds(bench: Bench, seconds: float) -> int:
    return bench.world.clock.now() + round(seconds * 1000)


def keep_alive(bench: Bench, client: Client, seconds: float) -> None:
    """Pass time while the client answers its pings."""
    for _ in range(round(seconds)):
        client.connection.heard()
        bench.pass_time(1.0)


async def test_a_connection_ends_when_the_grace_after_its_expiry_does() -> None:
    async with running_hub(settings(expiry_grace_seconds=GRACE)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 100)}")
        keep_alive(bench, ann, 100 + GRACE - 1)
        assert not ann.connection.closed
        keep_alive(bench, ann, 2)
        assert await ann.ended() == TOKEN_EXPIRED


async def test_a_refreshed_token_counts_from_now_on() -> None:
    async with running_hub(settings(expiry_grace_seconds=GRACE)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 100)}")
        expiry = in_seconds(bench, 200)
        ann.say("refresh-token", token=f"ann@{expiry}")
        assert await ann.next("token-refreshed") == {"tokenExpiresAt": expiry}
        keep_alive(bench, ann, 200 + GRACE - 1)
        assert not ann.connection.closed
        keep_alive(bench, ann, 2)
        assert await ann.ended() == TOKEN_EXPIRED


async def test_a_refreshed_token_that_ends_sooner_ends_the_connection_sooner() -> None:
    async with running_hub(settings(expiry_grace_seconds=GRACE)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 1000)}")
        ann.say("refresh-token", token=f"ann@{in_seconds(bench, 3)}")
        await ann.next("token-refreshed")
        keep_alive(bench, ann, 3 + GRACE + 1)
        assert await ann.ended() == TOKEN_EXPIRED


@pytest.mark.parametrize(
    ("token", "code", "details"),
    [
        ("bad", "UNAUTHENTICATED", "signature"),
        ("eve", "FORBIDDEN", "other_user"),
        ("ann@1000", "TOKEN_EXPIRED", "expired"),
        ("a\nn", "UNAUTHENTICATED", "invalid_user_id"),
    ],
)
async def test_a_token_that_does_not_do_changes_nothing(token: str, code: str, details: str) -> None:
    async with running_hub(settings(expiry_grace_seconds=GRACE)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 10)}")
        ann.say("refresh-token", token=token)
        error = await ann.next("error")
        assert (error["code"], error["details"]) == (code, details)
        ann.say("ping")
        await ann.next("pong")
        assert ann.connection.user_id == "ann"
        keep_alive(bench, ann, 10 + GRACE + 1)
        assert await ann.ended() == TOKEN_EXPIRED


async def test_while_a_token_is_checked_nothing_is_read_and_no_deadline_passes() -> None:
    async with running_hub(settings(expiry_grace_seconds=0.0)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 10)}")
        bench.world.tokens.busy = anyio.Event()
        ann.say("refresh-token", token=f"ann@{in_seconds(bench, 1000)}")
        ann.say("ping")
        await eventually(lambda: ann.socket.paused)
        bench.pass_time(100)
        assert ann.unheard == []
        assert not ann.connection.closed
        bench.world.tokens.busy.set()
        await ann.next("token-refreshed")
        await ann.next("pong")
        assert not ann.connection.closed


async def test_held_time_lengthens_the_token_it_fell_into_and_no_later_one() -> None:
    async with running_hub(settings(expiry_grace_seconds=0.0)) as bench:
        ann = await bench.connect(f"ann@{in_seconds(bench, 10)}")
        bench.world.tokens.busy = anyio.Event()
        ann.say("refresh-token", token="bad")
        await eventually(lambda: ann.socket.paused)
        bench.pass_time(100)
        bench.world.tokens.busy.set()
        await ann.next("error")
        keep_alive(bench, ann, 9)
        assert not ann.connection.closed
        ann.say("refresh-token", token=f"ann@{in_seconds(bench, 20)}")
        await ann.next("token-refreshed")
        keep_alive(bench, ann, 19)
        assert not ann.connection.closed
        keep_alive(bench, ann, 2)
        assert await ann.ended() == TOKEN_EXPIRED


async def test_a_client_that_leaves_while_its_token_is_checked_is_forgotten() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.tokens.busy = anyio.Event()
        ann.say("refresh-token", token="ann")
        await eventually(lambda: ann.socket.paused)
        ann.socket.leave()
        await ann.ended()
        bench.world.tokens.busy.set()
        await quiet()
        assert ann.unheard == []
        assert len(bench.hub._wheel) == 0


async def test_a_flood_of_refreshes_ends_the_connection() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        for _ in range(ControlBudget.BURST + 1):
            ann.say("refresh-token", token="ann")
        assert await ann.ended() == TABLE[Code.RATE_LIMITED].close_code

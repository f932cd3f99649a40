"""The hash that back ends read: its shape, whose gateway it names, when it ends, and what of it is not ours."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import attrs
import pytest
from redis.asyncio import Redis
from servers import RedisServer

from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.adapters.redis.scripts import MOST_GONE
from imgateway.model import ConnectionId, DeviceId, DevicePolicy, Displaced, GatewayId, SessionRecord, UserId

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000_000


def record(user: str, connection: str, *, at: int = NOW, gateway: str = "gw-1", **more: Any) -> SessionRecord:
    values = {"device_id": DeviceId("phone"), "platform": "web"} | more
    return SessionRecord(UserId(user), ConnectionId(connection), GatewayId(gateway), connected_at=at, **values)


@attrs.define(eq=False)
class Place:
    """A user nobody else uses, and the server as back ends see it."""

    url: str
    redis: Redis
    prefix: str = attrs.field(factory=lambda: f"test-{uuid4().hex[:12]}:")

    def store(self, ttl_seconds: float = 60.0) -> RedisSessionStore:
        return RedisSessionStore(RedisAccess(self.url), ttl_seconds, self.prefix)

    def key(self, user: str) -> str:
        return f"{self.prefix}user_session:{user}"

    async def hash(self, user: str) -> dict[str, str]:
        return {str(field): str(value) for field, value in (await self.redis.hgetall(self.key(user))).items()}

    async def connections(self, user: str) -> set[str]:
        return {name.removeprefix("conn:") for name in await self.hash(user) if name.startswith("conn:")}

    async def keys(self) -> set[str]:
        return {key async for key in self.redis.scan_iter(f"{self.prefix}*")}


@pytest.fixture
async def place(redis_server: RedisServer) -> AsyncIterator[Place]:
    async with Redis.from_url(redis_server.url, decode_responses=True, encoding_errors="surrogateescape") as redis:
        place = Place(redis_server.url, redis)
        yield place
        if keys := await place.keys():
            await redis.delete(*keys)


@asynccontextmanager
async def two_gateways(place: Place, ttl_seconds: float = 60.0) -> AsyncIterator[tuple[RedisSessionStore, ...]]:
    stores = place.store(ttl_seconds), place.store(ttl_seconds)
    try:
        yield stores
    finally:
        for store in stores:
            await store.aclose()


async def test_the_hash_is_as_back_ends_expect_it(place: Place) -> None:
    async with two_gateways(place) as (one, other):
        await one.add([record("ann", "a", device_id=None, platform=None)])
        await other.add([record("ann", "b", at=NOW + 5, gateway="gw-2", device_id=DeviceId('名"\\\n前'), platform="")])
        before, after = await place.redis.time(), await place.hash("ann")
        assert after.pop("gateway_id") == "gw-2"
        entries = {field: json.loads(value) for field, value in after.items()}
        ends = {field: entry.pop("expires_at") for field, entry in entries.items()}
        assert entries == {
            "conn:a": {"gateway_id": "gw-1", "device_id": None, "platform": None, "connected_at": NOW},
            "conn:b": {"gateway_id": "gw-2", "device_id": '名"\\\n前', "platform": "", "connected_at": NOW + 5},
        }
        now = before[0] * 1000 + before[1] // 1000
        assert all(type(end) is int and now < end <= now + 60_000 for end in ends.values())
        assert ends["conn:b"] == await place.redis.pexpiretime(place.key("ann"))
        assert await place.keys() == {place.key("ann")}
        assert [attrs.evolve(found, expires_at=0) for found in await one.lookup(UserId("ann"))] == [
            record("ann", "b", at=NOW + 5, gateway="gw-2", device_id=DeviceId('名"\\\n前'), platform=""),
            record("ann", "a", device_id=None, platform=None),
        ]


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_newest_connection_left_says_which_gateway(place: Place, newest_first: bool) -> None:
    old, new = record("ann", "old", gateway="gw-1"), record("ann", "new", at=NOW + 1, gateway="gw-2")
    async with two_gateways(place) as (one, other):
        await other.add([new])
        await one.add([old])
        assert (await place.hash("ann"))["gateway_id"] == "gw-2"
        await one.refresh([old])
        assert (await place.hash("ann"))["gateway_id"] == "gw-2"
        store, gone, left = (other, new, "gw-1") if newest_first else (one, old, "gw-2")
        await store.remove([gone])
        assert (await place.hash("ann"))["gateway_id"] == left
        await one.remove([old])
        await other.remove([new])
        assert await place.keys() == set()


async def test_of_two_as_new_as_each_other_it_is_always_the_same_one(place: Place) -> None:
    entries = [record("ann", name, gateway=f"gw-{name}") for name in ("B", "_", "a", "Z")]
    async with two_gateways(place) as (one, _):
        orders = set()
        for start in range(len(entries)):
            await one.add(entries[start:] + entries[:start])
            found = tuple(each.connection_id for each in await one.lookup(UserId("ann")))
            assert (await place.hash("ann"))["gateway_id"] == f"gw-{found[0]}"
            await one.remove(entries)
            orders.add(found)
        assert len(orders) == 1


async def test_a_dead_gateways_field_vanishes_under_anothers_refresh(place: Place) -> None:
    async with two_gateways(place) as (one, other):
        living = record("ann", "living")
        brief = RedisSessionStore(other.access, 0.4, place.prefix)
        await brief.add([record("ann", "dead", at=NOW + 1, gateway="gw-2")])
        with anyio.fail_after(30):
            while "dead" in await place.connections("ann"):
                await one.refresh([living])
                await anyio.sleep(0.05)
        assert await place.connections("ann") == {"living"}
        assert (await place.hash("ann"))["gateway_id"] == "gw-1"


async def test_a_dead_gateways_field_vanishes_with_anothers_removal(place: Place) -> None:
    async with two_gateways(place, ttl_seconds=0.3) as (one, other):
        lasting = RedisSessionStore(one.access, 60.0, place.prefix)
        await lasting.add([record("ann", "living"), record("ann", "leaving")])
        # The last one to be written: a change drops what has ended.
        await other.add([record("ann", "dead", at=NOW + 1, gateway="gw-2")])
        await anyio.sleep(0.4)
        assert await place.connections("ann") == {"dead", "living", "leaving"}
        assert [each.connection_id for each in await one.lookup(UserId("ann"))] == ["living", "leaving"]
        await one.remove([record("ann", "leaving")])
        assert await place.connections("ann") == {"living"}
        assert (await place.hash("ann"))["gateway_id"] == "gw-1"


async def test_nobodys_entry_ends_before_its_own_time(place: Place) -> None:
    async with two_gateways(place) as (one, other):
        await one.add([record("ann", "long")])
        end = await place.redis.pexpiretime(place.key("ann"))
        brief = RedisSessionStore(other.access, 1.0, place.prefix)
        await brief.add([record("ann", "brief", at=NOW + 1)])
        await brief.remove([record("ann", "brief")])
        assert await place.redis.pexpiretime(place.key("ann")) == end


async def test_a_key_without_an_end_gets_one(place: Place) -> None:
    async with two_gateways(place) as (one, _):
        await one.add([record("ann", "a"), record("ann", "b")])
        await place.redis.persist(place.key("ann"))
        await one.remove([record("ann", "b")])
        assert await place.redis.pttl(place.key("ann")) > 0


async def test_a_displaced_connection_leaves_a_field_that_ends_by_itself(place: Place) -> None:
    old, new = record("ann", "old"), record("ann", "new", at=NOW + 1, gateway="gw-2")
    async with two_gateways(place) as (one, other):
        lasting = RedisSessionStore(one.access, 90.0, place.prefix)
        await lasting.add([old])
        own_end = json.loads((await place.hash("ann"))["conn:old"])["expires_at"]
        assert await other.add([new], DevicePolicy(5)) == [Displaced.of(old)]
        fields = await place.hash("ann")
        assert fields.keys() == {"gateway_id", "conn:new", "gone:old"}
        # Its owner, whose time to live is longer, tries to write it again before that.
        assert int(fields["gone:old"]) == own_end == await place.redis.pexpiretime(place.key("ann"))
        await other.remove([new])
        assert await place.hash("ann") == {"gone:old": fields["gone:old"]}
        assert await place.redis.pexpiretime(place.key("ann")) == own_end
        assert await one.lookup(UserId("ann")) == []
        await one.remove([old])
        assert await place.keys() == set()
        brief = RedisSessionStore(other.access, 0.1, place.prefix)
        await brief.add([old])
        await brief.add([new], DevicePolicy(5))
        await anyio.sleep(0.15)
        await one.refresh([record("ann", "another")])
        assert (await place.hash("ann")).keys() == {"gateway_id", "conn:another"}


async def test_so_many_displaced_connections_are_remembered_and_no_more(place: Place) -> None:
    async with two_gateways(place) as (one, _):
        records = [record("ann", f"c{number}", at=NOW + number) for number in range(MOST_GONE + 20)]
        assert await one.add(records, DevicePolicy(5)) == [Displaced.of(each) for each in records[:-1]]
        crowd = [record("ben", f"c{number}", at=NOW + number, device_id=None) for number in range(MOST_GONE + 20)]
        await one.add(crowd)
        assert len(await one.add([record("ben", "new", at=NOW * 2)], DevicePolicy(1))) == len(crowd)
        for user in ("ann", "ben"):
            fields = await place.hash(user)
            assert sum(name.startswith("gone:") for name in fields) == MOST_GONE
            assert len(await place.connections(user)) == 1


@pytest.mark.parametrize("value", ["", "soon", "NaN", "inf", "-1", "1e300", b"\xff"])
async def test_a_remembered_end_that_is_none_is_dropped(
    place: Place, value: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_gateways(place) as (one, _):
        await place.redis.hset(place.key("ann"), "gone:bad", value)
        await place.redis.hset(place.key("ann"), "gone:a", value)
        with caplog.at_level(logging.WARNING):
            assert await one.add([record("ann", "b", at=NOW - 1, device_id=None)], DevicePolicy(5)) == []
            assert [entry.__dict__["values"] for entry in caplog.records] == [2]
            assert await one.add([record("ann", "a")], DevicePolicy(5)) == []
        assert (await place.hash("ann")).keys() == {"gateway_id", "conn:a", "conn:b"}


async def test_a_change_is_one_command_whoever_is_displaced(place: Place) -> None:
    async with two_gateways(place) as (one, other):
        await one.add([record("ann", "warm")])
        before = (await place.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await other.add([record("ann", "new", at=NOW + 1)], DevicePolicy(1))
        assert (await place.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


GARBAGE = {
    "nothing": "",
    "no json": "online",
    "cut off": '{"gateway_id":"gw-9","connected_at":1',
    "not utf-8": b"\xff\xfe",
    "deep": "[" * 5000,
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "no gateway": '{"connected_at":1,"expires_at":1e12}',
    "a gateway that is a number": '{"gateway_id":9,"connected_at":1,"expires_at":END}',
    "a time that is a text": '{"gateway_id":"gw-9","connected_at":"1","expires_at":END}',
    "a time that is no number": '{"gateway_id":"gw-9","connected_at":NaN,"expires_at":END}',
    "a time before all": '{"gateway_id":"gw-9","connected_at":-1,"expires_at":END}',
    "a time after all": '{"gateway_id":"gw-9","connected_at":1e300,"expires_at":END}',
    "no end": '{"gateway_id":"gw-9","connected_at":1}',
    "an end that never comes": '{"gateway_id":"gw-9","connected_at":1,"expires_at":1e15}',
    "an end that is infinite": '{"gateway_id":"gw-9","connected_at":1,"expires_at":Infinity}',
    "an end that is no number": '{"gateway_id":"gw-9","connected_at":1,"expires_at":NaN}',
    "a device that is a table": '{"gateway_id":"gw-9","connected_at":1,"expires_at":END,"device_id":{}}',
    "a platform that is a boolean": '{"gateway_id":"gw-9","connected_at":1,"expires_at":END,"platform":true}',
}


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
async def test_a_value_that_is_no_entry_is_passed_over_and_then_dropped(
    place: Place, value: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    seconds, _ = await place.redis.time()
    text = value.replace("END", str((seconds + 30) * 1000)) if isinstance(value, str) else value
    async with two_gateways(place) as (one, _):
        for user in ("ann", "ben"):
            await place.redis.hset(place.key(user), "conn:bad", text)
            await place.redis.hset(place.key(user), "gateway_id", "gw-9")
        with caplog.at_level(logging.WARNING):
            assert await one.lookup(UserId("ann")) == []
            assert [entry.__dict__["user_id"] for entry in caplog.records] == ["ann"]
            caplog.clear()
            await one.add([record("zoe", "z"), record("ann", "a"), record("cid", "c")])
            await one.remove([record("zoe", "none"), record("ben", "b"), record("cid", "none")])
            assert [(entry.__dict__["user_id"], entry.__dict__["values"]) for entry in caplog.records] == [
                ("ann", 1),
                ("ben", 1),
            ]
        assert await place.connections("ann") == {"a"}
        assert (await place.hash("ann"))["gateway_id"] == "gw-1"
        assert await place.keys() == {place.key(user) for user in ("ann", "cid", "zoe")}
        caplog.clear()
        await one.refresh([record("ann", "a")])
        assert not caplog.records


@pytest.mark.parametrize(
    "value",
    [
        '{"gateway_id":"gw-9","connected_at":1.0,"expires_at":ENDe0,"more":[1]}',
        '{"expires_at":END,"connected_at":0x1,"device_id":null,"gateway_id":"gw-9"}',
        b'{"expires_at":END,"connected_at":1,"gateway_id":"gw-9","platform":"\xff"}',
    ],
)
async def test_an_entry_that_others_spelled_differently_counts(place: Place, value: str | bytes) -> None:
    seconds, _ = await place.redis.time()
    end = (seconds + 30) * 1000
    text = value.replace("END", str(end)) if isinstance(value, str) else value.replace(b"END", str(end).encode())
    async with two_gateways(place) as (one, _):
        await place.redis.hset(place.key("ann"), "conn:x", text)
        await one.add([record("ann", "a", at=0)])
        first, second = await one.lookup(UserId("ann"))
        assert (first.connection_id, first.gateway_id, first.connected_at, first.expires_at) == ("x", "gw-9", 1, end)
        assert (first.device_id, second.connection_id) == (None, "a")
        assert (await place.hash("ann"))["gateway_id"] == "gw-9"


async def test_a_key_that_is_no_hash_is_left_by_removals_and_replaced_by_additions(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_gateways(place) as (one, _):
        await place.redis.set(place.key("text"), "gw-9")
        await place.redis.rpush(place.key("list"), "gw-9")
        await place.redis.zadd(place.key("sorted"), {"gw-9": 1})
        users = ("text", "list", "sorted")
        with caplog.at_level(logging.WARNING):
            for user in users:
                assert await one.lookup(UserId(user)) == []
            await one.remove([record(user, "a") for user in users])
            assert len(await place.keys()) == 3
            await one.add([record(user, "a") for user in (*users, "ann")])
        assert [entry.__dict__["user_id"] for entry in caplog.records] == [*users, *users, *users]
        for user in (*users, "ann"):
            assert await place.connections(user) == {"a"}
            assert (await place.hash(user))["gateway_id"] == "gw-1"


async def test_fields_of_others_stay_until_the_key_expires(place: Place) -> None:
    async with two_gateways(place) as (one, _):
        await place.redis.hset(place.key("ann"), "note", "x")
        await one.add([record("ann", "a"), record("ann", "b")])
        await one.remove([record("ann", "a")])
        assert (await place.hash("ann"))["note"] == "x"
        await one.remove([record("ann", "b")])
        assert await place.hash("ann") == {"note": "x"}
        assert await place.redis.pttl(place.key("ann")) > 0


HOSTILE = (
    "a:b",
    "*",
    "?",
    "[ab]",
    "{a}",
    "{}",
    "a}{b",
    "a b",
    "'\"\\",
    "名前",
    "🦊" * 128,
    "user_session:ann",
    "%s",
    "-1",
)


async def test_no_id_reaches_a_foreign_key(place: Place) -> None:
    others = {f"{place.prefix}{name}" for name in ("other", "user_session", "user_sessions:ann", "user_session:ann:x")}
    for key in others:
        await place.redis.set(key, "x")
    async with two_gateways(place) as (one, _):
        await one.add([record(user, f"c-{user}") for user in HOSTILE])
        assert await place.keys() == others | {place.key(user) for user in HOSTILE}
        await one.refresh([record(user, f"c-{user}") for user in HOSTILE])
        for user in HOSTILE:
            assert [each.connection_id for each in await one.lookup(UserId(user))] == [f"c-{user}"]
        await one.remove([record(user, f"c-{user}") for user in HOSTILE])
        assert await place.keys() == others

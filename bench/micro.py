"""The parts of the core by themselves, in nanoseconds an operation.

    python bench/micro.py [--only TEXT] [--rounds 5] [--core 0] [--json FILE]

Each operation runs in batches of about 0.1 s; shown are the median of the rounds, the least and the most. The garbage
collector runs as it does in the gateway.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import machine

from imgateway.adapters.kafka.lanes import Entry, Lane, Topic
from imgateway.adapters.memory import CountingObserver, MemoryBroker, MemoryPublisher
from imgateway.core.outbox import Outbox
from imgateway.core.recall import Recalled, RecentMessages
from imgateway.core.registry import ConnectionRegistry
from imgateway.core.router import LocalRouter
from imgateway.model import (
    CloseReason,
    ConnectionId,
    ConsumedRecord,
    ConversationId,
    DeviceId,
    Envelope,
    GatewayId,
    OutgoingRecord,
    Priority,
    PublishFailure,
    Receipt,
    SendOutcome,
    UserId,
)
from imgateway.ports import Settlement
from imgateway.wire.frames import Frame, text_frame
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import MessageAck, NewMessage, SenderData
from imgateway.wire.records import decode_downstream, encode_upstream

Operation = tuple[str, int, Callable[[], object]]
"""Name, operations a call, and the call."""

CODEC = JsonCodec()
TEXT = "x" * 100


class Sink:
    """A client that has every frame at once."""

    connection_id = ConnectionId("c")
    device_id: DeviceId | None = None
    codec = CODEC

    def __init__(self, user_id: UserId) -> None:
        self.user_id = user_id

    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        if settlement is not None:
            settlement.handed_over(self.user_id)
        return SendOutcome.QUEUED

    def close(self, reason: CloseReason, /) -> None: ...


class Ticket:
    """Nobody waits for it."""

    def settled(self, outcome: Receipt | PublishFailure, /) -> None: ...


class Steady:
    """A clock that stands still."""

    def now(self) -> int:
        return 1_700_000_000_000

    def monotonic(self) -> float:
        return 0.0

    async def sleep_until(self, when: float, /) -> None: ...


class Batch:
    """Takes what a Kafka batch would, and drops it."""

    def append(self, **record: object) -> object:
        return record

    def close(self) -> None: ...


def codec() -> Iterator[Operation]:
    sent = json.dumps(
        {
            "type": "send-message",
            "data": {"conversationId": "c-1", "content": TEXT, "messageType": 1, "client_msg_id": "m-1"},
            "timestamp": 1_700_000_000_000,
        },
        separators=(",", ":"),
    )
    new = NewMessage("1", ConversationId("c-1"), SenderData("bench"), TEXT, 1, 1, 1_700_000_000_000)
    ack = MessageAck("m-1", "accepted", "im-upstream-topic", 3, 12345)
    yield "codec.decode send-message", 1, lambda: CODEC.decode(sent)
    yield "codec.encode new-message", 1, lambda: CODEC.encode(new, 0)
    yield "codec.encode message-ack", 1, lambda: CODEC.encode(ack, 0)
    payload = CODEC.encode(new, 0)
    yield "text_frame", 1, lambda: text_frame(payload)
    envelope = Envelope(
        "send-message", "0" * 32, UserId("user-1"), GatewayId("gw"), ConversationId("c-1"), 1, TEXT, "m-1", 0
    )
    yield "encode_upstream", 1, lambda: encode_upstream(envelope, "im-upstream-topic", Priority.NORMAL)
    for targets in (1, 1000):
        value = record(targets).value
        yield f"decode_downstream, {targets:,} targets", 1, partial(decode_downstream, value)


def outbox() -> Iterator[Operation]:
    frame = text_frame(CODEC.encode(MessageAck("m-1", "accepted", "t", 3, 12345), 0))
    settlement = Settled()
    box = Outbox(1 << 20)

    def one() -> None:
        box.offer(frame, 0, settlement)
        box.take(0.0)
        box.handed_over(0)

    def ten() -> None:
        for _ in range(10):
            box.offer(frame, 0, settlement)
        box.take(0.0)
        box.handed_over(0)

    yield "outbox offer, take, handed_over", 1, one
    yield "outbox, ten frames a take, each", 10, ten


class Settled:
    """Wants to know nothing."""

    def handed_over(self, user_id: UserId, /) -> None: ...

    def missed(self, user_id: UserId, reason: object, /) -> None: ...


def record(targets: int) -> ConsumedRecord:
    value = {
        "target_user_ids": [f"user-{n}" for n in range(targets)], "message_id": 1, "conversation_id": "c-1",
        "sender_id": "bench", "message_type": 1, "content": TEXT, "seq_id": 1, "timestamp": 0,
    }  # fmt: skip
    return ConsumedRecord(0, 0, b"c-1", json.dumps(value).encode())


def router() -> Iterator[Operation]:
    registry = ConnectionRegistry()
    for n in range(1000):
        registry.add(Sink(UserId(f"user-{n}")))
    publisher = MemoryPublisher(MemoryBroker(partitions=1))
    routing = LocalRouter(registry, publisher, CountingObserver(), Steady(), GatewayId("gw"), "undelivered")
    for targets in (1, 10, 1000):
        consumed = record(targets)
        yield (
            f"router.route, {targets:,} targets, each",
            targets,
            partial(routing.route, consumed, lambda: None),
        )


def registry() -> Iterator[Operation]:
    held = ConnectionRegistry()
    for n in range(10_000):
        held.add(Sink(UserId(f"user-{n}")))
    other = Sink(UserId("other"))

    def there_and_back() -> None:
        held.add(other)
        held.remove(other)

    user = UserId("user-5000")
    yield "registry add, remove", 1, there_and_back
    yield "registry of_user", 1, lambda: held.of_user(user)


def kafka() -> Iterator[Operation]:
    outgoing = OutgoingRecord("t", b"c-1", b"v" * 250, (("trace_id", b"0" * 32), ("priority", b"normal")))
    entries = [Entry(n, outgoing, Ticket(), 400) for n in range(1000)]
    topic = Topic("t", max_record_bytes=1_000_000)

    def fill() -> None:
        lane = Lane(topic, 0)
        lane.waiting.extend(entries)
        lane.fill(Batch())

    yield "lanes.fill, a batch of 1,000, each", 1000, fill


def recall() -> Iterator[Operation]:
    recent: RecentMessages[int] = RecentMessages()
    numbers = iter(range(1 << 60))
    users = [UserId(f"user-{n}") for n in range(1000)]

    def fresh() -> None:
        n = next(numbers)
        user, key = users[n % 1000], (ConversationId("c-1"), f"m-{n}")
        if recent.find(user, key, 0.0) is None:
            recent.remember(user, key, Recalled(n, 0.0, None))

    yield "recall find, remember (200,000 held)", 1, fresh


def operations() -> Iterator[Operation]:
    for group in (codec, outbox, router, registry, kafka, recall):
        yield from group()


def nanoseconds(call: Callable[[], object], each: int, rounds: int) -> list[float]:
    calls, took = 1, 0.0
    while took < 0.02:
        calls *= 2
        took = once(call, calls)
    calls = max(int(calls * 0.1 / took), 1)
    return sorted(once(call, calls) / calls / each * 1e9 for _ in range(rounds))


def once(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


async def measure(only: str, rounds: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, each, call in operations():
        if only in name:
            if name.startswith("recall"):
                once(call, 200_000)
            values = nanoseconds(call, each, rounds)
            found[name] = {"least": values[0], "median": statistics.median(values), "most": values[-1]}
            print(f"{name:44} {found[name]['median']:10,.0f} ns   ({values[0]:,.0f} – {values[-1]:,.0f})", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose names hold this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    found = asyncio.run(measure(arguments.only, arguments.rounds))
    if arguments.json:
        written = {"machine": machine.description(sys.executable), "operations": found}
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()

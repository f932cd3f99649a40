"""Messages down: records written to the gateways' topics, and their arrival at the users."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from imgateway.adapters.kafka import KafkaAccess
from imgateway.adapters.kafka.topics import look_up
from imgateway.errors import ServiceUnavailableError
from imgateway_cli.bench.client import Client
from imgateway_cli.bench.link import Link
from imgateway_cli.bench.opening import Crowd, Member
from imgateway_cli.bench.plan import STOPPED_SECONDS, Down, Plan, Share
from imgateway_cli.bench.tally import Downward, count_reason

BATCH_RECORDS: Final = 200
MAX_BATCH_BYTES: Final = 900_000
MAX_UNACKNOWLEDGED_BATCHES: Final = 64

_POLL_SECONDS: Final = 0.01


class _Data(msgspec.Struct):
    conversationId: str = ""  # noqa: N815  # the protocol's names
    seqId: int = 0  # noqa: N815
    content: str = ""


class _Message(msgspec.Struct):
    type: str
    data: _Data


_message: Final = msgspec.json.Decoder(_Message)


@attrs.define(eq=False)
class Conversation:
    """Some users of one gateway, whom the same records are for.

    Attributes:
        written: records given to Kafka's client; also the highest `seq_id`.
        acknowledged: records that Kafka has.
    """

    name: str
    topic: str
    partition: int
    receivers: list["Receiver"]
    head: bytes
    written: int = 0
    acknowledged: int = 0


class Receiver:
    """One user: what has arrived of its conversation."""

    __slots__ = ("_missing", "_next", "_tally", "conversation", "received")

    def __init__(self, tally: Downward, client: Client) -> None:
        self.received = 0
        self.conversation: Conversation | None = None
        self._tally = tally
        self._next = 1
        self._missing: set[int] = set()  # at most as many as were written
        client.on_text = self._arrived

    def _arrived(self, text: bytes) -> None:
        now = time.monotonic_ns()
        try:
            message = _message.decode(text)
        except msgspec.DecodeError:
            return
        data, conversation, tally = message.data, self.conversation, self._tally
        if message.type != "new-message" or conversation is None or data.conversationId != conversation.name:
            return  # left from before, or somebody else's
        seq_id = data.seqId
        if seq_id >= self._next and seq_id <= conversation.written:
            self._missing.update(range(self._next, seq_id))
            self._next = seq_id + 1
        elif seq_id in self._missing:
            self._missing.discard(seq_id)
            tally.out_of_order += 1
        else:
            tally.duplicates += 1
            return
        self.received += 1
        tally.received += 1
        tally.span.see(now)
        tally.latency.add(now - int(data.content.partition(" ")[0]))


@asynccontextmanager
async def producing(down: Down) -> AsyncIterator[AIOKafkaProducer]:
    """A producer as a careful back end has it.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: Kafka does not answer.
    """
    access = KafkaAccess.from_settings(down.kafka)
    producer = AIOKafkaProducer(**access.options(), enable_idempotence=True, max_batch_size=MAX_BATCH_BYTES)
    try:
        async with access.attempt("Kafka"):
            await producer.start()
        yield producer
    finally:
        await producer.stop()


class Writing:
    """What a process writes, and what arrives at its users.

    Attributes:
        tally: how it goes.
    """

    def __init__(
        self, down: Down, plan: Plan, share: Share, crowd: Crowd, link: Link, producer: AIOKafkaProducer
    ) -> None:
        self.tally = Downward()
        self._down = down
        self._timeout = plan.timeout
        self._share = share
        self._members = crowd.members
        self._link = link
        self._producer = producer
        self._conversations: list[Conversation] = []
        self._total = None if down.messages is None else len(share.of(down.messages))
        self._turn = 0
        self._unacknowledged: deque[tuple[Awaitable[object], Counter[Conversation]]] = deque()

    async def prepare(self) -> None:
        """Divide the users into conversations, each at one gateway.

        Raises:
            ServiceUnavailableError: a gateway's topic is not there.
        """
        by_gateway: dict[str, list[Member]] = defaultdict(list)
        for member in self._members:
            by_gateway[member.gateway_id].append(member)
        partitioner = DefaultPartitioner()
        for gateway_id, members in by_gateway.items():
            self.tally.gateways[gateway_id] = len(members)
            topic = self._down.topic_prefix + gateway_id
            # The gateway has made it before it let the first client in.
            if topic not in (known := await look_up(self._producer.client, [topic])):
                raise ServiceUnavailableError(f"no topic {topic}: is this the gateway's Kafka, and the prefix right?")
            partitions = list(range(known[topic].partitions))
            for start in range(0, len(members), self._down.fan_out):
                some = members[start : start + self._down.fan_out]
                name = f"{self._down.name}-c{some[0].client.number}"
                partition = partitioner(name.encode(), partitions, partitions)
                receivers = [Receiver(self.tally, member.client) for member in some]
                conversation = Conversation(name, topic, partition, receivers, _head(name, some))
                for receiver in receivers:
                    receiver.conversation = conversation
                self._conversations.append(conversation)

    async def run(self, begin: int) -> None:
        """Write what is to be written, and wait for it to arrive."""
        self._link.watch(lambda: (self.tally.received, self.tally.write_errors.total()))
        await self._link.sleep_until(begin)
        end = None if self._down.seconds is None else begin + int(self._down.seconds * 1e9)
        while self._conversations and not self._link.stopped and (count := await self._next_count(begin, end)):
            await self._write(count)
        while self._unacknowledged:
            await self._acknowledged()
        await self._arrivals()
        for conversation in self._conversations:
            self.tally.written += conversation.acknowledged
            self.tally.expected += conversation.acknowledged * len(conversation.receivers)
            for receiver in conversation.receivers:
                self.tally.lost += max(0, conversation.acknowledged - receiver.received)

    async def _next_count(self, begin: int, end: int | None) -> int:
        """Wait until records are due; how many, 0 when there are to be no more."""
        left = BATCH_RECORDS if self._total is None else min(BATCH_RECORDS, self._total - self._turn)
        if self._down.rate is None:
            return 0 if end is not None and time.monotonic_ns() >= end else left
        due = self._share.due(self._turn, begin, self._down.rate)
        if end is not None and due >= end:
            return 0
        await self._link.sleep_until(due)
        now, count = time.monotonic_ns(), min(1, left)
        while count < left and self._share.due(self._turn + count, begin, self._down.rate) <= min(now, end or now):
            count += 1
        return count

    async def _write(self, count: int) -> None:
        places: dict[tuple[str, int], list[Conversation]] = defaultdict(list)
        for turn in range(self._turn, self._turn + count):
            conversation = self._conversations[turn % len(self._conversations)]
            places[conversation.topic, conversation.partition].append(conversation)
        self._turn += count
        for (topic, partition), conversations in places.items():
            waiting = deque(conversations)
            while waiting:
                batch, held = self._producer.create_batch(), Counter[Conversation]()
                while waiting and self._append(batch, waiting[0]):
                    held[waiting.popleft()] += 1
                if not held:
                    raise ServiceUnavailableError(f"a record exceeds {MAX_BATCH_BYTES:,} bytes: less --size, --fan-out")
                batch.close()
                sent = await self._producer.send_batch(batch, topic, partition=partition)
                self._unacknowledged.append((sent, held))
        while len(self._unacknowledged) > MAX_UNACKNOWLEDGED_BATCHES:
            await self._acknowledged()

    def _append(self, batch: object, conversation: Conversation) -> bool:
        now, seq_id = time.monotonic_ns(), conversation.written + 1
        content = f"{now} ".ljust(self._down.size, "x")
        tail = (
            f'"message_id":{seq_id},"seq_id":{seq_id},"timestamp":{time.time_ns() // 1_000_000},"content":"{content}"}}'
        )
        value = conversation.head + tail.encode()
        if batch.append(key=conversation.name.encode(), value=value, timestamp=None) is None:  # type: ignore[attr-defined]  # aiokafka has no types
            return False
        conversation.written = seq_id
        self.tally.span.see(now)
        return True

    async def _acknowledged(self) -> None:
        sent, held = self._unacknowledged.popleft()
        try:
            await sent
        except KafkaError as error:
            for _ in range(held.total()):
                count_reason(self.tally.write_errors, type(error).__name__)
            return
        for conversation, count in held.items():
            conversation.acknowledged += count

    async def _arrivals(self) -> None:
        """Wait until all has come, or nothing has for as long as is waited for answers."""
        wanted = sum(conversation.acknowledged * len(conversation.receivers) for conversation in self._conversations)
        before, since, patience = self.tally.received, time.monotonic(), self._timeout
        while self.tally.received < wanted and time.monotonic() - since < patience:
            await asyncio.sleep(_POLL_SECONDS)
            if self._link.stopped:
                patience = min(patience, STOPPED_SECONDS)
            elif self.tally.received != before:
                before, since = self.tally.received, time.monotonic()


def _head(name: str, members: list[Member]) -> bytes:
    targets = [member.user_id for member in members]
    fields = {"conversation_id": name, "sender_id": "bench", "message_type": 1}
    known = {"target_user_id": targets[0]} if len(targets) == 1 else {"target_user_ids": targets}
    return msgspec.json.encode(known | fields)[:-1] + b","

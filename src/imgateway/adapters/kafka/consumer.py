"""Reading a topic from Kafka: all partitions, assigned by hand, committed through a fence."""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence

import anyio
import attrs
from aiokafka import AIOKafkaConsumer, TopicPartition

from imgateway.adapters.kafka.access import KafkaAccess, begin
from imgateway.adapters.kafka.fence import CommitFence
from imgateway.adapters.kafka.positions import committed_positions, warn_of_members
from imgateway.adapters.kafka.reading import POLL_MS, Reading
from imgateway.adapters.kafka.topics import TopicPlan, asking, ensure_topics
from imgateway.errors import LifecycleError
from imgateway.model import ConsumedRecord

START_SECONDS = 60.0
FETCH_BYTES = 4 * 1024 * 1024
"""Of one partition at a time; a larger batch comes alone."""
STUCK_SECONDS = 60.0
CLOSE_SECONDS = 2.0

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class KafkaConsumer:
    """Implements `ports.DownstreamConsumer`; asyncio. For one reader of a topic: it never joins the group.

    A member that subscribes in the group would make its commits fail, and a second process that commits by hand could
    move positions back; so positions are committed in transactions whose id belongs to the gateway (`CommitFence`): a
    newer reader fences an older one.

    Reading starts at the committed position; without a valid one at the topic's beginning. What stood in the topic by
    then is marked `redelivered`. Records compressed with any of Kafka's codecs are read. One that can't be decoded
    comes as an empty record in its place. Of transactions only what was committed is read: records behind one that is
    still open wait for its end, or for its writer's `transaction.timeout.ms`.

    Attributes:
        plan: the topic; made if it does not exist and `create` allows it.
        group: under which positions are committed.
        transactional_id: of the fence.
        stuck_seconds: for how long the cluster may not answer, or records not come that are known to be there, before
            `take` asks for a new consumer.
    """

    access: KafkaAccess
    plan: TopicPlan
    group: str
    transactional_id: str
    create: bool = True
    stuck_seconds: float = STUCK_SECONDS
    _consumer: AIOKafkaConsumer | None = attrs.field(default=None, init=False)
    _fence: CommitFence | None = attrs.field(default=None, init=False)
    _reading: Reading | None = attrs.field(default=None, init=False)
    _highest: dict[int, int] = attrs.field(factory=dict, init=False)

    async def start(self) -> None:
        """Make the topic exist, fence older readers, find where to start, and commit that.

        Raises:
            ServiceUnavailableError: the cluster can't be reached or refuses; may be tried again.
        """
        await self.aclose()
        try:
            async with self.access.attempt(f"beginning to read {self.plan.name}", seconds=START_SECONDS):
                await self._start()
        except BaseException:
            await self.aclose()
            raise

    async def _start(self) -> None:
        topic = self.plan.name
        facts = (await ensure_topics(self.access, [self.plan], create=self.create))[topic]
        partitions = range(facts.partitions)
        # First of all: what an older reader commits after we have asked would be lost.
        self._fence = fence = CommitFence(self.access, self.group, self.transactional_id)
        await fence.start()
        async with asking(self.access) as client:
            committed = await committed_positions(client, self.group, topic, partitions)
            await warn_of_members(client, self.group)
        self._consumer = consumer = AIOKafkaConsumer(
            **self.access.options(),
            # Not known to the library: it would look for the group's coordinator, and we commit past it.
            group_id=None,
            # A position that becomes invalid while we read asks for a new consumer.
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        await begin(consumer.start())
        places = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(places)
        beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            position = committed.get(place.partition)
            if position is None or not beginnings[place] <= position <= ends[place]:
                position = beginnings[place]
            consumer.seek(place, position)
            self._highest[place.partition] = position
        fresh_from = {place.partition: end for place, end in ends.items()}
        # Shows whether we may commit before anything is handed out.
        await fence.commit(self._places(self._highest))
        self._reading = Reading(self.access, consumer, topic, dict(self._highest), fresh_from, self.stuck_seconds)

    async def take(self) -> Sequence[ConsumedRecord]:
        """The next records, partition by partition.

        Raises:
            LifecycleError: not started, or closed.
            FencedError: a newer reader has taken over.
            ServiceUnavailableError: reading or committing failed, or makes no progress; a new consumer may do better.
        """
        while True:
            if self._reading is None or self._fence is None:
                raise LifecycleError("the consumer is not started")
            self._fence.check()
            records = await self._reading.take()
            if records:
                return records

    async def commit(self, positions: Mapping[int, int], /) -> None:
        """Commit in a transaction: for each partition the highest position it was ever called with.

        Partitions that are not named are committed again as well, so that none is forgotten for its age.

        Raises:
            LifecycleError: not started, or closed.
            FencedError: a newer reader has taken over; it took no effect.
            ServiceUnavailableError: it is not known whether it took effect.
        """
        if self._fence is None:
            raise LifecycleError("the consumer is not started")
        for partition, position in self._highest.items():
            self._highest[partition] = max(position, positions.get(partition, position))
        await self._fence.commit(self._places(self._highest))

    def lag(self) -> int:
        """Records that the broker has told of but `take` has not handed out."""
        return 0 if self._reading is None else self._reading.lag()

    async def aclose(self) -> None:
        """Stop reading. Idempotent, not cancelled; takes `CLOSE_SECONDS` at most, less where the caller has less."""
        left = anyio.current_effective_deadline() - anyio.current_time()
        # One that was cancelled has set no time: then what is just being opened gets its moment to finish.
        seconds = CLOSE_SECONDS if left == -math.inf else max(0.0, min(left, CLOSE_SECONDS))
        self._reading = None
        consumer, self._consumer = self._consumer, None
        fence, self._fence = self._fence, None
        with anyio.CancelScope(shield=True):
            # At a time, so that a cluster that does not answer is not waited for twice.
            await asyncio.gather(
                *(() if consumer is None else (_end(consumer, seconds),)),
                *(() if fence is None else (fence.aclose(seconds),)),
            )

    def _places(self, positions: Mapping[int, int]) -> dict[TopicPartition, int]:
        return {TopicPartition(self.plan.name, partition): position for partition, position in positions.items()}


async def _end(consumer: AIOKafkaConsumer, seconds: float) -> None:
    # A task of its own: while the cluster is down the library may cancel whoever stops it.
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait([stopping], timeout=seconds)
    stopping.cancel()
    await asyncio.wait([stopping])
    if not stopping.cancelled() and (error := stopping.exception()) is not None:
        _log.debug("stopping a consumer failed", extra={"why": type(error).__name__})
    # Private, but where stopping fails its connections are left.
    await consumer._client.close()

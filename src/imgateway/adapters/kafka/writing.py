"""One producer's life: writing batches of our own, one in flight for each partition while the next collects.

A batch for every turn of the event loop would queue up behind the broker's round trips; this way each batch holds what
arrived during the one before it, and at least what arrived in the space that `Pace` puts between them.
"""

import asyncio
import logging
import re
from collections.abc import Iterable
from functools import partial

import anyio
import anyio.abc
import attrs
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from imgateway.adapters.kafka.access import KafkaAccess
from imgateway.adapters.kafka.backlog import Backlog
from imgateway.adapters.kafka.lanes import Lane, Topic
from imgateway.adapters.kafka.pace import Pace
from imgateway.adapters.kafka.reachability import Reachability
from imgateway.adapters.kafka.topics import TopicFacts, asking, ensure_topics, look_up
from imgateway.core.retrying import until_available
from imgateway.errors import ServiceUnavailableError
from imgateway.model import PublishFailure

RENEW_SECONDS = 10.0
"""How long other partitions' batches may take to settle before the producer is made anew."""
PROBE_SECONDS = 2.0
SLOW_SECONDS = 5.0
"""A batch in flight for so long, or no answer within it: the cluster is not available."""
LOOK_UPS = 5
LOOK_UP_PAUSE_SECONDS = 0.2

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_REFUSED = (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Writing:
    """Writes what the backlog holds and gets, until the producer has to be made anew.

    Each topic is looked for first: those of ours are waited for, or made; records for another one that does not exist
    are refused.

    A batch that the broker refuses leaves a gap in the sequence numbers of an idempotent producer, and everything
    behind it on that partition would be refused as well. So this is the producer's end, once the other partitions'
    batches are settled. So it is when the producer makes no progress though the cluster answers.

    Attributes:
        producer: started.
        create: whether topics of ours may be made.
        stuck_seconds: how long a batch may be in flight while the cluster answers a new client.
    """

    access: KafkaAccess
    producer: AIOKafkaProducer
    backlog: Backlog
    reachability: Reachability
    create: bool
    stuck_seconds: float
    _pace: Pace = attrs.field(factory=Pace)
    _over: anyio.Event = attrs.field(factory=anyio.Event)
    _stuck: bool = False
    _tasks: anyio.abc.TaskGroup | None = None

    async def run(self) -> None:
        """Return when a new producer is needed. What is in flight then may still be written, or not."""
        self.backlog.forget_idle()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for topic in self.backlog.topics.values():
                topic.begin_anew()
                self.tend(topic, None)
            tasks.start_soon(self._watch)
            await self._over.wait()
            if not self._stuck:
                with anyio.move_on_after(RENEW_SECONDS):
                    await self.backlog.landed()
            tasks.cancel_scope.cancel()

    def tend(self, topic: Topic, lane: Lane | None) -> None:
        """See to it that what was put there is written, now or by the next producer."""
        if (lane is not None and lane.busy) or self._tasks is None or self._over.is_set():
            return
        if topic.ready:
            if lane is not None:
                lane.busy = True
                self._tasks.start_soon(self._write, lane)
        elif not topic.searching:
            topic.searching = True
            self._tasks.start_soon(self._search, topic)

    async def _search(self, topic: Topic) -> None:
        facts = await until_available(f"topic {topic.name}", partial(self._find, topic))
        if facts is None:
            _log.error("records are refused: no such topic, or not for us", extra={"topic": topic.name})
            # First, so that a ticket may offer its record again.
            del self.backlog.topics[topic.name]
            self.backlog.failed(topic.refused(), PublishFailure.REFUSED)
            return
        topic.found(facts)
        for lane in topic.lanes:
            if lane.waiting:
                self.tend(topic, lane)

    async def _find(self, topic: Topic) -> TopicFacts | None:
        if topic.plan is not None:
            return (await ensure_topics(self.access, [topic.plan], create=self.create))[topic.name]
        if not _TOPIC_NAME.fullmatch(topic.name):
            return None
        async with self.access.attempt(f"looking for topic {topic.name}"), asking(self.access) as client:
            for _ in range(LOOK_UPS):
                try:
                    facts = (await look_up(client, [topic.name])).get(topic.name)
                except TopicAuthorizationFailedError:
                    return None
                if facts is not None:
                    return facts
                # One that was made just now is not known to every broker at once.
                await anyio.sleep(LOOK_UP_PAUSE_SECONDS)
        return None

    async def _write(self, lane: Lane) -> None:
        while lane.waiting and not self._over.is_set():
            # Time for others to add to the batch.
            await self._pace.turn()
            batch = self.producer.create_batch()
            lane.fill(batch)
            self._pace.carried += len(lane.in_flight)
            if not lane.in_flight:
                await self._check_size(lane)
                continue
            lane.since = anyio.current_time()
            try:
                future = await self._send(lane, batch)
            except KafkaError as error:
                # Nothing was sent.
                lane.put_back()
                self._give_up(lane, error)
                return
            try:
                written = await future
            except KafkaError as error:
                self._refused(lane, error)
                self._give_up(lane, error)
                return
            self.backlog.written(lane, written.offset)
        lane.busy = False

    async def _send(self, lane: Lane, batch: BatchBuilder) -> "asyncio.Future[RecordMetadata]":
        topic = lane.topic.name
        if lane.partition not in await self.producer.partitions_for(topic):
            raise UnknownTopicOrPartitionError(topic)
        future: asyncio.Future[RecordMetadata] = await self.producer.send_batch(batch, topic, partition=lane.partition)
        return future

    async def _check_size(self, lane: Lane) -> None:
        """The first record is larger than the broker took when it was asked: see whether it still is."""
        topic = lane.topic
        facts = await until_available(f"topic {topic.name}", partial(self._find, topic))
        if facts is not None:
            topic.max_record_bytes = facts.max_message_bytes
        if lane.waiting[0].size > topic.max_record_bytes:
            self.backlog.failed([lane.waiting.popleft()], PublishFailure.TOO_LARGE)

    def _refused(self, lane: Lane, error: KafkaError) -> None:
        """What it means for the records of a batch that the producer gave back."""
        if isinstance(error, _TOO_LARGE):
            # The limit was lowered since we asked.
            if len(lane.in_flight) > 1:
                lane.topic.smaller_batches(sum(entry.size for entry in lane.in_flight))
                lane.put_back()
                return
            failure = PublishFailure.TOO_LARGE
        else:
            failure = PublishFailure.REFUSED if isinstance(error, _REFUSED) else PublishFailure.UNKNOWN
        self.backlog.failed(lane.landed(), failure)

    def _give_up(self, lane: Lane, error: KafkaError) -> None:
        _log.error(
            "a batch was not written; the producer is made anew",
            extra={"topic": lane.topic.name, "partition": lane.partition, "why": type(error).__name__},
        )
        self._over.set()

    async def _watch(self) -> None:
        """Notice when the cluster does not answer, and when the producer is stuck though it does."""
        while True:
            await anyio.sleep(min(PROBE_SECONDS, self.stuck_seconds / 4))
            in_flight = self.backlog.lanes_in_flight()
            # Only those that must be there: another one may have been deleted.
            ours = _since(lane for lane in in_flight if lane.topic.plan is not None)
            since = _since(in_flight)
            if not await self._answers():
                self.reachability.lost("no answer")
            elif ours is not None and anyio.current_time() - ours > SLOW_SECONDS:
                self.reachability.lost(f"a batch has not been answered for {SLOW_SECONDS:g} s")
            else:
                self.reachability.back()
            if since is None or anyio.current_time() - since < self.stuck_seconds:
                continue
            try:
                async with self.access.attempt("a new connection", seconds=SLOW_SECONDS), asking(self.access):
                    pass
            except ServiceUnavailableError:
                continue
            if _since(self.backlog.lanes_in_flight()) == since:
                _log.error("the producer makes no progress though the cluster answers; it is made anew")
                self._stuck = True
                self._over.set()
                return

    async def _answers(self) -> bool:
        with anyio.move_on_after(SLOW_SECONDS):
            return bool(await self.producer.client.force_metadata_update())
        return False


def _since(lanes: Iterable[Lane]) -> float | None:
    """When the oldest batch was sent."""
    return min((lane.since for lane in lanes), default=None)

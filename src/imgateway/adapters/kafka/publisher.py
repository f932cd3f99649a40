"""Writing records to Kafka."""

from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import attrs
from aiokafka import AIOKafkaProducer

from imgateway.adapters.kafka.access import KafkaAccess, begin
from imgateway.adapters.kafka.backlog import Backlog
from imgateway.adapters.kafka.lanes import BATCH_BYTES, Topic
from imgateway.adapters.kafka.producing import END_SECONDS, end_producer
from imgateway.adapters.kafka.reachability import Reachability
from imgateway.adapters.kafka.topics import TopicPlan
from imgateway.adapters.kafka.writing import Writing
from imgateway.core.retrying import until_available
from imgateway.model import OutgoingRecord, PublishFailure
from imgateway.ports import PublishTicket

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The client's own limit is not the one that counts: the broker's is."""
START_SECONDS = 30.0
CLOSE_SECONDS = 5.0
RENEW_PAUSE_SECONDS = 0.1
STUCK_SECONDS = 60.0


@attrs.define(eq=False)
class KafkaPublisher:
    """Implements `ports.UpstreamPublisher` with an idempotent producer, acks=all. Runs within `async with`; asyncio.

    Entering returns at once. What is offered before the cluster and its topic are there waits for them; so it does
    through outages: with idempotence a batch whose outcome is unclear is tried on and on, in its place in the order,
    and a ticket may be settled long after its caller has stopped waiting. The partition of a record is the murmur2
    hash of its key, as Kafka's own clients choose it.

    Records may be offered for any topic. One that is not among `plans` must exist: else they are settled `REFUSED`.
    A record that the broker would never take is settled `TOO_LARGE` without being sent (`max.message.bytes`).

    When the producer has to be made anew (see `Writing`), what it had in flight and may have written is settled
    `UNKNOWN`.

    Attributes:
        plans: the topics of ours.
        create: whether they may be made where they do not exist.
        max_records: how many records may wait, over all topics.
        max_bytes: how many bytes of them.
        stuck_seconds: after how long without progress the producer is made anew although the cluster answers.
    """

    access: KafkaAccess
    plans: tuple[TopicPlan, ...] = ()
    create: bool = True
    max_records: int = 100_000
    max_bytes: int = 256 * 1024 * 1024
    stuck_seconds: float = STUCK_SECONDS
    _backlog: Backlog = attrs.field(init=False)
    _reachability: Reachability = attrs.field(factory=lambda: Reachability("publisher"), init=False)
    _writing: Writing | None = attrs.field(default=None, init=False)
    _closing: bool = attrs.field(default=False, init=False)
    _flushed_in_vain: bool = attrs.field(default=False, init=False)
    _life: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _tasks: anyio.abc.TaskGroup | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._backlog = Backlog(self.max_records, self.max_bytes)
        for plan in self.plans:
            self._backlog.topics[plan.name] = Topic(plan.name, plan)

    @property
    def available(self) -> bool:
        """Whether the cluster answers and has every topic of ours."""
        topics = self._backlog.topics
        return (
            self._writing is not None
            and not self._reachability.lost_for
            and all(topics[plan.name].ready for plan in self.plans)
        )

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            # The body's exception shall come out as it is, not wrapped into a group by tasks that had no part in it.
            await tasks.__aexit__(None, None, None)

    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        """Take a record for writing, unless too much waits already or the publisher does not run."""
        if self._tasks is None or self._closing:
            return False
        taken = self._backlog.take(record, ticket)
        if taken is None:
            return False
        if self._writing is not None:
            self._writing.tend(*taken)
        return True

    async def flush(self) -> None:
        """Wait until every record taken before this call is settled."""
        self._flushed_in_vain = True
        await self._backlog.settled()
        self._flushed_in_vain = False

    async def aclose(self) -> None:
        """Write out what was taken, for at most `CLOSE_SECONDS`; the rest is settled `UNKNOWN`. Idempotent.

        Where a caller of `flush` has given up already, nothing more is waited for.
        """
        self._closing = True
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            if self._writing is not None and not self._flushed_in_vain:
                await self.flush()
        # Not the task group's own scope: the caller is within that one as well.
        self._life.cancel()
        self._land()
        for topic in self._backlog.topics.values():
            self._backlog.failed(topic.refused(), PublishFailure.UNKNOWN)

    async def _run(self) -> None:
        with self._life:
            while True:
                producer = await until_available("kafka producer", self._start)
                try:
                    self._reachability.back()
                    self._writing = Writing(
                        self.access, producer, self._backlog, self._reachability, self.create, self.stuck_seconds
                    )
                    await self._writing.run()
                finally:
                    self._writing = None
                    self._land()
                    await end_producer(producer, 0.0 if self._closing and self._flushed_in_vain else END_SECONDS)
                await anyio.sleep(RENEW_PAUSE_SECONDS)

    def _land(self) -> None:
        """Settle what is in flight: nobody will hear of it any more."""
        for lane in self._backlog.lanes_in_flight():
            self._backlog.failed(lane.landed(), PublishFailure.UNKNOWN)

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self.access.options(),
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        try:
            async with self.access.attempt("starting a producer", seconds=START_SECONDS):
                await begin(producer.start())
        except BaseException:
            await end_producer(producer)
            raise
        return producer

"""Reading the partitions of a topic: nothing is lost by what can't be decoded, and it is noticed when nothing comes."""

import logging
from collections import deque
from collections.abc import Sequence

import anyio
import attrs
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from imgateway.adapters.kafka.access import KafkaAccess
from imgateway.adapters.kafka.pace import Pace
from imgateway.adapters.kafka.reachability import Reachability
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConsumedRecord

MAX_RECORDS = 2000
POLL_MS = 1000
PROBE_SECONDS = 5.0
ANSWER_SECONDS = 5.0

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Reading:
    """Takes from a consumer whose partitions are assigned.

    Attributes:
        positions: for each partition the offset that comes next.
        fresh_from: for each partition the offset from which on records can't have been handed out before.
        stuck_seconds: for how long the cluster may not answer, or records not come that are known to be there.
    """

    access: KafkaAccess
    consumer: AIOKafkaConsumer
    topic: str
    positions: dict[int, int]
    fresh_from: dict[int, int]
    stuck_seconds: float
    _pace: Pace = attrs.field(factory=Pace)
    _reachability: Reachability = attrs.field(factory=lambda: Reachability("consumer"))
    _probe_at: float = 0.0
    _behind_since: float | None = None
    _partitions_differ: bool = False
    _suspects: deque[int] = attrs.field(factory=deque)
    _stepping: bool = False

    async def take(self) -> Sequence[ConsumedRecord]:
        """What has come, perhaps nothing. Cancelling loses nothing.

        Raises:
            ServiceUnavailableError: only a new consumer may do better.
        """
        if anyio.current_time() >= self._probe_at:
            await self._probe()
        await self._pace.turn()
        records = await (self._take_suspect() if self._suspects else self._take_all())
        if records:
            self._pace.carried += len(records)
            self._behind_since = None
        return records

    def lag(self) -> int:
        """Records that the broker has told of but `take` has not handed out."""
        lag = 0
        for partition, position in self.positions.items():
            end = self.consumer.highwater(self._place(partition))
            lag += max(0, (end or 0) - position)
        return lag

    async def _take_all(self) -> Sequence[ConsumedRecord]:
        try:
            batches = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=MAX_RECORDS)
        except Exception as error:
            self._check_decoding(error)
            # What was decoded of other partitions is lost with the exception: read it again.
            for partition in self.positions:
                self._rewind(partition)
            self._suspects.extend(self.positions)
            return ()
        if batches:
            return [self._taken(record) for records in batches.values() for record in records]
        await self._pass_markers()
        return ()

    async def _take_suspect(self) -> Sequence[ConsumedRecord]:
        """From one partition at a time, and then one record at a time, until it is known which one it is."""
        partition = self._suspects[0]
        place, limit = self._place(partition), 1 if self._stepping else MAX_RECORDS
        try:
            batches = await self.consumer.getmany(place, timeout_ms=POLL_MS, max_records=limit)
        except Exception as error:
            self._check_decoding(error)
            if self._stepping:
                self._suspects.clear()
                self._stepping = False
                return [self._stand_in(partition, error)]
            self._stepping = True
            self._rewind(partition)
            return ()
        if not self._stepping or not batches:
            self._suspects.popleft()
            self._stepping = False
        return [self._taken(record) for record in batches.get(place, ())]

    def _check_decoding(self, error: Exception) -> None:
        transient = isinstance(error, OSError | MemoryError | AssertionError)
        if transient or (isinstance(error, KafkaError) and not isinstance(error, CorruptRecordException)):
            raise ServiceUnavailableError(f"reading {self.topic}: {type(error).__name__}: {error}") from error

    def _stand_in(self, partition: int, error: Exception) -> ConsumedRecord:
        """An empty record in the place of one that can't be decoded: garbage like any other."""
        offset = self.positions[partition]
        _log.error(
            "a record can't be decoded",
            extra={"topic": self.topic, "partition": partition, "offset": offset, "why": type(error).__name__},
        )
        self.positions[partition] = offset + 1
        self._rewind(partition)
        return ConsumedRecord(partition, offset, b"", b"")

    def _taken(self, record: ConsumerRecord) -> ConsumedRecord:
        partition, offset = record.partition, record.offset
        self.positions[partition] = offset + 1
        return ConsumedRecord(
            partition,
            offset,
            record.key or b"",
            record.value or b"",
            # Kafka allows a header without a value.
            tuple((name, value or b"") for name, value in record.headers) if record.headers else (),
            redelivered=offset < self.fresh_from.get(partition, 0),
        )

    async def _pass_markers(self) -> None:
        """Markers of transactions take offsets as well, but are not handed out."""
        for partition in self.positions:
            self.positions[partition] = await self.consumer.position(self._place(partition))

    async def _probe(self) -> None:
        """Ask the cluster for what ought to come.

        Raises:
            ServiceUnavailableError: it has not answered for too long, has records that don't come, or the topic is
                gone or has other partitions than before.
        """
        self._probe_at = anyio.current_time() + PROBE_SECONDS
        differed = self._partitions_differ
        self._partitions_differ = self.consumer.partitions_for_topic(self.topic) != set(self.positions)
        if self._partitions_differ:
            # Once may be a broker that is not up to date.
            if differed:
                raise ServiceUnavailableError(f"{self.topic} is gone, or has other partitions than before")
            return
        places = [self._place(partition) for partition in self.positions]
        try:
            async with self.access.attempt(f"reading {self.topic}", seconds=ANSWER_SECONDS):
                ends = await self.consumer.end_offsets(places)
        except ServiceUnavailableError as error:
            self._reachability.lost(str(error))
            if self._reachability.lost_for > self.stuck_seconds:
                raise
            return
        self._reachability.back()
        if all(self.positions[place.partition] >= end for place, end in ends.items()):
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = anyio.current_time()
        elif anyio.current_time() - self._behind_since > self.stuck_seconds:
            raise ServiceUnavailableError(f"{self.topic} has records but none arrive")

    def _rewind(self, partition: int) -> None:
        self.consumer.seek(self._place(partition), self.positions[partition])

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)

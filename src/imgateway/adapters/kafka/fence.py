"""Committing positions so that an older process with the same gateway id can't move them back."""

import asyncio
import logging
from collections.abc import Mapping

import anyio
import attrs
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from imgateway.adapters.kafka.access import KafkaAccess, begin
from imgateway.adapters.kafka.producing import END_SECONDS, end_producer
from imgateway.errors import FencedError, ServiceUnavailableError

TRANSACTION_TIMEOUT_MS = 60_000
COMMIT_SECONDS = 30.0

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class CommitFence:
    """Commits by a transactional producer.

    Its id belongs to one gateway id, and whoever starts last with it fences the others (KIP-98). The transactions
    write control records into the offsets topic only, never into the topic that is read.

    An attempt is not given up when its caller stops waiting: an interrupted transaction leaves the library's producer
    in a state it does not come out of, and a new producer would fence whoever came after us.

    Attributes:
        failure: why nothing can be committed any more; a new fence may.
    """

    access: KafkaAccess
    group: str
    transactional_id: str
    failure: ServiceUnavailableError | None = None
    _producer: AIOKafkaProducer | None = attrs.field(default=None, init=False)
    _attempt: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _one_at_a_time: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)

    async def start(self) -> None:
        """Fence whoever used the id before, and wait for the end of what it was committing.

        Raises:
            KafkaError: the cluster refuses.
        """
        self._producer = AIOKafkaProducer(
            **self.access.options(),
            transactional_id=self.transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        await begin(self._producer.start())

    async def commit(self, positions: Mapping[TopicPartition, int], /) -> None:
        """Commit the positions in one transaction, after those of earlier calls.

        Raises:
            ServiceUnavailableError: it is not known whether it took effect; see `failure`.
        """
        async with self._one_at_a_time:
            await self._finish()
            self._attempt = asyncio.create_task(self._commit(dict(positions)), name="commit")
            await self._finish()

    def check(self) -> None:
        """See whether committing may work.

        Raises:
            ServiceUnavailableError: see `failure`.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    async def aclose(self, seconds: float = END_SECONDS) -> None:
        """Commit no more; answers that may be near are waited for so long. Idempotent."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_producer(producer, seconds)

    async def _finish(self) -> None:
        """Wait for the attempt that is being made, if there is one."""
        attempt = self._attempt
        if attempt is not None:
            if not (await asyncio.wait([attempt], timeout=COMMIT_SECONDS))[0]:
                raise ServiceUnavailableError(f"no answer within {COMMIT_SECONDS:g} s; it is tried on")
            if attempt.cancelled():
                raise ServiceUnavailableError("closed before it was committed")
        self.check()

    async def _commit(self, positions: dict[TopicPartition, int]) -> None:
        if self._producer is None:
            return
        try:
            await self._producer.begin_transaction()
            await self._producer.send_offsets_to_transaction(positions, self.group)
            await self._producer.commit_transaction()
        except ProducerFenced as error:
            _look_at_end(self._producer)
            self.failure = FencedError(
                f"transactional id {self.transactional_id} was taken by another process with the same gateway id, "
                f"or a commit took longer than {TRANSACTION_TIMEOUT_MS // 1000} s"
            )
            self.failure.__cause__ = error
        except Exception as error:
            # Whatever it is: after a failed transaction the library's producer is of no use.
            _look_at_end(self._producer)
            self.failure = ServiceUnavailableError(f"{type(error).__name__}: {error}")
            self.failure.__cause__ = error


def _look_at_end(producer: AIOKafkaProducer) -> None:
    """The library puts one exception into two futures, and the one that nobody awaits would be logged by asyncio."""
    end = producer._txn_manager.wait_for_transaction_end()  # private: there is no other way to it
    if end is not None and end.done() and not end.cancelled():
        end.exception()

"""What goes down to the gateways, in the order in which it came about."""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import anyio
import attrs

from imgateway.core.retrying import until_available
from imgateway.core.topics import Topics
from imgateway.model import ConversationId, GatewayId, OutgoingRecord, PublishFailure, Receipt, UserId
from imgateway.ports import SessionStore, UpstreamPublisher

MAX_WAITING: Final = 1000

_log = logging.getLogger(__name__)


class _Ticket:
    """Logs a record that was not written: clients find the hole by `seqId` and pull."""

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        if isinstance(outcome, PublishFailure):
            _log.warning("a downstream record may be lost", extra={"why": outcome.value})


_TICKET = _Ticket()


@attrs.frozen
class Announcement:
    """Something for users, wherever they are.

    Attributes:
        conversation_id: announcements of one conversation stay in order.
        user_ids: whom it is for.
        encode: the record for some of them.
    """

    conversation_id: ConversationId
    user_ids: Collection[UserId]
    encode: Callable[[list[UserId]], bytes]


@attrs.define(eq=False)
class Distribution:
    """One record for each gateway: that of a user's newest connection passes it on to the others they are on."""

    downstream: UpstreamPublisher
    sessions: SessionStore
    topics: Topics
    _waiting: deque[Announcement] = attrs.field(factory=deque)
    _offered: int = 0
    _done: int = 0
    _changed: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should come about."""
        return len(self._waiting) >= MAX_WAITING

    def offer(self, announcement: Announcement, /) -> None:
        """Take it over. Never blocks; who offers much looks at `is_full` before, or waits for `caught_up` after."""
        self._waiting.append(announcement)
        self._offered += 1
        self._wake()

    async def caught_up(self) -> None:
        """Return when everything offered before this call was handed to the publisher and is durable."""
        until = self._offered
        while self._done < until:
            await self._changed.wait()
        await self.downstream.flush()

    async def run(self) -> None:
        """Work until cancelled. A session store that is down holds everything up until it is back."""
        while True:
            while not self._waiting:
                await self._changed.wait()
            await self._send(self._waiting.popleft())
            self._done += 1
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _send(self, announcement: Announcement) -> None:
        by_gateway: defaultdict[GatewayId, list[UserId]] = defaultdict(list)
        for user_id in announcement.user_ids:
            sessions = await until_available("session store", partial(self.sessions.lookup, user_id))
            if sessions:
                by_gateway[sessions[0].gateway_id].append(user_id)
        key = announcement.conversation_id.encode()
        for gateway_id, targets in by_gateway.items():
            record = OutgoingRecord(self.topics.downstream(gateway_id), key, announcement.encode(targets))
            if not self.downstream.offer(record, _TICKET):
                await self.downstream.flush()
                if not self.downstream.offer(record, _TICKET):
                    _log.warning("a downstream record is lost", extra={"why": "the publisher takes none"})

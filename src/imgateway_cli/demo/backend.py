"""The demo's back end: what stands behind the gateway in a real system, in miniature.

It knows the gateway only by what every back end knows: the upstream topic, the downstream topics and the session store.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import anyio
import attrs
from anyio.abc import TaskStatus

from imgateway.core.retrying import until_available
from imgateway.core.topics import Topics
from imgateway.model import ConversationId, GatewayId, OutgoingRecord, PublishFailure, Receipt, UserId
from imgateway.ports import Clock, DownstreamConsumer, SessionStore, UpstreamPublisher
from imgateway_cli.demo.conversations import LOBBY, Conversations
from imgateway_cli.demo.records import ReadUpTo, WrittenMessage, read_upstream, write_message, write_signal

_log = logging.getLogger(__name__)


class _Ticket:
    """Logs a record that was not written: the page finds the hole by `seqId` and pulls."""

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        if isinstance(outcome, PublishFailure):
            _log.warning("a downstream record may be lost", extra={"why": outcome.value})


_TICKET = _Ticket()


@attrs.define(eq=False)
class DemoBackEnd:
    """Gives every message its place in its conversation and fans it out to the members who are online.

    Messages of a conversation get ascending `seq_id` in the order of the upstream topic, and go down in that order.

    Attributes:
        upstream: reads the upstream topic; started and closed by `run`.
        downstream: writes to the gateways' topics; stays its owner's to close.
        sessions: says who is on which gateway; stays its owner's to close.
        topics: how the topics are called.
        presence_seconds: how often it looks who came and went.
        conversations: everything it remembers, lost when it ends.
    """

    upstream: DownstreamConsumer
    downstream: UpstreamPublisher
    sessions: SessionStore
    clock: Clock
    topics: Topics = attrs.field(factory=Topics)
    presence_seconds: float = 1.0
    conversations: Conversations = attrs.field(factory=Conversations)
    _online: frozenset[UserId] = frozenset()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; leaves nothing behind but its memory. Started once the upstream topic is being read.

        Raises:
            ServiceUnavailableError: reading can't begin, or can't go on. A session store that is down, or a commit
                that fails, is tried again.
        """
        try:
            await self.upstream.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._relay)
                tasks.start_soon(self._watch_presence)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self.upstream.aclose()

    async def is_online(self, user_id: UserId, /) -> bool:
        """Whether the user has a live connection on any gateway."""
        return bool(await until_available("session store", partial(self.sessions.lookup, user_id)))

    async def _relay(self) -> None:
        while True:
            records = await self.upstream.take()
            for record in records:
                match read_upstream(record.value):
                    case WrittenMessage() as written:
                        await self._post(written)
                    case ReadUpTo() as read:
                        await self._mark_read(read)
                    case None:
                        where = {"partition": record.partition, "offset": record.offset}
                        _log.warning("skipped an upstream record", extra=where)
            await self.downstream.flush()
            positions = {record.partition: record.offset + 1 for record in records}
            await until_available("broker", partial(self.upstream.commit, positions))

    async def _post(self, written: WrittenMessage) -> None:
        message = self.conversations.post(
            written.user_id,
            written.conversation_id,
            written.content,
            written.message_type,
            written.client_msg_id,
            written.timestamp,
            written.extra,
        )
        if message is not None:
            await self._fan_out(
                message.conversation_id,
                self.conversations.members(message.conversation_id),
                lambda targets: write_message(message, written.trace_id, targets),
            )

    async def _mark_read(self, read: ReadUpTo) -> None:
        mark = self.conversations.mark_read(read.user_id, read.conversation_id, read.seq_id)
        if mark is not None:
            payload = {"conversationId": read.conversation_id, "userId": read.user_id, "seqId": mark}
            members = self.conversations.members(read.conversation_id)
            await self._signal(read.conversation_id, members, "message.read", payload)

    async def _watch_presence(self) -> None:
        while True:
            await anyio.sleep(self.presence_seconds)
            people = {person.user_id: person for person in self.conversations.people}
            online = frozenset([user_id for user_id in people if await self.is_online(user_id)])
            for user_id in online ^ self._online:
                signal_type = "user.online" if user_id in online else "user.offline"
                payload = {"userId": user_id, "name": self.conversations.person(user_id).name}
                await self._signal(LOBBY, online, signal_type, payload)
            self._online = online

    async def _signal(
        self, conversation_id: ConversationId, members: Iterable[UserId], signal_type: str, payload: Mapping[str, Any]
    ) -> None:
        timestamp = self.clock.now()
        await self._fan_out(
            conversation_id, members, lambda targets: write_signal(signal_type, payload, timestamp, targets)
        )

    async def _fan_out(
        self,
        conversation_id: ConversationId,
        members: Iterable[UserId],
        encode: Callable[[list[UserId]], bytes],
    ) -> None:
        """One record for each gateway: that of a member's newest connection passes it on to the others they are on."""
        by_gateway: defaultdict[GatewayId, list[UserId]] = defaultdict(list)
        for user_id in members:
            sessions = await until_available("session store", partial(self.sessions.lookup, user_id))
            if sessions:
                by_gateway[sessions[0].gateway_id].append(user_id)
        for gateway_id, targets in by_gateway.items():
            record = OutgoingRecord(self.topics.downstream(gateway_id), conversation_id.encode(), encode(targets))
            if not self.downstream.offer(record, _TICKET):
                await self.downstream.flush()
                if not self.downstream.offer(record, _TICKET):
                    _log.warning("a downstream record is lost", extra={"why": "the publisher takes none"})

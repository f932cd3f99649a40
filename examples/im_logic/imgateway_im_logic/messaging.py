"""Between the gateway's topics and the conversations: what goes up comes down, in order, to everyone it is for.

It knows the gateway only by what every back end knows: the upstream topic, the downstream topics, the session store.
"""

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import anyio
import attrs
import grpc
from anyio.abc import TaskStatus

from imgateway.core.retrying import until_available
from imgateway.core.topics import Topics
from imgateway.model import ConsumedRecord, ConversationId, UserId
from imgateway.ports import Clock, DownstreamConsumer, SessionStore, UpstreamPublisher
from imgateway_im_logic.accounts import Accounts
from imgateway_im_logic.conversations import WORLD, ChatMessage, Conversation, Conversations
from imgateway_im_logic.distribution import Announcement, Distribution
from imgateway_im_logic.posting import Posting, Written
from imgateway_im_logic.records import ReadUpTo, read_upstream, write_message, write_signal
from imgateway_im_logic.refusals import RefusedError
from imgateway_im_logic.watching import Watchers

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Messaging:
    """Gives every message its place in its conversation and fans it out to the members who are online.

    Messages of a conversation get ascending `seq_id` in the order of the upstream topic, and go down in that order;
    those that came over gRPC stand between them.

    Attributes:
        upstream: reads the upstream topic; started and closed by `run`.
        distribution: writes to the gateways' topics.
        sessions: says who is on which gateway; stays its owner's to close.
        presence_seconds: how often it looks who came and went.
    """

    upstream: DownstreamConsumer
    distribution: Distribution
    sessions: SessionStore
    clock: Clock
    accounts: Accounts
    conversations: Conversations
    posting: Posting
    watchers: Watchers
    presence_seconds: float = 1.0
    _online: frozenset[UserId] = frozenset()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. Started once the upstream topic is being read.

        Raises:
            ServiceUnavailableError: reading can't begin, or can't go on. A session store that is down, or a commit
                that fails, is tried again.
        """
        try:
            await self.upstream.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.distribution.run)
                tasks.start_soon(self._relay)
                tasks.start_soon(self._watch_presence)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self.upstream.aclose()

    def send(self, written: Written, /) -> ChatMessage:
        """Write a message that came over gRPC, and have it fanned out. Known already where it was written before.

        Raises:
            RefusedError: the user may not, or more is waiting to go down than can be kept.
        """
        if self.distribution.is_full:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, "Too many messages wait for the gateways.", retry_after=1)
        return self._post(written)

    def mark_read(self, user_id: UserId, conversation: Conversation, seq_id: int, /) -> None:
        """Move a member's read mark forward, and tell the members if it moved."""
        mark = conversation.mark_read(user_id, seq_id)
        if mark is not None:
            self.signal(conversation, "message.read", {"userId": user_id, "seqId": mark})

    def signal(
        self,
        conversation: Conversation,
        signal_type: str,
        payload: Mapping[str, Any],
        also: Collection[UserId] = (),
        /,
    ) -> None:
        """Tell the members, and others, of something about a conversation; dropped while too much waits."""
        whole = {"conversationId": conversation.conversation_id, **payload}
        self._announce(conversation.conversation_id, (*conversation.members, *also), signal_type, whole)

    async def is_online(self, user_id: UserId, /) -> bool:
        """Whether the user has a live connection on any gateway.

        Raises:
            ServiceUnavailableError: the session store is down.
        """
        return bool(await self.sessions.lookup(user_id))

    async def _relay(self) -> None:
        while True:
            records = await self.upstream.take()
            for record in records:
                if self.distribution.is_full:
                    await self.distribution.caught_up()
                self._handle(record)
            await self.distribution.caught_up()
            positions = {record.partition: record.offset + 1 for record in records}
            await until_available("broker", partial(self.upstream.commit, positions))

    def _handle(self, record: ConsumedRecord) -> None:
        try:
            match read_upstream(record.value):
                case Written() as written:
                    self._post(written)
                case ReadUpTo() as read:
                    self.accounts.meet(read.user_id, self.clock.now())
                    conversation = self.conversations.entered(read.user_id, read.conversation_id)
                    self.mark_read(read.user_id, conversation, read.seq_id)
                case None:
                    self._skipped(record, "it can't be read")
        except RefusedError as refusal:
            self._skipped(record, str(refusal))

    @staticmethod
    def _skipped(record: ConsumedRecord, why: str) -> None:
        where = {"partition": record.partition, "offset": record.offset, "why": why}
        _log.warning("skipped an upstream record", extra=where)

    def _post(self, written: Written) -> ChatMessage:
        conversation, message, is_new = self.posting.post(written)
        if is_new:
            encode = partial(write_message, message, written.trace_id)
            members = tuple(conversation.members)
            self.distribution.offer(Announcement(conversation.conversation_id, members, encode))
            self.watchers.tell(conversation, message)
        return message

    async def _watch_presence(self) -> None:
        while True:
            await anyio.sleep(self.presence_seconds)
            people = {user.user_id: user for user in self.accounts.everyone}
            online = set()
            for user_id in people:
                if await until_available("session store", partial(self.sessions.lookup, user_id)):
                    online.add(user_id)
            for user_id in online ^ self._online:
                signal_type = "user.online" if user_id in online else "user.offline"
                payload = {"userId": user_id, "name": self.accounts.shown(user_id).username}
                if self.distribution.is_full:
                    await self.distribution.caught_up()
                # To everyone, not to those found online a moment ago: somebody may have come since.
                self._announce(WORLD, tuple(people), signal_type, payload)
            self._online = frozenset(online)

    def _announce(
        self, about: ConversationId, user_ids: Collection[UserId], signal_type: str, payload: Mapping[str, Any]
    ) -> None:
        if self.distribution.is_full:
            _log.warning("a signal is dropped", extra={"signal_type": signal_type})
            return
        timestamp = self.clock.now()

        def encode(targets: list[UserId]) -> bytes:
            return write_signal(signal_type, payload, timestamp, targets)

        self.distribution.offer(Announcement(about, user_ids, encode))


def messaging(
    *,
    upstream: DownstreamConsumer,
    downstream: UpstreamPublisher,
    sessions: SessionStore,
    clock: Clock,
    topics: Topics | None = None,
    presence_seconds: float = 1.0,
) -> Messaging:
    """A back end that knows nobody yet. `downstream` and `sessions` stay their owner's to close."""
    conversations = Conversations.begin(clock.now())
    accounts = Accounts(
        on_new=lambda user: conversations.enter_world(user.user_id, user.created_at),
        on_forgotten=conversations.leave_world,
    )
    return Messaging(
        upstream=upstream,
        distribution=Distribution(downstream, sessions, topics or Topics()),
        sessions=sessions,
        clock=clock,
        accounts=accounts,
        conversations=conversations,
        posting=Posting(accounts, conversations),
        watchers=Watchers(),
        presence_seconds=presence_seconds,
    )

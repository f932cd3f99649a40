"""Who sent what, who got what, and what that must add up to."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import attrs


@attrs.define
class Ledger:
    """Everything that happened, kept by the test's own clients and its own readers of Kafka.

    Attributes:
        sent: message ids by (user, conversation), in the order sent.
        acked: message ids that a gateway acknowledged, with the place it named.
        produced: downstream message id to the user it was for and its place in the conversation.
        received: what each user got, in order: (message id, conversation, seq id, redelivered).
    """

    sent: defaultdict[tuple[str, str], list[str]] = attrs.field(factory=lambda: defaultdict(list))
    acked: dict[str, tuple[str, int, int]] = attrs.field(factory=dict)
    produced: dict[str, tuple[str, str, int]] = attrs.field(factory=dict)
    received: defaultdict[str, list[tuple[str, str, int, bool]]] = attrs.field(factory=lambda: defaultdict(list))

    def all_acked(self) -> bool:
        """Whether no sender waits any more."""
        return len(self.acked) >= sum(map(len, self.sent.values()))

    def check_upstream(self, records: Iterable[Any], *, exactly: bool) -> int:
        """What was acknowledged is there, where it was said to be; nothing is there that was not sent.

        Returns:
            How many records repeat an earlier one.
        """
        places: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        order: dict[tuple[str, str], list[str]] = defaultdict(list)
        for record in records:
            value = json.loads(record.value)
            message_id = value["client_msg_id"]
            assert value["content"] == f"content of {message_id}"
            assert record.key.decode() == value["conversation_id"]
            assert message_id in self.sent[value["user_id"], value["conversation_id"]]
            if message_id not in places:
                order[value["user_id"], value["conversation_id"]].append(message_id)
            places[message_id].append((record.topic, record.partition, record.offset))
        lost = {message_id for message_id, place in self.acked.items() if place not in places[message_id]}
        assert not lost
        repeats = sum(len(found) - 1 for found in places.values() if found)
        if exactly:
            assert not repeats
            assert order == self.sent
        return repeats

    def check_downstream(self, undelivered: Iterable[Any], *, exactly: bool) -> int:
        """Each record reached its user or the undelivered topic, and nobody else; in order where nothing was repeated.

        Returns:
            How many deliveries repeat an earlier one.
        """
        given_up = {
            (str(value["record"]["message_id"]), user_id)
            for value in (json.loads(record.value) for record in undelivered)
            for user_id in value["target_user_ids"]
        }
        counts: Counter[str] = Counter()
        for user_id, messages in self.received.items():
            newest: dict[str, int] = defaultdict(lambda: -1)
            for message_id, conversation, seq_id, redelivered in messages:
                assert self.produced[message_id] == (user_id, conversation, seq_id)
                if not counts[message_id] and not redelivered:
                    assert seq_id > newest[conversation]
                newest[conversation] = max(newest[conversation], seq_id)
                counts[message_id] += 1
        lost = {
            message_id
            for message_id, (user_id, _, _) in self.produced.items()
            if not counts[message_id] and (message_id, user_id) not in given_up
        }
        assert not lost
        repeats = sum(count - 1 for count in counts.values())
        if exactly:
            assert not given_up
            assert not repeats
        return repeats

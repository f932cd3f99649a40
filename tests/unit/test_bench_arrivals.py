"""The load generator's verdict on what arrives: lost, twice, out of order, or not its business."""

import json
import time
from collections import Counter

import pytest

from imgateway_cli.bench.client import Client
from imgateway_cli.bench.downward import Conversation, Receiver
from imgateway_cli.bench.tally import MAX_REASONS, OTHER_REASONS, Downward, count_reason

pytestmark = pytest.mark.anyio

WRITTEN = 5


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def message(seq_id: object, conversation: str = "mine", kind: str = "new-message") -> bytes:
    data = {"conversationId": conversation, "seqId": seq_id, "content": f"{time.monotonic_ns()} xxx"}
    return json.dumps({"type": kind, "data": data}).encode()


async def arrive(*texts: bytes) -> Downward:
    tally, client = Downward(), Client(b"")
    receiver = Receiver(tally, client)
    receiver.conversation = Conversation("mine", "topic", 0, [receiver], b"", written=WRITTEN)
    assert client.on_text is not None
    for text in texts:
        client.on_text(text)
    assert receiver.received == tally.received == tally.latency.count
    return tally


@pytest.mark.parametrize(
    ("seq_ids", "received", "duplicates", "out_of_order"),
    [
        ([1, 2, 3, 4, 5], 5, 0, 0),
        ([1, 2, 2, 1, 3], 3, 2, 0),
        ([2, 1, 3], 3, 0, 1),
        ([3, 1, 2, 1], 3, 1, 2),
        ([1, 5], 2, 0, 0),
    ],
)
async def test_order_and_repeats(seq_ids: list[int], received: int, duplicates: int, out_of_order: int) -> None:
    tally = await arrive(*map(message, seq_ids))
    assert (tally.received, tally.duplicates, tally.out_of_order) == (received, duplicates, out_of_order)


async def test_what_is_not_of_this_run_does_not_count() -> None:
    strange = (message(1, "theirs"), message(1, kind="typing"), b"[]", message("1"), b'{"type": "x", "data": "y"}')
    tally = await arrive(*strange)
    assert (tally.received, tally.duplicates) == (0, 0)


async def test_reasons_from_outside_are_printable_and_few() -> None:
    reasons = Counter[str]()
    for number in range(1000):
        count_reason(reasons, f"\x1b[31m{number}")
    assert reasons.total() == 1000
    assert len(reasons) == MAX_REASONS + 1
    assert reasons[OTHER_REASONS] == 1000 - MAX_REASONS
    assert all(reason.isprintable() for reason in reasons)

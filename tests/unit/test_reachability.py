"""What is said of a Kafka that goes and comes back."""

import logging

import pytest

from imgateway.adapters.kafka.reachability import Reachability

pytestmark = pytest.mark.anyio


async def test_an_outage_is_a_warning_and_its_end_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imgateway")
    reachability = Reachability("publisher")
    for _ in range(2):
        reachability.lost("no answer")
    for _ in range(2):
        reachability.back()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "Kafka does not answer"),
        ("INFO", "Kafka answers again"),
    ]

"""Trying again what a service that is down refused."""

import logging

import pytest

from imgateway.core import retrying
from imgateway.core.retrying import until_available
from imgateway.errors import ServiceUnavailableError

pytestmark = pytest.mark.anyio


async def test_a_reason_is_said_when_it_is_new(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    caplog.set_level(logging.INFO)
    reasons = ["refused", "refused", "refused", "timed out", "refused"]

    async def attempt() -> str:
        if reasons:
            raise ServiceUnavailableError(reasons.pop(0))
        return "result"

    assert await until_available("broker", attempt) == "result"
    assert [(record.message, record.__dict__.get("why")) for record in caplog.records] == [
        ("not available, trying again", "refused"),
        ("not available, trying again", "timed out"),
        ("not available, trying again", "refused"),
        ("available now", None),
    ]


async def test_what_went_well_for_a_while_may_fail_for_the_same_reason_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(retrying, "WELL_SECONDS", -1.0)  # any time is a while
    failures = 3

    async def attempt() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ServiceUnavailableError("refused")

    await until_available("broker", attempt)
    assert [record.message for record in caplog.records] == ["not available, trying again"] * 3


async def test_what_succeeds_at_once_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def attempt() -> int:
        return 7

    assert await until_available("broker", attempt) == 7
    assert not caplog.records


async def test_other_exceptions_come_out() -> None:
    async def attempt() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_available("broker", attempt)

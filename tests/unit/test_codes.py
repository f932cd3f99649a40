"""The table of codes against the contract."""

import pytest

from imgateway.codes import TABLE, Code, reconnect_advised
from imgateway.model import CloseReason

CONTRACT = {
    "UNAUTHENTICATED": (401, 4501),
    "TOKEN_EXPIRED": (401, 4001),
    "FORBIDDEN": (403, 4503),
    "INVALID_MESSAGE": (400, 4504),
    "MESSAGE_TOO_LARGE": (413, 1009),
    "RATE_LIMITED": (429, 4029),
    "OVERLOADED": (503, 1013),
    "UNAVAILABLE": (503, 1013),
    "SLOW_CONSUMER": (None, 4008),
    "REPLACED": (None, 4509),
    "KICKED": (None, 4510),
    "DRAINING": (503, 1012),
    "PING_TIMEOUT": (None, 4000),
}


def test_the_table_is_the_contracts() -> None:
    assert {code.value: (row.http_status, row.close_code) for code, row in TABLE.items()} == CONTRACT
    assert all(row.code is code and row.title for code, row in TABLE.items())


@pytest.mark.parametrize("code", Code)
def test_a_close_frame_can_carry_the_reason(code: Code) -> None:
    """RFC 6455 section 5.5: a control frame's payload has at most 125 bytes, two of them the code."""
    reason = CloseReason.of(code)
    assert (reason.code, reason.text) == (TABLE[code].close_code, code.value)
    assert len(reason.text.encode()) <= 123


def test_who_should_come_back_is_told_by_the_code_alone() -> None:
    back = {code for code in range(1000, 5000) if reconnect_advised(code)}
    assert {code for code in back if code >= 4000} == set(range(4000, 4500))
    assert {code for code in back if code < 4000} == {1001, 1006, 1012, 1013}

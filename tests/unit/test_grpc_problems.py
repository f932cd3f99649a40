"""What clients are told of a failed call."""

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from imgateway.adapters.grpc.problems import MAX_RETRY_AFTER_SECONDS, problem_of
from imgateway.codes import RpcCode
from imgateway.rpc import RpcFailure

INFO = ErrorInfo(reason="WHY", domain="back")


def status(*details: Message | bytes) -> bytes:
    """Details as they are, or as bytes that call themselves a `RetryInfo`."""
    made = Status(code=code_pb2.UNAVAILABLE)
    for detail in details:
        if isinstance(detail, bytes):
            made.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=detail)
        else:
            made.details.add().Pack(detail)
    serialised: bytes = made.SerializeToString()
    return serialised


@pytest.mark.parametrize(
    "none",
    [
        RetryInfo(retry_delay={"seconds": 1, "nanos": 2_000_000_000}),
        RetryInfo(retry_delay={"seconds": 2**62}),
        RetryInfo(retry_delay={"seconds": 1, "nanos": -1}),
        b"\xff\xff",
    ],
)
def test_details_that_are_none_are_left_out(none: Message | bytes) -> None:
    problem = problem_of("a.B/C", RpcFailure(RpcCode.UNAVAILABLE, "", details=status(none, INFO)))
    assert [detail["reason"] for detail in problem.details if "reason" in detail] == ["WHY"]
    assert len(problem.details) == 1


def test_bytes_that_are_no_details_at_all() -> None:
    problem = problem_of("a.B/C", RpcFailure(RpcCode.UNAVAILABLE, "", details=b"\xff\xff", retry_after=3))
    assert (problem.details, problem.retry_after) == ((), 3)


@pytest.mark.parametrize(
    ("seconds", "nanos", "shown"),
    [(0, 0, 0), (0, 1, 1), (6, 0, 6), (-3, 0, 0), (315_576_000_000, 0, MAX_RETRY_AFTER_SECONDS)],
)
def test_when_to_try_again(seconds: int, nanos: int, shown: int) -> None:
    told = RetryInfo(retry_delay={"seconds": seconds, "nanos": nanos})
    problem = problem_of("a.B/C", RpcFailure(RpcCode.UNAVAILABLE, "", details=status(told), retry_after=3))
    assert problem.retry_after == shown


@pytest.mark.parametrize("code", [RpcCode.UNIMPLEMENTED, RpcCode.NOT_FOUND, RpcCode.INTERNAL])
@pytest.mark.parametrize(
    "words",
    [
        "Unexpected <class 'NotImplementedError'>: secret",
        "Exception calling application: secret",
        "Exception iterating responses: secret",
    ],
)
def test_an_exception_of_a_back_end_is_logged_and_not_shown(
    code: RpcCode, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    problem = problem_of("a.B/C", RpcFailure(code, words))
    assert (problem.code, problem.detail) == (code.name, "The service has failed.")
    [logged] = caplog.records
    assert (logged.levelname, vars(logged)["why"]) == ("WARNING", words)

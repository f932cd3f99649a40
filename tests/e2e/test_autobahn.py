"""The Autobahn test suite against the gateway's own transport and outbox."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import pytest
from kosoku import FailureError, run_fuzzingclient
from tests.e2e.echo_app import EchoHost, echo_server

from imgateway.adapters.uvicorn import GatewayWebSocketProtocol
from imgateway.adapters.uvicorn.websocket import frame_parser

pytestmark = pytest.mark.anyio

NOT_RUN: Final = {
    "9.7.*": "measures speed only",
    "9.8.*": "measures speed only",
    "12.*": "permessage-deflate is never negotiated",
    "13.*": "permessage-deflate is never negotiated",
}
TOO_MANY_FRAGMENTS: Final = "4 MiB in more than 1,024 fragments: refused with 1009 on purpose"
FAILING: Final = {
    "9.3.1": TOO_MANY_FRAGMENTS,
    "9.3.2": TOO_MANY_FRAGMENTS,
    "9.3.3": TOO_MANY_FRAGMENTS,
    "9.4.1": TOO_MANY_FRAGMENTS,
    "9.4.2": TOO_MANY_FRAGMENTS,
    "9.4.3": TOO_MANY_FRAGMENTS,
}
NOT_STRICT: Final = {
    "6.4.3": "invalid UTF-8 is noticed at the end of its frame, not in the middle",
    "6.4.4": "invalid UTF-8 is noticed at the end of its frame, not in the middle",
}
CASES: Final = 289


@pytest.mark.parametrize("transport", ["picows", "asgi"])
async def test_autobahn_cases(transport: Literal["picows", "asgi"]) -> None:
    class Protocol(GatewayWebSocketProtocol):
        parser = staticmethod(frame_parser(transport))

    host = EchoHost()
    async with echo_server(host, ws=Protocol) as bound:
        results = await _run(f"ws://{bound.host}:{bound.port}/attached")
    assert len(results) == CASES
    assert {result.case_id for result in results if not result.passed} == set(FAILING)
    assert {result.case_id for result in results if result.behavior.value == "NON-STRICT"} == set(NOT_STRICT)
    assert all(echo.close_code is not None for echo in host.echoes)


@pytest.fixture(autouse=True, scope="module")
def _no_shim_left() -> Iterator[None]:
    """The runner brings a `pkg_resources` of its own, which pytest's `syspath_prepend` would take for the real one."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("pkg_resources", None)


async def _run(url: str) -> Sequence[Any]:
    try:
        return await run_fuzzingclient(url, exclude_cases=list(NOT_RUN), concurrency=4)
    except FailureError as failure:
        return failure.results

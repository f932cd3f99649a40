"""REST without a network: what becomes of a request before and after its call."""

import re
from collections.abc import AsyncIterator

import anyio
import attrs
import pytest
from tests.gateways import eventually, quiet
from tests.rest_back_end import Line, RestHouse, request_scope, rest_house

from imgateway.adapters.starlette.rest import watching
from imgateway.core.settings_forwarding import unforwardable
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.model import Identity
from imgateway.rpc import RestProblem

pytestmark = pytest.mark.anyio

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def anyio_backend() -> str:
    """REST needs asyncio, as gRPC does."""
    return "asyncio"


@pytest.fixture
async def house() -> AsyncIterator[RestHouse]:
    async with rest_house(GrpcSettings(max_request_bytes=2000, default_deadline_seconds=7.0)) as running:
        yield running


# Routes.


async def test_a_call_is_answered(house: RestHouse) -> None:
    answer = await house.ask("GET", "/api/me?a=%41", token="alice")
    assert (answer.status, answer["content-type"], answer["cache-control"]) == (200, "application/json", "no-store")
    assert answer.json == {"user": "alice", "body": "", "query": "a=%41"}
    assert answer["content-length"] == str(len(answer.body))
    assert answer["connection"] is None
    assert house.back_end.requests[0].seconds == 7.0
    assert house.calls() == {"memory.Back/show OK": 1}


async def test_metadata_of_the_back_end_is_shown(house: RestHouse) -> None:
    """What is binary as base64; what would not be a header is left out."""
    answer = await house.ask("GET", "/api/public")
    assert answer["grpc-metadata-etag"] == "7"
    assert answer["grpc-metadata-odd"] is None
    assert answer["grpc-trailer-cost-bin"] == "AA=="


async def test_the_path_is_matched_as_it_was_written(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/notes/a%2Fb%00")).json["id"] == "a/b\x00"
    assert (await house.ask("GET", "/api/notes/a/b")).problem == (404, "NOT_FOUND")


async def test_servers_that_give_no_raw_path_or_one_with_a_query(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/notes/é", raw_path=None)).json["id"] == "é"
    assert (await house.ask("GET", "/api/public", raw_path=b"/api/public?a=1")).status == 200


async def test_an_application_mounted_elsewhere(house: RestHouse) -> None:
    assert (await house.ask("GET", "/im/api/public", root_path="/im")).status == 200


async def test_unknown_paths_and_wrong_methods(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/nowhere")).problem == (404, "NOT_FOUND")
    assert (await house.ask("GET", "/api/\xe4")).problem == (404, "NOT_FOUND")
    refused = await house.ask("PUT", "/api/notes/7")
    assert refused.problem == (405, "METHOD_NOT_ALLOWED")
    assert refused["allow"] == "DELETE, GET, HEAD, OPTIONS"
    told = await house.ask("OPTIONS", "/api/notes/7")
    assert (told.status, told["allow"], told.body) == (204, "DELETE, GET, HEAD, OPTIONS", b"")
    assert told["x-request-id"]
    assert (await house.ask("OPTIONS", "/api/nowhere")).problem == (404, "NOT_FOUND")
    assert house.calls() == {}


async def test_head_has_the_head_alone(house: RestHouse) -> None:
    got, head = await house.ask("GET", "/api/public"), await house.ask("HEAD", "/api/public")
    assert (head.status, head.body, head["content-length"]) == (200, b"", got["content-length"])
    assert (await house.ask("HEAD", "/api/nowhere")).status == 404


async def test_while_no_routes_are_known(house: RestHouse) -> None:
    house.transcoder.loaded = False
    refused = await house.ask("GET", "/api/public")
    assert refused.problem == (503, "UNAVAILABLE")
    assert refused["retry-after"] == "1"


async def test_a_gateway_without_a_transcoder() -> None:
    async with rest_house() as house:
        house.gateway._life.parts = attrs.evolve(house.gateway._life.parts, transcoder=None)  # type: ignore[union-attr]  # it runs
        assert (await house.ask("GET", "/api/public")).problem == (503, "UNAVAILABLE")


async def test_client_streaming_is_refused_unread(house: RestHouse) -> None:
    line = Line([])
    await house.app(request_scope("POST", "/api/upload", [("Transfer-Encoding", "chunked")]), line.receive, line.send)
    assert line.sent[0]["status"] == 501
    assert house.calls() == {"memory.Back/Refused UNIMPLEMENTED": 1}


# Who asks.


@pytest.mark.parametrize("token", [None, "bad"])
async def test_private_methods_need_a_token(house: RestHouse, token: str | None) -> None:
    refused = await house.ask("GET", "/api/me?token=alice", token=token)
    assert refused.problem == (401, "UNAUTHENTICATED")
    assert refused["www-authenticate"] == "Bearer"
    assert house.back_end.requests == []
    assert house.calls() == {"memory.Back/show UNAUTHENTICATED": 1}


async def test_other_refusals_keep_their_code(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/me", token="alice@1")).problem == (401, "TOKEN_EXPIRED")
    refused = await house.ask("GET", "/api/me", token="raise")
    assert (refused.problem, refused["retry-after"]) == ((503, "UNAVAILABLE"), "1")


async def test_the_scheme_may_be_written_in_any_case_and_must_be_bearer(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/me", [("Authorization", "bEARER alice")])).json["user"] == "alice"
    assert (await house.ask("GET", "/api/me", [("Authorization", "Basic alice")])).status == 401


async def test_two_tokens_are_none(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/me", [("Authorization", "Bearer eve")], token="alice")).status == 401


async def test_public_methods_look_at_no_token(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/public", token="bad")).json["user"] is None


async def test_the_authenticator_sees_the_clients_address_and_headers() -> None:
    async with rest_house(trusted_proxies=("192.0.2.0/24",)) as house:
        lines = [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.9, 192.0.2.7"), ("Cookie", "c")]
        assert (await house.ask("GET", "/api/me", lines, token="alice")).status == 200
        asked = house.world.tokens.asked[0]
        assert (asked.client_ip, asked.headers["cookie"], asked.token) == ("203.0.113.9", "c", "alice")


# What the client can read, and how long it waits.


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*", 200),
        ("", 200),
        ("text/html, application/json;q=0.1", 200),
        ("APPLICATION/JSON ; Q=1.000", 200),
        ("text/html, application/xhtml+xml", 406),
        ("application/json;q=0", 406),
        ("application/json;q=0, */*", 406),
        ("*/*;q=0", 406),
        ("application/json;q=2", 406),
        ("x" * 1000, 406),
    ],
)
async def test_accept(house: RestHouse, accept: str, status: int) -> None:
    assert (await house.ask("GET", "/api/public", [("Accept", accept)])).status == status


async def test_lines_of_accept_are_one_list(house: RestHouse) -> None:
    lines = [("Accept", "application/json"), ("Accept", "text/html")]
    assert (await house.ask("GET", "/api/public", lines)).status == 200


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("Grpc-Timeout", "2S", 2.0),
        ("Grpc-Timeout", "1500m", 1.5),
        ("Grpc-Timeout", "250000u", 0.25),
        ("Grpc-Timeout", "99999999n", 0.099999999),
        ("Grpc-Timeout", "1M", 60.0),
        ("Grpc-Timeout", "99999999H", 300.0),
        ("X-Request-Timeout", "2.5", 2.5),
        ("X-Request-Timeout", "999999999", 300.0),
    ],
)
async def test_the_client_names_its_deadline(house: RestHouse, name: str, value: str, seconds: float) -> None:
    await house.ask("GET", "/api/public", [(name, value)])
    assert house.back_end.requests[0].seconds == pytest.approx(seconds)


@pytest.mark.parametrize("name", ["Grpc-Timeout", "X-Request-Timeout"])
@pytest.mark.parametrize("value", ["", "0", "0S", "1", "1s", "123456789S", "-1", "1e3", "nan", "inf", "٣S", "1S "])
async def test_senseless_deadlines(house: RestHouse, name: str, value: str) -> None:
    if name == "X-Request-Timeout" and value == "1":
        return
    line = (name, value.encode().decode("latin-1"))
    assert (await house.ask("GET", "/api/public", [line])).problem == (400, "INVALID_ARGUMENT")


async def test_two_deadlines(house: RestHouse) -> None:
    both = [("Grpc-Timeout", "2S"), ("X-Request-Timeout", "3")]
    await house.ask("GET", "/api/public", both)
    assert house.back_end.requests[0].seconds == 2.0
    assert (await house.ask("GET", "/api/public", [both[0], both[0]])).status == 400
    assert (await house.ask("GET", "/api/public", [both[1], both[1]])).status == 400


# What goes along.


async def test_the_request_id_is_the_clients_or_a_new_one(house: RestHouse) -> None:
    for value, kept in [("abc", True), ("~" * 128, True), ("x" * 129, False), ("a b", False), ("", False)]:
        answer = await house.ask("GET", "/api/public", [("X-Request-Id", value)])
        assert (answer["x-request-id"] == value) is kept
        assert dict(house.back_end.requests[-1].metadata)["x-request-id"] == answer["x-request-id"]
    ids = {(await house.ask("GET", "/api/public", [("X-Request-Id", "a")] * 2))["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert "a" not in ids


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([("Traceparent", TRACE), ("Tracestate", "a=1, b@c=2"), ("Tracestate", "d=3")], ["traceparent", "tracestate"]),
        ([("Traceparent", TRACE), ("Tracestate", "A=1")], ["traceparent"]),
        ([("Traceparent", TRACE), ("Tracestate", "a=" + "x" * 600)], ["traceparent"]),
        ([("Traceparent", TRACE), ("Tracestate", " a=1 , b@c=2,, \t,d=3 ")], ["traceparent", "tracestate"]),
        # That takes years where blanks can be divided among two parts of a pattern.
        ([("Traceparent", TRACE), ("Tracestate", "a=b" + ("," + " " * 14) * 30 + "!")], ["traceparent"]),
    ],
)
async def test_trace_contexts_that_are_well_formed(
    house: RestHouse, lines: list[tuple[str, str]], kept: list[str]
) -> None:
    await house.ask("GET", "/api/public", lines)
    metadata = house.back_end.requests[0].metadata
    assert [name for name, _ in metadata[1:]] == kept
    assert dict(metadata)["traceparent"] == TRACE


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [("Tracestate", "a=1")],
        [("Traceparent", TRACE), ("Traceparent", TRACE), ("Tracestate", "a=1")],
        [("Traceparent", TRACE.upper()), ("Tracestate", "a=1")],
        [("Traceparent", TRACE + "-x")],
        [("Traceparent", "ff" + TRACE[2:])],
        [("Traceparent", "00-" + "0" * 32 + TRACE[35:])],
    ],
)
async def test_without_a_trace_context_one_begins(house: RestHouse, lines: list[tuple[str, str]]) -> None:
    """By the request's id where that is new, as clients' calls over WebSocket have it."""
    await house.ask("GET", "/api/public", lines)
    await house.ask("GET", "/api/public", [*lines, ("X-Request-Id", "a")])
    await house.ask("GET", "/api/public", [*lines, ("X-Request-Id", "a")])
    made = [dict(request.metadata) for request in house.back_end.requests]
    assert [set(metadata) for metadata in made] == [{"x-request-id", "traceparent"}] * 3
    traces = [str(metadata["traceparent"]) for metadata in made]
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces)
    assert traces[0].split("-")[1] == made[0]["x-request-id"]
    assert len({*traces, TRACE}) == 4


async def test_listed_headers_go_along_and_no_others() -> None:
    listed = ("X-Tenant", "authorization", "x-user-id", "grpc-timeout", "cookie", "content-type", "host", "a-bin")
    async with rest_house(GrpcSettings(forward_headers=listed)) as house:
        lines = [("X-Tenant", "a"), ("x-tenant", "b"), ("X-User-Id", "eve"), ("Grpc-Metadata-X-User-Id", "eve")]
        lines += [("Cookie", "c"), ("Content-Type", "text/plain"), ("A-Bin", "AA==")]
        await house.ask("GET", "/api/me", lines, token="alice")
        assert house.back_end.requests[0].metadata[2:] == (("x-tenant", "a, b"),)
        for value in ("\xe4", "\x7f", "x" * 9000):
            assert (await house.ask("GET", "/api/public", [("X-Tenant", value)])).problem == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "x-user-id", "Grpc-Metadata-a", "te", "content-type", "cookie", "X-Bin", "X-Request-Timeout",
        "User-Agent",
    ],
)  # fmt: skip
def test_what_never_goes_along(name: str) -> None:
    assert unforwardable(name)
    assert not unforwardable("x-tenant")


# Failures.


async def test_a_refusal_of_the_back_end(house: RestHouse) -> None:
    house.back_end.problem = RestProblem(429, "RESOURCE_EXHAUSTED", "Slowly.", ({"@type": "t"},), 3, (("b", "2"),))
    refused = await house.ask("GET", "/api/refused")
    assert refused.problem == (429, "RESOURCE_EXHAUSTED")
    assert refused.json["details"] == [{"@type": "t"}]
    assert (refused["retry-after"], refused["grpc-trailer-b"]) == ("3", "2")
    house.back_end.problem = RestProblem(499, "CANCELLED", "")
    assert (await house.ask("GET", "/api/refused")).json["title"] == "Cancelled"
    assert house.calls() == {"memory.Back/refused RESOURCE_EXHAUSTED": 1, "memory.Back/refused CANCELLED": 1}


async def test_a_bug_is_a_problem_and_is_logged(house: RestHouse, caplog: pytest.LogCaptureFixture) -> None:
    assert (await house.ask("GET", "/api/raises")).problem == (500, "INTERNAL")
    assert "a bug of the transcoder" in caplog.text
    assert house.calls() == {"memory.Back/raises INTERNAL": 1}
    assert (await house.ask("GET", "/api/public")).status == 200


async def test_a_bug_while_finding_is_a_problem_too(house: RestHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.transcoder._answered.clear()
    house.transcoder._answered.append(None)  # type: ignore[arg-type]  # breaks it
    assert (await house.ask("GET", "/api/public")).problem == (500, "INTERNAL")
    assert "finding a route failed" in caplog.text
    assert house.calls() == {}


async def test_while_draining_answers_go_on_and_end_their_connections(house: RestHouse) -> None:
    await house.gateway.drain()
    answer = await house.ask("GET", "/api/me", token="alice")
    assert (answer.status, answer["connection"]) == (200, "close")
    assert (await house.ask("GET", "/api/me", token="alice", http_version="2"))["connection"] is None


# Clients that leave.


@pytest.mark.parametrize("patience", [0.0, 0.05])
async def test_a_client_that_leaves_cancels_its_call(
    house: RestHouse, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", patience)
    line = Line([{"type": "http.request", "body": b""}])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.app, request_scope("GET", "/api/waits"), line.receive, line.send)
        await eventually(lambda: house.back_end.under_way)
        line.leave()
        with anyio.fail_after(10):
            while house.calls() != {"memory.Back/waits CANCELLED": 1}:
                await anyio.sleep(0.01)
    assert line.sent == []
    assert house.back_end.under_way == 0


async def test_a_server_that_cancels_is_obeyed(house: RestHouse) -> None:
    line = Line([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.app, request_scope("GET", "/api/waits"), line.receive, line.send)
        await eventually(lambda: house.back_end.under_way)
        tasks.cancel_scope.cancel()
    assert house.back_end.under_way == 0
    assert house.calls() == {"memory.Back/waits CANCELLED": 1}


async def test_a_call_that_is_over_soon_costs_no_listening(house: RestHouse) -> None:
    line = Line([{"type": "http.request", "body": b""}])
    await house.app(request_scope("GET", "/api/public"), line.receive, line.send)
    await quiet()
    assert line.asked == 0


async def test_identities_are_the_verified_ones(house: RestHouse) -> None:
    await house.ask("GET", "/api/me", token="alice")
    assert isinstance(house.back_end.requests[0].identity, Identity)

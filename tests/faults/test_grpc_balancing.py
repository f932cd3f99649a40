"""Instances that die, hang, come and go: real servers as processes of their own."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.faults.etcd_certificates import Authority
from tests.grpc_back_end import SERVICE, BackEnd, running_back_end
from tests.grpc_instances import ECHO, REQUEST, available, entry, eventually, failing_back_end, instance, known
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name

from imgateway.adapters.grpc.balancing import (
    Discovered,
    GrpcBalancer,
    StaticTarget,
    TlsFiles,
    balancer,
    channel_maker,
    ejection,
    endpoint,
)
from imgateway.adapters.grpc.balancing.balancer import ATTEMPTS
from imgateway.adapters.grpc.balancing.budget import MOST, SHARE
from imgateway.adapters.grpc.balancing.ejection import EJECT_AFTER
from imgateway.adapters.grpc.balancing.endpoint import SILENT_SECONDS
from imgateway.adapters.memory import MemoryServiceRegistry
from imgateway.codes import RpcCode
from imgateway.errors import SettingsError
from imgateway.rpc import RpcAnswer, RpcFailure
from imgateway.testing.balancer import SAID


@pytest.mark.anyio
async def test_a_killed_instance_costs_no_idempotent_call() -> None:
    outcomes: list[RpcAnswer | RpcFailure] = []
    with instance() as (doomed, one), instance() as (_, other):
        async with known(one, other) as made:

            async def ask() -> None:
                for _ in range(200):
                    outcome = await made.call()
                    outcomes.append(outcome)

            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(ask)
                await eventually(lambda: len(outcomes) > 100, "calls are made")
                os.kill(doomed.pid, signal.SIGKILL)
    assert [outcome for outcome in outcomes if isinstance(outcome, RpcFailure)] == []
    assert len(outcomes) == 1600


@pytest.mark.anyio
async def test_a_hung_instance_is_left_alone() -> None:
    with instance() as (hung, one), instance() as (_, other):
        async with known(one, other) as made:
            os.kill(hung.pid, signal.SIGSTOP)
            with anyio.fail_after(20):
                while made.usable() != {other}:
                    async with anyio.create_task_group() as tasks:
                        for _ in range(8):
                            tasks.start_soon(lambda: made.call(seconds=0.5))
            after = [await made.call(seconds=5.0) for _ in range(100)]
            assert made.usable() == {other}
            os.kill(hung.pid, signal.SIGCONT)
            await eventually(lambda: made.usable() == {one, other}, "it answers again, and is used again")
    assert all(isinstance(outcome, RpcAnswer) for outcome in after)


@pytest.mark.anyio
async def test_a_hung_instance_is_found_out_by_calls_of_little_time() -> None:
    """A deadline without an answer makes the balancer ask whether the instance lives."""
    with instance() as (hung, one), instance() as (_, other):
        async with known(one, other) as made:
            os.kill(hung.pid, signal.SIGSTOP)
            with anyio.fail_after(20):
                while made.usable() != {other}:
                    # Now and then it is the hung one's turn; the other one may be late as well.
                    await made.call(seconds=0.05)


@pytest.mark.anyio
async def test_the_only_instance_that_hangs_is_given_up_before_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """By keepalive alone: there is nobody beside it to compare it with."""
    soon = {"grpc.keepalive_time_ms": 500, "grpc.keepalive_timeout_ms": 500, "grpc.http2.ping_timeout_ms": 500}
    options = [(name, soon.get(name, value)) for name, value in balancer._OPTIONS]
    # Without gRPC's own pings after what it receives, of which one may be on its way just then.
    monkeypatch.setattr(balancer, "_OPTIONS", [*options, ("grpc.http2.bdp_probe", 0)])
    with instance() as (only, address):
        async with known(address) as made:
            assert isinstance(await made.call(), RpcAnswer)
            os.kill(only.pid, signal.SIGSTOP)
            outcome = await made.call(seconds=60.0, idempotent=False)
            assert isinstance(outcome, RpcFailure)
            assert outcome.code is RpcCode.UNAVAILABLE
            at_once = await made.call(seconds=60.0, idempotent=False)
            assert isinstance(at_once, RpcFailure)
            assert (at_once.code, at_once.reached) == (RpcCode.UNAVAILABLE, False)
            os.kill(only.pid, signal.SIGCONT)
            await eventually(lambda: made.usable() == {address}, "it is connected to again")
            assert isinstance(await made.call(), RpcAnswer)


@pytest.mark.anyio
async def test_idle_instances_share_calls_made_one_after_the_other() -> None:
    async with running_back_end() as (first, one), running_back_end() as (second, other), known(one, other) as made:
        await made.calls(until=lambda: min(first.calls, second.calls) >= 20, at_once=1)


@pytest.mark.anyio
async def test_a_new_instance_has_a_small_share_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "WARM_SECONDS", 60.0)  # so that it is new however slow the calls are
    async with running_back_end() as (old, one), running_back_end() as (new, other), known(one) as made:
        made.age()
        await made.add(other)
        await eventually(lambda: made.connected() == {one, other}, "the new one is connected to")
        before = old.calls
        await made.calls(until=lambda: old.calls + new.calls >= before + 400, at_once=1)
        assert 0 < new.calls < (old.calls - before) / 2


@pytest.mark.anyio
async def test_one_that_fails_is_left_alone_and_all_that_fail_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ejection, "EJECT_SECONDS", (60.0,) * 4)  # longer than the calls take
    async with failing_back_end() as (bad, one), running_back_end() as (_, other), known(one, other) as made:
        failed = [outcome for _ in range(100) if isinstance(outcome := await made.call(idempotent=False), RpcFailure)]
        assert len(failed) == len(bad) == EJECT_AFTER
        await made.remove(other)
        await eventually(lambda: made.connected() == {one}, "the good one is parted from")
        assert isinstance(await made.call(idempotent=False), RpcFailure)
        assert len(bad) == EJECT_AFTER + 1


@pytest.mark.anyio
async def test_only_what_may_be_repeated_is_and_within_a_budget() -> None:
    async with failing_back_end() as (calls, one), known(one) as made:
        await made.call(idempotent=False)
        assert len(calls) == 1
        await made.call()
        assert len(calls) == 1 + ATTEMPTS
        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(made.call)
        assert len(calls) <= 1 + ATTEMPTS + 1000 * (1 + SHARE) + MOST


@pytest.mark.anyio
async def test_open_streams_and_slow_calls_keep_no_calls_away() -> None:
    async with running_back_end() as (first, one), running_back_end() as (second, other), known(one) as made:
        streams = [await made.balancer.stream(f"{SERVICE}/Endless", b"", (), 20.0) for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.balancer.unary, f"{SERVICE}/Hangs", REQUEST, (), 20.0, False)
            await eventually(lambda: first.under_way == 21, "the streams and the slow call are under way")
            await made.add(other)
            await eventually(lambda: made.connected() == {one, other}, "the other one is there")
            made.age()
            long_after = anyio.current_time() + 3 * SILENT_SECONDS
            await made.calls(until=lambda: anyio.current_time() > long_after)
            before = first.calls
            await made.calls(until=lambda: first.calls > before + 50)
            tasks.cancel_scope.cancel()
        for stream in streams:
            assert not isinstance(stream, RpcFailure)
            await stream.aclose()
        assert second.calls


@pytest.mark.anyio
async def test_streams_are_spread_by_streams() -> None:
    async with running_back_end() as (first, one), running_back_end() as (second, other), known(one, other) as made:
        made.age()  # the one that was connected to a little later has its share
        streams = []
        for _ in range(60):
            stream = await made.balancer.stream(f"{SERVICE}/Endless", b"", (), 20.0)
            assert not isinstance(stream, RpcFailure)
            await anext(aiter(stream))
            streams.append(stream)
        assert min(first.under_way, second.under_way) > 10
        for stream in streams:
            await stream.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"])
async def test_a_back_ends_words_go_on_without_trailers(code: str) -> None:
    async with running_back_end() as (_, one), known(one) as made:
        outcome = await made.balancer.unary(
            f"{SERVICE}/Refuses", b"\x0a" + bytes([len(code)]) + code.encode(), (), 20, False
        )
        assert isinstance(outcome, RpcFailure)
        assert (outcome.code.name, outcome.message, outcome.reached) == (code, SAID, True)


@pytest.mark.anyio
async def test_a_good_status_without_a_message_is_no_answer() -> None:
    async with running_back_end() as (_, one), known(one) as made:
        outcome = await made.balancer.unary(f"{SERVICE}/Nothing", b"", (), 20.0, False)
        assert isinstance(outcome, RpcFailure)
        assert (outcome.code, outcome.reached) == (RpcCode.INTERNAL, False)


@pytest.mark.anyio
async def test_more_metadata_than_grpc_takes_is_the_services_failure() -> None:
    """Between gRPC's soft limit and its hard one chance decides, so that is asked for until it is refused."""
    async with running_back_end() as (_, one), known(one) as made:
        for size in ("15000", "40000"):
            with anyio.fail_after(20):
                while isinstance(outcome := await made.unary("Boasts", size), RpcAnswer) and size == "15000":
                    pass
            assert isinstance(outcome, RpcFailure)
            assert (outcome.code, outcome.message) == (RpcCode.INTERNAL, "The service's answer is too large.")


@pytest.mark.anyio
async def test_words_of_the_way_do_not_go_on() -> None:
    async with running_back_end() as (_, one), known(one) as made:
        for code, words in (
            ("UNAVAILABLE", "The service can't be reached just now."),
            ("DEADLINE_EXCEEDED", "The call took too long."),
            ("CANCELLED", "The call was cancelled."),
        ):
            outcome = await made.unary("Refuses", code)
            assert isinstance(outcome, RpcFailure)
            assert (outcome.code.name, outcome.message, outcome.reached) == (code, words, False)
        outcome = await made.balancer.unary(f"{SERVICE}/Hangs", REQUEST, (), 0.01, False)
        assert isinstance(outcome, RpcFailure)
        assert (outcome.code, outcome.message) == (RpcCode.DEADLINE_EXCEEDED, "The call took too long.")


@pytest.mark.anyio
async def test_instances_come_and_go() -> None:
    async with running_back_end() as (first, one), running_back_end() as (second, other), known(one) as made:
        assert isinstance(await made.call(), RpcAnswer)
        assert (first.calls, second.calls) == (1, 0)
        await made.add(other)
        await eventually(lambda: other in made.connected(), "the new one is connected to")
        await made.remove(one)
        await eventually(lambda: made.connected() == {other}, "the old one is parted from")
        assert isinstance(await made.call(), RpcAnswer)
        assert (first.calls, second.calls) == (1, 1)


@pytest.mark.anyio
async def test_a_call_under_way_survives_the_going_of_its_instance() -> None:
    async with running_back_end() as (back_end, one), known(one) as made:
        stream = await made.balancer.stream(f"{SERVICE}/Endless", b"", (), 20.0)
        assert not isinstance(stream, RpcFailure)
        async for _ in stream:
            break
        await made.remove(one)
        await eventually(lambda: not made.connected(), "the instance is parted from")
        assert back_end.under_way == 1
        await stream.aclose()
        await eventually(lambda: back_end.under_way == 0, "the call is cancelled")


@pytest.mark.anyio
async def test_an_instance_that_does_not_serve_gets_no_calls() -> None:
    async with running_back_end() as (sick, one), running_back_end() as (well, other), known(one, other) as made:
        await sick.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await eventually(
            lambda: any(endpoint.health.serving is False for endpoint in made.balancer._all), "it is known"
        )
        before = sick.calls
        for _ in range(50):
            assert isinstance(await made.call(), RpcAnswer)
        assert sick.calls == before
        assert well.calls >= 50
        await well.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await eventually(lambda: not available(made.balancer), "nobody serves")
        outcome = await made.call()
        assert isinstance(outcome, RpcFailure)
        assert (outcome.code, outcome.reached) == (RpcCode.UNAVAILABLE, False)
        await well.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await eventually(lambda: available(made.balancer), "somebody serves again")
        assert isinstance(await made.call(), RpcAnswer)


@pytest.mark.anyio
async def test_whoever_is_no_grpc_server_is_unavailable() -> None:
    async def talk(stream: Any) -> None:
        with suppress(anyio.BrokenResourceError):  # of who has gone already
            async with stream:
                await stream.send(b"HTTP/1.1 200 OK\r\n\r\n" * 100)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, talk)
        registry = MemoryServiceRegistry()
        options: dict[str, Any] = {"service": "", "tls": None, "max_response_bytes": 4_194_304}
        async with GrpcBalancer.open(Discovered(registry.resolver(), "back"), **options) as balancer:
            registrar = registry.registrar()
            await registrar.register(entry(f"127.0.0.1:{port}"))
            for _ in range(3):
                outcome = await balancer.unary(ECHO, REQUEST, (), 20.0, True)
                assert isinstance(outcome, RpcFailure)
                assert outcome.code is RpcCode.UNAVAILABLE
                assert "127.0.0.1" not in outcome.message
            await registrar.aclose()
        tasks.cancel_scope.cancel()
    await listener.aclose()


def test_tls_files_of_no_use_are_named(tmp_path: Path) -> None:
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("not a certificate")
    authority = Authority(tmp_path, "ours")
    cert, key = authority.issue("gateway")
    _, other_key = authority.issue("other")
    for files, expected in (
        (TlsFiles(ca="/nowhere/ca.pem"), r"grpc\.tls_ca.*No such file"),
        (TlsFiles(ca=str(no_pem)), r"grpc\.tls_ca"),
        (TlsFiles(cert=str(no_pem), key=key), r"grpc\.tls_cert"),
        (TlsFiles(cert=cert, key=other_key), r"grpc\.tls_cert"),
    ):
        with pytest.raises(SettingsError, match=expected):
            channel_maker(files, ())
    channel_maker(TlsFiles(authority.file, cert, key), ())


def asking_for_certificates(authority: Authority) -> grpc.ServerCredentials:
    cert, key = (Path(name).read_bytes() for name in authority.issue("server"))
    return grpc.ssl_server_credentials([(key, cert)], Path(authority.file).read_bytes(), True)


@pytest.mark.anyio
async def test_both_sides_show_their_certificates(tmp_path: Path) -> None:
    ours, foreign = Authority(tmp_path, "ours"), Authority(tmp_path, "foreign")
    shown, own_key = ours.issue("gateway")
    credentials = asking_for_certificates(ours)
    back_end, server = BackEnd(), grpc.aio.server()
    back_end.add_to(server)
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    for tls, well in (
        (TlsFiles(ours.file, shown, own_key), True),
        (TlsFiles(ours.file), False),
        (TlsFiles(foreign.file, shown, own_key), False),
        (None, False),
    ):
        async with GrpcBalancer.open(
            StaticTarget(address), service=SERVICE, tls=tls, max_response_bytes=4_194_304
        ) as balancer:
            if well:
                # A call waits for it only for a moment.
                await eventually(lambda: available(balancer), "it is connected to")
            outcome = await balancer.unary(ECHO, REQUEST, (), 20.0, False)
            assert isinstance(outcome, RpcAnswer) is well, (tls, outcome)
    await server.stop(None)

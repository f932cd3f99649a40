"""What a lease asks of an etcd whose answers are chosen here: when its revocation is sent again, and when it is not."""

import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import attrs
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from imgateway.adapters.etcd import EtcdAccess
from imgateway.adapters.etcd.errors import EtcdError, GrpcCode
from imgateway.adapters.etcd.lease import Lease
from imgateway.adapters.etcd.transport import EtcdTransport

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
GRANTED: dict[str, Any] = {"TTL": "60"}
REVOKED: dict[str, Any] = {}
NOT_FOUND: dict[str, Any] = {"code": GrpcCode.NOT_FOUND, "message": "requested lease not found"}
EXISTS: dict[str, Any] = {"code": GrpcCode.FAILED_PRECONDITION, "message": "lease already exists"}
OTHER_ERROR: dict[str, Any] = {"code": 13, "message": "database space exceeded"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what is counted here ends because of the answers."""
    monkeypatch.setattr("imgateway.adapters.etcd.lease.REVOKE_SECONDS", PATIENCE)
    monkeypatch.setattr(EtcdTransport.call, "__kwdefaults__", {"seconds": PATIENCE})


@attrs.define(eq=False)
class ScriptedEtcd:
    """Speaks as much of etcd's JSON gateway as a lease needs.

    Attributes:
        grant: the answer to every grant; None: there is none, the connection is silent.
        revocations: the answers to revocations, in this order.
        asked: the method and the lease of every request.
        granting: set once a grant has come.
    """

    port: int
    grant: dict[str, Any] | None = None
    revocations: list[dict[str, Any]] = attrs.field(factory=list)
    asked: list[tuple[str, str]] = attrs.field(factory=list)
    granting: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def revoked(self) -> list[str]:
        """The lease of every revocation."""
        return [lease for method, lease in self.asked if method == "/v3/lease/revoke"]

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        """Answer the requests of one connection."""
        requests = BufferedByteReceiveStream(client)
        with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):  # the client has gone away
            async with client:
                while True:
                    head = (await requests.receive_until(b"\r\n\r\n", 65536)).decode()
                    (length,) = re.findall(r"(?im)^content-length: (\d+)$", head.replace("\r", ""))
                    lease = json.loads(await requests.receive_exactly(int(length)))["ID"]
                    answer = self._answer(head.split()[1], lease)
                    if answer is None:
                        await requests.receive()
                        continue
                    body = json.dumps(answer).encode()
                    status = "500 Error" if "code" in answer else "200 OK"
                    await client.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def _answer(self, method: str, lease: str) -> dict[str, Any] | None:
        self.asked.append((method, lease))
        if method == "/v3/lease/grant":
            self.granting.set()
            return self.grant
        assert method == "/v3/lease/revoke"
        return self.revocations[len(self.revoked) - 1]


@pytest.fixture
async def etcd() -> AsyncIterator[ScriptedEtcd]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    etcd = ScriptedEtcd(listener.extra(anyio.abc.SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, etcd.serve)
        yield etcd
        tasks.cancel_scope.cancel()


@pytest.fixture
async def lease(etcd: ScriptedEtcd) -> AsyncIterator[Lease]:
    async with EtcdTransport(EtcdAccess((f"http://127.0.0.1:{etcd.port}",))) as transport:
        yield Lease(transport, 60)


async def grant_cut_off(etcd: ScriptedEtcd, lease: Lease) -> None:
    """The request has come to etcd, and is cancelled before the answer."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lease.grant)
        with anyio.fail_after(PATIENCE):
            await etcd.granting.wait()
        tasks.cancel_scope.cancel()


async def revoke(etcd: ScriptedEtcd, lease: Lease, *answers: dict[str, Any]) -> int:
    """How often it is sent if etcd answers so."""
    etcd.revocations = [*answers]
    await lease.revoke()
    assert set(etcd.revoked) == {str(lease.id)}
    return len(etcd.revoked)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(vars(record)["why"]) for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("unknown", range(4))
async def test_a_revocation_that_overtakes_the_grant_is_sent_again(
    etcd: ScriptedEtcd, lease: Lease, caplog: pytest.LogCaptureFixture, unknown: int
) -> None:
    await grant_cut_off(etcd, lease)
    assert await revoke(etcd, lease, *[NOT_FOUND] * unknown, REVOKED, REVOKED) == unknown + 1
    assert warnings(caplog) == []


async def test_a_grant_that_never_arrives_is_revoked_four_times(
    etcd: ScriptedEtcd, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    await grant_cut_off(etcd, lease)
    assert await revoke(etcd, lease, *[NOT_FOUND] * 5) == 4
    assert warnings(caplog) == []


async def test_a_grant_of_an_unknown_outcome_is_like_one_that_was_cut_off(etcd: ScriptedEtcd, lease: Lease) -> None:
    etcd.grant = OTHER_ERROR
    with pytest.raises(EtcdError):
        await lease.grant()
    assert await revoke(etcd, lease, NOT_FOUND, NOT_FOUND, REVOKED, REVOKED) == 3


@pytest.mark.parametrize("answer", [GRANTED, EXISTS])
async def test_a_confirmed_lease_that_is_not_known_has_ended(
    etcd: ScriptedEtcd, lease: Lease, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    etcd.grant = answer
    await lease.grant()
    assert await revoke(etcd, lease, NOT_FOUND, REVOKED) == 1
    assert warnings(caplog) == []


@pytest.mark.parametrize("confirmed", [True, False])
async def test_another_error_is_told_once_and_left_alone(
    etcd: ScriptedEtcd, lease: Lease, caplog: pytest.LogCaptureFixture, confirmed: bool
) -> None:
    if confirmed:
        etcd.grant = GRANTED
        await lease.grant()
    else:
        await grant_cut_off(etcd, lease)
    assert await revoke(etcd, lease, OTHER_ERROR, REVOKED) == 1
    (why,) = warnings(caplog)
    assert "database space exceeded" in why


async def test_another_error_ends_the_repetition(
    etcd: ScriptedEtcd, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    await grant_cut_off(etcd, lease)
    assert await revoke(etcd, lease, NOT_FOUND, OTHER_ERROR, REVOKED) == 2
    assert len(warnings(caplog)) == 1

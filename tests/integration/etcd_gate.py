"""What tests put before etcd, and what they ask it besides the adapter."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import anyio.lowlevel
import attrs
from servers import free_port

from imgateway.adapters.etcd import EtcdAccess
from imgateway.adapters.etcd.keyspace import Entry, EtcdKeyspace
from imgateway.adapters.etcd.transport import EtcdTransport


@attrs.define(eq=False)
class Gate:
    """A TCP proxy that can be shut (connections are reset, new ones refused) and opened again.

    Attributes:
        answers_until_loss: so many more answers pass, the next one is lost with its connection; None: all pass.
        delays: for so many seconds the next answers are held back, one after the other.
    """

    target: int
    port: int = attrs.field(factory=free_port)
    answers_until_loss: int | None = None
    delays: list[float] = attrs.field(factory=list)
    target_host: str = "127.0.0.1"
    _stranded: set[asyncio.StreamReader] = attrs.field(factory=set)
    _server: asyncio.Server | None = None
    _passing: set[anyio.CancelScope] = attrs.field(factory=set)
    _readers: set[asyncio.StreamReader] = attrs.field(factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for scope in self._passing:
                scope.cancel()
            while self._passing:
                await anyio.lowlevel.checkpoint()
            await server.wait_closed()

    def strand(self) -> None:
        """Let nothing pass on the connections there are, without closing them; new ones work."""
        self._stranded |= self._readers

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with anyio.CancelScope() as scope:
            self._passing.add(scope)
            try:
                there, back = await asyncio.open_connection(self.target_host, self.target)
                self._readers |= {reader, there}
                try:
                    async with anyio.create_task_group() as pumps:
                        pumps.start_soon(self._pump, reader, back, False, pumps.cancel_scope)
                        pumps.start_soon(self._pump, there, writer, True, pumps.cancel_scope)
                finally:
                    self._readers -= {reader, there}
                    back.transport.abort()
            except OSError:
                pass  # etcd is down: so is the way to it
            finally:
                writer.transport.abort()
                self._passing.discard(scope)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool, either_ends: anyio.CancelScope
    ) -> None:
        try:
            while data := await source.read(65536):
                if source in self._stranded:
                    continue
                if answers and self.delays:
                    await anyio.sleep(self.delays.pop(0))
                if answers and self.answers_until_loss is not None:
                    self.answers_until_loss -= 1
                    if self.answers_until_loss < 0:
                        self.answers_until_loss = None
                        break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # an end of the connection is what this waits for
        either_ends.cancel()


@attrs.define(eq=False)
class Admin:
    """Does what an operator or another program does."""

    transport: EtcdTransport

    async def entry(self, key: str) -> Entry | None:
        return (await EtcdKeyspace(self.transport).read(key.encode())).only

    async def keys(self, prefix: str) -> list[str]:
        reading = await EtcdKeyspace(self.transport).read(prefix.encode(), prefix=True)
        return [entry.key.decode() for entry in reading.entries]

    async def leases(self) -> set[int]:
        answer = await self.transport.call("/lease/leases", {})
        return {int(each["ID"]) for each in answer.get("leases", ())}

    async def grant(self, seconds: int = 60) -> int:
        return int((await self.transport.call("/lease/grant", {"TTL": seconds}))["ID"])

    async def revoke(self, lease: int) -> None:
        await self.transport.call("/lease/revoke", {"ID": str(lease)})

    async def revoke_of(self, key: str) -> None:
        entry = await self.entry(key)
        if entry is not None:
            await self.revoke(entry.lease)

    async def put(self, key: str | bytes, value: str | bytes, lease: int = 0) -> None:
        key, value = (each if isinstance(each, bytes) else each.encode() for each in (key, value))
        await EtcdKeyspace(self.transport).write(key, value, lease)

    async def delete(self, key: str) -> None:
        await self.transport.call("/kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})

    async def compact(self) -> None:
        revision = (await EtcdKeyspace(self.transport).read(b"/")).revision
        await self.transport.call("/kv/compaction", {"revision": str(revision), "physical": True})

    async def call(self, method: str, **request: Any) -> dict[str, Any]:
        return await self.transport.call(method, request)


@asynccontextmanager
async def admin_of(*urls: str, **access: Any) -> AsyncIterator[Admin]:
    async with EtcdTransport(EtcdAccess(urls, **access)) as transport:
        yield Admin(transport)

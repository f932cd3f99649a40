"""A proxy in front of a broker that can lose what is on its way without closing anybody's socket."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

import attrs
from servers import KafkaServer, free_port


@attrs.define(eq=False)
class Proxy:
    """Within `async with`. Its address is known before, so that a broker can advertise it.

    Attributes:
        target: `host:port` of the broker; may be set later.
    """

    target: str = ""
    port: int = attrs.field(factory=free_port)
    _swallowing: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _relays: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)
    _server: asyncio.Server | None = attrs.field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def swallow(self) -> None:
        """From now on nothing passes on the connections there are; later ones work."""
        self._swallowing.set()
        self._swallowing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        swallowing = self._swallowing
        host, _, port = self.target.rpartition(":")
        try:
            out_reader, out_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(
                _relay(reader, out_writer, swallowing), _relay(out_reader, writer, swallowing), return_exceptions=True
            )
        except (OSError, asyncio.CancelledError):
            pass  # a cancelled one would be logged by the loop
        finally:
            writer.close()
            self._relays.discard(task)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallowing: asyncio.Event) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not swallowing.is_set():
                    writer.write(data)
                    await writer.drain()
    finally:
        writer.close()


class ProxiedKafka(KafkaServer):
    """A broker that sends clients to a proxy, but speaks to itself directly."""

    def __init__(self, proxy: Proxy, **properties: str) -> None:
        super().__init__(advertised=proxy.address, **properties)
        proxy.target = self.address
        own, controller = f"127.0.0.1:{free_port()}", f"127.0.0.1:{self._controller_port}"
        self._properties |= {
            "listeners": f"PLAINTEXT://{self.address},OWN://{own},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{proxy.address},OWN://{own}",
            "inter.broker.listener.name": "OWN",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,OWN:PLAINTEXT",
        }

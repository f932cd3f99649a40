"""Every transport keeps the contract, and broken ones don't."""

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imgateway.adapters.starlette import asgi_transport
from imgateway.adapters.uvicorn import BoundServer, GatewayWebSocketProtocol, server_config, serving
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.adapters.uvicorn.websocket import frame_parser
from imgateway.ports import Transport
from imgateway.testing.raw_peer import RawPeer
from imgateway.testing.running import assert_caught
from imgateway.testing.transport import RecordingListener, TransportSuite
from imgateway.wire.frames import Frame

RECEIVE_BUFFER = 64 * 1024


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Sockets of asyncio only, on both of its event loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Attacher:
    """An ASGI application that attaches the next listener to each WebSocket."""

    def __init__(self) -> None:
        self.listener = RecordingListener()
        self.transport: Transport | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        await self.attach(scope, receive, send)

    async def attach(self, scope: Any, receive: Any, send: Any) -> None:
        self.transport = scope["extensions"]["imgateway"].attach(self.listener)


class Mover(Attacher):
    """One that moves the messages itself, as on a server without the extension."""

    async def attach(self, scope: Any, receive: Any, send: Any) -> None:
        transport = asgi_transport.AsgiTransport(receive, send)
        self.transport = transport.attach(self.listener)
        await transport.run()


class Host:
    """A server whose WebSockets are attached."""

    def __init__(self, app: Attacher, bound: BoundServer, tls: ssl.SSLContext | None = None) -> None:
        self.app = app
        self.bound = bound
        self.tls = tls

    @asynccontextmanager
    async def connected(self, listener: RecordingListener) -> AsyncIterator[tuple[Transport, RawPeer]]:
        self.app.listener = listener
        peer = await RawPeer.upgraded(self.bound.host, self.bound.port, tls=self.tls, receive_buffer=RECEIVE_BUFFER)
        assert self.app.transport is not None
        yield self.app.transport, peer


@asynccontextmanager
async def hosting(
    kind: type[SocketTransport],
    transport: Literal["picows", "asgi"] = "picows",
    *,
    certificate: Path | None = None,
) -> AsyncIterator[Host]:
    class Protocol(GatewayWebSocketProtocol):
        transport_class = kind
        parser = staticmethod(frame_parser(transport))

    app = Attacher()
    config = server_config(
        app,
        host="127.0.0.1",
        port=0,
        max_frame_bytes=TransportSuite.max_message_bytes,
        tls_cert=None if certificate is None else str(certificate),
    )
    config.ws = Protocol
    tls = None if certificate is None else ssl.create_default_context(cafile=certificate)
    async with serving(config) as bound:
        yield Host(app, bound, tls)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 signed by itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(signed.public_bytes(encoding) + private)
    return file


@asynccontextmanager
async def hosting_portably() -> AsyncIterator[Host]:
    app = Mover()
    config = server_config(app, host="127.0.0.1", port=0, max_frame_bytes=TransportSuite.max_message_bytes)
    config.ws = "websockets-sansio"
    async with serving(config) as bound:
        yield Host(app, bound)


class Impatient(SocketTransport):
    """Waits a fraction of a second for a peer's close frame."""

    __slots__ = ()
    close_seconds = 0.2


class Hosted(TransportSuite):
    """On a server that runs already: one for all clauses."""

    running: Host

    def make(self, listener: RecordingListener, /) -> AbstractAsyncContextManager[tuple[Transport, RawPeer]]:
        return self.running.connected(listener)

    @pytest.fixture(autouse=True)
    def _hosted(self, host: Host) -> None:
        self.running = host


class HostedByUvicorn(Hosted):
    """On a socket of uvicorn's."""

    parsed_by: ClassVar[Literal["picows", "asgi"]]
    encrypted: ClassVar[bool] = False

    @pytest.fixture(scope="class")
    async def host(self, anyio_backend: object, certificate: Path) -> AsyncIterator[Host]:
        async with hosting(Impatient, self.parsed_by, certificate=certificate if self.encrypted else None) as host:
            yield host


@pytest.mark.anyio
class TestPicowsTransport(HostedByUvicorn):
    """Its frames parsed by picows."""

    parsed_by = "picows"


@pytest.mark.anyio
class TestPicowsTransportOverTls(HostedByUvicorn):
    """The same behind TLS."""

    parsed_by = "picows"
    encrypted = True


@pytest.mark.anyio
class TestWebsocketsTransport(HostedByUvicorn):
    """Its frames parsed by the websockets library."""

    parsed_by = "asgi"


@pytest.mark.anyio
class TestWebsocketsTransportOverTls(HostedByUvicorn):
    """The same behind TLS."""

    parsed_by = "asgi"
    encrypted = True


@pytest.mark.anyio
class TestAsgiTransport(Hosted):
    """Any server's ASGI channel, here that of uvicorn as it is."""

    hears_every_frame = False
    tells_pings = False
    limits_fragments = False
    cuts_off = False
    exact_endings = False

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asgi_transport, "CLOSE_SECONDS", 0.2)

    @pytest.fixture(scope="class")
    async def host(self, anyio_backend: object) -> AsyncIterator[Host]:
        async with hosting_portably() as host:
            yield host


class Reversing(Impatient):
    """Writes the frames of one call in the wrong order."""

    __slots__ = ()

    def write(self, frames: Sequence[Frame], /) -> None:
        super().write(frames[::-1])


class Restless(Impatient):
    """Does not pause."""

    __slots__ = ()

    def pause_reading(self) -> None:
        pass


class Optimistic(Impatient):
    """Takes everything for sent."""

    __slots__ = ()

    @property
    def buffered_bytes(self) -> int:
        return 0


class Patient(Impatient):
    """Waits for the peer's close frame for ever."""

    __slots__ = ()

    def _cut_off_later(self) -> None:
        pass


class Repeating(Impatient):
    """Tells the end twice."""

    __slots__ = ()

    def _lose(self) -> None:
        listener = self._listener
        super()._lose()
        if listener is not None:
            listener.lost(1006)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (Reversing, ["frames_leave_in_order"]),
        (Restless, ["nothing_is_told_while_paused", "the_peer_feels_a_pause"]),
        (Optimistic, ["what_the_peer_does_not_read_is_counted"]),
        (Patient, ["close_cuts_off_a_peer_that_does_not_answer", "close_cuts_off_a_peer_that_does_not_read"]),
        (Repeating, ["lost_comes_once_and_last"]),
    ],
)
async def test_broken_transports_fail(broken: type[SocketTransport], clauses: list[str]) -> None:
    async with hosting(broken) as host:
        suite = Hosted()
        suite.running = host
        await assert_caught(suite, *clauses, seconds=10)

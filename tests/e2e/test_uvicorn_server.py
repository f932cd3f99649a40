"""A server that is started and stopped within a running event loop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from imgateway.adapters.uvicorn import server_config, serving, serving_by_doors
from imgateway.errors import LifecycleError
from imgateway.testing.raw_peer import RawPeer

pytestmark = pytest.mark.anyio

PATIENCE = 60


class Application:
    """Writes down when it starts and stops; fails where it is told to."""

    def __init__(self, *, fail: str = "") -> None:
        self.events: list[str] = []
        self.app = Starlette(lifespan=self._lifespan, routes=[Route("/", self._answer), Route("/hang", self._hang)])
        self.hanging = anyio.Event()
        self.on_start: Callable[[], object] = lambda: None
        self._fail = fail

    def config(self, **options: Any) -> uvicorn.Config:
        return server_config(self.app, **{"host": "127.0.0.1", "port": 0, "max_frame_bytes": 1000, **options})

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._event("start")
        self.on_start()
        yield
        self._event("stop")

    def _event(self, name: str) -> None:
        self.events.append(name)
        if self._fail == name:
            raise RuntimeError(f"could not {name}")

    async def _answer(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("here")

    async def _hang(self, request: Request) -> PlainTextResponse:
        self.hanging.set()
        await anyio.sleep_forever()
        raise AssertionError


async def get(host: str, port: int, path: str = "/") -> bytes:
    peer = await RawPeer.connect(host, port)
    await peer.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    with anyio.fail_after(PATIENCE):
        response = await peer.receive_rest()
    await peer.aclose()
    return response


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    yield
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_serves_within_the_block(host: str) -> None:
    application = Application()
    async with serving(application.config(host=host)) as bound:
        assert application.events == ["start"]
        assert (await get(bound.host, bound.port)).endswith(b"here")
    assert application.events == ["start", "stop"]
    with pytest.raises(OSError, match="connect"):
        await get(bound.host, bound.port)


async def test_a_port_in_use_is_told_before_anything_starts() -> None:
    application = Application()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serving(application.config(port=taken.getsockname()[1])):
            raise AssertionError
    assert application.events == []


async def test_a_port_taken_while_the_application_starts() -> None:
    """Then the application is shut down again."""
    application = Application()
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", 0))
        application.on_start = rival.listen
        with pytest.raises(OSError, match="in use"):
            async with serving(application.config(port=rival.getsockname()[1])):
                raise AssertionError
    assert application.events == ["start", "stop"]


async def test_what_the_application_raises_at_its_start_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    application = Application(fail="start")
    with pytest.raises(RuntimeError, match="could not start"):
        async with serving(application.config()):
            raise AssertionError
    assert application.events == ["start"]
    assert caplog.text == ""


async def test_what_the_application_raises_at_its_end_is_raised() -> None:
    application = Application(fail="stop")
    with pytest.raises(RuntimeError, match="could not stop"):
        async with serving(application.config()):
            pass
    assert application.events == ["start", "stop"]


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
async def test_an_application_that_says_it_failed(phase: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            await receive()
            outcome = "failed" if step == phase else "complete"
            await send({"type": f"lifespan.{step}.{outcome}"})
            if outcome == "failed":
                return

    with pytest.raises(LifecycleError):
        async with serving(server_config(app, host="127.0.0.1", port=0, max_frame_bytes=1000)):
            pass


async def test_an_application_that_never_starts_can_be_given_up() -> None:
    starting = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        starting.set()
        await anyio.sleep_forever()

    async def serve() -> None:
        async with serving(server_config(app, host="127.0.0.1", port=0, max_frame_bytes=1000)):
            raise AssertionError

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await starting.wait()
            tasks.cancel_scope.cancel()


async def test_a_cancelled_block_still_stops_the_server() -> None:
    application = Application()
    with anyio.CancelScope() as scope:
        async with serving(application.config()):
            scope.cancel()
            await anyio.sleep_forever()
    assert application.events == ["start", "stop"]


async def test_an_exception_in_the_block_passes_unchanged() -> None:
    application = Application()
    with pytest.raises(KeyError, match="mine"):
        async with serving(application.config()):
            raise KeyError("mine")
    assert application.events == ["start", "stop"]


async def test_requests_that_never_end_are_cut_off() -> None:
    application = Application()
    config = application.config()
    config.timeout_graceful_shutdown = 0
    async with anyio.create_task_group() as tasks, serving(config) as bound:
        tasks.start_soon(get, bound.host, bound.port, "/hang")
        await application.hanging.wait()
    assert application.events == ["start", "stop"]


async def test_idle_connections_are_closed() -> None:
    application = Application()
    async with serving(application.config()) as bound:
        silent = await RawPeer.connect(bound.host, bound.port)
    with anyio.fail_after(PATIENCE):
        assert await silent.receive_rest() == b""
    await silent.aclose()


async def test_signals_are_left_alone() -> None:
    application = Application()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(application.config()):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_two_servers_in_one_loop() -> None:
    first, second = Application(), Application()
    async with serving(first.config()) as one, serving(second.config()) as two:
        assert one.port != two.port
        assert (await get(two.host, two.port)).endswith(b"here")
    assert first.events == second.events == ["start", "stop"]


# Doors.


async def ask(door: socket.socket) -> RawPeer:
    """A client that has connected and asked; the kernel answers the first for whoever listens."""
    peer = await RawPeer.connect(*door.getsockname())
    await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return peer


async def answered(peer: RawPeer) -> bool:
    with anyio.fail_after(PATIENCE):
        response = await peer.receive_rest()
    await peer.aclose()
    return response.endswith(b"here")


async def test_who_comes_by_a_door_that_is_not_open_waits_until_it_is() -> None:
    application = Application()
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        async with serving_by_doors(application.config()) as doors:
            assert application.events == ["start"]
            waiting = await ask(first)
            await doors.open([second])
            assert await answered(await ask(second))
            await doors.open([first, second])
            assert await answered(waiting)
            # Closed and opened again, also in one go: the sockets are the caller's, and go on listening.
            await doors.open([first])
            waiting = await ask(second)
            assert await answered(await ask(first))
            await doors.open(())
            await doors.open([second])
            assert await answered(waiting)
        assert application.events == ["start", "stop"]
        waiting = await ask(first)
        async with serving_by_doors(Application().config()) as doors:
            await doors.open([first])
            assert await answered(waiting)


@pytest.mark.parametrize("turns", range(1, 6))
async def test_of_two_that_open_doors_at_the_same_time_the_last_one_counts(turns: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        async with serving_by_doors(Application().config()) as doors:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(doors.open, [first])
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                await doors.open([second])
            waiting = await ask(first)
            assert await answered(await ask(second))
            first.accept()[0].close()  # it is still there to be taken
            await waiting.aclose()

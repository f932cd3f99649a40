"""What all contract suites share: patience, unique names, and waiting without guessing."""

import inspect
from collections.abc import Awaitable, Callable
from uuid import uuid4

import anyio
import anyio.lowlevel

_QUIET_TURNS = 50
_STREAM_SECONDS = (0.5, 4.0, 16.0)
"""Times for a stream that is to end with it: on a busy machine the shorter ones are over before anything has come."""


class ContractSuite:
    """A port's contract as tests. Subclass a port's suite, override its hooks, and let a test runner find it.

    Every `test_` method is one clause, stated in its docstring. Suites need no particular test runner: with pytest
    and anyio's plugin, mark the subclass with `@pytest.mark.anyio`, and let `conftest.py` call
    `pytest.register_assert_rewrite("imgateway.testing")` to see the values that an assertion compared.

    Attributes:
        patience: seconds to wait for what must happen.
        quiet_seconds: how long to watch that something does not happen. Zero is right for what runs in the process,
            it stands for some turns of the event loop; behind a socket, somewhat longer than an answer takes.
    """

    patience: float = 30.0
    quiet_seconds: float = 0.0

    def unique(self, name: str, /) -> str:
        """A name that no other clause and no other run uses, so that real services may be shared."""
        return f"{name}-{uuid4().hex[:12]}"

    async def eventually(self, condition: Callable[[], bool | Awaitable[bool]], what: str, /) -> None:
        """Wait until `condition` holds.

        Raises:
            AssertionError: it does not within `patience` seconds; the text is `what`.
        """
        with anyio.move_on_after(self.patience):
            while True:
                holds = condition()
                if await holds if inspect.isawaitable(holds) else holds:
                    return
                await anyio.sleep(0.01)
        raise AssertionError(f"within {self.patience} s: {what}")

    async def once_begun(self, read: Callable[[float], Awaitable[list[bytes]]], /) -> list[bytes]:
        """What had come of a stream when its time was over; it is given more time where that is nothing.

        Args:
            read: opens a stream with so many seconds, reads it to its end and closes it; its messages.
        """
        messages: list[bytes] = []
        for seconds in _STREAM_SECONDS:
            messages = await read(seconds)
            if messages:
                break
        return messages

    async def quiet(self) -> None:
        """Give what should not happen the chance to happen."""
        for _ in range(_QUIET_TURNS):
            await anyio.lowlevel.checkpoint()
        if self.quiet_seconds:
            await anyio.sleep(self.quiet_seconds)

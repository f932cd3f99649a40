"""Tasks that can be ended one by one, while the task group that owns them lives on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

import anyio
import anyio.abc
import attrs


@asynccontextmanager
async def background_tasks() -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group that ends with the context; what the context raises comes out as it is, not in a group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@attrs.define(eq=False)
class BackgroundTask:
    """Work that runs until it is stopped, or its task group is."""

    _scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _ended: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    @classmethod
    def start(cls, tasks: anyio.abc.TaskGroup, work: Callable[[], Awaitable[None]], /) -> Self:
        """Let `work` run; returns at once."""
        task = cls()
        tasks.start_soon(task._run, work)
        return task

    async def stop(self) -> None:
        """Cancel the work, and wait for its end. Idempotent."""
        self._scope.cancel()
        await self._ended.wait()

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await work()
        finally:
            self._ended.set()

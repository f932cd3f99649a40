"""Tasks that live as long as a block, and whether somebody has cancelled one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks for the block, which ends them itself. The block's own error comes out as it is."""
    failed: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except Exception as error:
            # Not wrapped into a group by the tasks that had no part in it.
            failed = error
    if failed is not None:
        raise failed


def is_cancelled() -> bool:
    """Whether somebody has cancelled the running task: gRPC raises CancelledError for a closed channel as well."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

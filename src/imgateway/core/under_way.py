"""How much is under way."""

import anyio


class UnderWay:
    """Counts what has begun and not yet ended. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._count = 0
        self._none: anyio.Event | None = None

    def begin(self) -> None:
        """One more."""
        self._count += 1

    def end(self) -> None:
        """One less."""
        self._count -= 1
        if not self._count and self._none is not None:
            self._none.set()
            self._none = None

    async def wait_none(self) -> None:
        """Return when nothing is under way."""
        while self._count:
            if self._none is None:
                self._none = anyio.Event()
            await self._none.wait()

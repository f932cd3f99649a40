"""A request that does not fit its message."""

from collections.abc import Iterable, Sequence
from typing import Final

STEPS_INTO_THE_DEEP: Final = 3
"""Of the way to what nests too deep only the outermost steps are told."""

TOO_DEEP: Final = "nests deeper than messages can"


def _joined(outer: str, path: str) -> str:
    return f"{outer}{path}" if path.startswith("[") or not path else f"{outer}.{path}"


class FieldError(Exception):
    """A field of a request can't be what the client wrote.

    Attributes:
        path: the field as a client names it, `members[2].role`; empty for the body as a whole.
        why: for people, without repeating what the client wrote.
    """

    def __init__(self, path: str, why: str, /) -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self.path = path
        self.why = why

    @classmethod
    def at(cls, steps: Sequence[str], why: str, /) -> "FieldError":
        """At the end of a way from the outside; a step is as in `within`."""
        path = ""
        for step in reversed(steps):
            path = _joined(step, path)
        return FieldError(path, why)

    def within(self, outer: str, /) -> "FieldError":
        """The same one level further out: `outer` is a field's name or an index like `[2]`."""
        return FieldError(_joined(outer, self.path), self.why)


class NestingError(FieldError):
    """A message nests deeper than messages can.

    Its path is the way to where that is, `STEPS_INTO_THE_DEEP` steps of it at most.
    """

    def __init__(self, steps: Iterable[str] = (), /) -> None:
        self._steps = tuple(steps)[:STEPS_INTO_THE_DEEP]
        error = FieldError.at(self._steps, TOO_DEEP)
        super().__init__(error.path, error.why)

    def within(self, outer: str, /) -> "NestingError":
        """The same one level further out, with no more steps."""
        return NestingError((outer, *self._steps))

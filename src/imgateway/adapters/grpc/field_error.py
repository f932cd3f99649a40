"""A request that does not fit its message."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

MAX_STEPS: Final = 16
"""Of a longer path only the outermost steps are told."""

STEPS_INTO_THE_DEEP: Final = 3
"""Of the way to what nests too deep only the outermost steps are told."""

TOO_DEEP: Final = "nests deeper than messages can"


class FieldError(Exception):
    """A field of a request can't be what the client wrote.

    Attributes:
        path: the field as a client names it, `members[2].role`; empty for the body as a whole. One of more than
            `MAX_STEPS` steps ends in an ellipsis after them.
        why: for people, without repeating what the client wrote.
    """

    def __init__(self, step: str, why: str, /) -> None:
        """Of a path with one step, or with "" none."""
        super().__init__(step, why)
        self.why = why
        self._steps: tuple[str, ...] = (step,) if step else ()

    @classmethod
    def at(cls, steps: Iterable[str], why: str, /) -> "FieldError":
        """At the end of a way from the outside; a step is as in `within`."""
        error = FieldError("", why)
        error._steps = tuple(islice(steps, MAX_STEPS + 1))  # the last one says that there are more
        return error

    def within(self, outer: str, /) -> "FieldError":
        """The same one level further out: `outer` is a field's name or an index like `[2]`."""
        return FieldError.at((outer, *self._steps), self.why)

    @property
    def path(self) -> str:  # noqa: D102 - an attribute of the class's docstring
        told = "".join(step if step.startswith("[") else f".{step}" for step in self._steps[:MAX_STEPS])
        return told.removeprefix(".") + "…" * (len(self._steps) > MAX_STEPS)

    def __str__(self) -> str:
        path = self.path
        return f"{path}: {self.why}" if path else self.why


class NestingError(FieldError):
    """A message nests deeper than messages can.

    Its path is the way to where that is, `STEPS_INTO_THE_DEEP` steps of it at most.
    """

    def __init__(self, steps: Iterable[str] = (), /) -> None:
        super().__init__("", TOO_DEEP)
        self._steps = tuple(steps)[:STEPS_INTO_THE_DEEP]

    def within(self, outer: str, /) -> "NestingError":
        """The same one level further out, with no more steps."""
        return NestingError((outer, *self._steps))

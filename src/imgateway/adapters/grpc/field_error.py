"""A request that does not fit its message."""


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

    def within(self, outer: str, /) -> "FieldError":
        """The same one level further out: `outer` is a field's name or an index like `[2]`."""
        if not self.path:
            return FieldError(outer, self.why)
        return FieldError(f"{outer}{self.path}" if self.path.startswith("[") else f"{outer}.{self.path}", self.why)

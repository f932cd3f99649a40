"""Path templates, by the grammar in google/api/http.proto."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

import attrs

from imgateway.adapters.grpc.routing.percent import decoded, encoded

MAX_TEMPLATE_SEGMENTS: Final = 64
"""Most segments of a template, so that looking a path up never goes deep."""

_FIELD_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f{}*?#\"<>\\^`|]")


class Wildcard(Enum):
    """A segment of a template that is not literal."""

    ONE = "*"
    REST = "**"


Segment = str | Wildcard
"""A literal, decoded; `Wildcard.ONE` for one segment that is not empty; `Wildcard.REST` for all that follow, if any."""


@attrs.frozen
class Variable:
    """A part of the path that goes into a field.

    Attributes:
        field_path: names of fields, from the request message inwards.
        start: index of the first segment.
        end: index after the last one; None where everything that follows belongs to it.
        pattern: the segments.
    """

    field_path: tuple[str, ...]
    start: int
    end: int | None
    pattern: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """`a.b`."""
        return ".".join(self.field_path)

    @property
    def several(self) -> bool:
        """Whether it may capture more than one segment, so that `%2F` in it stays encoded."""
        return self.pattern != (Wildcard.ONE,) and (len(self.pattern) > 1 or self.pattern[0] is Wildcard.REST)


@attrs.frozen
class PathTemplate:
    """A parsed template. `str()` writes it out again; parsing that gives an equal one.

    Attributes:
        segments: at least one; `Wildcard.REST` only at the end.
        variables: in the order of the path.
        verb: what follows the last `:`, decoded; empty without one.
    """

    segments: tuple[Segment, ...]
    variables: tuple[Variable, ...] = ()
    verb: str = ""

    @classmethod
    def parse(cls, text: str, /) -> "PathTemplate":
        """Read a rule's path.

        Raises:
            ValueError: it does not follow the grammar; the message goes on where "the path" begins.
        """
        return _Parser(text).template()

    @property
    def only_path(self) -> str | None:
        """The one path that fits, decoded; None where there are wildcards, and so many paths."""
        literals = [segment for segment in self.segments if isinstance(segment, str)]
        if len(literals) < len(self.segments):
            return None
        return f"/{'/'.join(literals)}{':' if self.verb else ''}{self.verb}"

    def under(self, prefix: Sequence[str], /) -> "PathTemplate":
        """The same path below some literal segments; unchanged where it begins with them already."""
        count = len(prefix)
        if self.segments[:count] == tuple(prefix):
            return self
        moved = [
            attrs.evolve(v, start=v.start + count, end=None if v.end is None else v.end + count) for v in self.variables
        ]
        return PathTemplate((*prefix, *self.segments), tuple(moved), self.verb)

    def __str__(self) -> str:
        starts = {variable.start: variable for variable in self.variables}
        pieces: list[str] = []
        at = 0
        while at < len(self.segments):
            variable = starts.get(at)
            if variable is None:
                pieces.append(_written(self.segments[at]))
                at += 1
                continue
            at += len(variable.pattern)
            if variable.pattern == (Wildcard.ONE,):
                pieces.append(f"{{{variable.name}}}")
            else:
                pieces.append(f"{{{variable.name}={'/'.join(map(_written, variable.pattern))}}}")
        verb = f":{_no_colon(encoded(self.verb))}" if self.verb else ""
        if not verb and ":" in pieces[-1]:
            pieces[-1] = _no_colon(pieces[-1])
        return f"/{'/'.join(pieces)}{verb}"


def _no_colon(text: str) -> str:
    return text.replace(":", "%3A")


def _written(segment: Segment) -> str:
    return segment.value if isinstance(segment, Wildcard) else encoded(segment)


class _Parser:
    """Reads one template from left to right."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError("must begin with '/'")
        self.segments: list[Segment] = []
        self.variables: list[Variable] = []
        self.rest = text[1:]

    def template(self) -> PathTemplate:
        verb = ""
        while True:
            self._part()
            if not self.rest:
                break
            if self.rest[0] == "/":
                self.rest = self.rest[1:]
                continue
            if "/" in self.rest or ":" in self.rest[1:]:
                raise ValueError("has something behind its verb")
            verb = _literal(self.rest[1:], "verb after ':'")
            break
        if len(self.segments) > MAX_TEMPLATE_SEGMENTS:
            raise ValueError(f"has more than {MAX_TEMPLATE_SEGMENTS} segments")
        if Wildcard.REST in self.segments[:-1]:
            raise ValueError("has '**' before its last segment")
        names = [variable.name for variable in self.variables]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has the variable {name} twice")
        return PathTemplate(tuple(self.segments), tuple(self.variables), verb)

    def _part(self) -> None:
        """One segment or variable; leaves `rest` empty, at a '/' or at the ':' of the verb."""
        if self.rest.startswith("{"):
            inside, closed, self.rest = self.rest[1:].partition("}")
            if not closed:
                raise ValueError("has '{' without '}'")
            if self.rest and self.rest[0] not in "/:":
                raise ValueError("has text right behind '}'")
            self._variable(inside)
            return
        slash = self.rest.find("/")
        end = len(self.rest) if slash < 0 else slash
        if slash < 0 and ":" in self.rest:
            end = self.rest.rfind(":")
        self.segments.append(_segment(self.rest[:end]))
        self.rest = self.rest[end:]

    def _variable(self, inside: str) -> None:
        name, given, pattern = inside.partition("=")
        if not _FIELD_PATH.fullmatch(name):
            raise ValueError("has a variable without a proper field name")
        segments = tuple(map(_segment, pattern.split("/"))) if given else (Wildcard.ONE,)
        start = len(self.segments)
        self.segments += segments
        end = None if segments[-1] is Wildcard.REST else len(self.segments)
        self.variables.append(Variable(tuple(name.split(".")), start, end, segments))


def _segment(text: str) -> Segment:
    if text in ("*", "**"):
        return Wildcard(text)
    return _literal(text, "segment")


def _literal(text: str, what: str) -> str:
    if not text:
        raise ValueError(f"has an empty {what}")
    if _FORBIDDEN.search(text):
        raise ValueError(f"has a {what} with a character that does not belong there")
    try:
        return decoded(text) if text.isascii() else decoded(encoded_keeping_escapes(text))
    except ValueError as error:
        raise ValueError(f"has a {what} that {error}") from None


def encoded_keeping_escapes(text: str, /) -> str:
    """Letters beyond ASCII as `%`-escapes, everything else as it is."""
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)

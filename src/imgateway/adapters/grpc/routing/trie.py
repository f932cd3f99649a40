"""Finding the template that fits a path."""

from typing import Final, Generic, TypeVar

import attrs

from imgateway.adapters.grpc.routing.percent import decoded
from imgateway.adapters.grpc.routing.template import PathTemplate, Wildcard

MAX_PATH_SEGMENTS: Final = 1000
"""A path of more segments is nobody's."""

Captures = tuple[str, ...]
"""What a template's variables captured, in their order, still percent-encoded."""

T = TypeVar("T")


@attrs.frozen(eq=False)
class _Leaf(Generic[T]):
    value: T
    spans: tuple[tuple[int, int | None], ...]

    def captures(self, segments: list[str]) -> Captures:
        return tuple(
            [segments[start] if end == start + 1 else "/".join(segments[start:end]) for start, end in self.spans]
        )


@attrs.define(eq=False)
class _Node(Generic[T]):
    """After some segments. Leaves are by verb, empty for none."""

    literals: "dict[str, _Node[T]]" = attrs.field(factory=dict)
    one: "_Node[T] | None" = None
    here: dict[str, _Leaf[T]] = attrs.field(factory=dict)
    rest: dict[str, _Leaf[T]] = attrs.field(factory=dict)

    def find(self, names: "list[str | None]", at: int, verb: str) -> _Leaf[T] | None:
        """The best leaf for `names[at:]`.

        Every node stands for one index into the path and is come to at most once, so that the work is bounded by
        the size of the trie, whatever the path is.
        """
        if at == len(names):
            if leaf := self.here.get(verb):
                return leaf
        else:
            name = names[at]
            if (
                name is not None
                and (node := self.literals.get(name)) is not None
                and (leaf := node.find(names, at + 1, verb)) is not None
            ):
                return leaf
            if (node := self.one) is not None and name != "" and (leaf := node.find(names, at + 1, verb)) is not None:
                return leaf
        return self.rest.get(verb) if self.rest else None


@attrs.define(eq=False)
class PathTrie(Generic[T]):
    """Values by path template.

    A literal segment is preferred to `*`, that to `**`, the first segment that differs deciding; a template with a
    verb to one without. The order of `add` does not matter.
    """

    _root: _Node[T] = attrs.field(factory=_Node, init=False)
    _verbs: set[str] = attrs.field(factory=set, init=False)

    def add(self, template: PathTemplate, value: T, /) -> T | None:
        """Put a value in; where a template that fits the same paths is there, nothing changes and its value comes."""
        node = self._root
        leaves = node.here
        for segment in template.segments:
            if segment is Wildcard.REST:
                leaves = node.rest
                break
            if segment is Wildcard.ONE:
                if node.one is None:
                    node.one = _Node()
                node = node.one
            else:
                assert isinstance(segment, str)  # noqa: S101  # for the type checker: all wildcards are above
                node = node.literals.setdefault(segment, _Node())
            leaves = node.here
        if template.verb in leaves:
            return leaves[template.verb].value
        leaves[template.verb] = _Leaf(value, tuple((v.start, v.end) for v in template.variables))
        if template.verb:
            self._verbs.add(template.verb)
        return None

    def find(self, path: str, /) -> tuple[T, Captures] | None:
        """The value whose template fits an undecoded path best, and what its variables captured."""
        if not path.startswith("/") or path.count("/") > MAX_PATH_SEGMENTS:
            return None
        segments = path.split("/")
        del segments[0]
        names: list[str | None] = segments  # type: ignore[assignment]  # only read below
        if "%" in path or not path.isascii():
            names = list(map(_name, segments))
        if self._verbs and ":" in (last := segments[-1]):
            bare, _, verb = last.rpartition(":")
            if (verb_name := _name(verb)) in self._verbs:
                shorter = [*names[:-1], _name(bare)]
                if leaf := self._root.find(shorter, 0, verb_name):
                    segments[-1] = bare
                    return leaf.value, leaf.captures(segments)
        leaf = self._root.find(names, 0, "")
        return None if leaf is None else (leaf.value, leaf.captures(segments))


def _name(segment: str) -> str | None:
    """A segment as literals are compared; None where it can't be decoded, which only a wildcard takes."""
    try:
        return decoded(segment)
    except ValueError:
        return None

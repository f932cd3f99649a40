"""The HTTP rules of methods (`google.api.http`)."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

ANY_METHOD: Final = "*"
"""The HTTP method of a custom rule that takes every one but `NOT_ANY`."""

NOT_ANY: Final = frozenset({"CONNECT", "OPTIONS", "TRACE"})
"""What such a rule is never found by: these speak of a resource or the way to it, and are no calls (RFC 9110, 9.3)."""

COMMON_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})
"""What stands for such a rule where methods are listed."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_UNROUTABLE: Final = ("CONNECT", "TRACE")


@attrs.frozen
class Rule:
    """One binding of a method as its proto file has it.

    Attributes:
        http_method: in upper case, or `ANY_METHOD`.
        problem: why it can't even be read, or None.
    """

    http_method: str
    path: str
    body: str
    response_body: str
    problem: str | None = None

    def __str__(self) -> str:
        return " ".join(f"{self.http_method} {self.path}".split()) or "a rule"


def rules_of(method: MethodDescriptor, /) -> Sequence[Rule]:
    """A method's rule and its additional bindings, in that order; nothing where it has none."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return ()
    return tuple(_read(options.Extensions[annotations_pb2.http]))


# The stubs of google.api are not typed.
def _read(rule: Any, outer: bool = True) -> Iterator[Rule]:
    pattern = rule.WhichOneof("pattern")
    problem: str | None = None
    if pattern is None:
        http_method, path, problem = "", "", "names no HTTP method and path"
    elif pattern == "custom":
        http_method, path = rule.custom.kind.upper(), rule.custom.path
        if http_method in _UNROUTABLE or not _TOKEN.fullmatch(http_method):
            problem = "its kind is no HTTP method that can be served"
    else:
        http_method, path = pattern.upper(), getattr(rule, pattern)
    if not outer and rule.additional_bindings:
        problem = "additional bindings can't have additional bindings"
    yield Rule(http_method, path, rule.body, rule.response_body, problem)
    if outer:
        for additional in rule.additional_bindings:
            yield from _read(additional, outer=False)

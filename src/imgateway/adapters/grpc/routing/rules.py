"""The HTTP rules of methods (`google.api.http`)."""

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

SERVED_METHODS: Final = COMMON_METHODS.union(
    ("ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL"),
    ("MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE"),
    ("SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
)
"""What a rule can be for: the methods that the HTTP parser of uvicorn (llhttp, in httptools) knows, without those of
`NOT_ANY`. It refuses every other one with 400 before the gateway hears of it."""

_KIND_ANSWERED: Final = "its kind is OPTIONS, which the gateway answers itself"
_KIND_UNSERVED: Final = "its kind is no HTTP method that can be served"


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
        if http_method == "OPTIONS":  # else web pages' preflights would become calls
            problem = _KIND_ANSWERED
        elif http_method != ANY_METHOD and http_method not in SERVED_METHODS:
            problem = _KIND_UNSERVED
    else:
        http_method, path = pattern.upper(), getattr(rule, pattern)
    if not outer and rule.additional_bindings:
        problem = "additional bindings can't have additional bindings"
    yield Rule(http_method, path, rule.body, rule.response_body, problem)
    if outer:
        for additional in rule.additional_bindings:
            yield from _read(additional, outer=False)

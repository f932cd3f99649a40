"""Protobuf says whether a message can be sent; where it can't, we name a field that it is for."""

import json
import re
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from tests.grpc_protos import pool_of
from tests.properties.grpc_messages import KINDS
from tests.properties.grpc_messages import POOL as KINDS_POOL

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.codec.structs import key_path
from imgateway.adapters.grpc.codec.wire_form import serialised
from imgateway.adapters.grpc.field_error import STEPS_INTO_THE_DEEP, FieldError, NestingError

POOL = pool_of("needs.proto")
NEED = POOL.FindMessageTypeByName("imgateway.test.Need")

_keys = st.text("abc_.", max_size=3)


def _having(required: dict[str, Any], optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Objects that mostly have what is required."""
    there = st.sampled_from((True, True, True, False)).flatmap(lambda has: st.just(required if has else {}))
    return st.builds(lambda first, second: first | second, there, st.fixed_dictionaries({}, optional=optional))


def _need(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    detail = _having({"text": ""}, {"below": inner})
    optional = {
        "inner": inner,
        "innerList": st.lists(inner, max_size=3),
        "byName": st.dictionaries(_keys, inner, max_size=2),
        "byNumber": st.dictionaries(st.integers(-3, 3).map(str), detail, max_size=2),
        "byTruth": st.dictionaries(st.sampled_from(("true", "false")), detail, max_size=2),
        "chosen": detail,
        "listField": st.lists(detail, max_size=2),
        "folded": st.sampled_from(({}, {"depth": 1})),
        "numbers": st.just([1]),
    }
    return _having({"needIt": ""}, optional)


needs = st.recursive(_having({"needIt": ""}, {}), _need, max_leaves=8)

_JSON_NAMES = {"some_text": "text"} | {
    name: re.sub("_(.)", lambda found: found[1].upper(), name)
    for name in ("need_it", "inner_list", "by_name", "by_number", "by_truth", "list_field")
}


def _as_clients_write(path: str) -> str:
    """One of protobuf's paths: `by_truth[true].some_text` is `byTruth["true"].text`."""
    parts = re.split(r'("[^"]*")', path)
    for index in range(0, len(parts), 2):
        names = re.sub("[a-z_]+", lambda found: _JSON_NAMES.get(found[0], found[0]), parts[index])
        parts[index] = re.sub(r"(byNumber|byTruth)\[([^]]+)\]", r'\1["\2"]', names)
    return "".join(parts)


def _refusal(call: Callable[[], object]) -> FieldError | None:
    try:
        call()
    except FieldError as error:
        return error
    return None


@given(needs)
def test_what_is_missing_is_what_protobuf_misses(value: Any) -> None:
    text = json.dumps(value)
    expected: Any = json_format.Parse(text, GetMessageClass(NEED)(), descriptor_pool=POOL)
    message = GetMessageClass(NEED)()
    MessageCodec(POOL).decoder(NEED)(text.encode(), message)
    assert message == expected
    missing = [_as_clients_write(path) for path in expected.FindInitializationErrors()]

    error = _refusal(lambda: serialised(message))

    assert (error is None) == (missing == [])
    if error is not None:
        assert error.path in missing
        assert error.why == "is required, but missing"


_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "message": ('{"recursiveMessage":', "}", ("recursiveMessage",)),
    "two messages": ('{"optionalNestedMessage":{"corecursive":', "}}", ("optionalNestedMessage", "corecursive")),
    "element": ('{"repeatedRecursive":[{},', "]}", ("repeatedRecursive", "[1]")),
    "entry": ('{"mapBoolRecursive":{"true":', "}}", ("mapBoolRecursive", '["true"]')),
}
_FIELDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Value": ('{"optionalValue":', "}", ("optionalValue",)),
    "Values": ('{"repeatedValue":[', "]}", ("repeatedValue", "[0]")),
    "entry": ('{"mapStringValue":{"k":', "}}", ("mapStringValue", '["k"]')),
}
_FREE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "object": ('{"x":1,"a":', "}", (key_path("a"),)),
    "array": ("[", "]", ("[0]",)),
}


@given(
    st.lists(st.sampled_from(sorted(_KINDS)), max_size=12),
    st.sampled_from(sorted(_FIELDS)),
    st.lists(st.sampled_from(sorted(_FREE)), min_size=25, max_size=55),
    st.sampled_from(("1", "[]", "{}", "null")),
)
def test_what_nests_too_deep_does_so_by_protobufs_own_measure(
    around: list[str], field: str, within: list[str], end: str
) -> None:
    parts = [*(_KINDS[kind] for kind in around), _FIELDS[field], *(_FREE[kind] for kind in within)]
    text = "".join(part[0] for part in parts) + end + "".join(part[1] for part in reversed(parts))
    steps = [step for part in parts for step in part[2]]
    sent = json_format.Parse(text, GetMessageClass(KINDS)(), descriptor_pool=KINDS_POOL, max_recursion_depth=1000)
    try:
        GetMessageClass(KINDS).FromString(sent.SerializeToString())
    except DecodeError:
        fits = False
    else:
        fits = True

    message = GetMessageClass(KINDS)()
    error = _refusal(lambda: MessageCodec(KINDS_POOL).decoder(KINDS)(text.encode(), message))

    assert (error is None) == fits
    if error is None:
        assert message == sent
    else:
        assert isinstance(error, NestingError)
        assert error.path == FieldError.at(steps[:STEPS_INTO_THE_DEEP], "").path

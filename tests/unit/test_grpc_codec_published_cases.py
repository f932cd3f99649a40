"""The published conformance cases of the ProtoJSON format.

`protojson_cases.jsonl` holds them as data: name, rule, JSON, and what is expected as protobuf's text format (or JSON,
for what is written). Facts and names are those of conformance/binary_json_conformance_suite.cc in the protobuf
repository, commit e712d276bcea, for proto3; the message is our own of the same fields. `FloatField…Nan` and
`DoubleField…Nan`, which begin with bytes, are in the code below.

Left out are:
- FieldNameExtension and StoresDefaultPrimitive, which the suite runs on proto2 only (extensions are unknown fields
  here, and presence is in the properties);
- RejectReservedFieldName, which the suite defines and never runs: a reserved name is an unknown one;
- the cases that begin with bytes and are about parsing those, which is the protobuf library's.

Those of `REFUSED_ON_PURPOSE` are not kept to.
"""

import json
import struct
from collections import Counter
from typing import NamedTuple

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import FOLDER, pool_of

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.field_error import FieldError

POOL = pool_of("kinds.proto")
KINDS = POOL.FindMessageTypeByName("imgateway.test.Kinds")
STRICT = MessageCodec(POOL, unknown_fields="reject")
LENIENT = MessageCodec(POOL, unknown_fields="ignore")


class Case(NamedTuple):
    name: str
    rule: str
    json: str
    expected: str


REFUSED_ON_PURPOSE = {
    "IgnoreUnknownEnumStringValueInOptionalField": "optionalNestedEnum",
    "IgnoreUnknownEnumStringValueInRepeatedField": "repeatedNestedEnum[0]",
    "IgnoreUnknownEnumStringValueInRepeatedPart": "repeatedNestedEnum[1]",
    "IgnoreUnknownEnumStringValueInMapValue": 'mapStringNestedEnum["key"]',
    "IgnoreUnknownEnumStringValueInMapPart": 'mapStringNestedEnum["key2"]',
}
"""Cases of values that a reader drops if an enum has no such name, and where they are. Nothing is dropped here: the
back end would get another message than the client wrote, and a shorter list, and nobody would know."""

CASES = [Case(*json.loads(line)) for line in (FOLDER / "protojson_cases.jsonl").read_text().splitlines()]


def _of(*rules: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case.rule in rules]
    return pytest.mark.parametrize("case", chosen, ids=[f"{case.name}-{case.rule}" for case in chosen])


def _empty() -> Message:
    return GetMessageClass(KINDS)()


def _from_text(text: str) -> Message:
    return text_format.Parse(text, _empty(), descriptor_pool=POOL)


def _read(text: str, codec: MessageCodec = STRICT) -> Message:
    message = _empty()
    codec.decoder(KINDS)(text.encode(), message)
    return message


def _same(one: Message, other: Message) -> bool:
    # NaN differs from itself, its bytes don't.
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def _check_written(message: Message) -> None:
    written = STRICT.encoder(KINDS)(message)
    assert json.loads(written) == json_format.MessageToDict(message, descriptor_pool=POOL)
    assert _same(_read(written.decode()), message)


def test_no_case_is_lost() -> None:
    assert Counter(case.rule for case in CASES) == {
        "read": 166,
        "refused": 149,
        "written": 20,
        "unwritable": 15,
        "ignored": 11,
        "read-or-refused": 5,
    }
    assert {case.name for case in CASES if case.rule == "ignored"} >= REFUSED_ON_PURPOSE.keys()


@_of("read")
def test_what_is_valid_is_read_and_written(case: Case) -> None:
    message = _read(case.json)

    assert _same(message, _from_text(case.expected))
    _check_written(message)


@_of("refused")
def test_what_is_invalid_is_refused(case: Case) -> None:
    with pytest.raises(FieldError):
        _read(case.json)


@_of("ignored")
def test_unknown_fields_are_ignored_where_they_may_be_and_unknown_names_of_enums_never(case: Case) -> None:
    if case.name in REFUSED_ON_PURPOSE:
        for codec in (STRICT, LENIENT):
            with pytest.raises(FieldError) as caught:
                _read(case.json, codec)
            assert (caught.value.path, caught.value.why) == (REFUSED_ON_PURPOSE[case.name], "is no value of Mood")
        return
    assert _same(_read(case.json, LENIENT), _from_text(case.expected))


@_of("read-or-refused")
def test_where_readers_may_differ_this_one_refuses(case: Case) -> None:
    with pytest.raises(FieldError):
        _read(case.json)


@_of("written")
def test_the_form_written(case: Case) -> None:
    assert json.loads(STRICT.encoder(KINDS)(_read(case.json))) == json.loads(case.expected)


@_of("unwritable")
def test_what_json_cannot_have_is_not_written(case: Case) -> None:
    with pytest.raises(ValueError, match=r"^an? \w+ (is|has)"):
        STRICT.encoder(KINDS)(_from_text(case.expected))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("optional_float", struct.pack("<I", 0x7FA12345), id="FloatFieldNormalizeQuietNan"),
        pytest.param("optional_float", struct.pack("<I", 0xFFB54321), id="FloatFieldNormalizeSignalingNan"),
        pytest.param("optional_double", struct.pack("<Q", 0x7FFA123456789ABC), id="DoubleFieldNormalizeQuietNan"),
        pytest.param("optional_double", struct.pack("<Q", 0xFFFBCBA987654321), id="DoubleFieldNormalizeSignalingNan"),
    ],
)
def test_every_nan_is_written_the_same(field: str, value: bytes) -> None:
    descriptor = KINDS.fields_by_name[field]
    wire_type = 5 if len(value) == 4 else 1

    message = GetMessageClass(KINDS).FromString(bytes([descriptor.number << 3 | wire_type]) + value)

    assert json.loads(STRICT.encoder(KINDS)(message)) == {descriptor.json_name: "NaN"}

"""What a .proto file says in comments: descriptors of a pool no longer have it, the files' own protos do."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    SourceCodeInfo,
)

_INTERNAL: Final = re.compile(r"\(--.*?--\)", re.DOTALL)  # AIP-192: not for the public
_FOR_TOOLS: Final = re.compile(r"^\s*(?:buf:lint:|@exclude\b|protolint:|\[buf\b).*$", re.MULTILINE)
_SENTENCE: Final = re.compile(r"(.+?[.!?])(?:\s|$)", re.DOTALL)

LONGEST_SUMMARY: Final = 120

# Numbers of the fields in descriptor.proto that a location's path walks through.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE, _SERVICE_METHOD = 2, 2

_Path = tuple[int, ...]


class Comments:
    """Comments by the full name of what they are about; a value of an enum is `pkg.Enum.VALUE`.

    Empty where a set was made without `--include_source_info`, and for what servers tell of themselves by reflection.
    """

    def __init__(self, files: Iterable[FileDescriptorProto], /) -> None:
        self._texts: dict[str, str] = {}
        for file in files:
            if file.HasField("source_code_info"):
                self._read(file)

    def of(self, full_name: str, /) -> str:
        """The comment, without what is meant for tools or insiders; empty without one."""
        return self._texts.get(full_name, "")

    def _read(self, file: FileDescriptorProto) -> None:
        locations = {tuple(location.path): location for location in file.source_code_info.location}
        for path, name in _names(file):
            location = locations.get(path)
            if location is not None and (text := _text(location)):
                self._texts[name] = text


def summary(comment: str, /) -> str:
    """The first sentence without its full stop, as the title of an operation; empty where it would be too long."""
    first = comment.split("\n\n", 1)[0].replace("\n", " ")
    sentence = _SENTENCE.match(first)
    title = (sentence[1] if sentence else first).strip().removesuffix(".")
    return title if len(title) <= LONGEST_SUMMARY else ""


def _text(location: SourceCodeInfo.Location) -> str:
    raw: str | bytes = location.leading_comments or location.trailing_comments
    if isinstance(raw, bytes):  # where a file was not written in UTF-8
        raw = raw.decode(errors="replace")
    raw = _FOR_TOOLS.sub("", _INTERNAL.sub("", raw))
    return "\n".join(line.removeprefix(" ").rstrip() for line in raw.split("\n")).strip("\n")


def _names(file: FileDescriptorProto) -> Iterator[tuple[_Path, str]]:
    package = f"{file.package}." if file.package else ""
    for i, message in enumerate(file.message_type):
        yield from _of_message((_FILE_MESSAGE, i), f"{package}{message.name}", message)
    for i, enum in enumerate(file.enum_type):
        yield from _of_enum((_FILE_ENUM, i), f"{package}{enum.name}", enum)
    for i, service in enumerate(file.service):
        yield (_FILE_SERVICE, i), f"{package}{service.name}"
        for j, method in enumerate(service.method):
            yield (_FILE_SERVICE, i, _SERVICE_METHOD, j), f"{package}{service.name}.{method.name}"


def _of_message(path: _Path, name: str, message: DescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for i, field in enumerate(message.field):
        yield (*path, _MESSAGE_FIELD, i), f"{name}.{field.name}"
    for i, nested in enumerate(message.nested_type):
        yield from _of_message((*path, _MESSAGE_NESTED, i), f"{name}.{nested.name}", nested)
    for i, enum in enumerate(message.enum_type):
        yield from _of_enum((*path, _MESSAGE_ENUM, i), f"{name}.{enum.name}", enum)


def _of_enum(path: _Path, name: str, enum: EnumDescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for i, value in enumerate(enum.value):
        yield (*path, _ENUM_VALUE, i), f"{name}.{value.name}"

"""Reading a file of descriptors."""

import os
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from imgateway.adapters.grpc.schema.files import Loaded, completed, load
from imgateway.errors import SettingsError

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""The largest file that is read."""

_KEY: Final = "grpc.descriptor_set"
_MAKE: Final = "make it with protoc --include_imports --descriptor_set_out=FILE"


def read_descriptor_set(path: str, /) -> Loaded:
    """Read what `protoc --include_imports --descriptor_set_out` wrote. Blocks.

    Files of google/protobuf, google/api and google/rpc that it lacks are added.

    Raises:
        SettingsError: the file can't be read, or is not a whole set; the line names the key and says what to do.
    """
    try:
        if os.path.getsize(path) > MAX_FILE_BYTES:
            raise _wrong(f"{path} is larger than {MAX_FILE_BYTES} bytes; {_MAKE}")
        with open(path, "rb") as file:
            raw = file.read()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "is no name of a file"
        raise _wrong(f"{path} can't be read: {why}") from None
    try:
        descriptors = FileDescriptorSet.FromString(raw)
    except DecodeError:
        raise _wrong(f"{path} is not a descriptor set; {_MAKE}") from None
    if not descriptors.file:
        raise _wrong(f"{path} has no files in it; {_MAKE}")
    if any(not file.name for file in descriptors.file):
        raise _wrong(f"{path} is not a descriptor set; {_MAKE}")
    try:
        whole = completed(descriptors.file)
    except ValueError as error:
        raise _wrong(f"{path}: {error}") from None
    if whole.missing:
        name, importer = next(iter(whole.missing.items()))
        raise _wrong(f"{path} lacks {name}, which {importer} imports; {_MAKE}")
    loaded = load(whole.files)
    if loaded.problems:
        raise SettingsError([f"{_KEY}: {path}: {problem}" for problem in loaded.problems])
    return loaded


def _wrong(why: str) -> SettingsError:
    return SettingsError([f"{_KEY}: {why}"])

"""Files of well-known types that come with the gateway, for sets that leave them out."""

import importlib
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

WELL_KNOWN: Final = ("google/protobuf/", "google/api/", "google/rpc/")
"""Folders of files that everybody has, in whatever edition: ours stand in, and differences between two don't matter."""


def installed_file(name: str, /) -> FileDescriptorProto | None:
    """The installed file of that name (`google/api/http.proto`), or None where there is none."""
    if not name.startswith(WELL_KNOWN) or not name.endswith(".proto"):
        return None
    module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    try:
        importlib.import_module(module)
        found = descriptor_pool.Default().FindFileByName(name)
    except (ImportError, KeyError):
        return None
    file = FileDescriptorProto()
    found.CopyToProto(file)
    return file

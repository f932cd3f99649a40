"""Compiles the protos beside this file."""

import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

HERE = Path(__file__).parent


@cache
def compiled(*names: str, imports: bool = True, comments: bool = False) -> bytes:
    """What protoc writes for `library.proto` and others."""
    google = next(iter(__import__("google.api", fromlist=["annotations_pb2"]).__path__))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        status = protoc.main(
            [
                "protoc",
                f"-I{HERE}",
                f"-I{files('grpc_tools') / '_proto'}",
                f"-I{Path(google).parent.parent}",
                f"--descriptor_set_out={out}",
                *(["--include_imports"] if imports else []),
                *(["--include_source_info"] if comments else []),
                *names,
            ]
        )
        assert status == 0
        return out.read_bytes()


def descriptors(*names: str) -> FileDescriptorSet:
    """The set, with everything imported."""
    return FileDescriptorSet.FromString(compiled(*names))

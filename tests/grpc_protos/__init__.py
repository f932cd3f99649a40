"""The `.proto` files next to this module, compiled when a test asks for them."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import google.api
import grpc_tools
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

FOLDER = Path(__file__).parent


@cache
def _compiled(names: tuple[str, ...]) -> bytes:
    includes = [FOLDER, Path(grpc_tools.__file__).parent / "_proto", Path(google.api.__path__[0]).parents[1]]
    with TemporaryDirectory() as folder:
        target = Path(folder) / "descriptors"
        status = protoc.main(
            [
                "protoc",
                *(f"-I{include}" for include in includes),
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={target}",
                *names,
            ]
        )
        assert status == 0, f"protoc refused {names}"
        return target.read_bytes()


def descriptors(*names: str) -> FileDescriptorSet:
    """The files of these names, such as `kinds.proto`, and all that they import, with comments."""
    return FileDescriptorSet.FromString(_compiled(names))


def pool_of(*names: str) -> descriptor_pool.DescriptorPool:
    """A new pool that has these files and all that they import."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors(*names).file:
        pool.Add(file)
    return pool

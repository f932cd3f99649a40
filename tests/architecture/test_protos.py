"""What is generated from the protos of `examples/im_logic` is what is committed, and reaches who installs the wheel."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

import protos
from imgateway_im_logic.server import descriptor_set_path


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    protos.compile_protos(folder)
    return folder


def test_the_python_committed_is_what_the_protos_give(generated: Path) -> None:
    def texts(folder: Path) -> dict[str, str]:
        found = [path for path in folder.rglob("*.py*") if path.suffix in (".py", ".pyi")]
        return {path.relative_to(folder).as_posix(): path.read_text() for path in found}

    assert texts(protos.GENERATED) == texts(generated)
    assert len(texts(generated)) > 10


def test_the_descriptor_set_is_that_of_the_protos_and_holds_their_comments(generated: Path) -> None:
    def ours(path: Path) -> dict[str, bytes]:
        files = FileDescriptorSet.FromString(path.read_bytes()).file
        assert {"google/api/annotations.proto", "google/protobuf/descriptor.proto"} <= {file.name for file in files}
        assert all(file.source_code_info.location for file in files if not file.name.startswith("google/"))
        return {file.name: file.SerializeToString() for file in files if not file.name.startswith("google/")}

    committed = ours(Path(descriptor_set_path()))
    assert committed == ours(generated / protos.DESCRIPTOR_SET)
    assert set(committed) == {path.relative_to(protos.PROTOS).as_posix() for path in protos.PROTOS.rglob("*.proto")}


def test_every_method_message_and_field_says_what_it_is() -> None:
    """Comments become the documentation of the HTTP API."""
    silent = []
    for file in FileDescriptorSet.FromString(Path(descriptor_set_path()).read_bytes()).file:
        if file.name.startswith("google/"):
            continue
        said = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
        # Places are given by the numbers of the fields of FileDescriptorProto and its parts.
        places: dict[tuple[int, ...], str] = {(6, at): service.name for at, service in enumerate(file.service)}
        for service, definition in enumerate(file.service):
            places |= {(6, service, 2, number): method.name for number, method in enumerate(definition.method)}
        for index, message in enumerate(file.message_type):
            places[4, index] = message.name
            places |= {
                (4, index, 2, number): f"{message.name}.{field.name}" for number, field in enumerate(message.field)
            }
        for index, enum in enumerate(file.enum_type):
            places[5, index] = enum.name
            places |= {(5, index, 2, number): value.name for number, value in enumerate(enum.value)}
        silent += [name for place, name in places.items() if place not in said]
    assert silent == []

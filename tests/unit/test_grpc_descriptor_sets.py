"""Files of descriptors: read, made whole, joined."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from tests.grpc_protos import descriptors
from tests.grpc_routes import loaded

from imgateway.adapters.grpc.schema import Loaded, merge, read_descriptor_set
from imgateway.adapters.grpc.schema.files import load
from imgateway.errors import SettingsError


def written(folder: Path, content: bytes | FileDescriptorSet) -> str:
    """A file with that in it."""
    path = folder / "set.pb"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return str(path)


def without(found: FileDescriptorSet, *beginnings: str) -> FileDescriptorSet:
    """The set as protoc writes it where some imports are left out."""
    return FileDescriptorSet(file=[file for file in found.file if not file.name.startswith(beginnings)])


def problem(path: str) -> str:
    """What is said about a file that can't be used."""
    with pytest.raises(SettingsError) as caught:
        read_descriptor_set(path)
    assert all(line.startswith(f"grpc.descriptor_set: {path}") for line in caught.value.problems)
    return "\n".join(caught.value.problems)


def names(found: Loaded) -> list[str]:
    """Of its files."""
    return [file.name for file in found.files]


def test_what_protoc_writes_is_read_whole(tmp_path: Path) -> None:
    whole = descriptors("library.proto")
    assert read_descriptor_set(written(tmp_path, whole)) == loaded(whole)


def test_every_file_comes_after_those_it_imports(tmp_path: Path) -> None:
    whole = descriptors("library.proto", "broken.proto")
    found = read_descriptor_set(written(tmp_path, FileDescriptorSet(file=reversed(whole.file))))
    seen: set[str] = set()
    for file in found.files:
        assert seen.issuperset(file.dependency)
        seen.add(file.name)
    assert seen == {file.name for file in whole.file}


def test_what_everybody_has_is_added(tmp_path: Path) -> None:
    whole = descriptors("library.proto")
    found = read_descriptor_set(written(tmp_path, without(whole, "google/")))
    assert set(names(found)) == {file.name for file in whole.file}


def test_a_file_that_is_missing_or_unreadable(tmp_path: Path) -> None:
    assert "can't be read: No such file" in problem(str(tmp_path / "nothing"))
    assert "can't be read: Is a directory" in problem(str(tmp_path))
    assert "can't be read" in problem(f"{tmp_path}/a\0b")


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"syntax = 'proto3';", b"\x0a\x00", b"\x0a\x7f"])
def test_a_file_that_is_no_descriptor_set(tmp_path: Path, content: bytes) -> None:
    assert "--include_imports --descriptor_set_out=FILE" in problem(written(tmp_path, content))


def test_imports_that_are_nowhere(tmp_path: Path) -> None:
    importer = FileDescriptorProto(name="b.proto", syntax="proto3", dependency=["a.proto"])
    said = problem(written(tmp_path, FileDescriptorSet(file=[importer])))
    assert "lacks a.proto, which b.proto imports; make it with protoc --include_imports" in said
    importer.dependency[:] = ["google/protobuf/nothing.proto", "google/../sys.proto", "google/protobuf/x y.proto"]
    assert "lacks google/" in problem(written(tmp_path, FileDescriptorSet(file=[importer])))


def test_files_that_make_no_sense(tmp_path: Path) -> None:
    circle = [
        FileDescriptorProto(name=f"{n}.proto", syntax="proto3", dependency=[f"{(n + 1) % 3}.proto"]) for n in range(3)
    ]
    assert "import each other" in problem(written(tmp_path, FileDescriptorSet(file=circle)))
    itself = FileDescriptorProto(name="a.proto", dependency=["a.proto"])
    assert "import each other" in problem(written(tmp_path, FileDescriptorSet(file=[itself])))
    bad = FileDescriptorProto(name="a.proto", syntax="proto3")
    bad.message_type.add(name="M").field.add(name="f", number=1, type=11, label=1, type_name=".Nowhere")
    assert "a.proto: can't be loaded" in problem(written(tmp_path, FileDescriptorSet(file=[bad])))


def test_a_long_chain_of_imports(tmp_path: Path) -> None:
    count = 3000
    chain = [FileDescriptorProto(name=f"{n}.proto", dependency=[f"{n + 1}.proto"]) for n in range(count)]
    chain.append(FileDescriptorProto(name=f"{count}.proto"))
    found = read_descriptor_set(written(tmp_path, FileDescriptorSet(file=chain)))
    assert names(found) == [f"{n}.proto" for n in range(count, -1, -1)]


def test_sets_are_joined_in_order_and_the_first_file_of_a_name_counts() -> None:
    one, two = loaded(descriptors("library.proto")), loaded(descriptors("broken.proto"))
    joined = merge([one, two])
    assert joined.problems == ()
    assert names(joined) == [*names(one), "broken.proto"]
    changed = descriptors("broken.proto")
    next(file for file in changed.file if file.name == "broken.proto").message_type.add(name="More")
    other = loaded(changed)
    again = merge([two, other, other])
    assert again.files == two.files
    assert again.problems == ("broken.proto: is there twice with different content, the first counts",)
    assert merge([]).files == ()
    assert merge([one]) is one


def test_comments_spelt_out_names_and_editions_of_what_everybody_has_are_no_difference() -> None:
    full = descriptors("library.proto")
    bare = FileDescriptorSet()
    bare.CopyFrom(full)
    for file in bare.file:
        file.ClearField("source_code_info")
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
        if file.name == "google/protobuf/timestamp.proto":
            file.options.go_package = "elsewhere"
    joined = merge([loaded(bare), loaded(full)])
    assert joined.problems == ()
    library = next(file for file in joined.files if file.name == "library.proto")
    assert library.HasField("source_code_info")
    spelt = next(file for file in bare.file if file.name == "library.proto")
    spelt.message_type[0].field[0].json_name = "other"
    assert len(merge([loaded(full), loaded(bare)]).problems) == 1


def test_two_files_with_the_same_message_are_not_both_loaded() -> None:
    one = FileDescriptorProto(name="one.proto", package="p")
    one.message_type.add(name="M")
    other = FileDescriptorProto(name="other.proto", package="p")
    other.message_type.add(name="M")
    both = merge([load([one]), load([other])])
    assert names(both) == ["one.proto"]
    assert [line.partition(":")[0] for line in both.problems] == ["other.proto"]

"""Sets of proto files: made whole, put in order, joined, loaded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from imgateway.adapters.grpc.schema.installed import WELL_KNOWN, installed_file


@attrs.frozen
class Completed:
    """A set with the well-known files it lacked, each file after those it imports.

    Attributes:
        missing: files that are imported and nowhere to be had, each with one that imports it.
    """

    files: tuple[FileDescriptorProto, ...]
    missing: Mapping[str, str]


@attrs.frozen
class Loaded:
    """A pool, and what went into it. Equal to one of the same files and problems.

    Attributes:
        files: those in the pool, each after those it imports.
        problems: one line for each file that had to be left out, or that sets contradict each other about.
    """

    pool: DescriptorPool = attrs.field(eq=False)
    files: tuple[FileDescriptorProto, ...]
    problems: tuple[str, ...]


def completed(files: Iterable[FileDescriptorProto], /) -> Completed:
    """Order a set and add what every installation has. Of two files of one name the first counts.

    Raises:
        ValueError: files import each other in a circle, or a name is no text.
    """
    by_name: dict[str, FileDescriptorProto] = {}
    for file in files:
        if not all(isinstance(name, str) for name in (file.name, *file.dependency)):  # bytes, where it is no UTF-8
            raise ValueError("a file's name is no text")
        by_name.setdefault(file.name, file)
    missing: dict[str, str] = {}
    waiting = list(by_name.values())
    while waiting:
        file = waiting.pop()
        for name in file.dependency:
            if name in by_name or name in missing:
                continue
            if (found := installed_file(name)) is None:
                missing[name] = file.name
            else:
                by_name[name] = found
                waiting.append(found)
    return Completed(tuple(_in_order(by_name)), missing)


def load(files: Iterable[FileDescriptorProto], /) -> Loaded:
    """Load what can be loaded into a pool of its own; files that build on one that can't be are left out as well.

    Args:
        files: each after those it imports.
    """
    pool = DescriptorPool()
    taken: list[FileDescriptorProto] = []
    problems: list[str] = []
    out: set[str] = set()
    for file in files:
        lacking = next((name for name in file.dependency if name in out), None)
        why = _refusal(pool, file) if lacking is None else f"imports {lacking}, which is not there"
        if why is None:
            taken.append(file)
        else:
            out.add(file.name)
            problems.append(f"{file.name}: {why}")
    return Loaded(pool, tuple(taken), tuple(problems))


def merge(sets: Sequence[Loaded], /) -> Loaded:
    """Join sets, keeping their order. Of two files of one name the first counts.

    Files are the same where they differ only in comments and spelt-out defaults; then the one with comments is taken.
    """
    if len(sets) == 1:
        return sets[0]
    kept: dict[str, FileDescriptorProto] = {}
    problems: dict[str, str] = {}
    for loaded in sets:
        for file in loaded.files:
            first = kept.setdefault(file.name, file)
            if first is file or file.name.startswith(WELL_KNOWN):
                continue
            if _essence(first) != _essence(file):
                problems[file.name] = f"{file.name}: is there twice with different content, the first counts"
            elif file.HasField("source_code_info") and not first.HasField("source_code_info"):
                kept[file.name] = file
    # Every set is whole, so each file of the union still stands after those it imports.
    joined = load(kept.values())
    return attrs.evolve(joined, problems=(*problems.values(), *joined.problems))


def _refusal(pool: DescriptorPool, file: FileDescriptorProto) -> str | None:
    try:
        pool.Add(file)
    # Whatever the protobuf of this machine raises for a file that makes no sense.
    except Exception as error:
        return f"can't be loaded: {' '.join(str(error).split())[:200]}"
    return None


def _in_order(by_name: Mapping[str, FileDescriptorProto]) -> Iterator[FileDescriptorProto]:
    # Not by recursion: a chain of imports may be longer than Python's stack.
    done: set[str] = set()
    for name in by_name:
        chain: dict[str, Iterator[str]] = {}
        if name not in done:
            chain[name] = iter(by_name[name].dependency)
        while chain:
            top = next(reversed(chain))
            following = next((d for d in chain[top] if d in by_name and d not in done), None)
            if following is None:
                del chain[top]
                done.add(top)
                yield by_name[top]
            elif following in chain:
                raise ValueError(f"{following} and {top} import each other")
            else:
                chain[following] = iter(by_name[following].dependency)


def _essence(file: FileDescriptorProto) -> bytes:
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("source_code_info")
    for message in copy.message_type:
        _name_for_json(message)
    for extension in copy.extension:
        extension.json_name = extension.json_name or _json_name(extension.name)
    return copy.SerializeToString(deterministic=True)


def _name_for_json(message: DescriptorProto) -> None:
    # protoc writes the default into descriptor sets, but not into what its generated code carries.
    for field in (*message.field, *message.extension):
        field.json_name = field.json_name or _json_name(field.name)
    for nested in message.nested_type:
        _name_for_json(nested)


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)

"""The documentation holds to what CONTRIBUTING says of it: nothing is shown that the code does not do."""

import functools
import json
import os
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import click
import google.api
import grpc_tools
import msgspec
import pytest
from grpc_tools import protoc
from uvicorn.importer import import_from_string
from uvicorn.main import main as uvicorn_command

from imgateway.adapters.etcd.instances import from_value, to_value
from imgateway.adapters.grpc.routing import RouteTable
from imgateway.adapters.grpc.schema import read_descriptor_set
from imgateway.adapters.jwt.refusals import expired
from imgateway.adapters.starlette.problems import problem
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.core.settings_loading import SECTIONS, load
from imgateway.core.settings_pending import PENDING_KEYS
from imgateway.core.settings_services import KafkaSettings
from imgateway.model import (
    ConnectionId,
    ConversationId,
    Delivery,
    Envelope,
    GatewayId,
    Priority,
    ServiceInstance,
    SessionRecord,
    Signal,
    Undelivered,
    UserId,
)
from imgateway.wire import messages
from imgateway.wire.json_codec import JSON_V1, JsonCodec
from imgateway.wire.records import decode_downstream, encode_undelivered, encode_upstream
from imgateway_cli.bench.fleet import Outcome
from imgateway_cli.bench.plan import Down, GivenTokens, Hold, Plan, Rest, Up
from imgateway_cli.bench.report import report_of
from imgateway_cli.bench.tally import Tally
from imgateway_cli.bench.target import Target
from imgateway_cli.main import cli
from imgateway_im_logic.program import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for where in ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/**/*.md") for path in ROOT.glob(where)
)
SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@attrs.frozen
class Block:
    """A fenced block: where it stands, the words behind the fence, and what it holds."""

    page: Path = attrs.field(repr=False)
    line: int
    info: str
    body: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*infos: str) -> list[Block]:
    """All blocks marked with one of `infos`, or all where none is given."""
    return [block for page in PAGES for block in _blocks_of(page) if not infos or block.info in infos]


@functools.cache
def _blocks_of(page: Path) -> tuple[Block, ...]:
    text = page.read_text()
    return tuple(
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _BLOCK.finditer(text)
    )


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text())


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def each(*infos: str) -> pytest.MarkDecorator:
    found = blocks(*infos)
    assert found, f"no block is marked {infos}: the pages or this test have changed"
    return pytest.mark.parametrize("block", found, ids=str)


CHECKED = ("python", "toml", "json", "proto", "sh", "console", "text", "nginx", "haproxy")


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_every_block_says_what_it_is(block: Block) -> None:
    assert block.info.split(" ")[0] in CHECKED


# Python: programs that are run by test_docs_examples.py, and by the plugin example's own tests.


@each("python")
def test_python_is_a_passage_of_an_example(block: Block) -> None:
    examples = [path for path in ROOT.glob("examples/**/*.py") if block.body in path.read_text()]
    assert examples, "not found in examples/, to the letter"


# TOML: settings, and the metadata of packages.


@each("toml")
def test_toml_is_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tomllib.loads(block.body)
    if "project" in document:
        return
    # Files that a reader has, under the names the page gives them.
    for name in re.findall(r"\"/etc/imgateway/(\S+)\"", block.body):
        (tmp_path / name).touch()
    file = tmp_path / "gateway.toml"
    file.write_text(block.body.replace("/etc/imgateway", str(tmp_path)))
    auth = document.get("auth", {})
    symmetric = auth and auth.get("algorithms", ["HS256"])[0].startswith("HS")
    load(file, {"IMGATEWAY_AUTH__SECRET": SECRET} if symmetric and "secret" not in auth else {}, {})


# Protos: they compile, and make routes without a complaint.


@each("proto")
def test_protos_make_routes(block: Block, tmp_path: Path) -> None:
    (tmp_path / "shown.proto").write_text(block.body)
    includes = [tmp_path, Path(grpc_tools.__file__).parent / "_proto", Path(google.api.__path__[0]).parents[1]]
    target = tmp_path / "shown.binpb"
    paths = [f"--proto_path={folder}" for folder in includes]
    status = protoc.main(["protoc", *paths, "--include_imports", f"--descriptor_set_out={target}", "shown.proto"])
    assert status == 0
    services = {"*": GrpcServiceSettings(target="127.0.0.1:1")}
    table = RouteTable.build(read_descriptor_set(str(target)), GrpcSettings(services=services))
    assert table.routes
    assert table.problems == ()


# JSON: frames, records and problems, to the letter.


@each("json")
def test_other_json_is_json(block: Block) -> None:
    json.loads(block.body)


@each("json client")
def test_client_frames_are_accepted(block: Block) -> None:
    message = JsonCodec().decode(block.body)
    assert not isinstance(message, tuple), message


@each("json call")
def test_calls_are_accepted_where_they_are_mapped(block: Block) -> None:
    message = JsonCodec(frozenset({json.loads(block.body)["type"]})).decode(block.body)
    assert isinstance(message, messages.Call), message


def server_message(frame: dict[str, Any]) -> messages.ServerMessage:
    known = {
        kind.TYPE: kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and hasattr(kind, "TYPE")
    }
    if frame["type"] not in known:
        return messages.SignalMessage(frame["type"], frame["data"])
    return cast(messages.ServerMessage, msgspec.convert(frame["data"], known[frame["type"]]))


@each("json server")
def test_server_frames_are_what_the_codec_writes(block: Block) -> None:
    frame = json.loads(block.body)
    assert json.loads(JsonCodec().encode(server_message(frame), frame["timestamp"])) == frame


def test_every_frame_type_is_shown() -> None:
    shown = {json.loads(block.body)["type"] for block in blocks("json client", "json server")}
    # Named with the issue that brings them; nothing else of the protocol is left out.
    assert messages.RESERVED_TYPES - shown == {"message-received"}


@each("json upstream")
def test_upstream_records_are_what_the_gateway_writes(block: Block) -> None:
    value = json.loads(block.body)
    typed = {**value, "user_id": UserId(value["user_id"]), "gateway_id": GatewayId(value["gateway_id"])}
    envelope = Envelope(**{**typed, "conversation_id": ConversationId(value["conversation_id"])})
    assert json.loads(encode_upstream(envelope, "topic", Priority.NORMAL).value) == value


@each("json downstream")
def test_downstream_records_are_understood(block: Block) -> None:
    assert isinstance(decode_downstream(block.body.encode()), Delivery | Signal)


@each("json undelivered")
def test_undelivered_records_are_what_the_gateway_writes(block: Block) -> None:
    value = json.loads(block.body)
    written = encode_undelivered(
        json.dumps(value["record"]).encode(),
        b"key",
        "topic",
        Undelivered(value["reason"]),
        GatewayId(value["gateway_id"]),
        [UserId(user_id) for user_id in value["target_user_ids"]],
    )
    assert json.loads(written.value) == value


@each("json presence")
def test_presence_is_what_the_gateway_writes(block: Block) -> None:
    value = json.loads(block.body)
    record = SessionRecord(UserId("ann"), ConnectionId("c-1"), **value)
    assert attrs.asdict(record).items() >= value.items()
    assert value.keys() | {"user_id", "connection_id"} == {field.name for field in attrs.fields(SessionRecord)}


@each("json registration")
def test_registrations_are_what_the_gateway_writes(block: Block) -> None:
    value = json.loads(block.body)
    assert json.loads(to_value(ServiceInstance(**value))) == value


@each("json instance")
def test_instances_of_services_are_understood(block: Block) -> None:
    value = json.loads(block.body)
    assert from_value(value.get("name", "notes"), value.get("id", "notes-1"), block.body.encode()) is not None


@each("json problem")
def test_problems_are_what_the_gateway_answers(block: Block) -> None:
    assert json.loads(bytes(problem(expired()).body)) == json.loads(block.body)


PLAN = Plan(Target("127.0.0.1", 8080, "127.0.0.1", "/ws"), GivenTokens(()), 1, 1, None, 1, Hold(1))
LOADS: dict[str, Hold | Up | Down | Rest] = {
    "connect": Hold(1),
    "up": Up(1, None, 1, 1, 1, 1, ""),
    "down": Down(KafkaSettings(), "", 1, 1, 1, 1, 1, ""),
    "rest": Rest(b"", False, 1, 1, 1),
}


def keys(value: object) -> object:
    """The names in an object, but not what was counted by reason."""
    return {name: keys(member) for name, member in value.items()} if isinstance(value, dict) else None


@each("json report")
def test_reports_are_what_bench_prints(block: Block) -> None:
    shown = json.loads(block.body)
    plan = attrs.evolve(PLAN, load=LOADS[shown["command"]])
    report = report_of(plan, Outcome(Tally(), interrupted=False))
    for part in (shown, *(member for member in shown.values() if isinstance(member, dict))):
        for name in {"failed", "lost", "errors", "gateways", "write_errors", "statuses"} & set(part):
            part[name] = {} if isinstance(part[name], dict) else part[name]
    assert list(shown) == list(report)
    assert keys(shown) == keys(report)


# Commands.

OTHER_PROGRAMS = {"curl", "docker", "echo", "export", "kill", "lint-imports", "mypy", "pip", "pytest", "ruff", "source"}


def commands(block: Block) -> Iterator[list[str]]:
    """Every command of a shell block as words, those within `$(…)` included."""
    for line in block.body.splitlines():
        if block.info == "console" and not line.startswith("$ "):
            continue  # what the command says
        text = re.sub(r"'[^']*'", "QUOTED", line.removeprefix("$ "))
        while inner := re.search(r"\$\(([^()]*)\)", text):
            yield from _pipeline(inner[1])
            text = text.replace(inner[0], "SUBSTITUTED")
        yield from _pipeline(text)


def _pipeline(text: str) -> Iterator[list[str]]:
    for part in re.split(r"\||&&?", text):
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


@each("sh", "console")
def test_commands_exist_and_take_these_options(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if "IMGATEWAY_TOKEN=" in block.body:
        monkeypatch.setenv("IMGATEWAY_TOKEN", "token")
    for program, *arguments in commands(block):
        if program == "imgateway":
            name, command, rest = cli.resolve_command(click.Context(cli), arguments)
            while isinstance(command, click.Group):
                name, command, rest = command.resolve_command(click.Context(command), rest)
            assert command is not None
            command.make_context(name, rest, resilient_parsing=False)
        elif program == "uvicorn":
            given = uvicorn_command.make_context("uvicorn", arguments).params
            assert (ROOT / given["app_dir"] / f"{given['app'].partition(':')[0]}.py").is_file()
            for protocol in (given["ws"], given["http"]):
                assert isinstance(import_from_string(protocol), type)
        elif program.startswith(("./", ".ci/")):
            assert os.access(ROOT / program, os.X_OK), program
        elif (program, *arguments[:2]) == ("python", "-m", "imgateway_im_logic"):
            monkeypatch.setenv("IMGATEWAY_AUTH__SECRET", "x" * 32)
            assert parse(arguments[2:]).kafka
        elif (program, *arguments[:2]) == ("python", "-m", "grpc_tools.protoc"):
            assert "--include_imports" in arguments  # or the gateway refuses the file
        elif program in ("python", "python3"):
            assert arguments[0] == "-c" or (ROOT / arguments[0]).is_file(), arguments
        else:
            assert program in OTHER_PROGRAMS, program


@each_page
def test_extras_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"imgateway\[([a-z,]+)\]", page.read_text()):
        assert set(names.split(",")) <= set(extras)


# Names.

_SETTINGS = {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys} | set(PENDING_KEYS)


@each_page
def test_settings_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+)`", prose(page)))
    assert named <= _SETTINGS
    variables = set(re.findall(r"IMGATEWAY_[A-Z][A-Z_]*[A-Z]", page.read_text())) - {"IMGATEWAY_TOKEN"}
    assert {name.removeprefix("IMGATEWAY_").replace("__", ".").lower() for name in variables} <= _SETTINGS


@each_page
def test_python_names_resolve(page: Path) -> None:
    for name in set(re.findall(r"`(imgateway(?:_cli)?(?:\.\w+)*)`", prose(page))) - {JSON_V1}:
        pkgutil.resolve_name(name)


# Links.


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    plain = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower() for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@each_page
def test_links_resolve(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert ROOT in linked.parents, target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_is_reached_from_the_readme() -> None:
    reached, to_visit = set[Path](), [ROOT / "README.md"]
    while to_visit:
        page = to_visit.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            targets = [target.partition("#")[0] for target in _LINK.findall(prose(page)) if "://" not in target]
            to_visit += [(page.parent / target).resolve() for target in targets if target]
    assert set(PAGES) - reached <= {ROOT / "examples" / "README.md"}

"""`imgateway routes` and what `imgateway check` says of `[grpc]`, as processes, against real gRPC servers."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from tests.e2e.im_logic import im_logic
from tests.faults.etcd_certificates import Authority
from tests.grpc_files import chained
from tests.grpc_protos import descriptors

from imgateway_im_logic.server import PUBLIC, descriptor_set_path

IMGATEWAY = (sys.executable, "-m", "imgateway_cli")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_") and name != "NO_COLOR"}
EVERYWHERE = '{"*": {"target": "127.0.0.1:1"}}'
IM_LOGIC = {
    "DESCRIPTOR_SET": descriptor_set_path(),
    "PUBLIC": ",".join(PUBLIC),
    "SERVICES": EVERYWHERE,
}
NO_PORTS = {"IMGATEWAY_SERVER__PORT": "0", "IMGATEWAY_SERVER__ADMIN_PORT": "0", "IMGATEWAY_GATEWAY__ADVERTISE": "h:1"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@attrs.frozen
class Ended:
    code: int
    output: str
    errors: str


async def run(*arguments: str, **settings: str) -> Ended:
    environ = CLEAN | NO_PORTS | {f"IMGATEWAY_GRPC__{name}": value for name, value in settings.items()}
    with anyio.fail_after(60):
        ended = await anyio.run_process([*IMGATEWAY, *arguments], input=b"", check=False, env=environ)
    output, errors = ended.stdout.decode(), ended.stderr.decode()
    assert "Traceback" not in errors
    return Ended(ended.returncode, output, errors)


def at(target: str) -> str:
    return json.dumps({"*": {"target": target}})


@pytest.fixture
def library(tmp_path: Path) -> dict[str, str]:
    return {"DESCRIPTOR_SET": written(tmp_path, "library.proto"), "SERVICES": EVERYWHERE}


def written(folder: Path, name: str) -> str:
    file = folder / "descriptors.binpb"
    file.write_bytes(descriptors(name).SerializeToString())
    return str(file)


@asynccontextmanager
async def server(
    add: Callable[[grpc.aio.Server], None] = lambda _: None, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    running = grpc.aio.server()
    add(running)
    address = "127.0.0.1:0"
    port = running.add_insecure_port(address) if credentials is None else running.add_secure_port(address, credentials)
    await running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running.stop(None)


@asynccontextmanager
async def healthy(status: Any = health_pb2.HealthCheckResponse.SERVING, service: str = "") -> AsyncIterator[str]:
    state = health.HealthServicer()
    if service:
        await state.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    await state.set(service, status)
    async with server(lambda running: health_pb2_grpc.add_HealthServicer_to_server(state, running)) as target:
        yield target


# --- routes ---


async def test_every_route_stands_in_a_line() -> None:
    ended = await run("routes", **IM_LOGIC)
    assert (ended.code, ended.errors) == (0, "")
    head, *lines = ended.output.splitlines()
    assert head.split("  ")[0] == "METHOD"
    column = head.index("GRPC METHOD")
    assert {line[column - 2 : column] for line in lines} == {"  "}
    rows = [line.split() for line in lines]
    assert ["POST", "/api/auth/login", "im.logic.v1.AuthService/Login", "public", "-"] in rows
    assert [
        "GET",
        "/api/conversations",
        "im.logic.v1.ConversationService/GetConversationsOptimized",
        "private",
        "-",
    ] in rows
    assert rows == sorted(rows, key=lambda row: (row[1], row[0]))
    assert sum(row[3] == "public" for row in rows) == len(PUBLIC)


async def test_streams_are_marked(library: dict[str, str]) -> None:
    ended = await run("routes", **library)
    assert ended.code == 0
    watch = next(line for line in ended.output.splitlines() if "/Watch" in line)
    upload = next(line for line in ended.output.splitlines() if "/Upload" in line)
    assert watch.split()[-2:] == ["-", "stream"]
    assert upload.endswith("-       takes a stream: refused, 501")


async def test_programs_read_json(library: dict[str, str]) -> None:
    ended = await run("routes", "--json", **library, PREFIX="/v9")
    routes = json.loads(ended.output)
    (upload,) = [route for route in routes if route["rpc"].endswith("/Upload")]
    assert upload.keys() == {"method", "path", "rpc", "public", "limits", "server_streaming", "client_streaming"}
    assert upload["path"].startswith("/v9/")
    assert (upload["public"], upload["limits"], upload["client_streaming"]) == (False, [], True)


async def test_what_cannot_be_served_is_told_beside_the_routes(tmp_path: Path) -> None:
    file = written(tmp_path, "broken.proto")
    ended = await run("routes", DESCRIPTOR_SET=file, SERVICES=EVERYWHERE)
    assert ended.code == 0
    assert "/api/fine/{name}" in ended.output
    warnings = ended.errors.splitlines()
    assert len(warnings) > 10
    assert all(warning.startswith("warning: grpc: broken.v1.Broken/") for warning in warnings)


async def test_services_are_asked_where_the_configuration_says_reflection() -> None:
    async with im_logic() as back_end:
        asked = await run("routes", REFLECTION="true", PUBLIC=IM_LOGIC["PUBLIC"], SERVICES=at(back_end.channel_target))
    assert (asked.code, asked.errors) == (0, "")
    assert asked.output == (await run("routes", **IM_LOGIC)).output


async def test_without_services_there_is_an_error() -> None:
    ended = await run("routes")
    assert (ended.code, ended.output) == (2, "")
    assert ended.errors == "error: grpc: expected the section, since it says which services REST is made of\n"


async def test_services_that_are_not_there_are_an_error() -> None:
    ended = await run("routes", REFLECTION="true", SERVICES=EVERYWHERE)
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("error: 127.0.0.1:1: ")
    assert len(ended.errors.splitlines()) == 1


# --- check ---


async def test_check_counts_the_routes() -> None:
    ended = await run("check", **IM_LOGIC, MESSAGES='{"typing": "im.logic.v1.ConversationService/MarkAsRead"}')
    assert (ended.code, ended.errors) == (0, "")
    assert f" of them public, under /api, from {descriptor_set_path()}\n" in ended.output
    assert "  calls     typing over WebSocket\n" in ended.output
    assert (await run("check", REFLECTION="true", SERVICES=EVERYWHERE, PREFIX="")).output.endswith(
        "  rest      under /, by reflection\n"
    )


async def test_check_warns_of_rules_that_are_skipped(tmp_path: Path) -> None:
    ended = await run("check", DESCRIPTOR_SET=written(tmp_path, "broken.proto"), SERVICES=EVERYWHERE, PUBLIC="x.Y/*")
    assert ended.code == 0
    assert '\nwarning: grpc.public: "x.Y/*" matches no method\n' in ended.errors
    assert "warning: grpc: broken.v1.Broken/BadTemplate: " in ended.errors


async def test_a_message_whose_method_is_not_there_is_an_error() -> None:
    messages = json.dumps({"typing": "im.logic.v1.Nope/Do", "a.b": "im.logic.v1.MessageService/WatchMessages"})
    for command in ("check", "serve"):
        ended = await run(command, **IM_LOGIC, MESSAGES=messages)
        assert (ended.code, ended.output) == (2, "")
        assert ended.errors.splitlines() == [
            "error: grpc.messages.typing: im.logic.v1.Nope/Do: no such method",
            'error: grpc.messages."a.b": im.logic.v1.MessageService/WatchMessages: is no unary method',
        ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not one", "{file} is not a descriptor set; "),
        (
            FileDescriptorSet(file=[FileDescriptorProto(name="a.proto", dependency=["XX"])])
            .SerializeToString()
            .replace(b"XX", b"\xff\xfe"),
            "{file}: a file's name is no text",
        ),
        (chained("c", 3000).SerializeToString(), "messages contain each other in too long a chain"),
    ],
    ids=["garbage", "names", "chain"],
)
async def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "descriptors.binpb"
    file.write_bytes(content)
    for command in ("check", "serve", "routes"):
        ended = await run(command, DESCRIPTOR_SET=str(file), SERVICES=EVERYWHERE)
        assert (ended.code, ended.output) == (2, "")
        assert ended.errors.startswith(f"error: grpc.descriptor_set: {why.format(file=file)}")


async def test_tls_files_that_are_none_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("not one")
    ended = await run("check", **IM_LOGIC, TLS_CA=str(file), TLS_CERT=str(file), TLS_KEY=str(file))
    assert ended.code == 2
    assert [line.split(": ")[1] for line in ended.errors.splitlines()] == ["grpc.tls_ca", "grpc.tls_cert"]


# --- check --connect ---


async def test_every_back_end_is_tried_once() -> None:
    async with healthy() as one, server() as other:
        services = {"a.B": {"target": one}, "c.D": {"target": one}, "e.F": {"target": other}}
        ended = await run("check", "--connect", **(IM_LOGIC | {"SERVICES": json.dumps(services)}))
    assert ended.code == 0
    assert ended.output.splitlines()[-2:] == [
        f"ok: grpc ({one}): answers, and is healthy",
        f"ok: grpc ({other}): answers, and says nothing of its health",
    ]


async def test_a_back_end_that_is_not_healthy_is_a_failure() -> None:
    async with healthy(health_pb2.HealthCheckResponse.NOT_SERVING) as target:
        ended = await run("check", "--connect", **(IM_LOGIC | {"SERVICES": at(target)}))
    assert ended.code == 1
    assert ended.errors.splitlines()[-1] == f"failed: grpc ({target}): answers, and says NOT_SERVING"


async def test_of_a_service_that_is_alone_its_own_health_counts() -> None:
    async with healthy(service="a.B") as target:
        ended = await run("check", "--connect", **(IM_LOGIC | {"SERVICES": json.dumps({"a.B": {"target": target}})}))
    assert ended.code == 0
    assert f"ok: grpc ({target}): answers, and is healthy" in ended.output


async def test_a_back_end_that_is_not_there_is_a_failure() -> None:
    ended = await run("check", "--connect", **IM_LOGIC)
    assert ended.code == 1
    (line,) = ended.errors.splitlines()
    assert line.startswith("failed: grpc (127.0.0.1:1): UNAVAILABLE: ")
    assert "refused" in line


async def test_reflection_is_tried() -> None:
    async with im_logic() as back_end, server() as silent:
        services = {"*": {"target": back_end.channel_target}}
        fine = await run("check", "--connect", REFLECTION="true", SERVICES=json.dumps(services), PUBLIC="x.Y/*")
        mute = await run("check", "--connect", REFLECTION="true", SERVICES=at(silent))
    assert fine.code == 0
    assert fine.output.splitlines()[-1].startswith("ok: grpc.reflection: ")
    assert fine.output.endswith(" routes, 0 of them public\n")
    assert fine.errors == 'warning: grpc.public: "x.Y/*" matches no method\n'
    assert mute.code == 1
    assert mute.errors.splitlines()[-1].startswith(f"failed: grpc.reflection: {silent}: the server does not describe")


def mutual_tls(authority: Authority) -> grpc.ServerCredentials:
    certificate, key = authority.issue("server")
    return grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())],
        root_certificates=Path(authority.file).read_bytes(),
        require_client_auth=True,
    )


async def test_back_ends_are_spoken_to_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    own_certificate, own_key = authority.issue("client")
    state = health.HealthServicer()

    def add(running: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(state, running)

    async with server(add, mutual_tls(authority)) as target:
        settings = IM_LOGIC | {"SERVICES": at(target), "TLS_CA": authority.file}
        known = await run("check", "--connect", **settings, TLS_CERT=own_certificate, TLS_KEY=own_key)
        unknown = await run("check", "--connect", **settings)
        plain = await run("check", "--connect", **(IM_LOGIC | {"SERVICES": at(target)}))
    assert known.code == 0, known.errors
    assert (unknown.code, plain.code) == (1, 1)
    assert len(unknown.errors.splitlines()) == len(plain.errors.splitlines()) == 1

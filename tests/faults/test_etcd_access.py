"""Endpoints that are dead, users that are not known, certificates that don't fit: what works, and what is said."""

import base64
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from servers import EtcdServer, free_port
from tests.faults.etcd_certificates import Authority
from tests.integration.etcd_gate import Admin, Gate, admin_of

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership, EtcdRegistrar, EtcdResolver, probe
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway.model import GatewayId, ServiceInstance

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
KEPT = 8.0
"""A lease that does not lapse even where everything stands still for three seconds."""
INSTANCE = ServiceInstance("im-gateway", "gw-1", "10.0.0.1", 8080)
SECRET = "9tJfXq2mVw8Lr5Zc"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TlsEtcdServer(EtcdServer):
    """The same with https://."""

    @property
    def url(self) -> str:
        return f"https://{self.address}"


@pytest.fixture(scope="module")
def plain() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


async def fails(access: EtcdAccess, *words: str) -> None:
    """Every part says so, in time, and none ends for it."""
    with anyio.fail_after(PATIENCE):
        async with EtcdRegistrar.open(access) as registrar, EtcdResolver.open(access) as resolver:
            for call in (registrar.register(INSTANCE), resolver.resolve("im-gateway"), probe(access)):
                with pytest.raises(ServiceUnavailableError) as caught:
                    await call
                for word in words:
                    assert word in str(caught.value)
        async with EtcdOwnership.open(access) as ownership:
            with pytest.raises(ServiceUnavailableError) as caught:
                await ownership.acquire(GatewayId("gw-1"))
            assert all(word in str(caught.value) for word in words)
            assert ownership.held is False


async def works(access: EtcdAccess) -> None:
    with anyio.fail_after(PATIENCE):
        await probe(access)
        async with (
            EtcdRegistrar.open(access) as registrar,
            EtcdResolver.open(access) as resolver,
            EtcdOwnership.open(access) as ownership,
        ):
            await ownership.acquire(GatewayId("gw-1"))
            await registrar.register(INSTANCE)
            assert [*await resolver.resolve("im-gateway")] == [INSTANCE]


@pytest.mark.parametrize(
    "url",
    ["", "host:2379", "etcd://host:2379", "http://", "http://user:password@host", "http://host:99999",
     "http://host/path", "http://host?a", "http://..", "http://[::1", f"http://{'a' * 70}"],
)  # fmt: skip
async def test_endpoints_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError, match=r"etcd\.endpoints: expected http://host:port") as caught:
        EtcdAccess((url,))
    assert "password" not in str(caught.value)


async def test_endpoints() -> None:
    access = EtcdAccess(("http://Etcd.Internal", "https://10.0.0.1:1/", "http://[2001:db8::1]:2"))
    assert [*map(str, access.endpoints)] == [
        "http://etcd.internal:2379",
        "https://10.0.0.1:1",
        "http://[2001:db8::1]:2",
    ]
    with pytest.raises(SettingsError, match=r"etcd\.endpoints"):
        EtcdAccess(())


async def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    await fails(EtcdAccess((url,)), "etcd.endpoints", url, "Connection refused")


async def test_a_name_that_is_not_known() -> None:
    await fails(EtcdAccess(("http://etcd.invalid:2379",)), "etcd.endpoints: http://etcd.invalid:2379: ")


async def test_what_listens_is_no_etcd(plain: EtcdServer) -> None:
    peer = f"http://127.0.0.1:{plain._peer_port}"
    await fails(EtcdAccess((peer,)), f"etcd.endpoints: {peer}", "JSON gateway")


async def test_a_gateway_that_is_switched_off() -> None:
    with EtcdServer("--enable-grpc-gateway=false") as server:
        await fails(EtcdAccess((server.url,)), "etcd.endpoints", "enable-grpc-gateway")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[1,2,3]", b"SSH-2.0-OpenSSH\r\n",
                                    b"HTTP/1.1 302 Found\r\nLocation: http://other\r\nContent-Length: 0\r\n\r\n",
                                    b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"kvs":["a",1]}'])  # fmt: skip
async def test_what_answers_is_no_etcd(answer: bytes) -> None:
    async def respond(client: anyio.abc.SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):  # of who asks again and is closed
            async with client:
                await client.receive()
                await client.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, respond)
        access = EtcdAccess((f"http://127.0.0.1:{port}",))
        async with EtcdResolver.open(access) as resolver:
            with pytest.raises(ServiceUnavailableError, match=r"etcd\.endpoints"):
                await resolver.resolve("im-gateway")
        tasks.cancel_scope.cancel()


async def test_a_dead_endpoint_beside_a_live_one(plain: EtcdServer) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for urls in ((dead, plain.url), (plain.url, dead), (dead, dead, plain.url)):
        await works(EtcdAccess(urls))


async def test_a_hung_endpoint_beside_a_live_one(plain: EtcdServer) -> None:
    with EtcdServer() as hung:
        hung.pause()
        await works(EtcdAccess((hung.url, plain.url)))


async def test_everything_moves_to_the_other_endpoint(plain: EtcdServer) -> None:
    async with Gate(plain.port) as first, Gate(plain.port) as second, admin_of(plain.url) as admin:
        access = EtcdAccess((first.url, second.url))
        async with (
            EtcdRegistrar.open(access, lease_seconds=KEPT) as registrar,
            EtcdResolver.open(access) as resolver,
            EtcdOwnership.open(access, lease_seconds=KEPT) as ownership,
        ):
            await ownership.acquire(GatewayId("gw-1"))
            await registrar.register(INSTANCE)
            assert [*await resolver.resolve("im-gateway")] == [INSTANCE]
            for gone, back in ((first, None), (second, first), (first, second)):
                if back is not None:
                    await back.open()
                await gone.shut()
                with anyio.move_on_after(KEPT + 1):
                    await ownership.wait_lost()
                assert ownership.held
                assert len(await admin.keys("/")) == 2
            await registrar.deregister(INSTANCE)
            with anyio.fail_after(PATIENCE):
                while await resolver.resolve("im-gateway"):
                    await anyio.sleep(0.02)


@asynccontextmanager
async def guarded(server: EtcdServer) -> AsyncIterator[Admin]:
    """etcd with users: root, and imgateway, who may use the two prefixes and nothing else."""
    async with admin_of(server.url) as admin:
        await admin.call("/auth/user/add", name="root", password="root")
        await admin.call("/auth/user/grant", user="root", role="root")
        await admin.call("/auth/user/add", name="imgateway", password=SECRET)
        await admin.call("/auth/role/add", name="imgateway")
        for prefix, end in (("/services/", "/services0"), ("/imgateway/owners/", "/imgateway/owners0")):
            permission = {"permType": 2, "key": _b64(prefix), "range_end": _b64(end)}
            await admin.call("/auth/role/grant", name="imgateway", perm=permission)
        await admin.call("/auth/user/grant", user="imgateway", role="imgateway")
        await admin.call("/auth/enable")
    async with admin_of(server.url, user="root", password="root") as admin:
        yield admin


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_users_and_passwords(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with EtcdServer() as server:
        async with guarded(server) as admin:
            right = EtcdAccess((server.url,), user="imgateway", password=SECRET)
            await works(right)
            assert SECRET not in repr(right)
            for wrong in (
                EtcdAccess((server.url,), user="imgateway", password="wrong-password"),
                EtcdAccess((server.url,), user="nobody", password=SECRET),
                EtcdAccess((server.url,)),
            ):
                await fails(wrong, "etcd.user, etcd.password", server.url)
            async with EtcdRegistrar.open(right, prefix="/elsewhere/") as registrar:
                with pytest.raises(ServiceUnavailableError, match=r"etcd\.user, etcd\.password: .*permission denied"):
                    await registrar.register(INSTANCE)
            await admin.call("/auth/disable")
            await fails(right, "etcd.user, etcd.password", "not enabled")
    assert SECRET not in str([vars(record) for record in caplog.records])
    assert "wrong-password" not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("tokens", ["simple", "jwt"])
async def test_a_token_that_is_no_longer_known(tokens: str, authority: Authority) -> None:
    arguments = []
    if tokens == "jwt":
        # They end after some seconds, and with every change of users ("revision of auth store is old").
        public, private = authority.issue_key_pair("tokens")
        arguments = ["--auth-token", f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=5s"]
    with EtcdServer(*arguments) as server:
        async with guarded(server) as admin:
            right = EtcdAccess((server.url,), user="imgateway", password=SECRET)
            async with (
                EtcdRegistrar.open(right) as registrar,
                EtcdResolver.open(right) as resolver,
                EtcdOwnership.open(right) as ownership,
            ):

                async def still_works(port: int) -> None:
                    await admin.delete("/services/im-gateway/gw-1")
                    with anyio.fail_after(PATIENCE):
                        while await admin.entry("/services/im-gateway/gw-1") is None:
                            await anyio.sleep(0.02)
                    instance = attrs.evolve(INSTANCE, port=port)
                    await registrar.register(instance)
                    with anyio.fail_after(PATIENCE):
                        while [*await resolver.resolve("im-gateway")] != [instance]:
                            await anyio.sleep(0.02)

                await ownership.acquire(GatewayId("gw-1"))
                await registrar.register(INSTANCE)
                assert [*await resolver.resolve("im-gateway")] == [INSTANCE]
                await admin.call("/auth/user/add", name="another", password="another")
                await still_works(1)
                # etcd keeps simple tokens in memory.
                server.kill()
                await anyio.to_thread.run_sync(server.start)
                await still_works(2)
                with anyio.move_on_after(6):
                    await ownership.wait_lost()
                assert ownership.held
                await still_works(3)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strange-certificates"), "stranger")


def serving(authority: Authority) -> list[str]:
    certificate, key = authority.issue("server")
    return ["--cert-file", certificate, "--key-file", key]


async def test_servers_with_certificates(authority: Authority, stranger: Authority) -> None:
    with TlsEtcdServer(*serving(authority)) as server:
        await works(EtcdAccess((server.url,), tls_ca=authority.file))
        for wrong in (None, stranger.file):
            await fails(EtcdAccess((server.url,), tls_ca=wrong), "etcd.tls_ca", server.url, "certificate is not valid")
        other_name = server.url.replace("127.0.0.1", "localhost")
        await fails(EtcdAccess((other_name,), tls_ca=authority.file), "etcd.tls_ca", other_name, "localhost")
        without = server.url.replace("https", "http")
        await fails(EtcdAccess((without,)), "etcd.endpoints", without, "https://")


async def test_servers_that_ask_for_a_certificate(authority: Authority, stranger: Authority) -> None:
    asking = ["--client-cert-auth", "--trusted-ca-file", authority.file]
    with TlsEtcdServer(*serving(authority), *asking) as server:
        certificate, key = authority.issue("client")
        await works(EtcdAccess((server.url,), tls_ca=authority.file, tls_cert=certificate, tls_key=key))
        wrong: list[dict[str, Any]] = [{}, dict(zip(("tls_cert", "tls_key"), stranger.issue("client"), strict=True))]
        for certificates in wrong:
            access = EtcdAccess((server.url,), tls_ca=authority.file, **certificates)
            await fails(access, "etcd.tls_cert, etcd.tls_key", server.url)


async def test_a_server_without_tls(plain: EtcdServer, authority: Authority) -> None:
    url = plain.url.replace("http", "https")
    await fails(EtcdAccess((url,), tls_ca=authority.file), "etcd.endpoints", url, "http://")


async def test_files_that_are_no_certificates(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    certificate, key = authority.issue("client")
    missing, other_key = str(tmp_path / "missing"), stranger.issue("other")[1]
    for setting, files in (
        ("etcd.tls_ca", {"tls_ca": missing}),
        ("etcd.tls_ca", {"tls_ca": key}),
        ("etcd.tls_cert", {"tls_cert": missing}),
        ("etcd.tls_cert", {"tls_cert": certificate}),
        ("etcd.tls_cert", {"tls_cert": certificate, "tls_key": other_key}),
    ):
        with pytest.raises(SettingsError, match=re.escape(setting)):
            await probe(EtcdAccess(("https://127.0.0.1:1",), **files))

"""Addresses that are none, brokers that don't let us in, and what is said about it."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from servers import KafkaServer, free_port
from tests.faults.etcd_certificates import Authority
from tests.faults.kafka_proxy import ProxiedKafka, Proxy
from tests.integration.kafka_cluster import PATIENCE
from tests.integration.test_kafka_publisher import nothing_left

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan, ensure_topics
from imgateway.core.settings_services import KafkaSettings
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway.model import OutgoingRecord, Receipt
from imgateway.testing import RecordingTicket

pytestmark = pytest.mark.anyio

PLAN = TopicPlan("topic", 1)
PASSWORD = "correct-horse"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


class GuardedKafka(KafkaServer):
    """A broker with three more doors: passwords, certificates, and certificates of both sides."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.with_password, self.with_tls, self.with_certificate = (f"127.0.0.1:{free_port()}" for _ in range(3))
        doors = f"SASL://{self.with_password},TLS://{self.with_tls},MUTUAL://{self.with_certificate}"
        certificate, key = map(Path, authority.issue("broker"))
        store = self.folder / "broker.pem"
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        self._properties |= {
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self._controller_port},{doors}",
            "advertised.listeners": f"PLAINTEXT://{self.address},{doors}",
            "listener.security.protocol.map": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,MUTUAL:SSL"
            ),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'username="broker" password="broker" user_broker="broker" user_gateway="{PASSWORD}";'
            ),
            "listener.name.mutual.ssl.client.auth": "required",
        }
        for listener in ("tls", "mutual"):
            self._properties |= {
                f"listener.name.{listener}.ssl.keystore.type": "PEM",
                f"listener.name.{listener}.ssl.keystore.location": str(store),
                f"listener.name.{listener}.ssl.truststore.type": "PEM",
                f"listener.name.{listener}.ssl.truststore.location": authority.file,
            }


@pytest.fixture(scope="module")
def guarded(authority: Authority) -> Iterator[GuardedKafka]:
    with GuardedKafka(authority) as server:
        yield server


async def reason(access: KafkaAccess) -> str:
    """What is said when the cluster can't be used."""
    with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError) as caught:
        await ensure_topics(access, [PLAN], create=True)
    return str(caught.value)


async def works(access: KafkaAccess) -> None:
    """Publishes and reads one record."""
    async with KafkaPublisher(access, (PLAN,)) as publisher:
        ticket = RecordingTicket()
        publisher.offer(OutgoingRecord("topic", b"k", b"v"), ticket)
        with anyio.fail_after(PATIENCE):
            await publisher.flush()
        assert isinstance(ticket.outcomes[0], Receipt)
    consumer = KafkaConsumer(access, PLAN, "group", "fence")
    try:
        with anyio.fail_after(PATIENCE):
            await consumer.start()
            assert (await consumer.take())[0].value == b"v"
    finally:
        await consumer.aclose()


def settings(**values: Any) -> KafkaSettings:
    return KafkaSettings(**values)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[str]:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(reader, writer)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname()[:2])
    finally:
        done.set()
        server.close()
        await asyncio.sleep(0.01)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.close()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"\0\0\0\x08\0\0\0\x01nons")


async def test_nobody_listens() -> None:
    address = f"127.0.0.1:{free_port()}"
    with nothing_left():
        said = await reason(KafkaAccess((address,)))
    assert said.startswith(f"looking for topics: {address}: ")
    assert "Connect call failed" in said
    assert said.endswith("(kafka.bootstrap_servers)")


async def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        # What a resolver says in the end; one that can't be reached says it later than this test is patient.
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said = await reason(KafkaAccess(("kafka.invalid:9092",)))
    assert re.search(r"kafka\.invalid:9092: gaierror: .*\(kafka\.bootstrap_servers\)$", said)


async def test_every_address_is_explained() -> None:
    addresses = tuple(f"127.0.0.1:{free_port()}" for _ in range(3))
    said = await reason(KafkaAccess(addresses))
    assert all(f"{address}: ConnectionRefusedError" in said for address in addresses)


@pytest.mark.parametrize("handle", [say_nothing, hang_up, speak_http, answer_nonsense])
async def test_whoever_listens_is_no_broker(handle: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.access.REQUEST_TIMEOUT_MS", 1_000)
    monkeypatch.setattr("imgateway.adapters.kafka.access.EXPLAIN_SECONDS", 1.0)
    async with listening(handle) as address:
        said = await reason(KafkaAccess((address,)))
    assert said.startswith(f"looking for topics: {address}: ")
    assert "kafka.bootstrap_servers" in said


async def test_an_advertised_address_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.topics.ENSURE_SECONDS", 10.0)
    monkeypatch.setattr("imgateway.adapters.kafka.access.EXPLAIN_SECONDS", 10.0)
    proxy = Proxy()  # not listening
    server = ProxiedKafka(proxy)
    try:
        await anyio.to_thread.run_sync(server.start)
        said = await reason(KafkaAccess((server.address,)))
    finally:
        server.close()
    assert f"advertised by the cluster (its advertised.listeners) but {proxy.address}: ConnectionRefusedError" in said


async def test_the_right_password_opens(guarded: GuardedKafka) -> None:
    right = settings(
        bootstrap_servers=(guarded.with_password,),
        security_protocol="SASL_PLAINTEXT",
        sasl_username="gateway",
        sasl_password=PASSWORD,
    )
    await works(KafkaAccess.from_settings(right))


@pytest.mark.parametrize(("user", "password"), [("gateway", "wrong-horse"), ("nobody", PASSWORD)])
async def test_a_wrong_login_is_named_without_the_password(guarded: GuardedKafka, user: str, password: str) -> None:
    access = KafkaAccess((guarded.with_password,), "SASL_PLAINTEXT", sasl_username=user, sasl_password=password)
    said = await reason(access)
    assert "SaslAuthenticationFailed" in said
    assert said.endswith("(kafka.sasl_mechanism, kafka.sasl_username, kafka.sasl_password)")
    assert password not in said
    assert password not in repr(access)


async def test_a_mechanism_that_is_not_offered_is_named(guarded: GuardedKafka) -> None:
    access = KafkaAccess((guarded.with_password,), "SASL_PLAINTEXT", None, "SCRAM-SHA-256", "gateway", PASSWORD)
    assert "kafka.sasl_mechanism" in await reason(access)


async def test_the_right_authority_is_trusted(guarded: GuardedKafka, authority: Authority) -> None:
    access = KafkaAccess.from_settings(
        settings(bootstrap_servers=(guarded.with_tls,), security_protocol="SSL", ssl_cafile=authority.file)
    )
    await works(access)


async def test_a_certificate_of_ours_opens(guarded: GuardedKafka, authority: Authority) -> None:
    certificate, key = authority.issue("client")
    mutual = settings(bootstrap_servers=(guarded.with_certificate,), security_protocol="SSL", ssl_cafile=authority.file)
    await works(KafkaAccess.from_settings(attrs.evolve(mutual, ssl_certfile=certificate, ssl_keyfile=key)))
    said = await reason(KafkaAccess.from_settings(mutual))
    assert "kafka.security_protocol" in said


async def test_a_wrong_authority_is_named(guarded: GuardedKafka, stranger: Authority) -> None:
    context = ssl.create_default_context(cafile=stranger.file)
    said = await reason(KafkaAccess((guarded.with_tls,), "SSL", context))
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert said.endswith("(kafka.security_protocol, kafka.ssl_cafile, kafka.ssl_certfile)")


async def test_the_wrong_protocol_is_named(guarded: GuardedKafka) -> None:
    plain_to_tls = await reason(KafkaAccess((guarded.with_tls,)))
    assert "kafka.security_protocol" in plain_to_tls
    tls_to_plain = await reason(KafkaAccess((guarded.address,), "SSL", ssl.create_default_context()))
    assert "kafka.security_protocol" in tls_to_plain
    plain_to_password = await reason(KafkaAccess((guarded.with_password,)))
    assert "kafka.security_protocol" in plain_to_password
    password_to_plain = await reason(KafkaAccess((guarded.address,), "SASL_PLAINTEXT", None, "PLAIN", "me", PASSWORD))
    assert password_to_plain.endswith("this listener takes no login (no SASL) (kafka.security_protocol)")


async def test_files_that_are_no_certificates(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    certificate, key = authority.issue("client")
    missing, other_key = str(tmp_path / "missing"), stranger.issue("other")[1]
    for setting, files in (
        ("kafka.ssl_cafile", {"ssl_cafile": missing}),
        ("kafka.ssl_cafile", {"ssl_cafile": key}),
        ("kafka.ssl_certfile", {"ssl_certfile": missing}),
        ("kafka.ssl_certfile", {"ssl_certfile": certificate}),
        ("kafka.ssl_certfile", {"ssl_certfile": certificate, "ssl_keyfile": other_key}),
    ):
        with pytest.raises(SettingsError, match=re.escape(setting)):
            KafkaAccess.from_settings(settings(security_protocol="SASL_SSL", **files))

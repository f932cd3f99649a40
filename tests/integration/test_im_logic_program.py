"""`python -m imgateway_im_logic` on real Kafka, Redis and etcd; the test plays the gateway."""

import signal
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import pytest
from servers import EtcdServer, KafkaServer, RedisServer
from tests.e2e.gateway_process import _CLEAN as CLEAN
from tests.e2e.im_logic import by
from tests.integration.kafka_cluster import PATIENCE, Cluster, cluster_at

from imgateway.adapters.etcd import EtcdAccess, EtcdResolver
from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, TopicPlan
from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.core.topics import Topics
from imgateway.model import (
    ConnectionId,
    ConversationId,
    Delivery,
    Envelope,
    GatewayId,
    Priority,
    ServiceInstance,
    SessionRecord,
    UserId,
)
from imgateway.wire.records import decode_downstream, encode_upstream
from imgateway_im_logic.generated.im.logic.v1 import auth_pb2, auth_pb2_grpc, conversation_pb2, conversation_pb2_grpc

pytestmark = pytest.mark.anyio

TOPICS = Topics()
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def cluster(kafka_server: KafkaServer) -> AsyncIterator[Cluster]:
    async with cluster_at(kafka_server.address) as cluster:
        yield cluster


async def found(resolver: EtcdResolver, count: int) -> list[ServiceInstance]:
    """The instances, as soon as there are so many."""
    changed = anyio.Event()

    def on_change(_: object) -> None:
        nonlocal changed
        changed.set()
        changed = anyio.Event()

    stop = resolver.watch("im-logic", on_change)
    with anyio.fail_after(PATIENCE):
        while len(instances := await resolver.resolve("im-logic")) != count:
            await changed.wait()
    stop()
    return list(instances)


async def test_a_message_goes_from_the_upstream_topic_to_the_topic_of_its_readers_gateway(
    cluster: Cluster, redis_server: RedisServer, etcd_server: EtcdServer
) -> None:
    gateway_id = GatewayId(f"gw-{uuid.uuid4().hex[:8]}")
    cluster.made |= {TOPICS.upstream, TOPICS.downstream(gateway_id)}
    cluster.groups |= {"im-logic-group", TOPICS.downstream_group(gateway_id)}
    access = KafkaAccess((cluster.address,))
    command = [sys.executable, "-m", "imgateway_im_logic", "--listen", "127.0.0.1:0", "--kafka", cluster.address]
    command += ["--redis", redis_server.url, "--etcd", etcd_server.url]
    async with (
        await anyio.open_process(command, env=CLEAN | {"IMGATEWAY_AUTH__SECRET": SECRET}, stderr=None) as process,
        EtcdResolver.open(EtcdAccess((etcd_server.url,))) as resolver,
    ):
        [instance] = await found(resolver, 1)
        assert (instance.name, instance.address) == ("im-logic", "127.0.0.1")
        async with grpc.aio.insecure_channel(f"{instance.address}:{instance.port}") as channel:
            auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
            info = {"device_id": uuid.uuid4().hex, "nickname": "Ann"}
            user = (await auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info=info))).user
            sessions = RedisSessionStore(RedisAccess(redis_server.url))
            session = SessionRecord(UserId(user.id), ConnectionId(uuid.uuid4().hex), gateway_id, None, None, 0)
            await sessions.add([session])
            own = TopicPlan(TOPICS.downstream(gateway_id), 3)
            down = KafkaConsumer(access, own, TOPICS.downstream_group(gateway_id), str(gateway_id))
            await down.start()
            envelope = Envelope(
                kind="send-message",
                trace_id="t" * 32,
                user_id=UserId(user.id),
                gateway_id=gateway_id,
                conversation_id=ConversationId("world"),
                message_type=1,
                content="你好",
                client_msg_id="m-1",
                timestamp=1_700_000_000_000,
            )
            record = encode_upstream(envelope, TOPICS.upstream, Priority.NORMAL)
            async with cluster.producer() as producer:
                for _ in range(2):  # a repeat changes nothing
                    await producer.send_and_wait(record.topic, record.value, key=record.key)
            deliveries: list[Delivery] = []
            with anyio.fail_after(PATIENCE):
                while not deliveries:
                    decoded = [decode_downstream(each.value) for each in await down.take()]
                    deliveries += [each for each in decoded if isinstance(each, Delivery)]
            assert [(each.content, each.seq_id, each.targets) for each in deliveries] == [("你好", 1, (user.id,))]
            conversations: Any = conversation_pb2_grpc.ConversationServiceStub(channel)
            request = conversation_pb2.GetMessagesRequest(user_id=user.id, conversation_id="world")
            history = (await conversations.GetMessages(request, metadata=by(user.id))).messages
            assert [each.content for each in history] == ["你好"]
            await sessions.remove([session])
            await sessions.aclose()
            await down.aclose()
        process.send_signal(signal.SIGTERM)
        assert await found(resolver, 0) == []
        with anyio.fail_after(PATIENCE):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("secret", "arguments", "named"),
    [
        ("", [], b"IMGATEWAY_AUTH__SECRET"),
        ("short", [], b"IMGATEWAY_AUTH__SECRET"),
        (SECRET, ["--listen", "0.0.0.0:9001", "--etcd", "http://127.0.0.1:2379"], b"--host"),
    ],
)
async def test_what_it_can_not_start_with_is_named(secret: str, arguments: list[str], named: bytes) -> None:
    command = [sys.executable, "-m", "imgateway_im_logic", *arguments]
    ended = await anyio.run_process(command, env=CLEAN | {"IMGATEWAY_AUTH__SECRET": secret}, check=False)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert b"Traceback" not in ended.stderr


async def test_an_address_that_is_taken_is_told_in_one_line(cluster: Cluster, redis_server: RedisServer) -> None:
    cluster.made.add(TOPICS.upstream)
    cluster.groups.add("im-logic-group")
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as taken:
        port = taken.extra(anyio.abc.SocketAttribute.local_port)
        command = [sys.executable, "-m", "imgateway_im_logic", "--listen", f"127.0.0.1:{port}"]
        command += ["--kafka", cluster.address, "--redis", redis_server.url]
        with anyio.fail_after(PATIENCE):
            ended = await anyio.run_process(command, env=CLEAN | {"IMGATEWAY_AUTH__SECRET": SECRET}, check=False)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}".encode() in ended.stderr
    assert b"Traceback" not in ended.stderr

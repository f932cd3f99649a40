"""What reaches nobody, on a real Kafka: nothing that a back end could write is lost for its size."""

import json
from collections.abc import AsyncIterator
from secrets import token_urlsafe

import anyio
import pytest
from servers import KafkaServer
from tests.integration.kafka_cluster import PATIENCE, Cluster, cluster_at

from imgateway.core.settings import AuthSettings, GatewaySettings, Settings
from imgateway.core.settings_services import KafkaSettings
from imgateway_cli.wiring import compose

pytestmark = pytest.mark.anyio

RECORD_BYTES = 1_048_500
"""The largest record that a broker takes by default, less what stands around it in a batch."""


@pytest.fixture
async def cluster(kafka_server: KafkaServer) -> AsyncIterator[Cluster]:
    async with cluster_at(kafka_server.address) as cluster:
        yield cluster


def largest_record() -> bytes:
    record = {
        "target_user_id": "nobody", "message_id": 1, "conversation_id": "c", "sender_id": "s",
        "message_type": 1, "content": "", "seq_id": 1, "timestamp": 1,
    }  # fmt: skip
    record["content"] = "x" * (RECORD_BYTES - len(json.dumps(record)))
    return json.dumps(record).encode()


async def test_the_largest_record_a_back_end_can_write_fits_into_the_undelivered_topic(cluster: Cluster) -> None:
    gateway_id = f"gw-{token_urlsafe(6)}"
    kafka = KafkaSettings(
        bootstrap_servers=(cluster.address,),
        upstream_topic=cluster.name("up"),
        low_priority_topic=cluster.name("low"),
        undelivered_topic=cluster.name("undelivered"),
        downstream_topic_prefix="down-",
    )
    down = f"down-{gateway_id}"
    cluster.made.add(down)
    cluster.groups.add(f"gateway-{gateway_id}-group")
    auth = AuthSettings(secret=token_urlsafe(32))
    settings = Settings(gateway=GatewaySettings(id=gateway_id), auth=auth, kafka=kafka)
    async with compose(settings).gateway as gateway:
        with anyio.fail_after(PATIENCE):
            await gateway.wait_ready()
        async with cluster.producer() as producer:
            await producer.send_and_wait(down, largest_record(), key=b"c")
        with anyio.fail_after(PATIENCE):
            while not (records := await cluster.read(kafka.undelivered_topic)):
                await anyio.sleep(0.1)
        await gateway.drain()
    (undelivered,) = [json.loads(record.value) for record in records]
    assert undelivered["target_user_ids"] == ["nobody"]
    assert undelivered["record"] == json.loads(largest_record())

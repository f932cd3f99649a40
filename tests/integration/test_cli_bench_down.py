"""`imgateway bench down` on a real Kafka, as a user runs it."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from servers import KafkaServer
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import SECRET
from tests.integration.kafka_cluster import Cluster, cluster_at

pytestmark = pytest.mark.anyio

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_")}
GATEWAY_ID = "gw-bench"


@attrs.frozen
class Place:
    """A gateway on Kafka."""

    url: str
    prefix: str
    cluster: Cluster


@pytest.fixture
async def place(kafka_server: KafkaServer) -> AsyncIterator[Place]:
    async with cluster_at(kafka_server.address) as cluster:
        prefix = cluster.name("down") + "-"
        cluster.made.add(prefix + GATEWAY_ID)
        cluster.groups.add(f"gateway-{GATEWAY_ID}-group")
        async with gateway_process(
            GATEWAY__ID=GATEWAY_ID,
            KAFKA__BOOTSTRAP_SERVERS=cluster.address,
            KAFKA__DOWNSTREAM_TOPIC_PREFIX=prefix,
            KAFKA__UPSTREAM_TOPIC=cluster.name("up"),
            KAFKA__LOW_PRIORITY_TOPIC=cluster.name("low"),
            KAFKA__UNDELIVERED_TOPIC=cluster.name("undelivered"),
        ) as process:
            yield Place(await process.url(), prefix, cluster)


async def down(place: Place, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, report, and what is on stderr."""
    command = [sys.executable, "-m", "imgateway_cli", "bench", "down", place.url, "--json", *options]
    environ = {**CLEAN, "IMGATEWAY_AUTH__SECRET": SECRET}
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, input=b"", check=False, env=environ)
    return ended.returncode, json.loads(ended.stdout or b"{}"), ended.stderr.decode()


async def test_a_burst_reaches_every_user_of_each_record(place: Place) -> None:
    code, report, errors = await down(
        place, "--connections", "8", "--processes", "2", "--kafka", place.cluster.address,
        "--topic-prefix", place.prefix, "--messages", "601", "--fan-out", "2", "--size", "200",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    figures = report["down"]
    assert figures["gateways"] == {GATEWAY_ID: 8}
    assert (figures["written"], figures["write_errors"]) == (601, {})
    assert figures["expected"] == figures["received"] == figures["latency_ms"]["count"] == 1202
    assert (figures["lost"], figures["duplicates"], figures["out_of_order"]) == (0, 0, 0)
    records = [json.loads(record.value) for record in await place.cluster.read(place.prefix + GATEWAY_ID)]
    assert len(records) == 601
    assert {len(record["target_user_ids"]) for record in records} == {2}
    assert {len(record["content"]) for record in records} == {200}


async def test_a_configuration_says_where_kafka_is_and_records_come_at_a_rate(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    kafka = f'bootstrap_servers = ["{place.cluster.address}"]\ndownstream_topic_prefix = "{place.prefix}"'
    file.write_text(f'[auth]\nsecret = "{SECRET}"\n[kafka]\n{kafka}\n')
    code, report, errors = await down(
        place, "--connections", "3", "--config", str(file), "--rate", "200", "--duration", "0.5"
    )
    assert (code, errors) == (0, "")
    assert report["down"]["written"] == report["down"]["received"] == 100


async def test_what_does_not_arrive_is_lost(place: Place) -> None:
    unread = place.cluster.name("unread") + "-"
    options = ("--connections", "2", "--kafka", place.cluster.address, "--topic-prefix", unread)
    code, _, errors = await down(place, *options)
    assert code == 1
    assert errors.startswith(f"error: no topic {unread}{GATEWAY_ID}: ")
    place.cluster.made.add(unread + GATEWAY_ID)
    await place.cluster.create_as(unread + GATEWAY_ID)
    code, report, errors = await down(place, *options, "--messages", "10", "--timeout", "0.5")
    assert (code, errors) == (1, "")
    figures = report["down"]
    assert (figures["written"], figures["received"], figures["lost"]) == (10, 0, 10)

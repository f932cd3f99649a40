"""Topics that must exist before they are used."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from imgateway.adapters.kafka.access import KafkaAccess, begin
from imgateway.errors import ServiceUnavailableError

CREATE_TIMEOUT_MS = 15_000
ENSURE_SECONDS = 40.0
KNOWN_PAUSE_SECONDS = 0.05
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
UNDELIVERED_MAX_MESSAGE_BYTES = 2 * DEFAULT_MAX_MESSAGE_BYTES
"""An undelivered record holds a downstream record, and is larger than that."""

_SETTINGS: Mapping[type[KafkaError], str] = {
    InvalidReplicationFactorError: "kafka.replication_factor",
    InvalidPartitionsError: "kafka.upstream_partitions, kafka.downstream_partitions",
    InvalidConfigurationError: "kafka.downstream_retention_hours",
    InvalidTopicError: "kafka.*_topic, kafka.downstream_topic_prefix, gateway.id",
}


@attrs.frozen
class TopicPlan:
    """A topic as it is made where it does not exist; an existing one is left as it is.

    Attributes:
        replication_factor: -1 for the broker's default (KIP-464).
        retention_hours: None for the broker's default.
        max_message_bytes: the largest batch that the broker takes (`max.message.bytes`); None for its default.
    """

    name: str
    partitions: int
    replication_factor: int = -1
    retention_hours: float | None = None
    max_message_bytes: int | None = None


@attrs.frozen
class TopicFacts:
    """A topic as it is.

    Attributes:
        max_message_bytes: the largest batch that the broker takes (`max.message.bytes`).
    """

    partitions: int
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES


@asynccontextmanager
async def asking(access: KafkaAccess) -> AsyncIterator[AIOKafkaClient]:
    """A client for some requests. Within `KafkaAccess.attempt`: its errors are the library's."""
    client = AIOKafkaClient(**access.options())
    try:
        await begin(client.bootstrap())
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await client.close()


async def ensure_topics(access: KafkaAccess, plans: Sequence[TopicPlan], *, create: bool) -> Mapping[str, TopicFacts]:
    """Return when every topic exists, with what is known of each by name.

    Raises:
        ServiceUnavailableError: the cluster can't be reached or refuses, or a topic is missing and may not be made;
            the message names the setting.
    """
    async with access.attempt("looking for topics", seconds=ENSURE_SECONDS), asking(access) as client:
        while True:
            known = await look_up(client, [plan.name for plan in plans])
            missing = [plan for plan in plans if plan.name not in known]
            if not missing:
                return known
            if not create:
                names = ", ".join(plan.name for plan in missing)
                raise ServiceUnavailableError(f"no topic {names}, and kafka.create_topics is false")
            await _create(client, missing)
            # What was made just now is not known to every broker at once.
            await anyio.sleep(KNOWN_PAUSE_SECONDS)


async def look_up(client: AIOKafkaClient, names: Iterable[str]) -> Mapping[str, TopicFacts]:
    """What is known of each topic that exists; never makes one, whatever the broker is told to do of itself.

    Raises:
        KafkaError: the cluster can't tell, or not to us.
    """
    request = MetadataRequest(list(names), allow_auto_topic_creation=False)
    response = await client.send(client.get_random_node(), request)
    partitions = {}
    for code, name, _, found in response.topics:
        error = for_code(code)
        if code == 0:
            partitions[name] = len(found)
        elif error not in (UnknownTopicOrPartitionError, InvalidTopicError):
            raise error(name)
    sizes = await _max_message_bytes(client, list(partitions))
    return {name: TopicFacts(count, sizes.get(name, DEFAULT_MAX_MESSAGE_BYTES)) for name, count in partitions.items()}


async def _max_message_bytes(client: AIOKafkaClient, names: Sequence[str]) -> Mapping[str, int]:
    """For each topic whose settings we may see."""
    if not names:
        return {}
    resources = [(ConfigResourceType.TOPIC, name, ["max.message.bytes"]) for name in names]
    response = await client.send(client.get_random_node(), DescribeConfigsRequest(resources))
    return {name: int(entry[1]) for code, _, _, name, entries in response.resources if code == 0 for entry in entries}


async def _create(client: AIOKafkaClient, plans: Sequence[TopicPlan]) -> None:
    topics: list[Any] = []
    for plan in plans:
        configs = []
        if plan.retention_hours is not None:
            configs.append(("retention.ms", str(round(plan.retention_hours * 3_600_000))))
        if plan.max_message_bytes is not None:
            configs.append(("max.message.bytes", str(plan.max_message_bytes)))
        topics.append((plan.name, plan.partitions, plan.replication_factor, [], configs))
    controller = client.cluster.controller
    node = client.get_random_node() if controller is None else controller.nodeId
    response = await client.send(node, CreateTopicsRequest(topics, CREATE_TIMEOUT_MS, validate_only=False))
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another gateway may have been faster.
        if code == 0 or error is TopicAlreadyExistsError:
            continue
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            setting = "kafka.create_topics needs the right to create topics; or make them yourself"
        else:
            setting = _SETTINGS.get(error, "kafka.create_topics")
        why = ": ".join(filter(None, (error.__name__, *message)))
        raise ServiceUnavailableError(f"topic {name} can't be made ({setting}): {why}")

"""Where a group of readers stands."""

import logging
from collections.abc import Mapping, Sequence

import anyio
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest

RETRY_SECONDS = 0.1
NO_OFFSET = -1

_log = logging.getLogger(__name__)


async def committed_positions(
    client: AIOKafkaClient, group: str, topic: str, partitions: Sequence[int]
) -> Mapping[int, int]:
    """The group's committed position of each partition that has one. Waits for a coordinator that is starting.

    The library's own way to ask takes a coordinator that has not loaded its offsets yet for one that knows of none
    (it reads the errors of the partitions, not that of the answer): everything would be read from the start.

    Raises:
        KafkaError: the cluster refuses.
    """
    while True:
        try:
            coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
            response = await client.send(coordinator, OffsetFetchRequest(group, [(topic, list(partitions))]))
            _check(response.error_code)
            positions = {}
            for _, found in response.topics:
                for partition, offset, _, code in found:
                    _check(code)
                    if offset != NO_OFFSET:
                        positions[partition] = offset
            return positions
        except KafkaError as error:
            if not error.retriable:
                raise
        await client.force_metadata_update()
        await anyio.sleep(RETRY_SECONDS)


async def warn_of_members(client: AIOKafkaClient, group: str) -> None:
    """Say who has joined the group: nobody should, as its members commit positions of their own.

    Raises:
        KafkaError: the cluster refuses.
    """
    coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
    response = await client.send(coordinator, DescribeGroupsRequest([group]))
    for code, _, _, _, _, members, *_ in response.groups:
        if code == 0 and members:
            clients = ", ".join(sorted(f"{member[1]} at {member[2].lstrip('/')}" for member in members))
            _log.error(
                "a consumer has joined the group of this gateway; it may move committed positions, and must not",
                extra={"group": group, "clients": clients},
            )


def _check(code: int) -> None:
    if code:
        raise for_code(code)

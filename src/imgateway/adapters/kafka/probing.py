"""Whether the cluster would do, before anything stands on it."""

from collections.abc import Sequence

from imgateway.adapters.kafka.access import KafkaAccess
from imgateway.adapters.kafka.topics import asking, look_up

PROBE_SECONDS = 10.0


async def probe(access: KafkaAccess, topics: Sequence[str], /) -> Sequence[str]:
    """Connect and look for topics; those that do not exist. Bounded in time, makes nothing.

    Raises:
        ServiceUnavailableError: the cluster can't be reached, or does not let us; the message names the setting.
    """
    async with access.attempt("connecting", seconds=PROBE_SECONDS), asking(access) as client:
        known = await look_up(client, topics)
        return [topic for topic in topics if topic not in known]

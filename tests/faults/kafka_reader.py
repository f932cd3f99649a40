"""A process that reads a topic and commits position after position, until it can't; run by tests.

    python kafka_reader.py HOST:PORT TOPIC GROUP TRANSACTIONAL_ID

Says `committed N` after each, and the name of the exception that ended it.
"""

import asyncio
import sys

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, TopicPlan
from imgateway.errors import ServiceUnavailableError


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    address, topic, group, transactional_id = sys.argv[1:]
    consumer = KafkaConsumer(KafkaAccess((address,)), TopicPlan(topic, 3), group, transactional_id)
    try:
        await consumer.start()
        for position in range(1, 1_000_000):
            await consumer.commit({0: position})
            say(f"committed {position}")
    except ServiceUnavailableError as error:
        say(type(error).__name__)
    finally:
        await consumer.aclose()


if __name__ == "__main__":
    asyncio.run(main())

"""aiokafka's producer, ended when we say so."""

import asyncio

import anyio
from aiokafka import AIOKafkaProducer

END_SECONDS = 2.0


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer without waiting for batches that may never be written; nothing is sent after this. Not cancelled.

    The library's own `stop` waits for every batch, however long that takes. If it is cancelled the producer goes on
    in the background, connects anew and writes them after all: out of order, when a newer one has taken over.
    """
    with anyio.CancelScope(shield=True):
        # Private, but there is no other way to its task; without it `stop` closes the connections and no more.
        sender, producer._sender = producer._sender, None
        task = None if sender is None else sender.sender_task
        if task is not None:
            task.cancel()
            # Requests that are on their way are waited for, as their answers may be near.
            if not (await asyncio.wait([task], timeout=END_SECONDS))[0]:
                await producer.client.close()
                task.cancel()
                await asyncio.wait([task])
        await producer.stop()

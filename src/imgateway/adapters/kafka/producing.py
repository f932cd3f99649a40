"""aiokafka's producer, ended when we say so."""

import asyncio

import anyio
from aiokafka import AIOKafkaProducer

END_SECONDS = 2.0


async def end_producer(producer: AIOKafkaProducer, seconds: float = END_SECONDS) -> None:
    """Stop a producer without waiting for batches that may never be written; nothing is sent after this. Not cancelled.

    The library's own `stop` waits for every batch, however long that takes. If it is cancelled the producer goes on
    in the background, connects anew and writes them after all: out of order, when a newer one has taken over.

    Args:
        producer: which may have failed to start.
        seconds: how long requests that are on their way are waited for, as their answers may be near.
    """
    with anyio.CancelScope(shield=True):
        # Private, but there is no other way to its task; without it `stop` closes the connections and no more.
        sender, producer._sender = producer._sender, None
        task = None if sender is None else sender.sender_task
        if task is not None:
            task.cancel()
            if not (await asyncio.wait([task], timeout=seconds))[0]:
                await producer.client.close()
                task.cancel()
                await asyncio.wait([task])
        await producer.stop()

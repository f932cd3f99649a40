"""The measured process: an embedded gateway with a back end that sends down what a client message commands.

A message whose content begins with `!` is a JSON command: `{"records": n, "users": m, "fan_out": bool}` writes n
records of `size` bytes of content, each to all of `user-0` … `user-{m-1}`, or to one of them in turn.
"""

import argparse
import gc
import json
import os
from collections.abc import Iterator

import anyio
from starlette.applications import Starlette

from imgateway import AuthSettings, ServerSettings, Settings
from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.memory import Embedded, MemoryConsumer, MemoryPublisher
from imgateway.adapters.starlette import gateway_routes
from imgateway.core.gateway import Gateway
from imgateway.model import OutgoingRecord, PublishFailure, Receipt
from imgateway_cli.serving import drain_on_signal, listening, run

SECRET = "a secret of the benchmark, 32 bytes long"


class Ignored:
    """Nobody waits for the bench's own records."""

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        assert isinstance(outcome, Receipt), outcome


def records(topic: str, command: dict[str, int]) -> Iterator[OutgoingRecord]:
    users = [f"user-{n}" for n in range(command["users"])]
    for n in range(command["records"]):
        targets = users if command.get("fan_out") else [users[n % len(users)]]
        body = {
            "target_user_ids": targets, "message_id": n, "conversation_id": f"c-{n % 100}", "sender_id": "bench",
            "message_type": 1, "content": "x" * command.get("size", 120), "seq_id": n, "timestamp": 0,
        }  # fmt: skip
        yield OutgoingRecord(topic, body["conversation_id"].encode(), json.dumps(body).encode())  # type: ignore[attr-defined]  # a str


async def back_end(embedded: Embedded, gateway: Gateway) -> None:
    consumer = MemoryConsumer(embedded.broker, embedded.topics.upstream, "bench")
    await consumer.start()
    async with MemoryPublisher(embedded.broker) as publisher:
        while True:
            for record in await consumer.take():
                content = json.loads(record.value)["content"]
                if content.startswith("!"):
                    # All at once, as a burst from a broker would be there all at once.
                    for outgoing in records(embedded.topics.downstream(gateway.gateway_id), json.loads(content[1:])):
                        while not publisher.offer(outgoing, Ignored()):
                            await publisher.flush()


async def main(port: int) -> None:
    settings = Settings(auth=AuthSettings(secret=SECRET), server=ServerSettings(port=port))
    embedded = Embedded()
    embedded.broker.retention_records = 1_000_000
    gateway = embedded.gateway(JwtAuthenticator.from_settings(settings.auth), settings)
    async with (
        listening(Starlette(routes=gateway_routes(gateway)), settings),
        gateway,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(back_end, embedded, gateway)
        await gateway.wait_ready()
        print("ready", flush=True)
        await drain_on_signal(gateway)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, default=0)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    gc.freeze()
    run(lambda: main(arguments.port))

"""A gRPC server as a program: answers `GetMessages` with the same 20 messages. Prints its address."""

import asyncio
from typing import Any

import grpc

from imgateway_im_logic.generated.common.v1 import types_pb2
from imgateway_im_logic.generated.im.logic.v1 import common_pb2, conversation_pb2

METHOD = "im.logic.v1.ConversationService/GetMessages"
MESSAGES = 20


def answer() -> bytes:
    """6.4 KB as JSON."""
    found = conversation_pb2.GetMessagesResponse()
    for number in range(MESSAGES):
        message = common_pb2.Message(
            id=f"01JA{number:022d}",
            conversation_id="dm:alice:bob",
            type=types_pb2.MESSAGE_TYPE_TEXT,
            content="See you at the station at a quarter past seven, and please bring the tickets.",
            seq_id=number + 1,
            client_msg_id=f"c-{number:06d}",
            created_at=1_700_000_000_000 + number,
            updated_at=1_700_000_000_000 + number,
        )
        message.sender.id, message.sender.username = "alice", "Alice"
        found.messages.append(message)
    return found.SerializeToString()


async def main() -> None:
    answered = answer()

    async def messages(_: bytes, __: Any) -> bytes:
        return answered

    service, _, method = METHOD.partition("/")
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(messages)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

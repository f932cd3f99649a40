"""The codec compiles what it meets in an `Any` when it first meets it, in whatever thread that is."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message_factory import GetMessageClass
from tests.properties.grpc_messages import KINDS, POOL

from imgateway.adapters.grpc.codec import MessageCodec

THREADS = 4


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_what_several_threads_meet_first_is_made_once() -> None:
    inner: Any = GetMessageClass(KINDS)(optional_int32=1)
    inner.optional_nested_message.a = 2
    packed = AnyMessage(type_url=f"x/{KINDS.full_name}", value=inner.SerializeToString())
    text = f'{{"@type":"x/{KINDS.full_name}","optionalInt32":1,"optionalNestedMessage":{{"a":2}}}}'.encode()
    any_ = POOL.FindMessageTypeByName("google.protobuf.Any")
    message = GetMessageClass(any_).FromString(packed.SerializeToString())
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(100):
            codec = MessageCodec(POOL)
            write, read = codec.encoder(any_), codec.decoder(any_)
            together = threading.Barrier(THREADS)

            def convert(write=write, read=read, together=together) -> bytes:  # type: ignore[no-untyped-def]  # bound at once
                together.wait(10)
                found = GetMessageClass(any_)()
                read(text, found)
                assert found == message
                return bytes(write(message))

            for made in [threads.submit(convert) for _ in range(THREADS)]:
                assert made.result(10) == text

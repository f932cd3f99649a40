"""`imgateway` whose answers are encoded by protobuf's own json_format: what the compiled codec is measured against."""

import json
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway_cli.__main__ import main


def encoder(_: MessageCodec, __: Descriptor) -> Callable[[Message], bytes]:
    write: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    return lambda message: write(json_format.MessageToDict(message)).encode()


if __name__ == "__main__":
    MessageCodec.encoder = encoder  # type: ignore[method-assign]  # the only difference
    main()

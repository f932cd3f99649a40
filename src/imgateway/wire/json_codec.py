"""The codec of subprotocol `imgateway.json.v1`: text frames, one JSON object `{"type", "data", "timestamp"}` each."""

from collections.abc import Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from imgateway.codes import Code
from imgateway.model import Refusal
from imgateway.wire.json_guard import RepeatedNameError, TooDeepError, guard
from imgateway.wire.messages import (
    Call,
    ClientMessage,
    Id,
    MarkRead,
    Ping,
    RefreshToken,
    SendMessage,
    ServerMessage,
    SignalMessage,
    may_be_call,
)

JSON_V1: Final = "imgateway.json.v1"


class _SendMessageFrame(msgspec.Struct, gc=False, tag=SendMessage.TYPE, tag_field="type"):
    data: SendMessage
    timestamp: int | float | UnsetType | None = UNSET


class _MarkReadFrame(msgspec.Struct, gc=False, tag=MarkRead.TYPE, tag_field="type"):
    data: MarkRead
    timestamp: int | float | UnsetType | None = UNSET


class _RefreshTokenFrame(msgspec.Struct, tag=RefreshToken.TYPE, tag_field="type"):
    data: RefreshToken
    timestamp: int | float | UnsetType | None = UNSET


class _PingFrame(msgspec.Struct, tag=Ping.TYPE, tag_field="type"):
    data: dict[str, Any] | UnsetType | None = UNSET
    timestamp: int | float | UnsetType | None = UNSET


class _CallData(msgspec.Struct):
    client_msg_id: Id | UnsetType = UNSET


class _CallFrame(msgspec.Struct):
    """The base of a class for each type that is a call: msgspec finds a frame's class by its type."""

    data: _CallData
    timestamp: int | float | UnsetType | None = UNSET


class _LooseData(msgspec.Struct):
    client_msg_id: str | None = None


class _LooseFrame(msgspec.Struct):
    """Just enough of a bad frame to say which message the error is about."""

    type: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class _ServerFrame(msgspec.Struct, gc=False):
    type: str
    data: Any
    timestamp: int


_Frame = _SendMessageFrame | _MarkReadFrame | _RefreshTokenFrame | _PingFrame | _CallFrame

_FRAMES: Final[Mapping[str, type[_Frame]]] = MappingProxyType(
    {
        SendMessage.TYPE: _SendMessageFrame,
        MarkRead.TYPE: _MarkReadFrame,
        RefreshToken.TYPE: _RefreshTokenFrame,
        Ping.TYPE: _PingFrame,
    }
)


def _decoder(frames: Mapping[str, type[_Frame]]) -> msgspec.json.Decoder[_Frame]:
    return msgspec.json.Decoder(reduce(or_, frames.values()))


_DECODER: Final = _decoder(_FRAMES)
_loose_decoder = msgspec.json.Decoder(_LooseFrame)
_loose_type_decoder = msgspec.json.Decoder(str)
_loose_data_decoder = msgspec.json.Decoder(_LooseData)
_encoder = msgspec.json.Encoder()
_PING = Ping()


class JsonCodec:
    """Implements `ports.Codec`. Stateless: one instance serves every connection.

    Unknown members of known frames are ignored, so that clients may be newer than the gateway; unknown types are not.

    Args:
        calls: the types of client messages that are calls, whatever they mean otherwise.

    Raises:
        ValueError: a type that can't be a call (`messages.may_be_call`).
    """

    __slots__ = ("_decoder", "_known")

    def __init__(self, calls: frozenset[str] = frozenset()) -> None:
        for type_ in calls:
            if not may_be_call(type_):
                raise ValueError(f"client messages of type {type_!r} can't be calls")
        frames = dict(_FRAMES) | {type_: _call_frame(type_) for type_ in sorted(calls)}
        self._known = frozenset(frames)
        self._decoder = _decoder(frames) if calls else _DECODER

    @property
    def name(self) -> str:
        """The WebSocket subprotocol (RFC 6455 section 1.9) that selects this codec."""
        return JSON_V1

    def decode(self, text: str, /) -> ClientMessage | tuple[Refusal, str | None]:
        """A client's frame as a value; or why it is refused, and the `client_msg_id` where one is readable."""
        try:
            frame = self._decoder.decode(text)
            guard(text, _members(frame))
        except msgspec.ValidationError as error:
            return self._refuse_invalid(text, str(error))
        except (msgspec.DecodeError, UnicodeEncodeError):  # the latter: a lone surrogate, which no UTF-8 text holds
            return _refusal("malformed_json", "The frame is not one valid JSON object."), None
        except RepeatedNameError:
            return _refusal("duplicate_key", "An object in the frame names a member twice."), _loose(text)[1]
        except (TooDeepError, RecursionError):
            return _refusal("nested_too_deep", "The frame nests too deep."), None
        if isinstance(frame, _SendMessageFrame):
            return frame.data
        if isinstance(frame, _CallFrame):
            return _call(frame, text)
        return _PING if isinstance(frame, _PingFrame) else frame.data

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        """The frame's UTF-8 payload."""
        if isinstance(message, SignalMessage):
            return _encoder.encode(_ServerFrame(message.signal_type, message.payload, timestamp))
        return _encoder.encode(_ServerFrame(message.TYPE, message, timestamp))

    def _refuse_invalid(self, text: str, why: str) -> tuple[Refusal, str | None]:
        type_, client_msg_id = _loose(text)
        if type_ is not None and type_ not in self._known:
            # The client's own text is not repeated: it may be long, or hold control characters.
            return _refusal("unknown_type", "The frame's type is unknown."), client_msg_id
        return _refusal("invalid_field", why), client_msg_id


def _call_frame(type_: str) -> type[_CallFrame]:
    made = msgspec.defstruct("_TypedCallFrame", (), bases=(_CallFrame,), tag=type_, tag_field="type")
    return cast(type[_CallFrame], made)


def _call(frame: _CallFrame, text: str) -> Call:
    type_ = frame.__struct_config__.tag
    assert isinstance(type_, str)  # noqa: S101  # for the type checker: it is what `_call_frame` was given
    return Call(type_, bytes(_loose_decoder.decode(text).data), frame.data.client_msg_id)


def _members(frame: _Frame) -> int:
    """How many object members the decoder recognised; `extra`, and data of a call or a ping, ask for the full look."""
    outer = 2 + (frame.timestamp is not UNSET)
    if isinstance(frame, _SendMessageFrame):
        return outer + 4 if frame.data.extra is UNSET else -1
    if isinstance(frame, _MarkReadFrame):
        return outer + 2 + (frame.data.client_msg_id is not UNSET)
    if isinstance(frame, _RefreshTokenFrame):
        return outer + 1
    if isinstance(frame, _CallFrame):
        return -1
    if frame.data is UNSET:
        return outer - 1
    return -1 if frame.data else outer


def _refusal(details: str, message: str) -> Refusal:
    return Refusal(Code.INVALID_MESSAGE, message, details)


def _loose(text: str) -> tuple[str | None, str | None]:
    """The type and the `client_msg_id` of a bad frame, as far as they are readable."""
    type_ = client_msg_id = None
    try:
        frame = _loose_decoder.decode(text)
        with suppress(msgspec.DecodeError):
            type_ = _loose_type_decoder.decode(frame.type)
        with suppress(msgspec.DecodeError):
            client_msg_id = _loose_data_decoder.decode(frame.data).client_msg_id
    except (msgspec.DecodeError, RecursionError):
        return type_, None
    return type_, client_msg_id if client_msg_id is not None and len(client_msg_id) <= 128 else None

from imgateway_im_logic.generated.common.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from imgateway_im_logic.generated.im.logic.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetMessagesRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "start_seq_id", "end_seq_id", "limit", "ascending", "type_filter")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    START_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    END_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ASCENDING_FIELD_NUMBER: _ClassVar[int]
    TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    start_seq_id: int
    end_seq_id: int
    limit: int
    ascending: bool
    type_filter: _containers.RepeatedScalarFieldContainer[_types_pb2.MessageType]
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., start_seq_id: _Optional[int] = ..., end_seq_id: _Optional[int] = ..., limit: _Optional[int] = ..., ascending: _Optional[bool] = ..., type_filter: _Optional[_Iterable[_Union[_types_pb2.MessageType, str]]] = ...) -> None: ...

class GetMessagesResponse(_message.Message):
    __slots__ = ("messages", "has_more", "next_seq_id", "prev_seq_id")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    PREV_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_common_pb2.Message]
    has_more: bool
    next_seq_id: int
    prev_seq_id: int
    def __init__(self, messages: _Optional[_Iterable[_Union[_common_pb2.Message, _Mapping]]] = ..., has_more: _Optional[bool] = ..., next_seq_id: _Optional[int] = ..., prev_seq_id: _Optional[int] = ...) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "content", "type", "client_msg_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    content: str
    type: _types_pb2.MessageType
    client_msg_id: str
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., content: _Optional[str] = ..., type: _Optional[_Union[_types_pb2.MessageType, str]] = ..., client_msg_id: _Optional[str] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("message", "client_msg_id")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    message: _common_pb2.Message
    client_msg_id: str
    def __init__(self, message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., client_msg_id: _Optional[str] = ...) -> None: ...

class WatchMessagesRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "after_seq_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    after_seq_id: int
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., after_seq_id: _Optional[int] = ...) -> None: ...

class WatchMessagesResponse(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: _common_pb2.Message
    def __init__(self, message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ...) -> None: ...

from imgateway_im_logic.generated.common.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UserStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USER_STATUS_UNSPECIFIED: _ClassVar[UserStatus]
    USER_STATUS_NORMAL: _ClassVar[UserStatus]
    USER_STATUS_DISABLED: _ClassVar[UserStatus]
    USER_STATUS_DELETED: _ClassVar[UserStatus]
USER_STATUS_UNSPECIFIED: UserStatus
USER_STATUS_NORMAL: UserStatus
USER_STATUS_DISABLED: UserStatus
USER_STATUS_DELETED: UserStatus

class User(_message.Message):
    __slots__ = ("id", "username", "avatar_url", "is_guest", "status", "created_at", "updated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    IS_GUEST_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    username: str
    avatar_url: str
    is_guest: bool
    status: UserStatus
    created_at: int
    updated_at: int
    def __init__(self, id: _Optional[str] = ..., username: _Optional[str] = ..., avatar_url: _Optional[str] = ..., is_guest: _Optional[bool] = ..., status: _Optional[_Union[UserStatus, str]] = ..., created_at: _Optional[int] = ..., updated_at: _Optional[int] = ...) -> None: ...

class UserInfo(_message.Message):
    __slots__ = ("id", "username", "avatar_url")
    ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    id: str
    username: str
    avatar_url: str
    def __init__(self, id: _Optional[str] = ..., username: _Optional[str] = ..., avatar_url: _Optional[str] = ...) -> None: ...

class ClientInfo(_message.Message):
    __slots__ = ("device_id", "platform", "app_version", "nickname")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    APP_VERSION_FIELD_NUMBER: _ClassVar[int]
    NICKNAME_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    platform: str
    app_version: str
    nickname: str
    def __init__(self, device_id: _Optional[str] = ..., platform: _Optional[str] = ..., app_version: _Optional[str] = ..., nickname: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("id", "conversation_id", "sender", "type", "content", "seq_id", "client_msg_id", "deleted", "extra", "created_at", "updated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    conversation_id: str
    sender: UserInfo
    type: _types_pb2.MessageType
    content: str
    seq_id: int
    client_msg_id: str
    deleted: bool
    extra: str
    created_at: int
    updated_at: int
    def __init__(self, id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., sender: _Optional[_Union[UserInfo, _Mapping]] = ..., type: _Optional[_Union[_types_pb2.MessageType, str]] = ..., content: _Optional[str] = ..., seq_id: _Optional[int] = ..., client_msg_id: _Optional[str] = ..., deleted: _Optional[bool] = ..., extra: _Optional[str] = ..., created_at: _Optional[int] = ..., updated_at: _Optional[int] = ...) -> None: ...

class Conversation(_message.Message):
    __slots__ = ("id", "type", "name", "avatar_url", "description", "owner_id", "member_count", "last_message", "unread_count", "updated_at", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: _types_pb2.ConversationType
    name: str
    avatar_url: str
    description: str
    owner_id: str
    member_count: int
    last_message: Message
    unread_count: int
    updated_at: int
    created_at: int
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., name: _Optional[str] = ..., avatar_url: _Optional[str] = ..., description: _Optional[str] = ..., owner_id: _Optional[str] = ..., member_count: _Optional[int] = ..., last_message: _Optional[_Union[Message, _Mapping]] = ..., unread_count: _Optional[int] = ..., updated_at: _Optional[int] = ..., created_at: _Optional[int] = ...) -> None: ...

class ConversationOptimized(_message.Message):
    __slots__ = ("id", "type", "name", "avatar_url", "description", "owner_id", "member_count", "last_message", "unread_count", "updated_at", "created_at", "my_membership", "last_activity_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    MY_MEMBERSHIP_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVITY_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: _types_pb2.ConversationType
    name: str
    avatar_url: str
    description: str
    owner_id: str
    member_count: int
    last_message: Message
    unread_count: int
    updated_at: int
    created_at: int
    my_membership: ConversationMember
    last_activity_at: int
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., name: _Optional[str] = ..., avatar_url: _Optional[str] = ..., description: _Optional[str] = ..., owner_id: _Optional[str] = ..., member_count: _Optional[int] = ..., last_message: _Optional[_Union[Message, _Mapping]] = ..., unread_count: _Optional[int] = ..., updated_at: _Optional[int] = ..., created_at: _Optional[int] = ..., my_membership: _Optional[_Union[ConversationMember, _Mapping]] = ..., last_activity_at: _Optional[int] = ...) -> None: ...

class ConversationMember(_message.Message):
    __slots__ = ("user", "role", "muted", "joined_at")
    USER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MUTED_FIELD_NUMBER: _ClassVar[int]
    JOINED_AT_FIELD_NUMBER: _ClassVar[int]
    user: User
    role: _types_pb2.ConversationMemberRole
    muted: bool
    joined_at: int
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ..., role: _Optional[_Union[_types_pb2.ConversationMemberRole, str]] = ..., muted: _Optional[bool] = ..., joined_at: _Optional[int] = ...) -> None: ...

class FailedUser(_message.Message):
    __slots__ = ("user_id", "reason", "error_code")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    reason: str
    error_code: str
    def __init__(self, user_id: _Optional[str] = ..., reason: _Optional[str] = ..., error_code: _Optional[str] = ...) -> None: ...

class ConversationUnreadCount(_message.Message):
    __slots__ = ("conversation_id", "unread_count")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    unread_count: int
    def __init__(self, conversation_id: _Optional[str] = ..., unread_count: _Optional[int] = ...) -> None: ...

from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ConversationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVERSATION_TYPE_UNSPECIFIED: _ClassVar[ConversationType]
    CONVERSATION_TYPE_SINGLE: _ClassVar[ConversationType]
    CONVERSATION_TYPE_GROUP: _ClassVar[ConversationType]
    CONVERSATION_TYPE_WORLD: _ClassVar[ConversationType]

class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_TYPE_UNSPECIFIED: _ClassVar[MessageType]
    MESSAGE_TYPE_TEXT: _ClassVar[MessageType]
    MESSAGE_TYPE_IMAGE: _ClassVar[MessageType]
    MESSAGE_TYPE_FILE: _ClassVar[MessageType]
    MESSAGE_TYPE_SYSTEM: _ClassVar[MessageType]
    MESSAGE_TYPE_VOICE: _ClassVar[MessageType]
    MESSAGE_TYPE_VIDEO: _ClassVar[MessageType]

class ConversationMemberRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVERSATION_MEMBER_ROLE_UNSPECIFIED: _ClassVar[ConversationMemberRole]
    CONVERSATION_MEMBER_ROLE_MEMBER: _ClassVar[ConversationMemberRole]
    CONVERSATION_MEMBER_ROLE_ADMIN: _ClassVar[ConversationMemberRole]
    CONVERSATION_MEMBER_ROLE_OWNER: _ClassVar[ConversationMemberRole]
CONVERSATION_TYPE_UNSPECIFIED: ConversationType
CONVERSATION_TYPE_SINGLE: ConversationType
CONVERSATION_TYPE_GROUP: ConversationType
CONVERSATION_TYPE_WORLD: ConversationType
MESSAGE_TYPE_UNSPECIFIED: MessageType
MESSAGE_TYPE_TEXT: MessageType
MESSAGE_TYPE_IMAGE: MessageType
MESSAGE_TYPE_FILE: MessageType
MESSAGE_TYPE_SYSTEM: MessageType
MESSAGE_TYPE_VOICE: MessageType
MESSAGE_TYPE_VIDEO: MessageType
CONVERSATION_MEMBER_ROLE_UNSPECIFIED: ConversationMemberRole
CONVERSATION_MEMBER_ROLE_MEMBER: ConversationMemberRole
CONVERSATION_MEMBER_ROLE_ADMIN: ConversationMemberRole
CONVERSATION_MEMBER_ROLE_OWNER: ConversationMemberRole

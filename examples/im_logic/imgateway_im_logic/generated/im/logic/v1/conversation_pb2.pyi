from imgateway_im_logic.generated.common.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from imgateway_im_logic.generated.im.logic.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateConversationRequest(_message.Message):
    __slots__ = ("creator_id", "type", "name", "avatar_url", "description", "member_ids")
    CREATOR_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MEMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    creator_id: str
    type: _types_pb2.ConversationType
    name: str
    avatar_url: str
    description: str
    member_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, creator_id: _Optional[str] = ..., type: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., name: _Optional[str] = ..., avatar_url: _Optional[str] = ..., description: _Optional[str] = ..., member_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: _common_pb2.Conversation
    def __init__(self, conversation: _Optional[_Union[_common_pb2.Conversation, _Mapping]] = ...) -> None: ...

class GetConversationRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "include_members")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    include_members: bool
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., include_members: _Optional[bool] = ...) -> None: ...

class GetConversationResponse(_message.Message):
    __slots__ = ("conversation", "members")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    conversation: _common_pb2.Conversation
    members: _containers.RepeatedCompositeFieldContainer[_common_pb2.ConversationMember]
    def __init__(self, conversation: _Optional[_Union[_common_pb2.Conversation, _Mapping]] = ..., members: _Optional[_Iterable[_Union[_common_pb2.ConversationMember, _Mapping]]] = ...) -> None: ...

class GetConversationsRequest(_message.Message):
    __slots__ = ("user_id", "page", "page_size", "type_filter", "order_by")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page: int
    page_size: int
    type_filter: _types_pb2.ConversationType
    order_by: str
    def __init__(self, user_id: _Optional[str] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., type_filter: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., order_by: _Optional[str] = ...) -> None: ...

class GetConversationsResponse(_message.Message):
    __slots__ = ("conversations", "total", "page", "page_size", "has_more")
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    conversations: _containers.RepeatedCompositeFieldContainer[_common_pb2.Conversation]
    total: int
    page: int
    page_size: int
    has_more: bool
    def __init__(self, conversations: _Optional[_Iterable[_Union[_common_pb2.Conversation, _Mapping]]] = ..., total: _Optional[int] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: _Optional[bool] = ...) -> None: ...

class GetConversationsOptimizedRequest(_message.Message):
    __slots__ = ("user_id", "page", "page_size", "type_filter", "order_by", "include_last_message", "include_unread_count")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LAST_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page: int
    page_size: int
    type_filter: _types_pb2.ConversationType
    order_by: str
    include_last_message: bool
    include_unread_count: bool
    def __init__(self, user_id: _Optional[str] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., type_filter: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., order_by: _Optional[str] = ..., include_last_message: _Optional[bool] = ..., include_unread_count: _Optional[bool] = ...) -> None: ...

class GetConversationsOptimizedResponse(_message.Message):
    __slots__ = ("conversations", "total", "page", "page_size", "has_more")
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    conversations: _containers.RepeatedCompositeFieldContainer[_common_pb2.ConversationOptimized]
    total: int
    page: int
    page_size: int
    has_more: bool
    def __init__(self, conversations: _Optional[_Iterable[_Union[_common_pb2.ConversationOptimized, _Mapping]]] = ..., total: _Optional[int] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: _Optional[bool] = ...) -> None: ...

class UpdateConversationRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "name", "avatar_url", "description", "update_mask")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    name: str
    avatar_url: str
    description: str
    update_mask: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., name: _Optional[str] = ..., avatar_url: _Optional[str] = ..., description: _Optional[str] = ..., update_mask: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: _common_pb2.Conversation
    def __init__(self, conversation: _Optional[_Union[_common_pb2.Conversation, _Mapping]] = ...) -> None: ...

class DeleteConversationRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "reason")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    reason: str
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteConversationResponse(_message.Message):
    __slots__ = ("success",)
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    def __init__(self, success: _Optional[bool] = ...) -> None: ...

class AddMembersRequest(_message.Message):
    __slots__ = ("operator_id", "conversation_id", "user_ids", "role")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    conversation_id: str
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    role: _types_pb2.ConversationMemberRole
    def __init__(self, operator_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., user_ids: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[_types_pb2.ConversationMemberRole, str]] = ...) -> None: ...

class AddMembersResponse(_message.Message):
    __slots__ = ("success", "added_user_ids", "failed_users")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ADDED_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    FAILED_USERS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    added_user_ids: _containers.RepeatedScalarFieldContainer[str]
    failed_users: _containers.RepeatedCompositeFieldContainer[_common_pb2.FailedUser]
    def __init__(self, success: _Optional[bool] = ..., added_user_ids: _Optional[_Iterable[str]] = ..., failed_users: _Optional[_Iterable[_Union[_common_pb2.FailedUser, _Mapping]]] = ...) -> None: ...

class RemoveMembersRequest(_message.Message):
    __slots__ = ("operator_id", "conversation_id", "user_ids", "reason")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    conversation_id: str
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, operator_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., user_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class RemoveMembersResponse(_message.Message):
    __slots__ = ("success", "removed_user_ids", "failed_users")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    FAILED_USERS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    removed_user_ids: _containers.RepeatedScalarFieldContainer[str]
    failed_users: _containers.RepeatedCompositeFieldContainer[_common_pb2.FailedUser]
    def __init__(self, success: _Optional[bool] = ..., removed_user_ids: _Optional[_Iterable[str]] = ..., failed_users: _Optional[_Iterable[_Union[_common_pb2.FailedUser, _Mapping]]] = ...) -> None: ...

class UpdateMemberRoleRequest(_message.Message):
    __slots__ = ("operator_id", "conversation_id", "target_user_id", "new_role")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_USER_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_ROLE_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    conversation_id: str
    target_user_id: str
    new_role: _types_pb2.ConversationMemberRole
    def __init__(self, operator_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., target_user_id: _Optional[str] = ..., new_role: _Optional[_Union[_types_pb2.ConversationMemberRole, str]] = ...) -> None: ...

class UpdateMemberRoleResponse(_message.Message):
    __slots__ = ("success",)
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    def __init__(self, success: _Optional[bool] = ...) -> None: ...

class GetMembersRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "page", "page_size", "role_filter")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FILTER_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    page: int
    page_size: int
    role_filter: _types_pb2.ConversationMemberRole
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., role_filter: _Optional[_Union[_types_pb2.ConversationMemberRole, str]] = ...) -> None: ...

class GetMembersResponse(_message.Message):
    __slots__ = ("members", "total", "page", "page_size", "has_more")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[_common_pb2.ConversationMember]
    total: int
    page: int
    page_size: int
    has_more: bool
    def __init__(self, members: _Optional[_Iterable[_Union[_common_pb2.ConversationMember, _Mapping]]] = ..., total: _Optional[int] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., has_more: _Optional[bool] = ...) -> None: ...

class LeaveConversationRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...

class LeaveConversationResponse(_message.Message):
    __slots__ = ("success",)
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    def __init__(self, success: _Optional[bool] = ...) -> None: ...

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

class MarkAsReadRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id", "seq_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    seq_id: int
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., seq_id: _Optional[int] = ...) -> None: ...

class MarkAsReadResponse(_message.Message):
    __slots__ = ("success", "unread_count")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    success: bool
    unread_count: int
    def __init__(self, success: _Optional[bool] = ..., unread_count: _Optional[int] = ...) -> None: ...

class GetUnreadCountRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...

class GetUnreadCountResponse(_message.Message):
    __slots__ = ("unread_count", "conversation_counts")
    UNREAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    unread_count: int
    conversation_counts: _containers.RepeatedCompositeFieldContainer[_common_pb2.ConversationUnreadCount]
    def __init__(self, unread_count: _Optional[int] = ..., conversation_counts: _Optional[_Iterable[_Union[_common_pb2.ConversationUnreadCount, _Mapping]]] = ...) -> None: ...

class JoinWorldChatRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class JoinWorldChatResponse(_message.Message):
    __slots__ = ("success", "conversation")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    success: bool
    conversation: _common_pb2.Conversation
    def __init__(self, success: _Optional[bool] = ..., conversation: _Optional[_Union[_common_pb2.Conversation, _Mapping]] = ...) -> None: ...

class SearchConversationsRequest(_message.Message):
    __slots__ = ("user_id", "query", "type_filter", "limit")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    query: str
    type_filter: _types_pb2.ConversationType
    limit: int
    def __init__(self, user_id: _Optional[str] = ..., query: _Optional[str] = ..., type_filter: _Optional[_Union[_types_pb2.ConversationType, str]] = ..., limit: _Optional[int] = ...) -> None: ...

class SearchConversationsResponse(_message.Message):
    __slots__ = ("conversations",)
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    conversations: _containers.RepeatedCompositeFieldContainer[_common_pb2.Conversation]
    def __init__(self, conversations: _Optional[_Iterable[_Union[_common_pb2.Conversation, _Mapping]]] = ...) -> None: ...

class GetReadMarksRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class GetReadMarksResponse(_message.Message):
    __slots__ = ("marks",)
    MARKS_FIELD_NUMBER: _ClassVar[int]
    marks: _containers.RepeatedCompositeFieldContainer[ReadMark]
    def __init__(self, marks: _Optional[_Iterable[_Union[ReadMark, _Mapping]]] = ...) -> None: ...

class ReadMark(_message.Message):
    __slots__ = ("conversation_id", "read_seq_id", "read_by_others_seq_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    READ_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    READ_BY_OTHERS_SEQ_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    read_seq_id: int
    read_by_others_seq_id: int
    def __init__(self, conversation_id: _Optional[str] = ..., read_seq_id: _Optional[int] = ..., read_by_others_seq_id: _Optional[int] = ...) -> None: ...

class GetOnlineMembersRequest(_message.Message):
    __slots__ = ("user_id", "conversation_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    conversation_id: str
    def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...

class GetOnlineMembersResponse(_message.Message):
    __slots__ = ("user_ids",)
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_ids: _Optional[_Iterable[str]] = ...) -> None: ...

"""The protos of `examples/im_logic` hold to GoChat's names and numbers, and to the paths of its HTTP API."""

import pytest
from google.api.annotations_pb2 import http
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

from imgateway.adapters.grpc.routing import RouteTable
from imgateway.adapters.grpc.schema import read_descriptor_set
from imgateway_cli.demo.app import demo_settings
from imgateway_im_logic.generated.im.logic.v1 import auth_pb2, common_pb2, conversation_pb2, message_pb2
from imgateway_im_logic.server import PUBLIC, descriptor_set_path

PAGED = "user_id=1 page=2 page_size=3 type_filter=4 order_by=5"
LIST = "conversations=1 total=2 page=3 page_size=4 has_more=5"
TOKENS = "access_token=1 refresh_token=2 expires_in=3"
ABOUT = "user_id=1 conversation_id=2"

METHODS = {
    "AuthService.Login": ("username=1 password=2 client_info=3", f"{TOKENS} user=4"),
    "AuthService.Register": ("username=1 password=2 avatar_url=3", "user=1"),
    "AuthService.GuestLogin": ("client_info=1", f"{TOKENS} user=4"),
    "AuthService.RefreshToken": ("refresh_token=1", TOKENS),
    "AuthService.Logout": ("user_id=1 access_token=2", "success=1"),
    "AuthService.ValidateToken": ("access_token=1", "valid=1 user=2 expires_at=3"),
    "MessageService.SendMessage": (f"{ABOUT} content=3 type=4 client_msg_id=5", "message=1 client_msg_id=2"),
    "ConversationService.GetMessages": (
        f"{ABOUT} start_seq_id=3 end_seq_id=4 limit=5 ascending=6 type_filter=7",
        "messages=1 has_more=2 next_seq_id=3 prev_seq_id=4",
    ),
    "ConversationService.CreateConversation": (
        "creator_id=1 type=2 name=3 avatar_url=4 description=5 member_ids=6",
        "conversation=1",
    ),
    "ConversationService.GetConversation": (f"{ABOUT} include_members=3", "conversation=1 members=2"),
    "ConversationService.GetConversations": (PAGED, LIST),
    "ConversationService.GetConversationsOptimized": (f"{PAGED} include_last_message=6 include_unread_count=7", LIST),
    "ConversationService.UpdateConversation": (
        f"{ABOUT} name=3 avatar_url=4 description=5 update_mask=7",
        "conversation=1",
    ),
    "ConversationService.DeleteConversation": (f"{ABOUT} reason=3", "success=1"),
    "ConversationService.AddMembers": (
        "operator_id=1 conversation_id=2 user_ids=3 role=4",
        "success=1 added_user_ids=2 failed_users=3",
    ),
    "ConversationService.RemoveMembers": (
        "operator_id=1 conversation_id=2 user_ids=3 reason=4",
        "success=1 removed_user_ids=2 failed_users=3",
    ),
    "ConversationService.UpdateMemberRole": (
        "operator_id=1 conversation_id=2 target_user_id=3 new_role=4",
        "success=1",
    ),
    "ConversationService.GetMembers": (
        f"{ABOUT} page=3 page_size=4 role_filter=5",
        "members=1 total=2 page=3 page_size=4 has_more=5",
    ),
    "ConversationService.LeaveConversation": (ABOUT, "success=1"),
    "ConversationService.MarkAsRead": (f"{ABOUT} seq_id=3", "success=1 unread_count=2"),
    "ConversationService.GetUnreadCount": (ABOUT, "unread_count=1 conversation_counts=2"),
    "ConversationService.JoinWorldChat": ("user_id=1", "success=1 conversation=2"),
    "ConversationService.SearchConversations": ("user_id=1 query=2 type_filter=3 limit=4", "conversations=1"),
}
TYPES = {
    "User": "id=1 username=2 avatar_url=3 is_guest=4 status=5 created_at=6 updated_at=7",
    "UserInfo": "id=1 username=2 avatar_url=3",
    "Message": "id=1 conversation_id=2 sender=3 type=4 content=5 seq_id=6 client_msg_id=7 deleted=8 extra=9 "
    "created_at=10 updated_at=11",
    "Conversation": "id=1 type=2 name=3 avatar_url=4 description=5 owner_id=6 member_count=7 last_message=8 "
    "unread_count=9 updated_at=10 created_at=11",
    "ConversationOptimized": "id=1 type=2 name=3 avatar_url=4 description=5 owner_id=6 member_count=7 last_message=9 "
    "unread_count=10 updated_at=11 created_at=12 my_membership=13 last_activity_at=14",
    "ConversationMember": "user=1 role=2 muted=3 joined_at=4",
    "FailedUser": "user_id=1 reason=2 error_code=3",
    "ConversationUnreadCount": "conversation_id=1 unread_count=2",
}
PATHS = {
    "AuthService.Register": "POST /auth/register",
    "AuthService.Login": "POST /auth/login",
    "AuthService.GuestLogin": "POST /auth/guest",
    "AuthService.RefreshToken": "POST /auth/refresh",
    "AuthService.Logout": "POST /auth/logout",
    "ConversationService.GetConversationsOptimized": "GET /conversations",
    "ConversationService.CreateConversation": "POST /conversations",
    "ConversationService.GetConversation": "GET /conversations/{conversation_id}",
    "ConversationService.UpdateConversation": "PUT /conversations/{conversation_id}",
    "ConversationService.GetMessages": "GET /conversations/{conversation_id}/messages",
    "MessageService.SendMessage": "POST /conversations/{conversation_id}/messages",
    "ConversationService.MarkAsRead": "PUT /conversations/{conversation_id}/read",
    "ConversationService.GetMembers": "GET /conversations/{conversation_id}/members",
    "ConversationService.AddMembers": "POST /conversations/{conversation_id}/members",
    "ConversationService.UpdateMemberRole": "PUT /conversations/{conversation_id}/members/{target_user_id}",
    "ConversationService.RemoveMembers": "DELETE /conversations/{conversation_id}/members",
}
OURS = {
    "MessageService.WatchMessages": "GET /conversations/{conversation_id}/stream",
    "ConversationService.GetReadMarks": "GET /conversations:readMarks",
    "ConversationService.GetOnlineMembers": "GET /conversations/{conversation_id}/online",
}

FILES: tuple[FileDescriptor, ...] = (auth_pb2.DESCRIPTOR, conversation_pb2.DESCRIPTOR, message_pb2.DESCRIPTOR)


def methods() -> dict[str, MethodDescriptor]:
    services = [service for file in FILES for service in file.services_by_name.values()]
    return {f"{service.name}.{method.name}": method for service in services for method in service.methods}


def fields(message: Descriptor) -> str:
    return " ".join(f"{field.name}={field.number}" for field in message.fields)


@pytest.mark.parametrize("name", METHODS)
def test_requests_and_answers_are_gochats(name: str) -> None:
    method = methods()[name]
    assert (fields(method.input_type), fields(method.output_type)) == METHODS[name]
    assert method.full_name == f"im.logic.v1.{name}"


@pytest.mark.parametrize("name", TYPES)
def test_types_are_gochats(name: str) -> None:
    assert fields(common_pb2.DESCRIPTOR.message_types_by_name[name]) == TYPES[name]


def test_paths_are_gochats_and_what_is_ours_says_so() -> None:
    found = {}
    for name, method in methods().items():
        rule = method.GetOptions().Extensions[http]
        if verb := rule.WhichOneof("pattern"):
            found[name] = f"{verb.upper()} {getattr(rule, verb)}"
            assert rule.body == ("*" if verb in ("post", "put") else "")
    assert found == PATHS | OURS
    assert set(methods()) == set(METHODS) | set(OURS)


def test_the_gateway_can_serve_every_rule() -> None:
    settings = demo_settings(8080, "x" * 32, 9001).grpc
    assert settings is not None
    table = RouteTable.build(read_descriptor_set(descriptor_set_path()), settings)
    assert table.problems == ()
    served = {route.rest.rpc: f"{route.rest.http_method} {route.rest.path}" for route in table.routes}
    rules = {f"im.logic.v1.{name.replace('.', '/')}": path for name, path in (PATHS | OURS).items()}
    assert served == {rpc: path.replace(" ", " /api") for rpc, path in rules.items()}
    assert {route.rest.rpc for route in table.routes if route.rest.public} == set(PUBLIC)

"""Whatever a client writes, a private method learns the verified user."""

import json
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_routes import bound, route, table

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.routing import IdentityError, MessageCall, RouteTable
from imgateway.adapters.grpc.routing.identity import identity_setter

GET = "library.v1.Library/GetBook"
LEND = "library.v1.Library/Lend"
Kind = FieldDescriptorProto


@pytest.fixture(scope="module")
def library() -> RouteTable:
    """All private."""
    return table()


@pytest.mark.parametrize(
    ("http_method", "target", "body"),
    [
        ("GET", "/api/v1/books/b", b""),
        ("GET", "/api/v1/books/b?user_id=eve", b""),
        ("GET", "/api/v1/books/b?userId=eve", b""),
        ("GET", "/api/v1/books/b?user%5Fid=eve", b""),
        ("GET", "/api/v1/users/eve/books/b/revisions/1", b""),
        ("POST", "/api/v1/books/b/loans", b""),
        ("POST", "/api/v1/books/b/loans", b'{"user_id": "eve"}'),
        ("POST", "/api/v1/books/b/loans", b'{"userId": "eve"}'),
        ("POST", "/api/v1/books/b/loans?user_id=eve", rb'{"user\u0049d": "eve"}'),
    ],
)
def test_no_way_leads_around_the_verified_user(library: RouteTable, http_method: str, target: str, body: bytes) -> None:
    message = bound(library, http_method, target, body, user_id="alice")
    assert getattr(message, "user_id", None) == "alice"


def test_every_listed_field_is_set_at_the_top_only(library: RouteTable) -> None:
    body = b'{"user_id": "mallory", "title": "t"}'
    message = bound(library, "PATCH", "/api/v1/books/b?creator_id=eve&operator_id=7", body, user_id="42")
    assert " ".join(str(message).split()) == (
        'book { name: "books/b" title: "t" user_id: "mallory" } operator_id: 42 creator_id: "42"'
    )


def test_a_public_method_takes_what_the_client_sends() -> None:
    public = table(public=(GET,))
    message = bound(public, "GET", "/api/v1/books/b?user_id=eve", user_id="alice")
    assert message == bound(public, "GET", "/api/v1/books/b?user_id=eve", user_id=None)
    assert getattr(message, "user_id", None) == "eve"


def test_other_fields_may_be_named() -> None:
    routes = table(identity_fields=("bookId", "nothing", "book_id"))
    message = bound(routes, "GET", "/api/v1/books/b?user_id=eve", user_id="alice")
    assert str(message).split() == ["book_id:", '"alice"', "user_id:", '"eve"']


def test_a_private_method_is_never_called_for_nobody(library: RouteTable) -> None:
    with pytest.raises(IdentityError):
        bound(library, "GET", "/api/v1/books/b", user_id=None)
    with pytest.raises(IdentityError):
        bound(library, "GET", "/api/v1/elsewhere", user_id=None)


@pytest.mark.parametrize("user_id", ["", "x", "007", "+7", " 7", "7 ", "1_0", "1.0", "٧", "2147483648", "9" * 5000])
def test_an_id_that_is_not_the_number_itself_fits_no_integer(library: RouteTable, user_id: str) -> None:
    with pytest.raises(IdentityError):
        bound(library, "GET", "/api/v1/shelves/s/books", user_id=user_id)


def test_an_id_that_no_text_can_hold(library: RouteTable) -> None:
    for target in ("/api/v1/books/b", "/api/v1/users/u/books/b/revisions/1"):
        with pytest.raises(IdentityError):
            bound(library, "GET", target, user_id="\ud800")


INTEGERS: dict[int, tuple[int, int]] = {
    Kind.TYPE_INT32: (-(2**31), 2**31 - 1),
    Kind.TYPE_SINT32: (-(2**31), 2**31 - 1),
    Kind.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    Kind.TYPE_UINT32: (0, 2**32 - 1),
    Kind.TYPE_FIXED32: (0, 2**32 - 1),
    Kind.TYPE_INT64: (-(2**63), 2**63 - 1),
    Kind.TYPE_SINT64: (-(2**63), 2**63 - 1),
    Kind.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    Kind.TYPE_UINT64: (0, 2**64 - 1),
    Kind.TYPE_FIXED64: (0, 2**64 - 1),
}


@pytest.mark.parametrize("kind", range(1, 19))
def test_every_kind_of_field(kind: int) -> None:
    file = FileDescriptorProto(name="one.proto", syntax="proto3" if kind != Kind.TYPE_GROUP else "proto2")
    message = file.message_type.add(name="One")
    types: dict[int, str] = {Kind.TYPE_MESSAGE: ".One", Kind.TYPE_GROUP: ".One.Id", Kind.TYPE_ENUM: ".Colour"}
    file.enum_type.add(name="Colour").value.add(name="NONE", number=0)
    message.nested_type.add(name="Id")
    message.field.add(name="id", number=1, label=Kind.LABEL_OPTIONAL, type_name=types.get(kind))
    message.field[0].type = kind  # type: ignore[assignment]  # the stubs have a type of their own for its values
    pool = DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("One")
    new: Any = GetMessageClass(descriptor)
    if kind == Kind.TYPE_STRING or kind in INTEGERS:
        setter = identity_setter(descriptor, ["id"])
        assert setter is not None
        for number in INTEGERS.get(kind, (1, 2)):
            request = new()
            setter(request, str(number))
            assert str(request.id) == str(number)
        for number in (INTEGERS[kind][0] - 1, INTEGERS[kind][1] + 1) if kind in INTEGERS else ():
            with pytest.raises(IdentityError):
                setter(new(), str(number))
    else:
        with pytest.raises(ValueError, match="neither a string nor an integer"):
            identity_setter(descriptor, ["id"])


def call(rpc: str, **settings: Any) -> MessageCall:
    """What a client's message that is mapped to this method goes through."""
    found = table(messages={"x": rpc}, **settings).calls["x"]
    assert isinstance(found, MessageCall), found
    return found


def test_a_clients_message_is_a_call(library: RouteTable) -> None:
    lend = call(LEND)
    assert (lend.rpc, lend.idempotent) == (LEND, False)
    new = GetMessageClass(route(library, "POST", "/api/v1/books/b/loans").method.input_type)
    data = b'{"bookId": "b", "user_id": "eve", "client_msg_id": "c-1"}'
    assert new.FromString(lend.request(data, "alice")) == new(book_id="b", user_id="alice")
    assert new.FromString(lend.request(b"", "alice")) == new(user_id="alice")
    assert lend.answer(b"") == b"{}"
    with pytest.raises(ValueError, match="no message of its type"):
        lend.answer(b"\xff")
    with pytest.raises(FieldError, match="bookId"):
        lend.request(b'{"bookId": 1}', "alice")
    with pytest.raises(IdentityError):
        call("library.v1.Library/ListBooks").request(b"{}", "x")
    assert call("library.v1.Library/Unrouted").idempotent


def test_the_gateways_own_member_is_no_unknown_field() -> None:
    lend = call(LEND, unknown_fields="reject")
    plain = lend.request(b'{"book_id": "b"}', "alice")
    assert lend.request(b'{"client_msg_id": "c", "book_id": "b"}', "alice") == plain
    assert lend.request(json.dumps({"book_id": "b", "client_msg_id": {"a": [1]}}).encode(), "alice") == plain
    for data in (
        b'{"nothing": 1, "client_msg_id": "c"}',
        b'{"client_msg_id": "c", "until": {"client_msg_id": "c"}}',
        b'{"client_msg_id": "c"',
        b'["client_msg_id"]',
        b'"\xff"',
        b"[" * 100_000,
        b'{"client_msg_id": ' + b"[" * 100_000,
        b'{"book_id": "a", "book_id": "b", "client_msg_id": "c"}',
        b'{"client_msg_id": "c", "client_msg_id": "d", "book_id": "a", "bookId": "b"}',
    ):
        with pytest.raises(FieldError):
            lend.request(data, "alice")


@pytest.mark.parametrize("unknown_fields", ["ignore", "reject"])
def test_a_clients_message_loses_no_name_that_an_enum_does_not_have(unknown_fields: str) -> None:
    books = call("library.v1.Library/ListBooks", unknown_fields=unknown_fields)
    with pytest.raises(FieldError) as caught:
        books.request(b'{"formats": ["PAPER", "PICTURE"], "client_msg_id": "c"}', "7")
    assert (caught.value.path, caught.value.why) == ("formats[1]", "is no value of Format")


@pytest.mark.parametrize("unknown_fields", ["ignore", "reject"])
@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"client_msg_id": "c", "labels": {"a": "", "a": ""}}', 'labels["a"]'),
        (b'{"client_msg_id": "c", "author": ' + b'{"teacher": ' * 10_000, "author.teacher.teacher"),
        (b'{"client_msg_id": "c", "tags": ["", "\xff"]}', "tags[1]"),
        (b'{"client_msg_id": "c", "ratio": 1e999}', "ratio"),
    ],
)
def test_a_bad_text_is_told_by_the_field(data: bytes, path: str, unknown_fields: str) -> None:
    with pytest.raises(FieldError) as caught:
        call("library.v1.Library/ListBooks", unknown_fields=unknown_fields).request(data, "7")
    assert caught.value.path == path


def test_a_clients_message_has_a_user_for_public_methods_too() -> None:
    public = call(LEND, public=(LEND,))
    for data in (b'{"user_id": "eve"}', b'{"userId": "eve"}', b""):
        assert public.request(data, "alice") == call(LEND).request(b"{}", "alice")
    with pytest.raises(IdentityError):
        call("library.v1.Library/ListBooks", public=("library.v1.Library/*",)).request(b"{}", "x")


@pytest.mark.parametrize(
    ("rpc", "why"),
    [
        ("library.v1.Library/Nothing", "no such method"),
        ("", "no such method"),
        ("library.v1.Library/Watch", "is no unary method"),
        ("library.v1.Library/Upload", "is no unary method"),
    ],
)
def test_methods_that_no_message_can_call(rpc: str, why: str) -> None:
    routes = table(messages={"x": rpc, "y": LEND})
    assert routes.calls["x"] == f"{rpc}: {why}"
    assert list(routes.unanswered()) == [f"grpc.messages.x: {rpc}: {why}"]


@pytest.mark.parametrize("public", [(), ("broken.v1.Broken/*",)])
def test_a_message_cannot_call_what_has_no_place_for_its_user(public: tuple[str, ...]) -> None:
    broken = table("broken.proto", messages={"x": "broken.v1.Broken/ManyUsers"}, public=public)
    assert broken.calls["x"] == ("broken.v1.Broken/ManyUsers: the identity field user_id is repeated")

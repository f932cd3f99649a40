"""What path, query and body of a request become, and which requests do not fit."""

from itertools import product
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_routes import bound, route, table

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.routing import RouteTable, query
from imgateway.adapters.grpc.routing.query import MAX_DEPTH, MAX_PARAMETERS

LIST = "/api/v1/shelves/s/books"


@pytest.fixture(scope="module")
def library() -> RouteTable:
    """Parameters that are no fields are ignored."""
    return table(identity_fields=())


@pytest.fixture(scope="module")
def strict() -> RouteTable:
    """They are refused."""
    return table(identity_fields=(), unknown_fields="reject")


def refused(routes: RouteTable, http_method: str, target: str, body: bytes = b"") -> tuple[str, str]:
    """The field and the reason."""
    with pytest.raises(FieldError) as caught:
        bound(routes, http_method, target, body)
    return caught.value.path, caught.value.why


def text(routes: RouteTable, http_method: str, target: str, body: bytes = b"") -> str:
    """The request in protobuf's text format, on one line."""
    return " ".join(str(bound(routes, http_method, target, body)).split())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/v1/books/a%20b%2Fc+d", 'book_id: "a b/c+d"'),
        ("/api/v1/books/%E8%B7%AF", 'book_id: "路"'),
        ("/api/v1/books/\xe8\xb7\xaf", 'book_id: "路"'),
        ("/api/v1/books/a%00b", r'book_id: "a\000b"'),
        ("/api/v1/books/a:b", 'book_id: "a:b"'),
        ("/api/v1/users/u/books/b/revisions/-7", 'book_id: "b" revision: -7 user_id: "u"'),
        ("/api/v1/shelves/a%2Fb/things/c%20d%2f%41", 'name: "shelves/a%2Fb/things/c d%2fA"'),
        ("/api/v1/shelves/%252F/things/%25", 'name: "shelves/%2F/things/%"'),
        ("/api/v1/files/a/b%20c//%2F", 'name: "a/b c//%2F"'),
        ("/api/v1/files", ""),
        ("/api/v1/since/2020-01-02T03:04:05Z", "since { seconds: 1577934245 }"),
    ],
)
def test_path_variables(library: RouteTable, target: str, expected: str) -> None:
    message = bound(library, "GET", target)
    assert message == text_format.Parse(expected, type(message)())


@pytest.mark.parametrize(
    ("target", "path", "why"),
    [
        ("/api/v1/books/%", "bookId", "has a broken %-escape"),
        ("/api/v1/books/a%2", "bookId", "has a broken %-escape"),
        ("/api/v1/books/%GG", "bookId", "has a broken %-escape"),
        ("/api/v1/books/%FF", "bookId", "is not UTF-8"),
        ("/api/v1/books/%ED%A0%80", "bookId", "is not UTF-8"),
        ("/api/v1/books/\xff", "bookId", "is not UTF-8"),
        ("/api/v1/books/路", "bookId", "has characters that must be percent-encoded"),
        ("/api/v1/files/a/%FF/b", "name", "is not UTF-8"),
        ("/api/v1/files/a/%%2Fb", "name", "has a broken %-escape"),
    ],
)
def test_path_variables_that_cannot_be_decoded(library: RouteTable, target: str, path: str, why: str) -> None:
    assert refused(library, "GET", target) == (path, why)


@pytest.mark.parametrize(
    "number",
    ["x", "1.5", "9223372036854775808", "1e400", "1e99999999999999999999", "%20", "0x1", "%D9%A1", "1_0", "+1"],
)
def test_path_variables_that_do_not_fit_their_field(library: RouteTable, number: str) -> None:
    assert refused(library, "GET", f"/api/v1/users/u/books/b/revisions/{number}")[0] == "revision"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tags=a&tags=b%26c&tags=", 'tags: "a" tags: "b&c" tags: ""'),
        ("tags=a+b%2B", 'tags: "a b+"'),
        ("tags", 'tags: ""'),
        ("tags=a=b", 'tags: "a=b"'),
        ("&&tags=a&", 'tags: "a"'),
        ("formats=AUDIO&formats=1&formats=7", "formats: AUDIO formats: PAPER formats: 7"),
        ("only_new=true", "only_new: true"),
        ("onlyNew=1", "only_new: true"),
        ("onlyNew=0", ""),
        ("only%5Fnew=%74rue", "only_new: true"),
        (
            "author.family_name=x&author.teacher.familyName=y",
            'author { family_name: "x" teacher { family_name: "y" } }',
        ),
        ("since=1970-01-01T00:00:01Z", "since { seconds: 1 }"),
        ("within=1.5s", "within { seconds: 1 nanos: 500000000 }"),
        ("readMask=title,author.familyName", 'read_mask { paths: "title" paths: "author.family_name" }'),
        ("page_size=0", "page_size { }"),
        ("pageSize=7", "page_size { value: 7 }"),
        ("hints=a&hints=b", 'hints { value: "a" } hints { value: "b" }'),
        ("ratio=1e3", "ratio: 1000"),
        ("token=_-8", r'token: "\377\357"'),
        ("by=x", 'by: "x"'),
        ("shelf=s", ""),
        ("shelf=%73", ""),
        ("nothing=1&no.thing=2&authorx.y=3&tags.x=4&=5", ""),
        ("", ""),
    ],
)
def test_parameters(library: RouteTable, query: str, expected: str) -> None:
    assert text(library, "GET", f"{LIST}?{query}") == f'shelf: "s" {expected}'.strip()


@pytest.mark.parametrize(
    ("query", "path", "why"),
    [
        ("onlyNew=true&only_new=true", "onlyNew", "is given more than once"),
        ("page_size=1&pageSize=1", "pageSize", "is given more than once"),
        ("shelf=t", "shelf", "conflicts with the path"),
        ("shelf=s&shelf=s", "shelf", "is given more than once"),
        ("author=x", "author", "can't be given as a parameter"),
        ("authors=x", "authors", "can't be given as a parameter"),
        ("authors.familyName=x", "", ""),
        ("labels=x", "labels", "can't be given as a parameter"),
        ("tags=%zz", "tags", "has a broken %-escape"),
        ("tags=%ff", "tags", "is not UTF-8"),
        ("%ff=x", "", "a parameter's name is not UTF-8"),
        ("tags%=x", "", "a parameter's name has a broken %-escape"),
        ("author.family_name=x&author.family_name=y", "author.familyName", "is given more than once"),
        ("&" * MAX_PARAMETERS, "", f"more than {MAX_PARAMETERS} parameters"),
    ],
)
def test_parameters_that_are_refused(library: RouteTable, query: str, path: str, why: str) -> None:
    if why == "":
        assert text(library, "GET", f"{LIST}?{query}") == 'shelf: "s"'
        return
    assert refused(library, "GET", f"{LIST}?{query}") == (path, why)


def test_a_parameters_name_has_so_many_steps_and_is_told_by_the_first_of_them(library: RouteTable) -> None:
    teachers = ".".join(["author"] + ["teacher"] * (MAX_DEPTH - 2))
    assert "family_name" in text(library, "GET", f"{LIST}?{teachers}.family_name=x")
    expected = ".".join(["author"] + ["teacher"] * 15) + "…", f"leads deeper than {MAX_DEPTH} levels"
    assert refused(library, "GET", f"{LIST}?{teachers}.teacher.family_name=x") == expected
    assert refused(library, "GET", f"{LIST}?{teachers}{'.teacher' * 10_000}=x") == expected
    odd = "author.%00." + ".".join(["x" * 100] * MAX_DEPTH)
    assert refused(library, "GET", f"{LIST}?{odd}=x")[0] == "author.?." + ".".join([f"{'x' * 60}…"] * 14) + "…"


def test_a_query_has_so_many_parameters(library: RouteTable) -> None:
    pieces = ["tags=a"] * MAX_PARAMETERS
    assert text(library, "GET", f"{LIST}?{'&'.join(pieces)}").count('"a"') == MAX_PARAMETERS
    assert refused(library, "GET", f"{LIST}?{'&'.join([*pieces, 'x'])}") == (
        "",
        f"more than {MAX_PARAMETERS} parameters",
    )


@pytest.mark.parametrize(
    "query",
    [
        "onlyNew=yes",
        "onlyNew=",
        "formats=NO",
        "ratio=x",
        "since=now",
        "within=1",
        "pageSize=x",
        "token=%21",
        "seed=1.5",
    ],
)
def test_parameters_that_do_not_fit_their_field(library: RouteTable, query: str) -> None:
    path, why = refused(library, "GET", f"{LIST}?{query}")
    assert path == query.partition("=")[0]
    assert why


def test_two_members_of_a_oneof(library: RouteTable) -> None:
    assert refused(library, "GET", f"{LIST}?by=x&seed=1")[0] == "seed"


def test_a_parameter_within_what_the_path_binds_is_none(library: RouteTable) -> None:
    target = "/api/v1/since/2020-01-02T03:04:05Z"
    assert refused(library, "GET", f"{target}?since.seconds=1") == ("since.seconds", "can't be given as a parameter")
    assert refused(library, "GET", f"{target}?since=2021-01-02T03:04:05Z") == ("since", "conflicts with the path")
    assert bound(library, "GET", f"{target}?since=2020-01-02T04:04:05%2B01:00") == bound(library, "GET", target)


def test_unknown_parameters_are_refused_where_the_setting_says_so(strict: RouteTable) -> None:
    assert refused(strict, "GET", f"{LIST}?nothing=1") == ("nothing", "is no field of the request")
    assert refused(strict, "GET", f"{LIST}?author.family_name.x=1")[0] == "author.familyName.x"
    assert refused(strict, "GET", f"{LIST}?{'x' * 5000}=1")[0] == f"{'x' * 60}…"
    assert refused(strict, "GET", f"{LIST}?author{'.teacher' * 20}.nothing=1")[0] == f"author{'.teacher' * 15}…"
    assert text(strict, "GET", f"{LIST}?tags=a") == 'shelf: "s" tags: "a"'


def test_a_body_that_is_the_whole_request_leaves_no_parameters(library: RouteTable, strict: RouteTable) -> None:
    target = "/api/v1/books/b/loans?user_id=x"
    assert text(library, "POST", target) == 'book_id: "b"'
    assert refused(strict, "POST", target) == ("userId", "is no parameter: the body is the whole request")
    many = ".".join("x" * 20)
    assert refused(strict, "POST", f"/api/v1/books/b/loans?{many}=x")[0] == ".".join("x" * 16) + "…"
    assert refused(strict, "POST", "/api/v1/books/b/loans?" + "&" * MAX_PARAMETERS)[1].startswith("more than")
    assert text(strict, "POST", "/api/v1/books/b/loans?&") == 'book_id: "b"'


def test_the_path_replaces_what_the_body_says(library: RouteTable) -> None:
    assert text(library, "POST", "/api/v1/books/b/loans", b'{"bookId": "other", "userId": "u"}') == (
        'book_id: "b" user_id: "u"'
    )
    assert text(
        library, "PUT", "/api/v1/books/b/loans/1970-01-01T00:00:01Z", b'{"until": "1970-01-01T00:00:09.5Z"}'
    ) == ('book_id: "b" until { seconds: 1 }')


def test_a_body_that_is_a_field(library: RouteTable, strict: RouteTable) -> None:
    target = "/api/v1/books/b?update_mask=title"
    body = b'{"title": "t", "name": "other"}'
    expected = 'book { name: "books/b" title: "t" } update_mask { paths: "title" }'
    assert text(library, "PATCH", target, body) == expected
    assert refused(library, "PATCH", f"{target}&book.title=x", body) == ("book.title", "belongs into the body")
    assert refused(library, "PATCH", target, b'{"title": 1}')[0] == "book.title"
    assert refused(strict, "PATCH", target, b'{"author": {"nothing": 1}}')[0] == "book.author.nothing"
    assert text(library, "PATCH", "/api/v1/books/b") == 'book { name: "books/b" }'


def test_a_rule_without_a_body_reads_none(library: RouteTable) -> None:
    assert text(library, "GET", "/api/v1/books/b", b"garbage") == 'book_id: "b"'


def test_what_is_remembered_of_parameters_has_a_bound(library: RouteTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_KNOWN", 16)
    known = route(library, "GET", LIST)._request.query._known  # type: ignore[attr-defined]  # either kind of query
    known.clear()
    for depth, name in product(range(30), ("family_name", "familyName")):
        bound(library, "GET", f"{LIST}?author.{'teacher.' * depth}{name}=x&nothing{depth}=x")
    assert 0 < len(known) <= 16
    known.clear()
    for letters in map("".join, product(*((a, f"%{ord(a):02x}", f"%{ord(a):02X}") for a in "tags"))):
        assert text(library, "GET", f"{LIST}?{letters}=x") == 'shelf: "s" tags: "x"'
    assert len(known) == 1


def test_answers_and_parts_of_them(library: RouteTable) -> None:
    answer: Any = GetMessageClass(route(library, "GET", LIST).method.output_type)(total=7)
    empty = answer.SerializeToString()
    assert route(library, "GET", LIST).answer(empty) == b'{"total":"7"}'
    assert route(library, "GET", "/api/v1/best").answer(empty) == b"null"
    assert route(library, "GET", "/api/v1/all").answer(empty) == b"[]"
    answer.best.title = "t"
    answer.books.add(user_id="u")
    full = answer.SerializeToString()
    assert route(library, "GET", "/api/v1/best").answer(full) == b'{"title":"t"}'
    assert route(library, "GET", "/api/v1/all").answer(full) == b'[{"userId":"u"}]'
    proto = table(field_names="proto")
    assert route(proto, "GET", "/api/v1/all").answer(full) == b'[{"user_id":"u"}]'
    for garbage in (b"\xff", b"\x0a\x05a", b'{"total": 1}'):
        with pytest.raises(ValueError, match="no message of its type"):
            route(library, "GET", LIST).answer(garbage)

"""Which routes there are, which rules can't be served, and which request finds which."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tests.grpc_files import chained, ruled
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE, bound, route, table, table_of

from imgateway.adapters.grpc.routing import RouteTable
from imgateway.core.settings_grpc import GrpcServiceSettings
from imgateway.errors import SettingsError
from imgateway.rpc import RestRoute

REASONS = {
    "BadTemplate": "the path has '{' without '}'",
    "NoSlash": "the path must begin with '/'",
    "EarlyRest": "the path has '**' before its last segment",
    "UnknownVariable": "the variable nothing: broken.v1.Request has no field nothing",
    "RepeatedVariable": "the variable names: broken.v1.Request.names is repeated",
    "MessageVariable": "the variable inner: broken.v1.Request.inner can't be written as text",
    "MapVariable": "the variable labels: broken.v1.Request.labels is repeated",
    "ThroughScalar": "the variable name.text: broken.v1.Request.name has no fields",
    "TwiceVariable": "the path has the variable name twice",
    "TwiceSpelled": "the path has the variable sentAt twice",
    "WithinText": "the variable sent_at.nanos: broken.v1.Request.sent_at has a form of its own, without nanos",
    "Duplicate": "broken.v1.Broken/Fine has the same route, /api/fine/{name}",
    "BadBody": "the body nothing: broken.v1.Request has no such field",
    "BodyInPath": "the body name is bound by the path as well",
    "BadAnswer": "the response body nothing: broken.v1.Request has no such field",
    "BadKind": "its kind is no HTTP method that can be served",
    "Tunnel": "its kind is no HTTP method that can be served",
    "Echo": "its kind is no HTTP method that can be served",
    "Unheard": "its kind is no HTTP method that can be served",
    "Preflight": "its kind is OPTIONS, which the gateway answers itself",
    "NoPattern": "names no HTTP method and path",
    "Nested": "additional bindings can't have additional bindings",
    "ManyUsers": "the identity field user_id is repeated",
    "Root": "the path has an empty segment",
    "FlagUser": "the identity field user_id is neither a string nor an integer",
}


@pytest.fixture(scope="module")
def library() -> RouteTable:
    """The rules of library.proto."""
    return table()


def test_each_rule_that_cannot_be_served_is_one_line_and_the_rest_works() -> None:
    broken = table("broken.proto")
    assert [(r.rest.http_method, r.rest.path) for r in broken.routes] == [
        ("GET", "/api/fine/{name}"),
        ("GET", "/api/outer"),
    ]
    said = {line.split(": ")[0].removeprefix("broken.v1.Broken/"): line for line in broken.problems}
    assert said.keys() == REASONS.keys()
    assert len(broken.problems) == len(REASONS)
    assert all(said[name].endswith(f": {why}") for name, why in REASONS.items()), said
    assert said["BadBody"] == "broken.v1.Broken/BadBody: POST /g: " + REASONS["BadBody"]


def test_a_public_method_may_have_any_identity_fields() -> None:
    broken = table("broken.proto", public=("broken.v1.Broken/FlagUser",))
    assert not any("FlagUser" in line for line in broken.problems)
    assert bound(broken, "GET", "/api/k?user_id=true", user_id=None) == bound(broken, "GET", "/api/k?userId=1")


def test_what_a_route_tells(library: RouteTable) -> None:
    lend = route(library, "POST", "/api/v1/books/7/loans")
    assert lend.rest == RestRoute(
        "POST", "/api/v1/books/{book_id}/loans", "library.v1.Library/Lend", public=False, takes_body=True
    )
    assert (lend.body, lend.response_body, lend.idempotent, lend.method.name) == ("*", "", False, "Lend")
    assert str(lend.template) == lend.rest.path
    assert [v.name for v in lend.template.variables] == ["book_id"]
    watch = route(library, "GET", "/api/v1/watch/x").rest
    assert (watch.server_streaming, watch.client_streaming, watch.takes_body) == (True, False, False)
    assert route(library, "POST", "/api/v1/upload").rest.client_streaming
    assert route(library, "GET", "/api/v1/all").response_body == "books"


def test_idempotent_by_the_http_method_or_by_the_methods_own_word(library: RouteTable) -> None:
    assert route(library, "GET", "/api/v1/books/1").idempotent
    assert route(library, "PATCH", "/api/v1/books/1").idempotent
    assert not route(library, "POST", "/api/v1/shelves/1:archive").idempotent


def test_a_wildcard_rule_takes_every_method_that_has_no_rule_of_its_own(library: RouteTable) -> None:
    for http_method in ("GET", "HEAD", "DELETE", "ODD"):
        assert route(library, http_method, "/api/v1/any/x").rest.http_method == "*"
    assert route(library, "REPORT", "/api/v1/reports/x").rest.http_method == "REPORT"


def test_a_wildcard_rule_is_not_asked_by_methods_that_are_no_calls(library: RouteTable) -> None:
    for http_method in ("OPTIONS", "TRACE", "CONNECT"):
        assert library.find(http_method, "/api/v1/any/x") == frozenset(
            {"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"}
        )


def test_head_finds_get_and_another_method_the_set_of_methods(library: RouteTable) -> None:
    assert route(library, "HEAD", "/api/v1/books/1") is route(library, "GET", "/api/v1/books/1")
    assert library.find("POST", "/api/v1/books/1") == frozenset({"GET", "HEAD", "PATCH"})
    assert library.find("GET", "/api/v1/books/1/loans") == frozenset({"POST"})
    assert library.find("get", "/api/v1/best") == frozenset({"GET", "HEAD"})
    for path in ("", "/", "/api", "/nothing", "/v1/books/1", "api/v1/best", "//api/v1/best", "/api/v1/best/"):
        assert library.find("GET", path) == frozenset()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/%62ooks/1", "/api/v1/books/{book_id}"),
        ("/%61pi/v1/best", "/api/v1/best"),
        ("/api/v1/shelves/a/books", "/api/v1/shelves/{shelf}/books"),
        ("/api/v1/shelves/a/things/b", "/api/v1/{name=shelves/*/things/*}"),
        ("/api/v1/books/a:b", "/api/v1/books/{book_id}"),
        ("/api/v1/books/a:archive", "/api/v1/books/{book_id}"),
        ("/api/v1/files", "/api/v1/files/{name=**}"),
        ("/api/v1/files/a//b/", "/api/v1/files/{name=**}"),
    ],
)
def test_paths_and_their_routes(library: RouteTable, path: str, expected: str) -> None:
    assert route(library, "GET", path).rest.path == expected


@pytest.mark.parametrize("path", ["/api/v1/books/", "/api/v1/books", "/api/v1//1", "/api/v1/books%2F1", "/API/v1/best"])
def test_paths_that_are_nobodys(library: RouteTable, path: str) -> None:
    assert library.find("GET", path) == frozenset()


def test_a_verb_is_what_follows_the_last_colon_undecoded(library: RouteTable) -> None:
    assert bound(library, "POST", "/api/v1/shelves/a:b:archive") == bound(
        library, "POST", "/api/v1/shelves/a%3Ab:archive"
    )
    assert route(library, "POST", "/api/v1/shelves/a:%61rchive").template.verb == "archive"
    for path in ("/api/v1/shelves/a:other", "/api/v1/shelves/a%3Aarchive", "/api/v1/shelves/:archive"):
        assert library.find("POST", path) == frozenset()


@pytest.mark.parametrize(
    ("prefix", "paths"),
    [
        ("/api", ("/api/v1/best", "/api/v2/x")),
        ("api/", ("/api/v1/best", "/api/v2/x")),
        ("/ap", ("/ap/v1/best", "/ap/api/v2/x")),
        ("/", ("/v1/best", "/api/v2/x")),
        ("", ("/v1/best", "/api/v2/x")),
        ("/a/b c", ("/a/b%20c/v1/best", "/a/b%20c/api/v2/x")),
    ],
)
def test_the_prefix_is_whole_segments_and_not_doubled(prefix: str, paths: tuple[str, ...]) -> None:
    routes = table(prefix=prefix.replace(" ", "%20"))
    for path in paths:
        assert route(routes, "GET", path).rest.path.startswith(path.removesuffix("x"))


HIDDEN = (
    ("GET", "/healthz"),
    ("GET", "/%68ealthz"),
    ("HEAD", "/docs"),
    ("*", "/ws"),
    ("GET", "/{text=readyz}"),
    ("GET", "/docs/app.js"),
    ("GET", "/docs%2Fapp.js"),
)
REACHED = (
    ("GET", "/{text}"),
    ("GET", "/docs/{text}"),
    ("GET", "/docs/list"),
    ("GET", "/docs:list"),
    ("GET", "/healthz/x"),
    ("GET", "/v1/healthz"),
    ("POST", "/healthz"),
)


def test_without_a_prefix_rules_on_the_gateways_own_paths_are_not_served() -> None:
    routes = table_of(ruled("a", *HIDDEN, *REACHED), prefix="")
    assert [(r.rest.http_method, r.rest.path) for r in routes.routes] == list(REACHED)
    assert routes.problems == tuple(
        f"a.S/M{number}: {kind} {path}: the gateway keeps this path for itself"
        for number, (kind, path) in enumerate(HIDDEN)
    )
    assert route(routes, "GET", "/docs").rest.path == "/{text}"
    below = table_of(ruled("a", *HIDDEN[2:]), prefix="/api")
    assert (len(below.routes), below.problems) == (len(HIDDEN) - 2, ())


@pytest.mark.parametrize("prefix", ["/{x}", "/a/*", "/a//b", "/a?b", "/a:b", "/%"])
def test_a_prefix_that_is_no_path_is_a_settings_error(prefix: str) -> None:
    with pytest.raises(SettingsError, match=r"^grpc\.prefix: "):
        table(prefix=prefix)


def test_services_without_a_target_have_one_line_and_no_routes() -> None:
    only = table(
        services={"library.v1.Library": GrpcServiceSettings(target="h:1")},
        messages={"x": "library.v1.Elsewhere/Get"},
    )
    assert only.problems == ("library.v1.Elsewhere: is not in grpc.services, its routes are not served",)
    assert only.find("GET", "/api/v1/elsewhere") == frozenset()
    assert only.calls["x"] == "library.v1.Elsewhere/Get: its service is not in grpc.services"


def test_settings_that_name_what_is_not_there() -> None:
    routes = table(
        public=("library.v1.Library/Nothing", "other/*", "library.v1.Library/Get*", "library.v1.Elsewhere/*"),
        services=EVERYWHERE | {"no.Service": GrpcServiceSettings(target="h:1")},
    )
    assert routes.problems == ()
    assert routes.unmatched == (
        'grpc.public: "library.v1.Library/Nothing" matches no method',
        'grpc.public: "other/*" matches no method',
        'grpc.services: "no.Service" is not in the descriptors',
    )
    public = {r.rest.rpc for r in routes.routes if r.rest.public}
    assert public == {
        "library.v1.Library/GetBook",
        "library.v1.Library/GetNamed",
        "library.v1.Elsewhere/Get",
        "library.v1.Elsewhere/List",
    }


def test_nothing_is_known_before_anything_is_loaded() -> None:
    empty = table_of(FileDescriptorSet(), public=("a/b",))
    assert (empty.routes, empty.problems, empty.unmatched, empty.find("GET", "/api/x")) == ((), (), (), frozenset())


def test_a_file_that_cannot_be_loaded_is_left_out_with_those_that_import_it() -> None:
    files = descriptors("library.proto", "broken.proto")
    broken = next(file for file in files.file if file.name == "broken.proto")
    broken.message_type[1].field[2].type_name = ".broken.v1.Nowhere"
    importer = files.file.add(name="importer.proto", dependency=["broken.proto"])
    assert importer.name
    routes = table_of(files)
    assert [line.split(": ")[0] for line in routes.problems] == ["broken.proto", "importer.proto"]
    assert route(routes, "GET", "/api/v1/best").rest.rpc == "library.v1.Library/ListBooks"


@pytest.mark.parametrize("segment", ["/a", "/", "/%61", "/a:b", "/%", "/**"])
def test_overlong_paths_are_nobodys_and_cost_little(library: RouteTable, segment: str) -> None:
    assert library.find("GET", "/api/v1/files" + segment * 10_000) == frozenset()
    assert library.find("GET", "/api/v1/books/" + segment[1:] * 10_000 + "x/y/z/1/2") == frozenset()


def test_a_long_rest_is_captured_as_a_whole(library: RouteTable) -> None:
    tail = "/".join(["a"] * 900)
    message = bound(library, "GET", f"/api/v1/files/{tail}")
    assert getattr(message, "name", None) == tail


def test_a_long_chain_of_messages_is_served_and_one_too_long_is_an_error() -> None:
    text = b'{"text":"a","next":{"text":"b","next":{"next":{}}}}'
    found = route(table_of(chained("c", 300)), "POST", "/api/c/0")
    assert found.answer(found.request((), "", text, "u")) == text
    for key, settings in (("descriptor_set", {"descriptor_set": "x"}), ("reflection", {"reflection": True})):
        with pytest.raises(SettingsError, match=rf"^grpc\.{key}: messages contain each other in too long a chain"):
            table_of(chained("c", 3000), **settings)

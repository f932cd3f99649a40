"""Requests without a field that is required are refused by its name, wherever the request comes from."""

from typing import Any

import pytest
from tests.grpc_routes import bound, table

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.problems import problem_of_request
from imgateway.adapters.grpc.routing import MessageCall, RouteTable

MISSING = "is required, but missing"


@pytest.fixture(scope="module")
def routes() -> RouteTable:
    """Those of `needs.proto`."""
    return table("needs.proto", identity_fields=())


def _refused(routes: RouteTable, http_method: str, target: str, body: bytes = b"") -> tuple[str, str]:
    with pytest.raises(FieldError) as caught:
        bound(routes, http_method, target, body)
    return caught.value.path, caught.value.why


@pytest.mark.parametrize(
    ("http_method", "target", "body", "path"),
    [
        ("POST", "/api/v1/needs", b"", "needIt"),
        ("POST", "/api/v1/needs", b"{}", "needIt"),
        ("POST", "/api/v1/needs", b'{"need_it": "", "innerList": [{}]}', "innerList[0].needIt"),
        ("GET", "/api/v1/needs", b"", "needIt"),
        ("GET", "/api/v1/needs?need_it=&inner.other=x", b"", "inner.needIt"),
        ("GET", "/api/v1/needs?needIt=a&chosen.below.needIt=x", b"", "chosen.text"),
        ("GET", "/api/v1/needs/x", b"", "needIt"),
        ("PUT", "/api/v1/needs/x", b'{"other": ""}', "inner.needIt"),
        ("PUT", "/api/v1/needs/x", b'{"byName": {"k": {}}, "needIt": ""}', 'inner.byName["k"].needIt'),
        ("POST", "/api/v1/needy", b"{}", "need.needIt"),
        ("POST", "/api/v1/needy", b'{"needIt": "", "folded": {}}', "need.folded.depth"),
    ],
)
def test_a_request_without_a_required_field(
    routes: RouteTable, http_method: str, target: str, body: bytes, path: str
) -> None:
    assert _refused(routes, http_method, target, body) == (path, MISSING)


@pytest.mark.parametrize(
    ("http_method", "target", "body"),
    [
        ("POST", "/api/v1/needs", b'{"needIt": ""}'),
        ("GET", "/api/v1/needs?need_it=", b""),
        ("GET", "/api/v1/needs/x?needIt=", b""),
        ("PUT", "/api/v1/needs/x", b""),
        ("PUT", "/api/v1/needs/x", b'{"needIt": ""}'),
        ("POST", "/api/v1/needy", b""),
    ],
)
def test_what_the_body_lacks_path_and_query_may_bring(
    routes: RouteTable, http_method: str, target: str, body: bytes
) -> None:
    assert bound(routes, http_method, target, body).IsInitialized()


def test_fields_called_like_the_methods_that_are_used(routes: RouteTable) -> None:
    assert _refused(routes, "POST", "/api/v1/covered", b'{"ListFields": 1}') == ("SerializeToString", MISSING)
    full: Any = bound(routes, "POST", "/api/v1/covered", b'{"ListFields": 1, "SerializeToString": 2}')
    assert (full.ListFields, full.SerializeToString) == (1, 2)


def test_what_identity_brings_is_not_missing() -> None:
    routes = table("needs.proto", identity_fields=("need_it",))

    request: Any = bound(routes, "POST", "/api/v1/needs", b"{}", user_id="alice")

    assert request.need_it == "alice"


def test_a_clients_message_without_a_required_field() -> None:
    call = table("needs.proto", identity_fields=(), messages={"x": "imgateway.test.Needs/Put"}).calls["x"]
    assert isinstance(call, MessageCall)
    for data, path in ((b"", "needIt"), (b"{}", "needIt"), (b'{"needIt": "", "inner": {}}', "inner.needIt")):
        with pytest.raises(FieldError) as caught:
            call.request(data, "alice")
        assert (caught.value.path, caught.value.why) == (path, MISSING)
    assert call.request(b'{"needIt": ""}', "alice") == b"\n\x00"


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        (b'{"needIt": "", "inner": {}}', "inner.needIt", MISSING),
        (b'{"needIt": "", "st": ' + b'{"a":' * 34 + b"1" + b"}" * 35, 'st["a"]["a"]', "nests deeper than messages can"),
    ],
)
def test_the_problem_names_the_field(routes: RouteTable, body: bytes, field: str, why: str) -> None:
    with pytest.raises(FieldError) as caught:
        bound(routes, "POST", "/api/v1/needs", body)

    problem = problem_of_request(caught.value)

    assert problem.detail == f"{field}: {why}"
    assert problem.details[0]["fieldViolations"] == [{"field": field, "description": why}]

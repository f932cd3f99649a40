"""Whatever is wrong however far inside, the path to it has a bound, and says where it was cut."""

from collections.abc import Sequence
from functools import cache

import pytest
from tests.grpc_routes import bound, table

from imgateway.adapters.grpc.field_error import MAX_STEPS, FieldError
from imgateway.adapters.grpc.routing import RouteTable


@cache
def _routes(proto: str) -> RouteTable:
    return table(proto, unknown_fields="reject", identity_fields=())


def _path(proto: str, http_method: str, target: str, body: str = "") -> str:
    with pytest.raises(FieldError) as caught:
        bound(_routes(proto), http_method, target, body.encode())
    error = caught.value
    assert str(error) == f"{error.path}: {error.why}"
    return error.path


def _told(steps: Sequence[str]) -> str:
    whole = "".join(step if step.startswith("[") else f".{step}" for step in steps[:MAX_STEPS])
    return whole.removeprefix(".") + ("…" if len(steps) > MAX_STEPS else "")


_FULL = '"needIt":""'

_WRONG = {
    "a required field that is missing": ("{}", ["needIt"]),
    "a value of another type": (f'{{{_FULL},"other":1}}', ["other"]),
    "an element": (f'{{{_FULL},"numbers":[1,true]}}', ["numbers", "[1]"]),
    "an entry": (f'{{{_FULL},"counts":{{"a.b":""}}}}', ["counts", '["a.b"]']),
    "a field that there is not": (f'{{{_FULL},"nothing":1}}', ["nothing"]),
    "what an Any lacks": (f'{{{_FULL},"any":{{"@type":"x/imgateway.test.Need"}}}}', ["any", "needIt"]),
    "a name twice": (f'{{{_FULL},"a":1,"a":2}}', ["a"]),
    "a number in JSON": (f'{{{_FULL},"st":{{"x":1e999}}}}', ["st", '["x"]']),
}


@pytest.mark.parametrize("levels", [0, 13, 14, 15, 16, 60, 90])
@pytest.mark.parametrize("wrong", _WRONG)
def test_of_a_body(wrong: str, levels: int) -> None:
    inside, steps = _WRONG[wrong]
    text = f'{{{_FULL},"inner":' * levels + inside + "}" * levels

    assert _path("needs.proto", "POST", "/api/v1/needs", text) == _told(["inner"] * levels + steps)
    assert _path("needs.proto", "PUT", "/api/v1/needs/x", text) == _told(["inner"] * (levels + 1) + steps)


@pytest.mark.parametrize("levels", [0, 14, 15, 30])
@pytest.mark.parametrize("parameter", ["familyName=%ff", "familyName=a&{}familyName=b", "nothing=1", "x%20y=1"])
def test_of_a_query(parameter: str, levels: int) -> None:
    outer = "author." + "teacher." * levels
    names = ["author", *["teacher"] * levels, parameter.partition("=")[0].replace("%20", " ")]
    query = outer + parameter.format(outer)

    assert _path("library.proto", "GET", f"/api/v1/shelves/s/books?{query}") == _told(names[: levels + 2])

"""The demo's REST API holds to its own description, whatever is asked: requests made by schemathesis."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.e2e.demo_process import running_demo
from tests.grpc_routes import EVERYWHERE

from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.adapters.grpc.routing import RouteTable
from imgateway.adapters.grpc.schema import read_descriptor_set
from imgateway.core.settings_grpc import GrpcSettings
from imgateway_im_logic.server import descriptor_set_path

PATIENCE_SECONDS = 45
# Members that a message does not have are ignored, and services refuse for reasons of their own.
NOT_ASKED: list[Any] = CHECKS.get_by_names(
    ["negative_data_rejection", "positive_data_acceptance", "not_a_server_error"]
)
STREAM = "get /api/conversations/{conversationId}/stream"


def described() -> list[str]:
    """The demo's operations, which must be known before it runs."""
    chosen = GrpcSettings(services=EVERYWHERE)
    table = RouteTable.build(read_descriptor_set(descriptor_set_path()), chosen)
    paths = json.loads(document_bytes(table, chosen))["paths"]
    return [f"{method} {path}" for path, item in paths.items() for method in item if method != "parameters"]


OPERATIONS = described()


@attrs.frozen
class Api:
    """The running demo's.

    Attributes:
        schema: as the demo describes itself.
        token: of a guest.
        known: what paths may name that is there: a group of the guest's, and a member of it.
    """

    schema: OpenApiSchema
    token: str
    known: Mapping[str, str]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running_demo() as demo, httpx.Client(trust_env=False, base_url=demo.url, timeout=PATIENCE_SECONDS) as http:
        guest, other = [
            answered(
                http.post("api/auth/guest", json={"clientInfo": {"deviceId": f"a device of {name}", "nickname": name}})
            )
            for name in ("the first guest", "the second guest")
        ]
        token = guest["accessToken"]
        bearer = {"Authorization": f"Bearer {token}"}
        group = answered(
            http.post(
                "api/conversations",
                json={"type": "CONVERSATION_TYPE_GROUP", "name": "Group", "memberIds": [other["user"]["id"]]},
                headers=bearer,
            )
        )
        schema = schemathesis.openapi.from_dict(answered(http.get("openapi.json")))
        schema.config.update(base_url=demo.url.rstrip("/"))
        known = {"conversationId": group["conversation"]["id"], "targetUserId": other["user"]["id"]}
        for number in (1, 2):
            message = {"type": "MESSAGE_TYPE_TEXT", "content": "Hello", "clientMsgId": f"m-{number}"}
            answered(http.post(f"api/conversations/{known['conversationId']}/messages", json=message, headers=bearer))
        yield Api(schema, token, known)


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def generous(test: Callable[..., None]) -> Callable[..., None]:
    chosen = settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return seed(6)(chosen(test))


def ask(api: Api, case: Case[Any]) -> Response:
    """Make the request; the answer, which is as described, and no failure but where the time named was too short."""
    answer = case.call(headers={"Authorization": f"Bearer {api.token}"}, timeout=PATIENCE_SECONDS)
    case.validate_response(answer, excluded_checks=NOT_ASKED)
    assert answer.status_code < 500 or (answer.status_code == 504 and "X-Request-Timeout" in (case.headers or {}))
    return answer


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_are_as_described(api: Api, operation: str, mode: GenerationMode) -> None:
    method, path = operation.split(" ")

    @generous
    @given(api.schema[path][method].as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        ask(api, case)

    run()


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if "{" in each and each != STREAM])
def test_answers_about_what_is_there_are_as_described(api: Api, operation: str) -> None:
    method, path = operation.split(" ")
    known = {name: value for name, value in api.known.items() if f"{{{name}}}" in path}

    @generous
    @given(api.schema[path][method].as_strategy(path_parameters=known))
    def run(case: Case[Any]) -> None:
        assert ask(api, case).status_code != 404

    run()


def test_streams_are_as_described(api: Api) -> None:
    """Which schemathesis does not look into: its lines, and its events; it never ends, so that a deadline ends it."""
    method, path = STREAM.split(" ")
    raw = api.schema.raw_schema
    content = raw["paths"][path][method]["responses"]["200"]["content"]
    target = f"{api.schema.config.base_url}{path.format(**api.known)}?afterSeqId=1"
    for media_type in content:
        validator = Draft202012Validator({**content[media_type]["schema"], "components": raw["components"]})
        headers = {"Authorization": f"Bearer {api.token}", "X-Request-Timeout": "4", "Accept": media_type}
        answer = httpx.get(target, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        if media_type == "application/x-ndjson":
            *messages, last = map(json.loads, answer.text.splitlines())
            validator.validate(last)
            assert last["error"]["code"] == "DEADLINE_EXCEEDED"
        else:
            *events, last, rest = answer.text.split("\n\n")
            assert last.startswith("event: error\n")
            assert rest == ""
            messages = [json.loads(event.removeprefix("data: ")) for event in events]
        assert messages
        for message in messages:
            validator.validate(message)

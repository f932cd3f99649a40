"""What the OpenAPI document allows is taken: requests that schemathesis makes of it, bound without HTTP."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode
from tests.grpc_protos import descriptors, pool_of
from tests.grpc_routes import EVERYWHERE, bound, route, table_of

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.core.settings_grpc import GrpcSettings

TABLE = table_of(descriptors("promised.proto"))
DOCUMENT = json.loads(document_bytes(TABLE, GrpcSettings(services=EVERYWHERE)))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: Final = [
    (method, path)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters" and operation["tags"] == ["Promises"]
]
CODEC = MessageCodec(pool_of("promised.proto"))

# Shrinking takes minutes where every member may be the one that is refused.
thorough = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=40, phases=[Phase.generate])


def test_there_is_something_to_ask() -> None:
    assert len(OPERATIONS) == 11


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_allowed_is_taken_and_is_an_answer(method: str, path: str) -> None:
    @thorough
    @given(SCHEMA[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def run(case: Case[Any]) -> None:
        parts = case.as_transport_kwargs(base_url="http://gateway")
        sent = requests.Request(
            parts["method"], parts["url"], params=parts.get("params"), json=parts.get("json"), data=parts.get("data")
        ).prepare()
        url = urlsplit(sent.url or "")
        body: Any = sent.body or b""  # to the types it might be a stream as well
        target = f"{url.path}?{url.query}"
        taken = bound(TABLE, method.upper(), target, body if isinstance(body, bytes) else body.encode())
        # These methods answer what they are asked.
        answered = route(TABLE, method.upper(), url.path).method.output_type
        answer = json.loads(CODEC.encoder(answered)(taken))
        schema = {"$ref": f"#/components/schemas/{answered.name}", "components": DOCUMENT["components"]}
        assert [error.message for error in Draft202012Validator(schema).iter_errors(answer)] == []

    run()

"""`[grpc]`: how it is read, and every way in which it can be wrong."""

from pathlib import Path

import pytest

from imgateway.core.settings_grpc import GrpcServiceSettings
from imgateway.core.settings_loading import load
from imgateway.errors import SettingsError

HERE = __file__
BASE = f"descriptor_set = '{HERE}'\nservices.\"a.B\".target = 'h:1'"
SERVICES = "grpc.services"


def loaded(folder: Path, toml: str, **environ: str) -> None:
    file = folder / "gateway.toml"
    file.write_text(toml)
    load(file, environ, {})


def problems_of(folder: Path, toml: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, toml, **environ)
    return list(caught.value.problems)


def test_tables_within_the_section_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        f"""
        [etcd]
        endpoints = ["http://etcd:2379"]
        [grpc]
        descriptor_set = "{HERE}"
        [grpc.messages]
        mark-read = "im.logic.v1.ConversationService/MarkAsRead"
        [grpc.services."*"]
        discover = "im-logic"
        [grpc.services."im.logic.v1.AuthService"]
        target = "auth:50051"
        """
    )
    read = load(file, {}, {})
    assert read.settings.grpc is not None
    assert read.settings.grpc.messages == {"mark-read": "im.logic.v1.ConversationService/MarkAsRead"}
    assert read.settings.grpc.services == {
        "*": GrpcServiceSettings(discover="im-logic"),
        "im.logic.v1.AuthService": GrpcServiceSettings(target="auth:50051"),
    }
    assert (read.origins["grpc.services"], read.origins["grpc.public"]) == ("file", "default")


def test_the_environment_has_lists_by_commas_and_tables_as_json() -> None:
    environ = {
        "IMGATEWAY_GRPC__REFLECTION": "true",
        "IMGATEWAY_GRPC__PUBLIC": "a.B/Login, a.C/*",
        "IMGATEWAY_GRPC__MESSAGES": '{"typing": "a.B/Type"}',
        "IMGATEWAY_GRPC__SERVICES": '{"a.B": {"target": "h:1"}}',
    }
    grpc = load(None, environ, {}).settings.grpc
    assert grpc is not None
    assert grpc.public == ("a.B/Login", "a.C/*")
    assert grpc.messages == {"typing": "a.B/Type"}
    assert grpc.services == {"a.B": GrpcServiceSettings(target="h:1")}


def test_without_the_section_there_is_none() -> None:
    assert load(None, {}, {}).settings.grpc is None


PREFIX = (
    'grpc.prefix: expected "" or a path like "/api" that does not end with / and is none of /ws, /healthz, /readyz, '
    "/openapi.json, /docs, got "
)
FORWARDED = (
    "grpc.forward_headers: expected a list, each element a header in lower case that holds no credentials, does not "
    "belong to the connection, is not set by the gateway and does not end with -bin, got "
)
MAPPABLE = (
    "expected a type that clients send: 1 to 64 characters out of a-z 0-9 . _ -, and none that the gateway answers "
    "itself or sends"
)

BAD = {
    # where methods are known from
    "services.\"a.B\".target = 'h:1'": (
        "grpc.descriptor_set: expected exactly one of descriptor_set and reflection = true"
    ),
    f"{BASE}\nreflection = true": "grpc.descriptor_set: expected exactly one of descriptor_set and reflection = true",
    "descriptor_set = '/nowhere'\nservices.\"a.B\".target = 'h:1'": (
        'grpc.descriptor_set: expected a file that can be read, got "/nowhere"'
    ),
    # where services are
    f"descriptor_set = '{HERE}'": (
        f'{SERVICES}: expected at least one, like [{SERVICES}."pkg.Service"], or [{SERVICES}."*"] for all'
    ),
    f"{BASE}\nservices.c.target = 'h'": f'{SERVICES}.c.target: expected "host:port", got "h"',
    f'{BASE}\nservices."c.D".target = 1': f'{SERVICES}."c.D".target: expected a text, got 1',
    f"{BASE}\nservices.\"c.D\".tarqet = 'h:1'": (
        f'{SERVICES}."c.D".tarqet: unknown key; did you mean {SERVICES}."c.D".target?'
    ),
    f"{BASE}\nservices.c = 'h:1'": f'{SERVICES}.c: expected a table, got "h:1"',
    f"{BASE}\nservices.c = {{}}": f"{SERVICES}.c: expected exactly one of target and discover",
    f"{BASE}\nservices.c = {{target = 'h:1', discover = 'x'}}": (
        f"{SERVICES}.c: expected exactly one of target and discover"
    ),
    f"{BASE}\nservices.\"c/D\".target = 'h:1'": (
        f'{SERVICES}."c/D": expected the name of a service, like "pkg.Service", or "*" for all'
    ),
    f"{BASE}\nservices.c.discover = 'x'": f"{SERVICES}.c.discover: expected target, since there is no [etcd]",
    f"descriptor_set = '{HERE}'\nservices = []": f"{SERVICES}: expected a table, each member a table, got []",
    # messages
    f"{BASE}\nmessages.typing = 'a.B.Type'": ('grpc.messages.typing: expected "pkg.Service/Method", got "a.B.Type"'),
    f"{BASE}\nmessages.typing = 'a.B/*'": 'grpc.messages.typing: expected "pkg.Service/Method", got "a.B/*"',
    f"{BASE}\nmessages.typing = 1": "grpc.messages.typing: expected a text, got 1",
    f"{BASE}\nmessages.Typing = 'a.B/C'": f"grpc.messages.Typing: {MAPPABLE}",
    f"{BASE}\nmessages.ping = 'a.B/C'": f"grpc.messages.ping: {MAPPABLE}",
    f"{BASE}\nmessages.refresh-token = 'a.B/C'": f"grpc.messages.refresh-token: {MAPPABLE}",
    f"{BASE}\nmessages.new-message = 'a.B/C'": f"grpc.messages.new-message: {MAPPABLE}",
    f"{BASE}\nmessages.reply = 'a.B/C'": f"grpc.messages.reply: {MAPPABLE}",
    f"{BASE}\nmessages.\"\" = 'a.B/C'": f'grpc.messages."": {MAPPABLE}',
    # the rules of single keys
    f"{BASE}\nprefix = 'api'": f'{PREFIX}"api"',
    f"{BASE}\nprefix = '/'": f'{PREFIX}"/"',
    f"{BASE}\nprefix = '/api/'": f'{PREFIX}"/api/"',
    f"{BASE}\nprefix = '/a?b'": f'{PREFIX}"/a?b"',
    f"{BASE}\nprefix = '/a/../b'": f'{PREFIX}"/a/../b"',
    f"{BASE}\nprefix = '/docs/api'": f'{PREFIX}"/docs/api"',
    f"{BASE}\npublic = ['a.B/C', 'a.*']": (
        'grpc.public: expected a list, each element "pkg.Service/Method", "pkg.Service/*" or "*", got ["a.B/C", "a.*"]'
    ),
    f"{BASE}\nidentity_fields = ['user.id']": (
        'grpc.identity_fields: expected a list, each element the name of a field, like "user_id", got ["user.id"]'
    ),
    f"{BASE}\ndefault_deadline_seconds = 0": "grpc.default_deadline_seconds: expected a number above 0, got 0.0",
    f"{BASE}\nmax_request_bytes = 10": "grpc.max_request_bytes: expected a number of at least 1024, got 10",
    f"{BASE}\nfield_names = 'camel'": 'grpc.field_names: expected one of "json", "proto", got "camel"',
    f"{BASE}\npubic = []": "grpc.pubic: unknown key; did you mean grpc.public?",
    # between keys
    f"{BASE}\nmax_deadline_seconds = 5": (
        "grpc.max_deadline_seconds: expected at least grpc.default_deadline_seconds (10), got 5"
    ),
    f"{BASE}\ntls_cert = '{HERE}'": "grpc.tls_key: expected a file, since grpc.tls_cert is set",
    f"{BASE}\ntls_key = '{HERE}'": "grpc.tls_cert: expected a file, since grpc.tls_key is set",
    f"{BASE}\ntls_ca = '/nowhere'": 'grpc.tls_ca: expected a file that can be read, got "/nowhere"',
}


@pytest.mark.parametrize(("toml", "problem"), BAD.items(), ids=BAD)
def test_one_wrong_key_makes_one_line(tmp_path: Path, toml: str, problem: str) -> None:
    assert problems_of(tmp_path, f"[grpc]\n{toml}") == [problem]


def test_an_empty_section_turns_nothing_on(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "[grpc]")
    assert problem == "grpc: expected settings, such as a server's address: an empty section turns nothing on"


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "cookie", "set-cookie", "host", "connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-type", "content-length", "grpc-timeout", "x-user-id", "x-request-id", "traceparent", "tracestate",
        "x-user-id-bin",
        "sec-websocket-protocol", "proxy-authorization", "keep-alive", "accept-encoding", "expect", "user-agent",
        "x-request-timeout", "Accept-Language", "a b", "a:b", "",
    ],
)  # fmt: skip
def test_headers_that_others_own_neither_go_along_nor_come_back(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, f"[grpc]\n{BASE}\nforward_headers = ['{name}']")
    assert problem == f'{FORWARDED}["{name}"]'
    (problem,) = problems_of(tmp_path, f"[grpc]\n{BASE}\nreturn_metadata = ['{name}']")
    assert problem.startswith("grpc.return_metadata: expected a list, each element a name of metadata")


def test_bytes_come_back_but_are_not_taken_from_a_header(tmp_path: Path) -> None:
    loaded(tmp_path, f"[grpc]\n{BASE}\nreturn_metadata = ['x-digest-bin']\nforward_headers = ['accept-language']")
    assert problems_of(tmp_path, f"[grpc]\n{BASE}\nforward_headers = ['x-bin']") == [f'{FORWARDED}["x-bin"]']


@pytest.mark.parametrize(
    "toml",
    [
        "prefix = ''",
        "prefix = '/api/v1'",
        "prefix = '/wsx'",
        "public = ['*', 'a.b.C/*', 'C/D']",
        "messages = {mark-read = 'a.B/C', send-message = 'a.B/C', \"x.y_z\" = 'B/C'}",
        "services.\"*\".target = '[::1]:1'",
        "max_deadline_seconds = 10",
    ],
)
def test_what_is_right_is_taken(tmp_path: Path, toml: str) -> None:
    loaded(tmp_path, f"[grpc]\n{BASE}\n{toml}")


def test_every_error_within_a_table_is_reported_with_its_source() -> None:
    environ = {
        "IMGATEWAY_GRPC__REFLECTION": "true",
        "IMGATEWAY_GRPC__SERVICES": '{"a.B": {"target": 1, "port": 2}, "c.D": {"target": "h:1"}, "e": 3}',
        "IMGATEWAY_GRPC__MESSAGES": "[1]",
    }
    with pytest.raises(SettingsError) as caught:
        load(None, environ, {})
    assert caught.value.problems == (
        "grpc.messages: expected a table, each member a text, got [1] (from IMGATEWAY_GRPC__MESSAGES)",
        f'{SERVICES}."a.B".port: unknown key (from IMGATEWAY_GRPC__SERVICES)',
        f'{SERVICES}."a.B".target: expected a text, got 1 (from IMGATEWAY_GRPC__SERVICES)',
        f"{SERVICES}.e: expected a table, got 3 (from IMGATEWAY_GRPC__SERVICES)",
    )


def test_a_rule_broken_within_a_table_names_its_source() -> None:
    environ = {"IMGATEWAY_GRPC__REFLECTION": "true", "IMGATEWAY_GRPC__SERVICES": '{"a.B": {"target": "h"}}'}
    with pytest.raises(SettingsError) as caught:
        load(None, environ, {})
    assert caught.value.problems == (
        f'{SERVICES}."a.B".target: expected "host:port", got "h" (from IMGATEWAY_GRPC__SERVICES)',
    )


def test_what_is_wrong_with_one_member_hides_nothing_of_another(tmp_path: Path) -> None:
    toml = """
        [grpc]
        reflection = true
        default_deadline_seconds = -1
        [grpc.services."a.B"]
        target = "nohost"
        [grpc.services.a]
        [grpc.services.found]
        discover = "found"
        [grpc.services.misspelt]
        taget = "host:1"
        [grpc.messages]
        pong = "a.B/C"
        typing = "nope"
    """
    assert {problem.partition(": ")[0] for problem in problems_of(tmp_path, toml)} == {
        "grpc.default_deadline_seconds",
        'grpc.services."a.B".target',
        "grpc.services.a",
        "grpc.services.found.discover",
        "grpc.services.misspelt.taget",
        "grpc.messages.pong",
        "grpc.messages.typing",
    }


@pytest.mark.parametrize("etcd", ["[etcd]", "[etcd]\nendpoint = ['http://a:1']", "[etcd]\nendpoints = ['a']"])
def test_a_section_that_is_wrong_is_not_said_to_be_missing(tmp_path: Path, etcd: str) -> None:
    toml = f"{etcd}\n[grpc]\nreflection = true\nservices.a.discover = 'a'"
    (problem,) = problems_of(tmp_path, toml)
    assert problem.startswith("etcd")

"""Settings printed as TOML: what is printed can be read back, and shows no secret."""

import string
import tomllib
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.core.settings import (
    AuthSettings,
    ConnectionSettings,
    GatewaySettings,
    ObservabilitySettings,
    ServerSettings,
    Settings,
)
from imgateway.core.settings_checks import problems
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.core.settings_keys import key_info, section_class
from imgateway.core.settings_loading import SECTIONS, Loaded, Origin, load, variable_of
from imgateway.core.settings_services import EtcdSettings, KafkaSettings, RedisSettings
from imgateway_cli.settings_toml import render

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
TOKEN = "Qx7Vb2Lm9Rk4Tz6Wn1Hc8Jd5Fg3Sy0Pe"
PASSWORD = "Zr5Kc8Xw2Ub7Me4T"
REDIS_URL = f"rediss://chat:{PASSWORD}@redis.example:6380/1"

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda value: bool(value.strip()))
seconds = st.floats(0.001, 1e9) | st.integers(1, 100).map(float)
count = st.integers(1, 10**12)
claim = text | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
topic_letters = string.ascii_letters + string.digits + "._-"
topic = st.text(topic_letters, max_size=100)
hosts = ["etcd", "etcd:2379", "[::1]:2379"]
readable_file = st.sampled_from([None, __file__])


@st.composite
def servers(draw: st.DrawFn) -> ServerSettings:
    with_tls = draw(readable_file)
    return ServerSettings(
        host=draw(st.sampled_from(["127.0.0.1", "::1", "gateway.example"])),
        port=draw(st.integers(1, 30_000)),
        admin_host=draw(st.sampled_from(["127.0.0.1", "0.0.0.0"])),
        admin_port=draw(st.integers(30_001, 65_535)),
        admin_token=TOKEN,
        trusted_proxies=tuple(draw(st.lists(st.sampled_from(["10.0.0.0/8", "::1", "fd00::/8"])))),
        allowed_origins=tuple(draw(st.lists(st.sampled_from(["*", "https://a.example", "http://[::1]:3000"])))),
        tls_cert=with_tls,
        tls_key=with_tls,
        max_frame_bytes=draw(st.integers(10_000, 10**9)),
        transport=draw(st.sampled_from(["auto", "picows", "asgi"])),
    )


@st.composite
def auths(draw: st.DrawFn) -> AuthSettings:
    return AuthSettings(
        algorithms=tuple(draw(st.lists(st.sampled_from(["HS256", "HS384", "HS512"]), min_size=1))),
        secret=SECRET,
        issuer=draw(st.none() | text),
        audience=draw(st.none() | text),
        user_claim=draw(text),
        required_claims=draw(st.dictionaries(text, claim | st.lists(claim))),
        leeway_seconds=draw(st.floats(0, 300)),
        expiry_grace_seconds=draw(seconds),
    )


@st.composite
def kafkas(draw: st.DrawFn) -> KafkaSettings:
    protocols: list[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]] = [
        "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL",
    ]  # fmt: skip
    protocol = draw(st.sampled_from(protocols))
    logs_in, encrypted = protocol.startswith("SASL"), protocol.endswith("SSL")
    own_certificate = draw(readable_file) if encrypted else None
    return KafkaSettings(
        bootstrap_servers=tuple(draw(st.lists(st.sampled_from(["k:9092", "[::1]:1", "10.0.0.1:65535"]), min_size=1))),
        upstream_topic=f"up-{draw(topic)}",
        low_priority_topic=f"low-{draw(topic)}",
        downstream_topic_prefix=f"down-{draw(st.text(topic_letters, max_size=44))}",
        undelivered_topic=f"not-{draw(topic)}",
        create_topics=draw(st.booleans()),
        upstream_partitions=draw(st.integers(1, 10_000)),
        downstream_partitions=draw(st.integers(1, 10_000)),
        replication_factor=draw(st.just(-1) | st.integers(1, 10)),
        downstream_retention_hours=draw(seconds),
        delivery_timeout_seconds=draw(seconds),
        max_unsettled_records=draw(count),
        extra_as=draw(st.sampled_from(["object", "string"])),
        security_protocol=protocol,
        sasl_mechanism=draw(st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])),
        sasl_username=draw(text) if logs_in else None,
        sasl_password=PASSWORD if logs_in else None,
        ssl_cafile=draw(readable_file) if encrypted else None,
        ssl_certfile=own_certificate,
        ssl_keyfile=own_certificate,
    )


@st.composite
def etcds(draw: st.DrawFn) -> EtcdSettings:
    user, scheme = draw(st.none() | text), draw(st.sampled_from(["http", "https"]))
    own_certificate = draw(readable_file) if scheme == "https" else None
    return EtcdSettings(
        endpoints=tuple(f"{scheme}://{host}" for host in draw(st.lists(st.sampled_from(hosts), min_size=1))),
        lease_seconds=draw(st.floats(2, 3600)),
        prefix=draw(text),
        user=user,
        password=None if user is None else PASSWORD,
        tls_ca=draw(readable_file) if scheme == "https" else None,
        tls_cert=own_certificate,
        tls_key=own_certificate,
    )


redises = st.builds(
    RedisSettings, url=st.just(REDIS_URL), session_ttl_seconds=st.floats(1, 86_400), key_prefix=st.just("") | text
)

method = st.sampled_from(["im.logic.v1.ConversationService/MarkAsRead", "Plain/Do"])
header = st.sampled_from(["accept-language", "x-trace.id", "x_1"])


@st.composite
def grpcs(draw: st.DrawFn) -> GrpcSettings:
    reflection, own_certificate = draw(st.booleans()), draw(readable_file)
    return GrpcSettings(
        prefix=draw(st.sampled_from(["", "/api", "/v1/chat"])),
        descriptor_set=None if reflection else __file__,
        reflection=reflection,
        default_deadline_seconds=draw(st.floats(0.001, 100)),
        max_deadline_seconds=draw(st.floats(100, 1e9)),
        public=tuple(draw(st.lists(method | st.sampled_from(["*", "im.logic.v1.AuthService/*"])))),
        identity_fields=tuple(draw(st.lists(st.sampled_from(["user_id", "_owner1"])))),
        unknown_fields=draw(st.sampled_from(["ignore", "reject"])),
        field_names=draw(st.sampled_from(["json", "proto"])),
        forward_headers=tuple(draw(st.lists(header))),
        return_metadata=tuple(draw(st.lists(header | st.just("x-digest-bin")))),
        max_request_bytes=draw(st.integers(1024, 10**12)),
        max_response_bytes=draw(st.integers(1024, 10**12)),
        tls=draw(st.booleans()),
        tls_ca=draw(readable_file),
        tls_cert=own_certificate,
        tls_key=own_certificate,
        tls_server_name=draw(st.none() | text),
        messages=draw(st.dictionaries(st.sampled_from(["mark-read", "typing", "a.b_c-9"]), method)),
        services=draw(
            st.dictionaries(
                st.sampled_from(["*", "Plain", "im.logic.v1.AuthService"]),
                st.sampled_from([GrpcServiceSettings("h:1"), GrpcServiceSettings("[::1]:65535")]),
                min_size=1,
            )
        ),
    )


settings_values = st.builds(
    Settings,
    server=servers(),
    gateway=st.builds(
        GatewaySettings,
        id=st.none() | st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=200),
        advertise=st.sampled_from([None, "host:1", "[::1]:65535"]),
        drain_seconds=seconds,
    ),
    auth=auths(),
    connections=st.builds(
        ConnectionSettings,
        ping_interval_seconds=seconds,
        pong_timeout_seconds=seconds,
        max_per_user=count,
        on_excess=st.sampled_from(["kick-oldest", "refuse"]),
        max_per_ip=st.none() | count,
        max_total=st.none() | count,
        send_queue_bytes=st.integers(1024, 10**12),
        max_content_bytes=st.integers(1, 8000),
        max_malformed_frames=count,
        max_inflight_messages=count,
    ),
    observability=st.builds(
        ObservabilitySettings,
        log_format=st.sampled_from([None, "json", "console"]),
        log_level=st.sampled_from(["debug", "info", "warning", "error"]),
    ),
    kafka=st.none() | kafkas(),
    redis=st.none() | redises,
    etcd=st.none() | etcds(),
    grpc=st.none() | grpcs(),
)


def origins_of(settings: Settings) -> dict[str, Origin]:
    """As if a file had set whatever is not default."""
    return {
        f"{section}.{key}": (
            "default" if getattr(getattr(settings, section), key, attribute.default) == attribute.default else "file"
        )
        for section, keys in SECTIONS.items()
        for key, attribute in keys.items()
    }


def secrets_of(settings: Settings) -> dict[str, str]:
    """The variables of the secrets that are set."""
    return {
        variable_of(f"{section}.{key}"): value
        for section, keys in SECTIONS.items()
        for key, attribute in keys.items()
        if key_info(attribute).secret and (value := getattr(getattr(settings, section), key, None)) is not None
    }


@given(settings=settings_values, documented=st.booleans())
def test_what_is_printed_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, documented: bool
) -> None:
    assert problems(settings) == ()
    document = render(Loaded(settings, origins_of(settings)), documented=documented)
    assert not any(secret in document for secret in (SECRET, TOKEN, PASSWORD))
    assert not any(secret in repr(settings) for secret in (SECRET, TOKEN, PASSWORD))
    file = tmp_path_factory.mktemp("printed") / "gateway.toml"
    file.write_text(document)
    assert load(file, secrets_of(settings), {}).settings == settings


def test_every_section_of_services_is_printed_commented_out_or_not(tmp_path: Path) -> None:
    absent = render(load(None, {}, {}), documented=True)
    assert tomllib.loads(absent).keys() == {"server", "gateway", "auth", "connections", "observability"}
    environ = {
        "IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS": "k:9092",
        "IMGATEWAY_REDIS__URL": REDIS_URL,
        "IMGATEWAY_ETCD__ENDPOINTS": "http://etcd:2379",
        "IMGATEWAY_GRPC__REFLECTION": "true",
        "IMGATEWAY_GRPC__SERVICES": '{"*": {"target": "logic:50051"}, "a.B": {"discover": "other"}}',
        "IMGATEWAY_GRPC__MESSAGES": '{"mark-read": "a.B/Read"}',
    }
    present = render(load(None, environ, {}))
    assert tomllib.loads(present).keys() == {section.name for section in attrs.fields(Settings)}
    assert 'bootstrap_servers = ["k:9092"]  # env' in present.splitlines()


def test_tables_within_a_section_stand_below_its_keys_with_their_origin() -> None:
    environ = {
        "IMGATEWAY_ETCD__ENDPOINTS": "http://etcd:2379",
        "IMGATEWAY_GRPC__REFLECTION": "true",
        "IMGATEWAY_GRPC__SERVICES": '{"*": {"target": "logic:50051"}, "a.B": {"discover": "other"}}',
        "IMGATEWAY_GRPC__MESSAGES": '{"mark-read": "a.B/Read"}',
    }
    document = render(load(None, environ, {}))
    assert document.endswith(
        """
[grpc.messages]  # env
"mark-read" = "a.B/Read"  # env

[grpc.services."*"]  # env
target = "logic:50051"  # env
# discover is not set

[grpc.services."a.B"]  # env
# target is not set
discover = "other"  # env
"""
    )


def test_every_key_stands_there_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[connections]\nmax_total = 10\n")
    environ = {"IMGATEWAY_AUTH__SECRET": SECRET, "IMGATEWAY_AUTH__ISSUER": "me"}
    lines = render(load(file, environ, {"server.port": 9000})).splitlines()
    assert "port = 9000  # flag" in lines
    assert "max_total = 10  # file" in lines
    assert 'issuer = "me"  # env' in lines
    assert '# secret = "********"  # env' in lines
    assert "# max_per_ip is not set  # default" in lines
    assert '# advertise = "127.0.0.1:9000"  # default, follows host and port' in lines
    assert "drain_seconds = 30  # default" in lines
    for key in (key for keys in SECTIONS.values() for key in keys):
        assert any(line.startswith((f"{key} = ", f"# {key} ")) for line in lines), key


def test_defaults_are_printed_with_what_they_mean() -> None:
    document = render(load(None, {}, {}), documented=True)
    for keys in SECTIONS.values():
        for attribute in keys.values():
            assert f"# {key_info(attribute).doc}\n" in document
    assert '# Expected: one of "kick-oldest", "refuse".\n' in document
    assert "# Expected: a number above 0, in seconds.\n" in document
    assert '#   target: The one instance there is. Expected: "host:port".\n' in document


def test_control_characters_are_escaped() -> None:
    settings = Settings(auth=AuthSettings(secret=SECRET, issuer='\x00\x1b[31m\x7f\x85\u2028"\\\n😀'))
    document = render(Loaded(settings, origins_of(settings)))
    assert all(line.isprintable() for line in document.splitlines())
    assert tomllib.loads(document)["auth"]["issuer"] == settings.auth.issuer


def test_every_key_of_every_section_is_documented() -> None:
    sections: tuple[Any, ...] = tuple(section_class(field) for field in attrs.fields(Settings))
    for section in sections:
        for attribute in attrs.fields(section):
            assert key_info(attribute).doc.endswith("."), f"{section.__name__}.{attribute.name}"

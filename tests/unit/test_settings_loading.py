"""Where settings come from, and which source wins."""

from pathlib import Path
from typing import Any

import pytest

from imgateway.core.settings import (
    AuthSettings,
    ServerSettings,
    Settings,
    default_gateway_id,
)
from imgateway.core.settings_checks import problems
from imgateway.core.settings_loading import SECTIONS, load, variable_of
from imgateway.core.settings_services import EtcdSettings, KafkaSettings, RedisSettings
from imgateway.core.settings_values import parse_text
from imgateway.errors import SettingsError

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text("[server]\nhost = '127.0.0.2'\nport = 1001\nadmin_port = 1002\n")
    return path


def test_without_any_source_everything_is_default() -> None:
    loaded = load(None, {}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys}


def test_the_defaults_are_right() -> None:
    assert problems(Settings()) == ()


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    loaded = load(
        file,
        {"IMGATEWAY_SERVER__PORT": "2001", "IMGATEWAY_SERVER__ADMIN_PORT": "2002"},
        {"server.port": 3001, "server.workers": None},
    )
    server = loaded.settings.server
    assert (server.host, server.admin_port, server.port, server.workers) == ("127.0.0.2", 2002, 3001, 1)
    assert {key: loaded.origins[f"server.{key}"] for key in ("host", "admin_port", "port", "workers")} == {
        "host": "file",
        "admin_port": "env",
        "port": "flag",
        "workers": "default",
    }


def test_an_address_alone_turns_its_part_on() -> None:
    kafka = load(None, {"IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS": "one:9092, two:9092"}, {}).settings
    assert kafka.kafka == KafkaSettings(bootstrap_servers=("one:9092", "two:9092"))
    assert (kafka.redis, kafka.etcd) == (None, None)
    redis = load(None, {"IMGATEWAY_REDIS__URL": "redis://redis/1"}, {}).settings
    assert redis.redis == RedisSettings(url="redis://redis/1")
    assert (redis.kafka, redis.etcd) == (None, None)
    etcd = load(None, {"IMGATEWAY_ETCD__ENDPOINTS": "http://etcd:2379"}, {}).settings
    assert etcd.etcd == EtcdSettings(endpoints=("http://etcd:2379",))
    assert (etcd.kafka, etcd.redis) == (None, None)


def test_the_environment_completes_a_section_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[kafka]\nupstream_partitions = 2\n")
    settings = load(file, {"IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS": "one:9092"}, {}).settings
    assert settings.kafka == KafkaSettings(bootstrap_servers=("one:9092",), upstream_partitions=2)


def test_a_value_that_equals_the_default_still_has_its_origin() -> None:
    assert load(None, {"IMGATEWAY_SERVER__PORT": "8080"}, {}).origins["server.port"] == "env"


def test_each_type_is_read_from_the_environment() -> None:
    environ = {
        "IMGATEWAY_SERVER__ALLOWED_ORIGINS": "https://a.example, https://b.example:8443",
        "IMGATEWAY_SERVER__TRUSTED_PROXIES": "",
        "IMGATEWAY_GATEWAY__DRAIN_SECONDS": "1.5",
        "IMGATEWAY_CONNECTIONS__MAX_PER_IP": "7",
        "IMGATEWAY_CONNECTIONS__ON_EXCESS": "refuse",
        "IMGATEWAY_AUTH__ALGORITHMS": "HS256,HS512",
        "IMGATEWAY_AUTH__SECRET": SECRET,
        "IMGATEWAY_AUTH__REQUIRED_CLAIMS": '{"tenant": "a,b", "beta": true, "level": 3}',
    }
    settings = load(None, environ, {}).settings
    assert settings.server.allowed_origins == ("https://a.example", "https://b.example:8443")
    assert settings.server.trusted_proxies == ()
    assert settings.gateway.drain_seconds == 1.5
    assert settings.connections.max_per_ip == 7
    assert settings.connections.on_excess == "refuse"
    assert settings.auth.algorithms == ("HS256", "HS512")
    assert settings.auth.secret == SECRET
    assert settings.auth.required_claims == {"tenant": "a,b", "beta": True, "level": 3}


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("true", bool, True),
        ("1", bool, True),
        ("False", bool, False),
        ("0", bool, False),
        ("yes", bool, "yes"),
        ("0x10", int, "0x10"),
        ("1_000", int, "1_000"),
        ("-5", int, -5),
        ("5", int | None, 5),
        ("x", float, "x"),
        ("1, 2", tuple[int, ...], [1, 2]),
    ],
)
def test_text_becomes_the_value_it_looks_like(text: str, type_: Any, value: object) -> None:
    parsed = parse_text(text, type_)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("IMGATEWAY_SERVER__PORT", "", 'server.port: expected a whole number, got ""'),
        ("IMGATEWAY_SERVER__PORT", "80 80", 'server.port: expected a whole number, got "80 80"'),
        ("IMGATEWAY_GATEWAY__DRAIN_SECONDS", "nan", "gateway.drain_seconds: expected a number, got NaN"),
        ("IMGATEWAY_AUTH__REQUIRED_CLAIMS", "[1]", "auth.required_claims: expected a table, got [1]"),
        ("IMGATEWAY_AUTH__REQUIRED_CLAIMS", "{", 'auth.required_claims: expected a table, got "{"'),
        ("IMGATEWAY_AUTH__ISSUER", "\udcff", "auth.issuer: expected UTF-8"),
        ("IMGATEWAY_SERVER__PROT", "1", "server.prot: unknown key; did you mean server.port?"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {variable: text}, {})
    assert caught.value.problems == (f"{problem} (from {variable})",)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("IMGATEWAY_SERVER_PORT", "; did you mean IMGATEWAY_SERVER__PORT?"),
        ("IMGATEWAY_AUTH_SECRET", "; did you mean IMGATEWAY_AUTH__SECRET?"),
        ("IMGATEWAY_server__port", "; did you mean IMGATEWAY_SERVER__PORT?"),
        ("IMGATEWAY_XYZZY", ""),
        ("IMGATEWAY_", ""),
        ("IMGATEWAY_PORT", None),
    ],
)
def test_a_variable_that_names_nothing_is_an_error(variable: str, nearest: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {variable: "9000"}, {})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}: names no setting")
    assert nearest is None or problem == f"{variable}: names no setting{nearest}"


def test_other_variables_are_left_alone() -> None:
    environ = {
        "PATH": "/bin",
        "IMGATEWAYS": "x",
        "IMGATEWAY_TOKEN": "for imgateway connect",
        # What Kubernetes tells every container about a Service called imgateway.
        "IMGATEWAY_SERVICE_HOST": "10.0.0.1",
        "IMGATEWAY_SERVICE_PORT": "80",
        "IMGATEWAY_SERVICE_PORT_WS": "80",
        "IMGATEWAY_PORT": "tcp://10.0.0.1:80",
        "IMGATEWAY_PORT_80_TCP": "tcp://10.0.0.1:80",
        "IMGATEWAY_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, environ, {}).settings == Settings()


def test_every_key_has_a_variable() -> None:
    assert variable_of("connections.max_per_user") == "IMGATEWAY_CONNECTIONS__MAX_PER_USER"


def test_secrets_are_in_no_repr() -> None:
    settings = Settings(server=ServerSettings(admin_token=SECRET), auth=AuthSettings(secret=SECRET))
    assert SECRET not in repr(settings)
    assert SECRET not in repr(load(None, {"IMGATEWAY_AUTH__SECRET": SECRET}, {}))


@pytest.mark.parametrize(
    ("hostname", "port", "gateway_id"),
    [
        ("node-1.example", 8080, "gw-node-1.example-8080"),
        ("büro pc", 1, "gw-b-ro-pc-1"),
        ("h" * 253, 65535, f"gw-{'h' * 190}-65535"),
    ],
)
def test_the_default_gateway_id_is_always_legal(hostname: str, port: int, gateway_id: str) -> None:
    assert default_gateway_id(hostname, port) == gateway_id
    assert load(None, {}, {"gateway.id": gateway_id}).settings.gateway_id == gateway_id


def test_the_default_gateway_id_follows_the_port() -> None:
    ids = {load(None, {}, {"server.port": port}).settings.gateway_id for port in (9001, 9001, 9002)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("flags", "advertise"),
    [
        ({}, "127.0.0.1:8080"),
        ({"server.host": "::1", "server.port": 9}, "[::1]:9"),
        ({"gateway.advertise": "chat.example:443"}, "chat.example:443"),
    ],
)
def test_what_is_advertised_follows_host_and_port(flags: dict[str, object], advertise: str) -> None:
    assert load(None, {}, flags).settings.advertise == advertise


def test_a_host_that_means_every_address_is_not_advertised() -> None:
    assert not load(None, {}, {"server.host": "0.0.0.0"}).settings.advertise.startswith("0.0.0.0")

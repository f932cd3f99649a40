"""Every way in which settings can be wrong, and the line that says so."""

from pathlib import Path

import pytest

from imgateway.core.settings_loading import load
from imgateway.errors import SettingsError

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
HERE = __file__
KAFKA = "[kafka]\nbootstrap_servers = ['k:9092']"
REDIS = "[redis]\nurl = 'redis://:hunter2@redis'"
ETCD = "[etcd]\nendpoints = ['http://etcd:2379']"
ETCD_TLS = "[etcd]\nendpoints = ['http://etcd:2379', 'https://etcd:2379']"


def problems_of(tmp_path: Path, toml: str, **environ: str) -> list[str]:
    file = tmp_path / "gateway.toml"
    file.write_text(toml)
    with pytest.raises(SettingsError) as caught:
        load(file, environ, {})
    return list(caught.value.problems)


BAD = {
    # wrong types
    "server.port = '8080'": 'server.port: expected a whole number, got "8080"',
    "server.port = true": "server.port: expected a whole number, got true",
    "server.port = 80.0": "server.port: expected a whole number, got 80.0",
    "server.host = 1": "server.host: expected a text, got 1",
    "server.trusted_proxies = '10.0.0.1'": (
        'server.trusted_proxies: expected a list, each element a text, got "10.0.0.1"'
    ),
    "server.allowed_origins = [1]": "server.allowed_origins: expected a list, each element a text, got [1]",
    "gateway.drain_seconds = '30'": 'gateway.drain_seconds: expected a number, got "30"',
    "gateway.drain_seconds = true": "gateway.drain_seconds: expected a number, got true",
    "gateway.drain_seconds = nan": "gateway.drain_seconds: expected a number, got NaN",
    "gateway.drain_seconds = inf": "gateway.drain_seconds: expected a number, got Infinity",
    "auth.required_claims = []": "auth.required_claims: expected a table, got []",
    "auth.secret = 42": "auth.secret: expected a text, got something else",
    "server = 1": "server: expected a table, got 1",
    "connections.on_excess = ['refuse']": (
        'connections.on_excess: expected one of "kick-oldest", "refuse", got ["refuse"]'
    ),
    "connections.on_excess = 'kick'": 'connections.on_excess: expected one of "kick-oldest", "refuse", got "kick"',
    "observability.log_format = 'text'": 'observability.log_format: expected one of "json", "console", got "text"',
    "observability.log_level = 'INFO'": (
        'observability.log_level: expected one of "debug", "info", "warning", "error", got "INFO"'
    ),
    "server.transport = 'fast'": 'server.transport: expected one of "auto", "picows", "asgi", got "fast"',
    # ranges and forms
    "server.port = 65536": "server.port: expected a number from 0 to 65535, got 65536",
    "server.admin_port = -1": "server.admin_port: expected a number from 0 to 65535, got -1",
    "server.workers = 0": "server.workers: expected a number from 1 to 256, got 0",
    "server.host = 'a b'": 'server.host: expected a host name or an IP address, got "a b"',
    "server.max_frame_bytes = 0": "server.max_frame_bytes: expected a number of at least 2048, got 0",
    "server.trusted_proxies = ['10.0.0.0/8', '10.0.0.256']": (
        'server.trusted_proxies: expected a list, each element an IP address or a network like "10.0.0.0/8", '
        'got ["10.0.0.0/8", "10.0.0.256"]'
    ),
    "gateway.id = 'a/b'": (
        "gateway.id: expected 1 to 200 characters out of A-Z a-z 0-9 . _ - (it becomes part of a topic's name), "
        'got "a/b"'
    ),
    "gateway.advertise = 'host'": 'gateway.advertise: expected "host:port", got "host"',
    "gateway.advertise = 'host:0'": 'gateway.advertise: expected "host:port", got "host:0"',
    "gateway.drain_seconds = -1": "gateway.drain_seconds: expected a number of at least 0, got -1.0",
    "connections.ping_interval_seconds = 0": "connections.ping_interval_seconds: expected a number above 0, got 0.0",
    "connections.pong_timeout_seconds = 0": "connections.pong_timeout_seconds: expected a number above 0, got 0.0",
    "connections.max_per_user = 0": "connections.max_per_user: expected a number of at least 1, got 0",
    "connections.max_per_ip = 0": "connections.max_per_ip: expected a number of at least 1, got 0",
    "connections.max_total = 0": "connections.max_total: expected a number of at least 1, got 0",
    "connections.send_queue_bytes = 1": "connections.send_queue_bytes: expected a number of at least 1024, got 1",
    "connections.max_content_bytes = 0": "connections.max_content_bytes: expected a number of at least 1, got 0",
    "connections.max_malformed_frames = 0": "connections.max_malformed_frames: expected a number of at least 1, got 0",
    "connections.max_inflight_messages = 0": (
        "connections.max_inflight_messages: expected a number of at least 1, got 0"
    ),
    # between keys
    "connections.max_content_bytes = 64513": (
        "connections.max_content_bytes: expected at most 64512, so that the message fits into server.max_frame_bytes "
        "(65536), got 64513"
    ),
    "server.admin_port = 8080": "server.admin_port: expected a port other than server.port, got 8080",
    "server = {host = '0.0.0.0', admin_port = 8080}": (
        "server.admin_port: expected a port other than server.port, got 8080"
    ),
    "server.admin_host = '0.0.0.0'": (
        'server.admin_token: expected a token, since admin_host "0.0.0.0" can be reached from other machines'
    ),
    f"server.tls_cert = '{HERE}'": "server.tls_key: expected a file, since server.tls_cert is set",
    f"server.tls_key = '{HERE}'": "server.tls_cert: expected a file, since server.tls_key is set",
    f"server = {{tls_cert = '{HERE}', tls_key = '/nowhere'}}": (
        'server.tls_key: expected a file that can be read, got "/nowhere"'
    ),
    "server.workers = 2": (
        "server.workers: expected 1, since there is no [kafka] and no [redis], through which workers share messages "
        "and presence, got 2"
    ),
    "server = {workers = 2}\nkafka = {bootstrap_servers = ['k:1']}": (
        "server.workers: expected 1, since there is no [redis], through which workers share messages and presence, "
        "got 2"
    ),
    f"gateway.id = '{'x' * 199}'\nserver.workers = 10\nkafka = {{bootstrap_servers = ['k:1'], "
    "downstream_topic_prefix = 'd-'}\nredis.url = 'redis://r:1/0'": (
        "gateway.id: expected at most 197 characters with a worker's -10 behind it, got 199"
    ),
    f"gateway.id = '{'x' * 197}'\nserver.workers = 10\nkafka = {{bootstrap_servers = ['k:1'], "
    f"downstream_topic_prefix = '{'d' * 50}'}}\nredis.url = 'redis://r:1/0'": (
        "gateway.id: expected at most 196 characters, so that the topic's name is no longer than 249 with a worker's "
        "-10 behind it, got 197"
    ),
    "gateway.id = 'g'\nserver.workers = 2\nkafka = {bootstrap_servers = ['k:1'], downstream_topic_prefix = 'd-', "
    "upstream_topic = 'd-g-2'}\nredis.url = 'redis://r:1/0'": (
        'kafka.downstream_topic_prefix: expected another topic than that of kafka.upstream_topic, got "d-g-2"'
    ),
    # parts that are not there yet
    "degradation.enabled = true": "degradation: not available in this version: load is not shed by class",
    "connections.ack_timeout_seconds = 1": (
        "connections.ack_timeout_seconds: not available in this version: clients can't acknowledge deliveries"
    ),
    "connections.resume_window_seconds = 1": (
        "connections.resume_window_seconds: not available in this version: sessions can't be resumed"
    ),
    "observability.otlp_endpoint = ''": (
        "observability.otlp_endpoint: not available in this version: there is no tracing"
    ),
    # unknown names
    "server.prot = 1": "server.prot: unknown key; did you mean server.port?",
    "server.max_per_user = 1": "server.max_per_user: unknown key; did you mean connections.max_per_user?",
    "server.zzz = 1": "server.zzz: unknown key",
    "port = 1": "port: unknown key; did you mean server.port?",
    "conections.max_per_user = 1": "conections: unknown section; did you mean connections?",
    "kafak.x = 1": "kafak: unknown section; did you mean kafka?",
    "kafka.bootstrap_server = 'k:9092'": ("kafka.bootstrap_server: unknown key; did you mean kafka.bootstrap_servers?"),
    '"a\\nb".c = 1': '"a\\nb": unknown section',
    'server."a\\u001b[31m" = 1': 'server."a\\u001b[31m": unknown key',
}


@pytest.mark.parametrize(("toml", "problem"), BAD.items(), ids=BAD)
def test_one_wrong_key_makes_one_line(tmp_path: Path, toml: str, problem: str) -> None:
    assert problems_of(tmp_path, toml) == [problem]


AUTH = {
    "algorithms = []": "auth.algorithms: expected algorithms of one family, got []",
    f"algorithms = ['HS256', 'RS256']\nsecret = '{SECRET}'": (
        'auth.algorithms: expected algorithms of one family, got ["HS256", "RS256"]'
    ),
    "issuer = 'me'": "auth.secret: expected a secret, since the algorithms are HS",
    f"secret = '{SECRET}'\npublic_key_file = '{HERE}'": (
        "auth.public_key_file: expected none, since the algorithms are HS and use auth.secret"
    ),
    f"secret = '{SECRET}'\njwks_url = 'https://keys.example/jwks'": (
        "auth.jwks_url: expected none, since the algorithms are HS and use auth.secret"
    ),
    f"algorithms = ['ES256']\npublic_key_file = '{HERE}'\nsecret = '{SECRET}'": (
        "auth.secret: expected none, since the algorithms are ES"
    ),
    "algorithms = ['EdDSA']": (
        "auth.public_key_file: expected exactly one of public_key_file and jwks_url, since the algorithms are EdDSA"
    ),
    f"algorithms = ['RS256', 'PS256']\npublic_key_file = '{HERE}'\njwks_url = 'https://keys.example/jwks'": (
        "auth.public_key_file: expected exactly one of public_key_file and jwks_url, since the algorithms are RS and PS"
    ),
    "algorithms = ['RS256']\npublic_key_file = '/nowhere'": (
        'auth.public_key_file: expected a file that can be read, got "/nowhere"'
    ),
    f"secret = '{SECRET}'\nleeway_seconds = 301": "auth.leeway_seconds: expected a number from 0 to 300, got 301.0",
    f"secret = '{SECRET}'\nissuer = ''": 'auth.issuer: expected a text that is not empty, got ""',
    f"secret = '{SECRET}'\nuser_claim = ' '": 'auth.user_claim: expected a text that is not empty, got " "',
    f"secret = '{SECRET}'\nrequired_claims.since = 2024-01-01": (
        "auth.required_claims: expected claim names with a text, a number, a boolean or a list of these each, "
        'got {"since": "2024-01-01"}'
    ),
    f"secret = '{SECRET}'\nplugin = 'a b'": (
        'auth.plugin: expected 1 to 200 characters out of A-Z a-z 0-9 . _ -, got "a b"'
    ),
}


@pytest.mark.parametrize(("toml", "problem"), AUTH.items(), ids=AUTH)
def test_one_wrong_choice_of_keys_makes_one_line(tmp_path: Path, toml: str, problem: str) -> None:
    assert problems_of(tmp_path, f"[auth]\n{toml}") == [problem]


SERVICES = {
    # what turns a part on must be named
    "[kafka]": "kafka: expected settings, such as a server's address: an empty section turns nothing on",
    "[redis]": "redis: expected settings, such as a server's address: an empty section turns nothing on",
    "[etcd]": "etcd: expected settings, such as a server's address: an empty section turns nothing on",
    "kafka.extra_as = 'string'": (
        'kafka.bootstrap_servers: expected a list of at least one, each element "host:port", got []'
    ),
    "redis.key_prefix = 'chat:'": (
        "redis.url: expected redis://host:port/database, or rediss:// with TLS, since there is a section [redis]"
    ),
    "etcd.lease_seconds = 5": (
        "etcd.endpoints: expected a list of at least one, each element http://host:port or https://host:port, "
        "without credentials, got []"
    ),
    # the rules of single keys
    "kafka.bootstrap_servers = 'k:9092'": (
        'kafka.bootstrap_servers: expected a list, each element a text, got "k:9092"'
    ),
    "kafka.bootstrap_servers = ['k:9092', 'k']": (
        'kafka.bootstrap_servers: expected a list of at least one, each element "host:port", got ["k:9092", "k"]'
    ),
    f"{KAFKA}\nupstream_topic = 'a b'": (
        'kafka.upstream_topic: expected 1 to 200 characters out of A-Z a-z 0-9 . _ -, got "a b"'
    ),
    f"{KAFKA}\nlow_priority_topic = ''": (
        'kafka.low_priority_topic: expected 1 to 200 characters out of A-Z a-z 0-9 . _ -, got ""'
    ),
    f"{KAFKA}\ndownstream_topic_prefix = '/'": (
        'kafka.downstream_topic_prefix: expected 1 to 200 characters out of A-Z a-z 0-9 . _ -, got "/"'
    ),
    f"{KAFKA}\nundelivered_topic = '*'": (
        'kafka.undelivered_topic: expected 1 to 200 characters out of A-Z a-z 0-9 . _ -, got "*"'
    ),
    f"{KAFKA}\ncreate_topics = 'yes'": 'kafka.create_topics: expected true or false, got "yes"',
    f"{KAFKA}\nupstream_partitions = 0": "kafka.upstream_partitions: expected a number from 1 to 10000, got 0",
    f"{KAFKA}\ndownstream_partitions = 10001": (
        "kafka.downstream_partitions: expected a number from 1 to 10000, got 10001"
    ),
    f"{KAFKA}\nreplication_factor = 0": "kafka.replication_factor: expected a number of at least 1, or -1, got 0",
    f"{KAFKA}\nreplication_factor = -2": "kafka.replication_factor: expected a number of at least 1, or -1, got -2",
    f"{KAFKA}\ndownstream_retention_hours = 0": (
        "kafka.downstream_retention_hours: expected a number above 0, got 0.0"
    ),
    f"{KAFKA}\ndelivery_timeout_seconds = 0": "kafka.delivery_timeout_seconds: expected a number above 0, got 0.0",
    f"{KAFKA}\nmax_unsettled_records = 0": "kafka.max_unsettled_records: expected a number of at least 1, got 0",
    f"{KAFKA}\nextra_as = 'text'": 'kafka.extra_as: expected one of "object", "string", got "text"',
    f"{KAFKA}\nsecurity_protocol = 'ssl'": (
        'kafka.security_protocol: expected one of "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", got "ssl"'
    ),
    f"{KAFKA}\nsasl_mechanism = 'GSSAPI'": (
        'kafka.sasl_mechanism: expected one of "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", got "GSSAPI"'
    ),
    "redis.url = 6379": "redis.url: expected a text, got something else",
    f"{REDIS}\nsession_ttl_seconds = 0.9": ("redis.session_ttl_seconds: expected a number from 1 to 86400, got 0.9"),
    f"{REDIS}\nsession_ttl_seconds = 86401": (
        "redis.session_ttl_seconds: expected a number from 1 to 86400, got 86401.0"
    ),
    f"{ETCD}\nlease_seconds = 1": "etcd.lease_seconds: expected a number from 2 to 3600, got 1.0",
    f"{ETCD}\nprefix = ''": 'etcd.prefix: expected a text that is not empty, got ""',
    # between keys: the login
    f"{KAFKA}\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_password = 'x'": (
        "kafka.sasl_username: expected a user name, since kafka.security_protocol is SASL_PLAINTEXT"
    ),
    f"{KAFKA}\nsecurity_protocol = 'SASL_SSL'\nsasl_username = 'x'": (
        "kafka.sasl_password: expected a password, since kafka.security_protocol is SASL_SSL"
    ),
    f"{KAFKA}\nsasl_username = 'x'": (
        "kafka.sasl_username: expected none, since kafka.security_protocol is PLAINTEXT, without a login"
    ),
    f"{KAFKA}\nsecurity_protocol = 'SSL'\nsasl_password = 'hunter2'": (
        "kafka.sasl_password: expected none, since kafka.security_protocol is SSL, without a login"
    ),
    f"server.port = 0\n{ETCD}": (
        "gateway.advertise: expected host:port, since server.port is 0 and etcd is to tell others where this gateway is"
    ),
    f"{ETCD}\nuser = 'x'": "etcd.password: expected a password, since etcd.user is set",
    f"{ETCD}\npassword = 'hunter2'": "etcd.user: expected a user name, since etcd.password is set",
    # between keys: TLS
    f"{KAFKA}\nssl_cafile = '{HERE}'": (
        "kafka.ssl_cafile: expected none, since kafka.security_protocol is PLAINTEXT, without TLS"
    ),
    f"{KAFKA}\nsecurity_protocol = 'SSL'\nssl_cafile = '/nowhere'": (
        'kafka.ssl_cafile: expected a file that can be read, got "/nowhere"'
    ),
    f"{KAFKA}\nsecurity_protocol = 'SSL'\nssl_certfile = '{HERE}'": (
        "kafka.ssl_keyfile: expected a file, since kafka.ssl_certfile is set"
    ),
    f"{KAFKA}\nsecurity_protocol = 'SSL'\nssl_keyfile = '{HERE}'": (
        "kafka.ssl_certfile: expected a file, since kafka.ssl_keyfile is set"
    ),
    f"{ETCD}\ntls_ca = '{HERE}'": "etcd.tls_ca: expected none, since no endpoint is https://",
    f"{ETCD_TLS}\ntls_ca = '/nowhere'": 'etcd.tls_ca: expected a file that can be read, got "/nowhere"',
    f"{ETCD_TLS}\ntls_cert = '{HERE}'": "etcd.tls_key: expected a file, since etcd.tls_cert is set",
    f"{ETCD_TLS}\ntls_key = '{HERE}'": "etcd.tls_cert: expected a file, since etcd.tls_key is set",
    # between keys: topics
    f"{KAFKA}\ndownstream_topic_prefix = '{'p' * 200}'\n[gateway]\nid = '{'i' * 50}'": (
        "gateway.id: expected at most 49 characters, so that the topic's name is no longer than 249, got 50"
    ),
    f"{KAFKA}\nundelivered_topic = 'im-upstream-topic'": (
        'kafka.undelivered_topic: expected another topic than that of kafka.upstream_topic, got "im-upstream-topic"'
    ),
    f"{KAFKA}\nundelivered_topic = 'im-downstream-topic-a'\n[gateway]\nid = 'a'": (
        "kafka.downstream_topic_prefix: expected another topic than that of kafka.undelivered_topic, "
        'got "im-downstream-topic-a"'
    ),
}


@pytest.mark.parametrize(("toml", "problem"), SERVICES.items(), ids=SERVICES)
def test_one_wrong_key_of_a_service_makes_one_line(tmp_path: Path, toml: str, problem: str) -> None:
    assert problems_of(tmp_path, toml) == [problem]


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "localhost:6379",
        "http://:hunter2@redis",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@redis:port",
        "redis://:hunter2@redis:0/0",
        "redis://:hunter2@redis:65536/0",
        "redis://:hunter2@[::1/0",
        "unix:///run/redis.sock",
    ],
)
def test_the_address_of_redis_is_a_url_and_as_it_may_hold_a_password_is_not_shown(tmp_path: Path, url: str) -> None:
    (problem,) = problems_of(tmp_path, f"redis.url = '{url}'")
    assert problem == (
        f"redis.url: expected redis://host:port/database, or rediss:// with TLS, got a text of {len(url)} bytes"
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "etcd:2379",
        "etcd",
        "ftp://etcd:2379",
        "http://",
        "http://etcd:port",
        "http://etcd:0",
        "http://etcd:65536",
        "http://[::1",
        "http://etcd:2379/v3",
        "http://etcd:2379?x",
        "http://etcd:2379#x",
        "http://et cd:2379",
        "http://root:hunter2@etcd:2379",
        "https://root:hun/t@er/2@etcd:2379",
        "https://root:hunter2 @etcd",
        'https://root:\\"hunter2\\"@etcd',
        "",
    ],
)
def test_endpoints_of_etcd_have_a_scheme_a_host_and_no_credentials(tmp_path: Path, endpoint: str) -> None:
    (problem,) = problems_of(tmp_path, f'etcd.endpoints = ["http://good:2379", "{endpoint}"]')
    assert problem.startswith(
        "etcd.endpoints: expected a list of at least one, each element http://host:port or https://host:port, "
        'without credentials, got ["http://good:2379", '
    )
    assert not any(part in problem for part in ("root", "hun", "er/2"))


GOOD = [
    "kafka.bootstrap_servers = ['one:9092', '[::1]:9093']",
    f"{KAFKA}\nreplication_factor = 3",
    f"{KAFKA}\nsecurity_protocol = 'SSL'\nssl_certfile = '{HERE}'\nssl_keyfile = '{HERE}'",
    f"{KAFKA}\nsecurity_protocol = 'SASL_SSL'\nsasl_username = 'x'\nsasl_password = 'x'\nssl_cafile = '{HERE}'",
    f"{KAFKA}\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_username = 'x'\nsasl_password = 'x'",
    f"{KAFKA}\ndownstream_topic_prefix = '{'p' * 200}'\n[gateway]\nid = '{'i' * 49}'",
    "redis.url = 'redis://redis'",
    "redis.url = 'rediss://user:p%40ss@[::1]:6380/3'",
    f"{REDIS}\nsession_ttl_seconds = 1",
    f"{REDIS}\nsession_ttl_seconds = 86400",
    "etcd.endpoints = ['http://etcd', 'http://10.0.0.1:2379/', 'https://[::1]:2379']",
    f"{ETCD_TLS}\ntls_ca = '{HERE}'\ntls_cert = '{HERE}'\ntls_key = '{HERE}'",
    f"{ETCD}\nuser = 'x'\npassword = 'x'",
]


@pytest.mark.parametrize("toml", GOOD)
def test_what_is_right_for_a_service_is_taken(tmp_path: Path, toml: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(toml)
    assert load(file, {}, {}).settings != load(None, {}, {}).settings


@pytest.mark.parametrize("algorithm", ["none", "None", "hs256", "RS1", ""])
def test_only_known_algorithms(tmp_path: Path, algorithm: str) -> None:
    (problem,) = problems_of(tmp_path, f"auth.algorithms = ['{algorithm}']")
    assert problem.startswith('auth.algorithms: expected a list, each element one of "HS256"')
    assert problem.endswith(f'got ["{algorithm}"]')


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        SECRET[:31],
        "secret" * 8,
        "a" * 64,
        "12345678" * 8,
        "changeme-changeme-changeme-123456",
        "CHANGE_ME_" + SECRET,
        "your-secret-" + SECRET,
        "my super secret key that is long enough",
    ],
)
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(tmp_path: Path, secret: str) -> None:
    (problem,) = problems_of(tmp_path, f"auth.secret = '{secret}'")
    assert problem.startswith("auth.secret: expected at least 32 random bytes and no placeholder")
    assert problem.endswith(f"got a text of {len(secret)} bytes")
    assert not secret or secret not in problem


def test_the_admin_token_is_a_secret_as_well(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "server.admin_token = 'hunter2'")
    assert problem.startswith("server.admin_token: expected at least 32 random bytes")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/jwks",
        "https://",
        "keys.example",
        "ftp://keys.example/",
        "file:///etc/passwd",
        "https://user:pass@keys.example/jwks",
        "https://keys.example/a b",
        "https://keys.example/#f",
        "https://[::1/",
    ],
)
def test_key_sets_come_by_https_and_without_credentials(tmp_path: Path, url: str) -> None:
    (problem,) = problems_of(tmp_path, f"[auth]\nalgorithms = ['RS256']\njwks_url = '{url}'")
    assert problem.startswith("auth.jwks_url: expected an https:// URL without credentials")
    assert "pass" not in problem.replace("passwd", "")


@pytest.mark.parametrize(
    "url", ["https://keys.example/jwks", "http://127.0.0.1:8000/k", "http://[::1]/k", "http://localhost/k"]
)
def test_key_sets_of_this_machine_may_come_by_http(tmp_path: Path, url: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"[auth]\nalgorithms = ['RS256']\njwks_url = '{url}'")
    assert load(file, {}, {}).settings.auth.jwks_url == url


@pytest.mark.parametrize(
    "origin",
    [
        "example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://Example.com",
        "https://*.example.com",
        "https://user@example.com",
        "https://exa mple.com",
        "https://example.com:99999",
        "https://",
        "null",
        "",
    ],
)
def test_origins_have_a_scheme_a_host_and_no_path(tmp_path: Path, origin: str) -> None:
    (problem,) = problems_of(tmp_path, f"server.allowed_origins = ['{origin}']")
    assert problem.startswith("server.allowed_origins: expected a list, each element an origin like")


def test_every_error_of_every_source_is_reported_at_once(tmp_path: Path) -> None:
    toml = "port = 1\n[server]\nport = 'x'\nadmin_port = 70000\n[kafka]\n[[limits]]\nname = 'all'\n[[limits]]\n"
    problems = problems_of(
        tmp_path,
        toml,
        IMGATEWAY_SERVER__HOST="a b",
        IMGATEWAY_CONNECTIONS__MAX_TOTAL="many",
        IMGATEWAY_AUTH__SECRETT="x",
        IMGATEWAY_SERVER_WORKERS="1",
        IMGATEWAY_REDIS__URL="http://:hunter2@redis",
        IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS="kafka:9092,kafka",
        IMGATEWAY_ETCD__ENDPOINTS="etcd:2379",
        IMGATEWAY_DEGRADATION__ENABLED="true",
    )
    assert problems == [
        "port: unknown key; did you mean server.port?",
        "kafka: expected settings, such as a server's address: an empty section turns nothing on",
        "limits: not available in this version: there are no rate limits; max_per_ip, max_total and max_per_user of "
        "[connections] are there",
        "auth.secrett: unknown key; did you mean auth.secret? (from IMGATEWAY_AUTH__SECRETT)",
        "degradation: not available in this version: load is not shed by class",
        "IMGATEWAY_SERVER_WORKERS: names no setting; did you mean IMGATEWAY_SERVER__WORKERS?",
        'server.port: expected a whole number, got "x"',
        'connections.max_total: expected a whole number, got "many" (from IMGATEWAY_CONNECTIONS__MAX_TOTAL)',
        'server.host: expected a host name or an IP address, got "a b" (from IMGATEWAY_SERVER__HOST)',
        "server.admin_port: expected a number from 0 to 65535, got 70000",
        'kafka.bootstrap_servers: expected a list of at least one, each element "host:port", got ["kafka:9092", '
        '"kafka"] (from IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS)',
        "redis.url: expected redis://host:port/database, or rediss:// with TLS, got a text of 21 bytes "
        "(from IMGATEWAY_REDIS__URL)",
        "etcd.endpoints: expected a list of at least one, each element http://host:port or https://host:port, "
        'without credentials, got ["etcd:2379"] (from IMGATEWAY_ETCD__ENDPOINTS)',
    ]


def test_what_depends_on_a_wrong_key_is_not_reported_as_well(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "[auth]\nalgorithms = 'RS256'\nsecret = 'short'") == [
        'auth.algorithms: expected a list, each element one of "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", '
        '"PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", got "RS256"',
        "auth.secret: expected at least 32 random bytes and no placeholder (python -c 'import secrets; "
        "print(secrets.token_urlsafe(32))'), got a text of 5 bytes",
    ]


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"server.host = '{'h' * 1000}'")
    assert len(problem) < 200
    assert problem.endswith("hhh…")


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_of_thousands_of_digits_is_an_error_like_any_other(tmp_path: Path, number: str) -> None:
    (problem,) = problems_of(tmp_path, f"server.port = {number}")
    assert len(problem) < 300


def test_a_number_too_large_for_a_float_is_an_error_like_any_other(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"gateway.drain_seconds = 0x{'f' * 1000}")
    assert problem.startswith("gateway.drain_seconds: expected a number, got ")


def test_a_file_that_is_no_toml_is_named_with_the_position(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "[server]\nport = \n")
    assert problem == f"{tmp_path}/gateway.toml: not TOML: Invalid value (at line 2, column 8)"


def test_a_key_given_twice_is_no_toml(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "[server]\nport = 1\nport = 2\n")
    assert "not TOML: Cannot overwrite a value (at line 3" in problem


def test_a_file_that_is_not_utf_8_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b"[server]\n# caf\xe9\n")
    with pytest.raises(SettingsError) as caught:
        load(file, {}, {})
    assert caught.value.problems == (f"{file}: not UTF-8 (at line 2)",)


def test_a_file_that_nests_too_deep_is_no_toml(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"a = {'[' * 100_000}")
    assert "gateway.toml: not TOML" in problem


def test_a_file_that_is_not_there_is_reported_beside_other_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "nowhere.toml", {"IMGATEWAY_SERVER__PORT": "x"}, {})
    assert caught.value.problems == (
        f"{tmp_path}/nowhere.toml: can't be read: No such file or directory",
        'server.port: expected a whole number, got "x" (from IMGATEWAY_SERVER__PORT)',
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load(tmp_path, {}, {})

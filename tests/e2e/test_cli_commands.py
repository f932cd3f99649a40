"""The commands that read settings: what they print, where, and their exit codes."""

import json
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imgateway_cli.main import cli

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("IMGATEWAY_")]:
        monkeypatch.delenv(name)


def run(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(cli, [str(argument) for argument in arguments])


def written(folder: Path, toml: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(toml)
    return file


# --- every command that loads settings ---


@pytest.mark.parametrize("command", [["check"], ["config"], ["serve"], ["token", "--user-id", "u"]])
def test_errors_of_the_configuration_are_lines_on_stderr_and_exit_code_2(tmp_path: Path, command: list[str]) -> None:
    file = written(tmp_path, "[server]\nprot = 1\nadmin_port = 70000\n[kafka]\n")
    result = run(*command, "--config", file)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: server.prot: unknown key; did you mean server.port?",
        "error: kafka: expected settings, such as a server's address: an empty section turns nothing on",
        "error: server.admin_port: expected a number from 0 to 65535, got 70000",
    ]


def test_unknown_options_are_wrong_usage() -> None:
    assert run("serve", "--prot", "1").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_a_process_ends_with_the_exit_code_and_without_a_traceback(tmp_path: Path) -> None:
    file = written(tmp_path, "[server]\nport = 'x'\n")
    ended = subprocess.run(
        [sys.executable, "-m", "imgateway_cli", "check", "--config", file], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == 'error: server.port: expected a whole number, got "x"\n'


# --- check ---


def test_check_sums_up_what_is_right(tmp_path: Path) -> None:
    file = written(tmp_path, f"[server]\nhost = '::1'\nport = 9000\n[auth]\nsecret = '{SECRET}'\n")
    result = run("check", "--config", file, IMGATEWAY_GATEWAY__ID="gw-7")
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: 3 settings from the file, 1 from the environment")
    assert "gw-7\n" in result.stdout
    assert "ws://[::1]:9000/ws\n" in result.stdout
    assert "HS256 by a shared secret\n" in result.stdout
    assert SECRET not in result.output


def test_check_warns_that_kafka_without_etcd_guards_no_id_and_takes_nothing_over() -> None:
    alone = {"IMGATEWAY_AUTH__SECRET": SECRET, "IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"}
    result = run("check", **alone)
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("warning: [kafka] without [etcd]: ")
    assert "ids are unguarded" in warning
    assert "takeover is off" in warning
    guarded = run("check", **alone, IMGATEWAY_ETCD__ENDPOINTS="http://etcd:2379", IMGATEWAY_GATEWAY__ADVERTISE="h:1")
    assert (guarded.exit_code, guarded.stderr) == (0, "")


def test_check_names_a_key_file_that_holds_no_key(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("not a key")
    file = written(tmp_path, f"[auth]\nalgorithms = ['ES256']\npublic_key_file = '{tmp_path}/key.pem'\n")
    result = run("check", "--config", file)
    assert result.exit_code == 2
    assert result.stderr == "error: auth.public_key_file: expected a public key in PEM form\n"


def test_check_names_a_plugin_that_is_not_installed() -> None:
    result = run("check", IMGATEWAY_AUTH__PLUGIN="nonesuch")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: auth.plugin: ")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_certificate_that_is_none_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    file = written(tmp_path, f"[server]\ntls_cert = '{tmp_path}/cert.pem'\ntls_key = '{tmp_path}/cert.pem'\n")
    result = run(command, "--config", file)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: server.tls_cert: expected a certificate (PEM)")


def test_check_shows_the_workers_and_warns_that_their_ids_are_unguarded(tmp_path: Path) -> None:
    text = "gateway.id = 'g'\nserver.workers = 3\nkafka.bootstrap_servers = ['k:1']\nredis.url = 'redis://r:1/0'\n"
    result = run("check", "--config", written(tmp_path, text))
    assert result.exit_code == 0
    assert "  workers   3: g-1 to g-3\n" in result.stdout
    assert "[kafka] without [etcd]" in result.stderr
    assert "workers" not in run("check").stdout


def test_check_connect_says_that_there_is_nothing_outside() -> None:
    result = run("check", "--connect", IMGATEWAY_SERVER__PORT="0", IMGATEWAY_SERVER__ADMIN_PORT="0")
    assert result.exit_code == 0
    assert "nothing outside is configured" in result.stdout


def test_check_connect_names_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("check", "--connect", IMGATEWAY_SERVER__PORT=port, IMGATEWAY_SERVER__ADMIN_PORT="0")
    assert result.exit_code == 1
    assert result.stderr == f"failed: server.port (127.0.0.1:{port}): another program has it\n"


@pytest.fixture
def key_server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """An HTTP server and what it answers, by path."""
    answers: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            """Nothing: the default writes to stderr, which the test reads."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def check_keys(url: str) -> Result:
    return run(
        "check",
        "--connect",
        IMGATEWAY_SERVER__PORT="0",
        IMGATEWAY_SERVER__ADMIN_PORT="0",
        IMGATEWAY_AUTH__ALGORITHMS="ES256",
        IMGATEWAY_AUTH__JWKS_URL=url,
    )


def test_check_connect_fetches_the_published_keys(key_server: tuple[str, dict[str, bytes]]) -> None:
    url, answers = key_server
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    answers["/jwks"] = json.dumps({"keys": [key]}).encode()
    answers["/empty"] = b'{"keys": []}'
    answers["/page"] = b"<html>"
    good = check_keys(f"{url}/jwks")
    assert good.exit_code == 0
    assert "ok: auth.jwks_url: usable keys: 1\n" in good.stdout
    for path, reason in (
        ("/empty", "the key set has no usable key for ES256"),
        ("/page", "the answer is not a JSON Web Key Set"),
        ("/nowhere", "HTTP status 404"),
    ):
        bad = check_keys(url + path)
        assert bad.exit_code == 1
        assert bad.stderr == f"failed: auth.jwks_url: {reason}\n"


# --- config ---


def test_config_prints_toml_with_origins_and_without_secrets(tmp_path: Path) -> None:
    file = written(tmp_path, f"[auth]\nsecret = '{SECRET}'\n[connections]\nmax_total = 5\n")
    result = run("config", "--config", file, "--port", "9000", IMGATEWAY_SERVER__HOST="127.0.0.2")
    assert result.exit_code == 0
    document = tomllib.loads(result.stdout)
    assert document["server"]["host"] == "127.0.0.2"
    assert document["server"]["port"] == 9000
    assert document["connections"]["max_total"] == 5
    lines = result.stdout.splitlines()
    assert {'host = "127.0.0.2"  # env', "port = 9000  # flag", "max_total = 5  # file", "workers = 1  # default"} <= {
        *lines
    }
    assert '# secret = "********"  # file' in lines
    assert SECRET not in result.output


def test_config_shows_where_the_services_are_and_none_of_their_passwords(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "[kafka]\nbootstrap_servers = ['k:9092']\nsecurity_protocol = 'SASL_PLAINTEXT'\nsasl_username = 'ann'\n"
        "[etcd]\nendpoints = ['http://etcd:2379']\nuser = 'bob'\npassword = 'hunter2'\n",
    )
    result = run(
        "config",
        "--config",
        file,
        IMGATEWAY_KAFKA__SASL_PASSWORD="hunter2",
        IMGATEWAY_REDIS__URL="rediss://:hunter2@redis:6380/0",
    )
    assert result.exit_code == 0, result.output
    document = tomllib.loads(result.stdout)
    assert document["kafka"]["bootstrap_servers"] == ["k:9092"]
    assert document["kafka"]["sasl_username"] == "ann"
    assert document["redis"]["session_ttl_seconds"] == 60
    assert document["etcd"]["user"] == "bob"
    lines = result.stdout.splitlines()
    assert '# sasl_password = "********"  # env' in lines
    assert '# url = "********"  # env' in lines
    assert '# password = "********"  # file' in lines
    assert "hunter2" not in result.output


def test_config_shows_sections_that_are_not_there_as_comments() -> None:
    result = run("config")
    assert tomllib.loads(result.stdout).keys().isdisjoint({"kafka", "redis", "etcd"})
    lines = result.stdout.splitlines()
    for section in ("kafka", "redis", "etcd"):
        assert f"# Not set, so this part is embedded: [{section}]" in lines
    assert '# upstream_topic = "im-upstream-topic"  # default' in lines


def test_config_defaults_are_a_configuration_to_start_from(tmp_path: Path) -> None:
    printed = run("config", "--defaults", IMGATEWAY_SERVER__PORT="9000")
    assert "port = 8080  # default\n" in printed.stdout
    assert "# Connections of one user, over all gateways.\n" in printed.stdout
    assert run("check", "--config", written(tmp_path, printed.stdout)).exit_code == 0


# --- token ---


def claims_of(result: Result, algorithm: str = "HS256", **options: str) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    claims: dict[str, object] = jwt.decode(result.stdout.strip(), SECRET, algorithms=[algorithm], **options)  # type: ignore[arg-type]  # options of several types
    return claims


def test_a_token_proves_the_user_for_the_asked_time() -> None:
    claims = claims_of(run("token", "--user-id", "alice", "--ttl", "60", "--secret", SECRET))
    assert claims == {"sub": "alice", "iat": claims["iat"], "exp": claims["exp"]}
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 60


def test_a_token_follows_the_configuration(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f"[auth]\nsecret = '{SECRET}'\nuser_claim = 'uid'\nissuer = 'me'\naudience = 'chat'\n"
        "required_claims = {tenant = 'acme'}\n",
    )
    claims = claims_of(run("token", "--user-id", "用户", "--config", file), audience="chat")
    assert (claims["uid"], claims["iss"], claims["aud"], claims["tenant"]) == ("用户", "me", "chat", "acme")


def test_the_secret_may_come_from_the_environment() -> None:
    assert claims_of(run("token", "--user-id", "alice", IMGATEWAY_AUTH__SECRET=SECRET))["sub"] == "alice"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--user-id", "alice"], "no shared secret to sign with"),
        (["--user-id", "alice", "--secret", "short"], "auth.secret: expected at least 32 random bytes"),
        (["--user-id", "alice", "--secret", "secret" * 8], "auth.secret: expected at least 32 random bytes"),
        (["--user-id", "", "--secret", SECRET], "1 to 128 characters without control characters"),
        (["--user-id", "a\nb", "--secret", SECRET], "1 to 128 characters without control characters"),
        (["--user-id", "a" * 129, "--secret", SECRET], "1 to 128 characters without control characters"),
        (["--user-id", "alice", "--secret", SECRET, "--ttl", "0"], "--ttl"),
        (["--user-id", "alice", "--secret", SECRET, "--config", "x.toml"], "exclude each other"),
        (["--secret", SECRET], "--user-id"),
    ],
)
def test_no_token_without_a_sound_user_and_secret(arguments: list[str], reason: str) -> None:
    result = run("token", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert reason in result.stderr
    assert SECRET not in result.stderr


def test_a_public_key_mints_nothing(tmp_path: Path) -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "key.pem").write_bytes(pem)
    file = written(tmp_path, f"[auth]\nalgorithms = ['ES256']\npublic_key_file = '{tmp_path}/key.pem'\n")
    assert run("check", "--config", file).exit_code == 0
    result = run("token", "--user-id", "alice", "--config", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no shared secret to sign with" in result.stderr


# --- serve ---


def test_serve_with_more_than_one_worker_needs_something_that_they_share() -> None:
    result = run("serve", "--workers", "2")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: server.workers: expected 1, since there is no [kafka] and no [redis], ")
    assert result.stderr.endswith("got 2 (from a flag)\n")


def test_the_version_and_the_exit_codes_are_told() -> None:
    assert run("--version").stdout.startswith("imgateway ")
    assert "2 wrong usage or configuration" in run("--help").stdout

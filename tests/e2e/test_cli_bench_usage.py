"""How `imgateway bench` is called: what is said where that is wrong, and that help comes without the generator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.e2e.running_gateway import SECRET

from imgateway_cli.commands import bench
from imgateway_cli.main import cli


def test_help_does_not_wait_for_the_generator_to_load() -> None:
    program = "import sys, imgateway_cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "imgateway_cli.commands.bench" in loaded
    assert not {"aiokafka", "uvloop", "imgateway_cli.bench.fleet"} & set(loaded)


def invoke(*arguments: str, **environ: str) -> Result:
    return CliRunner(env={**dict.fromkeys(filter(lambda n: n.startswith("IMGATEWAY_"), os.environ)), **environ}).invoke(
        cli, ["bench", *arguments]
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["connect", "http://h", "--connections", "1"], "expected an address like"),
        (["connect", "ws://h"], "--connections"),
        (["connect", "ws://h", "--connections", "0"], "--connections"),
        (["connect", "ws://h", "--connections", "1"], "no shared secret to sign with"),
        (["connect", "ws://h", "--connections", "1", "--secret", "short"], "auth.secret"),
        (["connect", "ws://h", "--connections", "1", "--secret", SECRET, "--tokens", "x"], "exclude each other"),
        (["connect", "ws://h", "--connections", "1", "--tokens", "nonesuch"], "can't be read"),
        (["up", "ws://h", "--connections", "1", "--secret", SECRET, "--rate", "0"], "--rate"),
        (["down", "ws://h", "--connections", "1", "--secret", SECRET], "no Kafka: give --kafka"),
        (["down", "ws://h", "--connections", "1", "--secret", SECRET, "--kafka", "nowhere"], "kafka.bootstrap_servers"),
        (["down", "ws://h", "--connections", "1", "--kafka", "h:1", "--fan-out", "2"], "at most --connections"),
        (["down", "ws://h", "--connections", "1", "--kafka", "h:1", "--rate", "fast"], "--rate"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], says: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_too_few_tokens_are_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\n")
    result = invoke("connect", "ws://h", "--connections", "2", "--tokens", str(file))
    assert result.exit_code == 2
    assert "expected a token for each of 2 connections, found 1" in " ".join(result.stderr.split())
    file.write_text("a b\x01\n")
    assert invoke("connect", "ws://h", "--connections", "2", "--tokens", str(file)).exit_code == 2


def test_down_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    result = invoke("down", "ws://h", "--connections", "1", "--kafka", "h:1", "--secret", SECRET)
    assert result.exit_code == 2
    assert result.stderr == "error: kafka: expected aiokafka to be installed: pip install 'imgateway[kafka]'\n"

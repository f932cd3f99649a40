"""The whole stack on this machine: Kafka, Redis, etcd, two gateways, im_logic behind them, and nginx in front.

    ./examples/real_stack/run [--port 8088]

Addresses in KAFKA_SERVERS, REDIS_URL and ETCD_URL are used instead of starting those servers. Ctrl+C ends everything.
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from servers import EtcdServer, KafkaServer, RedisServer, free_port  # noqa: E402  # the path comes first

from imgateway.adapters.starlette.static_page import POLICY  # noqa: E402  # the path comes first

START_SECONDS = 60
PAGE = HERE.parent.parent / "src" / "imgateway_cli" / "demo" / "page"


@contextmanager
def program(name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end (SIGTERM) when the block does."""
    print(f"starting {name}", flush=True)
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when `url` answers 200."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def addresses(stack: ExitStack) -> tuple[str, str, str]:
    """Where Kafka, Redis and etcd are; those that no variable names are started."""
    environment = os.environ
    kafka = environment.get("KAFKA_SERVERS") or stack.enter_context(KafkaServer()).address
    redis = environment.get("REDIS_URL") or stack.enter_context(RedisServer()).url
    etcd = environment.get("ETCD_URL") or stack.enter_context(EtcdServer()).url
    return kafka, redis, etcd


def run(port: int, stack: ExitStack) -> None:
    """Start everything and wait for `end`."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imgateway-stack-"))
    kafka, redis, etcd = addresses(stack)
    python, secret = sys.executable, secrets.token_urlsafe(32)
    shared = {"IMGATEWAY_AUTH__SECRET": secret}
    command = [python, "-m", "imgateway_im_logic", "--listen", f"127.0.0.1:{free_port()}"]
    command += ["--kafka", kafka, "--redis", redis, "--etcd", etcd]
    stack.enter_context(program("im-logic", command, shared))
    gateways = []
    for number in (1, 2):
        gateway_port = free_port()
        environment = shared | {
            "IMGATEWAY_KAFKA__BOOTSTRAP_SERVERS": kafka,
            "IMGATEWAY_REDIS__URL": redis,
            "IMGATEWAY_ETCD__ENDPOINTS": etcd,
            "IMGATEWAY_GATEWAY__ID": f"gateway-{number}",
            "IMGATEWAY_SERVER__PORT": str(gateway_port),
            "IMGATEWAY_SERVER__ADMIN_PORT": str(free_port()),
            "IMGATEWAY_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        }
        command = [python, "-m", "imgateway_cli", "serve", "--config", str(HERE / "gateway.toml")]
        gateways.append((gateway_port, stack.enter_context(program(f"gateway-{number}", command, environment))))
    for gateway_port, gateway in gateways:
        wait_for(f"http://127.0.0.1:{gateway_port}/readyz", gateway)
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        raise SystemExit("nginx is not installed (Debian's package nginx-light)")
    values = {
        "FOLDER": folder,
        "PORT": str(port),
        "PAGE": str(PAGE),
        "POLICY": POLICY,
        "GATEWAYS": "\n".join(f"        server 127.0.0.1:{gateway_port};" for gateway_port, _ in gateways),
    }
    text = (HERE / "nginx.conf").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    configuration = Path(folder) / "nginx.conf"
    configuration.write_text(text)
    front = stack.enter_context(program("nginx", [nginx, "-c", str(configuration)], {}))
    wait_for(f"http://127.0.0.1:{port}/", front)
    print(f"Open http://127.0.0.1:{port}/ in two browser tabs. Ctrl+C ends everything.", flush=True)
    while True:
        signal.pause()


def end(_number: int, _frame: object) -> NoReturn:
    """Leave by the way of all the blocks: what was started last is ended first, and undisturbed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8088, help="where nginx listens")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with ExitStack() as stack:
        run(parser.parse_args().port, stack)


if __name__ == "__main__":
    main()

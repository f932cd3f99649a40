"""The proxy configurations of the how-tos, in front of a gateway, by the real programs.

A machine without nginx or HAProxy skips its half: the gateway does not need them.
"""

import datetime
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import free_port
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from imgateway.adapters.memory.embedded import embedded_gateway
from imgateway.adapters.starlette import gateway_lifespan, gateway_routes
from imgateway.adapters.uvicorn import server_config, serving
from imgateway.core.settings import ServerSettings, Settings
from imgateway.model import Credentials, Identity, UserId

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = HOW_TO / "run-behind-a-proxy.md"
SEVERAL = HOW_TO / "run-on-the-real-stack.md"
ORIGIN = Origin("https://chat.example.com")
NOBODY = "127.0.0.1:1"
CLIENT = "127.0.0.2"
"""Where the test's client connects from: not an address that the gateway trusts."""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's and the websockets library's


class EveryoneByAddress:
    """An authenticator that calls everyone by the address they come from."""

    async def authenticate(self, credentials: Credentials, /) -> Identity:
        return Identity(UserId(str(credentials.client_ip)), expires_at=2**42)

    async def aclose(self) -> None:
        """Nothing is held."""


def block(language: str) -> str:
    return blocks(language, PAGE)[0]


def blocks(language: str, page: Path) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return [str(text) for text in found]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"the page no longer says {old!r}"
        text = text.replace(old, new)
    return text


def certificate(folder: Path) -> None:
    """A key and a certificate of its own, under the page's names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chat.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    issued = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.crt").write_bytes(issued)
    (folder / "tls.key").write_bytes(private)
    (folder / "tls.pem").write_bytes(issued + private)


def nginx(folder: Path, port: int, gateway: str) -> list[str]:
    return nginx_with(replaced(block("nginx"), ("server 127.0.0.1:8080", f"server {gateway}")), folder, port)


def nginx_of_several(folder: Path, port: int, gateway: str) -> list[str]:
    """The first of two gateways is down."""
    upstream, passed_over = blocks("nginx", SEVERAL)
    upstream = replaced(upstream, ("10.0.0.5:8080", NOBODY), ("10.0.0.6:8080", gateway))
    site = re.sub(r"^upstream .*?^}\n", lambda _: upstream, block("nginx"), flags=re.MULTILINE | re.DOTALL)
    return nginx_with(replaced(site, ("proxy_http_version", f"{passed_over}proxy_http_version")), folder, port)


def nginx_with(site: str, folder: Path, port: int) -> list[str]:
    site = replaced(site, ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("/etc/imgateway", str(folder)))
    places = "".join(f"{kind}_temp_path {folder};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr warn;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{site}}}\n"
    )
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, gateway: str) -> list[str]:
    text = replaced(block("haproxy"), ("server gateway 127.0.0.1:8080", f"server gateway {gateway}"))
    return haproxy_with(text, folder, port)


def haproxy_of_several(folder: Path, port: int, gateway: str) -> list[str]:
    """The first of two gateways is down."""
    (back_end,) = blocks("haproxy", SEVERAL)
    back_end = replaced(back_end, ("10.0.0.5:8080", NOBODY), ("10.0.0.6:8080", gateway))
    text = re.sub(r"^backend .*", lambda _: back_end, block("haproxy"), flags=re.MULTILINE | re.DOTALL)
    return haproxy_with(text, folder, port)


def haproxy_with(text: str, folder: Path, port: int) -> list[str]:
    file = folder / "haproxy.cfg"
    file.write_text(replaced(text, ("bind :443", f"bind 127.0.0.1:{port}"), ("/etc/imgateway", str(folder))))
    return ["haproxy", "-db", "-f", str(file)]


@asynccontextmanager
async def behind(proxy: Callable[[Path, int, str], list[str]], folder: Path) -> AsyncIterator[str]:
    """A gateway that trusts the proxy in front of it; the proxy's WebSocket address."""
    program = proxy.__name__.partition("_")[0]
    if shutil.which(program) is None:
        pytest.fail(f"{program} is not installed; ./scripts/test installs it")
    certificate(folder)
    settings = Settings(server=ServerSettings(trusted_proxies=("127.0.0.1",), allowed_origins=(ORIGIN,)))
    gateway = embedded_gateway(EveryoneByAddress(), settings)
    app = Starlette(routes=gateway_routes(gateway), lifespan=gateway_lifespan(gateway))
    config = server_config(app, host="127.0.0.1", port=0, max_frame_bytes=65536)
    async with serving(config) as bound:
        port = free_port()
        process = subprocess.Popen(proxy(folder, port, f"127.0.0.1:{bound.port}"), stderr=subprocess.PIPE)
        try:
            with anyio.fail_after(30):
                while not await answers(port):
                    assert process.poll() is None, process.communicate()[1].decode()
                    await anyio.sleep(0.02)
            yield f"wss://127.0.0.1:{port}/ws"
        finally:
            process.terminate()
            await anyio.to_thread.run_sync(process.communicate)


async def answers(port: int) -> bool:
    try:
        stream = await anyio.connect_tcp("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


@pytest.mark.parametrize("proxy", [nginx, haproxy], ids=lambda proxy: proxy.__name__)
@pytest.mark.parametrize("lie", [None, "6.6.6.6", "6.6.6.6, 127.0.0.1"])
async def test_the_gateway_knows_its_client_behind(
    proxy: Callable[[Path, int, str], list[str]], lie: str | None, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {} if lie is None else {"X-Forwarded-For": lie}
    async with behind(proxy, tmp_path) as url:
        async with connect(
            url, ssl=context, origin=ORIGIN, additional_headers=headers, local_addr=(CLIENT, 0), proxy=None
        ) as client:
            with anyio.fail_after(30):
                welcome = str(await client.recv())
            assert f'"userId":"{CLIENT}"' in welcome
            await client.send('{"type": "ping"}')
            with anyio.fail_after(30):
                assert '"pong"' in str(await client.recv())
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                url, ssl=context, origin=Origin("https://evil.example"), local_addr=(CLIENT, 0), proxy=None
            ):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("proxy", [nginx_of_several, haproxy_of_several], ids=lambda proxy: proxy.__name__)
async def test_clients_go_to_the_gateway_that_is_there(
    proxy: Callable[[Path, int, str], list[str]], tmp_path: Path
) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with behind(proxy, tmp_path) as url:
        for _ in range(4):
            async with connect(url, ssl=context, origin=ORIGIN, local_addr=(CLIENT, 0), proxy=None) as client:
                with anyio.fail_after(30):
                    assert '"welcome"' in str(await client.recv())

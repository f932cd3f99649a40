"""`imgateway serve` over TLS and over IPv6."""

import datetime
import ipaddress
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import PATIENCE_SECONDS, open_socket, refusal
from websockets.exceptions import InvalidMessage

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imgateway test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return file


async def test_over_tls(certificate: Path) -> None:
    tls = ssl.create_default_context(cafile=str(certificate))
    async with gateway_process(SERVER__TLS_CERT=certificate, SERVER__TLS_KEY=certificate) as gateway:
        url = await gateway.url()
        assert url.startswith("wss://")
        address = url.removeprefix("wss://").removesuffix("/ws")
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, verify=tls) as http:
            assert (await http.get(f"https://{address}/readyz")).status_code == 200
        async with await gateway.connect("alice", ssl=tls, origin=f"https://{address}") as client:
            await client.send_message(content="x" * 5000)
            await client.expect("message-ack")
            # A page that was not protected may not use one that is.
            foreign = await refusal(
                url, ssl=tls, headers={"Authorization": f"Bearer {mint()}"}, origin="http://x.example"
            )
            assert foreign.status_code == 403
            with pytest.raises(InvalidMessage):
                await open_socket(url.replace("wss", "ws"), headers={"Authorization": f"Bearer {mint()}"})
            gateway.send_signal(signal.SIGTERM)
            await client.expect("reconnect")
            assert await client.ended() == 1012
        assert await gateway.ended() == 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_over_ipv6() -> None:
    async with gateway_process(SERVER__HOST="::1", CONNECTIONS__MAX_PER_IP=1) as gateway:
        url = await gateway.url()
        assert url.startswith("ws://[::1]:")
        address = url.removeprefix("ws://").removesuffix("/ws")
        async with await gateway.connect("alice", origin=f"http://{address}") as client:
            await client.nothing_came()
            refused = await refusal(url, headers={"Authorization": f"Bearer {mint('bob')}"})
            assert refused.status_code == 429

"""Where the gateway is."""

import socket
import ssl
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import attrs

from imgateway.core.settings import authority
from imgateway.errors import GatewayError

CONNECTIONS_PER_SOURCE: Final = 20_000
"""So many connections from one address to one port are safe: Linux has some 28,000 ports for them."""

_PROBE_SECONDS: Final = 5.0


@attrs.frozen
class Target:
    """An address that was tried.

    Attributes:
        address: the IP address.
        host: the host as the URL has it, for the certificate and the `Host` header.
        path: with its query.
        secure: whether TLS is spoken.
        verified: whether the certificate is checked.
    """

    address: str
    port: int
    host: str
    path: str = attrs.field(repr=False)  # its query may hold a token
    secure: bool = False
    verified: bool = True

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        return authority(self.host, self.port)

    def ssl_context(self) -> ssl.SSLContext | None:
        """How TLS is spoken, or None where it is not."""
        if not self.secure:
            return None
        context = ssl.create_default_context()
        if not self.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def source(self, number: int, connections: int, /) -> str | None:
        """The address that connection `number` of `connections` comes from; None for the system's choice.

        More than an address has ports for come from several, which only this machine's own network has at hand.
        """
        local = ip_address(self.address)
        if connections <= CONNECTIONS_PER_SOURCE or local.version != 4 or not local.is_loopback:
            return None
        return f"127.0.{1 + number // CONNECTIONS_PER_SOURCE}.1"


def find_target(url: str, /, *, verified: bool) -> Target:
    """Look the host up and connect once, so that a wrong address is told before a crowd of processes meets it. Blocks.

    Raises:
        GatewayError: nobody answers there.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme in ("wss", "https")
    port = parts.port or (443 if secure else 80)
    failure: OSError = OSError("no address")
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        candidates, failure = [], error
    for family, kind, protocol, _, address in candidates:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.settimeout(_PROBE_SECONDS)
                probe.connect(address)
        except OSError as error:
            failure = error
        else:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            return Target(str(address[0]), port, host, path, secure, verified)
    raise GatewayError(f"can't connect to {authority(host, port)}: {failure.strerror or failure}")

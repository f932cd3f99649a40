"""How back ends are spoken to."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import grpc

from imgateway.core.settings_grpc import GrpcSettings
from imgateway.errors import SettingsError


@attrs.frozen
class TlsFiles:
    """PEM files for TLS; those that are None are the system's, or not shown.

    Attributes:
        server_name: the name in the back ends' certificates, where it is not that of their address.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None

    @classmethod
    def of(cls, settings: GrpcSettings, /) -> Self | None:
        """As the settings say; None where TLS is off."""
        files = (settings.tls_ca, settings.tls_cert, settings.tls_key, settings.tls_server_name)
        return cls(*files) if settings.tls or any(files) else None


def channel_maker(tls: TlsFiles | None, options: Sequence[tuple[str, Any]], /) -> Callable[[str], grpc.aio.Channel]:
    """What opens a channel to an address; the files are read once, here.

    Raises:
        SettingsError: some can't be read, or don't hold what they should.
    """
    if tls is None:
        return lambda address: grpc.aio.insecure_channel(address, options=options)
    if problems := list(_problems(tls)):
        raise SettingsError(problems)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca), private_key=_read(tls.key), certificate_chain=_read(tls.cert)
    )
    if tls.server_name is not None:
        options = [*options, ("grpc.ssl_target_name_override", tls.server_name)]
    return lambda address: grpc.aio.secure_channel(address, credentials, options=options)


def _problems(tls: TlsFiles) -> Iterator[str]:
    # gRPC takes any bytes, and fails at the first connection.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's certificates, which take their time
    if tls.ca is not None:
        try:
            context.load_verify_locations(tls.ca)
        except (OSError, ValueError) as error:
            yield f"grpc.tls_ca: expected certificates (PEM): {_reason(error)}"
    if tls.cert is not None and tls.key is not None:
        try:
            # An encrypted key would stop the start to ask for its passphrase; here it fails by an empty one.
            context.load_cert_chain(tls.cert, tls.key, password="")
        except (OSError, ValueError) as error:
            expected = "expected a certificate (PEM) whose unencrypted key is in grpc.tls_key"
            yield f"grpc.tls_cert: {expected}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__


def _read(name: str | None) -> bytes | None:
    return None if name is None else Path(name).read_bytes()

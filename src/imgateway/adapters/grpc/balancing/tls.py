"""How back ends are spoken to."""

from collections.abc import Callable, Sequence
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
        SettingsError: one can't be read.
    """
    if tls is None:
        return lambda address: grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read("grpc.tls_ca", tls.ca),
        private_key=_read("grpc.tls_key", tls.key),
        certificate_chain=_read("grpc.tls_cert", tls.cert),
    )
    if tls.server_name is not None:
        options = [*options, ("grpc.ssl_target_name_override", tls.server_name)]
    return lambda address: grpc.aio.secure_channel(address, credentials, options=options)


def _read(key: str, name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise SettingsError([f"{key}: {name} can't be read: {error.strerror}"]) from None

"""How etcd is reached: the same for every part."""

import os
import ssl
from urllib.parse import SplitResult, urlsplit

import attrs

from imgateway.errors import SettingsError

DEFAULT_PORT = 2379


@attrs.frozen
class Endpoint:
    """One address of etcd.

    Attributes:
        host: as it stands in a URL, an IPv6 address in brackets.
    """

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str, /) -> "Endpoint":
        """`http://host:port` or `https://host:port`; without a port it is 2379.

        Raises:
            SettingsError: it is none; user and password do not belong into it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # a name that can't be looked up is none
        except ValueError:
            parts, port = SplitResult("", "", "", "", ""), None
        is_plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
            raise SettingsError(["etcd.endpoints: expected http://host:port or https://host:port in each element"])
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(host, port or DEFAULT_PORT, parts.scheme == "https")

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


def _endpoints(urls: tuple[str, ...]) -> tuple[Endpoint, ...]:
    if not urls:
        raise SettingsError(["etcd.endpoints: expected at least one"])
    return tuple(Endpoint.parse(url) for url in urls)


@attrs.frozen
class EtcdAccess:
    """Addresses and credentials; made from URLs.

    Attributes:
        endpoints: members of one cluster; they are tried in turn.
        tls_ca: file of the authorities that endpoints with https:// are verified against; without it, the system's.
        tls_cert: file of our own certificate, where etcd asks for one.
        tls_key: file of its key.

    Raises:
        SettingsError: an endpoint is none.
    """

    endpoints: tuple[Endpoint, ...] = attrs.field(converter=_endpoints)
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def ssl_context(self) -> ssl.SSLContext | None:
        """For the endpoints with https://; None where there are none. Reads the files.

        Raises:
            SettingsError: a file can't be read, or holds nothing of use.
        """
        if not any(endpoint.tls for endpoint in self.endpoints):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:
            raise SettingsError([f"etcd.tls_ca: expected a file of PEM certificates ({_reason(error)})"]) from None
        if self.tls_cert is not None:
            try:
                # The empty password keeps an encrypted key from asking on the terminal.
                context.load_cert_chain(self.tls_cert, self.tls_key, password="")
            except OSError as error:
                message = f"etcd.tls_cert, etcd.tls_key: expected a certificate and its key, PEM ({_reason(error)})"
                raise SettingsError([message]) from None
        return context


def _reason(error: OSError) -> str:
    # OpenSSL has no words for a key whose password it was not given.
    return (error.reason or "unreadable") if isinstance(error, ssl.SSLError) else os.strerror(error.errno or 0)

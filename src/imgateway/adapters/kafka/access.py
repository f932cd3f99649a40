"""How the cluster is reached: the same for every client."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from imgateway.core.settings_services import KafkaSettings
from imgateway.errors import GatewayError, ServiceUnavailableError, SettingsError

REQUEST_TIMEOUT_MS = 10_000
METADATA_MAX_AGE_MS = 60_000
"""How long a partition that was added may stay unnoticed."""
EXPLAIN_SECONDS = 3.0

EXPLAINED_ADDRESSES = 5
GRACE_SECONDS = 1.0

_UNREACHABLE = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError, TimeoutError)
_BAD_CREDENTIALS = (SaslAuthenticationFailed, UnsupportedSaslMechanismError)


@attrs.frozen
class KafkaAccess:
    """Addresses and credentials.

    Attributes:
        bootstrap_servers: `host:port` of some brokers.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        ssl_context: for the SSL ones.
        sasl_mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    """

    bootstrap_servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = None
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_settings(cls, kafka: KafkaSettings) -> "KafkaAccess":
        """As `[kafka]` says. Reads the files it names.

        Raises:
            SettingsError: a file can't be read or holds nothing of use.
        """
        return cls(
            kafka.bootstrap_servers,
            kafka.security_protocol,
            _ssl_context(kafka) if "SSL" in kafka.security_protocol.split("_") else None,
            kafka.sasl_mechanism,
            kafka.sasl_username,
            kafka.sasl_password,
        )

    def options(self) -> dict[str, Any]:
        """As aiokafka's clients take them."""
        return {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        }

    @asynccontextmanager
    async def attempt(self, what: str, /, *, seconds: float | None = None) -> AsyncIterator[None]:
        """Turn the library's errors within the block into ours; `what` says what is tried, `seconds` bounds it.

        Raises:
            ServiceUnavailableError: instead of whatever the library raises. That is not always one of its own errors:
                while a cluster is only half there it stumbles over its own assertions and missing attributes.
        """
        try:
            with anyio.fail_after(seconds):
                yield
        except GatewayError:
            raise
        except Exception as error:
            why = await self._explain() if isinstance(error, _UNREACHABLE) else ""
            if not why and isinstance(error, TimeoutError):
                why = "the cluster can be reached, but does not do it in time"
            raise ServiceUnavailableError(f"{what}: {why or _named(error)}") from error

    async def _explain(self) -> str:
        """Which addresses can't be reached and why, empty if all can: the library's exceptions do not say."""
        servers = [(host, port) for host, port, _ in collect_hosts(list(self.bootstrap_servers), randomize=False)]
        advertised: set[tuple[str, int]] = set()
        reasons = [await self._try(address, advertised) for address in servers[:EXPLAINED_ADDRESSES]]
        for address in sorted(advertised.difference(servers))[:EXPLAINED_ADDRESSES]:
            why = await self._try(address, set())
            reasons.append(why and f"advertised by the cluster (its advertised.listeners) but {why}")
        return "; ".join(filter(None, reasons))

    async def _try(self, address: tuple[str, int], advertised: set[tuple[str, int]]) -> str:
        """Why there is no use in an address, else empty; `advertised` gets the addresses that its server names."""
        options = self.options()
        del options["bootstrap_servers"], options["metadata_max_age_ms"]
        setting = "kafka.bootstrap_servers, kafka.security_protocol"
        try:
            with anyio.fail_after(EXPLAIN_SECONDS):
                connection = await create_conn(*address, **options)
                try:
                    metadata = await connection.send(MetadataRequest([]))
                finally:
                    await connection.close()
                advertised.update((broker[1], broker[2]) for broker in metadata.brokers)
            return ""
        except TimeoutError:
            why = f"no answer as of a Kafka broker within {EXPLAIN_SECONDS:g} s"
        except (KafkaConnectionError, ConnectionResetError) as error:
            # The port is open, but whoever listens there hangs up on what we say.
            why = _named(error)
        except IllegalSaslStateError:
            setting, why = "kafka.security_protocol", "this listener takes no login (no SASL)"
        except _BAD_CREDENTIALS as error:
            setting, why = "kafka.sasl_mechanism, kafka.sasl_username, kafka.sasl_password", _named(error)
        except ssl.SSLError as error:
            setting, why = "kafka.security_protocol, kafka.ssl_cafile, kafka.ssl_certfile", _named(error)
        except Exception as error:
            setting, why = "kafka.bootstrap_servers", _named(error)
        host, port = address
        return f"{host}:{port}: {why} ({setting})"


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
    except OSError as error:
        raise SettingsError([f"kafka.ssl_cafile: expected a file of PEM certificates ({_reason(error)})"]) from None
    if kafka.ssl_certfile is not None:
        try:
            # The empty password keeps an encrypted key from asking on the terminal.
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, password="")
        except OSError as error:
            wanted = "kafka.ssl_certfile, kafka.ssl_keyfile: expected a certificate and its key, PEM"
            raise SettingsError([f"{wanted} ({_reason(error)})"]) from None
    return context


def _reason(error: OSError) -> str:
    # OpenSSL has no words for a key whose password it was not given.
    return (error.reason or "unreadable") if isinstance(error, ssl.SSLError) else os.strerror(error.errno or 0)


async def begin(connecting: Coroutine[Any, Any, None]) -> None:
    """Let a client connect. Cancelled, it gets a moment to finish: the library leaves open what it was just opening."""
    task = asyncio.create_task(connecting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task], timeout=GRACE_SECONDS)
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, else it would be logged
        raise


def _named(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

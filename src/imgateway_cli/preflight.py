"""What can be tried out before the gateway starts."""

import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Final

import anyio
import attrs

from imgateway.adapters.jwt.probing import count_published_keys
from imgateway.core.settings import AuthSettings, ServerSettings, Settings
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.core.settings_services import EtcdSettings, KafkaSettings
from imgateway.errors import GatewayError, ServiceUnavailableError, SettingsError
from imgateway.plugins import load_authenticator
from imgateway_cli.back_ends import offer_by_reflection, offer_of_file, require_tls_files, try_place
from imgateway_cli.wiring import etcd_access, kafka_access

LIBRARIES: Final = {"kafka": "aiokafka", "redis": "redis", "etcd": "etcd3", "grpc": "grpc"}
"""What each section's part is made with; the section's name is the extra that installs it."""


@attrs.frozen
class Finding:
    """What became of one attempt.

    Attributes:
        subject: what was tried.
        well: whether it worked.
        detail: what was seen, or the setting to look at and why it did not work.
        warnings: what is not as it should be, and hinders nothing else.
    """

    subject: str
    well: bool
    detail: str
    warnings: Sequence[str] = ()


def require_usable(settings: Settings, /) -> None:
    """Load what the settings name on this machine: the authenticator with its keys, TLS files, descriptors.

    `settings` must hold a secret where their algorithms need one.

    Raises:
        SettingsError: with everything that can't be used.
    """
    problems = [*_tls_problems(settings.server), *_missing_libraries(settings)]
    for use in _uses(settings):
        try:
            use()
        except SettingsError as error:
            problems.extend(error.problems)
    if problems:
        raise SettingsError(problems)


def require_installed(settings: Settings, /) -> None:
    """Make sure that there is a library for each section.

    Raises:
        SettingsError: with every one that is missing, and how to install it.
    """
    if problems := list(_missing_libraries(settings)):
        raise SettingsError(problems)


def _missing_libraries(settings: Settings) -> Iterator[str]:
    for section, library in LIBRARIES.items():
        if getattr(settings, section) is not None and find_spec(library) is None:
            yield f"{section}: expected {library} to be installed: pip install 'imgateway[{section}]'"


def _uses(settings: Settings) -> Iterator[Callable[[], object]]:
    kafka, etcd, grpc = settings.kafka, settings.etcd, settings.grpc
    yield partial(load_authenticator, settings.auth)
    if settings.server.transport == "picows":
        yield _picows
    if kafka is not None and find_spec(LIBRARIES["kafka"]) is not None:
        yield partial(kafka_access, kafka)
    if etcd is not None and find_spec(LIBRARIES["etcd"]) is not None:
        yield lambda: etcd_access(etcd).ssl_context()
    if grpc is not None and find_spec(LIBRARIES["grpc"]) is not None:
        yield partial(require_tls_files, grpc)
        if grpc.descriptor_set is not None:
            yield partial(offer_of_file, grpc, grpc.descriptor_set)


def _picows() -> None:
    # Imported here: it loads a server, which the other settings do not need.
    from imgateway.adapters.uvicorn import frame_parser

    frame_parser("picows")


def _tls_problems(server: ServerSettings) -> Iterator[str]:
    if server.tls_cert is None or server.tls_key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key would stop the start to ask for its passphrase; here it fails by an empty one.
        context.load_cert_chain(server.tls_cert, server.tls_key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        yield f"server.tls_cert: expected a certificate (PEM) whose unencrypted key is in server.tls_key: {reason}"


def attempts(settings: Settings, /) -> Iterator[Finding]:
    """Try what the settings name outside this process, one after the other: free ports, the published keys. Blocks."""
    server = settings.server
    yield _port("server.port", server.host, server.port)
    yield _port("server.admin_port", server.admin_host, server.admin_port)
    if settings.auth.plugin == "jwt" and settings.auth.jwks_url is not None:
        yield _published_keys(settings.auth, settings.auth.jwks_url)
    if settings.kafka is not None:
        yield _service("kafka", partial(_kafka, settings, settings.kafka))
    if settings.redis is not None and settings.redis.url is not None:
        yield _service("redis", partial(_redis, settings.redis.url, settings.redis.key_prefix))
    if settings.etcd is not None:
        yield _service("etcd", partial(_etcd, settings.etcd))
    if settings.grpc is not None:
        yield from _back_ends(settings, settings.grpc)


def has_services(settings: Settings, /) -> bool:
    """Whether the settings name any other program's address."""
    return any((settings.auth.jwks_url, settings.kafka, settings.redis, settings.etcd, settings.grpc))


def _service(section: str, attempt: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(section, True, anyio.run(attempt))
    except GatewayError as error:
        return Finding(section, False, str(error))


async def _kafka(settings: Settings, kafka: KafkaSettings) -> str:
    from imgateway.adapters.kafka import probe

    own = (kafka.downstream_topic_prefix + gateway_id for gateway_id in settings.gateway_ids)
    topics = (kafka.upstream_topic, kafka.low_priority_topic, kafka.undelivered_topic, *own)
    missing = await probe(kafka_access(kafka), topics)
    if missing and not kafka.create_topics:
        raise ServiceUnavailableError(f"no topic {', '.join(missing)}, and kafka.create_topics is false")
    return f"answers; will make {', '.join(missing)}" if missing else "answers; every topic is there"


async def _redis(url: str, key_prefix: str) -> str:
    from imgateway.adapters.redis import probe

    await probe(url, key_prefix=key_prefix)
    return "answers, and takes changes"


async def _etcd(etcd: EtcdSettings) -> str:
    from imgateway.adapters.etcd import probe

    await probe(etcd_access(etcd), prefix=etcd.prefix)
    return "answers"


def _back_ends(settings: Settings, grpc: GrpcSettings) -> Iterator[Finding]:
    for place in grpc.places:
        yield _service(f"grpc ({place})", partial(try_place, settings, grpc, place))
    if grpc.reflection:
        try:
            offer = anyio.run(offer_by_reflection, settings, grpc)
        except GatewayError as error:
            yield Finding("grpc.reflection", False, str(error))
        else:
            yield Finding("grpc.reflection", True, offer.counted, offer.problems)


def _port(key: str, host: str, port: int) -> Finding:
    subject = f"{key} ({host}:{port})"
    if port == 0:
        return Finding(subject, True, "any free port is taken")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a port whose last connections are still in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror as error:
        return Finding(subject, False, f"{host} is not known: {error.strerror}")
    except OSError as error:
        reason = "another program has it" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        return Finding(subject, False, reason)
    return Finding(subject, True, "free")


def _published_keys(auth: AuthSettings, url: str) -> Finding:
    subject = "auth.jwks_url"
    try:
        count = count_published_keys(auth, url)
    except ServiceUnavailableError as error:
        return Finding(subject, False, str(error))
    if not count:
        return Finding(subject, False, f"the key set has no usable key for {', '.join(auth.algorithms)}")
    return Finding(subject, True, f"usable keys: {count}")

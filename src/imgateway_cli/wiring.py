"""The only place that chooses adapters: from settings to a gateway.

A real adapter's library is imported when its section is there, and not before: it may not be installed.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import attrs

from imgateway.adapters.memory import Embedded, MemoryConsumer, MemoryPublisher
from imgateway.adapters.prometheus import PrometheusObserver
from imgateway.core.clock import SystemClock
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import Settings
from imgateway.core.settings_services import EtcdSettings, KafkaSettings, RedisSettings
from imgateway.core.topics import Topics
from imgateway.model import GatewayId
from imgateway.plugins import load_authenticator
from imgateway.ports import (
    DownstreamConsumer,
    GatewayOwnership,
    ServiceRegistrar,
    SessionStore,
    Transcoder,
    UpstreamPublisher,
)

if TYPE_CHECKING:
    from imgateway.adapters.etcd import EtcdAccess
    from imgateway.adapters.kafka import KafkaAccess


@attrs.frozen
class Composition:
    """A gateway, and what stands beside it.

    Attributes:
        embedded: the memory parts, for a back end in the same process; unused where a real part stands in.
    """

    gateway: Gateway
    observer: PrometheusObserver
    embedded: Embedded


@attrs.frozen
class _Broker:
    publisher: UpstreamPublisher
    consumer: Callable[[], DownstreamConsumer]
    health: Mapping[str, Callable[[], bool]] = attrs.field(factory=dict)


def compose(settings: Settings, /, *, embedded: Embedded | None = None) -> Composition:
    """Choose and connect the parts; nothing is started.

    Args:
        settings: what to choose by.
        embedded: memory parts that a back end in the process has already; by default new ones.

    Raises:
        SettingsError: the settings name something that can't be used.
    """
    memory = embedded or Embedded()
    observer = PrometheusObserver()
    authenticator = load_authenticator(settings.auth)
    topics = _topics(settings.kafka)

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[GatewayParts]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(authenticator))
            registrar, ownership = await _registry(stack, settings.etcd, memory)
            broker = await _broker(stack, settings.kafka, settings.gateway_id, topics, memory)
            yield GatewayParts(
                authenticator=authenticator,
                publisher=broker.publisher,
                consumer=broker.consumer,
                sessions=await _sessions(stack, settings.redis, memory),
                registrar=registrar,
                ownership=ownership,
                observer=observer,
                clock=SystemClock(),
                topics=topics,
                transcoder=await _transcoder(stack, settings),
                session_ttl_seconds=memory.sessions.ttl_seconds
                if settings.redis is None
                else settings.redis.session_ttl_seconds,
                health=broker.health,
            )

    return Composition(Gateway(settings, open_parts), observer, memory)


def kafka_access(kafka: KafkaSettings, /) -> "KafkaAccess":
    """How Kafka is reached.

    Raises:
        SettingsError: a TLS file can't be used.
    """
    from imgateway.adapters.kafka import KafkaAccess

    return KafkaAccess.from_settings(kafka)


def etcd_access(etcd: EtcdSettings, /) -> "EtcdAccess":
    """How etcd is reached.

    Raises:
        SettingsError: an endpoint is none.
    """
    from imgateway.adapters.etcd import EtcdAccess

    return EtcdAccess(
        etcd.endpoints,
        user=etcd.user,
        password=etcd.password,
        tls_ca=etcd.tls_ca,
        tls_cert=etcd.tls_cert,
        tls_key=etcd.tls_key,
    )


def _topics(kafka: KafkaSettings | None) -> Topics:
    if kafka is None:
        return Topics()
    return Topics(kafka.upstream_topic, kafka.downstream_topic_prefix, kafka.undelivered_topic)


async def _broker(
    stack: AsyncExitStack, kafka: KafkaSettings | None, gateway_id: GatewayId, topics: Topics, embedded: Embedded
) -> _Broker:
    own_topic, group = topics.downstream(gateway_id), topics.downstream_group(gateway_id)
    if kafka is None:
        publisher = await stack.enter_async_context(MemoryPublisher(embedded.broker))
        return _Broker(publisher, lambda: MemoryConsumer(embedded.broker, own_topic, group))
    from imgateway.adapters.kafka import UNDELIVERED_MAX_MESSAGE_BYTES, KafkaConsumer, KafkaPublisher, TopicPlan

    access = kafka_access(kafka)
    factor, create = kafka.replication_factor, kafka.create_topics
    plans = (
        TopicPlan(kafka.upstream_topic, kafka.upstream_partitions, factor),
        TopicPlan(kafka.low_priority_topic, kafka.upstream_partitions, factor),
        TopicPlan(
            kafka.undelivered_topic,
            kafka.downstream_partitions,
            factor,
            max_message_bytes=UNDELIVERED_MAX_MESSAGE_BYTES,
        ),
    )
    own = TopicPlan(own_topic, kafka.downstream_partitions, factor, kafka.downstream_retention_hours)
    writer = await stack.enter_async_context(KafkaPublisher(access, plans, create))
    return _Broker(
        writer,
        lambda: KafkaConsumer(access, own, group, f"imgateway-{gateway_id}", create),
        {"publisher": lambda: writer.available},
    )


async def _sessions(stack: AsyncExitStack, redis: RedisSettings | None, embedded: Embedded) -> SessionStore:
    if redis is None or redis.url is None:
        return embedded.sessions
    from imgateway.adapters.redis import RedisAccess, RedisSessionStore

    store = RedisSessionStore(RedisAccess(redis.url), redis.session_ttl_seconds, redis.key_prefix)
    return await stack.enter_async_context(aclosing(store))


async def _registry(
    stack: AsyncExitStack, etcd: EtcdSettings | None, embedded: Embedded
) -> tuple[ServiceRegistrar, GatewayOwnership]:
    if etcd is None:
        registrar = await stack.enter_async_context(aclosing(embedded.services.registrar()))
        return registrar, embedded.services.ownership()
    from imgateway.adapters.etcd import EtcdOwnership, EtcdRegistrar

    access = etcd_access(etcd)
    opened = EtcdRegistrar.open(access, lease_seconds=etcd.lease_seconds, prefix=etcd.prefix)
    return (
        await stack.enter_async_context(opened),
        await stack.enter_async_context(EtcdOwnership.open(access, lease_seconds=etcd.lease_seconds)),
    )


async def _transcoder(stack: AsyncExitStack, settings: Settings) -> Transcoder | None:
    grpc, etcd, resolver = settings.grpc, settings.etcd, None
    if grpc is None:
        return None
    from imgateway.adapters.grpc import GrpcTranscoder

    if etcd is not None and any(service.discover is not None for service in grpc.services.values()):
        from imgateway.adapters.etcd import EtcdResolver

        resolver = await stack.enter_async_context(EtcdResolver.open(etcd_access(etcd), prefix=etcd.prefix))
    return await stack.enter_async_context(GrpcTranscoder.open(grpc, resolver))

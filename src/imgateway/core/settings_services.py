"""The sections that name servers: each turns a real part on by being there."""

from typing import Literal

import attrs

from imgateway.core.settings_keys import key
from imgateway.core.settings_rules import (
    ETCD_ENDPOINT,
    HOST_AND_PORT,
    NAME,
    NOT_EMPTY,
    POSITIVE,
    REDIS_URL,
    REPLICATION,
    at_least,
    between,
    some,
)


@attrs.frozen
class KafkaSettings:
    """`[kafka]`: where messages go up and come down."""

    bootstrap_servers: tuple[str, ...] = attrs.field(
        default=(), metadata=key("Some brokers of the cluster.", rule=some(HOST_AND_PORT))
    )
    upstream_topic: str = attrs.field(
        default="im-upstream-topic", metadata=key("Where clients' messages are written.", rule=NAME)
    )
    low_priority_topic: str = attrs.field(
        default="im-upstream-low-topic",
        metadata=key("Where messages of less urgent classes are written; made, and not used yet.", rule=NAME),
    )
    downstream_topic_prefix: str = attrs.field(
        default="im-downstream-topic-",
        metadata=key("With the gateway's id behind it, the topic that this gateway alone reads.", rule=NAME),
    )
    undelivered_topic: str = attrs.field(
        default="im-undelivered-topic", metadata=key("Where messages go that reached nobody.", rule=NAME)
    )
    create_topics: bool = attrs.field(
        default=True, metadata=key("Make the topics that do not exist; otherwise they must.")
    )
    upstream_partitions: int = attrs.field(
        default=10, metadata=key("Partitions of the upstream topics, when made.", rule=between(1, 10_000))
    )
    downstream_partitions: int = attrs.field(
        default=3,
        metadata=key("Partitions of the downstream and the undelivered topic, when made.", rule=between(1, 10_000)),
    )
    replication_factor: int = attrs.field(
        default=-1, metadata=key("Replicas of a topic, when made; -1 for the broker's default.", rule=REPLICATION)
    )
    downstream_retention_hours: float = attrs.field(
        default=24.0,
        metadata=key("How long the downstream topic keeps records, when made.", unit="hours", rule=POSITIVE),
    )
    delivery_timeout_seconds: float = attrs.field(
        default=10.0,
        metadata=key(
            "A message not durable for so long is answered `UNAVAILABLE`: its outcome is unknown.",
            unit="seconds",
            rule=POSITIVE,
        ),
    )
    max_unsettled_records: int = attrs.field(
        default=10_000,
        metadata=key("Most records of a partition that are read and not yet settled.", rule=at_least(1)),
    )
    extra_as: Literal["object", "string"] = attrs.field(
        default="object", metadata=key("How `extra` stands in upstream records: as an object, or as its JSON text.")
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = attrs.field(
        default="PLAINTEXT", metadata=key("How brokers are spoken to.")
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = attrs.field(
        default="PLAIN", metadata=key("How to log in, with the SASL protocols.")
    )
    sasl_username: str | None = attrs.field(default=None, metadata=key("Who logs in.", rule=NOT_EMPTY))
    sasl_password: str | None = attrs.field(
        default=None, repr=False, metadata=key("The password of the login.", rule=NOT_EMPTY, secret=True)
    )
    ssl_cafile: str | None = attrs.field(
        default=None, metadata=key("PEM file of the authorities trusted; unset: the system's.", rule=NOT_EMPTY)
    )
    ssl_certfile: str | None = attrs.field(
        default=None, metadata=key("PEM file with our own certificate, where brokers ask for one.", rule=NOT_EMPTY)
    )
    ssl_keyfile: str | None = attrs.field(
        default=None, metadata=key("PEM file with our certificate's private key.", rule=NOT_EMPTY)
    )


@attrs.frozen
class RedisSettings:
    """`[redis]`: where presence is kept."""

    url: str | None = attrs.field(
        default=None,
        repr=False,
        metadata=key(
            "The server: redis://host:6379/0, or rediss:// with TLS; for a cluster redis+cluster:// or "
            "rediss+cluster:// and one of its nodes.",
            rule=REDIS_URL,
            secret=True,
        ),
    )
    session_ttl_seconds: float = attrs.field(
        default=60.0,
        metadata=key(
            "How long an entry outlives a gateway that has died; refreshed three times within it.",
            unit="seconds",
            rule=between(1, 86_400),
        ),
    )
    key_prefix: str = attrs.field(default="", metadata=key("Put before every key."))


@attrs.frozen
class EtcdSettings:
    """`[etcd]`: where gateways are found, and their ids owned."""

    endpoints: tuple[str, ...] = attrs.field(
        default=(), metadata=key("Members of the cluster: http://host:2379, or https://.", rule=some(ETCD_ENDPOINT))
    )
    lease_seconds: float = attrs.field(
        default=10.0,
        metadata=key("How long others wait before a gateway counts as dead.", unit="seconds", rule=between(2, 3600)),
    )
    prefix: str = attrs.field(default="/services/", metadata=key("Put before the name of a service.", rule=NOT_EMPTY))
    user: str | None = attrs.field(default=None, metadata=key("Who logs in, where etcd asks.", rule=NOT_EMPTY))
    password: str | None = attrs.field(
        default=None, repr=False, metadata=key("The password of the login.", rule=NOT_EMPTY, secret=True)
    )
    tls_ca: str | None = attrs.field(
        default=None, metadata=key("PEM file of the authorities trusted; unset: the system's.", rule=NOT_EMPTY)
    )
    tls_cert: str | None = attrs.field(
        default=None, metadata=key("PEM file with our own certificate, where etcd asks for one.", rule=NOT_EMPTY)
    )
    tls_key: str | None = attrs.field(
        default=None, metadata=key("PEM file with our certificate's private key.", rule=NOT_EMPTY)
    )

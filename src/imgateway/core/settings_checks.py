"""Which settings are wrong: every rule of a single key, and what keys demand of each other."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import attrs

from imgateway.core.settings import AuthSettings, Settings
from imgateway.core.settings_grpc_checks import grpc
from imgateway.core.settings_keys import key_info
from imgateway.core.settings_problems import Problem, certificate_and_key, file, shown, within
from imgateway.core.settings_rules import LONGEST_ID, REDIS_URL, is_loopback
from imgateway.core.settings_services import KafkaSettings

_LONGEST_TOPIC: Final = 249
_FRAME_OVERHEAD_BYTES: Final = 1024
_KEY_FAMILY: Final = {"HS": "HS", "RS": "RS and PS", "PS": "RS and PS", "ES": "ES", "Ed": "EdDSA"}
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to


def problems(settings: Settings, /, *, ignoring: Collection[str] = ()) -> tuple[Problem, ...]:
    """Everything that is wrong with `settings`, whose values must be of the right types.

    Looks whether named files can be read; does nothing else outside the process.

    Args:
        settings: what to look at.
        ignoring: keys, also in tables, already known to be wrong; nothing that depends on them is reported.
    """
    broken = tuple(problem for problem in _rule_problems(settings) if not problem.concerns(ignoring))
    wrong = frozenset(ignoring).union(*(problem.keys for problem in broken))
    return broken + tuple(
        problem for relation in _RELATIONS for problem in relation(settings) if not problem.concerns(wrong)
    )


def _rule_problems(settings: Settings) -> Iterator[Problem]:
    for section in attrs.fields(Settings):
        values = getattr(settings, section.name)
        if values is not None:
            yield from _rules_broken(section.name, values)


def _rules_broken(prefix: str, values: Any) -> Iterator[Problem]:
    for attribute in attrs.fields(type(values)):
        key, value, info = f"{prefix}.{attribute.name}", getattr(values, attribute.name), key_info(attribute)
        if value is not None and info.rule is not None and not info.rule.holds(value):
            yield Problem((key,), f"expected {info.rule.expectation}, got {shown(value, info)}")
        elif isinstance(value, Mapping):
            for name, member in value.items():
                if attrs.has(type(member)):
                    yield from _rules_broken(within(key, name), member)


def _tls(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    yield from certificate_and_key("server.tls_cert", server.tls_cert, "server.tls_key", server.tls_key)
    yield from file("server.tls_cert", server.tls_cert)
    yield from file("server.tls_key", server.tls_key)


def _admin(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    if server.admin_token is None and not is_loopback(server.admin_host):
        yield Problem(
            ("server.admin_token", "server.admin_host"),
            f"expected a token, since admin_host {shown(server.admin_host)} can be reached from other machines",
        )
    shared_address = server.host == server.admin_host or not _EVERYWHERE.isdisjoint((server.host, server.admin_host))
    if shared_address and server.port == server.admin_port != 0:
        yield Problem(
            ("server.admin_port", "server.port", "server.host", "server.admin_host"),
            f"expected a port other than server.port, got {server.admin_port}",
        )


def _sizes(settings: Settings) -> Iterator[Problem]:
    longest = settings.server.max_frame_bytes - _FRAME_OVERHEAD_BYTES
    if settings.connections.max_content_bytes > longest:
        yield Problem(
            ("connections.max_content_bytes", "server.max_frame_bytes"),
            f"expected at most {longest}, so that the message fits into server.max_frame_bytes "
            f"({settings.server.max_frame_bytes}), got {settings.connections.max_content_bytes}",
        )


def _token_keys(settings: Settings) -> Iterator[Problem]:
    """The rules of RFC 8725 section 3.1 and 3.5: one family of algorithms, and only its kind of key."""
    auth = settings.auth
    if auth.plugin != "jwt":
        return
    families = sorted({_KEY_FAMILY[algorithm[:2]] for algorithm in auth.algorithms})
    if len(families) != 1:
        yield Problem(("auth.algorithms",), f"expected algorithms of one family, got {shown(auth.algorithms)}")
    elif families == ["HS"]:
        if auth.secret is None and auth != AuthSettings():
            yield Problem(("auth.secret", "auth.algorithms"), "expected a secret, since the algorithms are HS")
        for key, value in (("auth.public_key_file", auth.public_key_file), ("auth.jwks_url", auth.jwks_url)):
            if value is not None:
                yield Problem(
                    (key, "auth.algorithms"), "expected none, since the algorithms are HS and use auth.secret"
                )
    else:
        if auth.secret is not None:
            yield Problem(("auth.secret", "auth.algorithms"), f"expected none, since the algorithms are {families[0]}")
        if (auth.public_key_file is None) == (auth.jwks_url is None):
            yield Problem(
                ("auth.public_key_file", "auth.jwks_url", "auth.algorithms"),
                f"expected exactly one of public_key_file and jwks_url, since the algorithms are {families[0]}",
            )
    yield from file("auth.public_key_file", auth.public_key_file)


def _kafka(settings: Settings) -> Iterator[Problem]:
    kafka = settings.kafka
    if kafka is None:
        return
    protocol = kafka.security_protocol
    for name, what in (("sasl_username", "a user name"), ("sasl_password", "a password")):
        value = getattr(kafka, name)
        if protocol.startswith("SASL") and value is None:
            yield Problem(
                (f"kafka.{name}", "kafka.security_protocol"),
                f"expected {what}, since kafka.security_protocol is {protocol}",
            )
        elif not protocol.startswith("SASL") and value is not None:
            yield Problem(
                (f"kafka.{name}", "kafka.security_protocol"),
                f"expected none, since kafka.security_protocol is {protocol}, without a login",
            )
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if not protocol.endswith("SSL") and getattr(kafka, name) is not None:
            yield Problem(
                (f"kafka.{name}", "kafka.security_protocol"),
                f"expected none, since kafka.security_protocol is {protocol}, without TLS",
            )
        yield from file(f"kafka.{name}", getattr(kafka, name))
    yield from certificate_and_key("kafka.ssl_certfile", kafka.ssl_certfile, "kafka.ssl_keyfile", kafka.ssl_keyfile)
    yield from _topics(kafka, settings)


def _topics(kafka: KafkaSettings, settings: Settings) -> Iterator[Problem]:
    suffix = _longest_suffix(settings)
    longest = _LONGEST_TOPIC - len(kafka.downstream_topic_prefix) - len(suffix)
    if len(settings.gateway_id) > longest:
        yield Problem(
            ("gateway.id", "kafka.downstream_topic_prefix", "server.workers"),
            f"expected at most {longest} characters, so that the topic's name is no longer than {_LONGEST_TOPIC}"
            f"{_for_workers(suffix)}, got {len(settings.gateway_id)}",
        )
    keys_by_topic: dict[str, str] = {}
    prefix = kafka.downstream_topic_prefix
    for key, topic in (
        ("kafka.upstream_topic", kafka.upstream_topic),
        ("kafka.low_priority_topic", kafka.low_priority_topic),
        ("kafka.undelivered_topic", kafka.undelivered_topic),
        *(("kafka.downstream_topic_prefix", f"{prefix}{gateway_id}") for gateway_id in settings.gateway_ids),
    ):
        other = keys_by_topic.setdefault(topic, key)
        if other != key:
            yield Problem((key, other), f"expected another topic than that of {other}, got {shown(topic)}")


def _workers(settings: Settings) -> Iterator[Problem]:
    if settings.server.workers == 1:
        return
    missing = [section for section in ("kafka", "redis") if getattr(settings, section) is None]
    if missing:
        absent = " and no ".join(f"[{section}]" for section in missing)
        yield Problem(
            ("server.workers", *missing),
            f"expected 1, since there is no {absent}, through which workers share messages and presence, "
            f"got {settings.server.workers}",
        )
    suffix = _longest_suffix(settings)
    longest = LONGEST_ID - len(suffix)
    if len(settings.gateway_id) > longest:
        yield Problem(
            ("gateway.id", "server.workers"),
            f"expected at most {longest} characters{_for_workers(suffix)}, got {len(settings.gateway_id)}",
        )


def _longest_suffix(settings: Settings) -> str:
    """What the last worker adds to the gateway's id."""
    return f"-{settings.server.workers}" if settings.server.workers > 1 else ""


def _for_workers(suffix: str) -> str:
    return f" with a worker's {suffix} behind it" if suffix else ""


def _redis(settings: Settings) -> Iterator[Problem]:
    if settings.redis is not None and settings.redis.url is None:
        yield Problem(("redis.url",), f"expected {REDIS_URL.expectation}, since there is a section [redis]")


def _etcd(settings: Settings) -> Iterator[Problem]:
    etcd = settings.etcd
    if etcd is None:
        return
    login = (("etcd.user", etcd.user, "a user name"), ("etcd.password", etcd.password, "a password"))
    for (key, value, what), (other, others, _) in (login, login[::-1]):
        if value is None and others is not None:
            yield Problem((key, other), f"expected {what}, since {other} is set")
    if settings.server.port == 0 and settings.gateway.advertise is None:
        yield Problem(
            ("gateway.advertise", "server.port", "etcd.endpoints"),
            "expected host:port, since server.port is 0 and etcd is to tell others where this gateway is",
        )
    encrypted = any(endpoint.startswith("https:") for endpoint in etcd.endpoints)
    for name in ("tls_ca", "tls_cert", "tls_key"):
        if not encrypted and getattr(etcd, name) is not None:
            yield Problem((f"etcd.{name}", "etcd.endpoints"), "expected none, since no endpoint is https://")
        yield from file(f"etcd.{name}", getattr(etcd, name))
    yield from certificate_and_key("etcd.tls_cert", etcd.tls_cert, "etcd.tls_key", etcd.tls_key)


_RELATIONS: Final[tuple[Callable[[Settings], Iterator[Problem]], ...]] = (
    _tls,
    _admin,
    _sizes,
    _workers,
    _token_keys,
    _kafka,
    _redis,
    _etcd,
    grpc,
)

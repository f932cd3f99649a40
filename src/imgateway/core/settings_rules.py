"""What one setting's value must be beyond its type, as values that know their own wording."""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import attrs

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2 asks for a key at least as long as the hash of HS256."""

LONGEST_ID: Final = 200
"""Most characters of a gateway's id."""

_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_ID}}}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_REDIS_TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_PLACEHOLDERS = ("changeme", "yoursecret", "mysecret", "supersecret", "secretkey", "placeholder", "replaceme")


@attrs.frozen
class Rule:
    """A condition on a value of the right type.

    Attributes:
        expectation: completes "expected …".
        holds: whether a value meets it. Pure, never raises.
    """

    expectation: str
    holds: Callable[[Any], bool]


def between(low: int, high: int, /) -> Rule:
    """A number from `low` to `high`, both included."""
    return Rule(f"a number from {low} to {high}", lambda value: low <= value <= high)


def at_least(low: int, /) -> Rule:
    """A number not below `low`."""
    return Rule(f"a number of at least {low}", lambda value: value >= low)


def each(rule: Rule, /) -> Rule:
    """A list whose every element meets `rule`."""
    return Rule(f"a list, each element {rule.expectation}", lambda values: all(map(rule.holds, values)))


def some(rule: Rule, /) -> Rule:
    """A list of at least one element, each of which meets `rule`."""
    return Rule(
        f"a list of at least one, each element {rule.expectation}",
        lambda values: bool(values) and all(map(rule.holds, values)),
    )


POSITIVE: Final = Rule("a number above 0", lambda value: value > 0)
NOT_EMPTY: Final = Rule("a text that is not empty", lambda value: bool(value.strip()))


def is_loopback(host: str, /) -> bool:
    """Whether `host` can be reached from this machine only. A name other than `localhost` is not trusted to be."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def _is_host_and_port(value: str) -> bool:
    match = _HOST_AND_PORT.fullmatch(value)
    return match is not None and 1 <= int(match[2]) <= 65535


def _is_origin(value: str) -> bool:
    if value == "*":
        return True
    try:
        parts = urlsplit(value)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        port_is_number
        and _SCHEME.fullmatch(parts.scheme) is not None
        and bool(parts.hostname)
        and value == f"{parts.scheme}://{parts.netloc}".lower()
        and "@" not in parts.netloc
        and not re.search(r"[\s\x00-\x1f*]", parts.netloc)
    )


def _is_jwks_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment or re.search(r"[\s\x00-\x1f]", value):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _is_redis_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    kind, _, cluster = parts.scheme.partition("+")
    # redis-py takes many more options in a query, some of which would undo what the gateway relies on.
    options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    return (
        kind in ("redis", "rediss")
        and parts.scheme in (kind, f"{kind}+cluster")
        and bool(parts.hostname)
        and port_is_number
        and re.fullmatch(r"/?0?" if cluster else r"(/[0-9]{0,9})?", parts.path) is not None
        and options <= (_REDIS_TLS_FILES if kind == "rediss" else set())
        and not parts.fragment
        and not re.search(r"[\s\x00-\x1f]", value)
    )


def _is_etcd_endpoint(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    bare = f"{parts.scheme}://{parts.netloc}"
    return (
        port_is_number
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and value in (bare, f"{bare}/")
        and not re.search(r"[@\s\x00-\x1f]", parts.netloc)
    )


def _is_real_secret(value: str) -> bool:
    if len(value.encode("utf-8", "replace")) < MIN_SECRET_BYTES:
        return False
    period = (value + value).find(value, 1)
    bare = re.sub(r"[^a-z]", "", value.lower())
    return period > 8 and not any(word in bare for word in _PLACEHOLDERS)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _is_claim_value(value: object) -> bool:
    return all(map(_is_scalar, value)) if isinstance(value, list) else _is_scalar(value)


def _are_claims(value: Mapping[str, Any]) -> bool:
    return all(name and _is_claim_value(wanted) for name, wanted in value.items())


GATEWAY_ID: Final = Rule(
    "1 to 200 characters out of A-Z a-z 0-9 . _ - (it becomes part of a topic's name)",
    lambda value: _ID.fullmatch(value) is not None,
)
NAME: Final = Rule("1 to 200 characters out of A-Z a-z 0-9 . _ -", lambda value: _ID.fullmatch(value) is not None)
HOST: Final = Rule("a host name or an IP address", lambda value: _HOST.fullmatch(value) is not None)
HOST_AND_PORT: Final = Rule('"host:port"', _is_host_and_port)
NETWORK: Final = Rule('an IP address or a network like "10.0.0.0/8"', _is_network)
ORIGIN: Final = Rule('an origin like "https://chat.example.com", in lower case without a path, or "*"', _is_origin)
JWKS_URL: Final = Rule("an https:// URL without credentials (http:// for this machine only)", _is_jwks_url)
SECRET: Final = Rule(
    f"at least {MIN_SECRET_BYTES} random bytes and no placeholder "
    "(python -c 'import secrets; print(secrets.token_urlsafe(32))')",
    _is_real_secret,
)
CLAIMS: Final = Rule("claim names with a text, a number, a boolean or a list of these each", _are_claims)
REDIS_URL: Final = Rule("redis://host:port/database, or rediss:// with TLS", _is_redis_url)
ETCD_ENDPOINT: Final = Rule("http://host:port or https://host:port, without credentials", _is_etcd_endpoint)
REPLICATION: Final = Rule("a number of at least 1, or -1", lambda value: value == -1 or value >= 1)

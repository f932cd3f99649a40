"""Service instances as keys and values: `{prefix}{name}/{id}` = JSON."""

import json
import re
from typing import Any, TypeGuard

import attrs

from imgateway.model import ServiceInstance

MAX_VALUE_BYTES = 64 * 1024
_UNSAFE = re.compile(r"[%/\x00-\x1f\x7f]")
_HOST = re.compile(r"[^\s/@\[\]\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_GO_ADDRESS = re.compile(r"(?:\[([^\]]+)\]|([^:\]\[]+)):([0-9]{1,5})")


def segment(text: str, /) -> str:
    """`text` as one segment of a key: "/", "%" and control characters %-escaped (RFC 3986 section 2.1), nothing else.

    Different texts give different segments, and none reaches out of its place.
    """
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", text)


def _ending_in_slash(prefix: str) -> str:
    return f"{prefix.rstrip('/')}/"


@attrs.frozen
class InstanceKeys:
    """Where instances are kept."""

    prefix: str = attrs.field(default="/services/", converter=_ending_in_slash)

    def service(self, name: str, /) -> bytes:
        """What the keys of all its instances, and no others, begin with."""
        return f"{self.prefix}{segment(name)}/".encode()

    def instance(self, instance: ServiceInstance, /) -> bytes:
        """The key of one instance."""
        return self.service(instance.name) + segment(instance.id).encode()


def to_value(instance: ServiceInstance, /) -> bytes:
    """As others read it: `{"id", "name", "address", "port", "metadata"?}`."""
    value: dict[str, Any] = {
        "id": instance.id,
        "name": instance.name,
        "address": instance.address,
        "port": instance.port,
    }
    if instance.metadata:
        value["metadata"] = dict(instance.metadata)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def from_value(name: str, key_segment: str, value: bytes, /) -> ServiceInstance | None:
    """The instance of service `name` that stands at the key's last segment; None if what stands there is none.

    Two forms are known: ours, which must agree with its key, and the one of Go's endpoints manager
    (go.etcd.io/etcd/client/v3/naming/endpoints), `{"Op": 0, "Addr": "host:port", "Metadata"?}`; its id is the segment.
    """
    if len(value) > MAX_VALUE_BYTES:
        return None
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    return _go_instance(name, key_segment, parsed) if "Addr" in parsed else _own_instance(name, key_segment, parsed)


def _own_instance(name: str, key_segment: str, parsed: dict[str, Any]) -> ServiceInstance | None:
    instance_id, address, port = parsed.get("id"), parsed.get("address"), parsed.get("port")
    if not isinstance(instance_id, str) or segment(instance_id) != key_segment or parsed.get("name") != name:
        return None
    if isinstance(address, str) and address.startswith("[") and address.endswith("]"):
        address = address[1:-1]  # IPv6, as it stands in URLs
    if not isinstance(address, str) or not _HOST.fullmatch(address) or not _is_port(port):
        return None
    return ServiceInstance(name, instance_id, address, port, _texts(parsed.get("metadata")))


def _go_instance(name: str, key_segment: str, parsed: dict[str, Any]) -> ServiceInstance | None:
    address = parsed["Addr"]
    match = _GO_ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or parsed.get("Op", 0) != 0 or "/" in key_segment:
        return None
    host, port = match[1] or match[2], int(match[3])
    if not _HOST.fullmatch(host) or not _is_port(port):
        return None
    return ServiceInstance(name, key_segment, host, port, _texts(parsed.get("Metadata")))


def _is_port(port: object) -> TypeGuard[int]:
    return type(port) is int and 0 < port < 65_536


def _texts(metadata: object) -> dict[str, str]:
    """What can be used of it: no call depends on it, so no instance is refused for it."""
    if not isinstance(metadata, dict):
        return {}
    return {name: value for name, value in metadata.items() if isinstance(value, str)}

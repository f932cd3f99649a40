"""Settings the contract names whose part is not in this version. One table; an entry goes when its part comes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PENDING_SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "limits": "there are no rate limits; max_per_ip, max_total and max_per_user of [connections] are there",
        "degradation": "load is not shed by class",
    }
)
"""Section to what holds instead."""

PENDING_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "connections.ack_timeout_seconds": "clients can't acknowledge deliveries",
        "connections.resume_window_seconds": "sessions can't be resumed",
        "observability.otlp_endpoint": "there is no tracing",
    }
)
"""Key to what holds instead."""

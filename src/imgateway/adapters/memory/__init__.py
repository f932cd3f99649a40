"""Every port within the process: for the embedded gateway, for tests, and as the model for the real adapters."""

from imgateway.adapters.memory.balancer import MemoryBalancer
from imgateway.adapters.memory.broker import MemoryBroker
from imgateway.adapters.memory.consumer import MemoryConsumer
from imgateway.adapters.memory.embedded import Embedded, embedded_gateway
from imgateway.adapters.memory.observer import CountingObserver
from imgateway.adapters.memory.publisher import MemoryPublisher
from imgateway.adapters.memory.services import (
    MemoryOwnership,
    MemoryRegistrar,
    MemoryResolver,
    MemoryServiceRegistry,
)
from imgateway.adapters.memory.sessions import MemorySessionStore
from imgateway.adapters.memory.transcoder import MemoryTranscoder

__all__ = [
    "CountingObserver",
    "Embedded",
    "MemoryBalancer",
    "MemoryBroker",
    "MemoryConsumer",
    "MemoryOwnership",
    "MemoryPublisher",
    "MemoryRegistrar",
    "MemoryResolver",
    "MemoryServiceRegistry",
    "MemorySessionStore",
    "MemoryTranscoder",
    "embedded_gateway",
]

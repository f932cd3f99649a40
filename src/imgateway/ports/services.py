"""Finding services, being found, and owning a gateway id."""

from collections.abc import Callable, Sequence
from typing import Protocol

from imgateway.model import GatewayId, ServiceInstance


class ServiceRegistrar(Protocol):
    """Makes an instance known to others for as long as it lives."""

    async def register(self, instance: ServiceInstance, /) -> None:
        """Make it known, bound to a lease that is kept, and restored after any loss, until `deregister`.

        Idempotent; a second call with the same name and id replaces what is known.

        Raises:
            ServiceUnavailableError: the registry can't be reached; may be tried again.
        """
        ...

    async def deregister(self, instance: ServiceInstance, /) -> None:
        """Make it unknown. Idempotent, and harmless if another process has taken the same id since."""
        ...

    async def aclose(self) -> None:
        """Deregister everything and release what is held. Idempotent."""
        ...


class ServiceResolver(Protocol):
    """Finds the instances of services. Answers from memory; follows changes in the background."""

    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        """The instances known now, by id; the first question about a service waits for the first answer.

        While the registry can't be reached the last good answer stays.

        Raises:
            ServiceUnavailableError: nothing is known yet and the registry can't be reached.
        """
        ...

    def watch(self, name: str, on_change: Callable[[Sequence[ServiceInstance]], None], /) -> Callable[[], None]:
        """Call `on_change` with the whole set after every change; returns what ends it. `on_change` must not block."""
        ...

    async def aclose(self) -> None:
        """Stop following. Idempotent."""
        ...


class GatewayOwnership(Protocol):
    """At most one living process owns a gateway id, and with it the id's downstream topic."""

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        """Own the id when this returns; waits while another process does.

        Raises:
            ServiceUnavailableError: the registry can't be reached; may be tried again.
        """
        ...

    @property
    def held(self) -> bool:
        """Whether the id is certainly ours still, by our own monotonic clock. Never blocks."""
        ...

    async def wait_lost(self) -> None:
        """Return when an ownership that was acquired is, or may be, lost without `release`."""
        ...

    async def release(self) -> None:
        """Give the id up. Idempotent."""
        ...

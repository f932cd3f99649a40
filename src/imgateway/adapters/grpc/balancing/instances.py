"""How it is known where a service's instances are."""

from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from imgateway.core.settings import authority
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ServiceInstance
from imgateway.ports import ServiceResolver

OnAddresses = Callable[[frozenset[str]], None]


class Instances(Protocol):
    """Where the instances are, now and after every change."""

    async def follow(self, on_addresses: OnAddresses, /) -> Callable[[], None]:
        """Tell the addresses, `host:port`, now and whenever they change; returns what ends it."""
        ...


@attrs.frozen
class StaticTarget:
    """One address, for ever."""

    address: str

    async def follow(self, on_addresses: OnAddresses, /) -> Callable[[], None]:
        """Tell it once."""
        on_addresses(frozenset({self.address}))
        return lambda: None


@attrs.frozen
class Discovered:
    """What a registry knows under a name. While it can't be reached the last known addresses stay."""

    resolver: ServiceResolver
    name: str

    async def follow(self, on_addresses: OnAddresses, /) -> Callable[[], None]:
        """Tell what the registry says. Does not wait for a registry that can't be reached."""

        def tell(instances: Iterable[ServiceInstance]) -> None:
            on_addresses(frozenset(authority(instance.address, instance.port) for instance in instances))

        end = self.resolver.watch(self.name, tell)
        try:
            tell(await self.resolver.resolve(self.name))
        except ServiceUnavailableError:
            pass  # the watch tells as soon as it is there
        except BaseException:
            end()
            raise
        return end

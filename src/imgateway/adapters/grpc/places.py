"""Where the services are: one balancer for each place, whatever many services are there."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import attrs

from imgateway.adapters.grpc.balancing import Discovered, GrpcBalancer, Instances, StaticTarget, TlsFiles
from imgateway.core.settings_grpc import ANY_SERVICE, GrpcSettings, Place
from imgateway.errors import SettingsError
from imgateway.ports import ServiceResolver


@attrs.frozen
class Places:
    """The balancers, by place and by service."""

    balancers: Mapping[Place, GrpcBalancer]
    _by_service: Mapping[str, GrpcBalancer]

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        settings: GrpcSettings,
        resolver: ServiceResolver | None,
        on_newest: Callable[[Place], None],
        /,
    ) -> "Places":
        """Open a balancer for each place; `stack` closes them.

        Raises:
            SettingsError: a TLS file can't be read, or a service is to be discovered without a registry.
        """
        tls = TlsFiles.of(settings)
        balancers: dict[Place, GrpcBalancer] = {}
        for place in settings.places:
            opened = GrpcBalancer.open(
                _instances(place, resolver),
                service=place.health_service,
                tls=tls,
                max_response_bytes=settings.max_response_bytes,
                on_newest=partial(on_newest, place),
            )
            balancers[place] = await stack.enter_async_context(opened)
        return cls(balancers, {name: balancer for place, balancer in balancers.items() for name in place.services})

    def of(self, rpc: str, /) -> GrpcBalancer:
        """The balancer for a method of a service that has a place."""
        services = self._by_service
        return services.get(rpc.partition("/")[0]) or services[ANY_SERVICE]


def _instances(place: Place, resolver: ServiceResolver | None) -> Instances:
    if not place.discovered:
        return StaticTarget(place.name)
    if resolver is None:
        raise SettingsError(["grpc.services: discover needs [etcd]"])
    return Discovered(resolver, place.name)

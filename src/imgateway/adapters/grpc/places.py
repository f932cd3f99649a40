"""Where the services are: one balancer for each place, whatever many services are there."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import attrs

from imgateway.adapters.grpc.balancing import Discovered, GrpcBalancer, Instances, StaticTarget, TlsFiles
from imgateway.core.settings_grpc import ANY_SERVICE, GrpcServiceSettings, GrpcSettings
from imgateway.errors import SettingsError
from imgateway.ports import ServiceResolver


@attrs.frozen
class Places:
    """The balancers, by place and by service."""

    balancers: Mapping[GrpcServiceSettings, GrpcBalancer]
    _services: Mapping[str, GrpcServiceSettings]

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        settings: GrpcSettings,
        resolver: ServiceResolver | None,
        on_endpoint: Callable[[GrpcServiceSettings], None],
        /,
    ) -> "Places":
        """Open a balancer for each place; `stack` closes them.

        Raises:
            SettingsError: a TLS file can't be read, or a service is to be discovered without a registry.
        """
        tls = TlsFiles.of(settings)
        balancers: dict[GrpcServiceSettings, GrpcBalancer] = {}
        for place in settings.services.values():
            if place in balancers:
                continue
            here = [name for name, other in settings.services.items() if other == place]
            opened = GrpcBalancer.open(
                _instances(place, resolver),
                service=here[0] if len(here) == 1 and here[0] != ANY_SERVICE else "",
                tls=tls,
                max_response_bytes=settings.max_response_bytes,
                on_endpoint=lambda place=place: on_endpoint(place),  # type: ignore[misc]  # mypy can't infer it
            )
            balancers[place] = await stack.enter_async_context(opened)
        return cls(balancers, settings.services)

    def of(self, rpc: str, /) -> GrpcBalancer:
        """The balancer for a method of a service that has a place."""
        services = self._services
        return self.balancers[services.get(rpc.partition("/")[0]) or services[ANY_SERVICE]]


def _instances(place: GrpcServiceSettings, resolver: ServiceResolver | None) -> Instances:
    if place.target is not None:
        return StaticTarget(place.target)
    if resolver is None or place.discover is None:
        raise SettingsError(["grpc.services: discover needs [etcd]"])
    return Discovered(resolver, place.discover)

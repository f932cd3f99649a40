"""Registration, discovery and ownership within the process: several gateways of one process share one registry."""

from collections.abc import Callable, Sequence

import anyio
import anyio.lowlevel
import attrs

from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import GatewayId, ServiceInstance

OnChange = Callable[[Sequence[ServiceInstance]], None]


@attrs.define(eq=False)
class MemoryServiceRegistry:
    """What is registered and who owns which gateway id. `lose` and `revoke` do what a lapsed lease does.

    Attributes:
        down: whether nobody can reach it, as when the servers behind a real one are gone.
    """

    down: bool = attrs.field(default=False, init=False)
    _services: dict[str, dict[str, tuple[ServiceInstance, "MemoryRegistrar"]]] = attrs.field(factory=dict, init=False)
    _watchers: dict[str, list[OnChange]] = attrs.field(factory=dict, init=False)
    _owners: dict[GatewayId, "MemoryOwnership"] = attrs.field(factory=dict, init=False)
    _released: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def registrar(self) -> "MemoryRegistrar":
        """A registrar, as one process has it."""
        return MemoryRegistrar(self)

    def resolver(self) -> "MemoryResolver":
        """A resolver, as one process has it."""
        return MemoryResolver(self)

    def ownership(self) -> "MemoryOwnership":
        """An ownership, as one process has it."""
        return MemoryOwnership(self)

    def lose(self, name: str, instance_id: str, /) -> None:
        """Forget an instance as if its lease had lapsed; its registrar puts it back."""
        entry = self._services.get(name, {}).get(instance_id)
        if entry is not None:
            instance, registrar = entry
            self._take_out(instance, registrar)
            registrar._restore(instance)

    def revoke(self, gateway_id: GatewayId, /) -> None:
        """Take the id from its owner as if the owner's lease had lapsed."""
        owner = self._owners.get(gateway_id)
        if owner is not None:
            self._free(gateway_id, owner)
            owner._lost.set()

    def _reach(self) -> None:
        if self.down:
            raise ServiceUnavailableError("the registry can't be reached")

    def _instances(self, name: str) -> list[ServiceInstance]:
        entries = self._services.get(name, {})
        return [entries[instance_id][0] for instance_id in sorted(entries)]

    def _put(self, instance: ServiceInstance, registrar: "MemoryRegistrar") -> None:
        self._services.setdefault(instance.name, {})[instance.id] = instance, registrar
        self._changed(instance.name)

    def _take_out(self, instance: ServiceInstance, registrar: "MemoryRegistrar") -> None:
        entries = self._services.get(instance.name, {})
        there = entries.get(instance.id)
        if there is None or there[1] is not registrar:
            return
        del entries[instance.id]
        if not entries:
            del self._services[instance.name]
        self._changed(instance.name)

    def _changed(self, name: str) -> None:
        for on_change in tuple(self._watchers.get(name, ())):
            on_change(self._instances(name))

    def _free(self, gateway_id: GatewayId, owner: "MemoryOwnership") -> None:
        if self._owners.get(gateway_id) is owner:
            del self._owners[gateway_id]
            self._released.set()
            self._released = anyio.Event()


@attrs.define(eq=False)
class MemoryRegistrar:
    """Implements `ports.ServiceRegistrar`; made by `MemoryServiceRegistry.registrar`."""

    _registry: MemoryServiceRegistry
    _mine: dict[tuple[str, str], ServiceInstance] = attrs.field(factory=dict, init=False)

    async def register(self, instance: ServiceInstance, /) -> None:
        """Make an instance known, in place of what has its name and id.

        Raises:
            ServiceUnavailableError: the registry is down.
        """
        await anyio.lowlevel.checkpoint()
        self._registry._reach()
        self._mine[instance.name, instance.id] = instance
        self._registry._put(instance, self)

    async def deregister(self, instance: ServiceInstance, /) -> None:
        """Make it unknown, unless another registrar has taken its id since."""
        await anyio.lowlevel.checkpoint()
        self._forget(instance)

    async def aclose(self) -> None:
        """Deregister everything. Never waits, so that cancellation can't cut it short."""
        for instance in tuple(self._mine.values()):
            self._forget(instance)

    def _restore(self, instance: ServiceInstance) -> None:
        self._registry._put(instance, self)

    def _forget(self, instance: ServiceInstance) -> None:
        self._mine.pop((instance.name, instance.id), None)
        self._registry._take_out(instance, self)


@attrs.define(eq=False)
class MemoryResolver:
    """Implements `ports.ServiceResolver`; made by `MemoryServiceRegistry.resolver`."""

    _registry: MemoryServiceRegistry
    _watched: list[tuple[str, OnChange]] = attrs.field(factory=list, init=False)
    _known: dict[str, Sequence[ServiceInstance]] = attrs.field(factory=dict, init=False)

    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        """The instances known now, by id.

        Raises:
            ServiceUnavailableError: the registry is down, and this service was never asked about.
        """
        await anyio.lowlevel.checkpoint()
        if not self._registry.down:
            self._known[name] = self._registry._instances(name)
        elif name not in self._known:
            self._registry._reach()
        return self._known[name]

    def watch(self, name: str, on_change: OnChange, /) -> Callable[[], None]:
        """Call `on_change` with the whole set after every change, within the change."""
        # Its own object even if the same callable watches twice, so that each end ends one.
        entry = (name, lambda instances: on_change(instances))
        self._watched.append(entry)
        self._registry._watchers.setdefault(name, []).append(entry[1])
        return lambda: self._unwatch(entry)

    async def aclose(self) -> None:
        """End every watch."""
        for entry in tuple(self._watched):
            self._unwatch(entry)

    def _unwatch(self, entry: tuple[str, OnChange]) -> None:
        if entry not in self._watched:
            return
        self._watched.remove(entry)
        watchers = self._registry._watchers[entry[0]]
        watchers.remove(entry[1])
        if not watchers:
            del self._registry._watchers[entry[0]]


@attrs.define(eq=False)
class MemoryOwnership:
    """Implements `ports.GatewayOwnership`; made by `MemoryServiceRegistry.ownership`. Owns one id at a time."""

    _registry: MemoryServiceRegistry
    _gateway_id: GatewayId | None = attrs.field(default=None, init=False)
    _lost: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        """Own the id; wait while another one does.

        Raises:
            LifecycleError: another id is held already.
            ServiceUnavailableError: the registry is down.
        """
        await anyio.lowlevel.checkpoint()
        self._registry._reach()
        if self.held:
            if gateway_id == self._gateway_id:
                return
            raise LifecycleError(f"{self._gateway_id} is held already")
        while gateway_id in self._registry._owners:
            await self._registry._released.wait()
        self._registry._owners[gateway_id] = self
        self._gateway_id = gateway_id
        self._lost = anyio.Event()

    @property
    def held(self) -> bool:
        """Whether the id is ours."""
        return self._gateway_id is not None and self._registry._owners.get(self._gateway_id) is self

    async def wait_lost(self) -> None:
        """Return when the id was revoked."""
        await self._lost.wait()

    async def release(self) -> None:
        """Give the id up. Never waits, so that cancellation can't cut it short."""
        if self._gateway_id is not None:
            self._registry._free(self._gateway_id, self)
            self._gateway_id = None

"""Registration and discovery: the memory registry holds to the contracts, broken ones do not."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest

from imgateway.adapters.memory import MemoryRegistrar, MemoryResolver, MemoryServiceRegistry
from imgateway.adapters.memory.services import OnChange
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ServiceInstance
from imgateway.ports import ServiceRegistrar, ServiceResolver
from imgateway.testing import Discovery, ServiceRegistrarSuite, ServiceResolverSuite, assert_caught


class _MemoryDiscovery:
    registrar: Callable[[MemoryServiceRegistry], ServiceRegistrar] = MemoryRegistrar
    resolver: Callable[[MemoryServiceRegistry], ServiceResolver] = MemoryResolver

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Discovery]:
        registry = MemoryServiceRegistry()

        async def lose(name: str, instance_id: str) -> None:
            registry.lose(name, instance_id)

        async def reachable(is_reachable: bool) -> None:
            registry.down = not is_reachable

        yield Discovery(self.registrar(registry), self.registrar(registry), self.resolver(registry), lose, reachable)


@pytest.mark.anyio
class TestMemoryRegistrar(_MemoryDiscovery, ServiceRegistrarSuite):
    pass


@pytest.mark.anyio
class TestMemoryResolver(_MemoryDiscovery, ServiceResolverSuite):
    pass


class ForgetsTheMetadata(MemoryRegistrar):
    async def register(self, instance: ServiceInstance, /) -> None:
        await super().register(attrs.evolve(instance, metadata={}))


class KeepsTheFirst(MemoryRegistrar):
    async def register(self, instance: ServiceInstance, /) -> None:
        if (instance.name, instance.id) not in self._mine:
            await super().register(instance)


class DeregistersTheService(MemoryRegistrar):
    async def deregister(self, instance: ServiceInstance, /) -> None:
        for each in [*self._mine.values()]:
            if each.name == instance.name:
                await super().deregister(each)


class DeregistersByKey(MemoryRegistrar):
    """Deletes the key, whosever it is by now."""

    def _forget(self, instance: ServiceInstance) -> None:
        entry = self._registry._services.get(instance.name, {}).get(instance.id)
        if entry is not None:
            self._registry._take_out(*entry)


class LetsTheLeaseLapse(MemoryRegistrar):
    def _restore(self, instance: ServiceInstance) -> None:
        pass


class RestoresTheFirst(MemoryRegistrar):
    def _restore(self, instance: ServiceInstance) -> None:
        super()._restore(self.__dict__["first"])

    async def register(self, instance: ServiceInstance, /) -> None:
        self.__dict__.setdefault("first", instance)
        await super().register(instance)


class ClosesTheLast(MemoryRegistrar):
    async def aclose(self) -> None:
        if self._mine:
            self._forget([*self._mine.values()][-1])


class SwallowsFailure(MemoryRegistrar):
    async def register(self, instance: ServiceInstance, /) -> None:
        try:
            await super().register(instance)
        except ServiceUnavailableError:
            return


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (ForgetsTheMetadata, "a_registered_instance_is_found"),
        (KeepsTheFirst, "registering_again_replaces"),
        (DeregistersTheService, "a_deregistered_instance_is_gone"),
        (DeregistersByKey, "deregistering_leaves_what_another_process_took"),
        (LetsTheLeaseLapse, "a_lost_registration_is_restored"),
        (RestoresTheFirst, "a_lost_registration_is_restored"),
        (ClosesTheLast, "closing_deregisters_everything"),
        (SwallowsFailure, "registering_may_be_tried_again"),
    ],
)
async def test_broken_registrars_are_caught(
    broken: Callable[[MemoryServiceRegistry], ServiceRegistrar], clauses: str
) -> None:
    suite = TestMemoryRegistrar()
    suite.registrar = broken
    await assert_caught(suite, *clauses.split())


class AnyOrder(MemoryResolver):
    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        return (await super().resolve(name))[::-1]


class TakesPrefixes(MemoryResolver):
    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        names = [each for each in self._registry._services if each.startswith(name)]
        return [instance for each in names for instance in await super(TakesPrefixes, self).resolve(each)]


class AsksOnce(MemoryResolver):
    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        return self._known[name] if name in self._known else await super().resolve(name)


class OneList(MemoryResolver):
    """The answers are its own list, which it goes on changing."""

    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        mine = self.__dict__.setdefault("mine", {}).setdefault(name, [])
        mine[:] = await super().resolve(name)
        return mine  # type: ignore[no-any-return]  # __dict__ knows no types


class TellsOnlyTheNew(MemoryResolver):
    def watch(self, name: str, on_change: OnChange, /) -> Callable[[], None]:
        told: list[ServiceInstance] = []

        def tell(instances: Sequence[ServiceInstance]) -> None:
            on_change([each for each in instances if each not in told])
            told.extend(instances)

        return super().watch(name, tell)


class NeverEndsAWatch(MemoryResolver):
    def watch(self, name: str, on_change: OnChange, /) -> Callable[[], None]:
        super().watch(name, on_change)
        return lambda: None


class EndsAllWatches(MemoryResolver):
    def watch(self, name: str, on_change: OnChange, /) -> Callable[[], None]:
        super().watch(name, on_change)

        def end() -> None:
            for each in [*self._watched]:
                self._unwatch(each)

        return end


class ClosesNoWatch(MemoryResolver):
    async def aclose(self) -> None:
        pass


class ForgetsWhenDown(MemoryResolver):
    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        self._registry._reach()
        return await super().resolve(name)


class EmptyWhenDown(MemoryResolver):
    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        try:
            return await super().resolve(name)
        except ServiceUnavailableError:
            return []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (AnyOrder, "the_first_answer_is_complete"),
        (TakesPrefixes, "an_unknown_service_has_no_instances"),
        (AsksOnce, "changes_are_followed"),
        (OneList, "changes_are_followed"),
        (TellsOnlyTheNew, "a_watcher_hears_of_every_change"),
        (NeverEndsAWatch, "each_watch_ends_by_itself"),
        (EndsAllWatches, "each_watch_ends_by_itself"),
        (ClosesNoWatch, "closing_ends_every_watch"),
        (ForgetsWhenDown, "the_last_good_answer_stays"),
        (EmptyWhenDown, "the_last_good_answer_stays"),
    ],
)
async def test_broken_resolvers_are_caught(
    broken: Callable[[MemoryServiceRegistry], ServiceResolver], clauses: str
) -> None:
    suite = TestMemoryResolver()
    suite.resolver = broken
    await assert_caught(suite, *clauses.split())

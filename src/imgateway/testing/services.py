"""The contracts of `ports.ServiceRegistrar` and `ports.ServiceResolver`."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from imgateway.errors import ServiceUnavailableError
from imgateway.model import ServiceInstance
from imgateway.ports import ServiceRegistrar, ServiceResolver
from imgateway.testing.suite import ContractSuite


@attrs.frozen
class Discovery:
    """Two processes that register and one that resolves, over one registry.

    Attributes:
        one: the registrar of a process.
        other: the registrar of another.
        resolver: the resolver of a third.
        lose: what a lapsed lease does to a registered instance, by name and id: the registry forgets it.
        reachable: cut everyone off from the registry (False), or end that (True).
    """

    one: ServiceRegistrar
    other: ServiceRegistrar
    resolver: ServiceResolver
    lose: Callable[[str, str], Awaitable[None]]
    reachable: Callable[[bool], Awaitable[None]]


class _DiscoverySuite(ContractSuite):
    def make(self) -> AbstractAsyncContextManager[Discovery]:
        """A registry that can be reached; what the clauses register in it goes with the context."""
        raise NotImplementedError

    def instance(self, name: str, instance_id: str = "a", port: int = 8080) -> ServiceInstance:
        """An instance as a service registers it."""
        return ServiceInstance(name, instance_id, "10.0.0.1", port)

    async def _known(self, discovery: Discovery, name: str, *expected: ServiceInstance) -> None:
        async def as_expected() -> bool:
            return [*await discovery.resolver.resolve(name)] == [*expected]

        with anyio.fail_after(self.patience):
            await self.eventually(as_expected, f"known are {[instance.id for instance in expected]}")


class ServiceRegistrarSuite(_DiscoverySuite):
    """Every registrar holds to this."""

    async def test_a_registered_instance_is_found(self) -> None:
        """After `register` others find the instance with everything it said about itself."""
        name = self.unique("im-logic")
        instance = attrs.evolve(self.instance(name), metadata={"zone": "东", "weight": "1"})
        async with self.make() as discovery:
            await discovery.one.register(instance)
            await self._known(discovery, name, instance)

    async def test_registering_again_replaces(self) -> None:
        """The same name and id is one instance, as it was registered last; other ids and names are others."""
        name, other_name = self.unique("im-logic"), self.unique("im-logic")
        async with self.make() as discovery:
            for port in (1, 1, 2):
                await discovery.one.register(self.instance(name, port=port))
            await discovery.one.register(self.instance(name, "b"))
            await discovery.one.register(self.instance(other_name))
            await self._known(discovery, name, self.instance(name, port=2), self.instance(name, "b"))
            await self._known(discovery, other_name, self.instance(other_name))

    async def test_a_deregistered_instance_is_gone(self) -> None:
        """After `deregister` others no longer find it, but the rest; again, or of what never was, it does nothing."""
        name = self.unique("im-logic")
        a, b = self.instance(name, "a"), self.instance(name, "b")
        async with self.make() as discovery:
            await discovery.one.deregister(a)
            await discovery.one.register(a)
            await discovery.one.register(b)
            for _ in range(2):
                await discovery.one.deregister(a)
                await self._known(discovery, name, b)

    async def test_deregistering_leaves_what_another_process_took(self) -> None:
        """A late `deregister` or `aclose` does not harm the process that has the same id by now."""
        name = self.unique("im-logic")
        old, new = self.instance(name, port=1), self.instance(name, port=2)
        async with self.make() as discovery:
            await discovery.one.register(old)
            await discovery.other.register(new)
            await discovery.one.deregister(old)
            await self._known(discovery, name, new)
            await discovery.one.aclose()
            await self.quiet()
            await self._known(discovery, name, new)

    async def test_a_lost_registration_is_restored(self) -> None:
        """What the registry lost comes back, as it was registered last, until `deregister`."""
        name = self.unique("im-logic")
        async with self.make() as discovery:
            for port in (1, 2):
                await discovery.one.register(self.instance(name, port=port))
            await self._known(discovery, name, self.instance(name, port=2))
            for _ in range(2):
                await discovery.lose(name, "a")
                await self._known(discovery, name, self.instance(name, port=2))
            await discovery.one.deregister(self.instance(name, port=2))
            await discovery.lose(name, "a")
            await self.quiet()
            await self._known(discovery, name)

    async def test_closing_deregisters_everything(self) -> None:
        """After `aclose`, which is idempotent, nothing of this process is known; others stay."""
        name = self.unique("im-logic")
        async with self.make() as discovery:
            await discovery.one.register(self.instance(name, "a"))
            await discovery.other.register(self.instance(name, "b"))
            await discovery.one.register(self.instance(name, "c"))
            for _ in range(2):
                await discovery.one.aclose()
                await self._known(discovery, name, self.instance(name, "b"))

    async def test_registering_may_be_tried_again(self) -> None:
        """While the registry can't be reached `register` raises `ServiceUnavailableError`; later it works."""
        name = self.unique("im-logic")
        async with self.make() as discovery:
            await discovery.reachable(False)
            await _assert_unavailable(discovery.one.register(self.instance(name)))
            await discovery.reachable(True)
            await discovery.one.register(self.instance(name))
            await self._known(discovery, name, self.instance(name))


class ServiceResolverSuite(_DiscoverySuite):
    """Every resolver holds to this."""

    async def test_the_first_answer_is_complete(self) -> None:
        """The first `resolve` waits for everything that is registered; in order of the ids."""
        name = self.unique("im-logic")
        instances = [self.instance(name, instance_id) for instance_id in ("b", "a", "10", "9")]
        async with self.make() as discovery:
            for instance in instances:
                await discovery.one.register(instance)
            found = await discovery.resolver.resolve(name)
            assert [instance.id for instance in found] == ["10", "9", "a", "b"]

    async def test_an_unknown_service_has_no_instances(self) -> None:
        """A service that nobody registered has none; nor has one whose name only begins alike."""
        name = self.unique("im-logic")
        async with self.make() as discovery:
            await discovery.one.register(self.instance(f"{name}-2"))
            await discovery.one.register(self.instance(f"{name}/sub"))
            assert [*await discovery.resolver.resolve(name)] == []

    async def test_changes_are_followed(self) -> None:
        """What `resolve` says follows every change; an answer once given stays as it was."""
        name = self.unique("im-logic")
        a, b = self.instance(name, "a"), self.instance(name, "b")
        async with self.make() as discovery:
            await discovery.one.register(a)
            await self._known(discovery, name, a)
            answer = await discovery.resolver.resolve(name)
            await discovery.other.register(b)
            await self._known(discovery, name, a, b)
            await discovery.one.deregister(a)
            await self._known(discovery, name, b)
            await discovery.other.register(attrs.evolve(b, port=9))
            await self._known(discovery, name, attrs.evolve(b, port=9))
            assert [*answer] == [a]

    async def test_a_watcher_hears_of_every_change(self) -> None:
        """`on_change` gets the whole set after a change of its service, and nothing of others."""
        name, other_name = self.unique("im-logic"), self.unique("im-logic")
        a, b = self.instance(name, "a"), self.instance(name, "b")
        heard: list[Sequence[ServiceInstance]] = []
        async with self.make() as discovery:
            end = discovery.resolver.watch(name, heard.append)
            for expected in ([a], [a, b]):
                await discovery.one.register(expected[-1])
                await self._heard(heard, expected)
            await discovery.one.deregister(a)
            await self._heard(heard, [b])
            await discovery.one.register(self.instance(other_name))
            await self._known(discovery, other_name, self.instance(other_name))
            assert all(instance.name == name for instances in heard for instance in instances)
            end()

    async def test_each_watch_ends_by_itself(self) -> None:
        """What `watch` returned ends that watch alone, even of the same callable; calling it again does nothing."""
        name = self.unique("im-logic")
        heard: list[Sequence[ServiceInstance]] = []
        still: list[Sequence[ServiceInstance]] = []
        async with self.make() as discovery:
            end = discovery.resolver.watch(name, heard.append)
            discovery.resolver.watch(name, still.append)
            discovery.resolver.watch(name, still.append)
            await discovery.one.register(self.instance(name, "a"))
            await self._heard(heard, [self.instance(name, "a")])
            await self._heard(still, [self.instance(name, "a")])
            end()
            end()
            before, before_still = len(heard), len(still)
            await discovery.one.register(self.instance(name, "b"))
            await self.eventually(lambda: len(still) >= before_still + 2, "both other watches heard of it")
            assert len(heard) == before

    async def test_closing_ends_every_watch(self) -> None:
        """After `aclose`, which is idempotent, no watcher is called."""
        name = self.unique("im-logic")
        heard: list[Sequence[ServiceInstance]] = []
        async with self.make() as discovery:
            end = discovery.resolver.watch(name, heard.append)
            await discovery.one.register(self.instance(name, "a"))
            await self._heard(heard, [self.instance(name, "a")])
            for _ in range(2):
                await discovery.resolver.aclose()
            before = len(heard)
            await discovery.one.register(self.instance(name, "b"))
            await self.quiet()
            assert len(heard) == before
            end()

    async def test_the_last_good_answer_stays(self) -> None:
        """While the registry can't be reached the last answer stays, an empty one too; about the unknown it raises."""
        name, empty, never = self.unique("im-logic"), self.unique("empty"), self.unique("never")
        async with self.make() as discovery:
            await discovery.one.register(self.instance(name))
            await self._known(discovery, name, self.instance(name))
            await self._known(discovery, empty)
            await discovery.reachable(False)
            assert [*await discovery.resolver.resolve(name)] == [self.instance(name)]
            assert [*await discovery.resolver.resolve(empty)] == []
            await _assert_unavailable(discovery.resolver.resolve(never))
            await discovery.reachable(True)
            await discovery.one.register(self.instance(never))
            await self._known(discovery, never, self.instance(never))

    async def _heard(self, heard: list[Sequence[ServiceInstance]], expected: list[ServiceInstance]) -> None:
        await self.eventually(lambda: bool(heard) and [*heard[-1]] == expected, "the watcher hears the whole set")


async def _assert_unavailable(call: Awaitable[object]) -> None:
    try:
        await call
    except ServiceUnavailableError:
        return
    raise AssertionError("no ServiceUnavailableError")

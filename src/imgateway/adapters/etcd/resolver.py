"""Finding the instances of services in etcd: list, then watch, then list again."""

import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import anyio
import anyio.abc
import attrs

from imgateway.adapters.etcd.access import EtcdAccess
from imgateway.adapters.etcd.background import BackgroundTask, background_tasks
from imgateway.adapters.etcd.errors import EtcdError
from imgateway.adapters.etcd.instances import InstanceKeys, from_value
from imgateway.adapters.etcd.keyspace import Entry, EtcdKeyspace
from imgateway.adapters.etcd.transport import EtcdTransport
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import ServiceInstance

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
LIST_SECONDS = 30.0
"""How long a watch is relied on. A connection may be dead without a sign, and listing heals whatever went wrong."""

OnChange = Callable[[Sequence[ServiceInstance]], None]

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Service:
    """What is known of one service, and who wants to hear of it.

    Attributes:
        known: its instances by id; None before the first answer.
        failure: why the last attempt to list it failed.
        listed: set when the attempt to list that is under way, or else the next one, is over.
        wanted: set when somebody waits for that.
    """

    name: str
    prefix: bytes
    known: tuple[ServiceInstance, ...] | None = None
    failure: str | None = None
    listed: anyio.Event = attrs.field(factory=anyio.Event)
    wanted: anyio.Event = attrs.field(factory=anyio.Event)
    watchers: list[OnChange] = attrs.field(factory=list)
    foreign: dict[bytes, int] = attrs.field(factory=dict)
    _instances: dict[bytes, ServiceInstance] = attrs.field(factory=dict)

    def take_all(self, entries: Sequence[Entry]) -> None:
        """This is all there is."""
        present = {entry.key for entry in entries}
        for key in [*self._instances, *self.foreign]:
            if key not in present:
                self.take_out(key)
        for entry in entries:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        """A key was written."""
        key_segment = entry.key[len(self.prefix) :].decode(errors="backslashreplace")
        instance = from_value(self.name, key_segment, entry.value)
        if instance is not None:
            self._instances[entry.key] = instance
            self.foreign.pop(entry.key, None)
            return
        self._instances.pop(entry.key, None)
        if self.foreign.get(entry.key) != entry.revision:
            self.foreign[entry.key] = entry.revision
            _log.warning("a key of a service holds no instance", extra={"service": self.name, "key": key_segment[:200]})

    def take_out(self, key: bytes) -> None:
        """A key was deleted."""
        self._instances.pop(key, None)
        self.foreign.pop(key, None)

    def publish(self) -> None:
        """Make what was taken known, and tell the watchers if it differs from what they know."""
        before = self.known or ()
        self.known = tuple(sorted(self._instances.values(), key=lambda instance: instance.id))
        if self.known != before:
            for on_change in tuple(self.watchers):
                if on_change in self.watchers:  # not ended by one before it
                    on_change(self.known)

    def settle(self, failure: str | None) -> None:
        """An attempt to list is over."""
        self.failure = failure
        self.wanted = anyio.Event()
        self.listed.set()
        self.listed = anyio.Event()


@attrs.define(eq=False)
class EtcdResolver:
    """Implements `ports.ServiceResolver`; made by `open`.

    Every service that was asked for once is followed until the end, with one connection: names come from settings,
    not from clients. Changes are heard of as they happen. After a broken connection or a compaction the service is
    listed again; meanwhile the last good answer stays. What stands among the keys without being an instance is
    ignored, and logged once.
    """

    _keyspace: EtcdKeyspace
    _tasks: anyio.abc.TaskGroup
    _keys: InstanceKeys
    _services: dict[str, _Service] = attrs.field(factory=dict, init=False)
    _following: list[BackgroundTask] = attrs.field(factory=list, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, access: EtcdAccess, /, *, prefix: str = "/services/") -> AsyncIterator[Self]:
        """A resolver; closed when the context is left. Returns at once, whether etcd can be reached or not.

        Args:
            access: where etcd is.
            prefix: what all keys begin with.

        Raises:
            SettingsError: a TLS file can't be used.
        """
        async with EtcdTransport(access) as transport, background_tasks() as tasks:
            resolver = cls(EtcdKeyspace(transport), tasks, InstanceKeys(prefix))
            try:
                yield resolver
            finally:
                await resolver.aclose()

    @property
    def ignored(self) -> int:
        """How many keys of the services that are followed hold no instance."""
        return sum(len(service.foreign) for service in self._services.values())

    async def resolve(self, name: str, /) -> Sequence[ServiceInstance]:
        """The instances known now, by id; the first question about a service waits for etcd's answer.

        Raises:
            LifecycleError: the resolver is closed.
            ServiceUnavailableError: nothing is known yet and etcd can't be reached or refuses.
        """
        service = self._service(name)
        if service.known is None:
            service.wanted.set()
            await service.listed.wait()
            if service.known is None:
                raise ServiceUnavailableError(service.failure)
        return service.known

    def watch(self, name: str, on_change: OnChange, /) -> Callable[[], None]:
        """Call `on_change` with the whole set after every change; at first when there are any instances.

        Raises:
            LifecycleError: the resolver is closed.
        """
        watchers = self._service(name).watchers

        # Its own object even if the same callable watches twice, so that each end ends one.
        def tell(instances: Sequence[ServiceInstance]) -> None:
            on_change(instances)

        def end() -> None:
            if tell in watchers:
                watchers.remove(tell)

        watchers.append(tell)
        return end

    async def aclose(self) -> None:
        """Stop following, and close the connections. Idempotent."""
        self._closed = True
        for service in self._services.values():
            service.watchers.clear()
            service.settle("the resolver is closed")
        with anyio.CancelScope(shield=True):
            while self._following:
                await self._following.pop().stop()
            await self._keyspace.transport.aclose()

    def _service(self, name: str) -> _Service:
        if self._closed:
            raise LifecycleError("the resolver is closed")
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = _Service(name, self._keys.service(name))
            self._following.append(BackgroundTask.start(self._tasks, lambda: self._follow(service)))
        return service

    async def _follow(self, service: _Service) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                reading = await self._keyspace.read(service.prefix, prefix=True)
                service.take_all(reading.entries)
                service.publish()
                if service.failure is not None:
                    _log.info("following a service again", extra={"service": service.name})
                service.settle(None)
                await self._hear(service, reading.revision)
                pause = FIRST_PAUSE_SECONDS
            except EtcdError as failure:
                if service.failure is None:
                    _log.warning("a service can't be followed", extra={"service": service.name, "why": str(failure)})
                service.settle(str(failure))
                with anyio.move_on_after(pause * random.uniform(0.5, 1.0)):
                    await service.wanted.wait()
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _hear(self, service: _Service, revision: int) -> None:
        """Follow changes for some time; fails when the watch does."""
        with anyio.move_on_after(LIST_SECONDS * random.uniform(0.75, 1.0)):
            async with self._keyspace.watching(service.prefix, after=revision, prefix=True) as watch:
                while True:
                    for change in await watch.next():
                        if change.deleted:
                            service.take_out(change.entry.key)
                        else:
                            service.take(change.entry)
                    service.publish()

"""Making instances known in etcd, for as long as this process lives."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

import anyio
import anyio.abc
import attrs

from imgateway.adapters.etcd.access import EtcdAccess
from imgateway.adapters.etcd.background import BackgroundTask, background_tasks
from imgateway.adapters.etcd.errors import EtcdError, GrpcCode
from imgateway.adapters.etcd.instances import InstanceKeys, to_value
from imgateway.adapters.etcd.keyspace import EtcdKeyspace
from imgateway.adapters.etcd.lease import Lease
from imgateway.adapters.etcd.transport import EtcdTransport
from imgateway.errors import LifecycleError
from imgateway.model import ServiceInstance

CHECK_SECONDS = 1.0

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Registration:
    """One key, bound to a lease of its own: what ends the lease takes out this key, unless it is another's by now."""

    keyspace: EtcdKeyspace
    key: bytes
    lease_seconds: float
    value: bytes = b""
    _lease: Lease | None = None
    _one_at_a_time: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _trouble: str | None = attrs.field(default=None, init=False)

    async def put(self, value: bytes) -> None:
        """Set the key, whoever has it.

        Raises:
            EtcdError: it is not known whether it was set.
        """
        async with self._one_at_a_time:
            await self._bound(self._lease or await self._new_lease(), partial(self.keyspace.write, self.key, value))
            self.value = value

    async def keep(self) -> None:
        """Keep the lease alive, and put back what was lost, until cancelled."""
        while True:
            await anyio.sleep(min(CHECK_SECONDS, self.lease_seconds / 3))
            try:
                async with self._one_at_a_time:
                    trouble = await self._check()
            except EtcdError as failure:
                trouble = str(failure)
            self._tell(trouble)

    async def end(self) -> None:
        """Take the key out, unless it is another process's by now. Never fails; see `Lease.revoke`."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.revoke()

    async def _check(self) -> str | None:
        """Restore what is missing; returns what stands in the way."""
        lease = self._lease
        if lease is None or (lease.due and not await lease.keep_alive()):
            lease = await self._new_lease()
        entry = (await self.keyspace.read(self.key)).only
        if entry is not None and entry.lease not in (0, lease.id):
            # A newer process keeps it: there is one instance of an id, and it is the newest.
            return "another process has registered the same id"
        if entry is None or entry.lease == 0 or entry.value != self.value:
            revision = entry.revision if entry else 0
            await self._bound(lease, partial(self.keyspace.write_if, self.key, self.value, revision=revision))
        return None

    async def _bound(self, lease: Lease, write: Callable[[int], Awaitable[object]]) -> None:
        """Write with the id of a lease that etcd knows."""
        try:
            await write(lease.id)
        except EtcdError as failure:
            if failure.code != GrpcCode.NOT_FOUND:
                raise
            await write((await self._new_lease()).id)

    async def _new_lease(self) -> Lease:
        # Named before it is granted, so that it is revoked even if the answer never comes.
        self._lease = lease = Lease(self.keyspace.transport, self.lease_seconds)
        await lease.grant()
        return lease

    def _tell(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            _log.warning("the registration may be lost", extra={"key": self.key.decode(), "why": trouble})
        elif trouble is None and self._trouble is not None:
            _log.info("registered again", extra={"key": self.key.decode()})
        self._trouble = trouble


@attrs.define(eq=False)
class EtcdRegistrar:
    """Implements `ports.ServiceRegistrar`; made by `open`.

    Every instance has a lease of its own, kept by a task of its own. Once a second it looks whether the key is still
    there, and puts it back: after the lease was lost, the key deleted or overwritten, or etcd has lost its data. Only a
    key that is bound to another lease is left alone: that is a newer process with the same id, and when it goes, the
    key comes back.
    """

    _transport: EtcdTransport
    _tasks: anyio.abc.TaskGroup
    _keys: InstanceKeys
    _lease_seconds: float
    _mine: dict[bytes, tuple[_Registration, BackgroundTask]] = attrs.field(factory=dict, init=False)
    _one_at_a_time: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, access: EtcdAccess, /, *, lease_seconds: float = 10.0, prefix: str = "/services/"
    ) -> AsyncIterator[Self]:
        """A registrar; closed when the context is left. Returns at once, whether etcd can be reached or not.

        Args:
            access: where etcd is.
            lease_seconds: how long an instance is known after its process was killed.
            prefix: what all keys begin with.

        Raises:
            SettingsError: a TLS file can't be used.
        """
        async with EtcdTransport(access) as transport, background_tasks() as tasks:
            registrar = cls(transport, tasks, InstanceKeys(prefix), lease_seconds)
            try:
                yield registrar
            finally:
                await registrar.aclose()

    async def register(self, instance: ServiceInstance, /) -> None:
        """Make an instance known, in place of what has its name and id, also if that is another process's.

        Raises:
            LifecycleError: the registrar is closed.
            ServiceUnavailableError: etcd can't be reached or refuses.
        """
        async with self._one_at_a_time:
            if self._closed:
                raise LifecycleError("the registrar is closed")
            key, value = self._keys.instance(instance), to_value(instance)
            if key in self._mine:
                await self._mine[key][0].put(value)
                return
            registration = _Registration(EtcdKeyspace(self._transport), key, self._lease_seconds)
            try:
                await registration.put(value)
            except BaseException:
                await registration.end()
                raise
            self._mine[key] = registration, BackgroundTask.start(self._tasks, registration.keep)

    async def deregister(self, instance: ServiceInstance, /) -> None:
        """Make it unknown, unless another process has taken its id since.

        Where etcd can't be reached this returns after some seconds, and the instance is known until its lease ends.
        """
        async with self._one_at_a_time:
            await self._end(self._keys.instance(instance))

    async def aclose(self) -> None:
        """Deregister everything, and close the connections. Takes some seconds where etcd can't be reached."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as ending:
                for key in tuple(self._mine):
                    ending.start_soon(self._end, key)
            await self._transport.aclose()

    async def _end(self, key: bytes) -> None:
        if key in self._mine:
            registration, keeping = self._mine.pop(key)
            with anyio.CancelScope(shield=True):
                await keeping.stop()
                await registration.end()

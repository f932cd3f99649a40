"""Owning a gateway id: a key in etcd that only one living process can have."""

import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio
import anyio.abc
import attrs

from imgateway.adapters.etcd.access import EtcdAccess
from imgateway.adapters.etcd.background import BackgroundTask, background_tasks
from imgateway.adapters.etcd.errors import EtcdError
from imgateway.adapters.etcd.instances import segment
from imgateway.adapters.etcd.keyspace import Entry, EtcdKeyspace
from imgateway.adapters.etcd.lease import Lease
from imgateway.adapters.etcd.transport import EtcdTransport
from imgateway.errors import LifecycleError
from imgateway.model import GatewayId

PREFIX = "/imgateway/owners/"
LOOK_SECONDS = 5.0
"""While another process owns the id: how often to look, besides watching. A connection may be dead without a sign."""
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Claim:
    """The key while it is ours.

    Attributes:
        lost: set once it is, or may be, no longer ours.
    """

    keyspace: EtcdKeyspace
    gateway_id: GatewayId
    key: bytes
    lease: Lease
    lost: anyio.Event

    @property
    def held(self) -> bool:
        return not self.lost.is_set() and self.lease.certain_seconds > 0

    async def keep(self) -> None:
        """Keep the lease alive and look after the key, until it is lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            await self._keep_alive()
            tasks.cancel_scope.cancel()

    def lose(self, why: str) -> None:
        if not self.lost.is_set():
            _log.error("a gateway id is no longer ours", extra={"gateway_id": self.gateway_id, "why": why})
            self.lost.set()

    async def _keep_alive(self) -> None:
        pause = self.lease.interval
        while True:
            # Whatever time has passed, the lease's own end comes first.
            with anyio.move_on_after(min(pause, self.lease.certain_seconds)):
                await self.lost.wait()
            if self.lost.is_set():
                return
            if not self.held:
                self.lose("the lease could not be kept alive in time")
                return
            pause = self.lease.interval
            with anyio.move_on_after(self.lease.certain_seconds):
                try:
                    await self._verify()
                except EtcdError as failure:
                    extra = {"gateway_id": self.gateway_id, "why": str(failure)}
                    _log.warning("a gateway id may soon be lost", extra=extra)
                    pause = self.lease.seconds / 10

    async def _verify(self) -> None:
        if not await self.lease.keep_alive():
            self.lose("its lease has ended")
            return
        await self._look()

    async def _look(self) -> int:
        """Look at the key; returns the revision of what was seen."""
        reading = await self.keyspace.read(self.key)
        if reading.only is None or reading.only.lease != self.lease.id:
            self.lose("its key was deleted or overwritten")
        return reading.revision

    async def _watch(self) -> None:
        """Hear at once when somebody deletes or overwrites the key."""
        while True:
            try:
                async with self.keyspace.watching(self.key, after=await self._look()) as watch:
                    await watch.next()
                await self._look()
            except EtcdError as failure:
                _log.debug("a watch has ended", extra={"why": str(failure)})
            await anyio.sleep(RETRY_SECONDS)


@attrs.define(eq=False)
class EtcdOwnership:
    """Implements `ports.GatewayOwnership`; made by `open`. Owns one id at a time.

    The key `/imgateway/owners/{gateway_id}` is created only where there is none, bound to a lease. `held` goes by our
    own clock: the lease is relied on for nine tenths of its time, counted from before the last successful sign of life
    was sent. So a process that was stopped for longer finds itself without ownership before it does anything else,
    whatever etcd says by then.
    """

    _keyspace: EtcdKeyspace
    _tasks: anyio.abc.TaskGroup
    _lease_seconds: float
    _claim: _Claim | None = attrs.field(default=None, init=False)
    _keeping: BackgroundTask | None = attrs.field(default=None, init=False)
    _lost: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, access: EtcdAccess, /, *, lease_seconds: float = 10.0) -> AsyncIterator[Self]:
        """An ownership of nothing yet; what it owns is released when the context is left.

        Args:
            access: where etcd is.
            lease_seconds: how long an id stays taken after its process was killed.

        Raises:
            SettingsError: a TLS file can't be used.
        """
        async with EtcdTransport(access) as transport, background_tasks() as tasks:
            ownership = cls(EtcdKeyspace(transport), tasks, lease_seconds)
            try:
                yield ownership
            finally:
                await ownership.release()

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        """Own the id; wait while another process does.

        Raises:
            LifecycleError: another id is held already.
            ServiceUnavailableError: etcd can't be reached or refuses.
        """
        if self._claim is not None and self.held:
            if gateway_id == self._claim.gateway_id:
                return
            raise LifecycleError(f"{self._claim.gateway_id} is held already")
        # Of a claim that was lost the key may still be there.
        await self.release()
        key = f"{PREFIX}{segment(gateway_id)}".encode()
        owner: Entry | None = None
        while True:
            reading = await self._keyspace.read(key)
            if reading.only is None:
                if await self._create(gateway_id, key):
                    return
                continue
            if owner is None or owner.lease != reading.only.lease:
                owner = reading.only
                extra = {"gateway_id": gateway_id, "owner": owner.value[:200].decode(errors="replace")}
                _log.warning("another process owns this gateway id, waiting", extra=extra)
            await self._wait_deleted(key, reading.revision)

    @property
    def held(self) -> bool:
        """Whether the id is certainly ours still."""
        return self._claim is not None and self._claim.held

    async def wait_lost(self) -> None:
        """Return when the id was lost, or may be."""
        if self._claim is not None and not self._claim.held:
            self._claim.lose("the lease could not be kept alive in time")
        await self._lost.wait()

    async def release(self) -> None:
        """Give the id up, unless it is another process's by now.

        `held` is False at once. Where etcd can't be reached this returns after some seconds, and the id stays taken
        until its lease ends. Not cut short by cancellation.
        """
        claim, self._claim = self._claim, None
        keeping, self._keeping = self._keeping, None
        with anyio.CancelScope(shield=True):
            if keeping is not None:
                await keeping.stop()
            if claim is not None:
                await claim.lease.revoke()

    async def _create(self, gateway_id: GatewayId, key: bytes) -> bool:
        lease = Lease(self._keyspace.transport, self._lease_seconds)
        try:
            await lease.grant()
            await self._keyspace.write_if(key, _whoami(), lease.id, revision=0)
            # What it answers is not enough: of two tries the first may have won, its answer lost.
            reading = await self._keyspace.read(key)
        except BaseException:
            await lease.revoke()
            raise
        if reading.only is None or reading.only.lease != lease.id or lease.certain_seconds <= 0:
            await lease.revoke()
            return False
        if self._lost.is_set():
            self._lost = anyio.Event()
        self._claim = _Claim(self._keyspace, gateway_id, key, lease, self._lost)
        self._keeping = BackgroundTask.start(self._tasks, self._claim.keep)
        return True

    async def _wait_deleted(self, key: bytes, after: int) -> None:
        try:
            with anyio.move_on_after(LOOK_SECONDS):
                async with self._keyspace.watching(key, after=after) as watch:
                    while not any(change.deleted for change in await watch.next()):
                        pass
        except EtcdError as failure:
            _log.debug("a watch has ended", extra={"why": str(failure)})
            await anyio.sleep(RETRY_SECONDS)


def _whoami() -> bytes:
    """For whoever looks at the key."""
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()

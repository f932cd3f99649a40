"""REST and clients' calls, answered by gRPC services."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

import attrs

from imgateway.adapters.grpc.calling import Caller, GrpcMatch
from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.adapters.grpc.places import Places
from imgateway.adapters.grpc.problems import problem_of_unknown_method
from imgateway.adapters.grpc.routing import RouteTable
from imgateway.adapters.grpc.schema import Loaded, merge, read_descriptor_set, reflect
from imgateway.adapters.grpc.tasks import owned_tasks
from imgateway.core.retrying import Backoff
from imgateway.core.settings_grpc import GrpcSettings, Place
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway.model import Identity
from imgateway.ports import ServiceResolver
from imgateway.rpc import NOT_KNOWN_YET, Metadata, RestAnswer, RestProblem

REFLECTION_SECONDS: Final = 10.0
THREADS: Final = 2
"""For large texts and messages, and so many of them are converted at once."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class GrpcTranscoder:
    """Implements `ports.Transcoder` for asyncio; made by `open`.

    With a descriptor set its routes never change. With reflection they are those of the newest instance: whenever one
    comes or goes, as in a deployment, the newest that is there is asked again, and until it answers the routes known
    before stay.
    """

    _settings: GrpcSettings
    _table: RouteTable | None = attrs.field(default=None, init=False)
    _document: tuple[RouteTable | None, bytes] = attrs.field(default=(None, b"{}"), init=False)
    _describing: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _whole: bool = attrs.field(default=False, init=False)
    _places: Places = attrs.field(init=False)
    _caller: Caller = attrs.field(init=False)
    _described: dict[Place, Loaded] = attrs.field(factory=dict, init=False)
    _asked: dict[Place, asyncio.Event] = attrs.field(factory=dict, init=False)
    _joining: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: GrpcSettings, resolver: ServiceResolver | None, /) -> AsyncIterator[Self]:
        """A transcoder; closed when the context is left. Returns at once, whether a service can be reached or not.

        Args:
            settings: what is called, and how.
            resolver: finds the services that are to be discovered; None where all have a fixed target.

        Raises:
            SettingsError: the descriptor set, a TLS file or a mapped message can't be used.
        """
        transcoder = cls(settings)
        if settings.descriptor_set is not None:
            table = RouteTable.build(read_descriptor_set(settings.descriptor_set), settings)
            if wrong := list(table.unanswered()):
                raise SettingsError(wrong)
            transcoder._take(table, whole=True)
        async with AsyncExitStack() as stack:
            threads = ThreadPoolExecutor(THREADS, "imgateway-json")
            stack.push_async_callback(asyncio.to_thread, threads.shutdown)  # once no call is left
            transcoder._places = await Places.open(stack, settings, resolver, transcoder._ask)
            transcoder._caller = Caller(transcoder._places, frozenset(settings.return_metadata), threads)
            places = transcoder._places.balancers if settings.reflection else ()
            async with owned_tasks() as tasks:
                asking = [tasks.create_task(transcoder._keep_asking(place)) for place in places]
                try:
                    yield transcoder
                finally:
                    for task in asking:
                        task.cancel()

    def find(self, http_method: str, path: str, /) -> "GrpcMatch | frozenset[str]":
        """The route for a request, or the methods that the path would take."""
        if self._table is None:
            return frozenset()
        found = self._table.find(http_method, path)
        if isinstance(found, frozenset):
            return found
        route, captures = found
        return GrpcMatch(route, captures, self._caller)

    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Make the call that a client's message stands for."""
        if self._table is None:
            return NOT_KNOWN_YET
        call = self._table.calls.get(message_type)
        if call is None or isinstance(call, str):
            return problem_of_unknown_method() if self._whole else NOT_KNOWN_YET
        return await self._caller.message(call, data, identity, metadata, seconds)

    @property
    def message_types(self) -> frozenset[str]:
        """The types in `[grpc.messages]`."""
        return frozenset(self._settings.messages)

    @property
    def loaded(self) -> bool:
        """Whether routes are known."""
        return self._table is not None

    def openapi(self) -> bytes:
        """The routes as an OpenAPI 3.1 document; made once for each set of descriptors, when it is first asked for."""
        with self._describing:
            table, (described, document) = self._table, self._document
            if table is not None and table is not described:
                document = document_bytes(table, self._settings)
                self._document = table, document
            return document

    def _take(self, table: RouteTable, *, whole: bool) -> None:
        """Serve this, and log what can't be; what the settings name in vain only where the table is of all places."""
        self._table, self._whole = table, whole
        for problem in table.problems:
            _log.warning("a part of what the services offer is not served", extra={"why": problem})
        for problem in (*table.unmatched, *table.unanswered()) if whole else ():
            _log.warning("a setting is in vain", extra={"why": problem})
        _log.info("routes", extra={"routes": len(table.routes)})

    def _ask(self, place: Place) -> None:
        self._asked.setdefault(place, asyncio.Event()).set()

    async def _keep_asking(self, place: Place) -> None:
        asked = self._asked.setdefault(place, asyncio.Event())
        where = {"place": place.name}
        backoff, said = Backoff(), ""
        while True:
            await asked.wait()
            asked.clear()
            channel = self._places.balancers[place].channel()
            if channel is None:
                continue  # a new connection is heard of
            try:
                found = await reflect(channel, seconds=REFLECTION_SECONDS)
                await self._described_by(place, found)
            except Exception as error:  # whatever one server says, the others' routes and the gateway live on
                if repr(error) != said:
                    _log_undescribed(error, where)
                said = repr(error)
                try:
                    async with asyncio.timeout(backoff.seconds()):
                        await asked.wait()
                    backoff.reset()  # an instance has come or gone
                except TimeoutError:
                    asked.set()
            else:
                backoff.reset()
                said = ""

    async def _described_by(self, place: Place, found: Loaded) -> None:
        async with self._joining:  # else of two places that answer at once one would be joined without the other
            if self._described.get(place) == found:
                return
            sets = [*(known for other, known in self._described.items() if other != place), found]
            # In a thread: a large set takes its time, and clients shall not wait for it.
            table = await asyncio.to_thread(lambda: RouteTable.build(merge(sets), self._settings))
            self._described[place] = found
            self._take(table, whole=len(self._described) == len(self._places.balancers))


def _log_undescribed(error: Exception, where: Mapping[str, str]) -> None:
    if isinstance(error, (ServiceUnavailableError, SettingsError)):
        _log.warning("a service does not say what it offers", extra={**where, "why": str(error)})
    else:
        _log.error("a service's description can't be used", extra=where, exc_info=error)

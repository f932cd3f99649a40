"""REST and clients' calls, answered by gRPC services."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

import attrs
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from imgateway.adapters.grpc.calling import GrpcMatch, ShownMetadata, call_message
from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.adapters.grpc.places import Places
from imgateway.adapters.grpc.problems import problem_of_absence, problem_of_unknown_method
from imgateway.adapters.grpc.routing import MessageCall, RouteTable
from imgateway.adapters.grpc.schema import merge, read_descriptor_set, reflect
from imgateway.adapters.grpc.tasks import owned_tasks
from imgateway.core.settings_grpc import GrpcSettings, Place
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway.model import Identity
from imgateway.ports import ServiceResolver
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRoute

REFLECTION_SECONDS: Final = 10.0
REFLECTION_PAUSE_SECONDS: Final = 2.0
"""After a service could not be asked what it offers, so long passes until it is asked again."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Offer:
    """What the services offer, by one set of descriptors."""

    table: RouteTable
    descriptors: FileDescriptorSet
    calls: dict[str, MessageCall | str]
    _document: bytes | None = None

    @classmethod
    def of(cls, descriptors: FileDescriptorSet, settings: GrpcSettings) -> Self:
        table = RouteTable.build(descriptors, settings)
        return cls(table, descriptors, {type_: table.message_call(rpc) for type_, rpc in settings.messages.items()})

    def document(self, settings: GrpcSettings) -> bytes:
        if self._document is None:
            self._document = document_bytes(self.table, self.descriptors, settings)
        return self._document


@attrs.define(eq=False)
class GrpcTranscoder:
    """Implements `ports.Transcoder` for asyncio; made by `open`.

    With a descriptor set its routes never change. With reflection they are those of the instance connected to last:
    every new connection of a service, as after a deployment, has it asked again, and until it answers the routes known
    before stay.
    """

    _settings: GrpcSettings
    _shown: ShownMetadata
    _offer: _Offer | None = None
    _places: Places = attrs.field(init=False)
    _described: dict[Place, FileDescriptorSet] = attrs.field(factory=dict, init=False)
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
        transcoder = cls(settings, ShownMetadata.of(settings.return_metadata))
        if settings.descriptor_set is not None:
            offer = _Offer.of(read_descriptor_set(settings.descriptor_set), settings)
            if wrong := list(offer.table.unanswered()):
                raise SettingsError(wrong)
            transcoder._take(offer)
        async with AsyncExitStack() as stack:
            transcoder._places = await Places.open(stack, settings, resolver, transcoder._connected)
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
        if self._offer is None:
            return frozenset()
        found = self._offer.table.find(http_method, path)
        if isinstance(found, frozenset):
            return found
        route, captures = found
        return GrpcMatch(route, captures, self._places.of(route.rest.rpc), self._shown)

    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Make the call that a client's message stands for."""
        if self._offer is None:
            return problem_of_absence()
        call = self._offer.calls.get(message_type, "no such type")
        if isinstance(call, str):
            return problem_of_unknown_method(self._settings.messages.get(message_type, message_type), call)
        return await call_message(call, self._places.of(call.rpc), self._shown, data, identity, metadata, seconds)

    @property
    def message_types(self) -> frozenset[str]:
        """The types in `[grpc.messages]`."""
        return frozenset(self._settings.messages)

    @property
    def routes(self) -> Sequence[RestRoute]:
        """Every route there is now."""
        return () if self._offer is None else tuple(route.rest for route in self._offer.table.routes)

    @property
    def problems(self) -> Sequence[str]:
        """What can't be served and why, one line each."""
        return () if self._offer is None else self._offer.table.problems

    @property
    def loaded(self) -> bool:
        """Whether routes are known."""
        return self._offer is not None

    def openapi(self) -> bytes:
        """The routes as an OpenAPI 3.1 document; made once for each set of descriptors."""
        return b"{}" if self._offer is None else self._offer.document(self._settings)

    def _take(self, offer: _Offer) -> None:
        self._offer = offer
        for problem in offer.table.problems:
            _log.warning("a rule is not served", extra={"why": problem})
        _log.info("routes", extra={"routes": len(offer.table.routes)})

    def _connected(self, place: Place) -> None:
        self._asked.setdefault(place, asyncio.Event()).set()

    async def _keep_asking(self, place: Place) -> None:
        asked = self._asked.setdefault(place, asyncio.Event())
        where = {"place": place.name}
        while True:
            await asked.wait()
            asked.clear()
            channel = self._places.balancers[place].channel()
            if channel is None:
                continue  # a new connection is heard of
            try:
                found = await reflect(channel, seconds=REFLECTION_SECONDS)
                await self._described_by(place, found)
                continue
            except (ServiceUnavailableError, SettingsError) as error:
                _log.warning("a service does not say what it offers", extra={**where, "why": str(error)})
            except Exception:  # whatever one server says, the others' routes and the gateway live on
                _log.exception("a service's description can't be used", extra=where)
            await asyncio.sleep(REFLECTION_PAUSE_SECONDS * random.uniform(0.5, 1.0))
            asked.set()

    async def _described_by(self, place: Place, found: FileDescriptorSet) -> None:
        async with self._joining:  # else of two places that answer at once one would be joined without the other
            if self._described.get(place) == found:
                return
            merged = merge([*(known for other, known in self._described.items() if other != place), found])
            # In a thread: a large set takes its time, and clients shall not wait for it.
            offer = await asyncio.to_thread(_Offer.of, merged.descriptors, self._settings)
            self._described[place] = found
            for problem in merged.problems:
                _log.warning("services disagree", extra={"why": problem})
            self._take(offer)

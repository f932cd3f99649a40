"""Who gets a connection, decided before the upgrade and in the order of what it costs."""

import logging
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import attrs

from imgateway.codes import Code
from imgateway.core.settings import ConnectionSettings
from imgateway.core.turnstile import Turnstile
from imgateway.model import ConnectRequest, Credentials, Identity, Refusal, SessionRecord, UserId, is_valid_user_id
from imgateway.ports import Authenticator, Clock, ConnectionRegistry, GatewayObserver

RETRY_AFTER_SECONDS = 1
CROWD_RETRY_AFTER_SECONDS = 10
"""Whoever finds too many others waiting is told to come back after a random time up to this."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Place:
    """Counted towards the limits from before the authentication until `Admission.leave`."""

    client_ip: str | None
    left: bool = False


@attrs.frozen
class Admitted:
    """A client that may connect.

    Attributes:
        place: to be given back by `Admission.leave` when its connection has ended or never came to be.
    """

    request: ConnectRequest
    identity: Identity
    place: Place


@attrs.define(eq=False)
class Admission:
    """Decides on connections.

    Attributes:
        elsewhere: the connections that other gateways have of a user; asked only where the policy is to refuse.
        expiry_grace_ms: how long a connection outlives its proof, and a proof therefore still opens one.
        closed: why nobody is let in just now (starting, draining), or None.
        turnstile: what a crowd has to pass; run by the owner.
    """

    authenticator: Authenticator
    registry: ConnectionRegistry
    observer: GatewayObserver
    clock: Clock
    limits: ConnectionSettings
    expiry_grace_ms: int
    elsewhere: Callable[[UserId], Awaitable[Sequence[SessionRecord]]]
    closed: Refusal | None = None
    turnstile: Turnstile = attrs.field(factory=Turnstile)
    _places: int = 0
    _places_by_ip: Counter[str] = attrs.field(factory=Counter)

    async def admit(self, request: ConnectRequest, /) -> Admitted | Refusal:
        """Who is let in, or why not.

        A place counts towards `max_total` and `max_per_ip` while the proof is still being checked, so that a crowd
        can't get past the limits together. A refusal has none to give back.
        """
        outcome = await self._decide(request)
        self.observer.connect_decided(outcome.code.value if isinstance(outcome, Refusal) else "accepted")
        return outcome

    def leave(self, place: Place, /) -> None:
        """Give a place back. Idempotent."""
        if place.left:
            return
        place.left = True
        self._places -= 1
        if place.client_ip is not None:
            self._places_by_ip[place.client_ip] -= 1
            if not self._places_by_ip[place.client_ip]:
                del self._places_by_ip[place.client_ip]

    async def verify(self, credentials: Credentials, /) -> Identity | Refusal:
        """Who showed these credentials; whatever the authenticator does, the user id is well formed and not expired."""
        try:
            identity = await self.authenticator.authenticate(credentials)
        except Exception as error:
            # A mistake in a plugin costs this client its connection, not everyone theirs. Where it happened is logged
            # and not what was said: the text may repeat the token.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename}:{frame.lineno} in {frame.name}"
            _log.error("the authenticator failed", extra={"why": type(error).__name__, "where": where})
            return Refusal(
                Code.UNAVAILABLE, "Who you are can't be checked just now.", "authenticator", RETRY_AFTER_SECONDS
            )
        if isinstance(identity, Refusal):
            return identity
        if identity.expires_at + self.expiry_grace_ms <= self.clock.now():
            return Refusal(Code.TOKEN_EXPIRED, "The token has expired.", "expired")
        if not is_valid_user_id(identity.user_id):
            return Refusal(
                Code.UNAUTHENTICATED,
                "The user id must have 1 to 128 characters and no control characters.",
                "invalid_user_id",
            )
        return identity

    async def _decide(self, request: ConnectRequest) -> Admitted | Refusal:
        if shut := self._shut():
            return shut
        client_ip = request.credentials.client_ip
        if self.limits.max_total is not None and self._places >= self.limits.max_total:
            return Refusal(Code.OVERLOADED, "The gateway has no room.", "max_total", RETRY_AFTER_SECONDS)
        if (
            client_ip is not None
            and self.limits.max_per_ip is not None
            and self._places_by_ip[client_ip] >= self.limits.max_per_ip
        ):
            return Refusal(
                Code.RATE_LIMITED, "Too many connections from this address.", "max_per_ip", RETRY_AFTER_SECONDS
            )
        place = self._enter(client_ip)
        admitted = None
        try:
            if not await self.turnstile.enter():
                wait = random.randint(1, CROWD_RETRY_AFTER_SECONDS)
                return Refusal(Code.OVERLOADED, "Too many clients are connecting.", "crowd", wait)
            identity = await self.verify(request.credentials)
            if isinstance(identity, Refusal):
                return identity
            elsewhere = await self.elsewhere(identity.user_id) if self.limits.on_excess == "refuse" else ()
            refusal = self._shut() or self.refuse_excess(identity, request, elsewhere)
            if refusal is not None:
                return refusal
            admitted = Admitted(request, identity, place)
            return admitted
        finally:
            if admitted is None:
                self.leave(place)

    def _shut(self) -> Refusal | None:
        # Asked for by a call, as it may have changed during a wait: the type checker takes an attribute for unchanged.
        return self.closed

    def _enter(self, client_ip: str | None) -> Place:
        self._places += 1
        if client_ip is not None:
            self._places_by_ip[client_ip] += 1
        return Place(client_ip)

    def refuse_excess(
        self, identity: Identity, request: ConnectRequest, elsewhere: Sequence[SessionRecord] = (), /
    ) -> Refusal | None:
        """Why a user with as many connections as allowed gets no further one; None where one will make room."""
        if self.limits.on_excess != "refuse":
            return None
        devices = [connection.device_id for connection in self.registry.of_user(identity.user_id)]
        devices += [entry.device_id for entry in elsewhere]
        if len(devices) < self.limits.max_per_user or (request.device_id is not None and request.device_id in devices):
            return None
        return Refusal(Code.RATE_LIMITED, "Too many connections of this user.", "max_per_user", RETRY_AFTER_SECONDS)
